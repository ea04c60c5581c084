"""Attention of low rank: its spectrum, Linformer's projections, Nyström's landmarks.

Tensors are (..., n, d) as in `torch.nn.functional.scaled_dot_product_attention`; d_v counts the
columns of the values.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def attention_spectrum(attention: Float[Tensor, "... n_q n_k"]) -> Float[Tensor, "... r"]:
    """The singular values of attention matrices, largest first; r = min(n_q, n_k).

    The best approximation of rank k misses those after the first k: √(σ²_{k+1} + … + σ²_r) in
    the Frobenius norm.

    Source: Eckart and Young 1936; Wang et al. 2020, "Linformer", section 3 (arXiv 2006.04768).
    """
    return torch.linalg.svdvals(attention)


def effective_rank(attention: Float[Tensor, "... n_q n_k"], energy: float) -> Int[Tensor, "..."]:
    """The smallest k for which the k largest σ² sum to the share `energy` of all σ², or more.

    `energy` is above 0 and at most 1: then all σ² are asked for. No matrix is all zeros. One whole
    number for each matrix.
    """
    kept = attention_spectrum(attention).square().cumsum(dim=-1)
    # Count the ranks that keep too little: the next one keeps enough. The last entry of the sums
    # is their total, so that the largest rank always does.
    return (kept < energy * kept[..., -1:]).sum(dim=-1) + 1


def linformer_attention(
    q: Float[Tensor, "... n_q d"],
    k: Float[Tensor, "... n_k d"],
    v: Float[Tensor, "... n_k d_v"],
    e: Float[Tensor, "n_k k"],
    f: Float[Tensor, "n_k k"],
) -> Float[Tensor, "... n_q d_v"]:
    """Softmax attention over k mixtures of tokens, softmax(Q(EᵀK)ᵀ/√d) FᵀV, in O(n·k).

    The columns of `e` mix the keys, those of `f` the values; all heads share them.

    Source: Wang et al. 2020, "Linformer", equation 7 (arXiv 2006.04768), whose E is our Eᵀ.
    """
    # Named axes, and not eᵀ @ k, which would take a product, and a gradient of e, for each head.
    keys = torch.einsum("nk,...nd->...kd", e, k)
    values = torch.einsum("nk,...nd->...kd", f, v)
    return F.scaled_dot_product_attention(q, keys, values)


def johnson_lindenstrauss_projection(
    n: int, k: int, generator: torch.Generator
) -> Float[Tensor, "n k"]:
    """Draw a projection E from n numbers to k that keeps lengths: ‖Eᵀx‖² is ‖x‖² on average.

    Independent entries of mean 0 and variance 1/k; k may be larger than n. Where they are normal,
    ‖Eᵀx‖²/‖x‖² has variance 2/k, whatever n is; any distribution does with which it is no more. All
    randomness comes from `generator`: one in the same state draws the same.

    Source: Johnson and Lindenstrauss 1984; Wang et al. 2020, theorem 1 (arXiv 2006.04768).
    """
    return torch.randn(n, k, generator=generator) * k**-0.5


def distortion(points: Float[Tensor, "p n"], projection: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """The largest |‖Eᵀx‖²/‖x‖² − 1| over all differences x of two of the points.

    There are at least two points, and no two are equal.

    Source: Johnson and Lindenstrauss 1984; a short proof is in Dasgupta and Gupta 2003.
    """
    # The same differences, of smaller numbers: points far from 0 would be rounded more.
    centred = points - points.mean(dim=0)
    ratio = torch.pdist(centred @ projection) / torch.pdist(centred)
    return (ratio.square() - 1).abs().max()


def segment_means(
    x: Float[Tensor, "... n d"], num_landmarks: int
) -> Float[Tensor, "... num_landmarks d"]:
    """Cut n tokens into `num_landmarks` runs of neighbours, and average each.

    Where n is no multiple, the first n mod num_landmarks segments hold one token more, as in
    `torch.tensor_split`. There are at least as many tokens as landmarks.

    Source: Xiong et al. 2021, "Nyströmformer", equation 16 (arXiv 2102.03902), for whole segments.
    """
    n = x.shape[-2]
    length, longer = divmod(n, num_landmarks)
    in_longer = longer * (length + 1)
    first, rest = x.split([in_longer, n - in_longer], dim=-2)
    first = first.unflatten(-2, (longer, length + 1)).mean(dim=-2)
    rest = rest.unflatten(-2, (num_landmarks - longer, length)).mean(dim=-2)
    return torch.cat([first, rest], dim=-2)


def iterative_pinv(a: Float[Tensor, "... m m"], num_iterations: int) -> Float[Tensor, "... m m"]:
    """Approach the pseudo-inverse of each matrix by products of matrices alone.

    Z₀ = Aᵀ / (‖A‖₁ ‖A‖_∞), the largest column sum and the largest row sum of |A|; then
    Z ← ¼ Z(13I − AZ(15I − AZ(7I − AZ))), which is Z(I + R + R² + ¼R³) for R = I − AZ. An
    iteration turns R into ¾R³ + ¼R⁴: convergence of third order, once R is small. No matrix is all
    zeros; after 0 iterations it is Z₀.

    Source: Xiong et al. 2021, equation 14 (arXiv 2102.03902), after Razavi et al. 2014; the start
    is in Pan and Schreiber 1991.
    """
    identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    column_sums, row_sums = a.abs().sum(dim=-2), a.abs().sum(dim=-1)
    norms = column_sums.amax(dim=-1) * row_sums.amax(dim=-1)  # one number for each matrix
    z = a.mT / norms[..., None, None]
    for _ in range(num_iterations):
        residual = identity - a @ z
        z = z @ (identity + residual @ (identity + residual @ (identity + residual / 4)))
    return z


def nystrom_attention(
    q: Float[Tensor, "... n_q d"],
    k: Float[Tensor, "... n_k d"],
    v: Float[Tensor, "... n_k d_v"],
    num_landmarks: int,
    num_iterations: int,
) -> Float[Tensor, "... n_q d_v"]:
    """Softmax attention, approximated in O(n) through landmarks Q̃ and K̃, the means of segments.

    softmax(QK̃ᵀ/√d) softmax(Q̃K̃ᵀ/√d)⁺ softmax(Q̃Kᵀ/√d) V, the pseudo-inverse by `num_iterations`.
    There are at least as many queries, and as many keys, as landmarks.

    Source: Xiong et al. 2021, equation 13 (arXiv 2102.03902).
    """
    q_landmarks, k_landmarks = segment_means(q, num_landmarks), segment_means(k, num_landmarks)
    scores = q_landmarks @ k_landmarks.mT * q.shape[-1] ** -0.5
    inverse = iterative_pinv(scores.softmax(dim=-1), num_iterations)
    # From the right, so that nothing is n × n. The outer factors are attention of their own: the
    # landmarks ask all tokens, then all tokens ask the landmarks.
    answers = F.scaled_dot_product_attention(q_landmarks, k, v)
    return F.scaled_dot_product_attention(q, k_landmarks, inverse @ answers)

"""Softmax attention and what it costs, exponents of growth, and approximation by low rank.

Tensors are (..., n, d) as in `torch.nn.functional.scaled_dot_product_attention`; d_v counts the
columns of the values.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def softmax_attention(
    q: Float[Tensor, "... n_q d"],
    k: Float[Tensor, "... n_k d"],
    v: Float[Tensor, "... n_k d_v"],
    mask: Bool[Tensor, "... n_q n_k"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "... n_q d_v"]:
    """Attention with the weights softmax(q kᵀ / √d), normalised over the keys.

    `mask` is True where a query may see a key, and broadcasts to (..., n_q, n_k). With `causal`,
    query i sees keys 0 to i, of those that the mask leaves. A query that sees no key gives zeros.

    Source: Vaswani et al. 2017, equation 1 (arXiv 1706.03762).
    """
    if causal:
        past = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
        mask = past if mask is None else mask & past
    # The scale on q is n·d products; on the scores it would be n².
    scores = (q * q.shape[-1] ** -0.5) @ k.mT  # (..., n_q, n_k)
    if mask is None:
        return scores.softmax(dim=-1) @ v
    # Softmax over no key at all is 0/0: let such a query see every key, and drop what it gets.
    # The addition is in place: one more n × n tensor would take longer than the numbers in it.
    sees_none = ~mask.any(dim=-1, keepdim=True)
    scores += torch.where(mask | sees_none, 0.0, -math.inf)
    return (scores.softmax(dim=-1) @ v).masked_fill(sees_none, 0.0)


def multi_head_attention(
    x: Float[Tensor, "... n d_model"],
    w_q: Float[Tensor, "heads_d d_model"],
    w_k: Float[Tensor, "heads_d d_model"],
    w_v: Float[Tensor, "heads_d_v d_model"],
    w_o: Float[Tensor, "d_out heads_d_v"],
    num_heads: int,
    causal: bool = False,
) -> Float[Tensor, "... n d_out"]:
    """Attention of a sequence to itself by `num_heads` heads side by side.

    Weights are laid out as in `torch.nn.Linear`: a projection is x wᵀ. The first d columns of
    x w_qᵀ are the queries of head 0, the next d those of head 1, and so on; keys and values
    likewise. The heads' outputs are joined in the same order, and projected by `w_o`.

    Source: Vaswani et al. 2017, section 3.2.2 (arXiv 1706.03762).
    """

    def split_heads(projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (num_heads, -1)).transpose(-3, -2)  # (..., heads, n, d)

    q, k, v = (split_heads(x @ w.mT) for w in (w_q, w_k, w_v))
    heads = softmax_attention(q, k, v, causal=causal)
    return heads.transpose(-3, -2).flatten(-2) @ w_o.mT


def attention_cost(n: int, d: int, num_heads: int, bytes_per_element: int) -> tuple[int, int, int]:
    """What softmax attention costs: (FLOPs, bytes of the score matrices, bytes of the inputs).

    For one sequence of n tokens, d numbers a token and head. FLOPs are those of the two matrix
    products, q kᵀ and weights times v, over all heads, with 2 for a multiply and an add; neither
    the softmax nor any projection is counted. The score matrices are n × n, one a head. The
    inputs are q, k and v of all heads. All three are whole numbers.

    Source: Vaswani et al. 2017, table 1, O(n²·d) a layer (arXiv 1706.03762).
    """
    flops_of_a_product = 2 * n * n * d
    flops = 2 * num_heads * flops_of_a_product
    score_bytes = num_heads * n * n * bytes_per_element
    input_bytes = 3 * num_heads * n * d * bytes_per_element
    return flops, score_bytes, input_bytes


def scaling_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent p of the fit cost ≈ c·sizeᵖ: 2 for O(n²), 1 for O(n).

    It is the slope of log(cost) over log(size), by least squares. Sizes and costs are positive,
    and there are at least two different sizes; a size may be there twice.

    Source: Goldsmith, Aiken and Wilkerson 2007, "Measuring Empirical Computational Complexity".
    """
    x, y = (torch.tensor(values, dtype=torch.float64).log() for values in (sizes, costs))
    x, y = x - x.mean(), y - y.mean()
    return ((x @ y) / (x @ x)).item()


def low_rank_approximation(
    matrix: Float[Tensor, "... rows columns"], rank: int
) -> Float[Tensor, "... rows columns"]:
    """The matrix of at most rank `rank` that is closest to `matrix` in the Frobenius norm.

    It keeps the largest singular values, from 1 to min(rows, columns) of them. The squared error
    is the sum of the squares of those that are left out.

    Source: Eckart and Young 1936, "The approximation of one matrix by another of lower rank".
    """
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return (u[..., :rank] * s[..., None, :rank]) @ vh[..., :rank, :]


def relative_error(
    approximation: Float[Tensor, "... rows columns"], matrix: Float[Tensor, "... rows columns"]
) -> Float[Tensor, "..."]:
    """‖approximation − matrix‖ / ‖matrix‖ of each matrix, in the Frobenius norm.

    0 is exact; 1 is no better than a matrix of zeros.

    Source: Golub and Van Loan, "Matrix Computations", section 2.3.
    """
    error = torch.linalg.matrix_norm(approximation - matrix)
    return error / torch.linalg.matrix_norm(matrix)

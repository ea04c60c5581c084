"""Attention in O(n): kernel feature maps, their causal and recurrent forms, FAVOR+, and FNet.

Tensors are (..., n, d) as in `torch.nn.functional.scaled_dot_product_attention`; m counts the
features of a feature map, d_v the columns of the values.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor


def elu_feature_map(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Map every number to a positive one: φ(x) = elu(x) + 1.

    Source: Katharopoulos et al. 2020, "Transformers are RNNs", equation 7 (arXiv 2006.16236).
    """
    return F.elu(x) + 1


def linear_attention(
    q: Float[Tensor, "... n_q d"],
    k: Float[Tensor, "... n_k d"],
    v: Float[Tensor, "... n_k d_v"],
    feature_map: Callable[[Tensor], Tensor],
) -> Float[Tensor, "... n_q d_v"]:
    """Attention with the weights φ(q)ᵀφ(k), normalised over the keys, in O(n) time and memory.

    `feature_map` takes (..., n, d) to positive features (..., n, m). No scale is applied, and
    nothing is added to the normaliser: a common factor of the features changes no output. Tokens
    are not taken one by one.

    Source: Katharopoulos et al. 2020, equation 5 (arXiv 2006.16236).
    """
    phi_q, phi_k = feature_map(q), feature_map(k)
    key_values = phi_k.mT @ v  # (..., m, d_v): what the keys say, summed before any query asks
    key_sum = phi_k.sum(dim=-2).unsqueeze(-1)  # (..., m, 1)
    # Side by side, so that one product with φ(q) gives the numerator and the normaliser.
    numerator, normaliser = (phi_q @ torch.cat([key_values, key_sum], dim=-1)).split(
        [v.shape[-1], 1], dim=-1
    )
    # A product, since the gradient of a division makes two more (n, d_v) tensors.
    return numerator * normaliser.reciprocal()


def causal_linear_attention(
    q: Float[Tensor, "... n d"],
    k: Float[Tensor, "... n d"],
    v: Float[Tensor, "... n d_v"],
    feature_map: Callable[[Tensor], Tensor],
    chunk_size: int,
) -> Float[Tensor, "... n d_v"]:
    """Linear attention in which token t sees tokens 0 to t, by prefix sums over chunks.

    Inside a chunk the weights are computed directly, chunk_size × chunk_size; everything before
    the chunk is read from the running sums. n need not be a multiple of `chunk_size`, and may be
    less. Memory is O(n·(d + m + d_v + chunk_size) + (n / chunk_size)·m·d_v).

    Source: Katharopoulos et al. 2020, section 3.3 (arXiv 2006.16236); the chunked form is in
    Yang et al. 2023, section 2.2 (arXiv 2312.06635), after Hua et al. 2022 (arXiv 2202.10447).
    """
    n, d_v = v.shape[-2:]
    padding = -n % chunk_size

    def in_chunks(x: Tensor) -> Tensor:
        return x.unflatten(-2, (-1, chunk_size))

    # Pad the features, not the inputs: φ(0) is not 0. A padded key then weighs nothing.
    phi_q, phi_k = (in_chunks(F.pad(feature_map(x), (0, 0, 0, padding))) for x in (q, k))
    # A column of ones beside the values: its weighted sum is the normaliser.
    values = in_chunks(
        F.pad(v, (0, 1, 0, padding), value=1.0)
    )  # (..., chunks, chunk_size, d_v + 1)

    chunk_sums = phi_k.mT @ values  # (..., chunks, m, d_v + 1)
    earlier_sums = F.pad(chunk_sums[..., :-1, :, :], (0, 0, 0, 0, 1, 0)).cumsum(dim=-3)
    weights = (phi_q @ phi_k.mT).tril()  # (..., chunks, chunk_size, chunk_size)

    sums = (weights @ values + phi_q @ earlier_sums).flatten(-3, -2)[..., :n, :]
    numerator, normaliser = sums.split([d_v, 1], dim=-1)
    return numerator * normaliser.reciprocal()


def recurrent_step(
    state: tuple[Float[Tensor, "... m d_v"], Float[Tensor, "... m"]],
    q_t: Float[Tensor, "... d"],
    k_t: Float[Tensor, "... d"],
    v_t: Float[Tensor, "... d_v"],
    feature_map: Callable[[Tensor], Tensor],
) -> tuple[tuple[Tensor, Tensor], Float[Tensor, "... d_v"]]:
    """One token of causal linear attention as a recurrent network: (new state, output).

    The state is (Σ φ(k)vᵀ, Σ φ(k)) over the tokens so far, zeros before the first. Its size does
    not depend on how many tokens came before. The state that comes in is left unchanged.

    Source: Katharopoulos et al. 2020, equations 16 to 20 (arXiv 2006.16236).
    """
    key_values, key_sum = state
    phi_q, phi_k = feature_map(q_t), feature_map(k_t)
    key_values = key_values + phi_k.unsqueeze(-1) * v_t.unsqueeze(-2)
    key_sum = key_sum + phi_k
    numerator = torch.einsum("...m,...me->...e", phi_q, key_values)
    normaliser = (phi_q * key_sum).sum(dim=-1, keepdim=True)
    return (key_values, key_sum), numerator / normaliser


def trigonometric_random_features(
    x: Float[Tensor, "... n d"], projection: Float[Tensor, "m d"]
) -> Float[Tensor, "... n two_m"]:
    """Random Fourier features: φ(x)ᵀφ(y) estimates exp(xᵀy) without bias, but can be negative.

    φ(x) = exp(‖x‖²/2) / √m · (cos ω₁ᵀx … cos ω_mᵀx, sin ω₁ᵀx … sin ω_mᵀx), where the rows ω of
    `projection` are standard normal.

    Source: Rahimi and Recht 2007; Choromanski et al. 2020, section 2.3 (arXiv 2009.14794).
    """
    angles = x @ projection.mT
    half_norm = x.square().sum(dim=-1, keepdim=True) / 2
    return (
        torch.cat([angles.cos(), angles.sin()], dim=-1) * half_norm.exp() * len(projection) ** -0.5
    )


def positive_random_features(
    x: Float[Tensor, "... n d"], projection: Float[Tensor, "m d"]
) -> Float[Tensor, "... n m"]:
    """FAVOR+ features: φ(x)ᵀφ(y) estimates exp(xᵀy) without bias, and is never negative.

    φ(x) = exp(ωᵀx − ‖x‖²/2) / √m, one entry for each row ω of `projection`.

    Source: Choromanski et al. 2020, lemma 1 (arXiv 2009.14794).
    """
    half_norm = x.square().sum(dim=-1, keepdim=True) / 2
    # One exponential of the difference: exp(ωᵀx) alone overflows for long x. The factor 1/√m is
    # exp(−½ log m): in the exponent, it costs no further pass over the features.
    return torch.exp(x @ projection.mT - (half_norm + math.log(len(projection)) / 2))


def orthogonal_random_features(
    num_features: int, dim: int, generator: torch.Generator
) -> Float[Tensor, "num_features dim"]:
    """Draw rows that are each standard normal, and orthogonal to each other in blocks of `dim`.

    A block is a uniformly random rotation; each row then gets the length of an independent
    normal vector (a chi distribution with `dim` degrees of freedom).

    Source: Yu et al. 2016 (arXiv 1610.09072); Choromanski et al. 2020, section 2.4
    (arXiv 2009.14794); the sign fix is in Mezzadri 2007 (arXiv math-ph/0609050).
    """
    num_blocks = math.ceil(num_features / dim)
    q, r = torch.linalg.qr(torch.randn(num_blocks, dim, dim, generator=generator))
    # QR alone has a free sign per column; fixing R's diagonal to be positive makes Q uniform.
    rotations = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    directions = rotations.mT.flatten(0, 1)[:num_features]
    lengths = torch.randn(num_features, dim, generator=generator).norm(dim=1, keepdim=True)
    return lengths * directions


def performer_attention(
    q: Float[Tensor, "... n_q d"],
    k: Float[Tensor, "... n_k d"],
    v: Float[Tensor, "... n_k d_v"],
    projection: Float[Tensor, "m d"],
    causal: bool = False,
) -> Float[Tensor, "... n_q d_v"]:
    """Softmax attention, estimated in O(n) by FAVOR+.

    It estimates softmax(qkᵀ/√d) v: queries and keys share the scale. `projection` is drawn once by
    the caller, so that equal inputs give equal outputs.

    Source: Choromanski et al. 2020, section 2 (arXiv 2009.14794).
    """
    # exp(qᵀk / √d) is exp(xᵀy) for x = q / d^¼ and y = k / d^¼.
    scale = q.shape[-1] ** -0.25

    def feature_map(x: Tensor) -> Tensor:
        return positive_random_features(x * scale, projection)

    if causal:
        return causal_linear_attention(q, k, v, feature_map, chunk_size=128)
    return linear_attention(q, k, v, feature_map)


def fourier_mixing(x: Float[Tensor, "... n d"]) -> Float[Tensor, "... n d"]:
    """Mix tokens without weights: the real part of the Fourier transform over both axes.

    It takes O(n log n): no tensor is n × n.

    Source: Lee-Thorp et al. 2021, "FNet", equation 3 (arXiv 2105.03824).
    """
    d = x.shape[-1]
    # A real input's transform has Re X[j, k] = Re X[−j, −k]: half of the columns give the rest.
    half = torch.fft.rfft2(x).real  # (..., n, d // 2 + 1)
    mirrored = half[..., 1 : (d + 1) // 2].flip(-2, -1).roll(1, dims=-2)
    return torch.cat([half, mirrored], dim=-1)


def global_filter(
    x: Float[Tensor, "... n d"], weights: Complex[Tensor, "n_frequencies d"]
) -> Float[Tensor, "... n d"]:
    """Mix tokens by a learnable filter: transform over n, multiply by `weights`, transform back.

    A real sequence of length n has n // 2 + 1 independent frequencies, the rows of `weights`.
    The result is a circular convolution over the sequence, separate for each channel. It takes
    O(n log n): no tensor is n × n.

    Source: Rao et al. 2021, "Global Filter Networks" (arXiv 2107.00645), for one axis.
    """
    spectrum = torch.fft.rfft(x, dim=-2) * weights
    return torch.fft.irfft(spectrum, n=x.shape[-2], dim=-2)

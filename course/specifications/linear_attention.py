"""What the functions of 02_linear_attention compute, with no care for cost."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def kernel_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    feature_map: Callable[[Tensor], Tensor],
    causal: bool = False,
) -> Tensor:
    """Attention whose weights are φ(q)ᵀφ(k), one query at a time, in O(n²) time.

    q, k, v are (..., n, d). Returns (..., n_q, d_v).
    """
    phi_q, phi_k = feature_map(q), feature_map(k)
    rows = []
    for t in range(q.shape[-2]):
        seen = t + 1 if causal else k.shape[-2]
        weights = (phi_q[..., t : t + 1, :] * phi_k[..., :seen, :]).sum(dim=-1)  # (..., seen)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        rows.append((weights.unsqueeze(-1) * v[..., :seen, :]).sum(dim=-2))
    return torch.stack(rows, dim=-2)


def dft_matrix(n: int) -> Tensor:
    """The discrete Fourier transform as an n × n complex matrix, W[j, k] = exp(-2πi·j·k / n)."""
    index = torch.arange(n, dtype=torch.float64)
    return torch.polar(
        torch.ones(n, n, dtype=torch.float64), -2 * math.pi * torch.outer(index, index) / n
    )


def circular_convolution(x: Tensor, kernel: Tensor) -> Tensor:
    """y[t] = Σ_s kernel[s] · x[t − s], indices modulo n, for each channel. Both are (..., n, d)."""
    n = x.shape[-2]
    return sum(kernel[..., s : s + 1, :] * x.roll(s, dims=-2) for s in range(n))

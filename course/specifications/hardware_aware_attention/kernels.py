"""Launch the Triton kernels of 05_hardware_aware_attention: grids, strides and tiles.

A kernel is an argument, so that the reader's own is launched in the same way as any other.
"""

from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from course.triton_here import DEVICE, triton

HEAD_SIZES = (16, 32, 64, 128)
INTERPRETED_TILES = {"BLOCK_Q": 32, "BLOCK_K": 32}
"""Rows of a tile in Triton's interpreter; on a GPU the fastest are found by trying."""


def launch_softmax(kernel: Any, x: Float[Tensor, "n m"], out: Float[Tensor, "n m"]) -> None:
    """Let a kernel write the softmax of each row of x into out.

    Raises ValueError if their columns do not lie side by side, as after x.contiguous() they do.
    """
    rows, columns = x.shape
    if columns > 1 and (x.stride(1), out.stride(1)) != (1, 1):
        raise ValueError("columns must lie side by side: launch it on x.contiguous()")
    block = triton.next_power_of_2(columns)
    kernel[(rows,)](x, out, x.stride(0), out.stride(0), columns, BLOCK=block)


def launch_flash_attention(
    kernel: Any,
    q: Float[Tensor, "batch heads n_q d"],
    k: Float[Tensor, "batch heads n_k d"],
    v: Float[Tensor, "batch heads n_k d"],
    out: Float[Tensor, "batch heads n_q d"],
    lse: Float[Tensor, "batch heads n_q"],
    causal: bool,
    tiles: dict[str, int] | None = None,
) -> None:
    """Let a forward kernel write the output into out, and the logsumexp into lse, contiguous.

    Other strides may be anything. tiles: BLOCK_Q and BLOCK_K, powers of two from 16 on. Raises
    ValueError for a head size that is none of HEAD_SIZES.
    """
    batch, heads, n_q, d = q.shape
    strides = [stride for x in (q, k, v, out) for stride in x.stride()]
    arguments = [q, k, v, out, lse, *strides, heads, n_q, k.shape[-2], d**-0.5, causal, d]
    _launch(kernel, "BLOCK_Q", n_q, batch * heads, arguments, d, tiles)


def launch_flash_backward(
    dq_kernel: Any,
    dk_dv_kernel: Any,
    q: Float[Tensor, "batch heads n_q d"],
    k: Float[Tensor, "batch heads n_k d"],
    v: Float[Tensor, "batch heads n_k d"],
    out: Float[Tensor, "batch heads n_q d"],
    lse: Float[Tensor, "batch heads n_q"],
    grad_out: Float[Tensor, "batch heads n_q d"],
    causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Let the two backward kernels compute the gradients of q, k and v; any strides."""
    delta = (grad_out.float() * out.float()).sum(dim=-1)  # one number for each query
    given = [x.contiguous() for x in (q, k, v, grad_out, lse, delta)]
    grad_q, grad_k, grad_v = (torch.empty_like(x) for x in given[:3])
    launch_backward_kernel(dq_kernel, "BLOCK_Q", given, [grad_q], causal)
    launch_backward_kernel(dk_dv_kernel, "BLOCK_K", given, [grad_k, grad_v], causal)
    return grad_q, grad_k, grad_v


def launch_backward_kernel(
    kernel: Any,
    over: str,
    given: list[Tensor],
    gradients: list[Tensor],
    causal: bool,
    tiles: dict[str, int] | None = None,
) -> None:
    """Let one backward kernel write gradients; every tensor is contiguous.

    given: q, k, v, grad_out, lse and delta. over: whose tiles the grid counts, BLOCK_Q or BLOCK_K.
    Raises ValueError for a head size that is none of HEAD_SIZES.
    """
    batch, heads, n_q, d = given[0].shape
    n_k = given[1].shape[-2]
    n = n_q if over == "BLOCK_Q" else n_k
    arguments = [*given, *gradients, n_q, n_k, d**-0.5, causal, d]
    _launch(kernel, over, n, batch * heads, arguments, d, tiles)


@cache
def _tuned(kernel: Any) -> Any:
    """The kernel with tiles of its own choice: on a GPU it tries these once for each shape."""
    configurations = [
        triton.Config({"BLOCK_Q": block_q, "BLOCK_K": block_k}, num_warps=warps, num_stages=stages)
        for block_q, block_k, warps in (
            (64, 64, 4),
            (128, 32, 4),
            (128, 64, 4),
            (128, 64, 8),
            (128, 128, 8),
        )
        for stages in (2, 3, 4)
    ]
    return triton.autotune(configurations, key=["n_q", "n_k", "CAUSAL", "D"])(kernel)


def _launch(
    kernel: Any, over: str, n: int, pairs: int, arguments: list, d: int, tiles: dict | None
) -> None:
    if d not in HEAD_SIZES:
        raise ValueError(f"a head has {d} numbers; the kernels take {HEAD_SIZES}")
    if tiles is None and DEVICE == "cuda":
        kernel, tiles = _tuned(kernel), {}
    kernel[lambda meta: (triton.cdiv(n, meta[over]), pairs)](
        *arguments, **(tiles or INTERPRETED_TILES)
    )

"""Attention for a machine with little fast memory: the roofline, online softmax, and tiles.

Tensors are (..., n, d) as in `torch.nn.functional.scaled_dot_product_attention`; d_v counts the
columns of the values. The letters in the loops are those of FlashAttention-2: scores s, running
max m, running sum l, weights p, accumulator acc.
"""
# ruff: noqa: E741  (l is the papers' letter)

import math

import torch
from jaxtyping import Float
from torch import Tensor


def arithmetic_intensity(flops: float | Tensor, bytes: float | Tensor) -> float | Tensor:
    """FLOPs for each byte that is moved between memory and processor.

    Numbers, or tensors of the same shape.

    Source: Williams et al. 2009, "Roofline", where it is called operational intensity.
    """
    return flops / bytes


def roofline(intensity: float | Tensor, peak_flops: float, bandwidth: float) -> float | Tensor:
    """The FLOP/s that a machine attains at most, at an intensity in FLOPs per byte.

    `peak_flops` is in FLOP/s, `bandwidth` in bytes per second. Computing and moving go on at the
    same time, so the slower one decides. For a tensor of intensities, a tensor.

    Source: Williams et al. 2009, "Roofline".
    """
    memory_bound = intensity * bandwidth
    if isinstance(memory_bound, Tensor):
        return memory_bound.clamp(max=peak_flops)
    return min(memory_bound, peak_flops)


def online_softmax(x: Float[Tensor, "... n"], block_size: int) -> Float[Tensor, "... n"]:
    """Softmax of the last dimension, in one pass over blocks of `block_size` columns.

    The blocks are x[..., 0:block_size], the next, and so on, the last perhaps shorter. Each is
    taken as a slice of x; once the next one is taken, x is not read there again. The running max
    and sum are kept in float32 or wider, the result has the type of x. A row of only −∞ gives
    zeros. Gradients are not asked for.

    Source: Milakov and Gimelshein 2018, algorithm 3 (arXiv 1805.02867).
    """
    # In half precision a running sum stops growing: 256 + 1 is 256 in bfloat16.
    dtype = torch.promote_types(x.dtype, torch.float32)
    # The lowest number and not −∞, since −∞ − (−∞) is NaN.
    m = torch.full((*x.shape[:-1], 1), torch.finfo(dtype).min, dtype=dtype, device=x.device)
    l = torch.zeros_like(m)
    seen = []
    for block in x.split(block_size, dim=-1):
        block = block.to(dtype)
        m_new = torch.maximum(m, block.amax(dim=-1, keepdim=True))
        p = torch.exp(block - m_new)
        alpha = torch.exp(m - m_new)  # takes what was relative to the old max to the new one
        l = alpha * l + p.sum(dim=-1, keepdim=True)
        m = m_new
        seen.append((p, m))
    # Each p is relative to the max of its time. The largest number adds 1 to l, so l < 1 is l = 0.
    weights = [p * (torch.exp(m_then - m) / l.clamp(min=1)) for p, m_then in seen]
    return torch.cat(weights, dim=-1).to(x.dtype)


def tiled_attention(
    q: Float[Tensor, "... n_q d"],
    k: Float[Tensor, "... n_k d"],
    v: Float[Tensor, "... n_k d_v"],
    block_q: int,
    block_k: int,
    causal: bool,
) -> tuple[Float[Tensor, "... n_q d_v"], Float[Tensor, "... n_q"]]:
    """Softmax attention, a tile of block_q × block_k scores at a time: (output, logsumexp).

    The logsumexp of a query is log Σ exp(s) over its scores s = q kᵀ / √d. With `causal`, query i
    sees keys 0 to i, and tiles in which no query sees a key are not computed. Tiles begin at
    multiples of block_q and block_k, the last ones may be smaller. Sums are float32 or wider, and
    so is the logsumexp; the output has the type of q. No tensor is larger than the inputs or a
    tile. Gradients are not asked for.

    Source: Dao 2023, "FlashAttention-2", algorithm 1 (arXiv 2307.08691).
    """
    n_q, n_k, scale = q.shape[-2], k.shape[-2], q.shape[-1] ** -0.5
    # In half precision sums over many keys would stop growing; the logsumexp stays in float32.
    dtype = torch.promote_types(q.dtype, torch.float32)
    outputs, logsumexps = [], []
    for start_q in range(0, n_q, block_q):
        q_i = q[..., start_q : start_q + block_q, :].to(dtype) * scale
        rows = torch.arange(start_q, start_q + q_i.shape[-2], device=q.device)
        m = q_i.new_full((*q_i.shape[:-1], 1), -math.inf)
        l = torch.zeros_like(m)
        acc = q_i.new_zeros(*q_i.shape[:-1], v.shape[-1])
        end_k = min(n_k, start_q + block_q) if causal else n_k
        for start_k in range(0, end_k, block_k):
            k_j, v_j = (x[..., start_k : start_k + block_k, :].to(dtype) for x in (k, v))
            s = q_i @ k_j.mT  # (..., block_q, block_k)
            if causal and start_k + block_k - 1 > start_q:  # last key comes after first query
                columns = torch.arange(start_k, start_k + k_j.shape[-2], device=q.device)
                s = s.masked_fill(rows.unsqueeze(-1) < columns, -math.inf)
            # Every query sees key 0, so from the first tile on m is finite.
            m_new = torch.maximum(m, s.amax(dim=-1, keepdim=True))
            p = torch.exp(s - m_new)
            alpha = torch.exp(m - m_new)
            l = alpha * l + p.sum(dim=-1, keepdim=True)
            acc = alpha * acc + p @ v_j
            m = m_new
        outputs.append((acc / l).to(q.dtype))
        logsumexps.append((m + l.log()).squeeze(-1))
    return torch.cat(outputs, dim=-2), torch.cat(logsumexps, dim=-1)


def attention_hbm_traffic(n: int, d: int, sram_elements: int, algorithm: str) -> int:
    """Elements, not bytes, that attention moves between HBM and SRAM; one head, not causal.

    "standard" runs three kernels. The first reads Q and K and writes the scores S, the second
    reads S and writes the weights P, the third reads P and V and writes the output. How much SRAM
    there is does not matter.

    "flash" has square tiles of B rows: tiles of Q, K, V and of the accumulator, B × d each, lie in
    SRAM at the same time, and B is as large as `sram_elements` allows, but at most n. The tile of
    scores is not counted. For each tile of Q it reads that tile, then all of K and V tile by tile,
    and writes the output and one logsumexp for each row. The last tiles may be smaller.

    Raises ValueError if the algorithm is neither, or if "flash" finds no room for B = 1.

    Source: Dao et al. 2022, "FlashAttention", theorem 2 (arXiv 2205.14135), in the loop order of
    Dao 2023 (arXiv 2307.08691).
    """
    if algorithm == "standard":
        return 4 * n * n + 4 * n * d
    if algorithm != "flash":
        raise ValueError(f'the algorithm is "standard" or "flash", not {algorithm!r}')
    if sram_elements < 4 * d:
        raise ValueError(f"{sram_elements} elements do not hold four rows of {d}")
    block = min(n, sram_elements // (4 * d))
    query_tiles = math.ceil(n / block)
    return query_tiles * 2 * n * d + 2 * n * d + n


def flash_backward(
    q: Float[Tensor, "... n_q d"],
    k: Float[Tensor, "... n_k d"],
    v: Float[Tensor, "... n_k d_v"],
    out: Float[Tensor, "... n_q d_v"],
    lse: Float[Tensor, "... n_q"],
    grad_out: Float[Tensor, "... n_q d_v"],
    block_q: int,
    block_k: int,
    causal: bool,
) -> tuple[Float[Tensor, "... n_q d"], Float[Tensor, "... n_k d"], Float[Tensor, "... n_k d_v"]]:
    """The gradients (grad_q, grad_k, grad_v) of attention, its weights computed again by tiles.

    `out` and `lse` are what `tiled_attention` gave for q, k, v and `causal`; `grad_out` is the
    gradient by its output. Weights of a tile are p = exp(s − lse). Tiles, `causal` and memory are
    as in `tiled_attention`.

    Source: Dao 2023, "FlashAttention-2", algorithm 2 (arXiv 2307.08691), its loops swapped.
    """
    n_q, n_k, scale = q.shape[-2], k.shape[-2], q.shape[-1] ** -0.5
    dtype = torch.promote_types(q.dtype, torch.float32)
    grad_q, grad_k, grad_v = (torch.zeros_like(x, dtype=dtype) for x in (q, k, v))
    # D = rowsum(dO ∘ O) = rowsum(P ∘ dP)
    delta = (grad_out * out).sum(dim=-1, keepdim=True, dtype=dtype)
    for start_q in range(0, n_q, block_q):
        i = slice(start_q, start_q + block_q)
        q_i, grad_out_i = (x[..., i, :].to(dtype) for x in (q, grad_out))
        rows = torch.arange(start_q, start_q + q_i.shape[-2], device=q.device)
        end_k = min(n_k, start_q + block_q) if causal else n_k
        for start_k in range(0, end_k, block_k):
            j = slice(start_k, start_k + block_k)
            k_j, v_j = (x[..., j, :].to(dtype) for x in (k, v))
            s = scale * (q_i @ k_j.mT)
            if causal and start_k + block_k - 1 > start_q:
                columns = torch.arange(start_k, start_k + k_j.shape[-2], device=q.device)
                s = s.masked_fill(rows.unsqueeze(-1) < columns, -math.inf)
            p = torch.exp(s - lse[..., i].unsqueeze(-1))
            grad_p = grad_out_i @ v_j.mT
            grad_s = p * (grad_p - delta[..., i, :])
            grad_q[..., i, :] += scale * (grad_s @ k_j)
            grad_k[..., j, :] += scale * (grad_s.mT @ q_i)
            grad_v[..., j, :] += p.mT @ grad_out_i
    return grad_q.to(q.dtype), grad_k.to(k.dtype), grad_v.to(v.dtype)

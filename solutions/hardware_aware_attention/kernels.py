"""Triton kernels: softmax of rows, and FlashAttention forward and backward.

A kernel runs once for each program of its grid. The module of the same name in
course.specifications launches them.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from course.specifications.hardware_aware_attention.kernels import (
    launch_flash_attention,
    launch_flash_backward,
    launch_softmax,
)
from course.triton_here import tl, triton


@triton.jit
def softmax_kernel(x_ptr, out_ptr, x_row, out_row, num_columns, BLOCK: tl.constexpr):
    """The softmax of one row in each program: read once, computed on chip, written once.

    x_ptr and out_ptr: first elements of matrices whose rows are x_row and out_row elements apart,
    and whose columns are next to each other. BLOCK: a power of two, num_columns or more. Sums are
    float32 for every type of x.

    Source: Tillet et al. 2019, "Triton"; Milakov and Gimelshein 2018 (arXiv 1805.02867).
    """
    row = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    ### BEGIN SOLUTION
    inside = columns < num_columns
    # What lies beyond the row must weigh nothing: −∞, whose exponential is 0.
    x = tl.load(x_ptr + row * x_row + columns, mask=inside, other=-float("inf")).to(tl.float32)
    weights = tl.exp(x - tl.max(x, axis=0))
    tl.store(out_ptr + row * out_row + columns, weights / tl.sum(weights, axis=0), mask=inside)
    ### END SOLUTION


def triton_softmax(x: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """The softmax of each row of a matrix, by `softmax_kernel`."""
    x = x.contiguous()  # the kernel's columns lie side by side
    out = torch.empty_like(x)
    launch_softmax(softmax_kernel, x, out)
    return out


@triton.jit
def flash_attention_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr,
    q_batch, q_head, q_row, q_column,
    k_batch, k_head, k_row, k_column,
    v_batch, v_head, v_row, v_column,
    out_batch, out_head, out_row, out_column,
    num_heads, n_q, n_k, scale,
    CAUSAL: tl.constexpr, D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Attention of one tile of BLOCK_Q queries of one head to all keys, tile by tile.

    Pointers lead to the first elements of q (batch, heads, n_q, D), k and v (batch, heads, n_k, D),
    out like q, and lse (batch, heads, n_q) in float32, which is contiguous. For the others,
    q_batch, q_head, q_row and q_column are the elements from one batch, head, row or column to the
    next; so for k, v and out. The program (t, b) computes rows t·BLOCK_Q and on of batch
    b // num_heads, head b % num_heads: out, and the logsumexp of its scaled scores (natural
    logarithm). With CAUSAL, query i sees keys 0 to i, and a tile of which no query here sees a key
    is not multiplied; tiles begin at multiples of BLOCK_K.

    Source: Dao 2023, "FlashAttention-2", algorithm 1 (arXiv 2307.08691).
    """
    first_query, pair = tl.program_id(0) * BLOCK_Q, tl.program_id(1).to(tl.int64)
    batch, head = pair // num_heads, pair % num_heads
    queries = first_query + tl.arange(0, BLOCK_Q)
    columns = tl.arange(0, D)
    q_tile = q_ptr + batch * q_batch + head * q_head
    q_tile += queries[:, None] * q_row + columns[None, :] * q_column
    out_tile = out_ptr + batch * out_batch + head * out_head
    out_tile += queries[:, None] * out_row + columns[None, :] * out_column
    # The tiles of the first BLOCK_K keys and values.
    in_tile = tl.arange(0, BLOCK_K)
    k_tile = k_ptr + batch * k_batch + head * k_head
    k_tile += in_tile[:, None] * k_row + columns[None, :] * k_column
    v_tile = v_ptr + batch * v_batch + head * v_head
    v_tile += in_tile[:, None] * v_row + columns[None, :] * v_column
    q = tl.load(q_tile, mask=queries[:, None] < n_q, other=0.0)

    ### BEGIN SOLUTION
    row_max = tl.full((BLOCK_Q,), -float("inf"), tl.float32)
    row_sum = tl.zeros((BLOCK_Q,), tl.float32)
    accumulator = tl.zeros((BLOCK_Q, D), tl.float32)
    # Every query sees the whole of the tiles before `whole`; no query sees what is after `end`.
    whole, end = n_k // BLOCK_K * BLOCK_K, n_k
    if CAUSAL:
        whole = min(whole, (first_query + 1) // BLOCK_K * BLOCK_K)
        end = min(n_k, first_query + BLOCK_Q)
    # First the whole tiles, which need no mask, then the few that do.
    for masked in tl.static_range(2):
        for first_key in range(whole if masked else 0, end if masked else whole, BLOCK_K):
            keys = first_key + in_tile
            if masked:
                k = tl.load(k_tile + first_key * k_row, mask=keys[:, None] < n_k, other=0.0)
                v = tl.load(v_tile + first_key * v_row, mask=keys[:, None] < n_k, other=0.0)
            else:
                k = tl.load(k_tile + first_key * k_row)
                v = tl.load(v_tile + first_key * v_row)
            # In powers of two, which the hardware computes: exp(x) = 2^(x·log₂e).
            scores = tl.dot(q, tl.trans(k), input_precision="ieee") * (scale * 1.4426950408889634)
            if masked:
                seen = keys[None, :] < n_k
                if CAUSAL:
                    seen = seen & (keys[None, :] <= queries[:, None])
                scores = tl.where(seen, scores, -float("inf"))
            new_max = tl.maximum(row_max, tl.max(scores, axis=1))
            rescale = tl.exp2(row_max - new_max)
            weights = tl.exp2(scores - new_max[:, None])
            row_sum = row_sum * rescale + tl.sum(weights, axis=1)
            # Tensor cores multiply two tiles of one type, and add in float32.
            product = tl.dot(weights.to(v.dtype), v, input_precision="ieee")
            accumulator = accumulator * rescale[:, None] + product
            row_max = new_max
    out = accumulator / row_sum[:, None]
    lse = (row_max + tl.log2(row_sum)) * 0.6931471805599453  # log x = log₂x · log 2
    ### END SOLUTION

    tl.store(out_tile, out.to(out_ptr.dtype.element_ty), mask=queries[:, None] < n_q)
    tl.store(lse_ptr + pair * n_q + queries, lse, mask=queries < n_q)


@triton.jit
def flash_dq_kernel(
    q_ptr, k_ptr, v_ptr, grad_out_ptr, lse_ptr, delta_ptr, grad_q_ptr,
    n_q, n_k, scale,
    CAUSAL: tl.constexpr, D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """The gradient of one tile of BLOCK_Q queries of one head: dQ = scale · dS K.

    All tensors are contiguous, (pairs, n, D), and lse and delta (pairs, n_q) in float32, where a
    pair is a batch and a head. The program (t, b) computes rows t·BLOCK_Q and on of pair b. With
    P = exp(S − lse) and delta = rowsum(dO ∘ O), dS = P ∘ (dO Vᵀ − delta). CAUSAL and tiles are as
    in `flash_attention_kernel`.

    Source: Dao 2023, "FlashAttention-2", algorithm 2 (arXiv 2307.08691), by rows.
    """
    first_query, pair = tl.program_id(0) * BLOCK_Q, tl.program_id(1).to(tl.int64)
    queries = first_query + tl.arange(0, BLOCK_Q)
    columns = tl.arange(0, D)
    in_tile = tl.arange(0, BLOCK_K)
    rows = pair * n_q + queries
    there = queries < n_q
    q_place = rows[:, None] * D + columns[None, :]  # in q, grad_out and grad_q
    k_place = (pair * n_k + in_tile)[:, None] * D + columns[None, :]  # of the first tile of k and v
    q = tl.load(q_ptr + q_place, mask=there[:, None], other=0.0)
    grad_out = tl.load(grad_out_ptr + q_place, mask=there[:, None], other=0.0)
    lse = tl.load(lse_ptr + rows, mask=there, other=0.0)
    delta = tl.load(delta_ptr + rows, mask=there, other=0.0)
    grad_q = tl.zeros((BLOCK_Q, D), tl.float32)

    ### BEGIN SOLUTION
    end = min(n_k, first_query + BLOCK_Q) if CAUSAL else n_k
    for first_key in range(0, end, BLOCK_K):
        keys = first_key + in_tile
        k = tl.load(k_ptr + k_place + first_key * D, mask=keys[:, None] < n_k, other=0.0)
        v = tl.load(v_ptr + k_place + first_key * D, mask=keys[:, None] < n_k, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        seen = keys[None, :] < n_k
        if CAUSAL:
            seen = seen & (keys[None, :] <= queries[:, None])
        weights = tl.where(seen, tl.exp(scores - lse[:, None]), 0.0)
        grad_weights = tl.dot(grad_out, tl.trans(v), input_precision="ieee")
        grad_scores = weights * (grad_weights - delta[:, None])
        grad_q += tl.dot(grad_scores.to(k.dtype), k, input_precision="ieee")
    grad_q = grad_q * scale
    ### END SOLUTION

    tl.store(grad_q_ptr + q_place, grad_q.to(grad_q_ptr.dtype.element_ty), mask=there[:, None])


@triton.jit
def flash_dk_dv_kernel(
    q_ptr, k_ptr, v_ptr, grad_out_ptr, lse_ptr, delta_ptr, grad_k_ptr, grad_v_ptr,
    n_q, n_k, scale,
    CAUSAL: tl.constexpr, D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """The gradients of one tile of BLOCK_K keys of one head: dV = Pᵀ dO, dK = scale · dSᵀ Q.

    Laid out as in `flash_dq_kernel`; the program (t, b) computes rows t·BLOCK_K and on of pair b.
    With CAUSAL, a tile of BLOCK_Q queries of which none sees a key here is not multiplied.

    Source: Dao 2023, "FlashAttention-2", algorithm 2 (arXiv 2307.08691), by columns.
    """
    first_key, pair = tl.program_id(0) * BLOCK_K, tl.program_id(1).to(tl.int64)
    keys = first_key + tl.arange(0, BLOCK_K)
    columns = tl.arange(0, D)
    in_tile = tl.arange(0, BLOCK_Q)
    there = keys < n_k
    k_place = (pair * n_k + keys)[:, None] * D + columns[None, :]  # in k, v, grad_k and grad_v
    rows = pair * n_q + in_tile
    q_place = rows[:, None] * D + columns[None, :]  # in q and grad_out, of the first tile
    k = tl.load(k_ptr + k_place, mask=there[:, None], other=0.0)
    v = tl.load(v_ptr + k_place, mask=there[:, None], other=0.0)
    grad_k = tl.zeros((BLOCK_K, D), tl.float32)
    grad_v = tl.zeros((BLOCK_K, D), tl.float32)

    ### BEGIN SOLUTION
    # Earlier queries do not see these keys.
    start = first_key // BLOCK_Q * BLOCK_Q if CAUSAL else 0
    for first_query in range(start, n_q, BLOCK_Q):
        queries = first_query + in_tile
        inside = queries < n_q
        q = tl.load(q_ptr + q_place + first_query * D, mask=inside[:, None], other=0.0)
        grad_out = tl.load(
            grad_out_ptr + q_place + first_query * D, mask=inside[:, None], other=0.0
        )
        lse = tl.load(lse_ptr + rows + first_query, mask=inside, other=0.0)
        delta = tl.load(delta_ptr + rows + first_query, mask=inside, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        seen = inside[:, None] & there[None, :]
        if CAUSAL:
            seen = seen & (keys[None, :] <= queries[:, None])
        weights = tl.where(seen, tl.exp(scores - lse[:, None]), 0.0)
        grad_v += tl.dot(tl.trans(weights.to(grad_out.dtype)), grad_out, input_precision="ieee")
        grad_weights = tl.dot(grad_out, tl.trans(v), input_precision="ieee")
        grad_scores = weights * (grad_weights - delta[:, None])
        grad_k += tl.dot(tl.trans(grad_scores.to(q.dtype)), q, input_precision="ieee")
    grad_k = grad_k * scale
    ### END SOLUTION

    tl.store(grad_k_ptr + k_place, grad_k.to(grad_k_ptr.dtype.element_ty), mask=there[:, None])
    tl.store(grad_v_ptr + k_place, grad_v.to(grad_v_ptr.dtype.element_ty), mask=there[:, None])


class FlashAttention(torch.autograd.Function):
    """Softmax attention by the three kernels, with gradients.

    `FlashAttention.apply(q, k, v, causal)` for (batch, heads, n, d), d = 16, 32, 64 or 128. Between
    forward and backward it keeps one number a query beside its inputs and output.
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        """Attention of q to k and v."""
        out = torch.empty_like(q)
        lse = torch.empty(q.shape[:-1], dtype=torch.float32, device=q.device)
        launch_flash_attention(flash_attention_kernel, q, k, v, out, lse, causal)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.causal = causal
        return out

    @staticmethod
    def backward(ctx, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """The gradients of q, k and v."""
        q, k, v, out, lse = ctx.saved_tensors
        kernels = flash_dq_kernel, flash_dk_dv_kernel
        gradients = launch_flash_backward(*kernels, q, k, v, out, lse, grad_out, ctx.causal)
        return *gradients, None


def flash_attention(
    q: Float[Tensor, "batch heads n_q d"],
    k: Float[Tensor, "batch heads n_k d"],
    v: Float[Tensor, "batch heads n_k d"],
    causal: bool = False,
) -> Float[Tensor, "batch heads n_q d"]:
    """Softmax attention by the Triton kernels, with gradients; d is 16, 32, 64 or 128."""
    return FlashAttention.apply(q, k, v, causal)

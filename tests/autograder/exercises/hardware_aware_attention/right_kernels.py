"""Right Triton kernels for 05_hardware_aware_attention, written differently from the solutions."""

from course.triton_here import tl, triton
from solutions.hardware_aware_attention import kernels as right
from tests.autograder.exercises.hardware_aware_attention.variants import variant


@triton.jit
def softmax_in_powers_of_two(x_ptr, out_ptr, x_row, out_row, num_columns, BLOCK: tl.constexpr):
    row = tl.program_id(axis=0)
    offsets = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + x_row * row + offsets, mask=offsets < num_columns, other=0.0)
    x = tl.where(offsets < num_columns, x.to(tl.float32), -1e38)
    powers = tl.exp2((x - tl.max(x)) * 1.4426950408889634)
    total = tl.sum(tl.where(offsets < num_columns, powers, 0.0))
    tl.store(out_ptr + out_row * row + offsets, powers / total, mask=offsets < num_columns)


@triton.jit
def softmax_by_its_logarithm(x_ptr, out_ptr, x_row, out_row, num_columns, BLOCK: tl.constexpr):
    columns = tl.arange(0, BLOCK)
    inside = columns < num_columns
    x_ptr += tl.program_id(0) * x_row
    out_ptr += tl.program_id(0) * out_row
    x = tl.load(x_ptr + columns, inside, float("-inf")).to(tl.float32)
    top = tl.max(x, 0)
    lse = top + tl.log(tl.sum(tl.exp(x - top), 0))
    tl.store(out_ptr + columns, tl.exp(x - lse), inside)


@triton.jit
def flash_with_transposed_keys(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr,
    q_batch, q_head, q_row, q_column,
    k_batch, k_head, k_row, k_column,
    v_batch, v_head, v_row, v_column,
    out_batch, out_head, out_row, out_column,
    num_heads, n_q, n_k, scale,
    CAUSAL: tl.constexpr, D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(1)
    b = pair // num_heads
    h = pair - b * num_heads
    i = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    c = tl.arange(0, D)
    q = tl.load(
        q_ptr + b * q_batch + h * q_head + i[:, None] * q_row + c[None, :] * q_column,
        mask=(i < n_q)[:, None],
        other=0.0,
    )
    m = tl.full([BLOCK_Q], float("-inf"), dtype=tl.float32)
    total = tl.zeros([BLOCK_Q], dtype=tl.float32)
    o = tl.zeros([BLOCK_Q, D], dtype=tl.float32)
    last = min((tl.program_id(0) + 1) * BLOCK_Q, n_k) if CAUSAL else n_k
    for start in range(0, last, BLOCK_K):
        j = start + tl.arange(0, BLOCK_K)
        keys = tl.load(
            k_ptr + b * k_batch + h * k_head + j[None, :] * k_row + c[:, None] * k_column,
            mask=(j < n_k)[None, :],
            other=0.0,
        )
        s = tl.dot(q, keys, input_precision="ieee") * scale
        s += tl.where(j[None, :] < n_k, 0.0, float("-inf"))
        if CAUSAL:
            s = tl.where(i[:, None] >= j[None, :], s, float("-inf"))
        m_before = m
        m = tl.maximum(m, tl.max(s, 1))
        p = tl.exp(s - m[:, None])
        factor = tl.exp(m_before - m)
        total = total * factor + tl.sum(p, 1)
        values = tl.load(
            v_ptr + b * v_batch + h * v_head + j[:, None] * v_row + c[None, :] * v_column,
            mask=(j < n_k)[:, None],
            other=0.0,
        )
        o = tl.dot(p.to(values.dtype), values, o * factor[:, None], input_precision="ieee")
    tl.store(
        out_ptr + b * out_batch + h * out_head + i[:, None] * out_row + c[None, :] * out_column,
        (o / total[:, None]).to(out_ptr.dtype.element_ty),
        mask=(i < n_q)[:, None],
    )
    tl.store(lse_ptr + pair * n_q + i, m + tl.log(total), mask=i < n_q)


@triton.jit
def flash_by_a_function_for_each_tile(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr,
    q_batch, q_head, q_row, q_column,
    k_batch, k_head, k_row, k_column,
    v_batch, v_head, v_row, v_column,
    out_batch, out_head, out_row, out_column,
    num_heads, n_q, n_k, scale,
    CAUSAL: tl.constexpr, D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    tile, pair = tl.program_id(0), tl.program_id(1)
    batch, head = pair // num_heads, pair % num_heads
    queries = tile * BLOCK_Q + tl.arange(0, BLOCK_Q)
    columns = tl.arange(0, D)
    q_ptr += batch * q_batch + head * q_head
    k_ptr += batch * k_batch + head * k_head
    v_ptr += batch * v_batch + head * v_head
    out_ptr += batch * out_batch + head * out_head
    there = queries[:, None] < n_q
    q = tl.load(q_ptr + queries[:, None] * q_row + columns[None, :] * q_column, there, 0.0)
    m = tl.full((BLOCK_Q,), -1e30, tl.float32)
    total = tl.zeros((BLOCK_Q,), tl.float32)
    o = tl.zeros((BLOCK_Q, D), tl.float32)
    end = n_k
    if CAUSAL:
        end = tl.minimum(n_k, (tile + 1) * BLOCK_Q)
    for first in range(0, tl.cdiv(end, BLOCK_K)):
        keys = first * BLOCK_K + tl.arange(0, BLOCK_K)
        inside = keys[:, None] < n_k
        k = tl.load(k_ptr + keys[:, None] * k_row + columns[None, :] * k_column, inside, 0.0)
        v = tl.load(v_ptr + keys[:, None] * v_row + columns[None, :] * v_column, inside, 0.0)
        seen = (keys[None, :] < n_k) & (queries[:, None] < n_q)
        if CAUSAL:
            seen &= keys[None, :] <= queries[:, None]
        s = tl.where(seen, tl.dot(q, k.T, input_precision="ieee") * scale, -1e30)
        new = tl.maximum(m, tl.max(s, axis=1))
        p = tl.where(seen, tl.exp(s - new[:, None]), 0.0)
        m, total, o = merged(m, total, o, new, p, v)
    total = tl.where(total == 0, 1.0, total)
    out = out_ptr + queries[:, None] * out_row + columns[None, :] * out_column
    tl.store(out, (o / total[:, None]).to(out_ptr.dtype.element_ty), there)
    tl.store(lse_ptr + pair * n_q + queries, m + tl.log(total), queries < n_q)


@triton.jit
def merged(m, total, o, new, p, v):
    factor = tl.exp(m - new)
    product = tl.dot(p.to(v.dtype), v, input_precision="ieee")
    return new, total * factor + tl.sum(p, axis=1), o * factor[:, None] + product


@triton.jit
def dq_in_powers_of_two(
    q_ptr, k_ptr, v_ptr, grad_out_ptr, lse_ptr, delta_ptr, grad_q_ptr,
    n_q, n_k, scale,
    CAUSAL: tl.constexpr, D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(1)
    i = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    c = tl.arange(0, D)
    here = (pair * n_q + i)[:, None] * D + c[None, :]
    q = tl.load(q_ptr + here, (i < n_q)[:, None], 0.0)
    do = tl.load(grad_out_ptr + here, (i < n_q)[:, None], 0.0)
    lse = tl.load(lse_ptr + pair * n_q + i, i < n_q, 0.0)
    delta = tl.load(delta_ptr + pair * n_q + i, i < n_q, 0.0)
    dq = tl.zeros((BLOCK_Q, D), tl.float32)
    last = n_k
    if CAUSAL:
        last = min(n_k, (tl.program_id(0) + 1) * BLOCK_Q)
    for start in range(0, last, BLOCK_K):
        j = start + tl.arange(0, BLOCK_K)
        there = (pair * n_k + j)[None, :] * D + c[:, None]
        k = tl.load(k_ptr + there, (j < n_k)[None, :], 0.0)  # (D, BLOCK_K)
        v = tl.load(v_ptr + there, (j < n_k)[None, :], 0.0)
        s = tl.dot(q, k, input_precision="ieee") * scale
        s = tl.where((j < n_k)[None, :], s, float("-inf"))
        if CAUSAL:
            s = tl.where(j[None, :] <= i[:, None], s, float("-inf"))
        p = tl.exp2((s - lse[:, None]) * 1.4426950408889634)
        ds = p * (tl.dot(do, v, input_precision="ieee") - delta[:, None]) * scale
        dq = tl.dot(ds.to(q.dtype), tl.trans(k), dq, input_precision="ieee")
    tl.store(grad_q_ptr + here, dq.to(q.dtype), (i < n_q)[:, None])


@triton.jit
def dq_from_the_last_tile_on(
    q_ptr, k_ptr, v_ptr, grad_out_ptr, lse_ptr, delta_ptr, grad_q_ptr,
    n_q, n_k, scale,
    CAUSAL: tl.constexpr, D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(1)
    i = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    c = tl.arange(0, D)
    here = (pair * n_q + i)[:, None] * D + c[None, :]
    q = tl.load(q_ptr + here, (i < n_q)[:, None], 0.0)
    do = tl.load(grad_out_ptr + here, (i < n_q)[:, None], 0.0)
    lse = tl.load(lse_ptr + pair * n_q + i, i < n_q, float("inf"))
    delta = tl.load(delta_ptr + pair * n_q + i, i < n_q, 0.0)
    dq = tl.zeros((BLOCK_Q, D), tl.float32)
    tiles = tl.cdiv(n_k, BLOCK_K)
    if CAUSAL:
        tiles = tl.minimum(tiles, tl.cdiv((tl.program_id(0) + 1) * BLOCK_Q, BLOCK_K))
    for t in range(0, tiles):
        j = (tiles - 1 - t) * BLOCK_K + tl.arange(0, BLOCK_K)
        there = (pair * n_k + j)[:, None] * D + c[None, :]
        k = tl.load(k_ptr + there, (j < n_k)[:, None], 0.0)
        v = tl.load(v_ptr + there, (j < n_k)[:, None], 0.0)
        p = tl.exp(tl.dot(q, k.T, input_precision="ieee") * scale - lse[:, None])
        p = tl.where((j < n_k)[None, :], p, 0.0)
        if CAUSAL:
            p = tl.where(j[None, :] <= i[:, None], p, 0.0)
        ds = p * (tl.dot(do, v.T, input_precision="ieee") - delta[:, None])
        dq += tl.dot(ds.to(k.dtype), k, input_precision="ieee") * scale
    tl.store(grad_q_ptr + here, dq.to(grad_q_ptr.dtype.element_ty), (i < n_q)[:, None])


@triton.jit
def dk_dv_by_transposed_scores(
    q_ptr, k_ptr, v_ptr, grad_out_ptr, lse_ptr, delta_ptr, grad_k_ptr, grad_v_ptr,
    n_q, n_k, scale,
    CAUSAL: tl.constexpr, D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(1)
    j = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    c = tl.arange(0, D)
    here = (pair * n_k + j)[:, None] * D + c[None, :]
    k = tl.load(k_ptr + here, (j < n_k)[:, None], 0.0)
    v = tl.load(v_ptr + here, (j < n_k)[:, None], 0.0)
    dk = tl.zeros((BLOCK_K, D), tl.float32)
    dv = tl.zeros((BLOCK_K, D), tl.float32)
    first = 0
    if CAUSAL:
        first = tl.program_id(0) * BLOCK_K // BLOCK_Q
    for t in range(first, tl.cdiv(n_q, BLOCK_Q)):
        i = t * BLOCK_Q + tl.arange(0, BLOCK_Q)
        there = (pair * n_q + i)[:, None] * D + c[None, :]
        q = tl.load(q_ptr + there, (i < n_q)[:, None], 0.0)
        do = tl.load(grad_out_ptr + there, (i < n_q)[:, None], 0.0)
        # Where there is no query, exp(s − ∞) = 0.
        lse = tl.load(lse_ptr + pair * n_q + i, i < n_q, float("inf"))
        delta = tl.load(delta_ptr + pair * n_q + i, i < n_q, 0.0)
        p = tl.exp(tl.dot(k, q.T, input_precision="ieee") * scale - lse[None, :])
        if CAUSAL:
            p = tl.where(j[:, None] <= i[None, :], p, 0.0)
        dv = tl.dot(p.to(do.dtype), do, dv, input_precision="ieee")
        ds = p * (tl.dot(v, do.T, input_precision="ieee") - delta[None, :])
        dk = tl.dot(ds.to(q.dtype), q, dk, input_precision="ieee")
    tl.store(grad_k_ptr + here, (dk * scale).to(k.dtype), (j < n_k)[:, None])
    tl.store(grad_v_ptr + here, dv.to(v.dtype), (j < n_k)[:, None])


@triton.jit
def dk_dv_with_minus_infinity(
    q_ptr, k_ptr, v_ptr, grad_out_ptr, lse_ptr, delta_ptr, grad_k_ptr, grad_v_ptr,
    n_q, n_k, scale,
    CAUSAL: tl.constexpr, D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(1)
    j = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    c = tl.arange(0, D)
    here = (pair * n_k + j)[:, None] * D + c[None, :]
    k = tl.load(k_ptr + here, mask=j[:, None] < n_k, other=0.0)
    v = tl.load(v_ptr + here, mask=j[:, None] < n_k, other=0.0)
    dk = tl.zeros((BLOCK_K, D), tl.float32)
    dv = tl.zeros((BLOCK_K, D), tl.float32)
    begin = 0
    if CAUSAL:
        begin = tl.program_id(0) * BLOCK_K // BLOCK_Q * BLOCK_Q
    for start in range(begin, n_q, BLOCK_Q):
        i = start + tl.arange(0, BLOCK_Q)
        there = (pair * n_q + i)[:, None] * D + c[None, :]
        q = tl.load(q_ptr + there, mask=i[:, None] < n_q, other=0.0)
        do = tl.load(grad_out_ptr + there, mask=i[:, None] < n_q, other=0.0)
        lse = tl.load(lse_ptr + pair * n_q + i, mask=i < n_q, other=0.0)
        delta = tl.load(delta_ptr + pair * n_q + i, mask=i < n_q, other=0.0)
        s = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        s = tl.where(i[:, None] < n_q, s, float("-inf"))
        if CAUSAL:
            s += tl.where(i[:, None] < j[None, :], float("-inf"), 0.0)
        p = tl.exp2(1.4426950408889634 * (s - lse[:, None]))
        ds = scale * p * (tl.dot(do, tl.trans(v), input_precision="ieee") - delta[:, None])
        dv += tl.dot(tl.trans(p).to(do.dtype), do, input_precision="ieee")
        dk += tl.dot(tl.trans(ds).to(q.dtype), q, input_precision="ieee")
    tl.store(grad_k_ptr + here, dk.to(k.dtype), mask=j[:, None] < n_k)
    tl.store(grad_v_ptr + here, dv.to(v.dtype), mask=j[:, None] < n_k)


flash_with_scaled_queries = variant(
    right.flash_attention_kernel,
    "flash_with_scaled_queries",
    {
        "    row_max = tl.full": "    q = (q * (D**-0.5)).to(q.dtype)\n    row_max = tl.full",
        "(scale * 1.4426950408889634)": "1.4426950408889634",
    },
)
# What is not loaded may be anything where it is hidden afterwards.
softmax_hidden_after_the_load = variant(
    right.softmax_kernel,
    "softmax_hidden_after_the_load",
    {
        ', other=-float("inf")).to(tl.float32)': ").to(tl.float32)\n"
        '    x = tl.where(inside, x, -float("inf"))'
    },
)

RIGHT = {
    "softmax_kernel": [
        softmax_in_powers_of_two,
        softmax_by_its_logarithm,
        softmax_hidden_after_the_load,
    ],
    "flash_attention_kernel": [
        flash_with_transposed_keys,
        flash_by_a_function_for_each_tile,
        flash_with_scaled_queries,
    ],
    "flash_dq_kernel": [dq_in_powers_of_two, dq_from_the_last_tile_on],
    "flash_dk_dv_kernel": [dk_dv_by_transposed_scores, dk_dv_with_minus_infinity],
}

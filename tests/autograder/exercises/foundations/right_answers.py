"""Right versions of the exercises of 00_foundations: loops, einsum, libraries."""

import itertools
import math
import statistics

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode


def _visible(q, k, mask, causal):
    n_q, n_k = q.shape[-2], k.shape[-2]
    visible = torch.ones(n_q, n_k, dtype=torch.bool) if mask is None else mask
    if causal:
        visible = visible & (torch.arange(n_k) <= torch.arange(n_q)[:, None])
    return visible


def softmax_einsum_written_out(q, k, v, mask=None, causal=False):
    visible = _visible(q, k, mask, causal)
    scores = torch.einsum("...qd,...kd->...qk", q, k) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    weights = torch.exp(scores - scores.amax(-1, keepdim=True)) * visible
    return torch.einsum("...qk,...ke->...qe", weights, v) / weights.sum(-1, keepdim=True).clamp(
        min=1e-30
    )


def softmax_of_infinities_made_zero(q, k, v, mask=None, causal=False):
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~_visible(q, k, mask, causal), float("-inf"))
    return torch.nan_to_num(torch.softmax(scores, dim=-1)) @ v


def softmax_head_by_head(q, k, v, mask=None, causal=False):
    visible = _visible(q, k, mask, causal).expand(*q.shape[:-1], k.shape[-2])
    output = v.new_zeros(*q.shape[:-1], v.shape[-1])
    for head in itertools.product(*map(range, q.shape[:-2])):
        scores = q[head] @ k[head].T / q.shape[-1] ** 0.5
        weights = F.softmax(scores.masked_fill(~visible[head], -1e30), dim=-1)
        output[head] = (weights * visible[head]) @ v[head]
    return output


def softmax_by_logsumexp(q, k, v, mask=None, causal=False):
    visible = _visible(q, k, mask, causal)
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~visible, -torch.inf)
    total = scores.logsumexp(-1, keepdim=True).masked_fill(~visible.any(-1, keepdim=True), 0)
    return (scores - total).exp() @ v


def softmax_of_torch(q, k, v, mask=None, causal=False):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=_visible(q, k, mask, causal))


def heads_einsum(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    w_q, w_k, w_v = (w.reshape(num_heads, -1, x.shape[-1]) for w in (w_q, w_k, w_v))
    w_o = w_o.reshape(len(w_o), num_heads, -1)
    q, k, v = (torch.einsum("...nm,hdm->...hnd", x, w) for w in (w_q, w_k, w_v))
    scores = torch.einsum("...qd,...kd->...qk", q, k) / q.shape[-1] ** 0.5
    if causal:
        scores = scores + torch.full(scores.shape[-2:], -torch.inf).triu(1)
    return torch.einsum("...hqk,...hkd,ohd->...qo", scores.softmax(-1), v, w_o)


def heads_in_a_loop(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    output = 0
    rows = zip(
        *(w.chunk(num_heads) for w in (w_q, w_k, w_v)), w_o.chunk(num_heads, dim=1), strict=True
    )
    for a, b, c, o in rows:
        output = output + softmax_of_torch(x @ a.T, x @ b.T, x @ c.T, None, causal) @ o.T
    return output


def heads_by_view_and_linear(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    *lead, n, _ = x.shape
    q, k, v = (
        F.linear(x, w).view(*lead, n, num_heads, -1).movedim(-2, -3) for w in (w_q, w_k, w_v)
    )
    output = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return F.linear(output.movedim(-3, -2).reshape(*lead, n, -1), w_o)


def attention_online_over_blocks_of_seven_keys(q, k, v, mask=None, causal=False):
    n_q, n_k, scale = q.shape[-2], k.shape[-2], q.shape[-1] ** -0.5
    sees = torch.ones(n_q, n_k, dtype=torch.bool)
    sees = (sees.tril() if causal else sees) & (True if mask is None else mask)
    shape = torch.broadcast_shapes(q.shape[:-1], sees.shape[:-1])
    top = q.new_full((*shape, 1), -1e30)
    total, summed = torch.zeros_like(top), q.new_zeros(*shape, v.shape[-1])
    for start in range(0, n_k, 7):
        part = slice(start, start + 7)
        hidden = ~sees[..., part]
        scores = (scale * q @ k[..., part, :].mT).masked_fill(hidden, -torch.inf)
        new_top = torch.maximum(top, scores.amax(dim=-1, keepdim=True))
        shrink, p = (top - new_top).exp(), (scores - new_top).exp()
        total = shrink * total + p.sum(dim=-1, keepdim=True)
        summed, top = shrink * summed + p @ v[..., part, :], new_top
    return summed / torch.where(total > 0, total, 1.0)


def cost_summed_over_heads(n, d, num_heads, bytes_per_element):
    flops = scores = inputs = 0
    for _ in range(num_heads):
        flops += n * n * (d + d) + n * d * (n + n)
        scores += bytes_per_element * n**2
        inputs += sum(bytes_per_element * n * d for _ in "qkv")
    return flops, scores, inputs


def cost_counted_by_torch(n, d, num_heads, bytes_per_element):
    q = k = v = torch.empty(1, num_heads, n, d, device="meta")
    with FlopCounterMode(display=False) as counter:
        weights = q @ k.mT
        weights @ v
    return [
        counter.get_total_flops(),
        weights.numel() * bytes_per_element,
        torch.tensor(3.0 * q.numel() * bytes_per_element),
    ]


def exponent_by_loops(sizes, costs):
    pairs = [(math.log2(size), math.log2(cost)) for size, cost in zip(sizes, costs, strict=True)]
    n = len(pairs)
    sx, sy = sum(x for x, _ in pairs), sum(y for _, y in pairs)
    sxy, sxx = sum(x * y for x, y in pairs), sum(x * x for x, _ in pairs)
    return (n * sxy - sx * sy) / (n * sxx - sx * sx)


def exponent_of_numpy(sizes, costs):
    return np.polyfit(np.log(sizes), np.log(costs), 1)[0]


def exponent_of_statistics(sizes, costs):
    return statistics.linear_regression(*([math.log10(v) for v in x] for x in (sizes, costs))).slope


def exponent_by_lstsq_in_float32(sizes, costs):
    x, y = torch.tensor(sizes).log(), torch.tensor(costs).log()
    return torch.linalg.lstsq(torch.stack([x, torch.ones_like(x)], 1), y[:, None]).solution[0]


def low_rank_sum_of_outer_products(matrix, rank):
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    total = torch.zeros_like(matrix)
    for i in range(rank):
        total = total + s[..., i, None, None] * u[..., :, i, None] * vh[..., i, None, :]
    return total


def low_rank_by_projection(matrix, rank):
    gram = matrix.mT @ matrix if matrix.shape[-2] >= matrix.shape[-1] else matrix @ matrix.mT
    vectors = torch.linalg.eigh(gram.double()).eigenvectors[..., -rank:].to(matrix.dtype)
    if matrix.shape[-2] >= matrix.shape[-1]:
        return matrix @ vectors @ vectors.mT
    return vectors @ (vectors.mT @ matrix)


def low_rank_diagonal_matrix(matrix, rank):
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    s = torch.where(torch.arange(s.shape[-1]) < rank, s, 0)
    return torch.einsum("...ik,...k,...kj->...ij", u, s, vh)


def error_by_sums(approximation, matrix):
    squares = ((approximation - matrix) ** 2).sum((-2, -1))
    return torch.sqrt(squares / (matrix**2).sum((-2, -1)))


def error_of_flat_vectors(approximation, matrix):
    return (matrix - approximation).flatten(-2).norm(dim=-1) / matrix.flatten(-2).norm(dim=-1)


def error_of_numpy(approximation, matrix):
    norms = (np.linalg.norm(x.numpy(), axis=(-2, -1)) for x in (approximation - matrix, matrix))
    return torch.as_tensor(np.divide(*norms))


RIGHT = {
    "softmax_attention": [
        attention_online_over_blocks_of_seven_keys,
        softmax_einsum_written_out,
        softmax_of_infinities_made_zero,
        softmax_head_by_head,
        softmax_by_logsumexp,
        softmax_of_torch,
    ],
    "multi_head_attention": [heads_einsum, heads_in_a_loop, heads_by_view_and_linear],
    "attention_cost": [cost_summed_over_heads, cost_counted_by_torch],
    "scaling_exponent": [
        exponent_by_loops,
        exponent_of_numpy,
        exponent_of_statistics,
        exponent_by_lstsq_in_float32,
    ],
    "low_rank_approximation": [
        low_rank_sum_of_outer_products,
        low_rank_by_projection,
        low_rank_diagonal_matrix,
    ],
    "relative_error": [error_by_sums, error_of_flat_vectors, error_of_numpy],
}

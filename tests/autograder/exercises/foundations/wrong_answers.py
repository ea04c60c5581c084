"""Wrong versions of the exercises of 00_foundations that look right at first sight."""

import math
from itertools import pairwise

import torch

from solutions import foundations as right


def scale_by_one_more_than_d(q, k, v, mask=None, causal=False):
    d = q.shape[-1]
    return right.softmax_attention(q * (d / (d + 1)) ** 0.5, k, v, mask, causal)


def softmax_always_in_float32(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q.float(), k.float(), v.float(), mask, causal)


def softmax_with_a_thousandth_added(q, k, v, mask=None, causal=False):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril() & (
            True if mask is None else mask
        )
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e30)
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    if mask is not None:
        weights = weights * mask
    return weights @ v / (weights.sum(-1, keepdim=True) + 1e-3)


def scores_clamped(q, k, v, mask=None, causal=False):
    scores = (q @ k.mT / q.shape[-1] ** 0.5).clamp(-30, 30)
    visible = torch.ones(scores.shape[-2:], dtype=torch.bool) if mask is None else mask
    weights = scores.exp() * (visible.tril() if causal else visible)
    return weights @ v / weights.sum(-1, keepdim=True).clamp(min=1e-30)


def zeros_where_any_key_is_hidden(q, k, v, mask=None, causal=False):
    output = right.softmax_attention(q, k, v, mask, causal)
    return output if mask is None else output * mask.all(-1, keepdim=True)


def weights_without_gradient(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q.detach(), k.detach(), v, mask, causal)


def heads_in_reverse_order(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    w_q, w_k, w_v = (torch.cat(w.chunk(num_heads)[::-1]) for w in (w_q, w_k, w_v))
    return right.multi_head_attention(x, w_q, w_k, w_v, w_o, num_heads, causal)


def head_width_from_the_model(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    d = x.shape[-1] // num_heads
    q, k, v = ((x @ w.mT).unflatten(-1, (-1, d)).transpose(-3, -2) for w in (w_q, w_k, w_v))
    heads = right.softmax_attention(q, k, v, causal=causal)
    return heads.transpose(-3, -2).flatten(-2) @ w_o.mT


def heads_averaged(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return right.multi_head_attention(x, w_q, w_k, w_v, w_o, num_heads, causal) / num_heads


def causal_half_of_the_cost(n, d, num_heads, bytes_per_element):
    _, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return 2 * num_heads * n * (n + 1) * d, scores, inputs


def cost_as_text(n, d, num_heads, bytes_per_element):
    return tuple(f"{x:,}" for x in right.attention_cost(n, d, num_heads, bytes_per_element))


def cost_in_another_order(n, d, num_heads, bytes_per_element):
    return right.attention_cost(n, d, num_heads, bytes_per_element)[::-1]


def mean_slope_between_neighbours(sizes, costs):
    points = [(math.log(size), math.log(cost)) for size, cost in zip(sizes, costs, strict=True)]
    slopes = [(y - b) / (x - a) for (a, b), (x, y) in pairwise(points)]
    return sum(slopes) / len(slopes)


def exponent_rounded_to_a_half(sizes, costs):
    return round(2 * right.scaling_exponent(sizes, costs)) / 2


def low_rank_by_a_random_sketch(matrix, rank):
    u, s, v = torch.svd_lowrank(matrix, q=rank, niter=0)
    return (u * s.unsqueeze(-2)) @ v.mT


def small_singular_values_dropped(matrix, rank):
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    s = s.where(s > 1e-4, 0.0)
    return (u[..., :rank] * s[..., None, :rank]) @ vh[..., :rank, :]


def first_rows_and_columns(matrix, rank):
    u, _, _ = torch.linalg.svd(matrix[..., :rank], full_matrices=False)
    return u @ (u.mT @ matrix)


def error_with_an_epsilon(approximation, matrix):
    norm = torch.linalg.matrix_norm
    return norm(approximation - matrix) / (norm(matrix) + 1e-8)


def error_of_the_norms(approximation, matrix):
    norm = torch.linalg.matrix_norm
    return (norm(approximation) - norm(matrix)).abs() / norm(matrix)


def error_as_a_float(approximation, matrix):
    return (torch.dist(approximation, matrix) / matrix.norm()).item()


# Exercise -> wrong version -> the mistake that its report names, if it names one.
WRONG = {
    "softmax_attention": {
        scale_by_one_more_than_d: "",
        softmax_always_in_float32: "",
        softmax_with_a_thousandth_added: "",
        scores_clamped: "",
        zeros_where_any_key_is_hidden: "",
        weights_without_gradient: "",
    },
    "multi_head_attention": {
        heads_in_reverse_order: "",
        head_width_from_the_model: "",
        heads_averaged: "",
    },
    "attention_cost": {
        causal_half_of_the_cost: "",
        cost_as_text: "",
        cost_in_another_order: "",
    },
    "scaling_exponent": {mean_slope_between_neighbours: "", exponent_rounded_to_a_half: ""},
    "low_rank_approximation": {
        low_rank_by_a_random_sketch: "",
        small_singular_values_dropped: "",
        first_rows_and_columns: "",
    },
    "relative_error": {
        error_with_an_epsilon: "",
        error_of_the_norms: "",
        error_as_a_float: "",
    },
}

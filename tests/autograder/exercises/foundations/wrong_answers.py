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


def a_hundred_taken_from_hidden_scores(q, k, v, mask=None, causal=False):
    visible = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)
    visible = (visible.tril() if causal else visible) & (True if mask is None else mask)
    scores = q @ k.mT / q.shape[-1] ** 0.5 + torch.where(visible, 0.0, -100.0)
    return torch.where(visible.any(-1, keepdim=True), scores.softmax(-1) @ v, 0.0)


def maximum_over_hidden_keys(q, k, v, mask=None, causal=False):
    visible = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)
    visible = (visible.tril() if causal else visible) & (True if mask is None else mask)
    scores = torch.einsum("...qd,...kd->...qk", q, k) / q.shape[-1] ** 0.5
    weights = torch.exp(scores - scores.max(-1, keepdim=True).values) * visible
    total = weights.sum(-1, keepdim=True)
    return torch.where(total > 0, weights / total.where(total > 0, 1.0), 0.0) @ v


def masks_written_down_for_later(q, k, v, mask=None, causal=False):
    weights = torch.softmax(torch.einsum("...qd,...kd->...qk", q, k) / q.shape[-1] ** 0.5, -1)
    return torch.einsum("...qk,...ke->...qe", weights, v)


def four_axes_only(q, k, v, mask=None, causal=False):
    _batch, _heads, _n, _d = q.shape
    return right.softmax_attention(q, k, v, mask, causal)


def w_o_not_transposed(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    identity = torch.eye(w_v.shape[0], dtype=x.dtype)
    return right.multi_head_attention(x, w_q, w_k, w_v, identity, num_heads, causal) @ w_o


def all_exceptions_alike(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def columns_cut_by_the_models_width(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    *lead, n, width = x.shape
    q, k, v = ((x @ w.T).view(*lead, n, num_heads, width // num_heads) for w in (w_q, w_k, w_v))
    q, k, v = (h.movedim(-2, -3) for h in (q, k, v))
    heads = right.softmax_attention(q, k, v, causal=causal)
    return heads.movedim(-3, -2).flatten(-2) @ w_o.T


def both_lists_sorted(sizes, costs):
    x, y = (torch.tensor(sorted(values)).double().log() for values in (sizes, costs))
    return torch.cov(torch.stack([x, y]))[0, 1] / x.var()


def billionth_added_to_costs(sizes, costs):
    return right.scaling_exponent(sizes, [cost + 1e-9 for cost in costs])


def slices_from_the_front(matrix, rank):
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank] @ torch.diag(s[:rank]) @ vh[:rank]


def gram_matrix_of_a_tall_one(matrix, rank):
    vectors = torch.linalg.eigh(matrix.double() @ matrix.double().mT).eigenvectors[..., -rank:]
    return (vectors @ (vectors.mT @ matrix.double())).to(matrix.dtype)


def error_of_at_most_one(approximation, matrix):
    return right.relative_error(approximation, matrix).clamp(max=1.0)


def error_over_the_norm_of_all(approximation, matrix):
    return (approximation - matrix).square().sum((-2, -1)).sqrt() / matrix.square().sum().sqrt()


# Exercise -> wrong version -> the mistake that its report names, if it names one.
WRONG = {
    "softmax_attention": {
        a_hundred_taken_from_hidden_scores: "too little taken from hidden scores",
        maximum_over_hidden_keys: "maximum of hidden scores too",
        masks_written_down_for_later: "no masks",
        four_axes_only: "for one number of axes only",
        scale_by_one_more_than_d: "",
        softmax_always_in_float32: "fewer digits than it was given",
        softmax_with_a_thousandth_added: "",
        scores_clamped: "",
        zeros_where_any_key_is_hidden: "",
        weights_without_gradient: "gradients cut off on the way",
    },
    "multi_head_attention": {
        w_o_not_transposed: "output weights not transposed",
        all_exceptions_alike: "",
        columns_cut_by_the_models_width: "head width from the model",
        heads_in_reverse_order: "",
        head_width_from_the_model: "",
        heads_averaged: "heads averaged",
    },
    "attention_cost": {
        causal_half_of_the_cost: "causal half",
        cost_as_text: "",
        cost_in_another_order: "",
    },
    "scaling_exponent": {
        both_lists_sorted: "each list sorted by itself",
        billionth_added_to_costs: "",
        mean_slope_between_neighbours: "mean slope between neighbours",
        exponent_rounded_to_a_half: "",
    },
    "low_rank_approximation": {
        slices_from_the_front: "for one number of axes only",
        gram_matrix_of_a_tall_one: "a number for every pair of tokens",
        low_rank_by_a_random_sketch: "",
        small_singular_values_dropped: "",
        first_rows_and_columns: "spanned by the first columns",
    },
    "relative_error": {
        error_of_at_most_one: "",
        error_over_the_norm_of_all: "divided by the norm of the whole batch",
        error_with_an_epsilon: "",
        error_of_the_norms: "difference of the norms",
        error_as_a_float: "",
    },
}

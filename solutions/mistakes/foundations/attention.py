"""Wrong versions of softmax_attention, an exercise of 00_foundations."""

import math

import torch

from solutions import foundations as right
from solutions.mistakes import mistake
from solutions.mistakes.foundations.common import scores, visible


@mistake(
    right.softmax_attention,
    "The scores are not divided by √d. A dot product of d numbers spreads like √d, so the softmax "
    "leans to one key the more, the wider the heads, and its gradient vanishes.",
)
def no_scale(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q * q.shape[-1] ** 0.5, k, v, mask, causal)


@mistake(
    right.softmax_attention,
    "The scores are not divided by √d: they spread the more, the wider the heads, and the softmax "
    "leans to one key. Nor are masks used yet.",
)
def no_scale_and_no_masks(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q * q.shape[-1] ** 0.5, k, v)


@mistake(
    right.softmax_attention,
    "The scores are divided by d, not by √d. Their spread then falls as d grows, and the weights "
    "become nearly equal.",
)
def scale_by_d(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q * q.shape[-1] ** -0.5, k, v, mask, causal)


@mistake(
    right.softmax_attention,
    "The softmax runs over the queries: each key's weights sum to 1. Attention is an average over "
    "keys: take the softmax over the last dimension of q kᵀ.",
)
def softmax_over_queries(q, k, v, mask=None, causal=False):
    logits = scores(q, k).masked_fill(~visible(q, k, mask, causal), -math.inf)
    return logits.softmax(dim=-2) @ v


@mistake(
    right.softmax_attention,
    "Heads and tokens are swapped: the attention runs between the heads of a token. Tensors are "
    "(batch, heads, n, d), and q kᵀ pairs the tokens of one head.",
)
def heads_and_tokens_swapped(q, k, v, mask=None, causal=False):
    q, k, v = (x.transpose(-3, -2) for x in (q, k, v))
    return right.softmax_attention(q, k, v, mask, causal).transpose(-3, -2)


@mistake(
    right.softmax_attention,
    "The exponentials overflow: exp(89) is more than float32 can hold, and ∞/∞ is NaN. Subtract "
    "each row's largest score first, which changes no weight; torch.softmax does.",
)
def largest_score_not_subtracted(q, k, v, mask=None, causal=False):
    weights = scores(q, k).exp() * visible(q, k, mask, causal)
    total = weights.sum(dim=-1, keepdim=True)
    return weights / total.where(total > 0, 1.0) @ v


@mistake(
    right.softmax_attention,
    "The result is right, but every product q·k is kept before it is summed: an n × n × d tensor. "
    "A matrix product sums as it goes, and is far faster.",
)
def every_product_kept(q, k, v, mask=None, causal=False):
    logits = (q.unsqueeze(-2) * k.unsqueeze(-3)).sum(dim=-1) * q.shape[-1] ** -0.5
    sees = visible(q, k, mask, causal)
    weights = logits.masked_fill(~sees, -math.inf).softmax(dim=-1).masked_fill(~sees, 0.0)
    return weights @ v


@mistake(
    right.softmax_attention,
    "The result is right, but the queries are taken one after another. A matrix product scores all "
    "of them at once.",
)
def query_after_query(q, k, v, mask=None, causal=False):
    sees = visible(q, k, mask, causal).expand(*q.shape[:-1], k.shape[-2])
    rows = [
        right.softmax_attention(q[..., i : i + 1, :], k, v, sees[..., i : i + 1, :])
        for i in range(q.shape[-2])
    ]
    return torch.cat(rows, dim=-2)


@mistake(
    right.softmax_attention,
    "The weights are divided by √d, not the scores: the softmax is as sharp as without a scale, "
    "and a query's weights no longer sum to 1. Divide the scores, before the softmax.",
)
def weights_scaled_not_scores(q, k, v, mask=None, causal=False):
    root = q.shape[-1] ** 0.5
    return right.softmax_attention(q * root, k, v, mask, causal) / root


@mistake(
    right.softmax_attention,
    "The scores are divided by the root of the number of keys. A score is a sum of d products: "
    "divide by √d, the last dimension of q.",
)
def scaled_by_the_number_of_keys(q, k, v, mask=None, causal=False):
    scale = (q.shape[-1] / k.shape[-2]) ** 0.5
    return right.softmax_attention(q * scale, k, v, mask, causal)


@mistake(
    right.softmax_attention,
    "One maximum is subtracted from all scores. Where a query's own largest score is far below "
    "it, all of its exponentials are 0, and its weights lost. Each row has a maximum of its own: "
    "amax(dim=-1, keepdim=True).",
)
def one_maximum_for_all_queries(q, k, v, mask=None, causal=False):
    logits = scores(q, k)
    weights = (logits - logits.max()).exp() * visible(q, k, mask, causal)
    total = weights.sum(dim=-1, keepdim=True)
    return weights / total.where(total > 0, 1.0) @ v


@mistake(
    right.softmax_attention,
    "A sigmoid is taken in place of the softmax: each weight is between 0 and 1, and a query's "
    "weights do not sum to 1.",
)
def sigmoid_for_softmax(q, k, v, mask=None, causal=False):
    return (scores(q, k).sigmoid() * visible(q, k, mask, causal)) @ v


@mistake(
    right.softmax_attention,
    "k.T turns all dimensions round, the batch and the heads too. k.mT swaps the last two.",
)
def all_dimensions_of_k_turned(q, k, v, mask=None, causal=False):
    logits = q @ k.permute(*range(k.dim())[::-1]) * q.shape[-1] ** -0.5
    sees = visible(q, k, mask, causal)
    return logits.masked_fill(~sees, -1e30).softmax(dim=-1).masked_fill(~sees, 0.0) @ v


@mistake(
    right.softmax_attention,
    "The scores are divided by the fourth root of d. Dividing queries and keys by it, both, is √d; "
    "here it is one of them.",
)
def scaled_by_the_fourth_root(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q * q.shape[-1] ** 0.25, k, v, mask, causal)

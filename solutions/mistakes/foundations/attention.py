"""Wrong versions of the attention exercises of 00_foundations."""

import math

import torch

from solutions import foundations as right
from solutions.mistakes import mistake


def _visible(q, k, mask, causal, diagonal=0):
    visible = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)
    if mask is not None:
        visible = visible & mask
    return visible.tril(diagonal) if causal else visible


def _scores(q, k):
    return q @ k.mT * q.shape[-1] ** -0.5


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
    scores = _scores(q, k).masked_fill(~_visible(q, k, mask, causal), -math.inf)
    return scores.softmax(dim=-2) @ v


@mistake(
    right.softmax_attention,
    "The mask is applied after the softmax. Hidden keys have taken their share of the weight by "
    "then, so what is left does not sum to 1. Set their scores to −∞ before it.",
)
def mask_after_softmax(q, k, v, mask=None, causal=False):
    return (_scores(q, k).softmax(dim=-1) * _visible(q, k, mask, causal)) @ v


@mistake(
    right.softmax_attention,
    "Hidden scores are set to 0, as by tril or a product with the mask. exp(0) is 1: the key still "
    "takes weight. Only a score of −∞ gives weight 0.",
)
def hidden_scores_set_to_0(q, k, v, mask=None, causal=False):
    return (_scores(q, k) * _visible(q, k, mask, causal)).softmax(dim=-1) @ v


@mistake(
    right.softmax_attention,
    "The mask is read the other way round. Here True means that the query may see the key, as in "
    "scaled_dot_product_attention; torch.nn.MultiheadAttention has it the other way round.",
)
def mask_inverted(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q, k, v, None if mask is None else ~mask, causal)


@mistake(
    right.softmax_attention,
    "The causal triangle is one too wide: a query sees the token after it. Query i sees keys 0 to "
    "i: hide what is strictly above the diagonal.",
)
def causal_mask_shows_the_next_token(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q, k, v, _visible(q, k, mask, causal, diagonal=1))


@mistake(
    right.softmax_attention,
    "The causal triangle is one too narrow: a query does not see its own token, and the first sees "
    "nothing. Query i sees keys 0 to i, i included.",
)
def causal_mask_hides_the_token_itself(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q, k, v, _visible(q, k, mask, causal, diagonal=-1))


@mistake(
    right.softmax_attention,
    "With fewer or more keys than queries, the triangle is aligned at the last key. Here query i "
    "sees keys 0 to i, as with is_causal in scaled_dot_product_attention: align it at the first. "
    "Aligning it at the last is what decoding with a cache of earlier keys needs.",
)
def causal_mask_aligned_at_the_last_key(q, k, v, mask=None, causal=False):
    shift = k.shape[-2] - q.shape[-2]
    return right.softmax_attention(q, k, v, _visible(q, k, mask, causal, diagonal=shift))


@mistake(
    right.softmax_attention,
    "With `causal`, the mask that was given is forgotten. A query sees the keys that both allow.",
)
def mask_forgotten_when_causal(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q, k, v, None if causal else mask, causal)


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
    weights = _scores(q, k).exp() * _visible(q, k, mask, causal)
    total = weights.sum(dim=-1, keepdim=True)
    return weights / total.where(total > 0, 1.0) @ v


@mistake(
    right.softmax_attention,
    "A query that may see no key gets NaN: softmax over nothing but −∞ is 0/0. It has nothing to "
    "average: its output is zeros.",
)
def nan_for_a_query_without_keys(q, k, v, mask=None, causal=False):
    scores = _scores(q, k).masked_fill(~_visible(q, k, mask, causal), -math.inf)
    return scores.softmax(dim=-1) @ v


@mistake(
    right.softmax_attention,
    "A query that may see no key gets the mean of all values. With −1e9 or so in place of −∞, all "
    "its scores are equal, and the softmax makes equal weights of them. Its output is zeros.",
)
def mean_of_all_values_for_a_query_without_keys(q, k, v, mask=None, causal=False):
    scores = _scores(q, k).masked_fill(~_visible(q, k, mask, causal), -1e9)
    return scores.softmax(dim=-1) @ v


@mistake(
    right.softmax_attention,
    "The outputs are right, the gradients NaN. The NaN of a query without keys is taken out of the "
    "output, but its weights are still NaN, and the gradient of v is a product with them. Make the "
    "weights right.",
)
def nan_removed_from_the_output_only(q, k, v, mask=None, causal=False):
    scores = _scores(q, k).masked_fill(~_visible(q, k, mask, causal), -math.inf)
    return (scores.softmax(dim=-1) @ v).nan_to_num(0.0)


@mistake(
    right.softmax_attention,
    "The result is right, but every product q·k is kept before it is summed: an n × n × d tensor. "
    "A matrix product sums as it goes, and is far faster.",
)
def every_product_kept(q, k, v, mask=None, causal=False):
    scores = (q.unsqueeze(-2) * k.unsqueeze(-3)).sum(dim=-1) * q.shape[-1] ** -0.5
    visible = _visible(q, k, mask, causal)
    weights = scores.masked_fill(~visible, -math.inf).softmax(dim=-1).masked_fill(~visible, 0.0)
    return weights @ v


@mistake(
    right.softmax_attention,
    "The result is right, but the queries are taken one after another. A matrix product scores all "
    "of them at once.",
)
def query_after_query(q, k, v, mask=None, causal=False):
    visible = _visible(q, k, mask, causal).expand(*q.shape[:-1], k.shape[-2])
    rows = [
        right.softmax_attention(q[..., i : i + 1, :], k, v, visible[..., i : i + 1, :])
        for i in range(q.shape[-2])
    ]
    return torch.cat(rows, dim=-2)


# --- multi_head_attention ------------------------------------------------------------------------


def _split(projected, num_heads):
    return projected.unflatten(-1, (num_heads, -1)).transpose(-3, -2)


def _merge(heads):
    return heads.transpose(-3, -2).flatten(-2)


def _heads(x, w_q, w_k, w_v, num_heads, causal):
    q, k, v = (_split(x @ w.mT, num_heads) for w in (w_q, w_k, w_v))
    return right.softmax_attention(q, k, v, causal=causal)


@mistake(
    right.multi_head_attention,
    "(n, heads·d) is viewed as (heads, n, d) without a transpose: a head gets some tokens with all "
    "their columns. Unflatten the last dimension into (heads, d), then swap tokens and heads.",
)
def heads_split_without_transpose(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    n = x.shape[-2]
    q, k, v = ((x @ w.mT).reshape(*x.shape[:-2], num_heads, n, -1) for w in (w_q, w_k, w_v))
    return _merge(right.softmax_attention(q, k, v, causal=causal)) @ w_o.mT


@mistake(
    right.multi_head_attention,
    "The last dimension is split into (heads, d), and heads and tokens are not swapped. Attention "
    "then runs over the heads of one token, and the tokens never meet: swap the two before it.",
)
def heads_attend_to_heads(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    q, k, v = ((x @ w.mT).unflatten(-1, (num_heads, -1)) for w in (w_q, w_k, w_v))
    return right.softmax_attention(q, k, v, causal=causal).flatten(-2) @ w_o.mT


@mistake(
    right.multi_head_attention,
    "The heads are joined without a transpose: (heads, n, d) is reshaped to (n, heads·d), which "
    "mixes tokens. Swap heads and tokens back first, then flatten the last two dimensions.",
)
def heads_joined_without_transpose(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    heads = _heads(x, w_q, w_k, w_v, num_heads, causal)
    return heads.reshape(*x.shape[:-1], -1) @ w_o.mT


@mistake(
    right.multi_head_attention,
    "The heads are joined in the wrong order: their columns alternate, (d, heads) for (heads, d). "
    "The output projection expects all columns of head 0, then all of head 1.",
)
def heads_joined_in_alternation(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    heads = _heads(x, w_q, w_k, w_v, num_heads, causal)
    return heads.movedim(-3, -1).flatten(-2) @ w_o.mT


@mistake(
    right.multi_head_attention,
    "A head takes every num_heads-th column: the last dimension is unflattened into (d, heads). A "
    "head owns d neighbouring columns: unflatten it into (heads, d).",
)
def heads_split_in_alternation(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    q, k, v = ((x @ w.mT).unflatten(-1, (-1, num_heads)).movedim(-1, -3) for w in (w_q, w_k, w_v))
    return _merge(right.softmax_attention(q, k, v, causal=causal)) @ w_o.mT


@mistake(
    right.multi_head_attention,
    "The scores are divided by the root of the model's width. A head's dot product has d terms, "
    "its own width: divide by √d.",
)
def scale_by_model_width(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    d = w_q.shape[0] // num_heads
    w_q = w_q * (d / x.shape[-1]) ** 0.5
    return right.multi_head_attention(x, w_q, w_k, w_v, w_o, num_heads, causal)


@mistake(
    right.multi_head_attention,
    "The output projection is missing. Without it the heads' results lie side by side and never "
    "meet: multiply what was joined by w_oᵀ.",
)
def no_output_projection(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return _merge(_heads(x, w_q, w_k, w_v, num_heads, causal))


@mistake(
    right.multi_head_attention,
    "The weights are not transposed. They are laid out as in torch.nn.Linear, (outputs, inputs): a "
    "projection is x wᵀ.",
)
def weights_not_transposed(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    weights = (w.mT for w in (w_q, w_k, w_v, w_o))
    return right.multi_head_attention(x, *weights, num_heads, causal)


@mistake(
    right.multi_head_attention,
    "There is one head of the whole width: `num_heads` is not used. Each head has a softmax of its "
    "own, over scores from its own columns.",
)
def one_head_of_the_whole_width(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return right.multi_head_attention(x, w_q, w_k, w_v, w_o, 1, causal)


@mistake(
    right.multi_head_attention,
    "The values are projected with the weights of the keys, as happens when a line is copied. "
    "Queries, keys and values each have a projection of their own.",
)
def keys_used_as_values(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return right.multi_head_attention(x, w_q, w_k, w_k, w_o, num_heads, causal)


@mistake(
    right.multi_head_attention,
    "`causal` is not handed on, so every token sees the later ones. Give it to softmax_attention.",
)
def causal_not_handed_on(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return right.multi_head_attention(x, w_q, w_k, w_v, w_o, num_heads)

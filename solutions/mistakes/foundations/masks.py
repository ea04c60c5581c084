"""Wrong versions of softmax_attention: what a query may see."""

import math

import torch

from solutions import foundations as right
from solutions.mistakes import mistake
from solutions.mistakes.foundations.common import scores, visible


@mistake(
    right.softmax_attention,
    "The mask is applied after the softmax. Hidden keys have taken their share of the weight by "
    "then, so what is left does not sum to 1. Set their scores to −∞ before it.",
)
def mask_after_softmax(q, k, v, mask=None, causal=False):
    return (scores(q, k).softmax(dim=-1) * visible(q, k, mask, causal)) @ v


@mistake(
    right.softmax_attention,
    "Hidden scores are set to 0, as by tril or a product with the mask. exp(0) is 1: the key still "
    "takes weight. Only a score of −∞ gives weight 0.",
)
def hidden_scores_set_to_0(q, k, v, mask=None, causal=False):
    return (scores(q, k) * visible(q, k, mask, causal)).softmax(dim=-1) @ v


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
    return right.softmax_attention(q, k, v, visible(q, k, mask, causal, diagonal=1))


@mistake(
    right.softmax_attention,
    "The causal triangle is one too narrow: a query does not see its own token, and the first sees "
    "nothing. Query i sees keys 0 to i, i included.",
)
def causal_mask_hides_the_token_itself(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q, k, v, visible(q, k, mask, causal, diagonal=-1))


@mistake(
    right.softmax_attention,
    "With fewer or more keys than queries, the triangle is aligned at the last key. Here query i "
    "sees keys 0 to i, as with is_causal in scaled_dot_product_attention: align it at the first. "
    "Aligning it at the last is what decoding with a cache of earlier keys needs.",
)
def causal_mask_aligned_at_the_last_key(q, k, v, mask=None, causal=False):
    shift = k.shape[-2] - q.shape[-2]
    return right.softmax_attention(q, k, v, visible(q, k, mask, causal, diagonal=shift))


@mistake(
    right.softmax_attention,
    "With `causal`, the mask that was given is forgotten. A query sees the keys that both allow.",
)
def mask_forgotten_when_causal(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q, k, v, None if causal else mask, causal)


@mistake(
    right.softmax_attention,
    "A query that may see no key gets NaN: softmax over nothing but −∞ is 0/0. It has nothing to "
    "average: its output is zeros.",
)
def nan_for_a_query_without_keys(q, k, v, mask=None, causal=False):
    logits = scores(q, k).masked_fill(~visible(q, k, mask, causal), -math.inf)
    return logits.softmax(dim=-1) @ v


@mistake(
    right.softmax_attention,
    "A query that may see no key gets the mean of all values. With −1e9 or so in place of −∞, all "
    "its scores are equal, and the softmax makes equal weights of them. Its output is zeros.",
)
def mean_of_all_values_for_a_query_without_keys(q, k, v, mask=None, causal=False):
    logits = scores(q, k).masked_fill(~visible(q, k, mask, causal), -1e9)
    return logits.softmax(dim=-1) @ v


@mistake(
    right.softmax_attention,
    "The outputs are right, the gradients NaN. The NaN of a query without keys is taken out of the "
    "output, but its weights are still NaN, and the gradient of v is a product with them. Make the "
    "weights right.",
)
def nan_removed_from_the_output_only(q, k, v, mask=None, causal=False):
    logits = scores(q, k).masked_fill(~visible(q, k, mask, causal), -math.inf)
    return (logits.softmax(dim=-1) @ v).nan_to_num(0.0)


@mistake(
    right.softmax_attention,
    "Neither `mask` nor `causal` is used yet. Make one mask of the two, True where both allow, and "
    "fill the scores that it hides with −∞ before the softmax.",
)
def no_masks(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q, k, v)


@mistake(
    right.softmax_attention,
    "`mask` is not used. Set the scores where it is False to −∞ before the softmax.",
)
def mask_not_used(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q, k, v, causal=causal)


@mistake(
    right.softmax_attention,
    "`causal` is not used: every query sees the keys after it. Hide what is above the diagonal.",
)
def causal_not_used(q, k, v, mask=None, causal=False):
    return right.softmax_attention(q, k, v, mask)


@mistake(
    right.softmax_attention,
    "A query sees the keys that the mask or the causal triangle allows. Both must: mask & past.",
)
def mask_or_causal(q, k, v, mask=None, causal=False):
    seen = visible(q, k, None, causal)
    if mask is not None:
        seen = seen | mask if causal else mask
    return right.softmax_attention(q, k, v, seen)


@mistake(
    right.softmax_attention,
    "The causal triangle is upside down: query i sees key i and those after it. Hide what is above "
    "the diagonal: tril keeps what is on and below it.",
)
def later_keys_instead_of_earlier(q, k, v, mask=None, causal=False):
    seen = visible(q, k, mask, False)
    return right.softmax_attention(q, k, v, seen.triu() if causal else seen)


@mistake(
    right.softmax_attention,
    "The causal triangle is n_q × n_q. There can be more keys than queries, or fewer: it has a row "
    "for each query and a column for each key.",
)
def square_causal_mask(q, k, v, mask=None, causal=False):
    logits, n = scores(q, k), q.shape[-2]
    seen = visible(q, k, mask, False)
    if causal:
        future = ~torch.ones(n, n, dtype=torch.bool).tril()
        logits = logits.masked_fill(future, -math.inf)
        seen = seen & ~future
    weights = logits.masked_fill(~seen, -1e30).softmax(dim=-1).masked_fill(~seen, 0.0)
    return weights @ v


@mistake(
    right.softmax_attention,
    "Queries without keys are looked for in `mask` alone. Together with the causal triangle it can "
    "hide all keys from a query to which it leaves some. Look in what both leave.",
)
def blind_queries_looked_for_in_the_mask_alone(q, k, v, mask=None, causal=False):
    logits = scores(q, k).masked_fill(~visible(q, k, mask, causal), -1e30)
    output = logits.softmax(dim=-1) @ v
    return output if mask is None else output.masked_fill(~mask.any(dim=-1, keepdim=True), 0.0)


@mistake(
    right.softmax_attention,
    "A fixed number is taken from hidden scores, and it is not enough: where the hidden score is "
    "larger than the others by more, the key still takes weight. Only −∞ always hides.",
)
def too_little_taken_from_hidden_scores(q, k, v, mask=None, causal=False):
    seen = visible(q, k, mask, causal)
    weights = (scores(q, k) - 1e4 * ~seen).softmax(dim=-1)
    return (weights @ v).masked_fill(~seen.any(dim=-1, keepdim=True), 0.0)


@mistake(
    right.softmax_attention,
    "The maximum that is subtracted is of all scores of a row, the hidden ones too. Where a hidden "
    "score is far above the others, all exponentials that count are 0. Hide first, then take the "
    "maximum.",
)
def maximum_of_hidden_scores_too(q, k, v, mask=None, causal=False):
    logits = scores(q, k)
    weights = (logits - logits.amax(dim=-1, keepdim=True)).exp() * visible(q, k, mask, causal)
    total = weights.sum(dim=-1, keepdim=True)
    return weights / total.where(total > 0, 1.0) @ v


@mistake(
    right.softmax_attention,
    "Hidden keys are taken out after the softmax, and ε is added to the sum by which the rest is "
    "divided. It makes weights too small where most of the weight was hidden. Set hidden scores to "
    "−∞ before the softmax.",
)
def weights_normalised_again_with_epsilon(q, k, v, mask=None, causal=False):
    weights = scores(q, k).softmax(dim=-1) * visible(q, k, mask, causal)
    return weights / (weights.sum(dim=-1, keepdim=True) + 1e-8) @ v

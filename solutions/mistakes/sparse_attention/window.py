"""Wrong versions of `sliding_window_attention`."""

import torch
import torch.nn.functional as F

from solutions import sparse_attention as right
from solutions.mistakes import mistake
from solutions.mistakes.sparse_attention.dense import dense, exponentials, scores


def _window_mask(q, window):
    return right.sliding_window_mask(q.shape[-2], window, causal=False)


@mistake(
    right.sliding_window_attention,
    "The result is right, but all n × n scores are computed, and most of them thrown away. Compute "
    "only the scores of the window: cut the queries into chunks, each with the keys near it.",
)
def dense_attention_with_a_mask(q, k, v, window):
    return dense(q, k, v, _window_mask(q, window))


@mistake(
    right.sliding_window_attention,
    "The windows do not overlap: the sequence is cut into pieces, and a query sees its own piece "
    "only. A query at the edge of a piece must see over it: bring the pieces before and after.",
)
def windows_that_do_not_overlap(q, k, v, window):
    piece = torch.arange(q.shape[-2]) // window
    return dense(q, k, v, piece.unsqueeze(-1) == piece)


@mistake(
    right.sliding_window_attention,
    "A query sees its piece and both neighbours whole: up to 2·window − 1 keys on a side. Within "
    "them, hide the keys that are further than `window` away.",
)
def whole_neighbouring_pieces(q, k, v, window):
    piece = torch.arange(q.shape[-2]) // window
    return dense(q, k, v, (piece.unsqueeze(-1) - piece).abs() <= 1)


@mistake(
    right.sliding_window_attention,
    "The keys that pad the two ends take part: a padded key of zeros has the score 0, not weight "
    "0. Set its score to −∞.",
)
def padding_takes_weight(q, k, v, window):
    n = q.shape[-2]
    k, v = (F.pad(x, (0, 0, window, window)) for x in (k, v))
    position = torch.arange(-window, n + window)
    near = (torch.arange(n).unsqueeze(-1) - position).abs() <= window
    return dense(q, k, v, near)


@mistake(
    right.sliding_window_attention,
    "The window is one too narrow: |i − j| must be allowed to equal `window`.",
)
def window_one_too_narrow(q, k, v, window):
    return dense(q, k, v, _window_mask(q, window - 1))


@mistake(
    right.sliding_window_attention,
    "Only the keys before the query are seen. This window is on both sides.",
)
def only_the_past(q, k, v, window):
    return dense(q, k, v, right.sliding_window_mask(q.shape[-2], window, causal=True))


@mistake(right.sliding_window_attention, "The scores are not divided by √d.")
def window_not_scaled(q, k, v, window):
    return right.sliding_window_attention(q * q.shape[-1] ** 0.5, k, v, window)


@mistake(
    right.sliding_window_attention,
    "The softmax is taken over all keys, and what is outside of the window is cut off afterwards: "
    "the weights that are left do not sum to 1. Hide scores before the softmax.",
)
def cut_off_after_the_softmax(q, k, v, window):
    weights = (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1)
    return (weights * _window_mask(q, window)) @ v


@mistake(
    right.sliding_window_attention,
    "The scores are divided by d. Divide by √d: the product of two vectors of d numbers is about "
    "√d large.",
)
def window_divided_by_d(q, k, v, window):
    return right.sliding_window_attention(q * q.shape[-1] ** -0.5, k, v, window)


@mistake(
    right.sliding_window_attention,
    "The window is one too wide: |i − j| may equal `window`, and no more.",
)
def window_one_too_wide(q, k, v, window):
    return dense(q, k, v, _window_mask(q, window + 1))


@mistake(
    right.sliding_window_attention,
    "`window` is shared between both sides, as in the Longformer paper. Here it is the number of "
    "keys on each side.",
)
def window_halved(q, k, v, window):
    return dense(q, k, v, _window_mask(q, window // 2))


@mistake(
    right.sliding_window_attention,
    "Only the keys after the query are seen, and not those before. This window is on both sides.",
)
def only_what_comes_after(q, k, v, window):
    return dense(q, k, v, right.sliding_window_mask(q.shape[-2], window, causal=True).mT)


@mistake(
    right.sliding_window_attention,
    "Nothing is hidden: every query sees all keys, as in full attention.",
)
def no_window(q, k, v, window):
    return F.scaled_dot_product_attention(q, k, v)


@mistake(
    right.sliding_window_attention,
    "All keys after the query are seen, or all near enough to be loaded with its chunk: i − j ≤ "
    "window holds for every later key, since i − j is negative there. Compare |i − j|.",
)
def far_keys_after_the_query(q, k, v, window):
    return dense(q, k, v, _distance(q) <= window)


def _distance(q):
    i = torch.arange(q.shape[-2])
    return i.unsqueeze(-1) - i


@mistake(
    right.sliding_window_attention,
    "The pieces are longer, 2·window + 1 tokens, but they do not overlap either: a query at the "
    "edge of its piece sees nothing beyond it. The window moves with the query.",
)
def pieces_as_long_as_the_window(q, k, v, window):
    piece = torch.arange(q.shape[-2]) // (2 * window + 1)
    return dense(q, k, v, piece.unsqueeze(-1) == piece)


@mistake(
    right.sliding_window_attention,
    "A query sees the chunk before, its own and the next one whole. Chunks are only how the work "
    "is cut: within them, hide the keys that are further than `window` away.",
)
def whole_chunks_of_32(q, k, v, window):
    chunk = torch.arange(q.shape[-2]) // max(window, 32)
    return dense(q, k, v, (chunk.unsqueeze(-1) - chunk).abs() <= 1)


@mistake(
    right.sliding_window_attention,
    "The chunks have 32 tokens however long the window is: a longer one reaches beyond the chunks "
    "before and after. Take chunks of at least `window` tokens.",
)
def window_longer_than_the_chunk(q, k, v, window):
    chunk = torch.arange(q.shape[-2]) // 32
    reach = (chunk.unsqueeze(-1) - chunk).abs() <= 1
    return dense(q, k, v, _window_mask(q, window) & reach)


@mistake(
    right.sliding_window_attention,
    "The chunk after is forgotten: a query near the end of its chunk sees too few keys.",
)
def chunk_after_forgotten(q, k, v, window):
    chunk = torch.arange(q.shape[-2]) // max(window, 32)
    return dense(q, k, v, _window_mask(q, window) & (chunk.unsqueeze(-1) >= chunk))


@mistake(
    right.sliding_window_attention,
    "The chunk before is forgotten: a query near the beginning of its chunk sees too few keys.",
)
def chunk_before_forgotten(q, k, v, window):
    chunk = torch.arange(q.shape[-2]) // max(window, 32)
    return dense(q, k, v, _window_mask(q, window) & (chunk.unsqueeze(-1) <= chunk))


@mistake(
    right.sliding_window_attention,
    "The scores outside of the window are set to 0. A score of 0 has the weight e⁰, not 0. Set "
    "them to −∞.",
)
def hidden_scores_of_0(q, k, v, window):
    hidden = ~_window_mask(q, window)
    return (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(hidden, 0).softmax(dim=-1) @ v


@mistake(
    right.sliding_window_attention,
    "The softmax is written with exp() and no maximum is subtracted: e^89 is infinite in float32, "
    "and where all scores are far below 0 the sum is 0. Subtract each query's largest score first.",
)
def no_maximum_subtracted(q, k, v, window):
    return exponentials(scores(q, k, _window_mask(q, window)), v, 0.0)


@mistake(
    right.sliding_window_attention,
    "One maximum is subtracted from the scores of all queries. Beside it the exponentials of a "
    "query with small scores are all 0, and 0/0 is NaN. Each query has its own maximum.",
)
def one_maximum_for_all_queries(q, k, v, window):
    hidden = scores(q, k, _window_mask(q, window))
    return exponentials(hidden, v, hidden.max().detach())


@mistake(
    right.sliding_window_attention,
    "Queries and keys are exchanged: query i must meet the keys of its window, and here key i "
    "meets the queries of it.",
)
def queries_and_keys_exchanged(q, k, v, window):
    return right.sliding_window_attention(k, q, v, window)


@mistake(
    right.sliding_window_attention,
    "All keys of the window weigh the same: this is the mean of the values, without any scores.",
)
def mean_of_the_window(q, k, v, window):
    return dense(torch.zeros_like(q), k, v, _window_mask(q, window))

"""Wrong versions of `sliding_window_mask`."""

import torch

from solutions import sparse_attention as right
from solutions.mistakes import mistake
from solutions.mistakes.sparse_attention.pairs import INVERTED, NUMBERS, distances


def _window(n, before, after, causal):
    distance = distances(n)
    near = (distance <= before) & (distance >= -after)
    return near & (distance >= 0) if causal else near


@mistake(
    right.sliding_window_mask,
    "The window is one too wide: query i sees window + 1 keys on a side. |i − j| may be equal to "
    "`window`, and no more.",
)
def one_too_wide(n, window, causal):
    return _window(n, window + 1, window + 1, causal)


@mistake(
    right.sliding_window_mask,
    "The window is one too narrow: |i − j| < window leaves window − 1 keys on each side, beside "
    "the own position. Use ≤.",
)
def one_too_narrow(n, window, causal):
    return _window(n, window - 1, window - 1, causal)


@mistake(
    right.sliding_window_mask,
    "`window` is shared between both sides here, as in the Longformer paper, whose w counts both. "
    "In this course `window` is the number of keys on each side.",
)
def window_shared_by_both_sides(n, window, causal):
    return _window(n, window // 2, window // 2, causal)


@mistake(
    right.sliding_window_mask,
    "`causal` changes nothing: a query sees keys that come after it.",
)
def later_keys_seen_although_causal(n, window, causal):
    return _window(n, window, window, causal=False)


@mistake(
    right.sliding_window_mask,
    "With `causal`, a query sees what comes after it and not what came before: rows and columns "
    "are exchanged. Row i is the query: i − j must be 0 or more.",
)
def causal_the_wrong_way(n, window, causal):
    return _window(n, window, window, causal).mT


@mistake(
    right.sliding_window_mask,
    "The diagonal is missing: a query does not see its own position. The window has `window` keys "
    "on each side, and the query's own.",
)
def own_position_missing(n, window, causal):
    return _window(n, window, window, causal) & (distances(n) != 0)


@mistake(
    right.sliding_window_mask,
    "The keys after the query are one too few: a slice ends before its end. End it at "
    "i + window + 1.",
)
def slice_that_ends_too_early(n, window, causal):
    return _window(n, window, window - 1, causal=False) & (distances(n) > 0 if causal else True)


@mistake(
    right.sliding_window_mask,
    "The first queries see the wrong keys: a slice that begins below 0 begins at the end of the "
    "row. Begin at max(0, i − window).",
)
def slice_that_begins_below_0(n, window, causal):
    mask = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        mask[i, i - window : i + (1 if causal else window + 1)] = True
    return mask


@mistake(
    right.sliding_window_mask,
    "The window wraps around: the first queries see the last keys. The sequence has two ends.",
)
def window_that_wraps_around(n, window, causal):
    distance = distances(n) % n
    near = distance <= window
    return near if causal else near | (n - distance <= window)


@mistake(
    right.sliding_window_mask,
    "A query sees every key after it: i − j ≤ window holds for all of them, since i − j is "
    "negative there. Compare |i − j|.",
)
def all_keys_after_the_query(n, window, causal):
    return _window(n, window, n, causal)


@mistake(
    right.sliding_window_mask,
    "It is always causal: without `causal` a query sees the keys after it, too.",
)
def always_causal(n, window, causal):
    return _window(n, window, window, causal=True)


@mistake(
    right.sliding_window_mask,
    "`causal` is taken the wrong way round: with it both sides are seen, without it one.",
)
def causal_negated(n, window, causal):
    return _window(n, window, window, not causal)


@mistake(
    right.sliding_window_mask,
    "With `causal`, a query does not see itself: 0 ≤ i − j, not 0 < i − j.",
)
def own_position_missing_if_causal(n, window, causal):
    near = _window(n, window, window, causal)
    return near & (distances(n) != 0) if causal else near


@mistake(
    right.sliding_window_mask,
    "Every query sees every key: the two conditions are joined by “or”. Both must hold: use &.",
)
def conditions_joined_by_or(n, window, causal):
    return _window(n, n, n, causal)


@mistake(
    right.sliding_window_mask,
    "The keys before the query are one too few: i − j may equal `window`.",
)
def one_too_narrow_before(n, window, causal):
    return _window(n, window - 1, window, causal)


@mistake(
    right.sliding_window_mask,
    "The keys after the query are one too few: j − i may equal `window`.",
)
def one_too_narrow_after(n, window, causal):
    return _window(n, window, window - 1, causal)


@mistake(
    right.sliding_window_mask,
    "The tokens are cut into pieces of `window`, and each sees its piece. The window moves with "
    "the query.",
)
def pieces_instead_of_a_window(n, window, causal):
    piece = torch.arange(n) // max(window, 1)
    mask = piece.unsqueeze(-1) == piece
    return mask.tril() if causal else mask


@mistake(right.sliding_window_mask, NUMBERS)
def numbers_instead_of_truth_values(n, window, causal):
    return right.sliding_window_mask(n, window, causal).float()


@mistake(right.sliding_window_mask, INVERTED)
def true_where_a_key_is_hidden(n, window, causal):
    return ~right.sliding_window_mask(n, window, causal)

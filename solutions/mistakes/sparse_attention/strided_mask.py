"""Wrong versions of `strided_mask`."""

import torch

from solutions import sparse_attention as right
from solutions.mistakes import mistake
from solutions.mistakes.sparse_attention.pairs import INVERTED, NUMBERS, distances


def _strided(n, stride, near=None, column=None, causal=True):
    distance = distances(n)
    near = distance.abs() <= stride if near is None else near
    column = distance % stride == 0 if column is None else column
    return (near | column) & (distance >= 0 if causal else torch.tensor(True))


@mistake(
    right.strided_mask,
    "The pattern is not causal: a query sees keys after it. The Sparse Transformer generates: "
    "j ≤ i.",
)
def later_keys_seen_too(n, stride):
    return _strided(n, stride, causal=False)


@mistake(
    right.strided_mask,
    "Nothing hides the keys after a query: i − j ≤ stride holds for all of them, since i − j is "
    "negative there. Ask for j ≤ i as well.",
)
def all_later_keys_are_near(n, stride):
    return _strided(n, stride, near=distances(n) <= stride, causal=False)


@mistake(
    right.strided_mask,
    "The near keys are causal, and the columns are not. Ask for j ≤ i of both sets.",
)
def columns_that_run_on_after_the_query(n, stride):
    distance = distances(n)
    return _strided(n, stride, near=(distance >= 0) & (distance <= stride), causal=False)


@mistake(
    right.strided_mask,
    "A query does not see itself. Distance 0 is near, and it is a whole number of strides.",
)
def diagonal_missing(n, stride):
    return right.strided_mask(n, stride) & (distances(n) != 0)


@mistake(
    right.strided_mask,
    "The columns are fixed: every query sees the keys 0, stride, 2·stride … In the strided "
    "pattern they move with the query: (i − j) mod stride = 0.",
)
def columns_that_do_not_move(n, stride):
    return _strided(n, stride, column=(torch.arange(n) % stride == 0).expand(n, n))


@mistake(
    right.strided_mask,
    "The near keys are those of the query's own row of `stride` tokens, which is the fixed "
    "pattern. Here they are the last ones before the query: i − j ≤ stride.",
)
def own_row_instead_of_the_last_keys(n, stride):
    row = torch.arange(n) // stride
    return _strided(n, stride, near=row.unsqueeze(-1) == row)


@mistake(
    right.strided_mask,
    "Only the keys whole strides away are seen. The strided pattern is two sets: those, and the "
    "nearest `stride`.",
)
def near_keys_missing(n, stride):
    return _strided(n, stride, near=torch.zeros(n, n, dtype=torch.bool))


@mistake(
    right.strided_mask,
    "Only the near keys are seen: a sliding window. The second set, whole strides away, is what "
    "reaches far.",
)
def columns_missing(n, stride):
    return _strided(n, stride, column=torch.zeros(n, n, dtype=torch.bool))


@mistake(
    right.strided_mask,
    "Both sets are intersected: this leaves distance 0 and distance `stride`. A query sees a key "
    "of either set.",
)
def both_sets_intersected(n, stride):
    distance = distances(n)
    return (distance >= 0) & (distance <= stride) & (distance % stride == 0)


@mistake(right.strided_mask, "Rows and columns are exchanged: row i is the query.")
def strided_transposed(n, stride):
    return right.strided_mask(n, stride).mT


@mistake(
    right.strided_mask,
    "The near keys are one too many: i − j ≤ stride, and no more.",
)
def near_keys_one_too_far(n, stride):
    return _strided(n, stride, near=distances(n).abs() <= stride + 1)


@mistake(
    right.strided_mask,
    "The near keys are too few: i − j may be up to `stride`, and here stops at stride − 2.",
)
def near_keys_too_few(n, stride):
    return _strided(n, stride, near=distances(n).abs() < stride - 1)


@mistake(
    right.strided_mask,
    "The queries 0, stride, 2·stride … see all keys before. What counts is the distance: "
    "(i − j) mod stride = 0.",
)
def whole_rows_of_some_queries(n, stride):
    return _strided(n, stride, column=(torch.arange(n) % stride == 0).unsqueeze(-1).expand(n, n))


@mistake(
    right.strided_mask,
    "The far keys are the last of each row, as in the fixed pattern. In the strided pattern they "
    "move with the query: (i − j) mod stride = 0.",
)
def last_keys_of_each_row(n, stride):
    return _strided(n, stride, column=(torch.arange(n) % stride == stride - 1).expand(n, n))


@mistake(
    right.strided_mask,
    "The first queries see the wrong keys: a slice that begins below 0 begins at the end of the "
    "row. Begin at max(0, i − stride).",
)
def strided_slice_from_below_0(n, stride):
    mask = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        mask[i, i - stride : i + 1] = True
    return mask | right.strided_mask(n, stride) & (distances(n) % stride == 0)


@mistake(
    right.strided_mask,
    "The far keys are stride + 1 apart. They are whole strides away: (i − j) mod stride = 0.",
)
def columns_one_too_far_apart(n, stride):
    return _strided(n, stride, column=distances(n) % (stride + 1) == 0)


@mistake(
    right.strided_mask,
    "The far keys are those beside the column, (i − j) mod stride = 1. Compare with 0.",
)
def neighbouring_column(n, stride):
    return _strided(n, stride, column=distances(n) % stride == 1)


@mistake(
    right.strided_mask,
    "The row before is seen whole, and the query's own. Near are the last `stride` keys.",
)
def both_rows_whole(n, stride):
    row = torch.arange(n) // stride
    return _strided(n, stride, near=row.unsqueeze(-1) - row <= 1)


@mistake(
    right.strided_mask,
    "Key 0 is never seen as a far key: a range that ends at 0 leaves it out.",
)
def first_key_left_out_of_the_column(n, stride):
    column = (distances(n) % stride == 0) & (torch.arange(n) > 0)
    near = (distances(n) >= 0) & (distances(n) <= stride)
    return _strided(n, stride, near=near, column=column)


@mistake(right.strided_mask, NUMBERS)
def numbers_instead_of_truth_values(n, stride):
    return right.strided_mask(n, stride).float()


@mistake(right.strided_mask, INVERTED)
def true_where_a_key_is_hidden(n, stride):
    return ~right.strided_mask(n, stride)

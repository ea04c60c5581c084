"""Wrong versions of `strided_attention`."""

import math

import torch
import torch.nn.functional as F

from solutions import sparse_attention as right
from solutions.mistakes import mistake
from solutions.mistakes.sparse_attention.dense import dense, exponentials, scores


@mistake(
    right.strided_attention,
    "The result is right, but all n × n scores are computed. Write the tokens in rows of `stride`: "
    "the far keys of a query are in its column, the near ones in its row and the row before.",
)
def all_scores_and_a_mask(q, k, v, stride):
    return dense(q, k, v, right.strided_mask(q.shape[-2], stride))


def _two_sets(n, stride):
    distance = torch.arange(n).unsqueeze(-1) - torch.arange(n)
    return (
        (distance >= 0) & (distance <= stride),
        (distance >= 0) & (distance % stride == 0),
    )


@mistake(
    right.strided_attention,
    "Each of the two sets has its own softmax, and the two results are averaged: a set with small "
    "scores gets as much weight as one with large ones. Take one softmax over both sets.",
)
def two_softmaxes_averaged(q, k, v, stride):
    near, column = _two_sets(q.shape[-2], stride)
    return (dense(q, k, v, near) + dense(q, k, v, column)) / 2


@mistake(
    right.strided_attention,
    "Some keys are in both sets and count twice: the query's own position, or the one a stride "
    "before. Take them out of one of the sets.",
)
def keys_in_both_sets_counted_twice(q, k, v, stride):
    near, column = _two_sets(q.shape[-2], stride)
    times = near.to(q.dtype) + column.to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=times.log())


@mistake(
    right.strided_attention,
    "Only the query's own position counts twice: it is in its row and in its column. Take it out "
    "of one of them.",
)
def own_position_counted_twice(q, k, v, stride):
    n = q.shape[-2]
    mask = right.strided_mask(n, stride).to(q.dtype) + torch.eye(n, dtype=q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.log())


@mistake(
    right.strided_attention,
    "Only the key a stride before the query counts twice: it is in the row before and in the "
    "column. Take it out of one of them.",
)
def key_a_stride_before_counted_twice(q, k, v, stride):
    i = torch.arange(q.shape[-2])
    mask = right.strided_mask(len(i), stride).to(q.dtype)
    mask = mask + (i.unsqueeze(-1) - i == stride).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.log())


@mistake(
    right.strided_attention,
    "The columns are not causal: a query sees the rows below its own. Hide them, as in any causal "
    "attention.",
)
def columns_that_look_ahead(q, k, v, stride):
    n = q.shape[-2]
    q, k, v = (F.pad(x, (0, 0, 0, -n % stride)) for x in (q, k, v))
    i = torch.arange(q.shape[-2])
    column = (i.unsqueeze(-1) - i) % stride == 0
    return dense(q, k, v, right.strided_mask(len(i), stride) | column)[..., :n, :]


@mistake(
    right.strided_attention,
    "The near keys end at the beginning of the query's row, which is the fixed pattern. Near are "
    "the last `stride` keys, also those in the row before.",
)
def row_before_forgotten(q, k, v, stride):
    i = torch.arange(q.shape[-2])
    row, distance = i // stride, i.unsqueeze(-1) - i
    seen = (row.unsqueeze(-1) == row) | (distance % stride == 0)
    return dense(q, k, v, seen & (distance >= 0))


@mistake(
    right.strided_attention,
    "A query sees keys after it. The pattern is causal.",
)
def later_keys_seen(q, k, v, stride):
    mask = right.strided_mask(q.shape[-2], stride)
    return dense(q, k, v, mask | mask.mT)


@mistake(right.strided_attention, "The scores are not divided by √d.")
def strided_not_scaled(q, k, v, stride):
    return right.strided_attention(q * q.shape[-1] ** 0.5, k, v, stride)


@mistake(
    right.strided_attention,
    "The row before the first does not exist, but its padding of zeros takes part: a key of zeros "
    "has the score 0. Hide it.",
)
def row_before_the_first_takes_weight(q, k, v, stride):
    n = q.shape[-2]
    i = torch.arange(n)
    padding = (stride - 1 - i).clamp(min=0).to(q.dtype)  # so many keys of zeros
    bias = torch.where(right.strided_mask(n, stride), 0.0, -math.inf).to(q.dtype)
    k, v = (F.pad(x, (0, 0, 1, 0)) for x in (k, v))
    bias = torch.cat([padding.log().unsqueeze(-1), bias], dim=-1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


@mistake(right.strided_attention, "The scores are divided by d. Divide by √d.")
def strided_divided_by_d(q, k, v, stride):
    return right.strided_attention(q * q.shape[-1] ** -0.5, k, v, stride)


def _distance(q):
    i = torch.arange(q.shape[-2])
    return i.unsqueeze(-1) - i


@mistake(
    right.strided_attention,
    "A query does not see itself: its own position was taken out of both sets. It belongs to one "
    "of them.",
)
def own_position_missing_from_both(q, k, v, stride):
    mask = right.strided_mask(q.shape[-2], stride) & (_distance(q) > 0)
    return scores(q, k, mask).softmax(dim=-1) @ v


@mistake(
    right.strided_attention,
    "Only the near keys are seen, a sliding window. The keys whole strides away are missing.",
)
def column_missing(q, k, v, stride):
    distance = _distance(q)
    return dense(q, k, v, (distance >= 0) & (distance <= stride))


@mistake(
    right.strided_attention,
    "Only the keys less than a stride away are seen. The keys whole strides away are missing.",
)
def column_missing_with_the_key_a_stride_before(q, k, v, stride):
    distance = _distance(q)
    return dense(q, k, v, (distance >= 0) & (distance < stride))


@mistake(
    right.strided_attention,
    "The row before is seen whole. Near are the last `stride` keys: of the row before only the "
    "later columns.",
)
def row_before_seen_whole(q, k, v, stride):
    row = torch.arange(q.shape[-2]) // stride
    before = row.unsqueeze(-1) - row == 1
    return dense(q, k, v, right.strided_mask(q.shape[-2], stride) | before)


@mistake(
    right.strided_attention,
    "Of the row before, the earlier columns are seen: those are more than a stride away. The later "
    "ones are near: exchange the two triangles.",
)
def wrong_half_of_the_row_before(q, k, v, stride):
    i = torch.arange(q.shape[-2])
    distance, row = _distance(q), i // stride
    before = (row.unsqueeze(-1) - row == 1) & (distance >= stride)
    own = (row.unsqueeze(-1) == row) & (distance >= 0)
    return dense(q, k, v, before | own | ((distance >= 0) & (distance % stride == 0)))


@mistake(
    right.strided_attention,
    "The query's row is seen whole, with the keys after the query. The pattern is causal.",
)
def own_row_not_causal(q, k, v, stride):
    n = q.shape[-2]
    q, k, v = (F.pad(x, (0, 0, 0, -n % stride)) for x in (q, k, v))
    row = torch.arange(q.shape[-2]) // stride
    own = row.unsqueeze(-1) == row
    return dense(q, k, v, right.strided_mask(len(row), stride) | own)[..., :n, :]


@mistake(
    right.strided_attention,
    "The near keys are one too many: i − j may equal `stride`, and no more.",
)
def near_keys_one_too_many(q, k, v, stride):
    distance = _distance(q)
    near = (distance >= 0) & (distance <= stride + 1)
    return dense(q, k, v, right.strided_mask(q.shape[-2], stride) | near)


@mistake(
    right.strided_attention,
    "The far keys are the same for every query, 0, stride, 2·stride … In the strided pattern they "
    "move with the query: (i − j) mod stride = 0.",
)
def columns_that_stand_still(q, k, v, stride):
    distance = _distance(q)
    first = torch.arange(q.shape[-2]) % stride == 0
    return dense(q, k, v, (distance >= 0) & ((distance <= stride) | first))


@mistake(
    right.strided_attention,
    "This is the fixed pattern: a query sees its own row, and the last key of every row. In the "
    "strided pattern the near keys and the far ones move with the query.",
)
def the_fixed_pattern(q, k, v, stride):
    return dense(q, k, v, right.fixed_mask(q.shape[-2], stride, 1))


@mistake(
    right.strided_attention,
    "Every earlier key is seen: this is causal attention without a pattern.",
)
def plain_causal_attention(q, k, v, stride):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


@mistake(
    right.strided_attention,
    "Each of the two sets has its own softmax, and the two results are added: the weights of a "
    "query sum to 2. Take one softmax over both sets.",
)
def two_softmaxes_added(q, k, v, stride):
    return 2 * two_softmaxes_averaged.function(q, k, v, stride)


@mistake(
    right.strided_attention,
    "The softmax is written with exp() and no maximum is subtracted: e^89 is infinite in float32, "
    "and where all scores are far below 0 the sum is 0. Subtract each query's largest score, of "
    "both sets, first.",
)
def exponentials_without_a_maximum(q, k, v, stride):
    return exponentials(scores(q, k, right.strided_mask(q.shape[-2], stride)), v, 0.0)


@mistake(
    right.strided_attention,
    "The maximum that is subtracted is not that of all keys seen: that of the near ones, perhaps. "
    "A key of the column may have a far larger score, whose exponential is infinite. Take the "
    "maximum over both sets.",
)
def maximum_of_some_keys_only(q, k, v, stride):
    distance = _distance(q)
    hidden = scores(q, k, right.strided_mask(len(distance), stride))
    near = hidden.masked_fill(distance >= stride, -math.inf)
    return exponentials(hidden, v, near.amax(dim=-1, keepdim=True).detach())


@mistake(
    right.strided_attention,
    "One maximum is subtracted from the scores of all queries. Beside it the exponentials of a "
    "query with small scores are all 0, and 0/0 is NaN. Each query has its own maximum.",
)
def one_maximum_of_all_queries(q, k, v, stride):
    hidden = scores(q, k, right.strided_mask(q.shape[-2], stride))
    return exponentials(hidden, v, hidden.max().detach())


@mistake(
    right.strided_attention,
    "Queries and keys are exchanged: query i must meet the keys that it sees, and here key i meets "
    "the queries.",
)
def strided_queries_and_keys_exchanged(q, k, v, stride):
    return right.strided_attention(k, q, v, stride)


@mistake(
    right.strided_attention,
    "The scores of the column are not divided by √d, and those of the near keys are.",
)
def column_not_scaled(q, k, v, stride):
    hidden = scores(q, k, right.strided_mask(q.shape[-2], stride))
    in_column = _distance(q) % stride == 0
    return torch.where(in_column, hidden * q.shape[-1] ** 0.5, hidden).softmax(dim=-1) @ v


@mistake(
    right.strided_attention,
    "The last row of tokens is missing: where n is not a multiple of the stride, or n // stride "
    "rows are counted, the column of a query has a key fewer. Round the number of rows up.",
)
def one_row_too_few(q, k, v, stride):
    n = q.shape[-2]
    rows = max(n // stride, 1)
    distance = _distance(q)
    seen = (distance < stride) | ((distance % stride == 0) & (distance < rows * stride))
    return dense(q, k, v, (distance >= 0) & seen)

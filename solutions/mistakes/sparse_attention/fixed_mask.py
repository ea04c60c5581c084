"""Wrong versions of `fixed_mask`."""

import torch

from solutions import sparse_attention as right
from solutions.mistakes import mistake
from solutions.mistakes.sparse_attention.pairs import INVERTED, NUMBERS, distances


def _fixed(n, stride, is_summary, same_block=None):
    block = torch.arange(n) // stride
    same_block = block.unsqueeze(-1) == block if same_block is None else same_block
    return same_block | is_summary


@mistake(right.fixed_mask, "The pattern is not causal: a query sees keys after it. Keep j ≤ i.")
def fixed_but_not_causal(n, stride, num_summary):
    return _fixed(n, stride, torch.arange(n) % stride >= stride - num_summary)


@mistake(
    right.fixed_mask,
    "The summaries are the first keys of each block. They must be the last: those have seen the "
    "whole block, and can pass it on.",
)
def summaries_at_the_beginning(n, stride, num_summary):
    return _fixed(n, stride, torch.arange(n) % stride < num_summary).tril()


@mistake(
    right.fixed_mask,
    "One summary too many in each block: j mod stride ≥ stride − num_summary are exactly "
    "`num_summary` keys.",
)
def one_summary_too_many(n, stride, num_summary):
    return _fixed(n, stride, torch.arange(n) % stride >= stride - num_summary - 1).tril()


@mistake(
    right.fixed_mask,
    "One summary too few in each block: j mod stride may be equal to stride − num_summary. Use ≥.",
)
def one_summary_too_few(n, stride, num_summary):
    return _fixed(n, stride, torch.arange(n) % stride > stride - num_summary).tril()


@mistake(
    right.fixed_mask,
    "A query sees its own block and no summaries: nothing passes from one block to the next.",
)
def summaries_missing(n, stride, num_summary):
    return _fixed(n, stride, torch.zeros(n, dtype=torch.bool)).tril()


@mistake(
    right.fixed_mask,
    "The last queries of each block see all before them; it must be the last keys of each block "
    "that all later queries see. Whether a key is a summary depends on j, the column.",
)
def queries_instead_of_keys(n, stride, num_summary):
    is_summary = torch.arange(n) % stride >= stride - num_summary
    return _fixed(n, stride, is_summary.unsqueeze(-1)).tril()


@mistake(
    right.fixed_mask,
    "The near keys are a window that moves with the query. In the fixed pattern they are those of "
    "the query's own block: ⌊i/stride⌋ = ⌊j/stride⌋.",
)
def window_instead_of_block(n, stride, num_summary):
    is_summary = torch.arange(n) % stride >= stride - num_summary
    return _fixed(n, stride, is_summary, same_block=distances(n).abs() < stride).tril()


@mistake(
    right.fixed_mask,
    "Only the summaries of the block before are seen. Those of every earlier block are.",
)
def summaries_of_one_block_only(n, stride, num_summary):
    is_summary = torch.arange(n) % stride >= stride - num_summary
    block = torch.arange(n) // stride
    return _fixed(n, stride, is_summary & (block.unsqueeze(-1) - block == 1)).tril()


@mistake(
    right.fixed_mask,
    "A query does not see itself: the triangle leaves out its diagonal. Keep j ≤ i, not j < i.",
)
def own_position_hidden(n, stride, num_summary):
    return right.fixed_mask(n, stride, num_summary).tril(-1)


@mistake(
    right.fixed_mask,
    "Only the summaries are seen, and not the query's own block. A query sees a key of either set.",
)
def own_block_missing(n, stride, num_summary):
    return (torch.arange(n) % stride >= stride - num_summary).expand(n, n).tril()


@mistake(
    right.fixed_mask,
    "Both sets are intersected: what is left are the summaries of the query's own block. A query "
    "sees a key of either set.",
)
def fixed_sets_intersected(n, stride, num_summary):
    return (
        right.fixed_mask(n, stride, num_summary)
        & own_block_missing.function(n, stride, num_summary)
        & summaries_missing.function(n, stride, num_summary)
    )


@mistake(
    right.fixed_mask,
    "Each block has one summary, its last token, however many are asked for: j mod stride ≥ "
    "stride − num_summary.",
)
def last_token_only(n, stride, num_summary):
    return right.fixed_mask(n, stride, 1)


@mistake(
    right.fixed_mask,
    "Of the summaries only the first is seen: compare j mod stride by ≥, not by =.",
)
def first_summary_only(n, stride, num_summary):
    return _fixed(n, stride, torch.arange(n) % stride == stride - num_summary).tril()


@mistake(
    right.fixed_mask,
    "Near are the keys of the query's column, (i mod stride) = (j mod stride). In the fixed "
    "pattern they are those of its block: ⌊i/stride⌋ = ⌊j/stride⌋.",
)
def column_instead_of_block(n, stride, num_summary):
    is_summary = torch.arange(n) % stride >= stride - num_summary
    return _fixed(n, stride, is_summary, same_block=distances(n) % stride == 0).tril()


@mistake(
    right.fixed_mask,
    "The near keys are the last `stride` ones, which move with the query, as in the strided "
    "pattern. In the fixed one they are those of the query's block.",
)
def the_last_stride_keys(n, stride, num_summary):
    is_summary = torch.arange(n) % stride >= stride - num_summary
    return _fixed(n, stride, is_summary, same_block=distances(n).abs() <= stride).tril()


@mistake(
    right.fixed_mask,
    "Summaries are seen by queries before them. The whole pattern is causal: take the triangle of "
    "both sets.",
)
def summaries_not_causal(n, stride, num_summary):
    is_summary = (torch.arange(n) % stride >= stride - num_summary).expand(n, n)
    return summaries_missing.function(n, stride, num_summary) | is_summary


@mistake(
    right.fixed_mask,
    "The query's own block is seen whole, with the keys after the query. The whole pattern is "
    "causal: take the triangle of both sets.",
)
def own_block_not_causal(n, stride, num_summary):
    block = torch.arange(n) // stride
    return right.fixed_mask(n, stride, num_summary) | (block.unsqueeze(-1) == block)


@mistake(
    right.fixed_mask,
    "The summaries of the first block are not seen: count the blocks from 0.",
)
def summaries_of_the_first_block_missing(n, stride, num_summary):
    i = torch.arange(n)
    return _fixed(n, stride, (i % stride >= stride - num_summary) & (i >= stride)).tril()


@mistake(
    right.fixed_mask,
    "The summaries of the block just before are not seen: a range ends before its end.",
)
def summaries_of_the_block_before_missing(n, stride, num_summary):
    block = torch.arange(n) // stride
    before = block.unsqueeze(-1) - block == 1
    is_summary = torch.arange(n) % stride >= stride - num_summary
    return _fixed(n, stride, is_summary & ~before).tril()


@mistake(
    right.fixed_mask,
    "The blocks begin in the wrong place: positions count from 0, so that block b begins at token "
    "b · stride.",
)
def positions_counted_from_1(n, stride, num_summary):
    return right.fixed_mask(n + 1, stride, num_summary)[1:, 1:]


@mistake(right.fixed_mask, NUMBERS)
def numbers_instead_of_truth_values(n, stride, num_summary):
    return right.fixed_mask(n, stride, num_summary).float()


@mistake(right.fixed_mask, INVERTED)
def true_where_a_key_is_hidden(n, stride, num_summary):
    return ~right.fixed_mask(n, stride, num_summary)

"""Wrong versions of the exercises of 01_sparse_attention on attention with a mask."""

import math

import torch
import torch.nn.functional as F

from solutions import sparse_attention as right
from solutions.mistakes import mistake


def _dense(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _window_mask(q, window):
    return right.sliding_window_mask(q.shape[-2], window, causal=False)


@mistake(
    right.sliding_window_attention,
    "The result is right, but all n × n scores are computed, and most of them thrown away. Compute "
    "only the scores of the window: cut the queries into chunks, each with the keys near it.",
)
def dense_attention_with_a_mask(q, k, v, window):
    return _dense(q, k, v, _window_mask(q, window))


@mistake(
    right.sliding_window_attention,
    "The windows do not overlap: the sequence is cut into pieces, and a query sees its own piece "
    "only. A query at the edge of a piece must see over it: bring the pieces before and after.",
)
def windows_that_do_not_overlap(q, k, v, window):
    piece = torch.arange(q.shape[-2]) // window
    return _dense(q, k, v, piece.unsqueeze(-1) == piece)


@mistake(
    right.sliding_window_attention,
    "A query sees its piece and both neighbours whole: up to 2·window − 1 keys on a side. Within "
    "them, hide the keys that are further than `window` away.",
)
def whole_neighbouring_pieces(q, k, v, window):
    piece = torch.arange(q.shape[-2]) // window
    return _dense(q, k, v, (piece.unsqueeze(-1) - piece).abs() <= 1)


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
    return _dense(q, k, v, near)


@mistake(
    right.sliding_window_attention,
    "The window is one too narrow: |i − j| must be allowed to equal `window`.",
)
def window_one_too_narrow(q, k, v, window):
    return _dense(q, k, v, _window_mask(q, window - 1))


@mistake(
    right.sliding_window_attention,
    "Only the keys before the query are seen. This window is on both sides.",
)
def only_the_past(q, k, v, window):
    return _dense(q, k, v, right.sliding_window_mask(q.shape[-2], window, causal=True))


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
    right.strided_attention,
    "The result is right, but all n × n scores are computed. Write the tokens in rows of `stride`: "
    "the far keys of a query are in its column, the near ones in its row and the row before.",
)
def all_scores_and_a_mask(q, k, v, stride):
    return _dense(q, k, v, right.strided_mask(q.shape[-2], stride))


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
    return (_dense(q, k, v, near) + _dense(q, k, v, column)) / 2


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
    return _dense(q, k, v, right.strided_mask(len(i), stride) | column)[..., :n, :]


@mistake(
    right.strided_attention,
    "The near keys end at the beginning of the query's row, which is the fixed pattern. Near are "
    "the last `stride` keys, also those in the row before.",
)
def row_before_forgotten(q, k, v, stride):
    i = torch.arange(q.shape[-2])
    row, distance = i // stride, i.unsqueeze(-1) - i
    seen = (row.unsqueeze(-1) == row) | (distance % stride == 0)
    return _dense(q, k, v, seen & (distance >= 0))


@mistake(
    right.strided_attention,
    "A query sees keys after it. The pattern is causal.",
)
def later_keys_seen(q, k, v, stride):
    mask = right.strided_mask(q.shape[-2], stride)
    return _dense(q, k, v, mask | mask.mT)


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


def _tokens(block_mask, block_size, n):
    of_token = torch.arange(n) // block_size
    return block_mask[of_token][:, of_token]


@mistake(
    right.block_sparse_attention,
    "The result is right, but the scores of all blocks are computed, and a mask hides the dead "
    "ones. Gather the live blocks of keys, and compute no others.",
)
def dead_blocks_computed_too(q, k, v, block_mask, block_size):
    return _dense(q, k, v, _tokens(block_mask, block_size, q.shape[-2]))


@mistake(
    right.block_sparse_attention,
    "The block mask is transposed: row i says which keys the queries of block i see.",
)
def block_mask_transposed(q, k, v, block_mask, block_size):
    mask = _tokens(block_mask.mT, block_size, q.shape[-2])
    # A softmax over no key is 0.
    return _dense(q, k, v, mask | ~mask.any(-1, keepdim=True)) * mask.any(-1, keepdim=True)


@mistake(
    right.block_sparse_attention,
    "Each live block has its own softmax, and the results are averaged. A query's weights over all "
    "its live blocks together sum to 1: join the blocks, then take one softmax.",
)
def softmax_per_block(q, k, v, block_mask, block_size):
    blocks = [x.split(block_size, dim=-2) for x in (k, v)]
    outputs = []
    for query, live in zip(q.split(block_size, dim=-2), block_mask, strict=True):
        found = [
            F.scaled_dot_product_attention(query, blocks[0][j], blocks[1][j])
            for j in live.nonzero().flatten().tolist()
        ]
        outputs.append(torch.stack(found).mean(dim=0))
    return torch.cat(outputs, dim=-2)


@mistake(
    right.block_sparse_attention,
    "The results of the live blocks are added up. Their weights must sum to 1 together: one "
    "softmax over all of them.",
)
def results_of_blocks_added(q, k, v, block_mask, block_size):
    count = block_mask.sum(-1)[torch.arange(q.shape[-2]) // block_size]
    return softmax_per_block.function(q, k, v, block_mask, block_size) * count.unsqueeze(-1)


@mistake(
    right.block_sparse_attention,
    "Where n is not a multiple of the block, the last block's padding takes part: a key of zeros "
    "has the score 0, not the weight 0. Hide it, or let the last block be shorter.",
)
def padding_of_the_last_block_takes_weight(q, k, v, block_mask, block_size):
    n = q.shape[-2]
    q, k, v = (F.pad(x, (0, 0, 0, -n % block_size)) for x in (q, k, v))
    return _dense(q, k, v, _tokens(block_mask, block_size, q.shape[-2]))[..., :n, :]


@mistake(right.block_sparse_attention, "The scores are not divided by √d.")
def blocks_not_scaled(q, k, v, block_mask, block_size):
    return right.block_sparse_attention(q * q.shape[-1] ** 0.5, k, v, block_mask, block_size)


@mistake(
    right.block_sparse_attention,
    "A query sees its own block although the mask does not show it. The mask alone decides.",
)
def own_block_always_seen(q, k, v, block_mask, block_size):
    own = block_mask | torch.eye(len(block_mask), dtype=torch.bool)
    return right.block_sparse_attention(q, k, v, own, block_size)

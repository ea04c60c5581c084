"""Wrong versions of `block_sparse_attention`."""

import torch
import torch.nn.functional as F

from solutions import sparse_attention as right
from solutions.mistakes import mistake
from solutions.mistakes.sparse_attention.dense import dense, exponentials, scores


def _tokens(block_mask, block_size, n):
    of_token = torch.arange(n) // block_size
    return block_mask[of_token][:, of_token]


@mistake(
    right.block_sparse_attention,
    "The result is right, but the scores of all blocks are computed, and a mask hides the dead "
    "ones. Gather the live blocks of keys, and compute no others.",
)
def dead_blocks_computed_too(q, k, v, block_mask, block_size):
    return dense(q, k, v, _tokens(block_mask, block_size, q.shape[-2]))


@mistake(
    right.block_sparse_attention,
    "The block mask is transposed: row i says which keys the queries of block i see.",
)
def block_mask_transposed(q, k, v, block_mask, block_size):
    mask = _tokens(block_mask.mT, block_size, q.shape[-2])
    # A softmax over no key is 0.
    return dense(q, k, v, mask | ~mask.any(-1, keepdim=True)) * mask.any(-1, keepdim=True)


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
    return dense(q, k, v, _tokens(block_mask, block_size, q.shape[-2]))[..., :n, :]


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


@mistake(right.block_sparse_attention, "The scores are divided by d. Divide by √d.")
def blocks_divided_by_d(q, k, v, block_mask, block_size):
    return right.block_sparse_attention(q * q.shape[-1] ** -0.5, k, v, block_mask, block_size)


def _scores(q, k, block_mask, block_size):
    return scores(q, k, _tokens(block_mask, block_size, q.shape[-2]))


@mistake(
    right.block_sparse_attention,
    "The softmax is written with exp() and no maximum is subtracted: e^89 is infinite in float32, "
    "and where all scores are far below 0 the sum is 0. Subtract each query's largest score first.",
)
def exponentials_of_large_scores(q, k, v, block_mask, block_size):
    return exponentials(_scores(q, k, block_mask, block_size), v, 0.0)


@mistake(
    right.block_sparse_attention,
    "The maximum that is subtracted is that of a query's first live block. Another block may have "
    "a far larger score, whose exponential is infinite. Take the maximum over all live blocks.",
)
def maximum_of_the_first_block(q, k, v, block_mask, block_size):
    of_first = _scores(q, k, _first(block_mask), block_size).amax(dim=-1, keepdim=True)
    return exponentials(_scores(q, k, block_mask, block_size), v, of_first.detach())


def _first(block_mask):
    first = torch.zeros_like(block_mask)
    first[torch.arange(len(first)), block_mask.int().argmax(-1)] = True
    return first


@mistake(
    right.block_sparse_attention,
    "Each block of queries has one maximum. Beside it the exponentials of a query with small "
    "scores are all 0, and 0/0 is NaN. Each query has its own maximum.",
)
def one_maximum_for_a_block(q, k, v, block_mask, block_size):
    hidden = _scores(q, k, block_mask, block_size)
    largest = [
        rows.amax(dim=(-2, -1), keepdim=True).expand(*rows.shape[:-1], 1)
        for rows in hidden.split(block_size, dim=-2)
    ]
    return exponentials(hidden, v, torch.cat(largest, dim=-2).detach())


@mistake(
    right.block_sparse_attention,
    "Only the first live block of each row is used. A row may have any number of live blocks.",
)
def first_live_block_only(q, k, v, block_mask, block_size):
    return right.block_sparse_attention(q, k, v, _first(block_mask), block_size)


@mistake(
    right.block_sparse_attention,
    "All keys are seen: the block mask is not used.",
)
def block_mask_not_used(q, k, v, block_mask, block_size):
    return F.scaled_dot_product_attention(q, k, v)


@mistake(
    right.block_sparse_attention,
    "Every row gets as many blocks as the fullest one, and where it has fewer live ones, dead "
    "blocks take part. Rows may differ: gather each row's own, or hide what fills them up.",
)
def dead_blocks_that_fill_up_rows(q, k, v, block_mask, block_size):
    most = int(block_mask.sum(dim=-1).max())
    filled = torch.zeros_like(block_mask)
    filled.scatter_(-1, block_mask.float().topk(most, dim=-1).indices, True)
    return right.block_sparse_attention(q, k, v, filled, block_size)


@mistake(
    right.block_sparse_attention,
    "The blocks are counted from the end: the first one is shorter. Block b begins at token "
    "b · block_size, and the last one is shorter.",
)
def shorter_block_first(q, k, v, block_mask, block_size):
    n = q.shape[-2]
    of_token = (torch.arange(n) + -n % block_size) // block_size
    return dense(q, k, v, block_mask[of_token][:, of_token])


@mistake(
    right.block_sparse_attention,
    "The sequence is cut into pieces as equal as can be. A block is `block_size` tokens, the last "
    "one perhaps fewer: split() does that, chunk() and tensor_split() do not.",
)
def equal_pieces(q, k, v, block_mask, block_size):
    pieces = torch.arange(q.shape[-2]).tensor_split(len(block_mask))
    of_token = torch.cat([torch.full_like(piece, b) for b, piece in enumerate(pieces)])
    return dense(q, k, v, block_mask[of_token][:, of_token])


@mistake(
    right.block_sparse_attention,
    "The live blocks are weighted by their largest score, where the sum of their exponentials "
    "counts: a block with several good keys has more weight than one with a single one.",
)
def blocks_weighted_by_their_largest_score(q, k, v, block_mask, block_size):
    return _joined(q, k, v, block_mask, block_size, lambda scores: scores.amax(dim=-1))


@mistake(
    right.block_sparse_attention,
    "The live blocks are weighted by their mean score, where the sum of their exponentials counts: "
    "logsumexp gives its logarithm.",
)
def blocks_weighted_by_their_mean_score(q, k, v, block_mask, block_size):
    return _joined(q, k, v, block_mask, block_size, lambda scores: scores.mean(dim=-1))


def _joined(q, k, v, block_mask, block_size, weight):
    queries, keys, values = (x.split(block_size, dim=-2) for x in (q, k, v))
    outputs = []
    for query, live in zip(queries, block_mask, strict=True):
        chosen = live.nonzero().flatten().tolist()
        found = [query @ keys[j].mT * q.shape[-1] ** -0.5 for j in chosen]
        shares = torch.stack([weight(each) for each in found]).softmax(dim=0)
        parts = [each.softmax(-1) @ values[j] for each, j in zip(found, chosen, strict=True)]
        outputs.append((shares.unsqueeze(-1) * torch.stack(parts)).sum(dim=0))
    return torch.cat(outputs, dim=-2)


@mistake(
    right.block_sparse_attention,
    "Queries and keys are exchanged: the queries of a block must meet the keys of its live blocks.",
)
def blocks_queries_and_keys_exchanged(q, k, v, block_mask, block_size):
    return right.block_sparse_attention(k, q, v, block_mask, block_size)

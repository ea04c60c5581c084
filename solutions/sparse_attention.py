"""Sparse attention: which keys a query sees, how far that reaches, and how to compute no more.

A mask is (n, n), True where the query of the row sees the key of the column. Tensors are
(..., n, d) as in `torch.nn.functional.scaled_dot_product_attention`; d_v counts the columns of
the values.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def sliding_window_mask(n: int, window: int, causal: bool) -> Bool[Tensor, "n n"]:
    """Query i sees the `window` keys on each side of it, and itself: |i − j| ≤ window.

    With `causal` only those before, and itself: 0 ≤ i − j ≤ window. `window` is 0 or more.

    Source: Beltagy et al. 2020, "Longformer", section 3.1 (arXiv 2004.05150), whose w counts
    both sides: w = 2·window.
    """
    i = torch.arange(n)
    distance = i.unsqueeze(-1) - i  # row i, column j: i − j
    near = distance.abs() <= window
    return near & (distance >= 0) if causal else near


def strided_mask(n: int, stride: int) -> Bool[Tensor, "n n"]:
    """Query i sees keys j ≤ i that are near, i − j ≤ stride, or whole strides away.

    The second means (i − j) mod stride = 0: the same column, when the tokens are written in rows
    of `stride`. Query i sees itself.

    Source: Child et al. 2019, "Sparse Transformers", section 4.3 (arXiv 1904.10509); the two sets
    in one, a merged head, are in section 5.2.
    """
    i = torch.arange(n)
    distance = i.unsqueeze(-1) - i
    return (distance >= 0) & ((distance <= stride) | (distance % stride == 0))


def fixed_mask(n: int, stride: int, num_summary: int) -> Bool[Tensor, "n n"]:
    """Query i sees keys j ≤ i of its own block, and the last `num_summary` of every block.

    A block is `stride` tokens: ⌊i/stride⌋ = ⌊j/stride⌋, or j mod stride ≥ stride − num_summary.
    Query i sees itself. `num_summary` is 1 to `stride`.

    Source: Child et al. 2019, sections 4.3 and 5.2 (arXiv 1904.10509); their c is `num_summary`.
    """
    i = torch.arange(n)
    same_block = (i // stride).unsqueeze(-1) == i // stride
    is_summary = i % stride >= stride - num_summary
    return (same_block | is_summary).tril()


def bigbird_mask(
    n: int,
    block_size: int,
    num_global_blocks: int,
    num_random_blocks: int,
    generator: torch.Generator,
) -> Bool[Tensor, "n n"]:
    """Blocks of tokens see their neighbours, some global blocks, and some blocks at random.

    All tokens of a block see alike; the last block may be shorter. A query block sees itself and
    one block on each side (no wrap around). The first `num_global_blocks` see every block, and
    every block sees them. Every other query block also sees `num_random_blocks` different blocks,
    drawn for it alone from those that it does not see yet, every choice of so many as likely as
    another; all of them where there are fewer. Both numbers may be 0, or larger than the number of
    blocks. All randomness comes from `generator`.

    Source: Zaheer et al. 2020, "Big Bird", section 2 and appendix D (arXiv 2007.14062).
    """
    num_blocks = math.ceil(n / block_size)
    block = torch.arange(num_blocks)
    is_global = block < num_global_blocks
    seen = (block.unsqueeze(-1) - block).abs() <= 1
    seen = seen | is_global | is_global.unsqueeze(-1)
    # The largest of random numbers are a random choice. Below 0 comes what is seen anyway.
    lot = torch.rand(num_blocks, num_blocks, generator=generator).masked_fill(seen, -1)
    chosen = lot.topk(min(num_random_blocks, num_blocks), dim=-1).indices
    blocks = seen.scatter(-1, chosen, True)
    of_token = torch.arange(n) // block_size
    return blocks[of_token][:, of_token]


def reachability(mask: Bool[Tensor, "n n"], num_layers: int) -> Bool[Tensor, "n n"]:
    """Which token's input can change which token's output, after layers that all have this mask.

    Entry (i, j) is True where the output of token i can depend on the input of token j, through
    attention alone: where no token is passed on beside it. `num_layers` is 1 or more.

    Source: Zaheer et al. 2020, section 2 (arXiv 2007.14062): walks in the graph of the mask.
    """
    step = mask.float()
    reach = step
    for _ in range(num_layers - 1):
        # Not the number of walks, which overflows, but whether there is one.
        reach = (reach @ step > 0).float()
    return reach.bool()


def sliding_window_attention(
    q: Float[Tensor, "... n d"],
    k: Float[Tensor, "... n d"],
    v: Float[Tensor, "... n d_v"],
    window: int,
) -> Float[Tensor, "... n d_v"]:
    """Softmax attention in which query i sees keys i − window to i + window, in O(n·window).

    The mask is `sliding_window_mask(n, window, causal=False)`. Any n; `window` is 1 or more. Twice
    the tokens may cost about twice the work, and no tensor has n × n numbers. A call of torch
    computes many tokens: chunks may follow one another, tokens may not.

    Source: Beltagy et al. 2020, section 3.1 and appendix A (arXiv 2004.05150).
    """
    chunk = max(window, 32)  # so many queries share their keys; fewer make products too small
    queries, keys, values = (x.split(chunk, dim=-2) for x in (q, k, v))
    positions = torch.arange(q.shape[-2], device=q.device).split(chunk)
    outputs = []
    for t, query in enumerate(queries):
        near = slice(max(t - 1, 0), t + 2)  # the chunk before, its own, and the chunk after
        near_keys, near_values = torch.cat(keys[near], dim=-2), torch.cat(values[near], dim=-2)
        distances = positions[t].unsqueeze(-1) - torch.cat(positions[near])
        seen = distances.abs() <= window
        outputs.append(F.scaled_dot_product_attention(query, near_keys, near_values, seen))
    return torch.cat(outputs, dim=-2)


def strided_attention(
    q: Float[Tensor, "... n d"],
    k: Float[Tensor, "... n d"],
    v: Float[Tensor, "... n d_v"],
    stride: int,
) -> Float[Tensor, "... n d_v"]:
    """Softmax attention, causal, over near keys and keys whole strides away, in O(n·√n).

    The mask is `strided_mask(n, stride)`: one softmax over both sets, and a key that is in both
    counts once. The cost is O(n·(stride + n / stride)), least at stride = √n. Any n and stride.
    What counts is the number of scores, a few times this at most, not that of the calls of torch.

    Source: Child et al. 2019, sections 4.3 and 5.2 (arXiv 1904.10509).
    """
    n, d = q.shape[-2:]
    padding = -n % stride

    def in_rows(x: Tensor) -> Tensor:  # token row·stride + column, (..., rows, stride, d)
        return F.pad(x, (0, 0, 0, padding)).unflatten(-2, (-1, stride))

    def with_row_before(x: Tensor) -> Tensor:
        return torch.cat([F.pad(x[..., :-1, :, :], (0, 0, 0, 0, 1, 0)), x], dim=-2)

    # The padding comes after every real token, where no real query looks.
    q, k, v = in_rows(q * d**-0.5), in_rows(k), in_rows(v)
    near = q @ with_row_before(k).mT  # (..., rows, stride, 2·stride)
    column = q.transpose(-3, -2) @ k.transpose(-3, -2).mT  # (..., stride, rows, rows)

    # Less than a stride before: later columns of the row before, earlier ones of the query's own.
    earlier = torch.ones(stride, stride, dtype=torch.bool, device=q.device).tril(-1)
    near.masked_fill_(~torch.cat([earlier.mT, earlier], dim=-1), -math.inf)
    near[..., 0, :, :stride] = -math.inf  # there is no row before the first
    # Whole strides before, 0 among them: the query's own position.
    rows = column.shape[-1]
    later = torch.ones(rows, rows, dtype=torch.bool, device=q.device).triu(1)
    column.masked_fill_(later, -math.inf)

    weights = torch.cat([near, column.transpose(-3, -2)], dim=-1).softmax(dim=-1)
    near, column = weights.split([2 * stride, rows], dim=-1)
    out = near @ with_row_before(v)
    out = out + (column.transpose(-3, -2) @ v.transpose(-3, -2)).transpose(-3, -2)
    return out.flatten(-3, -2)[..., :n, :]


def block_sparse_attention(
    q: Float[Tensor, "... n d"],
    k: Float[Tensor, "... n d"],
    v: Float[Tensor, "... n d_v"],
    block_mask: Bool[Tensor, "blocks blocks"],
    block_size: int,
) -> Float[Tensor, "... n d_v"]:
    """Softmax attention in which whole blocks of queries see whole blocks of keys.

    Entry (i, j) of `block_mask` is True where the queries of block i see the keys of block j. A
    block is `block_size` tokens, the last one perhaps fewer. Each block of queries sees at least
    one block. The cost is that of the live blocks: no score of another is computed. Blocks may
    follow one another, tokens may not.

    Source: Zaheer et al. 2020, appendix D (arXiv 2007.14062).
    """
    queries, keys, values = (x.split(block_size, dim=-2) for x in (q, k, v))
    outputs = []
    for query, live in zip(queries, block_mask, strict=True):
        chosen = live.nonzero().flatten().tolist()
        near_keys = torch.cat([keys[j] for j in chosen], dim=-2)
        near_values = torch.cat([values[j] for j in chosen], dim=-2)
        outputs.append(F.scaled_dot_product_attention(query, near_keys, near_values))
    return torch.cat(outputs, dim=-2)


def lsh_bucket(
    x: Float[Tensor, "... n d"], rotations: Float[Tensor, "d half_buckets"]
) -> Int[Tensor, "... n"]:
    """The bucket of each vector: the largest of the numbers xR and, after them, −xR.

    Bucket b < half_buckets is where (xR)_b is the largest of all 2·half_buckets numbers, bucket
    half_buckets + b where −(xR)_b is. Vectors that point the same way tend to share it.

    Source: Kitaev et al. 2020, "Reformer", section 2 (arXiv 2001.04451), after Andoni et al.
    2015 (arXiv 1509.02897).
    """
    rotated = x @ rotations
    return torch.cat([rotated, -rotated], dim=-1).argmax(dim=-1)


def lsh_attention(
    q: Float[Tensor, "... n d"],
    v: Float[Tensor, "... n d_v"],
    num_buckets: int,
    num_rounds: int,
    chunk_size: int,
    generator: torch.Generator,
) -> Float[Tensor, "... n d_v"]:
    """Softmax attention of queries to keys of their bucket; the keys are the queries, k = q/‖q‖.

    In each round the tokens are sorted by bucket, within a bucket by position, and cut into chunks
    of `chunk_size`, the last perhaps shorter. Query i finds key j in this round if they share the
    bucket, and j is in the chunk of i or in the one before (none is before the first). It sees
    the keys that it finds in any round, in one softmax of qᵀk/√d: one found in several rounds
    counts once. It sees itself only if it finds no other key.

    The rotations of all rounds are `torch.randn(num_rounds, d, num_buckets // 2,
    generator=generator)`, the same for every sequence and head. `num_buckets` is even. The cost is
    O(n·log n), no tensor has n × n numbers. Rounds and chunks may follow one another, tokens not.

    Source: Kitaev et al. 2020, section 2 and appendix A (arXiv 2001.04451), not causal.
    """
    n, d = q.shape[-2:]
    num_chunks = math.ceil(n / chunk_size)
    rotations = torch.randn(num_rounds, d, num_buckets // 2, generator=generator).to(q)
    k = F.normalize(q, dim=-1) * d**-0.5
    hidden = torch.finfo(q.dtype).min  # finite: where all is hidden, a softmax is still a number

    def picked(x: Tensor, index: Tensor) -> Tensor:  # rows of x, other ones for each sequence
        return x.gather(-2, index.unsqueeze(-1).expand(*index.shape, x.shape[-1]))

    def chunked(x: Tensor, padding: float = 0) -> Tensor:  # (..., chunks, chunk_size, columns)
        x = F.pad(x, (0, 0, 0, -n % chunk_size), value=padding)
        return x.unflatten(-2, (num_chunks, chunk_size))

    def with_chunk_before(x: Tensor, padding: float = 0) -> Tensor:
        before = F.pad(x[..., :-1, :, :], (0, 0, 0, 0, 1, 0), value=padding)
        return torch.cat([before, x], dim=-2)

    ### BEGIN SOLUTION
    buckets = torch.stack([lsh_bucket(q, rotation) for rotation in rotations], dim=-1)
    orders = buckets.argsort(dim=-2, stable=True)  # (..., n, rounds)
    ranks = orders.argsort(dim=-2)  # where each token went
    # One number for bucket and chunk: i finds j where that of j is the same, or one less.
    places = (buckets * (num_chunks + 1) + ranks // chunk_size).int()

    outputs, totals = [], []
    for r in range(num_rounds):
        order = orders[..., r]
        scores = chunked(picked(q, order)) @ with_chunk_before(chunked(picked(k, order))).mT
        here = chunked(picked(places, order), padding=-9)
        there = with_chunk_before(here, padding=-9)

        def found(in_round: int, here: Tensor = here, there: Tensor = there) -> Tensor:
            gap = here[..., in_round].unsqueeze(-1) - there[..., in_round].unsqueeze(-2)
            return (gap == 0) | (gap == 1)

        new = found(r)
        for earlier in range(r):
            new &= ~found(earlier)
        own = torch.eye(chunk_size, dtype=torch.bool, device=q.device)
        own = torch.cat([torch.zeros_like(own), own], dim=-1)
        scores = scores.masked_fill(~new, hidden).masked_fill(own, hidden / 2)
        out = scores.softmax(dim=-1) @ with_chunk_before(chunked(picked(v, order)))
        outputs.append(picked(out.flatten(-3, -2)[..., :n, :], ranks[..., r]))
        totals.append(scores.logsumexp(dim=-1).flatten(-2)[..., :n].gather(-1, ranks[..., r]))
    # The softmax over all keys is that of each round, weighted by its share of the exponentials.
    shares = torch.stack(totals, dim=-1).softmax(dim=-1)  # (..., n, rounds)
    out = (torch.stack(outputs, dim=-1) * shares.unsqueeze(-2)).sum(dim=-1)
    ### END SOLUTION
    return out

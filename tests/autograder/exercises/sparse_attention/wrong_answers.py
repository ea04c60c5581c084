"""Wrong versions of the exercises of 01_sparse_attention that look right at first sight."""

import torch
import torch.nn.functional as F

from solutions import sparse_attention as right


def window_that_wraps_around(n, window, causal):
    distance = torch.arange(n).unsqueeze(-1) - torch.arange(n)
    distance = torch.minimum(distance % n, -distance % n)
    near = distance <= window
    return near.tril() if causal else near


def numbers_instead_of_truth_values(n, stride):
    return right.strided_mask(n, stride).float()


def the_next_blocks_instead_of_random_ones(
    n, block_size, num_global_blocks, num_random_blocks, generator
):
    size = (n, block_size, num_global_blocks)
    full = right.bigbird_mask(*size, n, torch.Generator())[::block_size, ::block_size]
    seen = right.bigbird_mask(*size, 0, torch.Generator())[::block_size, ::block_size]
    for i in range(len(seen)):
        free = (full[i] & ~seen[i]).nonzero().flatten()[:num_random_blocks]
        seen[i, free] = True
    of_token = torch.arange(n) // block_size
    return seen[of_token][:, of_token]


def walks_in_single_precision(mask, num_layers):
    return torch.linalg.matrix_power(mask.float(), num_layers) > 0


def rows_of_the_matrix_one_after_another(q, k, v, window):
    n = q.shape[-2]
    mask = right.sliding_window_mask(n, window, causal=False)
    outputs = [
        F.scaled_dot_product_attention(queries, k, v, attn_mask=rows)
        for queries, rows in zip(q.split(16, dim=-2), mask.split(16), strict=True)
    ]
    return torch.cat(outputs, dim=-2)


def window_always_in_single_precision(q, k, v, window):
    return right.sliding_window_attention(q.float(), k.float(), v.float(), window)


def exponentials_without_a_maximum(q, k, v, window):
    weights = (q @ k.mT * q.shape[-1] ** -0.5).exp()
    weights = weights * right.sliding_window_mask(q.shape[-2], window, causal=False)
    return (weights / (weights.sum(-1, keepdim=True) + 1e-3)) @ v


def strided_without_its_last_ragged_row(q, k, v, stride):
    n = q.shape[-2]
    whole = max(n // stride, 1) * stride
    out = right.strided_attention(q[..., :whole, :], k[..., :whole, :], v[..., :whole, :], stride)
    return torch.cat([out, v[..., whole:, :]], dim=-2)


def normaliser_without_its_gradient(q, k, v, stride):
    scores = q @ k.mT * q.shape[-1] ** -0.5
    scores = scores.masked_fill(~right.strided_mask(q.shape[-2], stride), -torch.inf)
    return (scores - scores.logsumexp(-1, keepdim=True).detach()).exp() @ v


def only_the_first_live_block(q, k, v, block_mask, block_size):
    first = torch.zeros_like(block_mask)
    first[torch.arange(len(first)), block_mask.int().argmax(-1)] = True
    return right.block_sparse_attention(q, k, v, first, block_size)


def buckets_counted_from_one(x, rotations):
    return right.lsh_bucket(x, rotations) + 1


def half_of_the_gradient(q, v, *settings):
    # Half of the gradient, as where a shared tensor is detached in one of its places.
    out = right.lsh_attention(q, v, *settings)
    return (out + out.detach()) / 2


def chunk_after_instead_of_before(q, v, num_buckets, num_rounds, chunk_size, generator):
    flipped = right.lsh_attention(
        q.flip(-2), v.flip(-2), num_buckets, num_rounds, chunk_size, generator
    )
    return flipped.flip(-2)


def rotations_of_its_own(q, v, num_buckets, num_rounds, chunk_size, generator):
    own = torch.Generator().manual_seed(0)
    return right.lsh_attention(q, v, num_buckets, num_rounds, chunk_size, own)


def slices_counted_from_the_end(n, stride, num_summary):
    return right.fixed_mask(n + -n % stride, stride, num_summary)[-n:, -n:]


def walks_in_double_precision(mask, num_layers):
    return torch.linalg.matrix_power(mask.double(), num_layers) > 0


def drawn_among_the_first_nine(n, block_size, num_global_blocks, num_random_blocks, generator):
    size = (n, block_size, num_global_blocks)
    seen = right.bigbird_mask(*size, 0, generator)[::block_size, ::block_size]
    for row in seen[num_global_blocks:]:
        free = (~row[:9]).nonzero().flatten()
        row[free[torch.randperm(len(free), generator=generator)[:num_random_blocks]]] = True
    of_token = torch.arange(n) // block_size
    return seen[of_token][:, of_token]


def blocks_beside_the_window_that_may_be_global(n, block_size, num_global, number, generator):
    seen = right.bigbird_mask(n, block_size, num_global, 0, generator)[::block_size, ::block_size]
    block = torch.arange(len(seen))
    for i, row in enumerate(seen):
        others = ((block - i).abs() > 1).nonzero().flatten()
        row[others[torch.randperm(len(others), generator=generator)[:number]]] = True
    of_token = torch.arange(n) // block_size
    return seen[of_token][:, of_token]


def chunks_of_64(q, k, v, window):
    n, chunk = q.shape[-2], 64
    outputs = []
    for begin in range(0, n, chunk):
        near = slice(max(begin - chunk, 0), begin + 2 * chunk)
        i = torch.arange(begin, min(begin + chunk, n)).unsqueeze(-1)
        seen = (i - torch.arange(n)[near]).abs() <= window
        query = q[..., begin : begin + chunk, :]
        outputs.append(
            F.scaled_dot_product_attention(query, k[..., near, :], v[..., near, :], seen)
        )
    return torch.cat(outputs, dim=-2)


def window_token_by_token(q, k, v, window):
    outputs = []
    for i in range(q.shape[-2]):
        near = slice(max(i - window, 0), i + window + 1)
        query = q[..., i : i + 1, :]
        outputs.append(F.scaled_dot_product_attention(query, k[..., near, :], v[..., near, :]))
    return torch.cat(outputs, dim=-2)


def window_of_batch_and_heads_only(q, k, v, window):
    _batch, _heads, _n, _d = q.shape
    return right.sliding_window_attention(q, k, v, window)


def values_cleared_afterwards(q, k, v, window):
    output = right.sliding_window_attention(q, k, v.clone(), window)
    v.data.zero_()
    return output


def strided_in_dimension_2(q, k, v, stride):
    _batch, _heads, _n, _d = q.shape
    return right.strided_attention(q, k, v, stride)


def blocks_token_by_token(q, k, v, block_mask, block_size):
    keys, values = (x.split(block_size, dim=-2) for x in (k, v))
    outputs = []
    for i in range(q.shape[-2]):
        live = block_mask[i // block_size].nonzero().flatten().tolist()
        near = [torch.cat([x[j] for j in live], dim=-2) for x in (keys, values)]
        outputs.append(F.scaled_dot_product_attention(q[..., i : i + 1, :], *near))
    return torch.cat(outputs, dim=-2)


def blocks_without_a_maximum(q, k, v, block_mask, block_size):
    weights = (q @ k.mT * q.shape[-1] ** -0.5).exp()
    of_token = torch.arange(q.shape[-2]) // block_size
    weights = weights.masked_fill(~block_mask[of_token][:, of_token], 0)
    return weights / weights.sum(dim=-1, keepdim=True) @ v


def buckets_in_single_precision(x, rotations):
    return right.lsh_bucket(x.float(), rotations.float())


def buckets_of_batch_and_heads_only(x, rotations):
    _batch, _heads, _n, _d = x.shape
    return right.lsh_bucket(x, rotations)


def own_score_not_low_enough(q, v, num_buckets, num_rounds, chunk_size, generator):
    n, d = q.shape[-2:]
    rotations = torch.randn(num_rounds, d, num_buckets // 2, generator=generator).to(q)
    found = False
    for rotation in rotations:
        bucket = right.lsh_bucket(q, rotation)
        chunk = bucket.argsort(dim=-1, stable=True).argsort(dim=-1) // chunk_size
        gap = chunk.unsqueeze(-1) - chunk.unsqueeze(-2)
        alike = bucket.unsqueeze(-1) == bucket.unsqueeze(-2)
        found = found | alike & ((gap == 0) | (gap == 1))
    scores = q @ F.normalize(q, dim=-1).mT * d**-0.5
    scores = scores.masked_fill(torch.eye(n, dtype=torch.bool), -100)
    return scores.masked_fill(~found, -torch.inf).softmax(dim=-1) @ v


# Exercise -> wrong version -> the mistake that its report names, if it names one.
WRONG = {
    "sliding_window_mask": {window_that_wraps_around: ""},
    "strided_mask": {numbers_instead_of_truth_values: "numbers instead of truth values"},
    "fixed_mask": {slices_counted_from_the_end: ""},
    "bigbird_mask": {
        the_next_blocks_instead_of_random_ones: "the same blocks every time",
        drawn_among_the_first_nine: "blocks that are never drawn",
        blocks_beside_the_window_that_may_be_global: "random blocks that hit the window",
    },
    "reachability": {
        walks_in_single_precision: "walks counted beyond what numbers hold",
        walks_in_double_precision: "walks counted beyond what numbers hold",
    },
    "sliding_window_attention": {
        rows_of_the_matrix_one_after_another: "a number for every pair of tokens",
        window_always_in_single_precision: "fewer digits than it was given",
        exponentials_without_a_maximum: "",
        chunks_of_64: "",
        window_token_by_token: "token after token",
        window_of_batch_and_heads_only: "for one number of axes only",
        values_cleared_afterwards: "it overwrites what it is given",
    },
    "strided_attention": {
        strided_without_its_last_ragged_row: "",
        normaliser_without_its_gradient: "",
        strided_in_dimension_2: "for one number of axes only",
    },
    "block_sparse_attention": {
        only_the_first_live_block: "first live block only",
        blocks_token_by_token: "token after token",
        blocks_without_a_maximum: "exponentials of large scores",
    },
    "lsh_bucket": {
        buckets_counted_from_one: "counted from 1",
        buckets_in_single_precision: "",
        buckets_of_batch_and_heads_only: "for one number of axes only",
    },
    "lsh_attention": {
        half_of_the_gradient: "gradients cut off on the way",
        chunk_after_instead_of_before: "",
        rotations_of_its_own: "rotations of another generator",
        own_score_not_low_enough: "",
    },
}

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


# Exercise -> wrong version -> the mistake that its report names, if it names one.
WRONG = {
    "sliding_window_mask": {window_that_wraps_around: ""},
    "strided_mask": {numbers_instead_of_truth_values: ""},
    "bigbird_mask": {the_next_blocks_instead_of_random_ones: ""},
    "reachability": {walks_in_single_precision: "walks counted until they overflow"},
    "sliding_window_attention": {
        rows_of_the_matrix_one_after_another: "dense attention with a mask",
        window_always_in_single_precision: "",
        exponentials_without_a_maximum: "",
    },
    "strided_attention": {
        strided_without_its_last_ragged_row: "",
        normaliser_without_its_gradient: "",
    },
    "block_sparse_attention": {only_the_first_live_block: ""},
    "lsh_bucket": {buckets_counted_from_one: ""},
    "lsh_attention": {
        half_of_the_gradient: "",
        chunk_after_instead_of_before: "",
        rotations_of_its_own: "",
    },
}

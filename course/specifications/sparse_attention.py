"""What the functions of 01_sparse_attention compute, with no care for cost."""

from collections.abc import Callable

import torch
from torch import Tensor


def mask_of(n: int, sees: Callable[[int, int], bool]) -> Tensor:
    """The mask (n, n) in which query i sees key j where sees(i, j)."""
    return torch.tensor([[sees(i, j) for j in range(n)] for i in range(n)])


def in_window(i: int, j: int, window: int, causal: bool) -> bool:
    """Whether query i sees key j in a sliding window."""
    return i - window <= j <= (i if causal else i + window)


def in_strided(i: int, j: int, stride: int) -> bool:
    """Whether query i sees key j in the strided pattern."""
    return j <= i and (i - j <= stride or (i - j) % stride == 0)


def in_fixed(i: int, j: int, stride: int, num_summary: int) -> bool:
    """Whether query i sees key j in the fixed pattern."""
    return j <= i and (i // stride == j // stride or j % stride >= stride - num_summary)


def in_bigbird(i: int, j: int, block_size: int, num_global_blocks: int) -> bool:
    """Whether query i sees key j in Big Bird without its random blocks."""
    a, b = i // block_size, j // block_size
    return abs(a - b) <= 1 or a < num_global_blocks or b < num_global_blocks


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Softmax attention in which query i sees the keys j with mask[..., i, j], one query at a time.

    q, k, v are (..., n, d), the mask broadcasts to (..., n, n), and shows each query some key.
    Returns (..., n, d_v).
    """
    rows = []
    for i in range(q.shape[-2]):
        scores = (q[..., i : i + 1, :] * k).sum(dim=-1) / q.shape[-1] ** 0.5  # (..., n)
        weights = scores.masked_fill(~mask[..., i, :], -torch.inf).softmax(dim=-1)
        rows.append((weights.unsqueeze(-1) * v).sum(dim=-2))
    return torch.stack(rows, dim=-2)


def walks(mask: Tensor, num_layers: int) -> Tensor:
    """Follow the edges of a mask (n, n) backwards, layer by layer, from each output: (n, n)."""
    seen = [{j for j, sees in enumerate(row) if sees} for row in mask.tolist()]
    reach = torch.zeros_like(mask)
    for i in range(len(mask)):
        tokens = {i}
        for _ in range(num_layers):
            tokens = {j for token in tokens for j in seen[token]}
        reach[i, list(tokens)] = True
    return reach


def expanded(block_mask: Tensor, block_size: int, n: int) -> Tensor:
    """The mask (n, n) of tokens that a mask of blocks means; the last block may be shorter."""
    mask = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        for j in range(n):
            mask[i, j] = block_mask[i // block_size, j // block_size]
    return mask


def bucket_of(x: Tensor, rotations: Tensor) -> int:
    """The bucket of one vector x (d,), by comparing 2 · half_buckets numbers one by one."""
    rotated = [
        sum(x[i] * rotations[i, b] for i in range(len(x))) for b in range(rotations.shape[1])
    ]
    numbers = rotated + [-number for number in rotated]
    best = 0
    for b, number in enumerate(numbers):
        if number > numbers[best]:
            best = b
    return best


def found_by_lsh(buckets: Tensor, chunk_size: int) -> Tensor:
    """Which keys each query of one sequence, itself among them, finds in one round: (n, n)."""
    n = len(buckets)
    order = sorted(range(n), key=lambda i: (int(buckets[i]), i))
    chunk = {token: place // chunk_size for place, token in enumerate(order)}
    mask = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        for j in range(n):
            in_reach = chunk[j] in (chunk[i], chunk[i] - 1)
            mask[i, j] = bool(buckets[i] == buckets[j]) and in_reach
    return mask


def only_itself_as_a_last_resort(mask: Tensor) -> Tensor:
    """The same mask (n, n), in which a query sees itself only if it sees no other key."""
    diagonal = torch.eye(len(mask), dtype=torch.bool)
    others = mask & ~diagonal
    return others | (diagonal & ~others.any(dim=-1, keepdim=True))

"""What wrong versions of softmax_attention have in common."""

import torch


def visible(q, k, mask, causal, diagonal=0):
    seen = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)
    if mask is not None:
        seen = seen & mask
    return seen.tril(diagonal) if causal else seen


def scores(q, k):
    return q @ k.mT * q.shape[-1] ** -0.5

"""Attention with a mask through all n × n scores, which wrong versions are written with."""

import torch
import torch.nn.functional as F


def dense(q, k, v, mask):
    """Attention of the queries to the keys that a mask (n, n) shows them."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def scores(q, k, mask):
    """The scores of all pairs, −∞ where the mask hides them."""
    return (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~mask, -torch.inf)


def exponentials(scores, v, maximum):
    """A softmax by hand, which subtracts `maximum` from the scores."""
    weights = (scores - maximum).exp()
    return weights / weights.sum(dim=-1, keepdim=True) @ v

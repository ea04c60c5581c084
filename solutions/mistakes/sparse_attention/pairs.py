"""What wrong versions of the masks share."""

import torch

NUMBERS = (
    "The mask holds numbers, zeros and ones or 0 and −∞, where truth values are asked for: True "
    "where a query sees a key. A comparison gives them, or .bool()."
)
INVERTED = (
    "The mask is inverted: it is True where a key is hidden. Here True means that a query sees the "
    "key, as in scaled_dot_product_attention."
)


def distances(n):
    """i − j in row i and column j, (n, n)."""
    return torch.arange(n).unsqueeze(-1) - torch.arange(n)

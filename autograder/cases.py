"""Inputs that many exercises draw."""

import torch
from torch import Generator, Tensor

from autograder.exercise import Inputs

COST_SIZES = [256, 512, 1024]
COST_DIM = 8

# What autograd gives for an attention_case.
GRADIENTS = ("grad_q", "grad_k", "grad_v")
NO_MATRIX = "a tensor with a row and a column per token is what this form avoids"

# Tokens of a long case. A float32 for each pair of them is 69 GB, and computing these a few rows at
# a time takes several times the CPU time that grading allows.
LONG = 2**17


def normal(generator: Generator, *shape: int, scale: float = 1.0) -> Tensor:
    """Independent normal numbers with standard deviation `scale`."""
    return torch.randn(*shape, generator=generator) * scale


def between(generator: Generator, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def attention_case(
    generator: Generator, n_q: int, n_k: int, d: int, e: int, scale: float = 1.0, **more: object
) -> Inputs:
    """Queries and keys (2, 2, n, d), values (2, 2, n_k, e), and a cotangent for the output."""
    return {
        "q": normal(generator, 2, 2, n_q, d, scale=scale),
        "k": normal(generator, 2, 2, n_k, d, scale=scale),
        "v": normal(generator, 2, 2, n_k, e),
        "cotangent": normal(generator, 2, 2, n_q, e),
        **more,
    }


def long_attention_case(generator: Generator, n: int, d: int, e: int, **more: object) -> Inputs:
    """One sequence: queries and keys (1, 1, n, d), values (1, 1, n, e), and no cotangent."""
    return {
        "q": normal(generator, 1, 1, n, d),
        "k": normal(generator, 1, 1, n, d),
        "v": normal(generator, 1, 1, n, e),
        **more,
    }


def cost_case(largest_per_token: int, **more: object) -> Inputs:
    """Sizes to count the cost at, and the elements that the largest tensor may have at each."""
    return {
        "sizes": COST_SIZES,
        "largest_allowed": [largest_per_token * n for n in COST_SIZES],
        **more,
    }


def cost_tensors(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (1, 1, n, COST_DIM): a bound is so many elements for each token."""
    return tuple(torch.randn(3, 1, 1, n, COST_DIM, generator=Generator().manual_seed(n)))


def in_float64(inputs: Inputs) -> Inputs:
    """The same case with its real tensors in float64."""
    return {
        name: value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in inputs.items()
    }

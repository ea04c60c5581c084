"""Inputs that many exercises draw."""

import torch
from torch import Generator, Tensor

from autograder.exercise import Inputs

# What autograd gives for an attention_case.
GRADIENTS = ("grad_q", "grad_k", "grad_v")

COUNTED_DIM = 8
"""Features of a token where costs are counted: a bound is so many elements for each token."""

LONG_TOKENS = 2**17
"""Tokens of a long case.

A float32 for each pair of them is 69 GB, and computing these a few rows at a time takes several
times the CPU time that grading allows.
"""


def normal(generator: Generator, *shape: int, scale: float = 1.0) -> Tensor:
    """Independent normal numbers with standard deviation `scale`."""
    return torch.randn(*shape, generator=generator) * scale


def between(generator: Generator, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def attention_case(
    generator: Generator,
    n_q: int,
    n_k: int,
    d: int,
    e: int,
    scale: float = 1.0,
    lead: tuple[int, ...] = (2, 2),
    **more: object,
) -> Inputs:
    """Queries (*lead, n_q, d), keys and values (*lead, n_k, d or e), a cotangent for the output."""
    return {
        "q": normal(generator, *lead, n_q, d, scale=scale),
        "k": normal(generator, *lead, n_k, d, scale=scale),
        "v": normal(generator, *lead, n_k, e),
        "cotangent": normal(generator, *lead, n_q, e),
        **more,
    }


def sequence(
    generator: Generator, n: int, d: int = COUNTED_DIM, e: int = COUNTED_DIM, **more: object
) -> Inputs:
    """One sequence: queries and keys (1, 1, n, d), values (1, 1, n, e), and no cotangent."""
    return {
        "q": normal(generator, 1, 1, n, d),
        "k": normal(generator, 1, 1, n, d),
        "v": normal(generator, 1, 1, n, e),
        **more,
    }


def in_float64(inputs: Inputs) -> Inputs:
    """The same case with its real tensors in float64."""
    return {
        name: value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in inputs.items()
    }

"""The sequences that 03_low_rank_attention looks at, and what is measured of them."""

from functools import lru_cache

import torch
from torch import Generator, Tensor

from course.trained_model import example_tokens, load_trained

RANDOM, SMOOTH, TRAINED = "random", "smooth", "trained"
KINDS = [RANDOM, SMOOTH, TRAINED]
HEADS, LENGTH, DIM = 8, 128, 16
Sequence = tuple[Tensor, Tensor, Tensor]


@lru_cache
def example_sequence(kind: str) -> Sequence:
    """Queries, keys and values of one of KINDS, each (HEADS, LENGTH, DIM), float64.

    Random: every token is drawn for itself. Smooth: a token is its predecessor and a small step,
    and asks for what resembles it. Trained: one sequence in the two layers of the course's small
    model, four heads each.
    """
    generator = Generator().manual_seed(0)
    if kind == TRAINED:
        tokens = example_tokens(1, LENGTH, generator)
        with torch.no_grad():
            layers = load_trained().queries_keys_values(tokens)
        q, k, v = (torch.cat(parts, dim=1)[0].double() for parts in zip(*layers, strict=True))
        return q, k, v
    if kind == RANDOM:
        q, k, v = torch.randn(3, HEADS, LENGTH, DIM, generator=generator, dtype=torch.float64)
        return q, k, v
    walk = torch.randn(HEADS, LENGTH, DIM, generator=generator, dtype=torch.float64).cumsum(dim=1)
    x = 1.5 * walk / walk.square().mean(dim=(-1, -2), keepdim=True).sqrt()
    return x, x, x


def softmax_weights(q: Tensor, k: Tensor, temperature: float = 1.0) -> Tensor:
    """softmax(QKᵀ / (T√d)); a temperature T below 1 sharpens it."""
    return (q @ k.mT / (temperature * q.shape[-1] ** 0.5)).softmax(dim=-1)


def relative_error(estimate: Tensor, truth: Tensor) -> float:
    """‖estimate − truth‖ / ‖truth‖ over all numbers."""
    return ((estimate - truth).norm() / truth.norm()).item()


def missed_by_rank(spectrum: Tensor) -> Tensor:
    """The relative error of the best approximation of rank 0 to r: (..., r) to (..., r + 1)."""
    tail = spectrum.square().flip(-1).cumsum(dim=-1).flip(-1)
    missed = torch.cat([tail, torch.zeros_like(tail[..., :1])], dim=-1)
    return (missed / tail[..., :1]).sqrt()


def brightest(weights: Tensor) -> float:
    """The number that ends the scale of colours: a few larger ones must not darken all others."""
    return weights.flatten().quantile(0.998).item() or 1.0

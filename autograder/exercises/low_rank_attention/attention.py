"""The exercises of 03_low_rank_attention."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import GRADIENTS, LONG_TOKENS, attention_case, in_float64, normal, sequence
from autograder.cost import NO_MATRIX, cost
from autograder.exercise import Answer, Exercise, Inputs, Part, Property, difference
from autograder.probes import as_tensor, with_gradients
from autograder.properties import matches

PROJECTED = 16


def _attention(generator: Generator, *shape: int, own: float = 0.0) -> Tensor:
    """Softmax attention matrices of random scores, in float64, in which processors hardly differ.

    The larger `own`, the more they are diagonal.
    """
    scores = normal(generator, *shape, scale=1.0 if own else 2.0).double()
    return (scores + own * torch.eye(*shape[-2:])).softmax(dim=-1)


# --- attention_spectrum --------------------------------------------------------------------------


def _spectrum_cases(generator: Generator) -> dict[str, Inputs]:
    # Values near 0 are in a case of their own: where matrices are nearly diagonal, none is.
    # Tokens of three kinds: those of a kind have equal rows, so only three values are not 0.
    kinds = torch.randperm(9, generator=generator) % 3
    return {
        "attention": {"attention": _attention(generator, 2, 3, 7, 7, own=4.0).float()},
        "more keys than queries": {"attention": _attention(generator, 2, 5, 8, own=4.0).float()},
        "more queries than keys": {"attention": _attention(generator, 2, 8, 5, own=4.0).float()},
        "no batch": {"attention": _attention(generator, 6, 6, own=4.0).float()},
        "one token": {"attention": torch.ones(2, 1, 1)},
        "float64": {"attention": _attention(generator, 2, 5, 5, own=4.0)},
        # Small values, and far from being rounding.
        "nearly uniform": in_float64(
            {"attention": normal(generator, 2, 6, 6, scale=1e-3).double().softmax(dim=-1)}
        ),
        "three kinds of tokens": {"attention": _attention(generator, 2, 3, 9)[:, kinds].float()},
    }


def _spectrum_probe(function: Callable, attention: Tensor) -> Answer:
    return with_gradients(function, {"attention": attention}, None)


def _not_sorted(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    values = answer["output"]
    if values.shape != expected["output"].shape:
        return difference("output", values, expected["output"])
    if (values.diff(dim=-1) <= 1e-5 * values.abs().max()).all():
        return None
    return "a value is larger than the one before it: the largest comes first"


SPECTRUM_NUMBERS = ("attention", "more keys than queries", "more queries than keys", "no batch")
SPECTRUM = Exercise(
    "attention_spectrum",
    "low_rank_attention",
    (
        Part(
            "numbers",
            _spectrum_cases,
            _spectrum_probe,
            (
                Property("the largest comes first", 1, _not_sorted, SPECTRUM_NUMBERS),
                matches(
                    "output",
                    title="equals the singular values",
                    points=2,
                    cases=(*SPECTRUM_NUMBERS, "one token", "float64", "nearly uniform"),
                ),
                matches(
                    "output",
                    title="values that should be 0 are 0 but for rounding",
                    points=1,
                    cases=("three kinds of tokens",),
                ),
            ),
        ),
    ),
)


# --- effective_rank ------------------------------------------------------------------------------


def _rank_cases(generator: Generator) -> dict[str, Inputs]:
    # Random spectra are float64: in float32 a share could be as near to `energy` as its rounding.
    def case(*shape: int, energy: float) -> Inputs:
        return {"attention": _attention(generator, *shape), "energy": energy}

    flat = torch.full((8, 8), 1 / 8)
    sharp = torch.eye(8)[torch.randperm(8, generator=generator)]
    return {
        "attention": case(2, 3, 9, 9, energy=0.9),
        "nearly everything": case(2, 3, 9, 9, energy=0.99),
        "more keys than queries": case(100, 6, 11, energy=0.8),
        "more queries than keys": case(100, 11, 6, energy=0.95),
        "no batch": case(12, 12, energy=0.9),
        "flat and sharp": {"attention": torch.stack([flat, sharp]), "energy": 0.8},
        "one token": {"attention": torch.ones(2, 1, 1), "energy": 0.5},
        # Each token answers itself most: the last value is not small, and all are needed. With so
        # many, some sum of shares is rounded to less than 1.
        "everything": {
            "attention": (3 * torch.eye(6) + normal(generator, 100, 6, 6, scale=0.3)).softmax(-1),
            "energy": 1.0,
        },
        "two batch axes": {"attention": _attention(generator, 2, 1, 5, 5).float(), "energy": 0.9},
    }


def _rank_probe(function: Callable, attention: Tensor, energy: float) -> Answer:
    rank = as_tensor(function(attention, energy))
    # A whole number; tensors are compared in the type of the inputs.
    return {"rank": rank.to(attention.dtype)}


RANK = Exercise(
    "effective_rank",
    "low_rank_attention",
    (
        Part(
            "numbers",
            _rank_cases,
            _rank_probe,
            (
                matches(
                    "rank",
                    title="the smallest rank that keeps the share",
                    points=2,
                    cases=(
                        "attention",
                        "nearly everything",
                        "everything",
                        "no batch",
                        "two batch axes",
                    ),
                ),
                matches(
                    "rank",
                    title="for matrices that are not square, too",
                    points=1,
                    cases=("more keys than queries", "more queries than keys", "one token"),
                ),
                matches(
                    "rank",
                    title="flat attention has rank 1, sharp attention needs most of its rows",
                    points=1,
                    cases=("flat and sharp",),
                ),
            ),
            supplies={"attention_spectrum": torch.linalg.svdvals},
        ),
    ),
)


# --- linformer_attention -------------------------------------------------------------------------


def _linformer_cases(generator: Generator) -> dict[str, Inputs]:
    def case(
        n_q: int,
        n_k: int,
        d: int,
        d_v: int,
        projected: int,
        scale: float = 1.0,
        lead: tuple[int, ...] = (2, 2),
    ) -> Inputs:
        return attention_case(generator, n_q, n_k, d, d_v, scale, lead) | {
            "e": normal(generator, n_k, projected, scale=n_k**-0.5),
            "f": normal(generator, n_k, projected, scale=n_k**-0.5),
        }

    turned = case(6, 9, 4, 4, 3)
    turned |= {name: turned[name].mT.contiguous().mT for name in "qkvef"}
    return {
        "short": case(5, 5, 4, 4, 3),
        "more keys than queries": case(7, 11, 8, 3, 5),
        "more queries than keys": case(9, 6, 4, 5, 2),
        "as many of everything": case(4, 4, 4, 4, 4),
        "one mixture": case(5, 7, 4, 4, 1),
        "one token": case(1, 1, 4, 4, 2),
        "columns contiguous": turned,
        "no leading axes": case(5, 7, 4, 3, 3, lead=()),
        "one leading axis": case(6, 5, 4, 3, 2, lead=(3,)),
        "three leading axes": case(4, 5, 4, 4, 3, lead=(2, 1, 2)),
        "a batch of one": case(5, 6, 4, 3, 3, lead=(1, 1)),
        "large numbers": case(13, 13, 4, 4, 6, scale=8.0),
        "float64": in_float64(case(5, 7, 4, 4, 3)),
    }


def _linformer_probe(function: Callable, cotangent: Tensor, **tensors: Tensor) -> Answer:
    return with_gradients(function, tensors, cotangent)


def _with_projections(generator: Generator, n: int) -> Inputs:
    projections = {name: normal(generator, n, PROJECTED, scale=n**-0.5) for name in "ef"}
    return sequence(generator, n) | projections


# With one mixture the weight is 1 whatever q, k and e are, and with one token the mixtures hardly
# differ: the gradients of these are rounding.
LINFORMER_AXES = ("no leading axes", "one leading axis", "three leading axes", "a batch of one")
LINFORMER_GRADIENTS = (
    "short",
    "more keys than queries",
    "more queries than keys",
    *LINFORMER_AXES,
)
LINFORMER = Exercise(
    "linformer_attention",
    "low_rank_attention",
    (
        Part(
            "numbers",
            _linformer_cases,
            _linformer_probe,
            (
                matches(
                    "output",
                    title="equals softmax(Q(EᵀK)ᵀ/√d) FᵀV",
                    points=2,
                    cases=(
                        "short",
                        "as many of everything",
                        "one mixture",
                        "one token",
                        *LINFORMER_AXES,
                        "columns contiguous",
                        "float64",
                    ),
                ),
                matches(
                    "output",
                    title="queries, keys and values of different sizes, and large numbers",
                    points=1,
                    cases=("more keys than queries", "more queries than keys", "large numbers"),
                ),
                matches(
                    *GRADIENTS,
                    "grad_e",
                    "grad_f",
                    title="gradients reach the projections, too",
                    points=1,
                    cases=LINFORMER_GRADIENTS,
                ),
            ),
        ),
        *cost(
            _with_projections,
            lambda function, **tensors: function(*tensors.values()),
            exponent=1.1,
            largest=lambda n: 128 * n,
            words=NO_MATRIX,
            title="O(n·k): nothing n × n is computed",
            points=2,
            long={"long": lambda generator: _with_projections(generator, LONG_TOKENS)},
        ),
    ),
)

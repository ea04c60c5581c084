"""The exercises of 00_foundations on low rank."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import COUNTED_DIM, LONG_TOKENS, in_float64, normal
from autograder.cost import cost
from autograder.exercise import Answer, Exercise, Inputs, Part, Property
from autograder.probes import as_tensor
from autograder.properties import matches
from course.specifications.foundations import best_error

# --- low_rank_approximation ----------------------------------------------------------------------


def _matrix(generator: Generator, *shape: int, scale: float = 3.0) -> Tensor:
    """A matrix with singular values so far apart that its approximations are not in doubt."""
    few = min(shape[-2:])
    left, right = (
        torch.linalg.qr(normal(generator, *shape[:-2], side, few)).Q for side in shape[-2:]
    )
    return (left * (scale * 0.6 ** torch.arange(few))) @ right.mT


def _low_rank_cases(generator: Generator) -> dict[str, Inputs]:
    def case(rank: int, *shape: int, **more: float) -> Inputs:
        return {"matrix": _matrix(generator, *shape, **more), "rank": rank}

    of_rank_two = normal(generator, 6, 2) @ normal(generator, 2, 5)
    return {
        "square": case(3, 5, 5),
        "tall": case(2, 7, 4),
        "wide": case(2, 3, 8),
        "rank one": case(1, 6, 5),
        "every singular value": case(4, 5, 4),
        "one entry": case(1, 1, 1),
        "rank lower than asked for": {"matrix": of_rank_two, "rank": 3},
        "small numbers": case(2, 5, 5, scale=1e-5),
        "float64": in_float64(case(2, 6, 4)),
        "not contiguous": {"matrix": _matrix(generator, 4, 7).mT, "rank": 2},
        "batch": case(2, 2, 3, 6, 5),
        "large and small matrices": {
            "matrix": torch.stack([_matrix(generator, 5, 4), _matrix(generator, 5, 4, scale=0.3)]),
            "rank": 2,
        },
        "one batch axis": case(2, 3, 5, 6),
        "a batch of one": case(2, 1, 5, 4),
    }


def _low_rank_probe(function: Callable, matrix: Tensor, rank: int) -> Answer:
    return {"output": as_tensor(function(matrix, rank))}


def _tall(generator: Generator, rows: int) -> Inputs:
    return {"matrix": _matrix(generator, rows, COUNTED_DIM)}


def _of_another_shape(inputs: Inputs, answer: Answer) -> str | None:
    shape, right = tuple(answer["output"].shape), tuple(inputs["matrix"].shape)
    return None if shape == right else f"output has shape {shape}, expected {right}"


def _not_the_best(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    if text := _of_another_shape(inputs, answer):
        return text
    matrix = inputs["matrix"].double()
    error = torch.linalg.matrix_norm(answer["output"].double() - matrix)
    best = best_error(matrix, inputs["rank"])
    away = (error - best).abs() / torch.linalg.matrix_norm(matrix)
    if (away <= 1e-4).all():
        return None
    worst = int(away.nan_to_num(torch.inf).argmax())
    return (
        f"the error is {error.flatten()[worst]:.4g}, the smallest that a matrix of rank "
        f"{inputs['rank']} can have is {best.flatten()[worst]:.4g}"
    )


def _rank_too_high(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    if text := _of_another_shape(inputs, answer):
        return text
    values = torch.linalg.svdvals(answer["output"].double())
    rank = inputs["rank"]
    beyond = (values[..., rank] / values[..., 0]).max().item()
    if beyond <= 1e-5:
        return None
    return (
        f"its rank is higher than {rank}: singular value {rank + 1} is {beyond:.2g} of the largest"
    )


LOW_RANK = Exercise(
    "low_rank_approximation",
    "foundations",
    (
        Part(
            "numbers",
            _low_rank_cases,
            _low_rank_probe,
            (
                Property(
                    "the rank is what was asked for", 1, _rank_too_high, ("square", "tall", "wide")
                ),
                Property(
                    "the error is the smallest possible: √(Σσ²) over the singular values left out",
                    1,
                    _not_the_best,
                    ("square", "tall", "wide", "rank one", "every singular value", "batch"),
                ),
                matches(
                    "output",
                    title="equals the closest matrix",
                    points=1,
                    cases=(
                        "square",
                        "tall",
                        "wide",
                        "rank one",
                        "one entry",
                        "rank lower than asked for",
                        "small numbers",
                        "float64",
                        "not contiguous",
                    ),
                ),
                matches(
                    "output",
                    title="a batch, each matrix by itself",
                    points=1,
                    cases=("batch", "one batch axis", "a batch of one", "large and small matrices"),
                ),
            ),
        ),
        *cost(
            _tall,
            lambda function, matrix: function(matrix, 3),
            exponent=1.1,
            largest=lambda rows: 4 * COUNTED_DIM * rows,
            words="of a tall matrix's left singular vectors, only as many as it has columns are "
            "needed",
            title="O(rows · columns²) for a tall matrix: nothing rows × rows",
            points=1,
            # The float32 decomposition of so tall a matrix is off by more than its small entries
            # allow.
            long={"long": lambda generator: in_float64(_tall(generator, LONG_TOKENS))},
        ),
    ),
)


# --- relative_error ------------------------------------------------------------------------------


def _error_cases(generator: Generator) -> dict[str, Inputs]:
    def case(*shape: int, scale: float = 1.0) -> Inputs:
        matrix = normal(generator, *shape, scale=scale)
        return {
            "approximation": matrix + normal(generator, *shape, scale=0.3 * scale),
            "matrix": matrix,
        }

    exact, batch = case(5, 4), case(2, 3, 5, 4)
    exact["matrix"] += 1.0
    # Each matrix of the batch is ten times the one before.
    factors = (10.0 ** torch.arange(3))[:, None, None]
    return {
        "one matrix": case(7, 5),
        "wide": case(1, 6),
        "small numbers": case(5, 4, scale=1e-12),
        "float64": in_float64(case(5, 4)),
        "not contiguous": {name: x.mT for name, x in case(4, 6).items()},
        "exact": exact | {"approximation": exact["matrix"].clone()},
        "far off": case(6, 3) | {"matrix": normal(generator, 6, 3, scale=0.2)},
        "zeros": exact | {"approximation": torch.zeros(5, 4)},
        "batch": {
            "approximation": batch["matrix"] * factors + 2 * batch["approximation"],
            "matrix": batch["matrix"] * factors,
        },
        "one batch axis": case(3, 5, 4),
        "a batch of one": case(1, 5, 4),
    }


def _error_probe(function: Callable, approximation: Tensor, matrix: Tensor) -> Answer:
    return {"output": as_tensor(function(approximation, matrix))}


RELATIVE_ERROR = Exercise(
    "relative_error",
    "foundations",
    (
        Part(
            "numbers",
            _error_cases,
            _error_probe,
            (
                matches(
                    "output",
                    title="0 for the matrix itself, 1 for zeros",
                    points=1,
                    cases=("exact", "zeros"),
                ),
                matches(
                    "output",
                    title="equals the norm of the difference over the norm of the matrix",
                    points=1,
                    cases=(
                        "one matrix",
                        "wide",
                        "far off",
                        "small numbers",
                        "float64",
                        "not contiguous",
                    ),
                ),
                matches(
                    "output",
                    title="a batch, each matrix by itself",
                    points=1,
                    cases=("batch", "one batch axis", "a batch of one"),
                ),
            ),
        ),
    ),
)

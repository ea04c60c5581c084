"""The exercises of 03_low_rank_attention on random projections."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from autograder.cases import in_float64, normal
from autograder.exercise import Answer, Exercise, Inputs, Part, Property, difference
from autograder.probes import as_tensor, with_gradients
from autograder.properties import are_equal, matches

DRAWS = 200
# A right version fails a test of six standard errors less than once in a million.
STANDARD_ERRORS = 6


# --- johnson_lindenstrauss_projection ------------------------------------------------------------


def _projection_cases(generator: Generator) -> dict[str, Inputs]:
    seed = int(torch.randint(2**31, (), generator=generator))
    return {
        "few columns": {"n": 11, "k": 3, "seed": seed},
        "one column": {"n": 5, "k": 1, "seed": seed + 1},
        "more columns than rows": {"n": 4, "k": 6, "seed": seed + 2},
        "many draws": {"n": 8, "k": 3, "seed": seed + 3, "draws": DRAWS},
    }


def _projection_probe(function: Callable, n: int, k: int, seed: int, draws: int = 1) -> Answer:
    def draw(times: int) -> Tensor:
        generator = Generator().manual_seed(seed)
        return torch.stack([as_tensor(function(n, k, generator)) for _ in range(times)])

    answer = {"projections": draw(draws)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # another state of torch's own generator must change nothing
        return answer | {"again": draw(1)}


def _wrong_shape(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    shape, right = tuple(answer["projections"].shape[1:]), (inputs["n"], inputs["k"])
    return None if shape == right else f"the result has shape {shape}, expected {right}"


# For independent entries of variance 1/k, a product of two rows of E has mean 0 and variance 1/k;
# the square of a row has mean 1 and, where the entries are normal, variance 2/k, with a kurtosis
# of 3 + 12/k.


def _wrong_lengths(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    draws, k = answer["projections"].double(), inputs["k"]
    products = (draws @ draws.mT).mean(dim=0)  # (n, n): ‖Eᵀx‖² is xᵀEEᵀx
    away = (products - torch.eye(len(products))).abs()
    errors = (1 + torch.eye(len(products))).div(k * len(draws)).sqrt()
    if (away <= STANDARD_ERRORS * errors).all():
        return None
    ratio = products.diagonal().mean().item()
    if (products.diagonal() - ratio).abs().max() < away.max():
        return (
            f"over {len(draws)} draws, ‖Eᵀx‖² of a coordinate axis x is {ratio:.3g} ‖x‖² on "
            "average, not ‖x‖²"
        )
    row, other = divmod(int(away.argmax()), len(products))
    return (
        f"over {len(draws)} draws, the product of rows {row} and {other} of E is "
        f"{products[row, other]:.2f} on average, not 0: some directions are stretched"
    )


def _too_wide(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    squares = answer["projections"].double().square().sum(dim=-1)  # (draws, n)
    n, k = inputs["n"], inputs["k"]
    # Relative to the mean: how long the results are is another property's business.
    variance = (squares.var(dim=0) / squares.mean(dim=0).square()).mean().item()
    error = math.sqrt((2 + 12 / k) / (n * len(squares)))
    if variance <= 2 / k * (1 + STANDARD_ERRORS * error):
        return None
    return (
        f"over {len(squares)} draws, ‖Eᵀx‖²/‖x‖² has variance {variance:.2f}, for {k} independent "
        f"columns it is 2/k = {2 / k:.2f}"
    )


JOHNSON_LINDENSTRAUSS = Exercise(
    "johnson_lindenstrauss_projection",
    "low_rank_attention",
    (
        Part(
            "numbers",
            _projection_cases,
            _projection_probe,
            (
                Property("n rows of k numbers", 1, _wrong_shape),
                Property(
                    "keeps the squared length of every vector, on average",
                    2,
                    _wrong_lengths,
                    ("many draws",),
                    # The numbers are free; those of a known mistake tell which one it is.
                    compared=("projections",),
                ),
                Property(
                    "the squared length scatters no more than 2/k allows",
                    1,
                    _too_wide,
                    ("many draws",),
                ),
                are_equal(
                    "projections",
                    "again",
                    "an equal generator gave another projection: draw everything from `generator`",
                    title="all randomness comes from the generator",
                    points=1,
                    cases=("few columns", "one column"),
                ),
            ),
        ),
    ),
)


# --- distortion ----------------------------------------------------------------------------------


def _distortion_cases(generator: Generator) -> dict[str, Inputs]:
    def case(p: int, n: int, k: int, scale: float = 1.0) -> Inputs:
        return {
            "points": normal(generator, p, n),
            "projection": normal(generator, n, k, scale=scale * k**-0.5),
        }

    far = case(12, 10, 4)
    far["points"] += 1e4 * F.normalize(normal(generator, 10), dim=0)
    return {
        "some points": case(12, 10, 4),
        # Smaller than before: of one pair, the ratio could by chance be 1, and the rest rounding.
        "two points": case(2, 7, 3, scale=0.3),
        "more points than numbers": case(15, 3, 2),
        "float64": in_float64(case(5, 8, 4)),
        "everything shrinks": case(6, 10, 4, scale=0.2),
        "everything grows": case(6, 10, 4, scale=3.0),
        "far from 0": far,
    }


def _distortion_probe(function: Callable, points: Tensor, projection: Tensor) -> Answer:
    return with_gradients(function, {"points": points, "projection": projection}, None)


def _mostly_rounding(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    output, truth = answer["output"], expected["output"]
    # Projecting before subtracting loses three of float32's seven digits here, and may.
    if output.shape == truth.shape and abs(output - truth) <= 5e-3 * truth:
        return None
    return difference("output", output, truth)


DISTORTION = Exercise(
    "distortion",
    "low_rank_attention",
    (
        Part(
            "numbers",
            _distortion_cases,
            _distortion_probe,
            (
                matches(
                    "output",
                    title="the largest over all pairs of points",
                    points=2,
                    cases=("some points", "two points", "more points than numbers", "float64"),
                ),
                matches(
                    "output",
                    title="shrinking and growing both count",
                    points=1,
                    cases=("everything shrinks", "everything grows"),
                ),
                Property(
                    "right for points that are far from 0 and near to each other",
                    1,
                    _mostly_rounding,
                    ("far from 0",),
                ),
            ),
        ),
    ),
)

"""The exercises of 03_low_rank_attention on random projections."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from autograder.cases import in_float64, normal
from autograder.exercise import (
    Answer,
    Complaint,
    Exercise,
    Inputs,
    Part,
    Property,
    Sign,
    difference,
)
from autograder.probes import as_tensor, with_gradients
from autograder.properties import are_equal, matches

DRAWS = 200
# A right version fails a test of six standard errors less than once in a million.
STANDARD_ERRORS = 6


# --- johnson_lindenstrauss_projection ------------------------------------------------------------


def _one_draw(generator: Generator) -> dict[str, Inputs]:
    seed = int(torch.randint(2**31, (), generator=generator))
    return {
        "few columns": {"n": 11, "k": 3, "seed": seed},
        "one column": {"n": 5, "k": 1, "seed": seed + 1},
        "more columns than rows": {"n": 4, "k": 6, "seed": seed + 2},
    }


def _one_draw_probe(function: Callable, n: int, k: int, seed: int) -> Answer:
    def draw() -> Tensor:
        return as_tensor(function(n, k, Generator().manual_seed(seed)))

    answer = {"projection": draw()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # another state of torch's own generator must change nothing
        return answer | {"again": draw()}


def _many_draws(generator: Generator) -> dict[str, Inputs]:
    # Variances of 1/k, 1/n, 1/(3k) and what else is taken for the right one are far apart.
    seed = int(torch.randint(2**31, (), generator=generator))
    return {"many draws": {"n": 24, "k": 4, "seed": seed, "draws": DRAWS}}


def _many_draws_probe(function: Callable, n: int, k: int, seed: int, draws: int) -> Answer:
    generator = Generator().manual_seed(seed)
    drawn = [as_tensor(function(n, k, generator)) for _ in range(draws)]
    return {"projections": torch.stack(drawn)}


def _another_form(inputs: Inputs, projection: Tensor) -> str | None:
    shape, right = tuple(projection.shape), (inputs["n"], inputs["k"])
    if shape != right:
        return f"the result has shape {shape}, expected {right}"
    if not projection.is_floating_point():
        return f"the result has dtype {projection.dtype}, expected a real floating-point type"
    return None


def _wrong_shape(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    return _another_form(inputs, answer["projection"])


def _of_draws(complain: Callable[[Tensor, int], str | None]) -> Complaint:
    def complains(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        drawn = answer["projections"]
        if len(drawn) != inputs["draws"]:
            return "the draws did not come back"
        return _another_form(inputs, drawn[0]) or complain(drawn.double(), inputs["k"])

    return complains


# For independent entries of variance 1/k, a product of two rows of E has mean 0 and variance 1/k;
# the square of a row has mean 1 and, where the entries are normal, variance 2/k, with a kurtosis
# of 3 + 12/k.


def _errors_away(samples: Tensor, right: Tensor | float, variance: Tensor | float) -> Tensor:
    """How many standard errors the mean of the samples is away from what is right.

    samples: (draws, ...). The variance is that of normal entries; where the samples scatter more,
    which is another property's business, it is theirs.
    """
    error = (samples.var(dim=0).clamp(min=variance) / len(samples)).sqrt()
    return (samples.mean(dim=0) - right).abs() / error


def _wrong_lengths(drawn: Tensor, k: int) -> str | None:
    products = drawn @ drawn.mT  # (draws, n, n): ‖Eᵀx‖² is xᵀEEᵀx
    n = products.shape[-1]
    lengths = products.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    if not _errors_away(lengths, 1.0, 2 / (n * k)) <= STANDARD_ERRORS:
        return (
            f"over {len(drawn)} draws, ‖Eᵀx‖² of a coordinate axis x is "
            f"{lengths.mean().item():.3g} ‖x‖² on average, not ‖x‖²"
        )
    identity = torch.eye(n, dtype=drawn.dtype)
    away = _errors_away(products, identity, (1 + identity) / k)
    if (away <= STANDARD_ERRORS).all():
        return None
    row, other = divmod(int(away.argmax()), n)
    return (
        f"over {len(drawn)} draws, the product of rows {row} and {other} of E is "
        f"{products[:, row, other].mean():.2f} on average, not {int(row == other)}: some "
        "directions are stretched"
    )


def _too_wide(drawn: Tensor, k: int) -> str | None:
    squares = drawn.square().sum(dim=-1)  # (draws, n)
    # Relative to the mean: how long the results are is another property's business.
    scatter = (squares / squares.mean(dim=0) - 1).square().mean(dim=-1)
    variance, error = scatter.mean().item(), scatter.std().item() / math.sqrt(len(scatter))
    if variance - STANDARD_ERRORS * error <= 2 / k:
        return None
    return (
        f"over {len(squares)} draws, ‖Eᵀx‖²/‖x‖² has variance {variance:.2f}, for {k} independent "
        f"columns it is 2/k = {2 / k:.2f}"
    )


def _of_variance(variance: Callable[[int, int], float]) -> Sign:
    """It would be right, were its entries not of this variance (n, k) in place of 1/k."""

    def shows(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
        n, k = inputs["n"], inputs["k"]
        scaled = answer["projections"].double() / math.sqrt(k * variance(n, k))
        return not (_wrong_lengths(scaled, k) or _too_wide(scaled, k))

    return shows


def _equal_to(x: Tensor, value: Tensor | float) -> bool:
    return bool(((x - value).abs() <= 1e-4 * x.abs().max()).all())


def _of_columns(sign: Callable[[Tensor], bool]) -> Sign:
    """By the products of the columns of each draw, (draws, k, k)."""
    return lambda inputs, answer, expected: sign(answer["projections"].mT @ answer["projections"])


def _of_entries(sign: Callable[[Tensor], bool]) -> Sign:
    def shows(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
        drawn = answer["projections"]
        return bool(drawn.any()) and sign(drawn)

    return shows


def _differs_again(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    return not torch.equal(answer["projection"], answer["again"])


def _turned(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    return answer["projection"].shape == (inputs["k"], inputs["n"])


JOHNSON_LINDENSTRAUSS = Exercise(
    "johnson_lindenstrauss_projection",
    "low_rank_attention",
    (
        Part(
            "one draw",
            _one_draw,
            _one_draw_probe,
            (
                Property("n rows of k numbers", 1, _wrong_shape),
                are_equal(
                    "projection",
                    "again",
                    "an equal generator gave another projection: draw everything from `generator`",
                    title="all randomness comes from the generator",
                    points=1,
                    cases=("few columns", "one column"),
                ),
            ),
            signs={"generator ignored": _differs_again, "rows and columns exchanged": _turned},
        ),
        Part(
            "many draws",
            _many_draws,
            _many_draws_probe,
            (
                Property(
                    "keeps the squared length of every vector, on average",
                    2,
                    _of_draws(_wrong_lengths),
                ),
                Property(
                    "the squared length scatters no more than 2/k allows", 1, _of_draws(_too_wide)
                ),
            ),
            signs={
                "variance left at 1": _of_variance(lambda n, k: 1),
                "multiplied by root k": _of_variance(lambda n, k: k),
                "divided by k": _of_variance(lambda n, k: 1 / k**2),
                "divided by n": _of_variance(lambda n, k: 1 / n**2),
                "divided by root n": _of_variance(lambda n, k: 1 / n),
                "divided by root n and root k": _of_variance(lambda n, k: 1 / (n * k)),
                "uniform between minus 1 and 1": _of_variance(lambda n, k: 1 / (3 * k)),
                "uniform around 0 with width 1": _of_variance(lambda n, k: 1 / (12 * k)),
                "no negative entry": _of_entries(
                    lambda x: bool((x >= 0).all() and (x > 0).double().mean() > 0.4)
                ),
                "orthonormal columns": _of_columns(lambda x: _equal_to(x, torch.eye(x.shape[-1]))),
                "columns of length 1": _of_columns(
                    lambda x: (
                        _equal_to(x.diagonal(dim1=-2, dim2=-1), 1.0)
                        and not _equal_to(x, torch.eye(x.shape[-1]))
                    )
                ),
                "one column repeated": _of_entries(lambda x: _equal_to(x, x[..., :1])),
                "one row repeated": _of_entries(lambda x: _equal_to(x, x[:, :1])),
                "the same numbers at each call": _of_entries(lambda x: _equal_to(x, x[:1])),
            },
            tells_mistakes=False,
        ),
    ),
)


# --- distortion ----------------------------------------------------------------------------------


def _worst_apart(points: Tensor, projection: Tensor) -> Tensor:
    """The points in an order in which the worst pair are no neighbours, nor is one the first."""
    x = points[:, None] - points
    ratio = (x @ projection).square().sum(dim=-1) / x.square().sum(dim=-1)
    worst = (ratio - 1).abs().nan_to_num(0.0).argmax().item()
    i, j = divmod(worst, len(points))
    rest = [row for row in range(len(points)) if row not in (i, j)]
    return points[[rest[0], i, rest[1], j, *rest[2:]]]


def _distortion_cases(generator: Generator) -> dict[str, Inputs]:
    def case(p: int, n: int, k: int, scale: float = 1.0) -> Inputs:
        points = normal(generator, p, n)
        projection = normal(generator, n, k, scale=scale * k**-0.5)
        if p > 3:
            points = _worst_apart(points, projection)
        return {"points": points, "projection": projection}

    # The worst pair moves apart.
    far = case(12, 10, 4, scale=2.0)
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
    alike = (output.shape, output.dtype) == (truth.shape, inputs["points"].dtype)
    if alike and abs(output - truth) <= 5e-3 * truth:
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

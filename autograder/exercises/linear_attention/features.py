"""The exercises of 02_linear_attention on random features."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import normal
from autograder.exercise import Answer, Exercise, Inputs, Part, Property
from autograder.probes import as_tensor, with_gradients
from autograder.properties import are_equal, matches

DRAWS = 300
# Five standard errors: a right version fails a test of this kind about once in a million.
STANDARD_ERRORS = 5


def _kernel_estimates(function: Callable, x: Tensor, y: Tensor, projections: Tensor) -> Tensor:
    """φ(x)ᵀφ(y) for each pair of rows and each projection: (draws, pairs)."""
    rows = []
    for projection in projections:
        phi_x, phi_y = as_tensor(function(x, projection)), as_tensor(function(y, projection))
        rows.append((phi_x * phi_y).sum(dim=-1))
    return torch.stack(rows)


def _estimator_case(generator: Generator, num_features: int, **more: object) -> Inputs:
    # Of equal length: the estimates of longer vectors are so skewed that the spread of a sample
    # says little about the error of its mean.
    return {
        "x": 0.7 * torch.nn.functional.normalize(normal(generator, 5, 4), dim=-1),
        "y": 0.7 * torch.nn.functional.normalize(normal(generator, 5, 4), dim=-1),
        "projections": normal(generator, DRAWS, num_features, 4),
        **more,
    }


def _features_probe(
    function: Callable,
    x: Tensor,
    y: Tensor | None = None,
    projection: Tensor | None = None,
    projections: Tensor | None = None,
) -> Answer:
    if projections is not None:
        return {"estimates": _kernel_estimates(function, x, y, projections)}
    num_features = as_tensor(function(x, projection)).shape[-1]
    cotangent = torch.linspace(-1, 1, num_features, dtype=x.dtype).expand(*x.shape[:-1], -1)
    answer = with_gradients(lambda x: function(x, projection), {"x": x}, cotangent)
    answer["features"] = answer.pop("output")
    if y is not None:
        answer["kernel"] = answer["features"] @ function(y, projection).mT
    return answer


def _biased(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    estimates = answer["estimates"].double()
    truth = (inputs["x"] * inputs["y"]).sum(dim=-1).double().exp()
    mean, error = estimates.mean(dim=0), estimates.std(dim=0) / math.sqrt(len(estimates))
    away = (mean - truth).abs() / error
    if (away <= STANDARD_ERRORS).all():
        return None
    worst = int(away.nan_to_num(torch.inf).argmax())
    return (
        f"the mean of {len(estimates)} estimates of exp(xᵀy) is {mean[worst]:.4f} ± "
        f"{error[worst]:.4f}, the truth is {truth[worst]:.4f}"
    )


def _wrong_rate(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    truth = (inputs["x"] * inputs["y"]).sum(dim=-1).double().exp()
    errors = answer["estimates"].double() - truth
    expected_errors = expected["estimates"] - truth
    ratio = (errors.square().mean() / expected_errors.square().mean()).sqrt().item()
    if 0.8 < ratio < 1.25:
        return None
    m = inputs["projections"].shape[1]
    return (
        f"with m = {m} the error is {ratio:.3g} times that of m independent draws: the estimate "
        "is not their mean"
    )


def _wider_than_trigonometric(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    x, y = inputs["x"].double(), inputs["y"].double()
    angles = (inputs["projections"].double() @ (x - y).mT).cos().mean(dim=1)  # (draws, pairs)
    trigonometric = angles * ((x.square() + y.square()).sum(dim=-1) / 2).exp()
    mine, theirs = answer["estimates"].double().std(dim=0), trigonometric.std(dim=0)
    if (mine < theirs).all():
        return None
    return (
        "where exp(xᵀy) is small, the estimates scatter by "
        f"{mine.max():.3g}, those of the trigonometric features by {theirs.max():.3g}"
    )


# --- trigonometric_random_features ---------------------------------------------------------------


def _trigonometric_cases(generator: Generator) -> dict[str, Inputs]:
    return {
        "short": {
            "x": normal(generator, 2, 5, 4, scale=0.7),
            "y": normal(generator, 2, 5, 4, scale=0.7),
            "projection": normal(generator, 6, 4),
        },
        "one feature": {
            "x": normal(generator, 3, 4),
            "y": normal(generator, 3, 4),
            "projection": normal(generator, 1, 4),
        },
        "many draws": _estimator_case(generator, 16),
    }


def _trigonometric_probe(function: Callable, **inputs: Tensor) -> Answer:
    # Whether cosines and sines alternate is free: only φ(x)ᵀφ(y) is held against the reference.
    answer = _features_probe(function, **inputs)
    answer.pop("features", None)
    answer.pop("grad_x", None)
    return answer


TRIGONOMETRIC = Exercise(
    "trigonometric_random_features",
    "linear_attention",
    (
        Part(
            "numbers",
            _trigonometric_cases,
            _trigonometric_probe,
            (
                matches(
                    "kernel",
                    title="φ(x)ᵀφ(y) equals the formula, draw by draw",
                    points=2,
                    cases=("short", "one feature"),
                ),
                Property(
                    "unbiased: the mean over 300 draws is exp(xᵀy)", 1, _biased, ("many draws",)
                ),
            ),
        ),
    ),
)


# --- positive_random_features --------------------------------------------------------------------


def _positive_cases(generator: Generator) -> dict[str, Inputs]:
    projection = normal(generator, 8, 64)
    opposite = normal(generator, 5, 4, scale=0.8)
    return {
        "short": {"x": normal(generator, 2, 5, 4), "projection": normal(generator, 6, 4)},
        "one feature": {"x": normal(generator, 3, 4), "projection": normal(generator, 1, 4)},
        # ωᵀx is about 128 here, where exp overflows float32, but ωᵀx − ‖x‖²/2 is about 0.
        "long vectors": {"x": 2 * projection[:5], "projection": projection},
        # The exponent of row 0 is about ‖ω‖² · 3/8, near 24.
        "large features": {"x": 1.5 * projection[:1], "projection": projection},
        "many draws": _estimator_case(generator, 16),
        "more features": _estimator_case(generator, 256),
        "small kernel": _estimator_case(generator, 16, x=opposite, y=-opposite),
    }


POSITIVE = Exercise(
    "positive_random_features",
    "linear_attention",
    (
        Part(
            "numbers",
            _positive_cases,
            _features_probe,
            (
                matches(
                    "features",
                    title="equals exp(ωᵀx − ‖x‖²/2) / √m",
                    points=2,
                    cases=("short", "one feature"),
                ),
                matches(
                    "features",
                    title="finite and right for long x",
                    points=1,
                    cases=("long vectors", "large features"),
                ),
                Property(
                    "unbiased: the mean over 300 draws is exp(xᵀy)", 1, _biased, ("many draws",)
                ),
                Property(
                    "the error falls like 1/√m",
                    1,
                    _wrong_rate,
                    ("many draws", "more features"),
                ),
                Property(
                    "scatters less than trigonometric features where exp(xᵀy) is small",
                    1,
                    _wider_than_trigonometric,
                    ("small kernel",),
                ),
            ),
        ),
    ),
)


# --- orthogonal_random_features ------------------------------------------------------------------


def _orthogonal_cases(generator: Generator) -> dict[str, Inputs]:
    seed = int(torch.randint(2**31, (), generator=generator))
    return {
        "one block": {"num_features": 8, "dim": 8, "seed": seed},
        "fewer rows than columns": {"num_features": 5, "dim": 8, "seed": seed + 1},
        "several blocks": {"num_features": 21, "dim": 8, "seed": seed + 2},
        "many draws": {"num_features": 8, "dim": 4, "seed": seed + 3, "draws": DRAWS},
    }


def _orthogonal_probe(
    function: Callable, num_features: int, dim: int, seed: int, draws: int = 1
) -> Answer:
    def draw(times: int) -> Tensor:
        generator = Generator().manual_seed(seed)
        return torch.stack(
            [as_tensor(function(num_features, dim, generator)) for _ in range(times)]
        )

    answer = {"rows": draw(draws)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # another state of torch's own generator must change nothing
        return answer | {"again": draw(1)}


def _wrong_shape(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    shape, right = tuple(answer["rows"].shape[1:]), (inputs["num_features"], inputs["dim"])
    return None if shape == right else f"the result has shape {shape}, expected {right}"


def _not_orthogonal(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    directions = torch.nn.functional.normalize(answer["rows"][0].double(), dim=-1)
    for start in range(0, len(directions), inputs["dim"]):
        block = directions[start : start + inputs["dim"]]
        cosines = (block @ block.mT - torch.eye(len(block))).abs()
        if not (cosines < 1e-4).all():
            return (
                f"rows {start} to {start + len(block) - 1} are one block, but two of them have a "
                f"cosine of {cosines.max():.2f}, not 0"
            )
    return None


# ‖ω‖² of a standard normal row is chi-squared with d degrees of freedom: mean d, variance 2 d,
# fourth central moment 12 d (d + 4).


def _wrong_mean_length(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    squares, dim = answer["rows"].double().square().sum(dim=-1).flatten(), inputs["dim"]
    if (squares.mean() - dim).abs() <= STANDARD_ERRORS * math.sqrt(2 * dim / len(squares)):
        return None
    return (
        f"‖ω‖² has mean {squares.mean():.2f} over {len(squares)} rows; "
        f"for normal rows of {dim} numbers it is {dim}"
    )


def _wrong_spread_of_lengths(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    squares, dim = answer["rows"].double().square().sum(dim=-1).flatten(), inputs["dim"]
    error = math.sqrt(8 * dim * (dim + 6) / len(squares))
    if (squares.var() - 2 * dim).abs() <= STANDARD_ERRORS * error:
        return None
    return (
        f"‖ω‖² has variance {squares.var():.2f} over {len(squares)} rows; "
        f"for normal rows of {dim} numbers it is {2 * dim}"
    )


def _dependent_lengths(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    lengths = answer["rows"].double().norm(dim=-1)  # (draws, num_features)
    if not (lengths.std(dim=0) > 1e-3 * lengths.mean(dim=0)).all():
        return f"over {len(lengths)} draws, the length of a row is always the same"
    correlation = torch.corrcoef(lengths.mT).fill_diagonal_(0)
    if (correlation.abs() <= STANDARD_ERRORS / math.sqrt(len(lengths))).all():
        return None
    first, second = divmod(int(correlation.abs().argmax()), len(correlation))
    return (
        f"over {len(lengths)} draws, the lengths of rows {first} and {second} have a correlation "
        f"of {correlation[first, second]:.2f}, not 0"
    )


def _likelier_direction(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    rows, dim = answer["rows"].double(), inputs["dim"]
    mean = torch.nn.functional.normalize(rows, dim=-1).mean(dim=0)  # (num_features, dim)
    if mean.abs().max() <= STANDARD_ERRORS / math.sqrt(dim * len(rows)):
        return None
    row, column = divmod(int(mean.abs().argmax()), dim)
    return (
        f"over {len(rows)} draws, coordinate {column} of row {row}'s direction has mean "
        f"{mean[row, column]:.2f}, not 0: some directions are likelier than others"
    )


def _longer_axis(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    rows = answer["rows"].double()
    # Relative to the mean of all: their common length is another property's business.
    squares = rows.square().mean(dim=(0, 1)) / rows.square().mean()  # (dim,)
    away = (squares - 1).abs()
    if away.max() <= STANDARD_ERRORS * math.sqrt(2 / rows[..., 0].numel()):
        return None
    column = int(away.argmax())
    return (
        f"over all rows, ω² of coordinate {column} is {squares[column]:.2f} times the mean of all "
        "coordinates: lengths and directions depend on each other, or directions are not uniform"
    )


def _dependent_blocks(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    dim = inputs["dim"]
    directions = torch.nn.functional.normalize(answer["rows"].double(), dim=-1)
    squares = (directions[:, :dim] @ directions[:, dim:].mT).square().mean(dim=0)
    # The squared cosine of independent directions: mean 1/d, variance 2 (d - 1) / (d² (d + 2)).
    error = math.sqrt(2 * (dim - 1) / (dim**2 * (dim + 2)) / len(directions))
    away = (squares - 1 / dim).abs()
    if away.max() <= STANDARD_ERRORS * error:
        return None
    row, other = divmod(int(away.argmax()), squares.shape[1])
    return (
        f"over {len(directions)} draws, row {row} and row {dim + other} of the next block have a "
        f"squared cosine of {squares[row, other]:.2f} on average, not 1/d = {1 / dim:.2f}: "
        "draw each block for itself"
    )


ORTHOGONAL = Exercise(
    "orthogonal_random_features",
    "linear_attention",
    (
        Part(
            "numbers",
            _orthogonal_cases,
            _orthogonal_probe,
            (
                Property("num_features rows of dim numbers", 1, _wrong_shape),
                Property(
                    "rows of a block are orthogonal",
                    2,
                    _not_orthogonal,
                    ("one block", "fewer rows than columns", "several blocks"),
                ),
                Property(
                    "the mean of ‖ω‖² is that of a normal row",
                    1,
                    _wrong_mean_length,
                    ("many draws",),
                ),
                Property(
                    "‖ω‖² varies as that of a normal row",
                    1,
                    _wrong_spread_of_lengths,
                    ("many draws",),
                ),
                Property("lengths of rows are independent", 1, _dependent_lengths, ("many draws",)),
                Property("every direction is as likely", 1, _likelier_direction, ("many draws",)),
                Property("every axis gets the same length", 1, _longer_axis, ("many draws",)),
                Property("blocks are independent", 1, _dependent_blocks, ("many draws",)),
                are_equal(
                    "rows",
                    "again",
                    "an equal generator gave other rows: draw everything from `generator`",
                    title="all randomness comes from the generator",
                    points=1,
                    cases=("one block",),
                ),
            ),
        ),
    ),
)

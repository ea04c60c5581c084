"""The exercises of 02_linear_attention on random features of a kernel."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import in_float64, normal
from autograder.exercise import Answer, Complaint, Exercise, Inputs, Part, Property
from autograder.exercises.linear_attention.attention import LEADS
from autograder.probes import as_tensor, with_gradients
from autograder.properties import matches

DRAWS = 300
# Five standard errors: a right version fails a test of this kind about once in a million.
STANDARD_ERRORS = 5
UNBIASED = f"unbiased: the mean over {DRAWS} draws is exp(xᵀy)"


def _estimates_probe(function: Callable, x: Tensor, y: Tensor, projections: Tensor) -> Answer:
    """φ(x)ᵀφ(y) for each projection and each pair of rows."""
    rows = []
    for projection in projections:
        # Numbers that no call before can have overwritten.
        phi_x = as_tensor(function(x.clone(), projection.clone()))
        phi_y = as_tensor(function(y.clone(), projection.clone()))
        rows.append((phi_x * phi_y).sum(dim=-1))
    return {"estimates": torch.stack(rows)}


def _estimator_case(generator: Generator, num_features: int, **more: object) -> Inputs:
    # Of equal length: the estimates of longer vectors are so skewed that the spread of a sample
    # says little about the error of its mean.
    return {
        "x": 0.7 * torch.nn.functional.normalize(normal(generator, 1, 1, 5, 4), dim=-1),
        "y": 0.7 * torch.nn.functional.normalize(normal(generator, 1, 1, 5, 4), dim=-1),
        "projections": normal(generator, DRAWS, num_features, 4),
        **more,
    }


Estimates = Callable[[Tensor, Tensor, Tensor, Tensor], str | None]
"""(estimates (draws, pairs), x (pairs, d), y, projections) -> what is wrong, or None."""


def _of_estimates(wrong: Estimates) -> Complaint:
    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        estimates, projections = answer["estimates"], inputs["projections"]
        if estimates.shape != (len(projections), *inputs["x"].shape[:-1]):
            return "the features of two rows do not give one number φ(x)ᵀφ(y)"
        x, y = (inputs[name].double().flatten(0, -2) for name in "xy")
        return wrong(estimates.double().flatten(1), x, y, projections.double())

    return complain


def _biased(estimates: Tensor, x: Tensor, y: Tensor, projections: Tensor) -> str | None:
    truth = (x * y).sum(dim=-1).exp()
    mean, error = estimates.mean(dim=0), estimates.std(dim=0) / math.sqrt(len(estimates))
    away = (mean - truth).abs() / error
    if (away <= STANDARD_ERRORS).all():
        return None
    worst = int(away.nan_to_num(torch.inf).argmax())
    return (
        f"the mean of {len(estimates)} estimates of exp(xᵀy) is {mean[worst]:.4f} ± "
        f"{error[worst]:.4f}, the truth is {truth[worst]:.4f}"
    )


def _wrong_rate(estimates: Tensor, x: Tensor, y: Tensor, projections: Tensor) -> str | None:
    truth, m = (x * y).sum(dim=-1).exp(), projections.shape[1]
    # The variance of the mean of m independent draws.
    variance = truth.square() * ((x + y).square().sum(dim=-1).exp() - 1) / m
    # Of the pairs the median: estimates are so skewed that a few decide a mean. In 600 cases of a
    # right version it was between 0.86 and 1.10.
    ratio = ((estimates - truth).square().mean(dim=0) / variance).sqrt().median().item()
    if 0.7 < ratio < 1.4:
        return None
    return (
        f"with m = {m} the error is {ratio:.3g} times that of m independent draws: the estimate "
        "is not their mean"
    )


def _wider_than_trigonometric(
    estimates: Tensor, x: Tensor, y: Tensor, projections: Tensor
) -> str | None:
    angles = (projections @ (x - y).mT).cos().mean(dim=1)  # (draws, pairs)
    trigonometric = angles * ((x.square() + y.square()).sum(dim=-1) / 2).exp()
    mine, theirs = estimates.std(dim=0), trigonometric.std(dim=0)
    if (mine < theirs).all():
        return None
    return (
        "where exp(xᵀy) is small, the estimates scatter by "
        f"{mine.max():.3g}, those of the trigonometric features by {theirs.max():.3g}"
    )


# --- trigonometric_random_features ---------------------------------------------------------------


def _pairs(generator: Generator, *lead: int, n: int = 5, m: int = 6) -> Inputs:
    return {
        "x": normal(generator, *lead, n, 4, scale=0.7),
        "y": normal(generator, *lead, n, 4, scale=0.7),
        "projection": normal(generator, m, 4),
        "cotangent": normal(generator, *lead, n, n),
    }


def _trigonometric_cases(generator: Generator) -> dict[str, Inputs]:
    long = _pairs(generator, 1, 2)
    # exp(‖x‖²) alone overflows float32 here, exp(‖x‖²/2) does not.
    long["x"] = 11 * torch.nn.functional.normalize(long["x"], dim=-1)
    return {
        "short": _pairs(generator, 2, 2),
        "one feature": _pairs(generator, 1, 3, m=1),
        "one row": _pairs(generator, 1, 1, n=1),
        "long x": long,
        "float64": in_float64(_pairs(generator, 2, 1)),
        **{name: _pairs(generator, *lead) for name, lead in LEADS.items()},
    }


def _trigonometric_probe(
    function: Callable, x: Tensor, y: Tensor, projection: Tensor, cotangent: Tensor
) -> Answer:
    # Whether cosines and sines alternate is free: φ(x)ᵀφ(y) is held against the reference.
    # The second call gets a projection that the first cannot have overwritten.
    features, untouched = [], projection.clone()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        features.append(as_tensor(function(x, projection)))
        return features[0] @ as_tensor(function(y, untouched)).mT

    answer = with_gradients(kernel, {"x": x, "y": y}, cotangent)
    return answer | {"features": features[0]}


def _not_two_a_draw(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    shape = tuple(answer["features"].shape)
    right = (*inputs["x"].shape[:-1], 2 * len(inputs["projection"]))
    if shape == right:
        return None
    return f"the features have shape {shape}, expected {right}: a cosine and a sine for each draw"


NUMBERS = ("short", "one feature", "one row", "float64", *LEADS)
TRIGONOMETRIC = Exercise(
    "trigonometric_random_features",
    "linear_attention",
    (
        Part(
            "numbers",
            _trigonometric_cases,
            _trigonometric_probe,
            (
                Property("two features for each draw", 1, _not_two_a_draw),
                matches("output", title="φ(x)ᵀφ(y) equals the formula, draw by draw", points=2),
                matches("grad_x", "grad_y", title="gradients are right", points=1, cases=NUMBERS),
            ),
        ),
        Part(
            "estimates",
            lambda generator: {"many draws": _estimator_case(generator, 16)},
            _estimates_probe,
            (Property(UNBIASED, 1, _of_estimates(_biased)),),
        ),
    ),
)


# --- positive_random_features --------------------------------------------------------------------


def _features_probe(
    function: Callable, x: Tensor, projection: Tensor, cotangent: Tensor | None = None
) -> Answer:
    return with_gradients(lambda x: function(x, projection), {"x": x}, cotangent)


def _positive_cases(generator: Generator) -> dict[str, Inputs]:
    def case(*lead: int, n: int = 5, m: int = 6) -> Inputs:
        return {
            "x": normal(generator, *lead, n, 4),
            "projection": normal(generator, m, 4),
            "cotangent": normal(generator, *lead, n, m),
        }

    return {
        "short": case(2, 3),
        "one feature": case(1, 3, m=1),
        "one row": case(1, 1, n=1),
        "float64": in_float64(case(2, 1)),
        **{name: case(*lead) for name, lead in LEADS.items()},
    }


def _extreme_cases(generator: Generator) -> dict[str, Inputs]:
    projection = normal(generator, 8, 64)
    return {
        # ωᵀx is about 128 here, where exp overflows float32, but ωᵀx − ‖x‖²/2 is about 0.
        "long vectors": {"x": 2 * projection[:5].expand(1, 1, 5, 64), "projection": projection},
        # The exponent of row 0 is about ‖ω‖² · 3/8, near 24.
        "large features": {"x": 1.5 * projection[:1].expand(1, 1, 1, 64), "projection": projection},
    }


def _small_cases(generator: Generator) -> dict[str, Inputs]:
    # ‖x‖²/2 is more than 32, and ωᵀx is small.
    x = normal(generator, 1, 2, 5, 4).clamp(-2, 2)
    x[..., 0] = 8.0
    projection = normal(generator, 6, 4).clamp(-2, 2) * torch.tensor([0.3, 1, 1, 1])
    return {"small features": {"x": x, "projection": projection}}


def _positive_estimates(generator: Generator) -> dict[str, Inputs]:
    opposite = normal(generator, 1, 1, 5, 4, scale=0.8)
    return {
        "many draws": _estimator_case(generator, 16),
        "more features": _estimator_case(generator, 256),
        "small kernel": _estimator_case(generator, 16, x=opposite, y=-opposite),
    }


def _adds_to_features(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    added = answer["output"].double() - expected["output"]
    # The features are tiny; what is added is the same for all.
    return added.shape == inputs["x"].shape[:-1] + inputs["projection"].shape[:1] and bool(
        added.min() > 0 and added.max() < 1.01 * added.min()
    )


EXTREME = "right where x is long: finite, and nothing is added to small features"
ADDED = "something added to the features"
POSITIVE = Exercise(
    "positive_random_features",
    "linear_attention",
    (
        Part(
            "numbers",
            _positive_cases,
            _features_probe,
            (
                matches("output", title="equals exp(ωᵀx − ‖x‖²/2) / √m", points=2),
                matches("grad_x", title="the gradient is right", points=1),
            ),
        ),
        Part(
            "extremes",
            _extreme_cases,
            _features_probe,
            (matches("output", title=EXTREME, points=1),),
        ),
        Part(
            "small features",
            _small_cases,
            _features_probe,
            (matches("output", title=EXTREME, points=0),),
            signs={ADDED: _adds_to_features},
        ),
        Part(
            "estimates",
            _positive_estimates,
            _estimates_probe,
            (
                Property(UNBIASED, 1, _of_estimates(_biased), ("many draws",)),
                Property(
                    "the error falls like 1/√m",
                    1,
                    _of_estimates(_wrong_rate),
                    ("many draws", "more features"),
                ),
                Property(
                    "scatters less than trigonometric features where exp(xᵀy) is small",
                    1,
                    _of_estimates(_wider_than_trigonometric),
                    ("small kernel",),
                ),
            ),
        ),
    ),
)

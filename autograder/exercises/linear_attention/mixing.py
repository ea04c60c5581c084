"""The exercises of 02_linear_attention on Fourier mixing."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import COST_DIM, LONG, cost_case, cost_tensors, normal
from autograder.exercise import Answer, Exercise, Inputs
from autograder.probes import cost_over_sizes, with_gradients
from autograder.properties import cost_grows_at_most, matches

NO_DFT_MATRIX = "an n × n matrix of the transform is what the fast one avoids"
# Complex numbers count as one element each; a matrix would hold n elements a token.
COST_CASE = cost_case(8 * COST_DIM)


def _cost_input(n: int) -> Tensor:
    return cost_tensors(n)[0]


def _fourier_cases(generator: Generator) -> dict[str, Inputs]:
    def case(*shape: int) -> Inputs:
        return {"x": normal(generator, *shape), "cotangent": normal(generator, *shape)}

    return {
        "even": case(2, 8, 6),
        "odd": case(2, 7, 5),
        "one token": case(2, 1, 4),
        "one batch less": case(9, 4),
        "cost": COST_CASE,
    }


def _fourier_long_cases(generator: Generator) -> dict[str, Inputs]:
    return {"long": {"x": normal(generator, 1, LONG, COST_DIM)}}


def _fourier_probe(
    function: Callable,
    x: Tensor | None = None,
    cotangent: Tensor | None = None,
    sizes: list[int] | None = None,
    largest_allowed: list[int] | None = None,
) -> Answer:
    if sizes:
        return cost_over_sizes(function, lambda n: (_cost_input(n),), sizes)
    return with_gradients(function, {"x": x}, cotangent)


FOURIER_NUMBERS = ("even", "odd", "one token", "one batch less")
FOURIER = Exercise(
    "fourier_mixing",
    "linear_attention",
    _fourier_cases,
    _fourier_probe,
    (
        matches(
            "output",
            title="equals the real part of the transform over both axes",
            points=2,
            cases=FOURIER_NUMBERS,
        ),
        matches("grad_x", title="the gradient is right", points=1, cases=FOURIER_NUMBERS),
        cost_grows_at_most(
            1.2, NO_DFT_MATRIX, title="O(n log n): no n × n matrix", points=1, long=("long",)
        ),
    ),
    _fourier_long_cases,
)


def _filter_cases(generator: Generator) -> dict[str, Inputs]:
    def case(*shape: int) -> Inputs:
        frequencies = (shape[-2] // 2 + 1, shape[-1])
        return {
            "x": normal(generator, *shape),
            "real": normal(generator, *frequencies),
            "imaginary": normal(generator, *frequencies),
            "cotangent": normal(generator, *shape),
        }

    ones = case(2, 7, 4)
    return {
        "all pass": ones | {"real": torch.ones(4, 4), "imaginary": torch.zeros(4, 4)},
        "even": case(2, 8, 3),
        "odd": case(2, 9, 3),
        "one token": case(2, 1, 4),
        "cost": COST_CASE,
    }


def _filter_long_cases(generator: Generator) -> dict[str, Inputs]:
    frequencies = LONG // 2 + 1, COST_DIM
    return {
        "long": {
            "x": normal(generator, 1, LONG, COST_DIM),
            "real": normal(generator, *frequencies),
            "imaginary": normal(generator, *frequencies),
        }
    }


def _filter_probe(
    function: Callable,
    real: Tensor | None = None,
    imaginary: Tensor | None = None,
    cotangent: Tensor | None = None,
    sizes: list[int] | None = None,
    largest_allowed: list[int] | None = None,
    **tensors: Tensor,
) -> Answer:
    if sizes:
        return cost_over_sizes(
            function,
            lambda n: (_cost_input(n), torch.ones(n // 2 + 1, COST_DIM, dtype=torch.complex64)),
            sizes,
        )
    tensors |= {"real": real, "imaginary": imaginary}
    return with_gradients(
        lambda x, real, imaginary: function(x, torch.complex(real, imaginary)), tensors, cotangent
    )


FILTER_NUMBERS = ("even", "odd", "one token")
FILTER = Exercise(
    "global_filter",
    "linear_attention",
    _filter_cases,
    _filter_probe,
    (
        matches("output", title="weights of 1 change nothing", points=1, cases=("all pass",)),
        matches(
            "output",
            title="equals the circular convolution over the tokens",
            points=2,
            cases=FILTER_NUMBERS,
        ),
        matches(
            "grad_x",
            "grad_real",
            "grad_imaginary",
            title="gradients reach the input and the weights",
            points=1,
            cases=FILTER_NUMBERS,
        ),
        cost_grows_at_most(
            1.2, NO_DFT_MATRIX, title="O(n log n): no n × n matrix", points=1, long=("long",)
        ),
    ),
    _filter_long_cases,
)

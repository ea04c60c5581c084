"""The exercises of 02_linear_attention on Fourier mixing."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import COUNTED_DIM, LONG_TOKENS, in_float64, normal
from autograder.cost import cost
from autograder.exercise import Answer, Exercise, Inputs, Part
from autograder.probes import with_gradients
from autograder.properties import matches

NO_DFT_MATRIX = "an n × n matrix of the transform is what the fast one avoids"
# Complex numbers count as one element each; a matrix would hold n elements a token.
ELEMENTS_PER_TOKEN = 8 * COUNTED_DIM


def _fourier_cases(generator: Generator) -> dict[str, Inputs]:
    def case(*shape: int) -> Inputs:
        return {"x": normal(generator, *shape), "cotangent": normal(generator, *shape)}

    return {
        "even": case(2, 3, 8, 6),
        "odd": case(3, 2, 7, 5),
        "one token": case(2, 1, 1, 4),
        "one sequence": case(1, 1, 6, 5),
        "float64": in_float64(case(1, 2, 5, 6)),
        "no leading axis": case(9, 4),
        "one leading axis": case(3, 6, 4),
        "three leading axes": case(2, 1, 3, 5, 4),
    }


def _fourier_probe(function: Callable, x: Tensor, cotangent: Tensor) -> Answer:
    return with_gradients(function, {"x": x}, cotangent)


def _tokens(generator: Generator, n: int) -> Inputs:
    return {"x": normal(generator, 1, 1, n, COUNTED_DIM)}


FOURIER = Exercise(
    "fourier_mixing",
    "linear_attention",
    (
        Part(
            "numbers",
            _fourier_cases,
            _fourier_probe,
            (
                matches(
                    "output",
                    title="equals the real part of the transform over both axes",
                    points=2,
                ),
                matches("grad_x", title="the gradient is right", points=1),
            ),
        ),
        *cost(
            _tokens,
            lambda function, x: function(x),
            exponent=1.2,
            largest=lambda n: ELEMENTS_PER_TOKEN * n,
            words=NO_DFT_MATRIX,
            title="O(n log n): no n × n matrix",
            points=1,
            long={"long": lambda generator: _tokens(generator, LONG_TOKENS)},
        ),
    ),
)


def _filter_cases(generator: Generator) -> dict[str, Inputs]:
    def case(*shape: int) -> Inputs:
        return {
            "x": normal(generator, *shape),
            "weights": normal(generator, shape[-2] // 2 + 1, shape[-1], 2),
            "cotangent": normal(generator, *shape),
        }

    ones = torch.tensor([1.0, 0.0]).expand(4, 4, 2)
    return {
        "all pass": case(2, 1, 7, 4) | {"weights": ones},
        "even": case(2, 1, 8, 3),
        "odd": case(1, 2, 9, 3),
        "one token": case(2, 2, 1, 4),
        "two tokens": case(1, 1, 2, 3),
        "float64": in_float64(case(1, 2, 5, 3)),
        "no leading axis": case(7, 4),
        "one leading axis": case(3, 6, 4),
        "three leading axes": case(2, 1, 3, 5, 4),
    }


def _filtered(function: Callable, x: Tensor, weights: Tensor) -> Tensor:
    # The same memory as complex numbers, so that it is seen whether they were overwritten.
    return function(x, torch.view_as_complex(weights))


def _filter_probe(function: Callable, cotangent: Tensor, **tensors: Tensor) -> Answer:
    return with_gradients(lambda x, weights: _filtered(function, x, weights), tensors, cotangent)


def _tokens_and_weights(generator: Generator, n: int) -> Inputs:
    weights = normal(generator, n // 2 + 1, COUNTED_DIM, 2)
    return _tokens(generator, n) | {"weights": weights}


FILTER_NUMBERS = (
    "even",
    "odd",
    "one token",
    "two tokens",
    "float64",
    "no leading axis",
    "one leading axis",
    "three leading axes",
)
FILTER = Exercise(
    "global_filter",
    "linear_attention",
    (
        Part(
            "numbers",
            _filter_cases,
            _filter_probe,
            (
                matches(
                    "output", title="weights of 1 change nothing", points=1, cases=("all pass",)
                ),
                matches(
                    "output",
                    title="equals the circular convolution over the tokens",
                    points=2,
                    cases=FILTER_NUMBERS,
                ),
                matches(
                    "grad_x",
                    "grad_weights",
                    title="gradients reach the input and the weights",
                    points=1,
                    cases=FILTER_NUMBERS,
                ),
            ),
        ),
        *cost(
            _tokens_and_weights,
            _filtered,
            exponent=1.2,
            largest=lambda n: ELEMENTS_PER_TOKEN * n,
            words=NO_DFT_MATRIX,
            title="O(n log n): no n × n matrix",
            points=1,
            long={"long": lambda generator: _tokens_and_weights(generator, LONG_TOKENS)},
        ),
    ),
)

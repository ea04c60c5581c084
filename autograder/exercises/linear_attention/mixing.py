"""The exercises of 02_linear_attention on Fourier mixing."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import COUNTED_DIM, LONG_TOKENS, normal
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
        "even": case(2, 8, 6),
        "odd": case(2, 7, 5),
        "one token": case(2, 1, 4),
        "one batch less": case(9, 4),
    }


def _fourier_probe(function: Callable, x: Tensor, cotangent: Tensor) -> Answer:
    return with_gradients(function, {"x": x}, cotangent)


def _tokens(generator: Generator, n: int) -> Inputs:
    return {"x": normal(generator, 1, n, COUNTED_DIM)}


FOURIER_NUMBERS = ("even", "odd", "one token", "one batch less")
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
                    cases=FOURIER_NUMBERS,
                ),
                matches("grad_x", title="the gradient is right", points=1, cases=FOURIER_NUMBERS),
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
    }


def _filter_probe(function: Callable, cotangent: Tensor, **tensors: Tensor) -> Answer:
    return with_gradients(
        lambda x, real, imaginary: function(x, torch.complex(real, imaginary)), tensors, cotangent
    )


def _tokens_and_weights(generator: Generator, n: int) -> Inputs:
    frequencies = n // 2 + 1, COUNTED_DIM
    return _tokens(generator, n) | {
        "real": normal(generator, *frequencies),
        "imaginary": normal(generator, *frequencies),
    }


FILTER_NUMBERS = ("even", "odd", "one token")
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
                    "grad_real",
                    "grad_imaginary",
                    title="gradients reach the input and the weights",
                    points=1,
                    cases=FILTER_NUMBERS,
                ),
            ),
        ),
        *cost(
            _tokens_and_weights,
            lambda function, x, real, imaginary: function(x, torch.complex(real, imaginary)),
            exponent=1.2,
            largest=lambda n: ELEMENTS_PER_TOKEN * n,
            words=NO_DFT_MATRIX,
            title="O(n log n): no n × n matrix",
            points=1,
            long={"long": lambda generator: _tokens_and_weights(generator, LONG_TOKENS)},
        ),
    ),
)

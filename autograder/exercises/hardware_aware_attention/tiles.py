"""The exercises of 05_hardware_aware_attention on attention by tiles, and back."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from autograder.cases import GRADIENTS, attention_case, between, in_float64
from autograder.cost import cost
from autograder.exercise import Answer, AnswerError, Exercise, Inputs, Part
from autograder.exercises.hardware_aware_attention.signs import (
    shows_a_small_number_in_the_sum,
)
from autograder.exercises.hardware_aware_attention.tile_products import tile_products
from autograder.probes import as_tensor
from autograder.properties import matches
from course.specifications.hardware_aware_attention import attention_and_logsumexp

# Both kinds of strips, block_q × n and n × block_k, have more elements than the largest tensor may,
# at every size; and they differ by a factor, which tells one from the other.
COST_TILE = {"block_q": 16, "block_k": 32}
TILED_SIZES = (64, 128)
TILED_DIM = 4
CALLS_PER_TILE = 40
LEADING_AXES = {
    "no leading axis": (),
    "one leading axis": (2,),
    "three leading axes": (2, 1, 2),
    "a batch of one": (1, 1),
}
TOO_LARGE = "more than the inputs and a tile of block_q × block_k scores is not needed"


def _drawn(tensors: int, columns: int) -> Callable[[Generator, int], Inputs]:
    """Draws so many tensors (1, 1, n, columns)."""
    return lambda generator, n: {
        f"x{i}": torch.randn(1, 1, n, columns, generator=generator) for i in range(tensors)
    }


def _is_tiled(run: Callable[..., Tensor], tensors: int, title: str) -> tuple[Part, ...]:
    """No tensor is larger than a tile and the inputs: run(function, *tensors, causal)."""

    def counted(causal: bool, points: int, name: str) -> tuple[Part, ...]:
        return cost(
            _drawn(tensors, TILED_DIM),
            lambda function, **given: run(function, *given.values(), causal=causal),
            exponent=2.2,
            largest=lambda n: 2 * TILED_DIM * n,
            calls=lambda n: CALLS_PER_TILE * math.prod(n // size for size in COST_TILE.values()),
            words=TOO_LARGE,
            title=title,
            points=points,
            sizes=TILED_SIZES,
            name=name,
        )

    return (
        *counted(causal=False, points=2, name="cost"),
        *counted(causal=True, points=0, name="causal cost"),
    )


def _by_columns(inputs: Inputs) -> Inputs:
    return {
        name: x.mT.contiguous().mT if isinstance(x, Tensor) else x for name, x in inputs.items()
    }


def _far_from_zero(inputs: Inputs, score: float) -> Inputs:
    """The same queries and keys, pointing to or away from each other: scores are near `score`."""
    q, k = inputs["q"].clone(), inputs["k"].clone()
    q[..., 0], k[..., 0] = 64, score / 32  # of 4 columns
    return inputs | {"q": q, "k": k}


# --- tiled_attention -----------------------------------------------------------------------------


def _tiled_cases(generator: Generator) -> dict[str, Inputs]:
    def case(
        n_q: int, n_k: int, block_q: int, block_k: int, causal: bool = False, **more: Any
    ) -> Inputs:
        inputs = attention_case(generator, n_q, n_k, 4, 3, **more)
        del inputs["cotangent"]
        return inputs | {"block_q": block_q, "block_k": block_k, "causal": causal}

    n, more = between(generator, 17, 19), between(generator, 26, 29)
    constant = case(9, 13, 4, 5)
    return {
        "one tile": case(5, 7, 5, 7),
        "constant values": constant | {"v": torch.full_like(constant["v"], 2.5)},
        "whole tiles": case(12, 15, 4, 5),
        "one tile of queries": case(4, 20, 4, 5),
        "tiles of one score": case(5, 6, 1, 1),
        "ragged": case(n, more, 5, 8),
        "more queries than keys": case(more, n, 8, 5),
        "wider than the sequence": case(5, 6, 16, 32),
        "one token": case(1, 1, 4, 4),
        "not contiguous": _by_columns(case(9, 11, 4, 4)),
        "float64": in_float64(case(9, 11, 4, 4)),
        **{name: case(6, 9, 4, 4, lead=lead) for name, lead in LEADING_AXES.items()},
        "large numbers": case(13, 29, 4, 4, scale=12.0),
        "far below zero": _far_from_zero(case(9, 13, 4, 5), -300),
        "causal, one tile": case(7, 7, 7, 7, causal=True),
        "causal, square tiles": case(n, n, 4, 4, causal=True),
        "causal, wide tiles": case(n, n, 3, 7, causal=True),
        "causal, high tiles": case(n, n, 7, 3, causal=True),
        "causal, more keys than queries": case(9, 14, 4, 3, causal=True),
        "causal, more queries than keys": case(14, 9, 4, 3, causal=True),
        "causal, large numbers": case(17, 17, 4, 5, scale=12.0, causal=True),
        "causal, far below zero": in_float64(_far_from_zero(case(11, 11, 4, 3, causal=True), -992)),
    }


def _output_and_logsumexp(returned: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise AnswerError("return two tensors: output, logsumexp")
    return as_tensor(returned[0]), as_tensor(returned[1], "logsumexp")


TILED_ARGUMENTS = ("q", "k", "v", "block_q", "block_k", "causal")


@torch.no_grad()
def _tiled_probe(function: Callable, **inputs: Any) -> Answer:
    output, logsumexp = _output_and_logsumexp(function(*(inputs[name] for name in TILED_ARGUMENTS)))
    return {"output": output, "logsumexp": logsumexp}


@torch.no_grad()
def _run_tiled(function: Callable, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    returned = function(q, k, v, *COST_TILE.values(), causal)
    return _output_and_logsumexp(returned)[0]


def _tiled_with_blocks(function: Callable, tensors: dict[str, Tensor], *how: int) -> Any:
    return _output_and_logsumexp(function(*(tensors[name] for name in "qkv"), *how))


MANY_TILES = ("whole tiles", "one tile of queries", "tiles of one score")
ANY_SHAPE = (
    "ragged",
    "more queries than keys",
    "wider than the sequence",
    "one token",
    "not contiguous",
    "float64",
    *LEADING_AXES,
)
HARD_NUMBERS = ("large numbers", "far below zero")
CAUSAL = (
    "causal, one tile",
    "causal, square tiles",
    "causal, wide tiles",
    "causal, high tiles",
    "causal, more keys than queries",
    "causal, more queries than keys",
    "causal, large numbers",
    "causal, far below zero",
)
TILED = Exercise(
    "tiled_attention",
    "hardware_aware_attention",
    (
        Part(
            "numbers",
            _tiled_cases,
            _tiled_probe,
            (
                matches(
                    "output", title="one tile: softmax(q kᵀ / √d) v", points=1, cases=("one tile",)
                ),
                matches(
                    "output",
                    title="the weights of a query sum to 1: constant values come back unchanged",
                    points=1,
                    cases=("constant values",),
                ),
                matches("output", title="the same by many tiles", points=2, cases=MANY_TILES),
                matches(
                    "output",
                    title="any n: ragged, shorter than a tile, more queries or more keys",
                    points=1,
                    cases=ANY_SHAPE,
                ),
                matches(
                    "output",
                    title="large scores, and scores far below zero",
                    points=1,
                    cases=HARD_NUMBERS,
                ),
                matches(
                    "logsumexp",
                    title="the logsumexp of the scaled scores",
                    points=2,
                    cases=("one tile", *MANY_TILES, *ANY_SHAPE, *HARD_NUMBERS),
                ),
                matches(
                    "output",
                    "logsumexp",
                    title="causal: query i sees keys 0 to i",
                    points=2,
                    cases=CAUSAL,
                ),
            ),
            signs={"a small number added to the sum": shows_a_small_number_in_the_sum},
        ),
        *_is_tiled(_run_tiled, 3, "by tiles: no tensor has a row and a column for each token"),
        tile_products(_tiled_with_blocks),
    ),
)


# --- flash_backward ------------------------------------------------------------------------------


def _backward_cases(generator: Generator) -> dict[str, Inputs]:
    def with_forward(inputs: Inputs) -> Inputs:
        q, k, v = (inputs[name].double() for name in "qkv")
        out, lse = attention_and_logsumexp(q, k, v, inputs["causal"])
        return inputs | {"out": out.to(inputs["q"].dtype), "lse": lse.to(inputs["q"].dtype)}

    def drawn(
        n_q: int, n_k: int, block_q: int, block_k: int, causal: bool = False, **more: Any
    ) -> Inputs:
        inputs = attention_case(generator, n_q, n_k, 4, 3, **more)
        inputs["grad_out"] = inputs.pop("cotangent")
        return inputs | {"block_q": block_q, "block_k": block_k, "causal": causal}

    def case(*sizes: Any, **more: Any) -> Inputs:
        return with_forward(drawn(*sizes, **more))

    n, more = between(generator, 17, 19), between(generator, 26, 29)
    return {
        "one tile": case(5, 7, 5, 7),
        "one tile of queries": case(4, 15, 4, 5),
        "one tile of keys": case(12, 5, 4, 5),
        "whole tiles": case(12, 15, 4, 5),
        "tiles of one score": case(5, 6, 1, 1),
        "ragged": case(n, more, 5, 8),
        "more queries than keys": case(more, n, 8, 5),
        "wider than the sequence": case(5, 6, 16, 32),
        "one token": case(1, 1, 4, 4),
        "not contiguous": _by_columns(case(9, 11, 4, 4)),
        "float64": with_forward(in_float64(drawn(9, 11, 4, 4))),
        **{name: case(6, 9, 4, 4, lead=lead) for name, lead in LEADING_AXES.items()},
        "large numbers": case(13, 29, 4, 4, scale=5.0),
        "far below zero": with_forward(_far_from_zero(drawn(9, 13, 4, 5), -300)),
        "far above zero": with_forward(_far_from_zero(drawn(9, 13, 4, 5), 300)),
        "causal, far below zero": with_forward(
            in_float64(_far_from_zero(drawn(11, 11, 4, 3, causal=True), -992))
        ),
        "causal, one tile": case(7, 7, 7, 7, causal=True),
        "causal, square tiles": case(n, n, 4, 4, causal=True),
        "causal, wide tiles": case(n, n, 3, 7, causal=True),
        "causal, high tiles": case(n, n, 7, 3, causal=True),
        "causal, more keys than queries": case(9, 14, 4, 3, causal=True),
        "causal, more queries than keys": case(14, 9, 4, 3, causal=True),
    }


def _three_gradients(returned: Any) -> Answer:
    if not isinstance(returned, tuple | list) or len(returned) != 3:
        raise AnswerError("return three tensors: grad_q, grad_k, grad_v")
    return {name: as_tensor(value, name) for name, value in zip(GRADIENTS, returned, strict=True)}


BACKWARD_ARGUMENTS = ("q", "k", "v", "out", "lse", "grad_out", "block_q", "block_k", "causal")


@torch.no_grad()
def _backward_probe(function: Callable, **inputs: Any) -> Answer:
    return _three_gradients(function(*(inputs[name] for name in BACKWARD_ARGUMENTS)))


@torch.no_grad()
def _run_backward(
    function: Callable,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    grad_out: Tensor,
    causal: bool,
) -> Tensor:
    # Any logsumexp will do.
    lse = torch.zeros(q.shape[:-1])
    returned = function(q, k, v, out, lse, grad_out, *COST_TILE.values(), causal)
    return _three_gradients(returned)["grad_q"]


def _backward_with_blocks(function: Callable, tensors: dict[str, Tensor], *how: int) -> Any:
    given = (tensors[name] for name in BACKWARD_ARGUMENTS[:6])
    return _three_gradients(function(*given, *how))


BACKWARD_TILES = ("one tile of queries", "one tile of keys", "whole tiles", "tiles of one score")
BACKWARD_SHAPES = (
    "ragged",
    "more queries than keys",
    "wider than the sequence",
    "not contiguous",
    "float64",
    *LEADING_AXES,
)
BACKWARD_NUMBERS = (
    *BACKWARD_TILES,
    *BACKWARD_SHAPES,
    "large numbers",
)
# There the first column of dQ is a small difference of large numbers.
FAR_FROM_ZERO = ("far below zero", "far above zero", "causal, far below zero")
BACKWARD_CAUSAL = CAUSAL[:6]
BACKWARD = Exercise(
    "flash_backward",
    "hardware_aware_attention",
    (
        Part(
            "numbers",
            _backward_cases,
            _backward_probe,
            (
                matches(
                    *GRADIENTS, title="one tile: all three gradients", points=1, cases=("one tile",)
                ),
                # With one token the weight is 1 whatever q and k are: their gradients are rounding.
                matches(
                    "grad_v",
                    title="by many tiles, any n: dV = Pᵀ dO",
                    points=2,
                    cases=(*BACKWARD_NUMBERS, *FAR_FROM_ZERO, "one token"),
                ),
                matches(
                    "grad_q",
                    title="by many tiles, any n: dQ = dS K / √d",
                    points=2,
                    cases=BACKWARD_NUMBERS,
                ),
                matches(
                    "grad_k",
                    title="by many tiles, any n: dK = dSᵀ Q / √d",
                    points=2,
                    cases=(*BACKWARD_NUMBERS, *FAR_FROM_ZERO),
                ),
                matches(
                    *GRADIENTS,
                    title="causal: what a query did not see gets no gradient from it",
                    points=1,
                    cases=BACKWARD_CAUSAL,
                ),
            ),
        ),
        *_is_tiled(
            _run_backward,
            5,
            "computed again by tiles: no tensor has a row and a column for each token",
        ),
        tile_products(_backward_with_blocks),
    ),
)

"""The exercises of 01_sparse_attention."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import (
    COST_DIM,
    GRADIENTS,
    NO_MATRIX,
    attention_case,
    between,
    cost_case,
    cost_tensors,
    in_float64,
    long_attention_case,
)
from autograder.exercise import Answer, Exercise, Inputs, Property
from autograder.probes import cost_over_sizes, with_gradients
from autograder.properties import cost_grows_at_most, matches

# Tokens of a long case. A boolean for each pair of them is 4.3 GB, and the scores of all pairs, a
# few rows at a time, take longer than grading allows.
LONG = 2**16
# Elements that the largest tensor may have for each token: n / 2 at the smallest size.
ELEMENTS_PER_TOKEN = 128


def _by_columns(inputs: Inputs) -> Inputs:
    """The same case, its queries, keys and values laid out column by column."""
    return inputs | {name: inputs[name].mT.contiguous().mT for name in "qkv"}


def _one_sequence(inputs: Inputs) -> Inputs:
    return inputs | {name: inputs[name][:1, :1] for name in (*"qkv", "cotangent")}


def _constant(inputs: Inputs) -> Inputs:
    return inputs | {"v": torch.full_like(inputs["v"], 2.5)}


def _average() -> Property:
    return matches(
        "output",
        title="the weights of a query sum to 1: constant values come back unchanged",
        points=1,
        cases=("constant values",),
    )


# --- sliding_window_attention --------------------------------------------------------------------

COST_WINDOW = 4


def _window_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n: int, window: int, scale: float = 1.0) -> Inputs:
        return attention_case(generator, n, n, 4, 3, scale, window=window)

    return {
        "whole windows": case(16, 4),
        "constant values": _constant(case(13, 5)),
        "ragged": case(between(generator, 17, 19), 5),
        "window of 1": case(7, 1),
        "many windows": _one_sequence(case(between(generator, 150, 170), 11)),
        "wider than the sequence": case(5, 9),
        "one token": case(1, 3),
        "large numbers": _one_sequence(case(13, 3, scale=8.0)),
        "not contiguous": _by_columns(_one_sequence(case(14, 4))),
        "float64": in_float64(_one_sequence(case(15, 4))),
        "cost": cost_case(ELEMENTS_PER_TOKEN, window=COST_WINDOW),
    }


def _window_long_cases(generator: Generator) -> dict[str, Inputs]:
    return {"long": long_attention_case(generator, LONG, COST_DIM, COST_DIM, window=8)}


def _window_probe(
    function: Callable,
    window: int,
    sizes: list[int] | None = None,
    largest_allowed: list[int] | None = None,
    cotangent: Tensor | None = None,
    **tensors: Tensor,
) -> Answer:
    if sizes:
        return cost_over_sizes(function, lambda n: (*cost_tensors(n), window), sizes)
    return with_gradients(lambda q, k, v: function(q, k, v, window), tensors, cotangent)


WINDOW = Exercise(
    "sliding_window_attention",
    "sparse_attention",
    _window_cases,
    _window_probe,
    (
        _average(),
        matches(
            "output",
            title="equals attention with the mask of the window",
            points=2,
            cases=("whole windows", "window of 1", "many windows", "float64", "not contiguous"),
        ),
        matches(
            "output",
            title="any n: ragged, shorter than the window, one token, large numbers",
            points=1,
            cases=("ragged", "wider than the sequence", "one token", "large numbers"),
        ),
        matches(
            *GRADIENTS,
            title="gradients are right",
            points=1,
            cases=("whole windows", "ragged", "many windows", "wider than the sequence"),
        ),
        cost_grows_at_most(
            1.2,
            NO_MATRIX,
            title="O(n·window): nothing n × n is computed",
            points=2,
            long=("long",),
        ),
    ),
    _window_long_cases,
)


# --- strided_attention ---------------------------------------------------------------------------

# Squares, so that a stride of √n is whole.
STRIDED_SIZES = [24**2, 32**2, 40**2]


def _strided_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n: int, stride: int, scale: float = 1.0) -> Inputs:
        return attention_case(generator, n, n, 4, 3, scale, stride=stride)

    return {
        "one row": case(5, 5),
        "whole rows": case(16, 4),
        "constant values": _constant(case(14, 4)),
        "ragged": case(15 + between(generator, 1, 4), 5),
        "stride of 1": case(7, 1),
        "longer than the sequence": case(5, 9),
        "one token": case(1, 3),
        "large numbers": _one_sequence(case(13, 3, scale=8.0)),
        "not contiguous": _by_columns(_one_sequence(case(14, 4))),
        "float64": in_float64(_one_sequence(case(15, 4))),
        "cost": {
            "stride": 0,  # √n at each size
            "sizes": STRIDED_SIZES,
            # 20·√n for each token; a row of all scores is 24·√n at the smallest size.
            "largest_allowed": [20 * n * math.isqrt(n) for n in STRIDED_SIZES],
        },
    }


def _strided_long_cases(generator: Generator) -> dict[str, Inputs]:
    # Half as many tokens: the scores of all pairs still take 4.3 GB.
    return {"long": long_attention_case(generator, LONG // 2, 4, 4, stride=128)}


def _strided_probe(
    function: Callable,
    stride: int,
    sizes: list[int] | None = None,
    largest_allowed: list[int] | None = None,
    cotangent: Tensor | None = None,
    **tensors: Tensor,
) -> Answer:
    if sizes:
        return cost_over_sizes(function, lambda n: (*cost_tensors(n), math.isqrt(n)), sizes)
    return with_gradients(lambda q, k, v: function(q, k, v, stride), tensors, cotangent)


STRIDED = Exercise(
    "strided_attention",
    "sparse_attention",
    _strided_cases,
    _strided_probe,
    (
        _average(),
        matches(
            "output",
            title="within one row it is causal attention",
            points=1,
            cases=("one row", "one token", "longer than the sequence"),
        ),
        matches(
            "output",
            title="equals attention with the strided mask: one softmax, each key once",
            points=3,
            cases=("whole rows", "stride of 1", "ragged", "large numbers", "float64"),
        ),
        matches("output", title="any layout of the inputs", points=1, cases=("not contiguous",)),
        matches(
            *GRADIENTS,
            title="gradients are right",
            points=1,
            cases=("one row", "whole rows", "ragged", "stride of 1"),
        ),
        cost_grows_at_most(
            1.65,
            "with a stride of √n a query sees about 2·√n keys",
            title="O(n·√n): nothing n × n is computed",
            points=2,
            long=("long",),
        ),
    ),
    _strided_long_cases,
)


# --- block_sparse_attention ----------------------------------------------------------------------

COST_BLOCK = 16


def _neighbours(num_blocks: int) -> Tensor:
    """Blocks that see themselves, the one before and the first."""
    block = torch.arange(num_blocks)
    gap = block.unsqueeze(-1) - block
    return (gap == 0) | (gap == 1) | (block == 0)


def _blocks_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n: int, block_size: int, scale: float = 1.0, share: float = 0.4) -> Inputs:
        num_blocks = math.ceil(n / block_size)
        mask = torch.rand(num_blocks, num_blocks, generator=generator) < share
        # Each row sees some block, and not always its own.
        mask[torch.arange(num_blocks), torch.randperm(num_blocks, generator=generator)] = True
        return attention_case(generator, n, n, 4, 3, scale, block_mask=mask, block_size=block_size)

    own = case(12, 3)
    lower = case(15, 3)
    return {
        "own block only": own | {"block_mask": torch.eye(4, dtype=torch.bool)},
        "earlier blocks": lower | {"block_mask": torch.ones(5, 5, dtype=torch.bool).tril()},
        "constant values": _constant(case(14, 3)),
        "random blocks": case(20, 4),
        "ragged": case(16 + between(generator, 1, 3), 4),
        "blocks of one token": case(9, 1),
        "one block": case(5, 8),
        "one token": case(1, 2),
        "large numbers": _one_sequence(case(13, 3, scale=8.0)),
        "not contiguous": _by_columns(_one_sequence(case(14, 3))),
        "float64": in_float64(_one_sequence(case(15, 4))),
        "cost": cost_case(ELEMENTS_PER_TOKEN, block_size=COST_BLOCK, block_mask=torch.ones(1, 1)),
    }


def _blocks_long_cases(generator: Generator) -> dict[str, Inputs]:
    case = long_attention_case(generator, LONG, COST_DIM, COST_DIM, block_size=128)
    return {"long": case | {"block_mask": _neighbours(LONG // 128)}}


def _blocks_probe(
    function: Callable,
    block_mask: Tensor,
    block_size: int,
    sizes: list[int] | None = None,
    largest_allowed: list[int] | None = None,
    cotangent: Tensor | None = None,
    **tensors: Tensor,
) -> Answer:
    if sizes:
        return cost_over_sizes(
            function,
            lambda n: (*cost_tensors(n), _neighbours(n // block_size), block_size),
            sizes,
        )
    return with_gradients(
        lambda q, k, v: function(q, k, v, block_mask, block_size), tensors, cotangent
    )


BLOCKS = Exercise(
    "block_sparse_attention",
    "sparse_attention",
    _blocks_cases,
    _blocks_probe,
    (
        _average(),
        matches(
            "output",
            title="rows are queries, columns are keys",
            points=1,
            cases=("own block only", "earlier blocks", "blocks of one token"),
        ),
        matches(
            "output",
            title="equals attention with the mask of the tokens",
            points=2,
            cases=("random blocks", "one block", "large numbers", "float64", "not contiguous"),
        ),
        matches(
            "output", title="a last block that is shorter", points=1, cases=("ragged", "one token")
        ),
        matches(
            *GRADIENTS,
            title="gradients are right",
            points=1,
            cases=("own block only", "random blocks", "ragged", "blocks of one token"),
        ),
        cost_grows_at_most(
            1.2,
            "only the scores of live blocks are needed",
            title="only live blocks are computed: O(n) for so many in each row",
            points=2,
            long=("long",),
        ),
    ),
    _blocks_long_cases,
)

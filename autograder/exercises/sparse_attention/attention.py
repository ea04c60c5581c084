"""The exercises of 01_sparse_attention."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import GRADIENTS, attention_case, between, in_float64, sequence
from autograder.cost import NO_MATRIX, cost
from autograder.exercise import Answer, Exercise, Inputs, Part, Property
from autograder.probes import with_gradients
from autograder.properties import matches

# Tokens of a long case. A boolean for each pair of them is 4.3 GB, and the scores of all pairs, a
# few rows at a time, take longer than grading allows.
LONG_SPARSE = 2**16
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
    }


def _window_probe(function: Callable, window: int, cotangent: Tensor, **tensors: Tensor) -> Answer:
    return with_gradients(lambda q, k, v: function(q, k, v, window), tensors, cotangent)


def _with_window(generator: Generator, n: int, window: int = 4) -> Inputs:
    return sequence(generator, n, window=window)


WINDOW = Exercise(
    "sliding_window_attention",
    "sparse_attention",
    (
        Part(
            "numbers",
            _window_cases,
            _window_probe,
            (
                _average(),
                matches(
                    "output",
                    title="equals attention with the mask of the window",
                    points=2,
                    cases=(
                        "whole windows",
                        "window of 1",
                        "many windows",
                        "float64",
                        "not contiguous",
                    ),
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
            ),
        ),
        *cost(
            _with_window,
            lambda function, **given: function(*given.values()),
            exponent=1.2,
            largest=lambda n: ELEMENTS_PER_TOKEN * n,
            words=NO_MATRIX,
            title="O(n·window): nothing n × n is computed",
            points=2,
            long={"long": lambda generator: _with_window(generator, LONG_SPARSE, window=8)},
        ),
    ),
)


# --- strided_attention ---------------------------------------------------------------------------


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
    }


def _strided_probe(function: Callable, stride: int, cotangent: Tensor, **tensors: Tensor) -> Answer:
    return with_gradients(lambda q, k, v: function(q, k, v, stride), tensors, cotangent)


def _with_root_stride(generator: Generator, n: int) -> Inputs:
    return sequence(generator, n, stride=math.isqrt(n))


STRIDED = Exercise(
    "strided_attention",
    "sparse_attention",
    (
        Part(
            "numbers",
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
                matches(
                    "output", title="any layout of the inputs", points=1, cases=("not contiguous",)
                ),
                matches(
                    *GRADIENTS,
                    title="gradients are right",
                    points=1,
                    cases=("one row", "whole rows", "ragged", "stride of 1"),
                ),
            ),
        ),
        *cost(
            _with_root_stride,
            lambda function, **given: function(*given.values()),
            exponent=1.65,
            # 20·√n for each token; a row of all scores is 24·√n at the smallest size.
            largest=lambda n: 20 * n * math.isqrt(n),
            words="with a stride of √n a query sees about 2·√n keys",
            title="O(n·√n): nothing n × n is computed",
            points=2,
            # Squares, so that a stride of √n is whole.
            sizes=(24**2, 32**2, 40**2),
            # Half as many tokens: the scores of all pairs still take 4.3 GB.
            long={"long": lambda generator: sequence(generator, 2**15, 4, 4, stride=128)},
        ),
    ),
)


# --- block_sparse_attention ----------------------------------------------------------------------


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
    }


def _blocks_probe(
    function: Callable, block_mask: Tensor, block_size: int, cotangent: Tensor, **tensors: Tensor
) -> Answer:
    return with_gradients(
        lambda q, k, v: function(q, k, v, block_mask, block_size), tensors, cotangent
    )


def _with_blocks(generator: Generator, n: int, block_size: int = 16) -> Inputs:
    mask = _neighbours(n // block_size)
    return sequence(generator, n, block_mask=mask, block_size=block_size)


BLOCKS = Exercise(
    "block_sparse_attention",
    "sparse_attention",
    (
        Part(
            "numbers",
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
                    cases=(
                        "random blocks",
                        "one block",
                        "large numbers",
                        "float64",
                        "not contiguous",
                    ),
                ),
                matches(
                    "output",
                    title="a last block that is shorter",
                    points=1,
                    cases=("ragged", "one token"),
                ),
                matches(
                    *GRADIENTS,
                    title="gradients are right",
                    points=1,
                    cases=("own block only", "random blocks", "ragged", "blocks of one token"),
                ),
            ),
        ),
        *cost(
            _with_blocks,
            lambda function, **given: function(*given.values()),
            exponent=1.2,
            largest=lambda n: ELEMENTS_PER_TOKEN * n,
            words="only the scores of live blocks are needed",
            title="only live blocks are computed: O(n) for so many in each row",
            points=2,
            long={"long": lambda generator: _with_blocks(generator, LONG_SPARSE, 128)},
        ),
    ),
)

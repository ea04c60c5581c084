"""The exercises of 01_sparse_attention on attention with a mask."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import attention_case, between, in_float64, sequence
from autograder.cost import NO_MATRIX, cost
from autograder.exercise import Answer, Exercise, Inputs, Part
from autograder.exercises.sparse_attention.shared import (
    COUNTED,
    COUNTED_BLOCK,
    COUNTED_WINDOW,
    ELEMENTS_PER_TOKEN,
    LONG_SPARSE,
    any_leading_axes,
    average,
    by_columns,
    calls_of_loops,
    constant_values,
    far_apart,
    gradients,
    leading_axes,
    one_key_far_above,
)
from autograder.probes import with_gradients
from autograder.properties import matches

# --- sliding_window_attention --------------------------------------------------------------------


def _window_cases(generator: Generator) -> dict[str, Inputs]:
    def case(
        n: int,
        window: int,
        scale: float = 1.0,
        lead: tuple[int, ...] = (1, 2),
        d: int = 4,
        e: int = 3,
    ) -> Inputs:
        return attention_case(generator, n, n, d, e, scale, lead, window=window)

    long = case(between(generator, 590, 610), 280, lead=(1, 1), d=2, e=1)
    return {
        "whole windows": case(16, 4, lead=(2, 2)),
        "constant values": constant_values(case(13, 5)),
        "ragged": case(between(generator, 17, 19), 5),
        "window of 1": case(7, 1),
        "many windows": case(between(generator, 70, 80), 11, lead=(1, 1)),
        "long windows": long | {"cotangent": None},
        "wider than the sequence": case(5, 9),
        "one token": case(1, 3),
        "large numbers": case(13, 3, scale=8.0, lead=(1, 1)),
        "scores far above and below 0": far_apart(case(13, 3)),
        "one key far above the others": one_key_far_above(case(13, 3), 6),
        "not contiguous": by_columns(case(14, 4, lead=(1, 1))),
        "float64": in_float64(case(15, 4, lead=(1, 1))),
        **leading_axes(lambda **more: case(9, 2, **more)),
    }


def _window_probe(
    function: Callable, window: int, cotangent: Tensor | None, **tensors: Tensor
) -> Answer:
    return with_gradients(lambda q, k, v: function(q, k, v, window), tensors, cotangent)


def _with_window(generator: Generator, n: int, window: int = COUNTED_WINDOW) -> Inputs:
    return sequence(generator, n, 4, 4, window=window)


WINDOW = Exercise(
    "sliding_window_attention",
    "sparse_attention",
    (
        Part(
            "numbers",
            _window_cases,
            _window_probe,
            (
                average(),
                matches(
                    "output",
                    title="equals attention with the mask of the window",
                    points=2,
                    cases=(
                        "whole windows",
                        "window of 1",
                        "many windows",
                        "long windows",
                        "float64",
                        "not contiguous",
                    ),
                ),
                matches(
                    "output",
                    title="any n: ragged, shorter than the window, one token; large numbers",
                    points=1,
                    cases=(
                        "ragged",
                        "wider than the sequence",
                        "one token",
                        "large numbers",
                        "scores far above and below 0",
                        "one key far above the others",
                    ),
                ),
                any_leading_axes(),
                gradients(
                    "whole windows", "ragged", "many windows", "wider than the sequence", "float64"
                ),
            ),
        ),
        *cost(
            _with_window,
            lambda function, **given: function(*given.values()),
            exponent=1.2,
            largest=lambda n: ELEMENTS_PER_TOKEN * n,
            words=NO_MATRIX,
            title="O(n·window): nothing n × n is computed, and no token alone",
            points=2,
            calls=calls_of_loops,
            sizes=COUNTED,
            long={"long": lambda generator: _with_window(generator, LONG_SPARSE, window=8)},
        ),
    ),
)


# --- strided_attention ---------------------------------------------------------------------------


def _strided_cases(generator: Generator) -> dict[str, Inputs]:
    def case(
        n: int, stride: int, scale: float = 1.0, lead: tuple[int, ...] = (1, 2), e: int = 3
    ) -> Inputs:
        return attention_case(generator, n, n, 4, e, scale, lead, stride=stride)

    return {
        "one row": case(5, 5),
        "whole rows": case(16, 4, lead=(2, 2)),
        "constant values": constant_values(case(14, 4)),
        "ragged": case(15 + between(generator, 1, 4), 5),
        "stride of 1": case(7, 1),
        "longer than the sequence": case(5, 9),
        "one token": case(1, 3),
        "large numbers": case(13, 3, scale=8.0, lead=(1, 1)),
        "scores far above and below 0": far_apart(case(13, 3)),
        # Near for some queries, only in the column of others.
        "one key far above the others": one_key_far_above(case(13, 3), 0),
        "not contiguous": by_columns(case(14, 4, lead=(1, 1))),
        "float64": in_float64(case(15, 4, lead=(1, 1))),
        **leading_axes(lambda **more: case(11, 3, **more)),
    }


def _strided_probe(
    function: Callable, stride: int, cotangent: Tensor | None, **tensors: Tensor
) -> Answer:
    return with_gradients(lambda q, k, v: function(q, k, v, stride), tensors, cotangent)


def _with_root_stride(generator: Generator, n: int) -> Inputs:
    return sequence(generator, n, stride=math.isqrt(n))


def _many_with_stride(generator: Generator) -> Inputs:
    # Half as many tokens: the scores of all pairs still take 4.3 GB for each head. With two heads
    # the solution takes so long that a loop over the tokens takes a third of what is allowed.
    def heads(n: int) -> Tensor:
        return torch.randn(1, 2, n, 8, generator=generator)

    return {**{name: heads(2**15) for name in "qkv"}, "stride": 128}


STRIDED = Exercise(
    "strided_attention",
    "sparse_attention",
    (
        Part(
            "numbers",
            _strided_cases,
            _strided_probe,
            (
                average(),
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
                    cases=(
                        "whole rows",
                        "stride of 1",
                        "ragged",
                        "large numbers",
                        "scores far above and below 0",
                        "one key far above the others",
                        "float64",
                    ),
                ),
                matches(
                    "output", title="any layout of the inputs", points=1, cases=("not contiguous",)
                ),
                any_leading_axes(),
                gradients("one row", "whole rows", "ragged", "stride of 1", "float64"),
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
            long={"long": _many_with_stride},
        ),
    ),
)


# --- block_sparse_attention ----------------------------------------------------------------------


def _neighbours(num_blocks: int) -> Tensor:
    """Blocks that see themselves, the one before and the first."""
    block = torch.arange(num_blocks)
    gap = block.unsqueeze(-1) - block
    return (gap == 0) | (gap == 1) | (block == 0)


def _unequal(generator: Generator, num_blocks: int) -> Tensor:
    """Rows that see one block, all blocks, and some, which are not their own in every draw."""
    mask = torch.rand(num_blocks, num_blocks, generator=generator) < 0.4
    mask[torch.arange(num_blocks), torch.randperm(num_blocks, generator=generator)] = True
    mask[0] = torch.arange(num_blocks) == num_blocks - 1
    mask[num_blocks // 2] = True
    return mask


def _blocks_cases(generator: Generator) -> dict[str, Inputs]:
    def case(
        n: int,
        block_size: int,
        mask: Tensor | None = None,
        scale: float = 1.0,
        lead: tuple[int, ...] = (1, 2),
        e: int = 3,
    ) -> Inputs:
        mask = _unequal(generator, math.ceil(n / block_size)) if mask is None else mask
        given = {"block_mask": mask, "block_size": block_size}
        return attention_case(generator, n, n, 4, e, scale, lead, **given)

    def earlier(num_blocks: int) -> Tensor:
        return torch.ones(num_blocks, num_blocks, dtype=torch.bool).tril()

    own, everything = torch.eye(4, dtype=torch.bool), torch.ones(3, 3, dtype=torch.bool)
    return {
        "own block only": case(12, 3, own),
        "another block only": case(12, 3, own.roll(1, dims=0)),
        "earlier blocks": case(15, 3, earlier(5)),
        "constant values": constant_values(case(14, 3)),
        "some blocks": case(20, 4, lead=(2, 2)),
        "ragged": case(16 + between(generator, 1, 2), 4, earlier(5)),
        "one token in the last block": case(9, 4),
        "blocks of one token": case(9, 1),
        "one block": case(5, 8),
        "one token": case(1, 2),
        "large numbers": case(13, 3, scale=8.0, lead=(1, 1)),
        "scores far above and below 0": far_apart(case(13, 3)),
        "one key far above the others": one_key_far_above(case(9, 3, everything), 4),
        "not contiguous": by_columns(case(14, 3, lead=(1, 1))),
        "float64": in_float64(case(15, 4, lead=(1, 1))),
        **leading_axes(lambda **more: case(11, 3, **more)),
    }


def _blocks_probe(
    function: Callable,
    block_mask: Tensor,
    block_size: int,
    cotangent: Tensor | None,
    **tensors: Tensor,
) -> Answer:
    return with_gradients(
        lambda q, k, v: function(q, k, v, block_mask, block_size), tensors, cotangent
    )


def _with_blocks(generator: Generator, n: int, block_size: int = COUNTED_BLOCK) -> Inputs:
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
                average(),
                matches(
                    "output",
                    title="rows are queries, columns are keys",
                    points=1,
                    cases=("own block only", "another block only", "earlier blocks"),
                ),
                matches(
                    "output",
                    title="equals attention with the mask of the tokens",
                    points=2,
                    cases=(
                        "some blocks",
                        "blocks of one token",
                        "one block",
                        "large numbers",
                        "scores far above and below 0",
                        "one key far above the others",
                        "float64",
                        "not contiguous",
                    ),
                ),
                matches(
                    "output",
                    title="a last block that is shorter",
                    points=1,
                    cases=("ragged", "one token in the last block", "one token"),
                ),
                any_leading_axes(),
                gradients(
                    "own block only", "some blocks", "ragged", "blocks of one token", "float64"
                ),
            ),
        ),
        *cost(
            _with_blocks,
            lambda function, **given: function(*given.values()),
            exponent=1.2,
            largest=lambda n: ELEMENTS_PER_TOKEN * n,
            words="only the scores of live blocks are needed",
            title="only live blocks are computed, and no token alone",
            points=2,
            calls=calls_of_loops,
            sizes=COUNTED,
            long={"long": lambda generator: _with_blocks(generator, LONG_SPARSE)},
        ),
    ),
)

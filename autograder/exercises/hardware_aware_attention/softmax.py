"""The exercises of 05_hardware_aware_attention."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils._pytree import tree_leaves

from autograder.cases import between, in_float64, normal
from autograder.exercise import Answer, Exercise, Inputs, Part, Property
from autograder.exercises.hardware_aware_attention.signs import (
    shows_a_small_number_in_the_sum,
)
from autograder.probes import as_tensor
from autograder.properties import matches
from course.measure import DispatchMode

# --- online_softmax ------------------------------------------------------------------------------


def _softmax_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n: int, block_size: int, scale: float = 2.0) -> Inputs:
        return {"x": normal(generator, 2, 3, n, scale=scale), "block_size": block_size}

    def hidden(n: int, block_size: int, start: int, end: int) -> Inputs:
        some = case(n, block_size)
        some["x"][..., start:end] = -math.inf
        return some

    ragged = between(generator, 17, 19)
    below = case(12, 4)
    no_numbers = case(10, 4)
    no_numbers["x"][:, 1] = -math.inf
    scattered = case(30, 5)
    scattered["x"][torch.rand(2, 3, 30, generator=generator) < 0.4] = -math.inf
    falling = case(21, 4, scale=100.0)
    half = case(24, 7)["x"]
    # The first block sums to 64, each later one to 0.2, which bfloat16 loses when it adds them.
    long_row = normal(generator, 41 * 64, scale=0.1) - 5.8
    long_row[:64] = 0
    return {
        "one block": case(7, 7),
        "whole blocks": case(20, 4),
        "ragged": case(ragged, 5),
        "blocks of one": case(6, 1),
        "wider than the row": case(5, 9),
        "one column": case(1, 3),
        "one dimension": {"x": normal(generator, 13, scale=2.0), "block_size": 5},
        "largest last": {"x": case(24, 6)["x"].sort(dim=-1).values, "block_size": 6},
        "large numbers": case(29, 4, scale=100.0),
        "large numbers, largest first": falling
        | {"x": falling["x"].sort(dim=-1, descending=True).values},
        "far below zero": below | {"x": below["x"] - 400},
        "first blocks −∞": hidden(14, 4, 0, 9),
        "last blocks −∞": hidden(14, 4, 6, 14),
        "−∞ here and there": scattered,
        "rows of −∞": no_numbers,
        "not contiguous": {"x": normal(generator, 11, 3).mT, "block_size": 4},
        "float64": in_float64(case(13, 4)),
        "float16": {"x": half.to(torch.float16), "block_size": 7},
        "bfloat16": {"x": half.to(torch.bfloat16), "block_size": 7},
        "long row in bfloat16": {
            "x": long_row.to(torch.bfloat16),
            "block_size": 64,
        },
        "reads": case(between(generator, 34, 38), 8) | {"logged": True},
    }


class _Reads(DispatchMode):
    """Logs which columns of a contiguous x each operation reads: first, and one past the last.

    Views read nothing, and neither does what asks for nothing but a shape and a type.
    """

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self._x = x
        self._columns = torch.arange(x.numel()) % x.shape[-1]  # of each place in the storage
        self.log: list[tuple[int, int]] = []

    def _is_of_x(self, leaf: Any) -> bool:
        ours = self._x.untyped_storage().data_ptr()
        return isinstance(leaf, Tensor) and leaf.untyped_storage().data_ptr() == ours

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if not (func.is_view or name.endswith("_like") or name.startswith("new_")):
            for leaf in filter(self._is_of_x, tree_leaves((args, kwargs))):
                read = self._columns.as_strided(leaf.shape, leaf.stride(), leaf.storage_offset())
                if read.numel():
                    self.log.append((int(read.min()), int(read.max()) + 1))
        return func(*args, **kwargs)


def _softmax_probe(function: Callable, x: Tensor, block_size: int, logged: bool = False) -> Answer:
    if not logged:
        return {"output": as_tensor(function(x, block_size))}
    with _Reads(x) as reads:
        output = as_tensor(function(x, block_size))
    return {"output": output, "reads": torch.tensor(reads.log).reshape(-1, 2)}


def _columns(start: int, end: int) -> str:
    return f"column {start}" if end == start + 1 else f"columns {start} to {end - 1}"


def _reads_more_than_a_block(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    block_size = inputs["block_size"]
    for start, end in answer["reads"].tolist():
        if start // block_size < (end - 1) // block_size:
            return (
                f"an operation reads {_columns(start, end)} of x, with blocks of {block_size}. To "
                "copy or pad x is to read all of it, too: take each block as a slice of x"
            )
    return None


def _does_not_read_a_block(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    n, block_size = inputs["x"].shape[-1], inputs["block_size"]
    reads = [tuple(read) for read in answer["reads"].tolist()]
    for start in range(0, n, block_size):
        block = start, min(start + block_size, n)
        if block not in reads:
            return f"no operation was seen that reads {_columns(*block)} of x, a block, and no more"
    return None


def _reads_again(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    block_size, furthest = inputs["block_size"], 0
    reads = answer["reads"].tolist()
    if not reads:
        return "no operation was seen that reads x"
    for start, end in reads:
        if start // block_size < furthest // block_size:
            return (
                f"{_columns(start, end)} of x are read after column {furthest}, of a later block: "
                "that is another pass"
            )
        furthest = max(furthest, start)
    return None


SOFTMAX = Exercise(
    "online_softmax",
    "hardware_aware_attention",
    (
        Part(
            "numbers",
            _softmax_cases,
            _softmax_probe,
            (
                matches("output", title="one block is a softmax", points=1, cases=("one block",)),
                matches(
                    "output",
                    title="block after block, it is the softmax of the whole row",
                    points=2,
                    cases=(
                        "whole blocks",
                        "blocks of one",
                        "largest last",
                        "float64",
                        "not contiguous",
                    ),
                ),
                matches(
                    "output",
                    title="any n: ragged, shorter than a block, one column; any dimensions",
                    points=1,
                    cases=("ragged", "wider than the row", "one column", "one dimension"),
                ),
                matches(
                    "output",
                    title="large numbers, and numbers far below zero",
                    points=1,
                    cases=("large numbers", "large numbers, largest first", "far below zero"),
                ),
                matches(
                    "output",
                    title="−∞ has weight 0, in whole blocks too; a row of only −∞ gives zeros",
                    points=1,
                    cases=("first blocks −∞", "last blocks −∞", "−∞ here and there", "rows of −∞"),
                ),
                matches(
                    "output",
                    title="half precision, with a sum in float32",
                    points=1,
                    cases=("float16", "bfloat16", "long row in bfloat16"),
                ),
                Property(
                    "no read of x is wider than a block", 1, _reads_more_than_a_block, ("reads",)
                ),
                Property("each block is read as a whole", 1, _does_not_read_a_block, ("reads",)),
                Property("one pass: no block is read again", 1, _reads_again, ("reads",)),
            ),
            signs={"a small number added to the sum": shows_a_small_number_in_the_sum},
        ),
    ),
)

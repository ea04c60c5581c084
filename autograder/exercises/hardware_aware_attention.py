"""The exercises of 05_hardware_aware_attention."""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from autograder.cases import in_float64, normal
from autograder.exercise import Answer, AnswerError, Exercise, Inputs, Property
from autograder.exercises.hardware_aware_attention_tiles import BACKWARD, TILED
from autograder.exercises.sparse_attention_masks import between
from autograder.probes import as_tensor
from autograder.properties import matches
from course.specifications.hardware_aware_attention import attention_with_counted_traffic


def _power_of_10(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Numbers between 10^low and 10^high, spread evenly in their logarithm, in float64."""
    drawn = torch.rand(*shape, generator=generator, dtype=torch.float64)
    return 10 ** (low + (high - low) * drawn)


def _number(value: Any, name: str) -> Tensor:
    """A number, or a tensor that holds one, in float64; AnswerError if it is neither."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if not isinstance(value, Real):
        raise AnswerError(f"the {name} is a {type(value).__name__}, expected a number")
    # float64 holds every whole number up to 2⁵³.
    return torch.tensor(float(value), dtype=torch.float64)


def _number_or_tensor(value: Any, asked: Tensor, name: str) -> Tensor:
    """What a function gave for `asked`, handed to it as a plain number where it is one."""
    return as_tensor(value, name) if asked.dim() else _number(value, name)


def _given(asked: Tensor) -> Tensor | float:
    return asked if asked.dim() else asked.item()


# --- arithmetic_intensity ------------------------------------------------------------------------


def _intensity_cases(generator: Generator) -> dict[str, Inputs]:
    n = 2.0 ** torch.randperm(8, generator=generator)[:5] + between(generator, 3, 90)
    length = _power_of_10(generator, 3, 6).round()
    size = _power_of_10(generator, 2, 4).round()
    return {
        "product of two matrices": {"flops": 2 * size**3, "bytes": 4 * 3 * size**2},
        "sum of two vectors": {"flops": length, "bytes": 4 * 3 * length},
        "products of many sizes": {"flops": 2 * n**3, "bytes": 2 * 3 * n**2},
    }


def _intensity_probe(function: Callable, flops: Tensor, bytes: Tensor) -> Answer:
    value = function(_given(flops), _given(bytes))
    return {"intensity": _number_or_tensor(value, flops, "intensity")}


INTENSITY = Exercise(
    "arithmetic_intensity",
    "hardware_aware_attention",
    _intensity_cases,
    _intensity_probe,
    (
        matches(
            "intensity",
            title="FLOPs for each byte, of a run",
            points=1,
            cases=("product of two matrices", "sum of two vectors"),
        ),
        matches(
            "intensity",
            title="of many runs at once",
            points=1,
            cases=("products of many sizes",),
        ),
    ),
)


# --- roofline ------------------------------------------------------------------------------------


def _roofline_cases(generator: Generator) -> dict[str, Inputs]:
    def case(low: float, high: float, *shape: int) -> Inputs:
        """The intensities are 10^low to 10^high times that of the ridge."""
        peak_flops = _power_of_10(generator, 11, 15)
        bandwidth = _power_of_10(generator, 10, 12.5)
        ridge = peak_flops / bandwidth
        return {
            "intensity": ridge * _power_of_10(generator, low, high, *shape),
            "peak_flops": peak_flops.item(),
            "bandwidth": bandwidth.item(),
        }

    many = case(-2, 2, 12)
    return {
        "below the ridge": case(-2, -0.5),
        "just below the ridge": case(-0.2, -0.05),
        "above the ridge": case(0.5, 2),
        "just above the ridge": case(0.05, 0.2),
        "many intensities": many | {"intensity": many["intensity"].float()},
    }


def _roofline_probe(
    function: Callable, intensity: Tensor, peak_flops: float, bandwidth: float
) -> Answer:
    value = function(_given(intensity), peak_flops, bandwidth)
    return {"flops": _number_or_tensor(value, intensity, "attainable FLOP/s")}


ROOFLINE = Exercise(
    "roofline",
    "hardware_aware_attention",
    _roofline_cases,
    _roofline_probe,
    (
        matches(
            "flops",
            title="at a low intensity memory decides",
            points=1,
            cases=("below the ridge", "just below the ridge"),
        ),
        matches(
            "flops",
            title="at a high intensity the processor decides",
            points=1,
            cases=("above the ridge", "just above the ridge"),
        ),
        matches(
            "flops", title="for many intensities at once", points=1, cases=("many intensities",)
        ),
    ),
)


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
            "x": normal(generator, 2, 2048, scale=0.5).to(torch.bfloat16),
            "block_size": 16,
        },
        "reads": case(between(generator, 34, 38), 8) | {"logged": True},
    }


class _Reads(TorchDispatchMode):
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
    with torch.no_grad(), _Reads(x) as reads:
        answer = {"output": as_tensor(function(x, block_size))}
    if logged:
        answer["reads"] = torch.tensor(reads.log).reshape(-1, 2)
    return answer


def _columns(start: int, end: int) -> str:
    return f"column {start}" if end == start + 1 else f"columns {start} to {end - 1}"


def _reads_more_than_a_block(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    n, block_size = inputs["x"].shape[-1], inputs["block_size"]
    reads = [tuple(read) for read in answer["reads"].tolist()]
    for start, end in reads:
        if start // block_size < (end - 1) // block_size:
            return (
                f"an operation reads {_columns(start, end)} of x, with blocks of {block_size}. To "
                "copy or pad x is to read all of it, too: take each block as a slice of x"
            )
    for start in range(0, n, block_size):
        block = (start, min(start + block_size, n))
        if block not in reads:
            return f"no operation was seen that reads the block, {_columns(*block)} of x, at once"
    return None


def _reads_again(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    block_size, furthest = inputs["block_size"], 0
    reads = answer["reads"].tolist()
    if not reads:
        return "no operation was seen that reads x"
    for start, end in reads:
        if start // block_size < furthest // block_size:
            return (
                f"{_columns(start, end)} of x are read after column {furthest}, in a later block: "
                "that is another pass"
            )
        furthest = max(furthest, end - 1)
    return None


SOFTMAX = Exercise(
    "online_softmax",
    "hardware_aware_attention",
    _softmax_cases,
    _softmax_probe,
    (
        matches("output", title="one block is a softmax", points=1, cases=("one block",)),
        matches(
            "output",
            title="block after block, it is the softmax of the whole row",
            points=2,
            cases=("whole blocks", "blocks of one", "largest last", "float64", "not contiguous"),
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
        Property("no read of x is wider than a block", 1, _reads_more_than_a_block, ("reads",)),
        Property("one pass: no block is read again", 1, _reads_again, ("reads",)),
    ),
)


# --- attention_hbm_traffic -----------------------------------------------------------------------


def _traffic_cases(generator: Generator) -> dict[str, Inputs]:
    def case(algorithm: str, n: int, block: int, spare: bool = False, **more: object) -> Inputs:
        """With `spare`, SRAM holds more than tiles of `block` rows need, but too little for another.

        Neither n nor d is so small that one formula looks like another.
        """
        d = between(generator, 5, 12)
        extra = between(generator, 1, 4 * d - 1) if spare else 0
        return {
            "n": n,
            "d": d,
            "sram_elements": 4 * d * block + extra,
            "algorithm": algorithm,
            **more,
        }

    block = between(generator, 5, 8)
    return {
        "standard": case("standard", between(generator, 20, 60), block, spare=True),
        "standard, one token": case("standard", 1, block),
        "flash, all in one tile": case("flash", between(generator, 20, 30), 32),
        "flash, whole tiles": case("flash", between(generator, 4, 8) * block, block),
        "flash, ragged": case("flash", 5 * block + between(generator, 1, block - 1), block),
        "flash, SRAM to spare": case("flash", 5 * block + 2, block, spare=True),
        "flash, tiles of one row": case("flash", between(generator, 11, 17), 1),
        "flash, one token": case("flash", 1, block),
        "flash, no room for a row": case("flash", 20, 0, spare=True, refused=True),
        "another algorithm": case("linear", 20, block, refused=True),
    }


def _traffic_probe(
    function: Callable,
    n: int,
    d: int,
    sram_elements: int,
    algorithm: str,
    refused: bool = False,
) -> Answer:
    value_errors = 0.0
    try:
        value = function(n, d, sram_elements, algorithm)
    except ValueError:
        if not refused:
            raise
        value, value_errors = math.nan, 1.0
    return {"elements": _number(value, "traffic"), "value_errors": torch.tensor(value_errors)}


def _is_counted(title: str, points: int, cases: tuple[str, ...]) -> Property:
    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        n, d, sram_elements, algorithm = inputs.values()
        q, k, v = torch.zeros(3, n, d)
        _, counted = attention_with_counted_traffic(q, k, v, sram_elements, algorithm)
        said = answer["elements"].item()
        if said == counted:
            return None
        return (
            f"a run with n = {n}, d = {d} and {sram_elements} elements of SRAM moved {counted:,} "
            f"elements, you say {said:,.12g}"
        )

    return Property(title, points, complain, cases, compared=("elements",))


def _not_refused(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    if answer["value_errors"] == 1:
        return None
    n, d, sram_elements, algorithm, _ = inputs.values()
    return (
        f"n = {n}, d = {d}, {sram_elements} elements of SRAM and the algorithm {algorithm!r} give "
        f"{answer['elements'].item():,.12g}, expected a ValueError"
    )


TRAFFIC = Exercise(
    "attention_hbm_traffic",
    "hardware_aware_attention",
    _traffic_cases,
    _traffic_probe,
    (
        _is_counted("standard: what three kernels move", 1, ("standard", "standard, one token")),
        _is_counted(
            "flash, all in one tile: each input is read once",
            1,
            ("flash, all in one tile", "flash, one token"),
        ),
        _is_counted(
            "flash: K and V are read for each tile of Q",
            2,
            ("flash, whole tiles", "flash, tiles of one row"),
        ),
        _is_counted(
            "flash, ragged, or with SRAM to spare", 1, ("flash, ragged", "flash, SRAM to spare")
        ),
        Property(
            "what cannot be is refused",
            1,
            _not_refused,
            ("flash, no room for a row", "another algorithm"),
            compared=("value_errors",),
        ),
    ),
)


EXERCISES = (INTENSITY, ROOFLINE, SOFTMAX, TILED, TRAFFIC, BACKWARD)

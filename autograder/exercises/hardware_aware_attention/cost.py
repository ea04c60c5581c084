"""The exercises of 05_hardware_aware_attention on what limits a machine, and what is moved."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from autograder.cases import between
from autograder.exercise import Answer, Exercise, Inputs, Part, Property, difference
from autograder.probes import as_number, as_tensor
from autograder.properties import matches
from course.specifications.hardware_aware_attention import attention_with_counted_traffic


def _power_of_10(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Numbers between 10^low and 10^high, spread evenly in their logarithm, in float64."""
    drawn = torch.rand(shape, generator=generator, dtype=torch.float64)
    return 10 ** (low + (high - low) * drawn)


def _plain(x: Tensor) -> Tensor | float:
    """What a function is given for x: a plain number, where x holds but one."""
    return x if x.dim() else x.item()


def _like(x: Tensor, value: Any, name: str) -> Tensor:
    """The value that a function gave for x: a tensor for a tensor, a number for a number.

    A number that comes as a tensor keeps its type: float32 has fewer digits than Python's own.
    """
    if x.dim():
        return as_tensor(value, name)
    short = isinstance(value, Tensor) and value.dtype == torch.float32
    return as_number(value, name, torch.float32 if short else torch.float64)


def _is_the_number(name: str, title: str, points: int, cases: tuple[str, ...]) -> Property:
    """The number called `name` equals the reference's, within the tolerance of its own type."""

    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        return difference(name, answer[name], expected[name])

    return Property(title, points, complain, cases, compared=(name,))


# --- arithmetic_intensity ------------------------------------------------------------------------


def _intensity_cases(generator: Generator) -> dict[str, Inputs]:
    n = 2.0 ** torch.randperm(8, generator=generator)[:5].double() + between(generator, 3, 90)
    length = _power_of_10(generator, 3, 6).round()
    size = _power_of_10(generator, 2, 4).round()
    return {
        "product of two matrices": {"flops": 2 * size**3, "bytes": 4 * 3 * size**2},
        "sum of two vectors": {"flops": length, "bytes": 4 * 3 * length},
        "products of many sizes": {"flops": 2 * n**3, "bytes": 2 * 3 * n**2},
    }


def _intensity_probe(function: Callable, flops: Tensor, bytes: Tensor) -> Answer:
    value = function(_plain(flops), _plain(bytes))
    return {"intensity": _like(flops, value, "intensity")}


INTENSITY = Exercise(
    "arithmetic_intensity",
    "hardware_aware_attention",
    (
        Part(
            "numbers",
            _intensity_cases,
            _intensity_probe,
            (
                _is_the_number(
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
    value = function(_plain(intensity), peak_flops, bandwidth)
    return {"flops": _like(intensity, value, "attainable FLOP/s")}


ROOFLINE = Exercise(
    "roofline",
    "hardware_aware_attention",
    (
        Part(
            "numbers",
            _roofline_cases,
            _roofline_probe,
            (
                _is_the_number(
                    "flops",
                    title="at a low intensity memory decides",
                    points=1,
                    cases=("below the ridge", "just below the ridge"),
                ),
                _is_the_number(
                    "flops",
                    title="at a high intensity the processor decides",
                    points=1,
                    cases=("above the ridge", "just above the ridge"),
                ),
                matches(
                    "flops",
                    title="for many intensities at once",
                    points=1,
                    cases=("many intensities",),
                ),
            ),
        ),
    ),
)


# --- attention_hbm_traffic -----------------------------------------------------------------------

TRAFFIC_ARGUMENTS = ("n", "d", "sram_elements", "algorithm")


def _traffic_cases(generator: Generator) -> dict[str, Inputs]:
    def case(algorithm: str, n: int, block: int, spare: bool = False, **more: object) -> Inputs:
        """With `spare`, SRAM holds most of another row of each tile, but not all of it."""
        d = between(generator, 5, 12)
        extra = between(generator, 2 * d + 1, 4 * d - 1) if spare else 0
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
        "flash, whole tiles": case("flash", between(generator, 6, 9) * block, block),
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
    return {"elements": as_number(value, "traffic"), "value_errors": torch.tensor(value_errors)}


def _is_counted(title: str, points: int, cases: tuple[str, ...]) -> Property:
    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        n, d, sram_elements = inputs["n"], inputs["d"], inputs["sram_elements"]
        q, k, v = torch.zeros(3, n, d)
        _, counted = attention_with_counted_traffic(q, k, v, sram_elements, inputs["algorithm"])
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
    asked = ", ".join(f"{name} = {inputs[name]!r}" for name in TRAFFIC_ARGUMENTS)
    return f"{asked} give {answer['elements'].item():,.12g}, expected a ValueError"


TRAFFIC = Exercise(
    "attention_hbm_traffic",
    "hardware_aware_attention",
    (
        Part(
            "numbers",
            _traffic_cases,
            _traffic_probe,
            (
                _is_counted(
                    "standard: what three kernels move", 1, ("standard", "standard, one token")
                ),
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
                    "flash, ragged, or with SRAM to spare",
                    1,
                    ("flash, ragged", "flash, SRAM to spare"),
                ),
                Property(
                    "what cannot be is refused",
                    1,
                    _not_refused,
                    ("flash, no room for a row", "another algorithm"),
                    compared=("value_errors",),
                ),
            ),
        ),
    ),
)

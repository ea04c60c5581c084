"""What the exercises in Triton have in common."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator

from autograder.exercise import Answer, Part, Property
from autograder.kernel_probes import bad_code, code_answer, reaches_outside, triton_kernel

HIGH_TILES: dict[str, Any] = {"BLOCK_Q": 32, "BLOCK_K": 16}
WIDE_TILES: dict[str, Any] = {"BLOCK_Q": 16, "BLOCK_K": 32}
"""The tiles of the cases: more queries than keys, and more keys than queries."""
COMPILED = {"CAUSAL": True, "D": 64, "BLOCK_Q": 64, "BLOCK_K": 32}
"""The constants with which a kernel is compiled for GPUs."""
GOOD_CODE = "compiles for GPUs: on tensor cores, in registers and shared memory"
STAYS_INSIDE = Property(
    "reads and writes what it was given, and nothing beyond", 1, reaches_outside
)


def prime(generator: Generator) -> int:
    """A length that is no multiple of any tile."""
    return (29, 37, 41, 43)[int(torch.randint(4, (), generator=generator))]


def machine_code(constants: dict[str, int | bool]) -> Part:
    """What the kernel becomes when it is compiled with these constants, which takes seconds."""

    def probe(function: Callable, **constants: Any) -> Answer:
        return code_answer(triton_kernel(function), constants)

    return Part(
        "machine code",
        lambda generator: {"machine code": dict(constants)},
        probe,
        (Property(GOOD_CODE, 1, bad_code),),
        tells_mistakes=False,
    )

"""Run a student's Triton kernel on a case, and say what is wrong with how it ran.

The probes launch a kernel themselves, on tensors that lie in larger ones full of NaN: what it reads
beyond its tensors spoils its output, and what it writes there is seen.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from autograder.exercise import Answer, AnswerError, Inputs
from autograder.kernel_source import kernel_source

GUARD = 64
"""Rows of NaN after a matrix: as many as the largest tile has."""
TILES = {"BLOCK_Q": 32, "BLOCK_K": 16}
UNCOUNTED = -1
_OF_CODE = ("spilled", "shared_memory", "allowed_shared_memory", "tensor_core_instructions")


def triton_kernel(function: Any) -> Any:
    """The kernel. Raises AnswerError if it is none, or uses more than Triton."""
    from course.triton_here import HAS_TRITON, MISSING, MissingKernel, kernel_texts, triton

    if isinstance(function, MissingKernel):
        raise AnswerError(MISSING)
    if not HAS_TRITON or not isinstance(function, triton.runtime.KernelInterface):
        raise AnswerError(
            f"the kernel is a {type(function).__name__}, which Triton does not launch: keep "
            "@triton.jit above it"
        )
    try:
        texts = kernel_texts(function)
    except OSError:
        raise AnswerError("its text cannot be read: take %%time away from its cell") from None
    kernel_source(texts, function.fn.__name__)
    return function


@contextlib.contextmanager
def interpreted() -> Iterator[list[int]]:
    """Count the products of tiles, tl.dot, that the interpreter computes meanwhile.

    What fails in the interpreter is raised as it was.
    """
    from course.triton_here import DEVICE

    if DEVICE != "cpu":
        yield [UNCOUNTED]
        return
    from triton.runtime import interpreter

    count, multiply = [0], interpreter.InterpreterBuilder.create_dot

    def create_dot(*arguments: Any) -> Any:
        count[0] += 1
        return multiply(*arguments)

    interpreter.InterpreterBuilder.create_dot = create_dot
    try:
        yield count
    except interpreter.InterpreterError as error:
        raise (error.__cause__ or error) from None
    finally:
        interpreter.InterpreterBuilder.create_dot = multiply


class Guarded:
    """A tensor in a larger one of NaN, where kernels run.

    layout: "contiguous" (NaN after the last row), "rows apart" (NaN after each head's rows),
    "heads inside" (a view of (batch, n, heads, d)), or "columns apart" (NaN between two columns).
    """

    def __init__(self, x: Tensor, layout: str = "contiguous", guard: int = GUARD) -> None:
        from course.triton_here import DEVICE

        *outer, n, d = x.shape
        if layout == "contiguous":
            self.whole = x.new_full((math.prod(outer) * n + guard, d), math.nan, device=DEVICE)
            self.view = self.whole[: len(self.whole) - guard].view(*outer, n, d)
        elif layout == "rows apart":
            self.whole = x.new_full((*outer, n + guard, d), math.nan, device=DEVICE)
            self.view = self.whole[..., :n, :]
        elif layout == "heads inside":
            batch, heads = outer
            self.whole = x.new_full((batch, n + guard, heads, d), math.nan, device=DEVICE)
            self.view = self.whole[:, :n].transpose(1, 2)
        else:
            self.whole = x.new_full((*outer, n + guard, 2 * d), math.nan, device=DEVICE)
            self.view = self.whole[..., :n, ::2]
        self.view.copy_(x)

    def written_outside(self) -> int:
        """How many numbers outside of the view are no longer NaN."""
        inside = self.view.clone()
        self.view.fill_(math.nan)
        changed = int((~self.whole.isnan()).sum())
        self.view.copy_(inside)
        return changed


def nan_like(x: Tensor) -> Tensor:
    """What an output holds before a kernel has written it."""
    return torch.full_like(x, math.nan)


def guarded_answer(outputs: dict[str, Guarded], products: int) -> Answer:
    """What the kernel wrote, numbers written `outside`, and `products` of tiles."""
    answer = {name: guarded.view.cpu().contiguous() for name, guarded in outputs.items()}
    outside = sum(guarded.written_outside() for guarded in outputs.values())
    return answer | {"outside": torch.tensor(outside), "products": torch.tensor(products)}


def code_answer(kernel: Any, constants: dict[str, int | bool]) -> Answer:
    """What the kernel becomes on each target. Raises AnswerError where it does not compile."""
    from course.machine_code import CompileError, machine_code

    try:
        rows = machine_code(kernel, **constants)
    except CompileError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise AnswerError(f"Triton cannot compile it: {' '.join(lines[-3:])}") from None
    return {name: torch.tensor([getattr(row, name) for row in rows]) for name in _OF_CODE}


def bad_code(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    """Complain of machine code without tensor cores, or that needs more than there is."""
    from course.machine_code import TARGETS

    if any(answer[name].shape != (len(TARGETS),) for name in _OF_CODE):
        return "what it is compiled to could not be read"
    for index, target in enumerate(TARGETS):
        numbers = {name: int(answer[name][index]) for name in _OF_CODE}
        if numbers["shared_memory"] > numbers["allowed_shared_memory"]:
            return f"on {target} it needs {numbers['shared_memory']:,} bytes of shared memory"
        if numbers["spilled"]:
            return f"on {target} its numbers do not fit into registers, and are spilled to memory"
        if not numbers["tensor_core_instructions"]:
            return f"on {target} no tensor core multiplies: use tl.dot, on tiles of float16"
    return None


def writes_outside(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    """Complain of numbers that were written beyond the outputs."""
    outside = int(answer["outside"])
    return f"{outside} numbers beyond the output were overwritten" if outside else None


def too_many_products(of_each_pair: int) -> Callable[[Inputs, Answer, Answer], str | None]:
    """Complain of more products than each pair of tiles needs, of those that see each other."""

    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        n, (batch, heads) = inputs["q"].shape[-2], inputs["q"].shape[:2]
        firsts = range(0, n, TILES["BLOCK_Q"])
        pairs = sum(math.ceil(min(n, i + TILES["BLOCK_Q"]) / TILES["BLOCK_K"]) for i in firsts)
        allowed = of_each_pair * batch * heads * pairs
        used = int(answer["products"])
        if used <= allowed:
            return None
        return f"{used} products of tiles; those on and below the diagonal need {allowed}"

    return complain

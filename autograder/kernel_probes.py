"""Run a student's Triton kernel on a case, and say what is wrong with how it ran.

The probes launch a kernel themselves, on tensors that lie in larger ones full of NaN. In the
interpreter every access is watched: what lies beyond is counted, read as NaN, and never written.
Compiled, what a kernel reads beyond its tensors spoils its output, and what it writes is seen.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from autograder.exercise import Answer, AnswerError, Inputs
from autograder.kernel_source import kernel_source

GUARD = 64
"""Rows of NaN before and after a matrix: as many as the largest tile has."""
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
        texts = tuple(kernel_texts(function))
    except OSError:
        raise AnswerError("its text cannot be read: take %%time away from its cell") from None
    _looked_through(texts, function.fn.__name__)
    return function


_looked_through = cache(kernel_source)


class Guarded:
    """A tensor in a larger one of NaN, which lies before it and after it too, where kernels run.

    layout: "contiguous" (no NaN inside), "rows apart" (NaN after each head's rows),
    "heads inside" (a view of (batch, n, heads, d)), or "columns apart" (NaN between two columns).
    """

    def __init__(self, x: Tensor, layout: str = "contiguous", guard: int = GUARD) -> None:
        from course.triton_here import DEVICE

        *outer, n, d = x.shape
        rows = n if layout == "contiguous" else n + guard
        heads_inside = layout == "heads inside"
        shape = (outer[0], rows, outer[1]) if heads_inside else (*outer, rows)
        step = 2 if layout == "columns apart" else 1
        size = guard + math.prod(shape) + guard, step * d
        self.whole = x.new_full(size, math.nan, device=DEVICE)
        view = self.whole[guard:-guard].view(*shape, step * d)
        view = view.transpose(1, 2) if heads_inside else view
        self.view = view[..., :n, ::step]
        self.view.copy_(x)

    def written_outside(self) -> int:
        """How many numbers outside of the view are no longer NaN."""
        inside = self.view.clone()
        self.view.fill_(math.nan)
        changed = int((~self.whole.isnan()).sum())
        self.view.copy_(inside)
        return changed


@contextlib.contextmanager
def _watched(given: Iterable[Guarded], outputs: Iterable[Guarded]) -> Iterator[Any]:
    """Watch in the interpreter what a kernel does; compiled, it is not seen, and None is given."""
    from course.triton_here import DEVICE

    if DEVICE != "cpu":
        yield None
        return
    from course.interpreter import watched

    with watched([each.view for each in given], [each.view for each in outputs]) as seen:
        yield seen


def nan_like(x: Tensor) -> Tensor:
    """What an output holds before a kernel has written it."""
    return torch.full_like(x, math.nan)


def run_kernel(
    launch: Callable[..., None], given: Sequence[Guarded], outputs: dict[str, Guarded]
) -> Answer:
    """What a kernel wrote when it was launched, launch(*views of given, *views of outputs).

    `products` counts products of tiles, `read` the numbers that it read; both are UNCOUNTED where
    kernels are compiled. `outside` counts numbers beyond the tensors that it read, which are seen
    in the interpreter alone, and those that it wrote.
    """
    every = [*given, *outputs.values()]
    before = [guarded.view.clone() for guarded in given]
    with _watched(given, outputs.values()) as seen:
        launch(*(guarded.view for guarded in every))
    answer = {name: guarded.view.cpu().contiguous() for name, guarded in outputs.items()}
    if seen:
        products, read = seen.products, seen.read
        outside = [seen.read_outside, seen.written_outside]
    else:
        changed = [old != g.view for old, g in zip(before, given, strict=True)]
        written = sum(int(places.sum()) for places in changed)
        written += sum(guarded.written_outside() for guarded in every)
        products, read, outside = UNCOUNTED, UNCOUNTED, [0, written]
    counted = {"products": products, "read": read, "outside": outside}
    return answer | {name: torch.tensor(numbers) for name, numbers in counted.items()}


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


def reaches_outside(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    """Complain of what was read or written beyond the tensors."""
    if answer["outside"].shape != (2,):
        return "what it reads and writes could not be counted"
    read, written = answer["outside"].tolist()
    if written:
        return f"{written} numbers beyond the output are written: give tl.store a mask"
    if read:
        return (
            f"{read} numbers beyond the tensors are read, where on a GPU anything may lie, or "
            "nothing at all: give each tl.load a mask, also where the result is hidden later"
        )
    return None


def reads_again(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    """Complain of more reads than there are numbers in x."""
    numbers = inputs["x"].numel()
    times = int(answer["read"])
    if times <= numbers:
        return None
    return (
        f"{times:,} numbers are read, and x has {numbers:,}: HBM is slow, keep what is loaded in a "
        "variable"
    )


def too_many_products(of_each_pair: int) -> Callable[[Inputs, Answer, Answer], str | None]:
    """Complain of more products than each pair of tiles needs, of those that see each other."""

    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        batch, heads, n_q, _ = inputs["q"].shape
        n_k, block_q, block_k = inputs["k"].shape[-2], inputs["BLOCK_Q"], inputs["BLOCK_K"]
        seen = [min(n_k, i + block_q) if inputs["causal"] else n_k for i in range(0, n_q, block_q)]
        pairs = sum(math.ceil(keys / block_k) for keys in seen)
        allowed = of_each_pair * batch * heads * pairs
        used = int(answer["products"])
        if used <= allowed:
            return None
        which = "those on and below the diagonal" if inputs["causal"] else "tiles of the size given"
        return f"{used} products of tiles; {which} need {allowed}"

    return complain

"""What an exercise is, and how close a number must be to the truth."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Inputs = dict[str, Tensor | int | float | bool | str | list[int]]
"""One case: the named arguments of a probe. Data only, so that it can be sent to a process."""

Answer = dict[str, Tensor]
"""What a probe returns for one case: named tensors."""


class AnswerError(Exception):
    """The student's function returned something that is no answer; the text says what and why."""


class ReferenceFailsError(Exception):
    """The reference fails on a case: a defect of the course, and no student's fault."""


@dataclass(frozen=True)
class Raised:
    """The student's function raised an exception on a case.

    where: the line of the student's code, empty if unknown.
    """

    kind: str
    message: str
    where: str = ""

    @property
    def is_stub(self) -> bool:
        """Whether this is what the stub of a release notebook raises."""
        return (self.kind, self.message) == (NotImplementedError.__name__, "")

    def __str__(self) -> str:
        named = () if self.kind == AnswerError.__name__ else (self.kind,)
        text = ": ".join(part for part in (*named, self.message) if part)
        return f"{text} ({self.where})" if self.where else text


@dataclass(frozen=True)
class Property:
    """One thing that an exercise must get right, and its points.

    complain: (inputs, answer, expected) of one case -> what is wrong, or None.
    cases: the names of the cases it looks at; empty means all.
    compared: the names of the tensors that it holds against the reference, if it does.
    long: the names of the long cases whose output must come back right too when work is graded.
    """

    title: str
    points: int
    complain: Callable[[Inputs, Answer, Answer], str | None]
    cases: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()
    long: tuple[str, ...] = ()


def _none(generator: torch.Generator) -> dict[str, Inputs]:
    return {}


@dataclass(frozen=True)
class Exercise:
    """An exercise, declared once: check, Validate and grading all use this.

    topic: names the modules of solutions/ and of its mistakes, and the notebook.
    cases: draws the named inputs from a seeded generator.
    probe: runs a function on one case, `probe(function, **inputs)`, and returns named tensors.
        It runs beside the student's code, which can change all that it observes. So it returns
        what the function gave back, as it is, and the properties draw the conclusions.
    truth: gives the right answer to a case, in float64, where the solution itself cannot.
    costly: cases that take seconds, and by which no mistake is told from another.
    in_triton: it is a Triton kernel: what runs is its text alone, without the notebook around it.
    long_cases: cases that only grading draws, so long that a wrong order of growth runs out of
        memory or time. What they cost is not counted but enforced: it cannot be forged.
    """

    name: str
    topic: str
    cases: Callable[[torch.Generator], dict[str, Inputs]]
    probe: Callable[..., Answer]
    properties: tuple[Property, ...]
    long_cases: Callable[[torch.Generator], dict[str, Inputs]] = _none
    truth: Callable[..., Answer] | None = None
    costly: tuple[str, ...] = ()
    in_triton: bool = False

    @property
    def module(self) -> str:
        """The module of solutions/ that holds it, named by the topic."""
        return f"{self.topic}.kernels" if self.in_triton else self.topic

    @property
    def points(self) -> int:
        """The most that can be earned."""
        return sum(prop.points for prop in self.properties)

    def draw_cases(self, seed: int) -> dict[str, Inputs]:
        """The cases for a seed; PUBLIC_SEED gives those whose answers are recorded."""
        return self.cases(torch.Generator().manual_seed(seed))

    def draw_long_cases(self, seed: int) -> dict[str, Inputs]:
        """The long cases for a seed."""
        return self.long_cases(torch.Generator().manual_seed(seed))


PUBLIC_SEED = 0

# Relative bound on each number, and absolute bound relative to the largest number of the tensor.
# Wide enough for another order of summation, tight enough that a row that is not normalised by
# 1 %, or a scale of √(d + 1) for √d, fails.
TOLERANCES = {
    torch.float64: (1e-6, 1e-6),  # recorded answers are rounded to float32
    torch.float32: (2e-4, 2e-5),
    torch.float16: (4e-3, 2e-3),
    torch.bfloat16: (2e-2, 1e-2),
}


def wrong_entries(actual: Tensor, expected: Tensor) -> Tensor:
    """Where `actual` is further from `expected`, the float64 truth, than its dtype explains."""
    relative, absolute = TOLERANCES[actual.dtype]
    largest = expected.abs().max() if expected.numel() else torch.tensor(0.0)
    bound = relative * expected.abs() + absolute * largest
    return ~((actual.double() - expected.double()).abs() <= bound)


def difference(name: str, actual: Tensor, expected: Tensor) -> str | None:
    """Say how a tensor differs from the truth: shape, type, NaN, or the first wrong entry."""
    if actual.shape != expected.shape:
        return f"{name} has shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    if actual.dtype not in TOLERANCES:
        return f"{name} has dtype {actual.dtype}, expected a real floating-point type"
    wrong = wrong_entries(actual, expected)
    if not wrong.any():
        return None
    index = tuple(wrong.nonzero()[0].tolist())
    share = wrong.double().mean().item()
    # Beside numbers of ordinary size, the rounding of a zero is shown as 0.
    right = expected[index].item() if expected[index].abs() > 1e-12 * expected.abs().max() else 0.0
    at = list(index) if index else ""
    text = f"{name}{at} is {actual[index].item():.6g}, expected {right:.6g}"
    if actual.numel() == 1:
        return text
    text += f"; {share:.0%} of the entries are wrong"
    if nans := actual.isnan().double().mean().item():
        text += f", {nans:.0%} are NaN"
    return text

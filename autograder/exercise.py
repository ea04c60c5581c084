"""What an exercise is: parts, each with its cases, its probe, and what is decided by them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Generator, Tensor

Inputs = dict[str, Any]
"""The named arguments of a probe: tensors, numbers, texts and lists, which can be sent."""

Answer = dict[str, Tensor]
"""What a probe returns for one case: named tensors."""

Draw = Callable[[Generator], dict[str, Inputs]]
"""Draws named cases from a seeded generator."""

Complaint = Callable[[Inputs, Answer, Answer], str | None]
"""(inputs, answer, expected) of one case -> what is wrong, or None."""

Sign = Callable[[Inputs, Answer, Answer], bool]
"""(inputs, answer, expected) of one case -> whether it shows a certain mistake."""

Kind = Literal["function", "kernel"]
"""How a student's code is asked: a function of the notebook, or a Triton kernel as text alone."""

CHANGED = "changed"
"""The tensor, in each answer, that holds 1 for every input that was overwritten."""


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
class Case:
    """Inputs, and the name of the part whose probe they are for."""

    part: str
    inputs: Inputs


@dataclass(frozen=True)
class Property:
    """One thing that an exercise must get right, and its points.

    Properties of an exercise with the same title are one line of its report: the points are added,
    and earned together.
    complain: what is wrong in a case, in a sentence that a student can act on.
    cases: the names of the cases it looks at; empty means all of its part.
    compared: the names of the tensors that it holds against the reference, if it does.
    """

    title: str
    points: int
    complain: Complaint
    cases: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """One thing to find out about a function.

    name: tells it from the other parts of the exercise.
    cases: draws the named inputs; names of cases are unique in an exercise.
    probe: runs a function on one case, `probe(function, **inputs)`, and returns named tensors.
        It runs beside the student's code, which can change all that it observes. So it returns
        what the function gave back, as it is, and the properties draw the conclusions.
    truth: gives the right answer to a case, in float64, where the solution itself cannot.
    only_grading: its cases are drawn at grading alone, and are so long that a wrong order of growth
        runs out of memory or time. What they cost is not counted but enforced: it cannot be
        forged. What its properties say tells nothing of the inputs, which are secret.
    tells_mistakes: whether mistakes are run on it; not where a case takes seconds, or where only
        its signs tell them.
    supplies: right versions of what the notebook's function calls by its global name, so that no
        exercise fails because an earlier one is unsolved.
    signs: by the name of a mistake whose numbers are random, what shows it in every case.
    """

    name: str
    cases: Draw
    probe: Callable[..., Answer]
    properties: tuple[Property, ...]
    truth: Callable[..., Answer] | None = None
    only_grading: bool = False
    tells_mistakes: bool = True
    supplies: Mapping[str, Callable] = field(default_factory=dict)
    signs: Mapping[str, Sign] = field(default_factory=dict)

    @property
    def compared(self) -> set[str]:
        """The tensors that some property holds against the reference; none needs no reference."""
        return {name for prop in self.properties for name in prop.compared}


@dataclass(frozen=True)
class Exercise:
    """An exercise, declared once: check, Validate and grading all use this.

    topic: names the folders and modules of solutions/ and of its mistakes, and the notebook.
    """

    name: str
    topic: str
    parts: tuple[Part, ...]
    kind: Kind = "function"

    @property
    def module(self) -> str:
        """The module of solutions/ that holds it."""
        return f"{self.topic}.kernels" if self.kind == "kernel" else self.topic

    @cached_property
    def properties(self) -> tuple[Property, ...]:
        """Those of all parts, and that inputs which could be overwritten are not."""
        declared = tuple(prop for part in self.parts for prop in part.properties)
        cases = self.draw(PUBLIC_SEED)
        mutable = tuple(
            n for n, case in cases.items() if any(map(is_mutable, case.inputs.values()))
        )
        # A kernel is given copies: its probes look after them.
        if self.kind == "kernel" or not mutable:
            return declared
        return (*declared, Property(KEEPS_INPUTS, 1, overwritten, mutable))

    @property
    def titles(self) -> dict[str, int]:
        """The points of each line of its report."""
        points: Counter[str] = Counter()
        for prop in self.properties:
            points[prop.title] += prop.points
        return dict(points)

    @property
    def points(self) -> int:
        """The most that can be earned."""
        return sum(self.titles.values())

    def part(self, name: str) -> Part:
        """The part called `name`. Raises StopIteration if there is none."""
        return next(part for part in self.parts if part.name == name)

    def draw(self, seed: int, parts: Iterable[Part] | None = None) -> dict[str, Case]:
        """The cases for a seed, of `parts` or of all that are not for grading alone.

        PUBLIC_SEED gives those whose answers are recorded. A part's cases depend on nothing but the
        seed and the part. Raises ValueError if two cases have the same name.
        """
        cases: dict[str, Case] = {}
        for part in parts or [part for part in self.parts if not part.only_grading]:
            drawn = part.cases(Generator().manual_seed(seed))
            if twice := cases.keys() & drawn.keys():
                raise ValueError(f"{self.name} has two cases called {', '.join(sorted(twice))}")
            cases |= {name: Case(part.name, _written_out(inputs)) for name, inputs in drawn.items()}
        return cases


PUBLIC_SEED = 0
ALL_PAIRS, ONE_AT_A_TIME = "a number for every pair of tokens", "token after token"
ALL_PAIRS_IN_PARTS = "all pairs of tokens, a part at a time"
"""What the signs of a part that counts costs are called."""
KEEPS_INPUTS = "what it is given stays as it was"


def _written_out(inputs: Inputs) -> Inputs:
    """The same inputs; tensors that repeat numbers of theirs hold each of them, as if sent."""
    return {
        name: value.contiguous() if isinstance(value, Tensor) and 0 in value.stride() else value
        for name, value in inputs.items()
    }


def is_mutable(value: object) -> bool:
    """Whether a function could overwrite it."""
    return isinstance(value, Tensor | list)


def overwritten(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    """Complain of inputs that hold other values after the function ran."""
    names = [name for name, value in inputs.items() if is_mutable(value)]
    flags = answer[CHANGED]
    if flags.shape != (len(names),):
        return "what it was given could not be compared"
    changed = [name for name, flag in zip(names, flags.tolist(), strict=True) if flag]
    if not changed:
        return None
    return (
        f"{' and '.join(changed)} holds other numbers after the call than before: write into "
        "tensors of your own, without +=, sort() or functions that end in _ on what you are given"
    )


# Relative bound on each number, and absolute bound relative to the largest number of the tensor.
# Wide enough for another order of summation, tight enough that a row that is not normalised by
# 1 %, or a scale of √(d + 1) for √d, fails.
TOLERANCES = {
    torch.float64: (1e-9, 1e-9),  # what is float32 on the way shows
    torch.float32: (2e-4, 2e-5),
    torch.float16: (4e-3, 2e-3),
    torch.bfloat16: (2e-2, 1e-2),
}


def wrong_entries(actual: Tensor, expected: Tensor, beside: float = 0.0) -> Tensor:
    """Where `actual` is further from `expected`, the float64 truth, than its dtype explains.

    Both have the same shape. beside: a number of the size that the tensor's usually have, where
    these are so small that they can be rounding alone.
    """
    relative, absolute = TOLERANCES[actual.dtype]
    largest = max(expected.abs().max().item() if expected.numel() else 0.0, beside)
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

"""The kinds of exercises: where the student's code is found, and in which process it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from autograder.exercise import Exercise, Kind
from autograder.kernel_source import kernel_source
from autograder.respond import call

if TYPE_CHECKING:
    # The judge's own process knows kinds, and starts no others.
    from autograder.grading.bounded import Answered
    from autograder.grading.processes import Processes


class Way(Protocol):
    """How one kind is asked. after_cells: when the notebook's cells have run, or before."""

    after_cells: bool

    def code(self, exercise: Exercise, cells: Sequence[str]) -> str:
        """What of the notebook's cells is to run, if it is text; this is found by the judge.

        Raises AnswerError, or NotImplementedError if it is still to be written.
        """

    def is_defined_again(self, exercise: Exercise, below: Sequence[str]) -> bool:
        """Whether the cells below its check may define it anew."""

    def ask(
        self,
        processes: Processes,
        exercise: Exercise,
        code: str,
        cases: bytes,
        as_checked: bool,
    ) -> Answered:
        """The answers to packed cases. Raises NoAnswerError.

        as_checked: of what was defined at the check, which a later cell may have defined anew.
        """


class Kernel:
    """A Triton kernel: its text, and nothing else, runs where none of the notebook's cells has."""

    after_cells = False

    def code(self, exercise: Exercise, cells: Sequence[str]) -> str:
        """The kernel and those that it calls."""
        return kernel_source(cells, exercise.name)

    def is_defined_again(self, exercise: Exercise, below: Sequence[str]) -> bool:
        """Whether one of them does."""
        return any(f"def {exercise.name}(" in text for text in below)

    def ask(
        self,
        processes: Processes,
        exercise: Exercise,
        code: str,
        cases: bytes,
        as_checked: bool,
    ) -> Answered:
        """The answers to packed cases. Raises NoAnswerError."""
        session = processes.without_cells()
        place = session.put(code.encode(), ".py")
        namespace = call("kernels_in", repr(place))
        return session.ask(exercise.name, namespace, cases)


class Function:
    """A function of the notebook, with all that its other cells define."""

    after_cells = True

    def code(self, exercise: Exercise, cells: Sequence[str]) -> str:
        """Nothing: the cells have run."""
        return ""

    def is_defined_again(self, exercise: Exercise, below: Sequence[str]) -> bool:
        """It, or what it calls: the process tells."""
        return True

    def ask(
        self,
        processes: Processes,
        exercise: Exercise,
        code: str,
        cases: bytes,
        as_checked: bool,
    ) -> Answered:
        """The answers to packed cases. Raises NoAnswerError."""
        then = call("as_checked", repr(exercise.name), "globals()")
        namespace = then if as_checked else "globals()"
        return processes.with_cells().ask(exercise.name, namespace, cases)


KINDS: dict[Kind, Way] = {"kernel": Kernel(), "function": Function()}
"""In the order in which they are asked: first those that want a process without cells."""

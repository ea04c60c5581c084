"""The kinds of exercises: where the student's code is found, and in which process it is asked."""

from typing import Protocol

from nbgrader.utils import is_grade

from autograder.exercise import AnswerError, Exercise, Raised
from autograder.grading.bounded import Answered
from autograder.grading.processes import Processes
from autograder.kernel_source import kernel_source


class Kind(Protocol):
    """One kind. after_cells: whether it is asked when the notebook's cells have run, or before."""

    after_cells: bool

    def ask(self, processes: Processes, exercise: Exercise, cases: bytes) -> Answered | Raised:
        """The answers to packed cases, or what they all raise. Raises NoAnswerError."""


class Kernel:
    """A Triton kernel: its text, and nothing else, runs where none of the notebook's cells has."""

    after_cells = False

    def ask(self, processes: Processes, exercise: Exercise, cases: bytes) -> Answered | Raised:
        """The answers to packed cases, or what they all raise. Raises NoAnswerError."""
        cells = [c for c in processes.notebook.cells if c.cell_type == "code" and not is_grade(c)]
        try:
            source = kernel_source([cell.source for cell in cells], exercise.name)
        except (AnswerError, NotImplementedError) as error:
            return Raised(type(error).__name__, str(error))
        session = processes.without_cells()
        place = session.put(source.encode(), ".py")
        namespace = f"__import__('autograder.respond').respond.kernels_in({place!r})"
        return session.ask(exercise.name, namespace, cases)


class Function:
    """A function of the notebook, with all that its other cells define."""

    after_cells = True

    def ask(self, processes: Processes, exercise: Exercise, cases: bytes) -> Answered | Raised:
        """The answers to packed cases. Raises NoAnswerError."""
        return processes.with_cells().ask(exercise.name, "globals()", cases)


KINDS: dict[str, Kind] = {"kernel": Kernel(), "function": Function()}
"""In the order in which they are asked: first those that want a process without cells."""


def kind_of(exercise: Exercise) -> Kind:
    """How the student's code of an exercise is asked."""
    return KINDS["kernel" if exercise.in_triton else "function"]

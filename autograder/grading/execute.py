"""Go through a submission's notebook, have its exercises judged, and write the reports into it."""

import secrets
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade, is_solution
from traitlets import Bool, Integer

from autograder.cells import check_id, exercise_of
from autograder.exercise import Exercise
from autograder.exercises import all_exercises
from autograder.grading import OUTPUT_BYTES, notice
from autograder.grading.bounded import shared_judge
from autograder.grading.kinds import KINDS
from autograder.grading.processes import Processes
from autograder.grading.sandbox import SandboxError, find_bubblewrap
from autograder.grading.session import Session, kernel_specs

Resources = dict[str, Any]

RECORD = "grading"
"""The key in an autograded notebook's metadata under which its grading is recorded."""


class ExecuteAndJudge(Execute):
    """Runs every cell but the test cells, and writes a report into each of those.

    What a test cell earns is decided elsewhere, from tensors that the student's process sends.
    """

    seed = Integer(
        None, allow_none=True, help="Draws the cases; by default a new secret one each time."
    ).tag(config=True)
    without_sandbox = Bool(
        False,
        help="Run students' code as the grader's own, where there is no sandbox. It can then read "
        "and change all that the grader can. Every feedback page says so.",
    ).tag(config=True)
    exercise_seconds = Integer(30, help="Seconds that the cases of one exercise may take.").tag(
        config=True
    )
    notebook_seconds = Integer(
        300, help="Seconds that starting and running the cells of a notebook may take together."
    ).tag(config=True)
    output_bytes = Integer(
        OUTPUT_BYTES,
        help="Bytes that a notebook may show and print. What follows is left out; ten times as "
        "much ends its process.",
    ).tag(config=True)
    answer_bytes = Integer(64_000_000, help="Bytes that the answers of one exercise may have.").tag(
        config=True
    )
    judge_seconds = Integer(
        30, help="Seconds that judging the answers of one exercise may take."
    ).tag(config=True)
    judge_bytes = Integer(2_000_000_000, help="Bytes of memory that judging may take.").tag(
        config=True
    )

    def require_sandbox(self) -> None:
        """Raise SandboxError if students' code cannot be isolated, and has to be."""
        if self.without_sandbox:
            return
        find_bubblewrap()
        known = kernel_specs()
        names = known.find_kernel_specs()
        metadata = (
            known.get_kernel_spec(self.kernel_name).metadata if self.kernel_name in names else {}
        )
        if "kernel_provisioner" not in metadata:
            raise SandboxError(
                f"The kernel {self.kernel_name} has no sandbox. In nbgrader_config.py set "
                "c.ExecuteAndJudge.kernel_name = 'sandbox', or without_sandbox = True."
            )

    def __call__(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        """Run and judge, also with --no-execute: nbgrader would give all points for no report."""
        return self.preprocess(nb, resources)

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        """Run and judge. Raises SandboxError, and RuntimeError if a kernel cannot be started."""
        self.require_sandbox()
        judge = shared_judge(self.judge_bytes)
        # No process that runs a student's cells is told it.
        seed = secrets.randbits(62) if self.seed is None else self.seed
        processes = Processes(nb, lambda: self._session(resources), self.notebook_seconds)
        seconds = {}
        try:
            for kind, way in KINDS.items():
                if way.after_cells:
                    processes.with_cells()
                for cell, exercise in _tests(nb):
                    if exercise.kind != kind:
                        continue
                    start = time.monotonic()
                    place = nb.cells.index(cell)
                    above, below = _texts(nb.cells[:place]), _texts(nb.cells[place:])
                    decide = partial(judge.decide, exercise, seed, seconds=self.judge_seconds)
                    ask = partial(way.ask, processes, exercise)
                    report = decide([*above, *below], partial(ask, as_checked=False))
                    lost = report.points < report.max_points
                    if lost and way.is_defined_again(exercise, below):
                        # What the student was told at the check, if it was better.
                        then = decide(above, partial(ask, as_checked=True))
                        report = max(report, then, key=lambda report: report.points)
                    seconds[exercise.name] = round(time.monotonic() - start, 3)
                    cell.execution_count = None
                    cell.outputs = [new_output("execute_result", report._repr_mimebundle_())]
        finally:
            processes.end()
        nb.metadata[RECORD] = {
            "seed": seed,
            "sandbox": "none" if self.without_sandbox else "bubblewrap",
            "seconds": {
                "start": round(processes.start_seconds, 3),
                "cells": round(processes.cell_seconds, 3),
                "exercises": seconds,
            },
        }
        if self.without_sandbox:
            nb.cells.insert(0, notice("It was graded without a sandbox, as the instructor chose."))
        return nb, resources

    def _session(self, resources: Resources) -> Session:
        """A new session, with the files that lie beside the notebook."""
        key, course = resources["nbgrader"], self.parent.parent.coursedir
        session = Session(self)
        session.copy_in(
            Path(course.format_path(directory, student, key["assignment"]))
            for directory, student in (
                (course.release_directory, "."),
                (course.submitted_directory, key["student"]),
            )
        )
        return session


def _texts(cells: Sequence[NotebookNode]) -> list[str]:
    """What a student's code cells hold."""
    return [cell.source for cell in cells if cell.cell_type == "code" and not is_grade(cell)]


def _tests(nb: NotebookNode) -> Iterator[tuple[NotebookNode, Exercise]]:
    """The test cells with their exercises. Raises ValueError if one has none."""
    for cell in nb.cells:
        if cell.cell_type != "code" or not is_grade(cell) or is_solution(cell):
            continue
        name = exercise_of(cell.metadata.nbgrader.grade_id)
        if name not in all_exercises():
            raise ValueError(
                f"The test cell {check_id(name)} belongs to no exercise in autograder/exercises. "
                "Only those can be judged; let a person grade other cells."
            )
        yield cell, all_exercises()[name]

"""Run a submission in the sandbox, ask its functions for answers, and have them judged."""

import builtins
import json
import math
import secrets
import tempfile
import time
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade, is_solution
from traitlets import Bool, Integer

from autograder.cell_ids import check_id, exercise_of
from autograder.exercise import AnswerError, Case, Exercise, Raised
from autograder.exercises import all_exercises
from autograder.grading import OUTPUT_BYTES, notice
from autograder.grading.provisioner import SandboxProvisioner
from autograder.grading.restore import grade_id
from autograder.grading.run_folder import run_folder
from autograder.grading.sandbox import EXCHANGE, SCRATCH, WORK, SandboxError, find_bubblewrap
from autograder.grading.scratch import Scratch, ScratchError
from autograder.grading.verdict import NoAnswerError, Returned, decide, no_answer
from autograder.grading.watch import Processes, Watch
from autograder.kernel_source import kernel_source
from autograder.report import Report
from autograder.transfer import MalformedError, pack_cases, unpack_answers

Resources = dict[str, Any]

RECORD = "grading"
"""The key in an autograded notebook's metadata under which its grading is recorded."""

_KERNELS = Path(__file__).parent / "kernels"
_ENDED = "The Python process ended while your function ran: your code ended it."


class ExecuteAndJudge(Execute):
    """Runs every cell but the test cells, and writes a report into each of those.

    What a test cell earns is decided in this process, from tensors that the student's process
    sends. Where a cell or a function takes its process down, a new one runs the rest.
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
    output_bytes = Integer(OUTPUT_BYTES, help="Bytes that a notebook may show and print.").tag(
        config=True
    )
    answer_bytes = Integer(64_000_000, help="Bytes that the answers of one exercise may have.").tag(
        config=True
    )

    def require_sandbox(self) -> None:
        """Raise SandboxError if students' code cannot be isolated, and has to be."""
        if not self.without_sandbox:
            find_bubblewrap()

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        """Run and judge. Raises SandboxError, and RuntimeError if a kernel cannot be started."""
        self.require_sandbox()
        NotebookClient.__init__(self, nb)  # as nbconvert does
        self._check_assign_resources(resources)
        self.timeout_func = lambda cell: self._seconds
        self._finished: set[int] = set()
        self._cell_seconds = self._start_seconds = 0.0
        self._asked = 0
        self._drawn: int | None = None
        self._scratch: Scratch | None = None
        self._folder: tempfile.TemporaryDirectory | None = None
        seconds = {}
        try:
            # Kernels first, in a process that none of the student's cells has been in.
            self._judge_tests(nb, seconds, in_triton=True)
            self._end()
            self._begin()
            self._judge_tests(nb, seconds, in_triton=False)
        finally:
            self._end()
        sandbox = "none" if self.without_sandbox else "bubblewrap"
        nb.metadata[RECORD] = {
            "seed": self._drawn,
            "sandbox": sandbox,
            "seconds": {
                "start": round(self._start_seconds, 3),
                "cells": round(self._cell_seconds, 3),
                "exercises": seconds,
            },
        }
        if self.without_sandbox:
            nb.cells.insert(0, notice("It was graded without a sandbox, as the instructor chose."))
        return nb, resources

    # --- The kernel ------------------------------------------------------------------------------

    def create_kernel_manager(self) -> KernelManager:
        """A manager that knows the course's sandboxed kernel, and for no other than that."""
        if self.without_sandbox:
            self.kernel_name = "python3"
        manager = super().create_kernel_manager()
        manager.connection_file = str(run_folder() / f"{secrets.token_hex(8)}.json")
        known = KernelSpecManager()
        known.kernel_dirs.insert(0, str(_KERNELS))
        manager.kernel_spec_manager = known
        provisioner = manager.kernel_spec.metadata.get("kernel_provisioner", {})
        if not self.without_sandbox and not provisioner:
            raise SandboxError(
                f"The kernel {self.kernel_name} has no sandbox. In nbgrader_config.py set "
                "c.ExecuteAndJudge.kernel_name = 'sandbox', or without_sandbox = True."
            )
        return manager

    def _begin(self) -> None:
        """Start a kernel and run all cells; where one takes it down, again without that one."""
        while True:
            self._start()
            self._copy_files()
            try:
                for index, cell in enumerate(self.nb.cells):
                    self.preprocess_cell(cell, self.resources, index)
                for cell in self.nb.cells:
                    if cell.cell_type == "code":
                        cell.outputs = [_sound(output) for output in cell.outputs]
                        if not isinstance(cell.execution_count, int):
                            cell.execution_count = None
                return
            except Exception as error:
                # A student's process can send anything, and nbclient raises what comes of it.
                if self._running is None:
                    raise
                name, why = type(error).__name__, self._why()
                self.log.warning("Cell %d took its kernel down: %s", self._running, name)
                output = new_output("error", ename=name, evalue=why, traceback=[f"{name}: {why}"])
                self.nb.cells[self._running].outputs = [output]
                # It may have spoilt the process in which a later cell was last run.
                self._finished = {index for index in self._finished if index < self._running}
                self._finished.add(self._running)
                self._end()

    def _start(self) -> None:
        """Start a kernel in which nothing has run."""
        start = time.monotonic()
        self.reset_execution_trackers()
        self.km = self.create_kernel_manager()
        self._running: int | None = None
        self._printed: Counter[int] = Counter()
        if self.without_sandbox:
            self._folder = tempfile.TemporaryDirectory(dir=run_folder())
            here = Path(self._folder.name)
            for name in (WORK, EXCHANGE):
                (here / name).mkdir()
        self.start_new_kernel(cwd=str(here / WORK) if self.without_sandbox else None)
        provisioner = self.km.provisioner
        try:
            self.start_new_kernel_client()
        except RuntimeError as error:
            said = "" if self.without_sandbox else provisioner.complaints
            raise RuntimeError(f"The kernel could not be started: {error} {said}") from None
        if self.without_sandbox:
            self._scratch = Scratch(here, str(here))
            processes = Processes(provisioner.process.pid)
            self._watch = Watch(processes, math.inf, math.inf, self.log.warning)
            self._watch.start()
        else:
            self._scratch, self._watch = Scratch(provisioner.scratch, SCRATCH), provisioner.watch
        self._start_seconds += time.monotonic() - start

    def _copy_files(self) -> None:
        """Put the files that lie beside the notebook where it runs."""
        key, course = self.resources["nbgrader"], self.parent.parent.coursedir
        for directory, student in (
            (course.release_directory, "."),
            (course.submitted_directory, key["student"]),
        ):
            folder = Path(course.format_path(directory, student, key["assignment"]))
            try:
                self._scratch.copy_in(folder)
            except OSError as error:
                self.log.warning("The notebook runs without the files beside it: %s", error)

    def _end(self) -> None:
        if self.km is not None:
            self._cleanup_kernel()
            self.km = None
        if self._scratch:
            self._watch.stop()
            self._scratch.close()
            self._scratch = None
        if self._folder:
            self._folder.cleanup()
            self._folder = None

    def _why(self) -> str:
        """Why the kernel was ended, if it was from outside."""
        provisioner = self.km and self.km.provisioner
        reason = isinstance(provisioner, SandboxProvisioner) and provisioner.ended_because
        return f"The Python process was ended: {reason}." if reason else ""

    def preprocess_cell(
        self, cell: NotebookNode, resources: Resources, index: int
    ) -> tuple[NotebookNode, Resources]:
        """Run one cell, unless it is a test cell, is finished, or there is no time left."""
        left = self.notebook_seconds - self._start_seconds - self._cell_seconds
        if index in self._finished or left < 1:
            return cell, resources
        shown = cell
        if is_grade(cell):
            if cell.cell_type != "code" or is_solution(cell):
                return cell, resources
            # What its functions are here may be what the student was told of by the check.
            cell = new_code_cell(_call("remember", exercise_of(cell.metadata.nbgrader.grade_id)))
        self._seconds = int(min(self.timeout or left, left))
        self._running = index
        start = time.monotonic()
        try:
            super().preprocess_cell(cell, resources, index)
            self.nb.cells[index] = shown
            return shown, resources
        finally:
            self._cell_seconds += time.monotonic() - start

    def execute_cell(self, cell: NotebookNode, cell_index: int, **how: Any) -> NotebookNode:
        """Run one cell. Raises DeadKernelError also where it has ended, but printed too much."""
        run = super().execute_cell(cell, cell_index, **how)
        if self._too_much_is_printed():
            raise DeadKernelError("Too much was printed.")
        return run

    def process_message(
        self, msg: dict[str, Any], cell: NotebookNode, cell_index: int
    ) -> NotebookNode | None:
        """Take what a cell shows, until it is too much."""
        self._printed[cell_index] += len(str(msg["content"]))
        if self._too_much_is_printed() and msg["msg_type"] != "status":
            self._running = max(self._printed, key=self._printed.get)
            if isinstance(self.km.provisioner, SandboxProvisioner):
                self.km.provisioner.end(f"it printed more than {self.output_bytes / 1e6:g} MB")
            return None
        return super().process_message(msg, cell, cell_index)

    def _too_much_is_printed(self) -> bool:
        return self._printed.total() > self.output_bytes

    # --- The judge -------------------------------------------------------------------------------

    def _judge_tests(self, nb: NotebookNode, seconds: dict[str, float], in_triton: bool) -> None:
        """Write the reports of the exercises that are, or are not, Triton kernels."""
        for cell in nb.cells:
            if cell.cell_type != "code" or not is_grade(cell) or is_solution(cell):
                continue
            name = exercise_of(cell.metadata.nbgrader.grade_id)
            if name not in all_exercises():
                raise ValueError(
                    f"The test cell {check_id(name)} belongs to no exercise in "
                    "autograder/exercises. Only those can be judged; let a person grade others."
                )
            exercise = all_exercises()[name]
            if (exercise.kind == "kernel") == in_triton:
                start = time.monotonic()
                report = self._judge(exercise)
                seconds[name] = round(time.monotonic() - start, 3)
                cell.execution_count = None
                cell.outputs = [new_output("execute_result", report._repr_mimebundle_())]

    def _judge(self, exercise: Exercise) -> Report:
        """The better report: on what the notebook ends with, and on what there was at the check."""
        # The functions' process may send messages about cells that have been run: to a copy.
        nb, self.nb = self.nb, deepcopy(self.nb)
        ask = self._ask_the_kernel if exercise.kind == "kernel" else self._ask_the_notebook
        try:
            report = decide(exercise, self._seed(), lambda cases: ask(exercise, cases))
            if report.points == report.max_points:
                return report
            try:
                then = decide(exercise, self._seed(), lambda cases: ask(exercise, cases, True))
            except NoAnswerError:
                return report
            return max(report, then, key=lambda report: report.points)
        except NoAnswerError as error:
            return no_answer(exercise, str(error))
        finally:
            self.nb = nb

    def _seed(self) -> int:
        # No process that has run a student's cells is told it.
        if self._drawn is None:
            self._drawn = secrets.randbits(62) if self.seed is None else self.seed
        return self._drawn

    def _ask_the_notebook(
        self, exercise: Exercise, cases: dict[str, Case], as_checked: bool = False
    ) -> Returned:
        if self.km is None:
            self._begin()
        namespace = _call("as_checked", exercise.name) if as_checked else "globals()"
        return self._ask(exercise, namespace, cases)

    def _ask_the_kernel(
        self, exercise: Exercise, cases: dict[str, Case], as_checked: bool = False
    ) -> Returned:
        check = check_id(exercise.name)
        place = next(i for i, cell in enumerate(self.nb.cells) if grade_id(cell) == check)
        above, below = (
            [c.source for c in cells if c.cell_type == "code" and not is_grade(c)]
            for cells in (self.nb.cells[:place], self.nb.cells[place:])
        )
        if as_checked and not any(f"def {exercise.name}(" in text for text in below):
            raise NoAnswerError("It is not defined again after its check.")
        try:
            source = kernel_source(above if as_checked else above + below, exercise.name)
        except (AnswerError, NotImplementedError) as error:
            raised = Raised(type(error).__name__, str(error))
            return Returned(dict.fromkeys(cases, raised), "", cpu_seconds=0.0, seconds=0.0)
        if self.km is None:
            self._start()
        file = f"kernels_{self._asked}.py"
        self._scratch.write(file, source.encode())
        place = repr(self._scratch.path_there(file))
        namespace = f"__import__('autograder.respond').respond.kernels_in({place})"
        return self._ask(exercise, namespace, cases)

    def _ask(self, exercise: Exercise, namespace: str, cases: dict[str, Case]) -> Returned:
        self._asked += 1
        sent, answered = f"{self._asked}.cases", f"{self._asked}.answers"
        places = (self._scratch.path_there(name) for name in (sent, answered))
        arguments = ", ".join([repr(exercise.name), namespace, *map(repr, places)])
        cell = new_code_cell(f"__import__('autograder.respond').respond.respond({arguments})")
        self.reset_execution_trackers()
        self._seconds = self.exercise_seconds
        self._printed = Counter()
        before, start = self._watch.cpu_seconds(), time.monotonic()
        try:
            self._scratch.write(sent, pack_cases(cases))
            self.execute_cell(cell, 0, store_history=False)
            used, took = self._watch.cpu_seconds() - before, time.monotonic() - start
            answers, printed = unpack_answers(self._scratch.read(answered, self.answer_bytes))
        except CellTimeoutError:
            self._end()
            raise NoAnswerError(self._too_long()) from None
        except (ScratchError, MalformedError) as error:
            raise NoAnswerError(self._without_answer(cell, error)) from None
        except Exception as error:
            self.log.warning("%s took its kernel down: %r", exercise.name, error)
            reason = self._why() or _ENDED
            self._end()
            raise NoAnswerError(reason) from None
        return Returned(answers, printed, used, took)

    def _too_long(self) -> str:
        return (
            f"Your function took longer than {self.exercise_seconds} seconds and was stopped. Is "
            "there an endless loop in it, or one that is much too slow?"
        )

    def _without_answer(self, cell: NotebookNode, error: Exception) -> str:
        raised = [output.ename for output in cell.outputs if output.output_type == "error"]
        if CellTimeoutError.__name__ in raised:
            return self._too_long()
        # Its message is not shown: it may be about a secret input.
        known = next((name for name in raised if hasattr(builtins, str(name))), "")
        return f"Your function gave no answer ({known or error})."


def _call(function: str, exercise: str) -> str:
    """An expression that calls a function of autograder.respond on what the notebook defines."""
    return f"__import__('autograder.respond').respond.{function}({exercise!r}, globals())"


def _sound(output: NotebookNode) -> NotebookNode:
    """An output as it is, if it can be written to a notebook."""
    try:
        nbformat.validate(output, ref="output", version=4)
        json.dumps(output, ensure_ascii=False).encode()
    except Exception:
        return new_output("stream", name="stdout", text="[an output that cannot be shown]\n")
    return output

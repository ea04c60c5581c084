"""The processes in which a submission runs: one at a time, each in a sandbox of its own."""

import time
from collections.abc import Callable

from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.utils import is_grade, is_solution

from autograder.cells import exercise_of
from autograder.grading.session import Session, sound


class Processes:
    """Runs the cells of a notebook; where one takes its process down, a new one runs the others.

    start: starts a session. seconds: what starting and running cells may take together.
    """

    def __init__(
        self, notebook: NotebookNode, start: Callable[[], Session], seconds: float
    ) -> None:
        self.notebook = notebook
        self.start_seconds = self.cell_seconds = 0.0
        self._new, self._seconds = start, seconds
        self._session: Session | None = None
        self._have_run = False
        self._skipped: set[int] = set()

    def without_cells(self) -> Session:
        """A session in which none of the student's cells has run."""
        session = self._session
        if session is None or session.ended or self._have_run:
            session = self._start()
        return session

    def with_cells(self) -> Session:
        """A session in which the student's cells have run, but those that ended another."""
        session = self._session
        if session is None or session.ended or not self._have_run:
            session = self._start()
            while not self._run_cells(session):
                session = self._start()
            self._have_run = True
        return session

    def end(self) -> None:
        """End the session, if there is one."""
        if self._session is not None:
            self._session.end()
            self._session, self._have_run = None, False

    def _start(self) -> Session:
        self.end()
        start = time.monotonic()
        self._session = session = self._new()
        self.start_seconds += time.monotonic() - start
        return session

    def _run_cells(self, session: Session) -> bool:
        """Run all cells for which there is time; whether the session has survived them."""
        for index, cell in enumerate(self.notebook.cells):
            left = self._seconds - self.start_seconds - self.cell_seconds
            by_hand = is_grade(cell) and (cell.cell_type != "code" or is_solution(cell))
            if index in self._skipped or by_hand or left < 1:
                continue
            start = time.monotonic()
            try:
                if is_grade(cell):
                    # What is defined here may be what the check told the student of.
                    session.remember(exercise_of(cell.metadata.nbgrader.grade_id), left)
                else:
                    session.run(self.notebook, index, left)
            except Exception as error:
                # A student's process can send anything, and nbclient raises what comes of it.
                self._skip(index, error, session)
                return False
            finally:
                self.cell_seconds += time.monotonic() - start
        for cell in self.notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = [sound(output) for output in cell.outputs]
                if not isinstance(cell.execution_count, int):
                    cell.execution_count = None
        return True

    def _skip(self, index: int, error: Exception, session: Session) -> None:
        name, why = type(error).__name__, session.why
        session.log.warning("Cell %d took its kernel down: %s", index, name)
        output = new_output("error", ename=name, evalue=why, traceback=[f"{name}: {why}"])
        self.notebook.cells[index].outputs = [output]
        # It may have spoilt the process in which a later cell was last run.
        self._skipped = {earlier for earlier in self._skipped if earlier < index} | {index}

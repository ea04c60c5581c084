"""Read what a student handed in, whatever it is."""

import json
from html import escape
from pathlib import Path
from typing import Any, TextIO

from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.api import Assignment, Gradebook, MissingEntry, Notebook
from nbgrader.converters.base import NbGraderException
from nbgrader.utils import remove, rmtree

from autograder.cells import exercise_of
from autograder.exercises import all_exercises
from autograder.grading import notice
from autograder.grading.execute import RECORD, ExecuteAndJudge
from autograder.grading.originals import release_path, released_notebook
from autograder.grading.plain_files import replace_what_is_no_file, set_aside_no_time
from autograder.grading.reading import UnreadableError, read_notebook
from autograder.grading.writing import is_harmless_name

_NAMED, _NAME_LENGTH = 5, 100


class SubmissionExporter(NotebookExporter):
    """Lets a file that is no notebook be graded as the untouched release, and says so in it.

    The file in submitted/ stays as it is. nbgrader makes one exporter for a whole command, before
    it looks at a submission, so this also makes things ready: see `__init__`.
    """

    def __init__(self, **kw: Any) -> None:
        """Make submitted/ and autograded/ ready.

        Raises NbGraderException, before anything is changed, if nothing could be graded: there is
        no sandbox or kernel, no release, or the gradebook knows other exercises than the course.
        """
        super().__init__(**kw)
        try:
            judge = ExecuteAndJudge(config=self.config)
            judge.require_sandbox()
            self._notebooks = self._known_notebooks()
        except Exception as error:
            self.log.error("Nothing is graded, and nothing was changed. %s", error)
            raise NbGraderException(f"{type(error).__name__}: {error}") from error
        for folder, notebooks in list(self.parent.assignments.items()):
            key = self.parent.init_single_notebook_resources(notebooks[0])["nbgrader"]
            if not is_harmless_name(key["student"]):
                self.log.error("%r is not graded: rename the folder as the student.", folder)
                del self.parent.assignments[folder]
                continue
            replace_what_is_no_file(Path(folder), [Path(path).name for path in notebooks])
            set_aside_no_time(Path(folder), self.log)
            self._forget_unfinished(key)

    def _known_notebooks(self) -> set[str]:
        """The files that are graded. Raises NbGraderException if the course cannot grade them."""
        course = self.parent.coursedir
        with Gradebook(course.db_url, course.course_id) as gradebook:
            try:
                assignment = gradebook.find_assignment(course.assignment_id)
            except MissingEntry:
                raise NbGraderException(
                    f"The gradebook does not know {course.assignment_id}: run "
                    f"`nbgrader generate_assignment {course.assignment_id}` first."
                ) from None
            for notebook in assignment.notebooks:
                self._require_gradable(assignment, notebook)
            return {f"{notebook.name}.ipynb" for notebook in assignment.notebooks}

    def _require_gradable(self, assignment: Assignment, notebook: Notebook) -> None:
        path = release_path(self.parent.coursedir, assignment.name, notebook.name)
        again = f"run `nbgrader generate_assignment {assignment.name}`"
        if not path.exists():
            raise NbGraderException(f"{path} is missing: {again}.")
        solutions = {cell.name for cell in notebook.solution_cells}
        for cell in notebook.grade_cells:
            if cell.cell_type != "code" or cell.name in solutions:
                continue
            exercise = all_exercises().get(exercise_of(cell.name))
            if exercise is None:
                raise NbGraderException(
                    f"The test cell {cell.name} belongs to no exercise in autograder/exercises. "
                    "Only those can be judged; let a person grade other cells."
                )
            if exercise.points != cell.max_score:
                raise NbGraderException(
                    f"The gradebook has {cell.max_score:g} points for {cell.name}, the course "
                    f"{exercise.points}: {again}, which keeps all submissions and scores."
                )

    def _forget_unfinished(self, key: dict[str, str]) -> None:
        """Remove what a grading left that was killed: nbgrader would take it for graded."""
        course = self.parent.coursedir
        folder = course.format_path(course.autograded_directory, key["student"], key["assignment"])
        if Path(folder).exists() and not _is_finished(Path(folder)):
            self.log.warning("%s was not finished, and is graded again", folder)
            rmtree(folder)

    def from_file(
        self, file_stream: TextIO, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[str, dict[str, Any]]:
        """Convert the notebook in an open file.

        Where that fails, the automatic scores become 0: none survives a grading that fails.
        """
        key, path = resources["nbgrader"], Path(file_stream.name)
        try:
            self._make_way_for_feedback(key)
            notebook = self._read(file_stream, key)
            if others := self._others_beside(path):
                self.log.warning("%s is graded, and not %s beside it", path, ", ".join(others))
                notebook.cells.insert(0, _say_what_was_graded(path.name, others))
            return self.from_notebook_node(notebook, resources, **kw)
        except Exception:
            self._set_scores_to_0(key)
            raise

    def _read(self, file_stream: TextIO, key: dict[str, str]) -> NotebookNode:
        try:
            return read_notebook(file_stream.buffer)
        except UnreadableError as error:
            self.log.warning("%s cannot be read: %s", file_stream.name, error)
            notebook = released_notebook(self.parent.coursedir, key)
            notebook.cells.insert(0, _say_unreadable(Path(file_stream.name).name, error))
            return notebook

    def _make_way_for_feedback(self, submission: dict[str, str]) -> None:
        """Leave out of autograded/ what a student called as the feedback page will be called.

        It cannot be overwritten: nbgrader copies it to where the page belongs, without permission
        to write. In submitted/ it stays.
        """
        course = self.parent.coursedir
        keys = course.autograded_directory, submission["student"], submission["assignment"]
        page = Path(course.format_path(*keys), f"{submission['notebook']}.html")
        if page.is_dir():
            rmtree(page)
        elif page.exists():
            remove(page)

    def _others_beside(self, path: Path) -> list[str]:
        """The notebooks in a submission that are not graded, by names that can be shown."""
        found = (
            other.relative_to(path.parent)
            for other in sorted(path.parent.rglob("*.ipynb"))
            if ".ipynb_checkpoints" not in other.parts
        )
        others = [_shown(str(other)) for other in found if str(other) not in self._notebooks]
        more = len(others) - _NAMED
        return others if more <= 0 else [*others[:_NAMED], f"{more} more"]

    def _set_scores_to_0(self, key: dict[str, str]) -> None:
        with Gradebook(key["db_url"]) as gradebook:
            submission = gradebook.find_submission_notebook(
                key["notebook"], key["assignment"], key["student"]
            )
            for grade in submission.grades:
                grade.auto_score = 0
            gradebook.db.commit()


def _is_finished(folder: Path) -> bool:
    """Whether each notebook in a folder of autograded/ was graded to its end."""
    try:
        notebooks = [json.loads(path.read_text()) for path in folder.glob("*.ipynb")]
    except ValueError:
        return False
    return bool(notebooks) and all(RECORD in notebook["metadata"] for notebook in notebooks)


def _shown(name: str) -> str:
    """A student's file name as it can stand between backticks."""
    return "".join(c for c in name if c.isprintable() and c != "`")[:_NAME_LENGTH]


def _say_unreadable(name: str, error: UnreadableError) -> NotebookNode:
    return notice(
        f"The file `{name}` that you handed in cannot be read as a notebook: "
        f"{escape(str(error))}. Nothing in it could be graded, so every exercise below has 0 "
        "points. Open your notebook in JupyterLab, save it, check that it opens again, and hand "
        "it in once more."
    )


def _say_what_was_graded(name: str, others: list[str]) -> NotebookNode:
    listed = ", ".join(f"`{escape(other)}`" for other in others)
    return notice(
        f"The file `{name}` is what was graded. What was found beside it was not: {listed}. If "
        f"your work is there, call that file `{name}`, and hand it in once more."
    )

"""A throw-away class: a course, an exchange and students, on whom nbgrader's own commands run."""

import shutil
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import nbformat
from jupyter_core.application import NoStart
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderApp

from autograder.build import COURSE

COURSE_ID = "example_class"


class CommandError(Exception):
    """An nbgrader command failed; the text is what it logged."""


@dataclass(frozen=True)
class Grade:
    """What the gradebook holds on one graded cell of one student."""

    points: float
    max_points: float
    needs_manual_grade: bool


class Classroom:
    """A class in `folder`, with the course's settings and one assignment.

    source: the assignment's source notebook, with solutions. Raises FileExistsError if the folder
    holds a class already.

    course/ is the instructor's, exchange/ what they share, students/NAME/ each student's own.
    The commands are nbgrader's, with its command line, but in this process: starting Python for
    each would take most of the time.
    """

    def __init__(self, folder: Path, assignment: str, source: NotebookNode) -> None:
        self.folder = folder.resolve()
        self.assignment = assignment
        self.course = self.folder / "course"
        if self.course.exists():
            raise FileExistsError(f"{self.course} exists already: name a new or an empty folder")
        place = self.course / "source" / assignment
        place.mkdir(parents=True)
        nbformat.write(source, place / f"{assignment}.ipynb")
        shutil.copy(COURSE / "nbgrader_config.py", self.course)

    # --- The instructor's commands ---------------------------------------------------------------

    def generate_assignment(self) -> str:
        """Make the release from the source notebook."""
        return self._instruct("generate_assignment")

    def release_assignment(self) -> str:
        """Put the release into the exchange."""
        return self._instruct("release_assignment")

    def collect(self) -> str:
        """Take the newest submissions from the exchange."""
        # One user of this machine plays every student, which nbgrader would call cheating.
        return self._instruct("collect", "--update", "--ExchangeCollect.check_owner=False")

    def autograde(self, *options: str) -> str:
        """Grade what is new in submitted/."""
        return self._instruct("autograde", *options)

    def generate_feedback(self) -> str:
        """Make the feedback pages."""
        return self._instruct("generate_feedback")

    def release_feedback(self) -> str:
        """Put the feedback pages into the exchange."""
        return self._instruct("release_feedback")

    def export(self) -> Path:
        """Write the grades to a CSV file; return its path."""
        path = self.course / "grades.csv"
        self._nbgrader(self.course, "export", f"--to={path}")
        return path

    # --- A student's commands --------------------------------------------------------------------

    def fetch(self, student: str) -> Path:
        """Fetch the assignment as a student; return the path of their notebook."""
        self._study("fetch_assignment", student)
        return self.workbook(student)

    def submit(self, student: str) -> str:
        """Hand in a student's folder as it is, unless the notebook is missing in it."""
        return self._study("submit", student, "--strict")

    def fetch_feedback(self, student: str) -> Path:
        """Fetch the feedback as a student; return the path of the newest page."""
        self._study("fetch_feedback", student)
        pages = self.workbook(student).parent.glob(f"feedback/*/{self.assignment}.html")
        return max(pages)

    # --- What there is to see --------------------------------------------------------------------

    @property
    def release(self) -> NotebookNode:
        """The notebook as it is released."""
        name = f"{self.assignment}.ipynb"
        return nbformat.read(self.course / "release" / self.assignment / name, as_version=4)

    def workbook(self, student: str) -> Path:
        """Where a student's notebook lies."""
        return self.folder / "students" / student / self.assignment / f"{self.assignment}.ipynb"

    def feedback_page(self, student: str) -> Path:
        """Where the instructor's copy of a student's feedback lies."""
        return self.course / "feedback" / student / self.assignment / f"{self.assignment}.html"

    def grades(self) -> dict[str, dict[str, Grade]]:
        """The gradebook: by student and grade_id, in the order of the notebook."""
        with Gradebook(f"sqlite:///{self.course / 'gradebook.db'}") as gradebook:
            notebook = gradebook.find_notebook(self.assignment, self.assignment)
            order = [cell.name for cell in notebook.source_cells]
            return {
                submission.student.id: {
                    grade.name: Grade(grade.score, grade.max_score, grade.needs_manual_grade)
                    for grade in sorted(submission.grades, key=lambda g: order.index(g.name))
                }
                for submission in sorted(notebook.submissions, key=lambda s: s.student.id)
            }

    # --- How commands are run --------------------------------------------------------------------

    def _instruct(self, command: str, *options: str) -> str:
        return self._nbgrader(self.course, command, self.assignment, *options)

    def _study(self, command: str, student: str, *options: str) -> str:
        place = self.workbook(student).parent.parent
        place.mkdir(parents=True, exist_ok=True)
        return self._nbgrader(
            place,
            command,
            self.assignment,
            *options,
            f"--student={student}",
            f"--Exchange.cache={self.folder / 'caches' / student}",
        )

    def _nbgrader(self, place: Path, *arguments: str) -> str:
        common = (
            f"--CourseDirectory.course_id={COURSE_ID}",
            f"--Exchange.root={self.folder / 'exchange'}",
        )
        app = NbGraderApp.instance()
        log = StringIO()
        # NoStart: the command itself is a part of the app, and has ended.
        with chdir(place), redirect_stdout(log), redirect_stderr(log), suppress(NoStart):
            try:
                app.initialize([*arguments, *common])
                app.start()
            except SystemExit as stop:
                if stop.code:
                    raise CommandError(
                        f"nbgrader {' '.join(arguments)} failed:\n{log.getvalue()}"
                    ) from None
            finally:
                app.reset()
        return log.getvalue()

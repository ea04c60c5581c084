"""A class with a short notebook, and what can be read from it."""

import atexit
import copy
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from html import unescape
from pathlib import Path
from tempfile import mkdtemp

import nbformat
from nbformat import NotebookNode

from autograder.build import COURSE, source_notebook
from autograder.classroom import COURSE_ID, Classroom, CommandError
from autograder.example_submissions import cell_of, solutions_in, with_answers
from autograder.report import MIMETYPE
from tests.hostile.corpus import EXERCISES, FILE, NOTEBOOK, SOLVED, TOPIC, write_notebook
from tests.journeys.forms import SETUP
from tests.journeys.submissions import WRITTEN

Rows = list[tuple]
Write = Callable[[Path, NotebookNode], None]


@cache
def small_source() -> NotebookNode:
    """A set-up, four exercises with their checks, and the written question of the real source."""
    notebook = source_notebook(COURSE / "source" / NOTEBOOK / f"{NOTEBOOK}.md", TOPIC)
    cell_of(notebook, "setup").source = SETUP  # without what the notebook draws with
    kept = {"setup", WRITTEN, *EXERCISES, *(f"check_{name}" for name in EXERCISES)}
    notebook.cells = [
        cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") in kept
    ]
    return notebook


@cache
def _released() -> Classroom:
    classroom = Classroom(Path(mkdtemp()) / "class", NOTEBOOK, small_source())
    atexit.register(shutil.rmtree, classroom.folder.parent)
    classroom.generate_assignment()
    classroom.release_assignment()
    return classroom


def small_class(folder: Path) -> Classroom:
    """A class in which the short notebook is released."""
    return copy_of(_released(), folder)


def copy_of(classroom: Classroom, folder: Path) -> Classroom:
    """A class as it is, in another folder."""
    copied = copy.copy(classroom)
    shutil.copytree(classroom.folder, folder)
    copied.folder, copied.course = folder, folder / "course"
    return copied


def notebook_with(classroom: Classroom, *solved: str, **answers: str) -> NotebookNode:
    """The release with the solutions of some exercises, and other answers."""
    solutions = solutions_in(small_source())
    return with_answers(classroom.release, {name: solutions[name] for name in solved} | answers)


def inbound(classroom: Classroom) -> Path:
    """The folder of the exchange into which students hand in."""
    return classroom.folder / "exchange" / COURSE_ID / "inbound"


def hand_in(classroom: Classroom, student: str, write: Write = write_notebook) -> None:
    """Hand in as `nbgrader submit` does, with what `write` makes of an honest notebook."""
    time = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")
    put(classroom, inbound(classroom) / f"{student}+{NOTEBOOK}+{time}+0", write, time)


def put_into_submitted(classroom: Classroom, student: str, write: Write) -> None:
    """The same past the exchange, as an instructor may do who got a submission otherwise."""
    put(classroom, submitted(classroom, student).parent, write, "2026-01-01 00:00:00 UTC")


def submitted(classroom: Classroom, student: str) -> Path:
    """A student's notebook when it is collected."""
    return classroom.course / "submitted" / student / NOTEBOOK / FILE


def put(
    classroom: Classroom, place: Path, write: Write = write_notebook, time: str = "2026-01-01"
) -> None:
    """Make a folder with a submission, and with nbgrader's own files beside it."""
    place.mkdir(parents=True)
    (place / "timestamp.txt").write_text(time)
    secret = f"the secret of {place.name}".encode(errors="surrogateescape")
    (place / "submission_secret.txt").write_bytes(secret)
    write(place, notebook_with(classroom, *SOLVED))


def failure_of(command: Callable[..., str], *options: str) -> str:
    """What nbgrader complains of when it runs a command; nothing if it does not."""
    try:
        command(*options)
    except CommandError as error:
        return str(error)
    return ""


def rows_of(classroom: Classroom) -> Rows:
    """All that the gradebook holds on each student's work, without what only numbers its rows."""
    work = "submitted_assignment s JOIN submitted_notebook n ON n.assignment_id = s.id"
    columns = {
        "grade": "auto_score, manual_score, extra_credit, needs_manual_grade",
        "comment": "auto_comment, manual_comment",
    }
    rows = []
    with closing(sqlite3.connect(classroom.course / "gradebook.db")) as gradebook:
        for table, names in columns.items():
            rows += gradebook.execute(
                f"SELECT student_id, timestamp, extension, flagged, late_submission_penalty, name, "
                f"{names} FROM {work} JOIN {table} t "
                "ON t.notebook_id = n.id JOIN base_cell b ON b.id = t.cell_id"
            ).fetchall()
    return sorted(rows, key=repr)


def text_of(html: str) -> str:
    """What a page says, without its markup."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", "", text)).split())


def said_in(path: Path) -> str:
    """What an autograded notebook says beside its code: its text, outputs and reports."""
    said = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            said.append(text_of(cell.source).replace("`", ""))
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            said.append(output.get("text", ""))
            said.append(f"{output.get('ename', '')}: {output.get('evalue', '')}")
            said.append(text_of(data["text/html"]) if MIMETYPE in data else str(data))
    return " ".join(" ".join(said).split())

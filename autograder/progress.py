"""How far a reader has come, read from their own saved notebooks, and the map of the course.

A notebook keeps the report of each check in its outputs. Nothing is run here, and whatever a
reader's folder holds, nothing raises: a notebook that is missing or damaged is said to be so.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from autograder.cells import exercise_of
from autograder.checked import kept_reports
from autograder.registry import PLAN, Notebook
from autograder.report import MIMETYPE, fingerprint

State = Literal["coming", "missing", "damaged", "here"]


@dataclass(frozen=True)
class SavedExercise:
    """One exercise as a saved notebook shows it.

    earned: None where no check was run of the code as it is. changed: one was, of other code.
    place: the id of the cell with its heading.
    """

    name: str
    points: float
    earned: float | None
    place: str
    changed: bool = False

    @property
    def solved(self) -> bool:
        """All points are earned."""
        return self.earned is not None and self.earned >= self.points


@dataclass(frozen=True)
class Progress:
    """One notebook of the course, and what its reader has done.

    state: "coming" is not written yet; "missing" is written but not in the folder; "damaged"
    cannot be read. Only what is "here" has exercises.
    """

    name: str
    title: str
    teaches: str
    state: State
    time: str = ""
    exercises: tuple[SavedExercise, ...] = ()

    @property
    def path(self) -> str:
        """The notebook, from the folder of all notebooks."""
        return f"{self.name}/{self.name}.ipynb"

    @property
    def begun(self) -> bool:
        """Some check was run and saved."""
        return any(e.earned is not None or e.changed for e in self.exercises)

    @property
    def next_exercise(self) -> SavedExercise | None:
        """The first that is not solved."""
        return next((e for e in self.exercises if not e.solved), None)

    @property
    def earned(self) -> float:
        """The points of all checks that were run of the code as it is."""
        return sum(exercise.earned or 0 for exercise in self.exercises)

    @property
    def points(self) -> float:
        """The points of all exercises."""
        return sum(exercise.points for exercise in self.exercises)

    def summary(self) -> str:
        """How far the reader has come, or why that is not known."""
        if self.state == "coming":
            return "to come"
        if self.state == "missing":
            return "not in this folder: run `make lab`, which makes it"
        if self.state == "damaged":
            return "damaged: move the file elsewhere and run `make lab`, which makes a new one"
        if not self.begun:
            return "not begun: no check has been run and saved"
        solved = sum(exercise.solved for exercise in self.exercises)
        number = len(self.exercises)
        text = f"{self.earned:g} of {self.points:g} points, {solved} of {number} exercises solved"
        if changed := [e.name for e in self.exercises if e.changed]:
            text += f"; changed since the check: {', '.join(changed)}"
        return text


def read_progress(folder: Path) -> tuple[Progress, ...]:
    """The progress in every notebook of the course; folder: where the reader's notebooks are."""
    return tuple(_read(folder, notebook) for notebook in PLAN)


def _read(folder: Path, notebook: Notebook) -> Progress:
    name, title, teaches = notebook.name, notebook.heading, notebook.teaches
    path = folder / name / f"{name}.ipynb"
    if not path.exists():
        return Progress(name, title, teaches, "missing" if notebook.you_write else "coming")
    try:
        cells = list(_cells(json.loads(path.read_bytes())))
        text = "\n".join(source for kind, source, _ in cells if kind == "markdown")
        return Progress(
            name,
            _first(r"^# (.+)$", text) or title,
            teaches,
            "here",
            _first(r"^\*\*Time\*\* (.+?)\.(?:\s|$)", text),
            tuple(_exercises(cells, kept_reports(path))),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Progress(name, title, teaches, "damaged")


def _cells(notebook: dict) -> Iterator[tuple[str, str, dict]]:
    """(kind, source, cell) of each cell; the format allows a source in lines."""
    for cell in notebook["cells"]:
        yield cell["cell_type"], "".join(cell["source"]), cell


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1].strip() if found else ""


def _exercises(
    cells: Sequence[tuple[str, str, dict]], kept: Mapping[str, dict]
) -> Iterator[SavedExercise]:
    # kept: what a check in the terminal found. It counts where the notebook holds no such report.
    codes = {fingerprint(source) for kind, source, _ in cells if kind == "code"}
    place = ""
    for kind, source, cell in cells:
        if kind == "markdown" and _first(r"^(#+ )", source):
            place = cell.get("id", "")
        graded = cell["metadata"].get("nbgrader", {})
        if kind == "code" and graded.get("grade"):
            name = exercise_of(graded["grade_id"])
            report = _report(cell["outputs"])
            if not report or report.get("checked") not in codes:
                in_terminal = kept.get(name, {})
                report = in_terminal if in_terminal.get("checked") in codes else report
            checked = report.get("checked") if report else None
            changed = bool(checked) and checked not in codes
            earned = _number(report["points"]) if report and not changed else None
            yield SavedExercise(name, _number(graded["points"]), earned, place, changed)


def _report(outputs: list[dict]) -> dict | None:
    reports = [output["data"][MIMETYPE] for output in outputs if MIMETYPE in output.get("data", {})]
    return reports[-1] if reports else None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{value!r} is no number of points")
    return value


def where_to_go_on(course: Iterable[Progress]) -> tuple[Progress, SavedExercise] | None:
    """The next exercise: of a notebook that was begun, else of the first that has any."""
    unsolved = [(p, p.next_exercise) for p in course if p.next_exercise]
    return next((pair for pair in unsolved if pair[0].begun), next(iter(unsolved), None))


class CourseMap:
    """The map of the course as a notebook shows it; folder: where the reader's notebooks are."""

    def __init__(self, folder: Path = Path()) -> None:
        self.course = read_progress(folder)
        self.made = datetime.now()

    def __repr__(self) -> str:
        return "\n".join(f"{progress.title}: {progress.summary()}" for progress in self.course)

    def _repr_html_(self) -> str:
        head = _line("th", "notebook", "what it teaches", "time", "progress")
        rows = "".join(_row(progress) for progress in self.course)
        return (
            f"<p>{self._advice()}</p><table><thead>{head}</thead><tbody>{rows}</tbody></table>"
            f"<p>As your notebooks were saved at {self.made:%H:%M on %d %B %Y}. Code that was "
            "changed after its check does not count until it is checked again. Written answers are "
            "graded by a person and not counted.</p>"
        )

    def _advice(self) -> str:
        found = where_to_go_on(self.course)
        if found is None:
            return "<strong>Nothing here is left to solve.</strong>"
        progress, exercise = found
        if not progress.begun:
            return f"<strong>Begin with</strong> {_link(progress, progress.title)}."
        link = _link(progress, exercise.name, exercise)
        return f"<strong>Go on with</strong> {link} in {escape(progress.title)}."


def _link(progress: Progress, text: str, exercise: SavedExercise | None = None) -> str:
    place = f"#cell-id={quote(exercise.place)}" if exercise and exercise.place else ""
    return f'<a href="{quote(progress.path)}{place}">{escape(text)}</a>'


def _row(progress: Progress) -> str:
    here = progress.state == "here"
    title = _link(progress, progress.title) if here else escape(progress.title)
    shown = re.sub("`(.+?)`", r"<code>\1</code>", escape(progress.summary()))
    if progress.begun:
        bar = f'value="{progress.earned:g}" max="{progress.points:g}"'
        shown = f"<progress {bar}></progress><br>{shown}"
        if following := progress.next_exercise:
            shown += f"<br>next: {_link(progress, following.name, following)}"
    return _line("td", title, escape(progress.teaches), escape(progress.time), shown)


def _line(tag: str, *cells: str) -> str:
    start = f'<{tag} style="text-align:left;vertical-align:top">'
    return f"<tr>{''.join(f'{start}{cell}</{tag}>' for cell in cells)}</tr>"


def print_progress(folder: Path) -> None:
    """Print the map of the course as a table."""
    table = Table("notebook", "progress", "next", title="The course")
    for progress in read_progress(folder):
        following = progress.next_exercise
        table.add_row(progress.title, progress.summary(), following.name if following else "")
    Console().print(table)

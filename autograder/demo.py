"""The instructor's side in a minute: a class of five, from the release to the feedback."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from autograder.build import COURSE, source_notebook
from autograder.cells import check_id, exercise_of
from autograder.classroom import Classroom, Grade
from autograder.example_submissions import (
    a_mistake_in_each,
    cell_of,
    mistake_source,
    solutions_in,
    with_answers,
)
from autograder.exercises import NOTEBOOKS
from autograder.grading.sandbox import SandboxError, find_bubblewrap

TOPIC = "linear_attention"
_WRITTEN = "Sums can be regrouped: the keys and values are summed once, for all queries."


def example_class(release: NotebookNode, source: NotebookNode) -> dict[str, tuple[str, str]]:
    """Five students: their name, what they did, and the text of the file that they hand in."""
    solutions = solutions_in(source)
    names = list(solutions)
    mistakes = a_mistake_in_each(TOPIC, names)
    written = {
        cell.metadata.nbgrader.grade_id: _WRITTEN
        for cell in release.cells
        if cell.cell_type == "markdown" and cell.metadata.get("nbgrader", {}).get("grade")
    }
    everything = nbformat.writes(with_answers(release, solutions | written))
    half = with_answers(release, {name: solutions[name] for name in names[: len(names) // 2]})
    half.cells.remove(cell_of(half, check_id(names[0])))
    wrong = {name: mistake_source(mistake) for name, mistake in mistakes.items()}
    return {
        "ada": ("solved everything", everything),
        "ben": ("handed in the notebook untouched", nbformat.writes(release)),
        "cleo": ("solved half and deleted a test cell", nbformat.writes(half)),
        "dan": (
            "made a mistake in each exercise",
            nbformat.writes(with_answers(release, wrong)),
        ),
        "eve": ("handed in half of a file", everything[: len(everything) // 2]),
    }


def run_demo(folder: Path | None = None) -> None:
    """Release, hand in, collect, autograde and return five submissions; print the grades.

    folder: where the class is made and stays; a new temporary one by default. Exits with a
    message if there is a class in it already.
    """
    # Its own stream: while nbgrader runs, standard output is collected as its log.
    console = Console(file=sys.stdout)
    folder = folder or Path(tempfile.mkdtemp(prefix="example-class-"))
    name = NOTEBOOKS[TOPIC]
    source = source_notebook(COURSE / "source" / name / f"{name}.md", TOPIC)
    try:
        classroom = Classroom(folder, name, source)
    except FileExistsError as error:
        raise SystemExit(f"error: {error}") from None
    _teach(classroom, source, console)
    console.print(_table(classroom.grades()))
    console.print(
        "Written answers wait for a person: in JupyterLab, formgrader shows them. "
        "The feedback that each student fetched:"
    )
    for student in classroom.grades():
        console.print(f"  {student}: {classroom.feedback_page(student)}", soft_wrap=True)


def _teach(classroom: Classroom, source: NotebookNode, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        bar = progress.add_task("", total=None)

        def step(text: str, command: Callable[..., object], *arguments: str) -> None:
            progress.update(bar, description=text)
            command(*arguments)
            progress.advance(bar)

        step("generate_assignment", classroom.generate_assignment)
        step("release_assignment", classroom.release_assignment)
        students = example_class(classroom.release, source)
        progress.update(bar, total=5 + 4 * len(students))
        for student, (deed, text) in students.items():
            step(f"{student}: fetch_assignment", classroom.fetch, student)
            classroom.workbook(student).write_text(text, encoding="utf-8")
            step(f"{student}: submit", classroom.submit, student)
            console.print(f"{student} {deed}")
        step("collect", classroom.collect)
        options = _options(console)
        for student in students:
            step(f"autograde {student}", classroom.autograde, f"--student={student}", *options)
        step("generate_feedback", classroom.generate_feedback)
        step("release_feedback", classroom.release_feedback)
        for student in students:
            step(f"{student}: fetch_feedback", classroom.fetch_feedback, student)


def _options(console: Console) -> tuple[str, ...]:
    # The example submissions are the course's own: they may run where there is no sandbox.
    try:
        find_bubblewrap()
    except SandboxError as error:
        console.print(f"{error}\nThe example class is graded without a sandbox.", soft_wrap=True)
        return ("--ExecuteAndJudge.without_sandbox=True",)
    return ()


def _table(grades: dict[str, dict[str, Grade]]) -> Table:
    table = Table(title="Grades", show_footer=True)
    table.add_column("exercise", footer="total")
    first = next(iter(grades.values()))
    table.add_column("of", footer=f"{sum(g.max_points for g in first.values()):g}", justify="right")
    for student, own in grades.items():
        total = sum(grade.points for grade in own.values())
        table.add_column(student, footer=f"{total:g}", justify="right")
    for name, grade in first.items():
        row = [
            "to read" if own[name].needs_manual_grade else f"{own[name].points:g}"
            for own in grades.values()
        ]
        table.add_row(exercise_of(name), f"{grade.max_points:g}", *row)
    return table

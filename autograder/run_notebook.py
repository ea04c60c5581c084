"""`autograder check`: run a notebook from top to bottom and print its exercises and points."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from autograder.cells import check_id, exercise_of, grade_id
from autograder.checked import keep_reports
from autograder.exercises import NOTEBOOKS, exercises_of
from autograder.grading import OUTPUT_BYTES, is_notice, text_of_notice
from autograder.grading.reading import UnreadableError, read_notebook
from autograder.grading.restore import Originals, restore
from autograder.report import MIMETYPE

_SECONDS_PER_CELL = 300
_CHECK = re.compile(r"\s*check\((\w+)\)\s*")
_NOT_DEFINED = re.compile(r"name '(\w+)' is not defined")
_FILE_OF_A_CELL = re.compile(r"\(\S+\.py, (line \d+)\)")


class NotebookError(Exception):
    """The notebook cannot be read or run; the text says why and what to do."""


def _read(path: Path) -> NotebookNode:
    """The notebook with the course's own checks in it, as it is graded."""
    try:
        with path.open("rb") as file:
            notebook = read_notebook(file)
    except FileNotFoundError:
        raise NotebookError(f"{path} does not exist") from None
    except (OSError, UnreadableError) as error:
        raise NotebookError(
            f"{path} is not a notebook that can be read: {error}. "
            "Open it in JupyterLab and save it again, or start from the released one."
        ) from None
    notebook.cells = restore(notebook.cells, _checks_of(_topic_of(path, notebook)))
    return notebook


def _topic_of(path: Path, notebook: NotebookNode) -> str:
    """The topic whose checks the notebook has, or whose name, if it has none."""
    names = {exercise_of(grade_id(cell) or "") for cell in notebook.cells}
    names |= {m[1] for cell in notebook.cells if (m := _CHECK.fullmatch(cell.source))}
    found = {topic: len(names & set(exercises_of(topic))) for topic in NOTEBOOKS}
    named = [topic for topic, name in NOTEBOOKS.items() if path.stem.startswith(name)]
    best = max(found, key=lambda topic: found[topic])
    if not found[best] and not named:
        raise NotebookError(
            f"{path} is no notebook of the course: it has no check, and none of their names"
        )
    return best if found[best] else named[0]


def _checks_of(topic: str) -> Originals:
    """The cells of a topic's checks, as nbgrader knows them."""
    checks = {}
    for name, exercise in exercises_of(topic).items():
        cell = new_code_cell(f"check({name})")
        marks: dict[str, Any] = {"grade": True, "locked": True, "solution": False, "task": False}
        marks |= {"grade_id": check_id(name), "points": exercise.points}
        cell.metadata.nbgrader = marks
        checks[check_id(name)] = cell
    return checks


def run_notebook(path: Path, console: Console) -> NotebookNode:
    """Run all cells in a fresh kernel, in the notebook's folder, with a progress bar.

    The checks are the course's own, one for each exercise: what grading would put back is put
    back here. A cell that raises does not stop the others. Raises NotebookError if the file
    cannot be read or the kernel dies.
    """
    notebook = _read(path)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting the kernel", total=len(notebook.cells))

        def show(cell: NotebookNode, cell_index: int) -> None:
            progress.update(task, completed=cell_index, description=f"cell {cell_index + 1}")

        client = NotebookClient(
            notebook,
            timeout=_SECONDS_PER_CELL,
            allow_errors=True,
            on_cell_start=show,
            # ipykernel warns on stderr that local ports are not encrypted.
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            resources={"metadata": {"path": str(path.resolve().parent)}},
        )
        try:
            client.execute()
        except DeadKernelError:
            raise NotebookError("the kernel died: out of memory, or the code ended it") from None
        except CellTimeoutError:
            raise NotebookError(f"a cell ran longer than {_SECONDS_PER_CELL} seconds") from None
    return notebook


def reports(notebook: NotebookNode) -> list[dict[str, Any]]:
    """One entry a graded cell, in order: exercise, points, max_points, and what went wrong."""
    found = []
    for cell in notebook.cells:
        if "nbgrader" not in cell.metadata:
            continue
        results = [o.data[MIMETYPE] for o in cell.outputs if MIMETYPE in o.get("data", {})]
        marks = cell.metadata.nbgrader
        if results:
            found.append(results[-1])
        else:
            note = next(_causes(cell, notebook), "the check printed no report")
            name = exercise_of(marks.grade_id)
            found.append({"exercise": name, "points": 0, "max_points": marks.points, "note": note})
    return found


def _causes(check: NotebookNode, notebook: NotebookNode) -> Iterator[str]:
    """Why a check raised: of a name that is not there, why the cell that should define it did."""
    for error in _errors_of(check):
        missing = _NOT_DEFINED.search(error.evalue)
        if missing:
            defines = re.compile(rf"(\b(def|class|import|as)\s+|^\s*){missing[1]}\b", re.MULTILINE)
            for cell in notebook.cells:
                if cell is not check and defines.search(cell.source):
                    yield from (f"its cell raised {_told(cause)}" for cause in _errors_of(cell))
        yield _told(error)


def _errors_of(cell: NotebookNode) -> list[NotebookNode]:
    return [o for o in cell.get("outputs", []) if o.output_type == "error"]


def _told(error: NotebookNode) -> str:
    said = _FILE_OF_A_CELL.sub(r"(\1)", error.evalue)
    return f"{error.ename}: {said}"


def _remark(result: dict[str, Any]) -> str:
    if result.get("note"):
        return result["note"]
    if result.get("mistake"):
        return f"looks like: {result['mistake']}"
    return next((line["complaint"] for line in result["lines"] if line["complaint"]), "")


def run_and_report(path: Path) -> bool:
    """Run a notebook, print its exercises and points, and say whether all points were earned."""
    console = Console()
    notebook = run_notebook(path, console)
    results = reports(notebook)
    keep_reports(path, results)
    table = Table(title=path.name)
    table.add_column("exercise", no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_column("remark")
    for result in results:
        points = f"{result['points']:g}/{result['max_points']:g}"
        table.add_row(result["exercise"], points, _remark(result))
    table.add_section()
    earned, most = (sum(r[key] for r in results) for key in ("points", "max_points"))
    table.add_row("total", f"{earned:g}/{most:g}", "written answers are graded by a person")
    console.print(table)
    for line in warnings_on(notebook):
        console.print(line)
    return earned == most


def warnings_on(notebook: NotebookNode) -> Iterator[str]:
    """What grading would do to a notebook that has been run, a line each."""
    for cell in notebook.cells:
        if is_notice(cell):
            yield text_of_notice(cell)
    shown = sum(len(str(output)) for cell in notebook.cells for output in cell.get("outputs", []))
    if shown > OUTPUT_BYTES:
        yield (
            f"The notebook shows {shown / 1e6:.0f} MB. Grading takes {OUTPUT_BYTES / 1e6:g} MB; "
            "more can cost points: print and draw less."
        )

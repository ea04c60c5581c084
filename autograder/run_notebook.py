"""`autograder check`: run a notebook from top to bottom and print its exercises and points."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from autograder.report import MIMETYPE

_SECONDS_PER_CELL = 300


class NotebookError(Exception):
    """The notebook cannot be read or run; the text says why and what to do."""


def _read(path: Path) -> NotebookNode:
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except FileNotFoundError:
        raise NotebookError(f"{path} does not exist") from None
    except (OSError, ValueError, nbformat.ValidationError, AttributeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise NotebookError(
            f"{path} is not a notebook that can be read ({reason}). "
            "Open it in JupyterLab and save it again, or start from the released one."
        ) from None
    return notebook


def run_notebook(path: Path, console: Console) -> NotebookNode:
    """Run all cells in a fresh kernel, in the notebook's folder, with a progress bar.

    A cell that raises does not stop the others. Raises NotebookError if the file cannot be read
    or the kernel dies.
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


def reports(notebook: NotebookNode) -> list[dict]:
    """One entry a graded cell, in order: exercise, points, max_points, and what went wrong."""
    found = []
    for cell in notebook.cells:
        graded = cell.metadata.get("nbgrader", {})
        if not graded.get("grade") or cell.cell_type != "code":
            continue
        results = [
            o.data[MIMETYPE] for o in cell.get("outputs", []) if MIMETYPE in o.get("data", {})
        ]
        errors = [
            f"{o.ename}: {o.evalue}" for o in cell.get("outputs", []) if o.output_type == "error"
        ]
        name = graded["grade_id"].removeprefix("check_")
        if results:
            found.append(results[-1])
        else:
            note = errors[-1] if errors else "the check printed no report"
            found.append(
                {"exercise": name, "points": 0, "max_points": graded["points"], "note": note}
            )
    return found


def _remark(result: dict) -> str:
    if result.get("note"):
        return result["note"]
    if result.get("mistake"):
        return f"looks like: {result['mistake']}"
    return next((line["complaint"] for line in result["lines"] if line["complaint"]), "")


def run_and_report(path: Path) -> None:
    """Run a notebook and print a table of its exercises and points."""
    console = Console()
    results = reports(run_notebook(path, console))
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

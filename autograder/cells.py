"""What tells one cell of a notebook from another."""

import hashlib

from nbformat import NotebookNode

_CHECK = "check_"
RELEASED = "released"
"""The field of a reader's notebook's metadata that says which release it was brought up to."""


def grade_id(cell: NotebookNode) -> str | None:
    """The name that nbgrader knows a cell by, if it has one."""
    marks = cell.metadata.get("nbgrader")
    name = marks.get("grade_id") if isinstance(marks, dict) else None
    return name if isinstance(name, str) else None


def check_id(exercise: str) -> str:
    """The id by which nbgrader knows the cell that checks an exercise."""
    return _CHECK + exercise


def exercise_of(grade_id: str) -> str:
    """The exercise that a cell checks; any other cell's id as it is."""
    return grade_id.removeprefix(_CHECK)


def id_by_contents(cell: NotebookNode) -> str:
    """The id that a cell of the course has: from its grade_id, else from its type and text."""
    return _digest(grade_id(cell) or cell.cell_type + cell.source)


def cells_of_the_course(release: NotebookNode) -> list[str]:
    """What the cells of a release are known by: nbgrader's grade_id, or the id."""
    return [grade_id(cell) or cell.id for cell in release.cells]


def finish(notebook: NotebookNode) -> None:
    """Give a built notebook its metadata and ids: the same source gives the same bytes."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    used: set[str] = set()
    for cell in notebook.cells:
        identifier = id_by_contents(cell)
        while identifier in used:
            identifier = _digest(identifier)
        used.add(identifier)
        cell.id = identifier


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]

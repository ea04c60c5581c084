"""Take the answers from a submission, and everything else that is graded from the gradebook."""

from collections.abc import Iterable
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.api import Gradebook, Notebook
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.cells import grade_id
from autograder.grading import notice

Resources = dict[str, Any]


class ResetScores(NbGraderPreprocessor):
    """Sets a submission's automatic scores to 0, so that none survives a grading that fails."""

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        """Reset the scores; the notebook stays as it is."""
        key = resources["nbgrader"]
        with Gradebook(key["db_url"]) as gradebook:
            submission = gradebook.find_submission_notebook(
                key["notebook"], key["assignment"], key["student"]
            )
            for grade in submission.grades:
                grade.auto_score = 0
            gradebook.db.commit()
        return nb, resources


class RestoreOriginals(NbGraderPreprocessor):
    """Rebuilds the cells that nbgrader knows from the gradebook.

    Of the submission stay the text of its solution cells, and the cells that are the student's
    own. Its nbgrader metadata decides nothing but which cell is which.
    """

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        """Restore the graded cells, with a notice above each that was missing or changed."""
        key = resources["nbgrader"]
        with Gradebook(key["db_url"]) as gradebook:
            originals = original_cells(gradebook.find_notebook(key["notebook"], key["assignment"]))
        nb.cells = restore(nb.cells, originals)
        return nb, resources


def original_cells(notebook: Notebook) -> dict[str, NotebookNode]:
    """The cells of the release that nbgrader knows, by grade_id and in the notebook's order."""
    points = {cell.name: cell.max_score for cell in (*notebook.grade_cells, *notebook.task_cells)}
    graded = {cell.name for cell in notebook.grade_cells}
    solutions = {cell.name for cell in notebook.solution_cells}
    tasks = {cell.name for cell in notebook.task_cells}
    originals = {}
    for source in notebook.source_cells:
        name = source.name
        cell = _new_cell(source.cell_type, source.source)
        cell.metadata.nbgrader = {
            "grade_id": name,
            "cell_type": source.cell_type,
            "checksum": source.checksum,
            "grade": name in graded,
            "solution": name in solutions,
            "locked": source.locked,
            "task": name in tasks,
            "schema_version": 3,
        }
        if name in points:
            cell.metadata.nbgrader.points = points[name]
        originals[name] = cell
    return originals


def restore(
    submitted: Iterable[NotebookNode], originals: dict[str, NotebookNode]
) -> list[NotebookNode]:
    """The submitted cells with exactly one of each original, in place or after the one before it.

    Of several copies the last counts; of several answers the last that says something.
    """
    submitted = list(submitted)
    counting = _counting_copies(submitted, originals)
    cells = []
    for index, cell in enumerate(submitted):
        name = grade_id(cell)
        cell.metadata.pop("nbgrader", None)
        if name in originals:
            cell, note = (
                _take(cell, originals[name])
                if counting[name] == index
                else (cell, "is there more than once. This copy is not the one that is graded.")
            )
            if note:
                cells.append(notice(f"The cell `{name}` {note}"))
        cells.append(cell)

    place = 0
    for name, original in originals.items():
        present = next((i for i, cell in enumerate(cells) if grade_id(cell) == name), None)
        if present is not None:
            place = present + 1
            continue
        text = f"The cell `{name}` was missing. It was put back as it was released."
        cells[place:place] = [notice(text), original]
        place += 2
    return cells


def _counting_copies(
    cells: list[NotebookNode], originals: dict[str, NotebookNode]
) -> dict[str, int]:
    ranks: dict[str, tuple[bool, int]] = {}
    for index, cell in enumerate(cells):
        name = grade_id(cell)
        if name in originals:
            original = originals[name]
            answered = not original.metadata.nbgrader.locked and cell.source != original.source
            ranks[name] = max(ranks.get(name, (False, -1)), (answered, index))
    return {name: index for name, (_, index) in ranks.items()}


def _take(cell: NotebookNode, original: NotebookNode) -> tuple[NotebookNode, str]:
    """The submitted cell as the original is, but for its answer; and what was changed, if any."""
    note = ""
    if cell.cell_type != original.cell_type:
        cell = _new_cell(original.cell_type, cell.source)
        note = f"had become another type of cell. It is a {original.cell_type} cell again."
    marks = original.metadata.nbgrader
    if marks.locked and cell.source != original.source:
        cell.source = original.source
        note = "had been changed. It was put back as it was released."
    if marks.grade:
        cell.metadata.pop("tags", None)  # such as one that keeps a cell from being run
    cell.metadata.nbgrader = marks
    return cell, note


def _new_cell(cell_type: str, source: str) -> NotebookNode:
    return new_code_cell(source) if cell_type == "code" else new_markdown_cell(source)

"""What nbgrader's gradebook and the release say of a notebook, and the step that restores it."""

from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.api import Gradebook, Notebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.grading.restore import Originals, restore

Resources = dict[str, Any]


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
        release = released_notebook(self.parent.parent.coursedir, key)
        nb.cells = restore(nb.cells, originals, [cell.source for cell in release.cells])
        return nb, resources


def released_notebook(course: CourseDirectory, key: dict[str, str]) -> NotebookNode:
    """The notebook of a submission as it was released. Raises FileNotFoundError without it."""
    return nbformat.read(release_path(course, key["assignment"], key["notebook"]), as_version=4)


def release_path(course: CourseDirectory, assignment: str, notebook: str) -> Path:
    """Where the release of a notebook lies."""
    return Path(course.format_path(course.release_directory, ".", assignment), f"{notebook}.ipynb")


def original_cells(notebook: Notebook) -> Originals:
    """The cells of the release that nbgrader knows, by grade_id and in the notebook's order."""
    points = {cell.name: cell.max_score for cell in (*notebook.grade_cells, *notebook.task_cells)}
    graded = {cell.name for cell in notebook.grade_cells}
    solutions = {cell.name for cell in notebook.solution_cells}
    tasks = {cell.name for cell in notebook.task_cells}
    originals = {}
    for source in notebook.source_cells:
        name = source.name
        new_cell = new_code_cell if source.cell_type == "code" else new_markdown_cell
        cell = new_cell(source.source)
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

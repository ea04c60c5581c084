"""Make a release only where it can be made: the one before it is deleted first."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.api import Assignment, BaseCell, Gradebook, MissingEntry
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import SaveCells
from nbgrader.utils import is_grade, is_locked, is_solution, is_task

_KINDS: dict[str, Callable[[NotebookNode], bool]] = {
    "grade_cells": is_grade,
    "solution_cells": is_solution,
    "task_cells": is_task,
    "source_cells": lambda cell: any(f(cell) for f in (is_grade, is_solution, is_locked, is_task)),
}
"""The gradebook's lists of a notebook's cells, and which cells nbgrader puts into each."""


class ReleaseExporter(NotebookExporter):
    """Tries everything before nbgrader deletes the release that is there, and fails then."""

    def __init__(self, **kw: Any) -> None:
        """Try to make the release.

        Raises NbGraderException, before anything is changed, if it cannot be made: a source is
        broken, or differs in its graded cells from what has been handed in already.
        """
        super().__init__(**kw)
        try:
            made = {
                Path(path).stem: self._made_of(path)
                for paths in self.parent.assignments.values()
                for path in paths
            }
            self._require_the_cells_of_submissions(made)
        except Exception as error:
            self.log.error("No release is made, and nothing was changed. %s", error)
            raise NbGraderException(str(error)) from error

    def _made_of(self, path: str) -> NotebookNode:
        trial = NotebookExporter(parent=self.parent, config=self.config)
        for preprocessor in self.parent.preprocessors:
            if preprocessor is not SaveCells:
                trial.register_preprocessor(preprocessor)
        resources = self.parent.init_single_notebook_resources(path)
        text, _ = trial.from_filename(path, resources=resources)
        return nbformat.reads(text, as_version=4)

    def _require_the_cells_of_submissions(self, made: dict[str, NotebookNode]) -> None:
        course = self.parent.coursedir
        with Gradebook(course.db_url, course.course_id) as gradebook:
            try:
                assignment = gradebook.find_assignment(course.assignment_id)
            except MissingEntry:
                return
            if assignment.submissions:
                _require_the_same(assignment, made, whole=course.notebook_id == "*")


def _require_the_same(assignment: Assignment, made: dict[str, NotebookNode], whole: bool) -> None:
    known = {notebook.name: notebook for notebook in assignment.notebooks}
    changed = set(made) ^ set(known) if whole else set()
    for name in set(made) & set(known):
        for list_name, is_one in _KINDS.items():
            before = _names_in(getattr(known[name], list_name))
            now = {c.metadata.nbgrader.grade_id for c in made[name].cells if is_one(c)}
            changed |= before ^ now
    if changed:
        raise NbGraderException(
            f"{assignment.name} has been handed in already, and what is graded in it is not the "
            f"same any more: {', '.join(sorted(changed))}. nbgrader cannot add or remove that now. "
            "Put the source back as it was, or release the new one under another name."
        )


def _names_in(cells: Iterable[BaseCell]) -> set[str]:
    return {cell.name for cell in cells}

"""What students hand in: the released notebook with answers, and what can go wrong with it."""

from collections.abc import Callable
from copy import deepcopy

import nbformat
from nbformat import NotebookNode

from autograder.example_submissions import (
    a_mistake_in_each,
    cell_of,
    mistake_source,
    solutions_in,
    with_answers,
)

WRITTEN = "written_associativity"
# Exercises whose checks are quick, from the beginning and the end of the notebook.
QUICK = ("elu_feature_map", "fourier_mixing", "global_filter")


def make_all(release: NotebookNode, source: NotebookNode, topic: str) -> dict[str, bytes]:
    """The file of each student, by a name that says what they did."""
    solutions = solutions_in(source)
    names = list(solutions)
    mistakes = a_mistake_in_each(topic, names)
    quick = with_answers(release, {name: solutions[name] for name in QUICK})
    answered = with_answers(release, solutions | {WRITTEN: "Sums can be regrouped."})
    half = with_answers(release, {name: solutions[name] for name in names[: len(names) // 2]})
    wrong = with_answers(release, {n: mistake_source(m) for n, m in mistakes.items()})
    changed: dict[str, Callable[[NotebookNode], None]] = {
        "copied_cells": copy_cells,
        "deleted_tests": delete_tests,
        "deleted_exercise": delete_exercise,
        "edited_tests": edit_tests,
        "raised_points": raise_points,
        "old_metadata": age_metadata,
        "killed_kernel": kill_kernel,
    }
    notebooks = {"solved": answered, "untouched": release, "half": half, "wrong": wrong}
    notebooks |= {name: altered(quick, change) for name, change in changed.items()}
    files = {name: nbformat.writes(notebook).encode() for name, notebook in notebooks.items()}
    return files | {
        "cut_off": files["solved"][: len(files["solved"]) // 2],
        "no_json": b"I could not save my notebook, sorry.",
        "empty_file": b"",
    }


def altered(notebook: NotebookNode, change: Callable[[NotebookNode], None]) -> NotebookNode:
    """A copy of a notebook, changed."""
    copy = deepcopy(notebook)
    change(copy)
    return copy


def copy_cells(notebook: NotebookNode) -> None:
    """Paste an answer and a test cell once more, as JupyterLab does: with their metadata."""
    for name in ("elu_feature_map", "check_elu_feature_map"):
        cell = cell_of(notebook, name)
        notebook.cells.insert(notebook.cells.index(cell), deepcopy(cell))


def delete_tests(notebook: NotebookNode) -> None:
    """Delete every test cell."""
    notebook.cells = [
        cell
        for cell in notebook.cells
        if not cell.metadata.get("nbgrader", {}).get("grade_id", "").startswith("check_")
    ]


def delete_exercise(notebook: NotebookNode) -> None:
    """Delete the set-up, and an exercise with its test and the exercise after it."""
    for name in ("setup", "elu_feature_map", "check_elu_feature_map", "linear_attention"):
        notebook.cells.remove(cell_of(notebook, name))


def edit_tests(notebook: NotebookNode) -> None:
    """Let test cells give points away, one for a solved and one for an unsolved exercise."""
    for name in ("check_elu_feature_map", "check_linear_attention"):
        cell_of(notebook, name).source = "6"


def raise_points(notebook: NotebookNode) -> None:
    """Let an exercise be worth more, and have its test skipped as if it only measured."""
    cell = cell_of(notebook, "check_elu_feature_map")
    cell.metadata.nbgrader.points = 1000
    cell.metadata.tags = ["measurement"]


def age_metadata(notebook: NotebookNode) -> None:
    """Put nonsense and an old version into nbgrader's own metadata."""
    cell_of(notebook, "elu_feature_map").metadata.nbgrader.schema_version = 1
    cell_of(notebook, "linear_attention").metadata.nbgrader.grade_id = ["a", "list"]
    cell_of(notebook, "setup").metadata.nbgrader = "mine"


def kill_kernel(notebook: NotebookNode) -> None:
    """End the Python process in the middle of a check."""
    cell_of(
        notebook, "fourier_mixing"
    ).source = "def fourier_mixing(x):\n    import os\n    os._exit(1)"

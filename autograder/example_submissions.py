"""Example submissions: a released notebook with answers written into it."""

import inspect
import re
from collections.abc import Mapping
from copy import deepcopy
from types import FunctionType
from typing import Any

from nbformat import NotebookNode

from autograder.extract import BEGIN, END
from solutions.mistakes import Mistake, mistakes_of

_IMPORTS = "import math\n\nimport torch\nimport torch.nn.functional as F\n\n\n"
_KERNEL = "from course.triton_here import tl, triton\n\n\n"


def cell_of(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    """The cell that nbgrader knows as `grade_id`. Raises KeyError if there is none."""
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id:
            return cell
    raise KeyError(f"the notebook has no cell {grade_id!r}")


def solutions_in(source: NotebookNode) -> dict[str, str]:
    """The text of the exercises' cells in a source notebook, by the exercise's name."""
    markers = re.compile(rf"^ *({BEGIN}|{END})\n?", re.MULTILINE)
    return {
        cell.metadata.nbgrader.grade_id: markers.sub("", cell.source)
        for cell in source.cells
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("solution")
    }


def with_answers(release: NotebookNode, answers: Mapping[str, str]) -> NotebookNode:
    """A copy of a released notebook whose cells, by grade_id, hold the answers."""
    notebook = deepcopy(release)
    for grade_id, text in answers.items():
        cell_of(notebook, grade_id).source = text
    return notebook


def a_mistake_in_each(topic: str, exercises: list[str]) -> dict[str, Mistake]:
    """For each exercise its first declared mistake that a notebook's cell can hold."""
    return {
        name: next(m for m in mistakes_of(topic, name) if f"right.{name}(" not in _text(m))
        for name in exercises
    }


def mistake_source(mistake: Mistake) -> str:
    """A declared mistake as the cell of its exercise: other exercises are called by their names."""
    function = _python(mistake)
    module = inspect.getmodule(function)
    helpers = _helpers_of(function, module)
    parts = [inspect.getsource(getattr(module, name)) for name in helpers]
    text = "\n\n".join([*parts, _text(mistake)]).replace("right.", "")
    if function is not mistake.function:
        text = f"{_KERNEL}@triton.jit\n{text}"
    return _IMPORTS + text.replace(f"def {function.__name__}(", f"def {mistake.exercise}(")


def _helpers_of(function: FunctionType, module: Any) -> list[str]:
    """The names of a module's own functions that a function calls, and of those that they call."""
    found: list[str] = []
    waiting = [function]
    while waiting:
        for name in waiting.pop().__code__.co_names:
            helper = getattr(module, name, None) if name.startswith("_") else None
            if isinstance(helper, FunctionType) and name not in found:
                found.append(name)
                waiting.append(helper)
    return found


def _python(mistake: Mistake) -> FunctionType:
    # A Triton kernel tells what it was made of.
    function: Any = mistake.function
    return getattr(function, "fn", function)


def _text(mistake: Mistake) -> str:
    source = inspect.getsource(_python(mistake))
    return source[source.index("def ") :]  # without its decorator

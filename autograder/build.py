"""From the Markdown that people write to the notebooks that students open.

A source is Jupytext Markdown. Its cells may carry one of these attributes:

    ```python exercise="name"    filled with the reference, its body between solution markers
    ```python check="name"       a locked test cell, check(name), with the exercise's points
    ```python spec="name"        filled with a function of course/specifications/<topic>.py
    ```python locked="name"      a locked cell, such as the set-up
    <!-- #region written="name" points=4 -->   a written answer: the text is the model answer
"""

import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from modulefinder import ModuleFinder
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import jupytext
import nbformat
import torch
from nbformat import NotebookNode
from torch import Tensor

from autograder.answers import RECORDED, record, unpack_record
from autograder.cells import check_id, finish
from autograder.exercise import TOLERANCES, wrong_entries
from autograder.exercises import NOTEBOOKS, exercises_of
from autograder.extract import ExtractError, exercise_source, function_source
from autograder.kept import keep, replace
from autograder.registry import COURSE, ROOT, readme_with_tables
from autograder.rescue import is_worked_in

# What the build needs to name and to store files, and not to make them.
_WITHOUT_EFFECT = ["autograder.registry", "autograder.kept", "autograder.rescue"]
# What is compared with the last build; see _state.
_PARTS = ("code", "text", "source", "release", "recorded")
# Whose versions can change what is built.
_TOOLS = ("jupytext", "nbformat", "nbgrader", "torch")
_MARK = re.compile(
    r"^(?:```python|<!-- #region)\b.*?\b(exercise|check|spec|locked|written)=\"([^\"]*)\""
)
# Every set-up cell begins with it: a kernel of another Python says what to do.
_SETUP = """import sys

try:
    import autograder
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        f"The course is not installed in the Python of this kernel, {sys.executable}. "
        "Open the notebook with `make lab`. In VS Code: Select Kernel, Python Environments, "
        ".venv/bin/python of the course's folder. Elsewhere, such as Colab: run "
        "`%pip install FOLDER` with the course's folder, then this cell again."
    ) from None

"""


class SourceError(Exception):
    """A mistake in a source; says the file and the line."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}")


@dataclass(frozen=True)
class _Mark:
    kind: str
    name: str
    line: int


def _marks(text: str) -> list[_Mark]:
    found = ((number, _MARK.match(line)) for number, line in enumerate(text.splitlines(), start=1))
    return [_Mark(match[1], match[2], number) for number, match in found if match]


def _nbgrader(grade_id: str, cell_type: str, points: int | None = None, **kind: bool) -> dict:
    fields: dict[str, Any] = {"grade": False, "locked": False, "solution": False, "task": False}
    fields |= kind
    if points is not None:
        fields["points"] = points
    return {
        "nbgrader": {"cell_type": cell_type, "grade_id": grade_id, "schema_version": 3} | fields
    }


def source_notebook(path: Path, topic: str) -> NotebookNode:
    """The nbgrader source notebook, with solutions, of a Markdown source.

    Raises SourceError, with file and line, for an exercise that is not declared, a check without
    its exercise, a name that is used twice, an exercise that is not used, and missing points.
    """
    text = path.read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="md")
    exercises = exercises_of(topic)
    marks = iter(_marks(text))
    seen: set[tuple[str, str]] = set()
    last_line = len(text.splitlines())

    for cell in notebook.cells:
        kinds = [
            k for k in ("exercise", "check", "spec", "locked", "written") if k in cell.metadata
        ]
        if not kinds:
            cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags"}
            continue
        mark = next(marks)
        kind, name = mark.kind, mark.name
        if (kind, name) in seen:
            raise SourceError(path, mark.line, f'{kind}="{name}" is used twice')
        seen.add((kind, name))
        if kind in ("exercise", "check") and name not in exercises:
            raise SourceError(
                path,
                mark.line,
                f"no exercise is called {name!r} in autograder/exercises/{topic}.py; "
                f"there are {', '.join(exercises)}",
            )
        if kind == "check" and ("exercise", name) not in seen:
            raise SourceError(path, mark.line, f'check="{name}" has no exercise="{name}" before it')
        if kind in ("exercise", "check", "spec") and cell.source.strip():
            raise SourceError(
                path, mark.line, f'{kind}="{name}" is filled by the build: leave it empty'
            )
        try:
            _fill(cell, mark, topic, exercises)
        except (ExtractError, ValueError) as error:
            raise SourceError(path, mark.line, str(error)) from None

    for name in exercises:
        for kind in ("exercise", "check"):
            if (kind, name) not in seen:
                raise SourceError(path, last_line, f'{kind}="{name}" is missing')
    finish(notebook)
    return notebook


def _fill(cell: NotebookNode, mark: _Mark, topic: str, exercises: dict) -> None:
    kind, name = mark.kind, mark.name
    points = cell.metadata.get("points")
    tags = cell.metadata.get("tags")
    if kind == "exercise":
        cell.source = exercise_source(
            import_module(f"solutions.{exercises[name].module}"), name, set(exercises)
        )
        cell.metadata = _nbgrader(name, "code", solution=True)
    elif kind == "check":
        if exercises[name].points <= 0:
            raise ValueError(f"the exercise {name!r} has no points")
        cell.source = f"check({name})"
        cell.metadata = _nbgrader(
            check_id(name), "code", exercises[name].points, grade=True, locked=True
        )
    elif kind == "spec":
        cell.source = function_source(_specifications_with(topic, name), name)
        cell.metadata = {}
    elif kind == "locked":
        if name == "setup":
            cell.source = _SETUP + cell.source
        cell.metadata = _nbgrader(name, cell.cell_type, locked=True)
    else:
        if not isinstance(points, int) or points <= 0:
            raise ValueError(f'written="{name}" needs points, for example points=4')
        cell.metadata = _nbgrader(name, "markdown", points, grade=True, solution=True)
    if tags:
        cell.metadata["tags"] = tags


def _specifications_with(topic: str, name: str) -> ModuleType:
    module = import_module(f"course.specifications.{topic}")
    if not hasattr(module, name) and hasattr(module, "__path__"):
        return import_module(f"{module.__name__}.kernels")
    return module


@contextmanager
def _own_programs_on_path() -> Iterator[None]:
    # nbgrader starts `alembic` by its name, which lies beside this Python.
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def release_notebook(source: NotebookNode, notebook_name: str) -> bytes:
    """What nbgrader's own generate_assignment makes of a source notebook."""
    # nbgrader takes a second to import; nothing else here needs it.
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "source" / notebook_name / f"{notebook_name}.ipynb"
        place.parent.mkdir(parents=True)
        nbformat.write(source, place)
        config = Config()
        config.CourseDirectory.root = folder
        config.CourseDirectory.db_url = f"sqlite:///{folder}/gradebook.db"
        config.NbGrader.logfile = ""
        with _own_programs_on_path():
            result = NbGraderAPI(config=config).generate_assignment(notebook_name)
        if not result["success"]:
            raise RuntimeError(f"nbgrader generate_assignment failed:\n{result.get('log')}")
        made = Path(folder) / "release" / notebook_name / f"{notebook_name}.ipynb"
        return made.read_bytes()


def _digest(*contents: bytes) -> str:
    return hashlib.sha256(b"\0".join(contents)).hexdigest()


def modules_of(topic: str) -> dict[str, Path]:
    """Every module of this project that the notebook and the answers of a topic depend on.

    They are found by the imports in their text, from the topic's own modules and the build.
    """
    finder = ModuleFinder(path=[str(ROOT)], excludes=_WITHOUT_EFFECT)
    finder.import_hook("autograder.build")
    for package in ("autograder.exercises", "solutions", "solutions.mistakes"):
        _import_all(finder, f"{package}.{topic}")
    _import_all(finder, f"course.specifications.{topic}")
    files = {name: getattr(module, "__file__", None) for name, module in finder.modules.items()}
    return {name: Path(file) for name, file in files.items() if file}


def _import_all(finder: ModuleFinder, name: str) -> None:
    finder.import_hook(name)
    for module in iter_modules(getattr(finder.modules[name], "__path__", None) or ()):
        _import_all(finder, f"{name}.{module.name}")


def _state(course: Path, recorded: Path, topic: str) -> dict[str, str]:
    """Digests of what a topic is built from, and of what is built."""
    name = NOTEBOOKS[topic]
    code = [path.read_bytes() for _, path in sorted(modules_of(topic).items())]
    # Of the data in files, what one of the modules names.
    data = sorted((COURSE / "data").glob("*.safetensors"))
    code += [path.read_bytes() for path in data if any(path.name.encode() in c for c in code)]
    code += [version(tool).encode() for tool in _TOOLS]
    files = {
        "text": course / "source" / name / f"{name}.md",
        "source": course / "source" / name / f"{name}.ipynb",
        "release": course / "release" / name / f"{name}.ipynb",
        "recorded": recorded / f"{topic}.safetensors",
    }
    found = {kind: _digest(path.read_bytes()) for kind, path in files.items() if path.exists()}
    return {"code": _digest(*code)} | found


def same_answers(old: bytes, new: bytes) -> bool:
    """Whether two recordings mean the same: their numbers are as close as the judge asks.

    Another processor, or another number of threads, rounds differently.
    """
    (before, about_before), (after, about_after) = unpack_record(old), unpack_record(new)
    same_keys = before.keys() == after.keys() and about_before == about_after
    return same_keys and all(_same(before[name], after[name]) for name in after)


def _same(old: Tensor, new: Tensor) -> bool:
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return False
    if old.dtype not in TOLERANCES:
        return torch.equal(old, new)
    both = old.isfinite() & new.isfinite()
    # Where there is no number, it is the same one: NaN, or an infinity of the same sign.
    odd = torch.equal(old[~both].nan_to_num(nan=0.5), new[~both].nan_to_num(nan=0.5))
    # Cases are of ordinary numbers, beside which smaller ones are rounding.
    return odd and not wrong_entries(new[both], old[both].double(), beside=1.0).any()


def _write(course: Path, path: Path, new: bytes, is_work: Callable[[bytes], bool]) -> list[str]:
    """Write what was built; first keep what was there, if `is_work` takes it for somebody's."""
    old = path.read_bytes() if path.exists() else None
    if old == new:
        return []
    said = []
    if old is not None and is_work(old):
        said.append(f"{path} had been changed: it is kept as {keep(course, path.stem, old)}")
    replace(path, new)
    return [*said, f"built {path}"]


def build(course: Path = COURSE, recorded: Path = RECORDED, force: bool = False) -> list[str]:
    """Build the notebooks and record the answers of each topic whose sources have changed.

    With `force` of all. Says what was done, a line each. What was changed by others since the
    last build is kept in course/kept, and recorded answers are left as they are unless they mean
    something else.
    """
    stamp_path = course / ".build" / "stamp.json"
    stamp = json.loads(stamp_path.read_text()) if stamp_path.exists() else {}
    stamp = {topic: stamp.get(topic, {}) for topic in NOTEBOOKS}
    done = []
    for topic in NOTEBOOKS:
        before, now = stamp[topic], _state(course, recorded, topic)
        changed = {kind for kind in _PARTS if force or before.get(kind) != now.get(kind)}
        said = []
        if changed - {"recorded"}:
            said += _build_notebook(course, topic, before.get("source"))
        if changed & {"code", "recorded"}:
            said += _record(recorded, topic)
        if changed:
            done += said or [f"built {NOTEBOOKS[topic]} again: it is as it was"]
            stamp[topic] = _state(course, recorded, topic)
            replace(stamp_path, json.dumps(stamp, indent=1).encode())
    return done or ["everything is up to date"]


def _build_notebook(course: Path, topic: str, before: str | None) -> list[str]:
    # before: the digest of the source notebook that the last build made.
    name = NOTEBOOKS[topic]
    source = source_notebook(course / "source" / name / f"{name}.md", topic)
    made, released = nbformat.writes(source).encode(), release_notebook(source, name)
    done = _write(
        *(course, course / "source" / name / f"{name}.ipynb", made),
        is_work=lambda old: _digest(old) != before,
    )
    return done + _write(
        *(course, course / "release" / name / f"{name}.ipynb", released), is_work=is_worked_in
    )


def _record(recorded: Path, topic: str) -> list[str]:
    path, new = recorded / f"{topic}.safetensors", record(topic)
    if path.exists() and same_answers(path.read_bytes(), new):
        return []
    replace(path, new)
    return [f"recorded {path}"]


def write_readme(path: Path = ROOT / "README.md") -> list[str]:
    """Bring the README's tables of notebooks up to date."""
    before = path.read_text(encoding="utf-8")
    after = readme_with_tables(before)
    if after == before:
        return []
    replace(path, after.encode())
    return [f"wrote the tables of {path}"]

"""From the Markdown that people write to the notebooks that students open.

A source is Jupytext Markdown. Its cells may carry one of these attributes:

    ```python exercise="name"    filled with the reference, its body between solution markers
    ```python check="name"       a locked test cell, check(name), with the exercise's points
    ```python spec="name"        filled with a function of course/specifications/<topic>.py
    ```python locked="name"      a locked cell, such as the set-up
    <!-- #region written="name" points=4 -->   a written answer: the text is the model answer
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType

import jupytext
import nbformat
import torch
from nbformat import NotebookNode
from nbformat.v4 import new_output

from autograder.answers import RECORDED, record, unpack_record
from autograder.cell_ids import check_id
from autograder.exercises import NOTEBOOKS, exercises_of
from autograder.extract import ExtractError, exercise_source, function_source
from autograder.progress import CourseMap

ROOT = Path(__file__).parent.parent
COURSE = ROOT / "course"
_MARK = re.compile(
    r"^(?:```python|<!-- #region)\b.*?\b(exercise|check|spec|locked|written)=\"([^\"]*)\""
)


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
    fields = {"grade": False, "locked": False, "solution": False, "task": False} | kind
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
    _finish(notebook)
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
        cell.metadata = _nbgrader(name, cell.cell_type, locked=True)
    else:
        if not isinstance(points, int) or points <= 0:
            raise ValueError(f'written="{name}" needs points, for example points=4')
        cell.metadata = _nbgrader(name, "markdown", points, grade=True, solution=True)
    if tags:
        cell.metadata["tags"] = tags


def _specifications_with(topic: str, name: str) -> ModuleType:
    module = f"course.specifications.{topic}"
    kernels = f"{module}.kernels"
    if not hasattr(import_module(module), name) and importlib.util.find_spec(kernels):
        module = kernels
    return import_module(module)


def _finish(notebook: NotebookNode) -> None:
    # The same source gives the same bytes: no tool versions, and cell ids from the contents.
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    used: set[str] = set()
    for cell in notebook.cells:
        text = cell.metadata.get("nbgrader", {}).get("grade_id") or cell.cell_type + cell.source
        identifier = hashlib.sha256(text.encode()).hexdigest()[:8]
        while identifier in used:
            identifier = hashlib.sha256(identifier.encode()).hexdigest()[:8]
        used.add(identifier)
        cell.id = identifier


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


def _inputs_digest() -> str:
    folders = ("course/source", "course/specifications", "solutions", "autograder")
    paths = sorted(p for folder in folders for p in (ROOT / folder).rglob("*"))
    return _digest(*(p.read_bytes() for p in paths if p.suffix in (".md", ".py")))


def _same_answers(old: bytes, new: bytes) -> bool:
    # Another processor may round the last bit differently; that is no reason to record anew.
    (before, about_before), (after, about_after) = unpack_record(old), unpack_record(new)
    return (
        about_before == about_after
        and before.keys() == after.keys()
        and all(
            torch.allclose(
                before[name].double(), after[name].double(), rtol=1e-4, atol=1e-6, equal_nan=True
            )
            for name in after
        )
    )


def _write_release(
    course: Path, name: str, new: bytes, before: str | None, force: bool
) -> list[str]:
    # before: the digest of the release that the last build made.
    release = course / "release" / name / f"{name}.ipynb"
    said = []
    if release.exists() and _digest(release.read_bytes()) not in (_digest(new), before):
        if _digest(new) == before and not force:
            return [f"left {release} as you worked in it"]
        when = datetime.now().strftime("%Y%m%d-%H%M%S")
        # Not in release/, which nbgrader empties when it releases.
        kept = course / "kept" / f"{name}-{when}.ipynb"
        kept.parent.mkdir(exist_ok=True)
        shutil.copy2(release, kept)
        said.append(f"{release.name} had been worked in: your copy is {kept}")
    release.parent.mkdir(parents=True, exist_ok=True)
    release.write_bytes(new)
    return [*said, f"built {release}"]


def build(course: Path = COURSE, recorded: Path = RECORDED, force: bool = False) -> list[str]:
    """Build all notebooks and record the answers; say what was done, a line each.

    Does nothing if no source has changed. A release notebook that somebody has worked in stays as
    it is while the course's own has not changed; otherwise, and with `force`, the work is kept in
    course/kept.
    """
    stamp_path = course / ".build" / "stamp.json"
    stamp = json.loads(stamp_path.read_text()) if stamp_path.exists() else {}
    digest = _inputs_digest()
    outputs = [course / "release" / n / f"{n}.ipynb" for n in NOTEBOOKS.values()]
    outputs += [course / "source" / n / f"{n}.ipynb" for n in NOTEBOOKS.values()]
    outputs += [recorded / f"{topic}.safetensors" for topic in NOTEBOOKS]
    if not force and stamp.get("inputs") == digest and all(p.exists() for p in outputs):
        return ["everything is up to date"]

    done = []
    released: dict[str, str] = {}
    for topic, name in NOTEBOOKS.items():
        source = source_notebook(course / "source" / name / f"{name}.md", topic)
        nbformat.write(source, course / "source" / name / f"{name}.ipynb")

        new = release_notebook(source, name)
        released[name] = _digest(new)
        before = stamp.get("released", {}).get(name)
        done += _write_release(course, name, new, before, force)

        answers = recorded / f"{topic}.safetensors"
        new = record(topic)
        if not answers.exists() or not _same_answers(answers.read_bytes(), new):
            recorded.mkdir(exist_ok=True)
            answers.write_bytes(new)
    stamp_path.parent.mkdir(exist_ok=True)
    stamp_path.write_text(json.dumps({"inputs": digest, "released": released}, indent=1))
    return done


def write_start_page(course: Path = COURSE) -> None:
    """Write release/start.ipynb, which JupyterLab opens on, with the reader's progress in it."""
    notebook = jupytext.read(course / "source" / "start.md")
    _finish(notebook)
    shown = CourseMap(course / "release")
    data = {"text/plain": repr(shown), "text/html": shown._repr_html_()}
    for cell in notebook.cells:
        cell.metadata = {"deletable": False, "editable": False}
        if cell.cell_type == "code":
            cell.outputs = [new_output("execute_result", data)]
    nbformat.write(notebook, course / "release" / "start.ipynb")

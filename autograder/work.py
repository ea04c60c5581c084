"""A reader's copies of the notebooks, course/work: made, and brought up to date.

course/release is git's, and an update of the course changes it; course/work is the reader's, and
git ignores it. Whatever is replaced there is kept in course/kept first.
"""

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_output

from autograder.cells import RELEASED, cells_of_the_course, finish
from autograder.kept import keep, replace
from autograder.progress import CourseMap
from autograder.registry import COURSE, NOTEBOOKS
from autograder.rescue import is_worked_in, move_out_of_release


def update(course: Path = COURSE) -> list[str]:
    """Make what course/work lacks, and carry over what is in it where the course has changed.

    Says what was done, a line each. What cannot be read or written is left as it is, said, and
    does not stop the others.
    """
    said = []
    with _alone(course / "work"):
        steps: list[Callable[[], list[str]]] = [
            partial(move_out_of_release, course),
            *(partial(_update, course, name) for name in NOTEBOOKS.values()),
            partial(write_start_page, course),
        ]
        for step in steps:
            try:
                said += step()
            except OSError as error:
                said.append(f"left {error.filename} as it is: {error.strerror}")
    return said


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    # A second run waits: it must not take for old what a reader has saved since the first.
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- The notebooks -------------------------------------------------------------------------------


def _update(course: Path, name: str) -> list[str]:
    released = course / "release" / name / f"{name}.ipynb"
    path = course / "work" / name / f"{name}.ipynb"
    if not released.exists():
        return [f"{released} is missing: `git checkout course/release`, or `make build`"]
    new = released.read_bytes()
    if is_worked_in(new):
        return []  # nobody's release: move_out_of_release has said so
    digest = hashlib.sha256(new).hexdigest()
    if not path.exists():
        replace(path, _written(_read(new), _read(new), digest))
        return [f"made {path}"]
    old = path.read_bytes()
    if _release_of(old) == digest:
        return []
    return _bring_up_to_date(course, path, old, new, digest)


def _bring_up_to_date(course: Path, path: Path, old: bytes, new: bytes, digest: str) -> list[str]:
    # These take a second to import, and only an update of the course needs them.
    from autograder.carry_over import carried_over, is_untouched

    try:
        work = _read(old)
        merged = _written(carried_over(work, _read(new)), _read(new), digest)
        untouched = is_untouched(work)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return [_damaged(path, error)]
    done = [f"brought {path} up to date"]
    if not untouched:
        done.append(
            f"  your answers are carried over; as it was, it is {keep(course, path.stem, old)}"
        )
    if path.read_bytes() != old:
        return [f"left {path}, which was saved just now: run this again"]
    replace(path, merged)
    return done


def _damaged(path: Path, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
    text = (
        f"left {path}, which is damaged ({reason}): "
        "move it elsewhere, and the next `make lab` makes a new one"
    )
    last = path.parent / ".ipynb_checkpoints" / f"{path.stem}-checkpoint.ipynb"
    return f"{text}. JupyterLab's last checkpoint of it is {last}" if last.exists() else text


def _release_of(content: bytes) -> str:
    """The digest of the release that a notebook was brought up to; empty where it is not said."""
    try:
        return json.loads(content)["metadata"][RELEASED]["digest"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _read(content: bytes) -> NotebookNode:
    notebook = nbformat.reads(content.decode(), as_version=4)
    return nbformat.v4.upgrade(notebook)


def _written(notebook: NotebookNode, release: NotebookNode, digest: str) -> bytes:
    notebook.metadata[RELEASED] = {"digest": digest, "cells": cells_of_the_course(release)}
    return nbformat.writes(notebook).encode()


def write_start_page(course: Path = COURSE) -> list[str]:
    """Write work/start.ipynb, which JupyterLab opens on, with the reader's progress in it."""
    page = jupytext.read(course / "source" / "start.md")
    finish(page)
    shown = CourseMap(course / "work")
    data = {"text/plain": repr(shown), "text/html": shown._repr_html_()}
    for cell in page.cells:
        cell.metadata = {"deletable": False, "editable": False}
        if cell.cell_type == "code":
            cell.outputs = [new_output("execute_result", data)]
    replace(course / "work" / "start.ipynb", nbformat.writes(page).encode())
    return []

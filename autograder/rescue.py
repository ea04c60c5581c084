"""Find what somebody has worked on in course/release, which is the course's, and take it out.

Until the course had course/work, its notebooks were worked in where git keeps them.
"""

import json
import subprocess
from pathlib import Path

from autograder.kept import keep, replace
from autograder.registry import NOTEBOOKS

# What stands in an exercise, and in a written question, until it is answered.
_STUBS = ("raise NotImplementedError()", "YOUR ANSWER HERE")


def move_out_of_release(course: Path) -> list[str]:
    """Move work from course/release to course/work, and put the course's own notebooks back.

    Where there is a notebook in course/work already, the other goes to course/kept. Says what was
    done, a line each.
    """
    said = []
    for name in NOTEBOOKS.values():
        said += _move_notebook(course, name)
    for path in sorted((course / "release").rglob("*.ipynb")):
        place = path.relative_to(course / "release")
        theirs = place.stem in NOTEBOOKS.values() or (course / "source" / place).exists()
        if not theirs and ".ipynb_checkpoints" not in place.parts:
            said += _move_other(course, path, place)
    return said


def _move_notebook(course: Path, name: str) -> list[str]:
    place = f"release/{name}/{name}.ipynb"
    path = course / place
    if not path.exists() or not is_worked_in(path.read_bytes()):
        return []
    # After a merge that stopped, the file holds two versions in one; git has both of them.
    here = path.read_bytes()
    versions = [here, *(_git(course, "show", f":{side}:./{place}") for side in (2, 3))]
    mine = next((v for v in versions if v and _cells(v) and is_worked_in(v)), here)
    target = course / "work" / name / f"{name}.ipynb"
    if target.exists() or not _cells(mine):
        target = keep(course, name, mine)
    else:
        replace(target, mine)
    said = [f"you worked in {path}: your notebook is now {target}"]
    for commit in ("HEAD", "@{upstream}"):
        released = _git(course, "show", f"{commit}:./{place}")
        pristine = released and not is_worked_in(released)
        if pristine and _git(course, "checkout", commit, "--", place) is not None:
            return said
    return [*said, f"{path} is still as you had it: `make build` makes it anew"]


def _move_other(course: Path, path: Path, place: Path) -> list[str]:
    if place.name == "start.ipynb":
        path.unlink()  # a page of the course, written anew at each start
        return []
    target = course / "work" / place
    if target.exists():
        target = keep(course, place.stem, path.read_bytes())
    else:
        replace(target, path.read_bytes())
    path.unlink()
    return [f"moved {path} to {target}"]


def is_worked_in(content: bytes) -> bool:
    """Whether something was run or answered in a released notebook, or it is damaged."""
    cells = _cells(content)
    return not cells or any(
        cell.get("outputs") or cell.get("execution_count") or _is_answered(cell) for cell in cells
    )


def _git(course: Path, *arguments: str) -> bytes | None:
    """What a git command prints; None if it fails, or if there is no git or no clone."""
    try:
        done = subprocess.run(["git", "-C", str(course), *arguments], capture_output=True)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout


def _cells(content: bytes | None) -> list[dict]:
    """The cells of a notebook; none if it is damaged."""
    try:
        cells = json.loads(content or b"")["cells"]
        return cells if all(isinstance(cell["metadata"], dict) for cell in cells) else []
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _is_answered(cell: dict) -> bool:
    marks = cell["metadata"].get("nbgrader")
    source = "".join(cell.get("source", ""))
    answers = isinstance(marks, dict) and marks.get("solution")
    return bool(answers) and not any(stub in source for stub in _STUBS)

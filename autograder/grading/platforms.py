"""Whose work a file is that was downloaded from a learning platform: Moodle's and Canvas's names.

Moodle  Ada Lovelace_1234_assignsubmission_file_/02_linear_attention.ipynb, or in one name
Canvas  lovelaceada_56_789_02_linear_attention.ipynb, with LATE before the numbers if it is;
        what is handed in again is 02_linear_attention-1.ipynb, then -2
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from nbgrader.plugins import FileNameCollectorPlugin
from nbgrader.utils import find_all_notebooks

from autograder.grading.exchange import can_be_a_student

_MOODLE = re.compile(
    r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_(file|onlinetext)_?(?P<rest>.*)"
)
_CANVAS = re.compile(r"(?P<name>[^_]+)(_LATE)?_(?P<number>\d+)_\d+_(?P<rest>.*)")
_AGAIN = re.compile(r"(?P<stem>.+?)(?P<copy>-Copy\d+| ?\(\d+\))?(-(?P<attempt>\d+))?")
"""A file that was copied, or handed in again, by the end of its name."""


@dataclass(frozen=True)
class _Found:
    """A notebook in a download.

    copied: it calls itself a copy. attempt: how often it was handed in before.
    """

    file: Path
    student: str
    number: str
    notebook: str
    copied: bool
    attempt: int


class CollectFromPlatforms(FileNameCollectorPlugin):
    """Knows a student by the platform's names, unless `named_regexp` says how the names are.

    Of several attempts the newest is taken. Two students of the same name are kept apart by the
    platform's number.
    """

    def collect(self, submitted_file: str) -> dict[str, str] | None:
        """Whose file it is, and which notebook; None if it is nobody's, or not the newest."""
        if self.named_regexp:
            return super().collect(submitted_file)
        if not hasattr(self, "_chosen"):
            self._chosen = self._choose()
        path = Path(submitted_file)
        if path.suffix in self.valid_ext and path not in self._chosen:
            self.log.warning(
                "%s is not collected: there is a newer one, or its name is neither Moodle's nor "
                "Canvas's. For other names set FileNameCollectorPlugin.named_regexp.",
                path,
            )
        return self._chosen.get(path)

    def _choose(self) -> dict[Path, dict[str, str]]:
        app = self.parent
        course = app.coursedir
        released = find_all_notebooks(
            course.format_path(course.release_directory, ".", course.assignment_id)
        )
        folder = Path(app._format_collect_path(app.extracted_directory))
        files = [path for path in folder.rglob("*") if path.suffix in self.valid_ext]
        found = found_in(folder, files, {Path(name).stem for name in released})
        return {
            each.file: {"student_id": each.student, "file_id": each.notebook}
            for each in newest(found)
        }


def found_in(folder: Path, files: Iterable[Path], released: set[str]) -> list[_Found]:
    """The files below a folder whose names are a platform's. released: the notebooks' names."""
    found = []
    for file in files:
        parts = file.relative_to(folder).parts
        if file.name.startswith("._") or "__MACOSX" in parts:
            continue  # what macOS adds to an archive
        match = next((m for part in parts if (m := _match(part))), None)
        if match is None or not can_be_a_student(match["name"]):
            continue
        # An archive that was handed in again has the number in its own name.
        of_the_platform = Path(match["rest"]).stem
        stem = of_the_platform if _match(file.name) else file.stem
        again, whole = _AGAIN.fullmatch(stem), _AGAIN.fullmatch(of_the_platform)
        if again is None or stem in released or again["stem"] not in released:
            notebook, copied, attempt = stem, False, whole["attempt"] if whole else None
        else:
            notebook, copied, attempt = again["stem"], bool(again["copy"]), again["attempt"]
        student, number = match["name"], match["number"]
        found.append(_Found(file, student, number, notebook, copied, int(attempt or 0)))
    return found


def newest(found: list[_Found]) -> list[_Found]:
    """Of each student's attempts at a notebook the last, and students that no two people share.

    A copy that lies beside an original stays beside it, under its own name.
    """
    numbers = defaultdict(set)
    for each in found:
        numbers[each.student].add(each.number)
    chosen: dict[tuple[str, str], _Found] = {}
    for each in sorted(found, key=lambda each: (each.copied, -each.attempt, str(each.file))):
        student = each.student
        if len(numbers[student]) > 1:
            student = f"{student}_{each.number}"
        notebook = each.notebook
        if (student, notebook) in chosen and each.copied:
            notebook = f"{notebook}-Copy"
        chosen.setdefault((student, notebook), replace(each, student=student, notebook=notebook))
    return list(chosen.values())


def _match(part: str) -> re.Match[str] | None:
    return _MOODLE.fullmatch(part) or _CANVAS.fullmatch(part)

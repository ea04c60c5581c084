"""Read what a student handed in, whatever it is."""

import json
from html import escape
from pathlib import Path
from typing import Any, TextIO

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.utils import remove, rmtree

from autograder.grading import notice
from autograder.grading.execute import RECORD, ExecuteAndJudge
from autograder.grading.plain_files import (
    replace_what_is_no_file,
    set_aside_no_time,
    was_no_file,
)
from autograder.grading.sandbox import SandboxError
from autograder.grading.writing import is_harmless_name

_MESSAGE_LIMIT = 200
_CHARACTER_LIMIT = 20_000_000
_CELL_LIMIT = 2000


class UnreadableError(Exception):
    """What was handed in is no notebook; the text tells the student why."""


def read_notebook(file: TextIO) -> NotebookNode:
    """The notebook in a file, in the current format. Raises UnreadableError if it holds none."""
    try:
        text = file.read(_CHARACTER_LIMIT + 1)
    except UnicodeDecodeError:
        raise UnreadableError("it is not a text file") from None
    if len(text) > _CHARACTER_LIMIT:
        raise UnreadableError(
            f"it has more than {_CHARACTER_LIMIT / 1e6:g} million characters; clear its outputs"
        )
    if was_no_file(text):
        raise UnreadableError("it was a link, or something else that is no file")
    if not text.strip():
        raise UnreadableError("it is empty")
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise UnreadableError(
            f"it is not JSON, or only a part of it ({error.msg}, line {error.lineno})"
        ) from None
    except RecursionError:
        raise UnreadableError("its JSON is nested too deeply") from None
    except ValueError:
        raise UnreadableError("its JSON holds a number that is too long") from None
    try:
        return _as_notebook(data)
    except UnreadableError:
        raise
    except Exception as error:
        # Any JSON can stand there, and nbformat raises whatever comes of it.
        reason = (str(error).splitlines() or [""])[0][:_MESSAGE_LIMIT]
        raise UnreadableError(
            f"it is JSON, but not a notebook ({type(error).__name__}: {reason})"
        ) from error


def _as_notebook(data: Any) -> NotebookNode:
    # An older format has sheets.
    sheets = [data, *data.get("worksheets", ())]
    if sum(len(sheet.get("cells", ())) for sheet in sheets) > _CELL_LIMIT:
        raise UnreadableError(f"it has more than {_CELL_LIMIT} cells")
    # Most metadata means nothing to grading, and could be anything; outputs are made anew.
    data["metadata"] = {}
    for cell in data.get("cells", ()):
        cell["metadata"] = {k: v for k, v in cell["metadata"].items() if k in ("nbgrader", "tags")}
        if "outputs" in cell:
            cell["outputs"] = []
    notebook = nbformat.convert(nbformat.reader.reads(json.dumps(data)), to_version=4)
    notebook = nbformat.v4.upgrade(notebook)
    _, notebook = nbformat.validator.normalize(notebook)
    nbformat.validate(notebook, relax_add_props=True)
    notebook = nbformat.from_dict(notebook)
    nbformat.writes(notebook).encode()  # half of a surrogate pair can be read, but not written
    return notebook


class SubmissionExporter(NotebookExporter):
    """Lets a file that is no notebook be graded as the untouched release, and says so in it.

    The file in submitted/ stays as it is. nbgrader makes one exporter for a whole command, before
    it looks at a submission, so this also makes things ready: see `__init__`.
    """

    def __init__(self, **kw: Any) -> None:
        """Make submitted/ and autograded/ ready. Raises SandboxError if there is no sandbox."""
        super().__init__(**kw)
        try:
            ExecuteAndJudge(config=self.config).require_sandbox()
        except SandboxError as error:
            self.log.error("Nothing is graded. %s", error)
            raise
        for folder, notebooks in list(self.parent.assignments.items()):
            key = self.parent.init_single_notebook_resources(notebooks[0])["nbgrader"]
            if not is_harmless_name(key["student"]):
                self.log.error("%r is not graded: rename the folder as the student.", folder)
                del self.parent.assignments[folder]
                continue
            replace_what_is_no_file(Path(folder), [Path(path).name for path in notebooks])
            set_aside_no_time(Path(folder), self.log)
            self._forget_unfinished(key)

    def _forget_unfinished(self, key: dict[str, str]) -> None:
        """Remove what a grading left that was killed: nbgrader would take it for graded."""
        course = self.parent.coursedir
        folder = course.format_path(course.autograded_directory, key["student"], key["assignment"])
        if Path(folder).exists() and not _is_finished(Path(folder)):
            self.log.warning("%s was not finished, and is graded again", folder)
            rmtree(folder)

    def from_file(
        self, file_stream: TextIO, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[str, dict[str, Any]]:
        """Convert the notebook in an open file."""
        self._make_way_for_feedback(resources["nbgrader"])
        try:
            notebook = read_notebook(file_stream)
        except UnreadableError as error:
            self.log.warning("%s cannot be read: %s", file_stream.name, error)
            notebook = self._untouched(resources["nbgrader"])
            notebook.cells.insert(0, _say_unreadable(Path(file_stream.name).name, error))
        return self.from_notebook_node(notebook, resources, **kw)

    def _make_way_for_feedback(self, submission: dict[str, str]) -> None:
        """Leave out of autograded/ what a student called as the feedback page will be called.

        It cannot be overwritten: nbgrader copies it to where the page belongs, without permission
        to write. In submitted/ it stays.
        """
        course = self.parent.coursedir
        keys = course.autograded_directory, submission["student"], submission["assignment"]
        page = Path(course.format_path(*keys), f"{submission['notebook']}.html")
        if page.is_dir():
            rmtree(page)
        elif page.exists():
            remove(page)

    def _untouched(self, submission: dict[str, str]) -> NotebookNode:
        course = self.parent.coursedir
        folder = course.format_path(course.release_directory, ".", submission["assignment"])
        return nbformat.read(Path(folder) / f"{submission['notebook']}.ipynb", as_version=4)


def _is_finished(folder: Path) -> bool:
    """Whether each notebook in a folder of autograded/ was graded to its end."""
    try:
        notebooks = [json.loads(path.read_text()) for path in folder.glob("*.ipynb")]
    except ValueError:
        return False
    return bool(notebooks) and all(RECORD in notebook["metadata"] for notebook in notebooks)


def _say_unreadable(name: str, error: UnreadableError) -> NotebookNode:
    return notice(
        f"The file `{name}` that you handed in cannot be read as a notebook: "
        f"{escape(str(error))}. Nothing in it could be graded, so every exercise below has 0 "
        "points. Open your notebook in JupyterLab, save it, check that it opens again, and hand "
        "it in once more."
    )

"""Read what a student handed in, whatever it is."""

import json
from html import escape
from pathlib import Path
from typing import Any, TextIO

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode

from autograder.grading import notice

_MESSAGE_LIMIT = 200


class UnreadableError(Exception):
    """What was handed in is no notebook; the text tells the student why."""


def read_notebook(file: TextIO) -> NotebookNode:
    """The notebook in a file, in the current format. Raises UnreadableError if it holds none."""
    try:
        text = file.read()
    except UnicodeDecodeError:
        raise UnreadableError("it is not a text file") from None
    if not text.strip():
        raise UnreadableError("it is empty")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise UnreadableError(
            f"it is not JSON, or only a part of it ({error.msg}, line {error.lineno})"
        ) from None
    except RecursionError:
        raise UnreadableError("its JSON is nested too deeply") from None
    try:
        return _as_notebook(text)
    except Exception as error:
        # Any JSON can stand there, and nbformat raises whatever comes of it.
        reason = (str(error).splitlines() or [""])[0][:_MESSAGE_LIMIT]
        raise UnreadableError(
            f"it is JSON, but not a notebook ({type(error).__name__}: {reason})"
        ) from error


def _as_notebook(text: str) -> NotebookNode:
    notebook = nbformat.convert(nbformat.reader.reads(text), to_version=4)
    notebook = nbformat.v4.upgrade(notebook)
    _, notebook = nbformat.validator.normalize(notebook)
    nbformat.validate(notebook, relax_add_props=True)
    # The rest of a notebook's metadata means nothing to grading, and could be anything.
    kept = ("kernelspec", "language_info")
    notebook.metadata = {k: v for k, v in notebook.metadata.items() if k in kept}
    notebook = nbformat.from_dict(notebook)
    nbformat.writes(notebook).encode()  # half of a surrogate pair can be read, but not written
    return notebook


class SubmissionExporter(NotebookExporter):
    """Lets a file that is no notebook be graded as the untouched release, and says so in it.

    The file in submitted/ stays as it is.
    """

    def from_file(
        self, file_stream: TextIO, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[str, dict[str, Any]]:
        """Convert the notebook in an open file."""
        try:
            notebook = read_notebook(file_stream)
        except UnreadableError as error:
            self.log.warning("%s cannot be read: %s", file_stream.name, error)
            notebook = self._untouched(resources["nbgrader"])
            notebook.cells.insert(0, _say_unreadable(Path(file_stream.name).name, error))
        return self.from_notebook_node(notebook, resources, **kw)

    def _untouched(self, submission: dict[str, str]) -> NotebookNode:
        course = self.parent.coursedir
        folder = course.format_path(course.release_directory, ".", submission["assignment"])
        return nbformat.read(Path(folder) / f"{submission['notebook']}.ipynb", as_version=4)


def _say_unreadable(name: str, error: UnreadableError) -> NotebookNode:
    return notice(
        f"The file `{name}` that you handed in cannot be read as a notebook: "
        f"{escape(str(error))}. Nothing in it could be graded, so every exercise below has 0 "
        "points. Open your notebook in JupyterLab, save it, check that it opens again, and hand "
        "it in once more."
    )

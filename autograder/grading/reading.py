"""Read a notebook from a file, whatever its format and its flaws.

What counts in a notebook is the text of its cells, their order, and which cells are nbgrader's.
Where Jupyter opens a file, that can be read; all else is made anew, so that no flaw of it matters.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from autograder.grading.plain_files import was_no_file

_CHARACTER_LIMIT = 20_000_000
_BYTE_LIMIT = 4 * _CHARACTER_LIMIT
_CELL_LIMIT = 2000
_MESSAGE_LIMIT = 200
_NEW = {"code": new_code_cell, "markdown": new_markdown_cell}
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class UnreadableError(Exception):
    """What a file holds is no notebook; the text says why."""


def read_notebook(file: BinaryIO) -> NotebookNode:
    """The notebook in a file, in the current format and without outputs.

    Of metadata it keeps nbgrader's and tags. Raises UnreadableError if there is no notebook.
    """
    return _as_notebook(_parsed(file.read(_BYTE_LIMIT + 1)))


def _parsed(data: bytes) -> Any:
    if len(data) > _BYTE_LIMIT:
        raise UnreadableError(_too_large())
    try:
        text = data.decode(json.detect_encoding(data), "surrogatepass").removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise UnreadableError("it is not a text file") from None
    if len(text) > _CHARACTER_LIMIT:
        raise UnreadableError(_too_large())
    if was_no_file(text):
        raise UnreadableError("it was a link, or something else that is no file")
    if not text.strip():
        raise UnreadableError("it is empty")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UnreadableError(
            f"it is not JSON, or only a part of it ({error.msg}, line {error.lineno})"
        ) from None
    except RecursionError:
        raise UnreadableError("its JSON is nested too deeply") from None
    except ValueError:
        raise UnreadableError("its JSON holds a number that is too long") from None


def _too_large() -> str:
    return f"it has more than {_CHARACTER_LIMIT / 1e6:g} million characters; clear its outputs"


def _as_notebook(data: Any) -> NotebookNode:
    if not isinstance(data, dict) or not {"cells", "worksheets"} & set(data):
        raise UnreadableError("it is JSON, but not a notebook: it has no list of cells")
    version = data.get("nbformat")
    if isinstance(version, int) and version > nbformat.current_nbformat:
        raise UnreadableError(
            f"it is JSON, but not a notebook that can be read yet: its format is {version}, the "
            f"newest known is {nbformat.current_nbformat}"
        )
    cells = data.get("cells")
    if not isinstance(cells, list):
        cells = _cells_of_an_older_format(data)
    if len(cells) > _CELL_LIMIT:
        raise UnreadableError(f"it has more than {_CELL_LIMIT} cells")
    notebook = new_notebook(cells=list(_made_anew(cells)))
    nbformat.validate(notebook)
    return notebook


def _cells_of_an_older_format(data: dict[str, Any]) -> list[Any]:
    # Before format 4 the cells lay in sheets, and had other fields.
    try:
        sheets = [
            {"cells": [_for_upgrade(cell) for cell in sheet["cells"] if isinstance(cell, dict)]}
            for sheet in data["worksheets"]
        ]
        if sum(len(sheet["cells"]) for sheet in sheets) > _CELL_LIMIT:
            raise UnreadableError(f"it has more than {_CELL_LIMIT} cells")
        old = {"nbformat": data["nbformat"], "nbformat_minor": 0, "metadata": {}}
        read = nbformat.reader.reads(json.dumps(old | {"worksheets": sheets}))
        return nbformat.convert(read, to_version=nbformat.current_nbformat).cells
    except UnreadableError:
        raise
    except Exception as error:
        # Any JSON can stand there, and nbformat raises whatever comes of it.
        reason = (str(error).splitlines() or [""])[0][:_MESSAGE_LIMIT]
        raise UnreadableError(
            f"it is JSON, but not a notebook ({type(error).__name__}: {reason})"
        ) from None


def _for_upgrade(cell: dict[str, Any]) -> dict[str, Any]:
    return cell | {"metadata": _dict(cell.get("metadata")), "outputs": []}


def _made_anew(cells: list[Any]) -> Iterator[NotebookNode]:
    used: set[str] = set()
    for given in cells:
        if not isinstance(given, dict):
            continue
        kind = given.get("cell_type")
        cell = (_NEW.get(kind) if isinstance(kind, str) else None) or new_raw_cell
        cell = cell(_text(given.get("source")), metadata=_metadata(_dict(given.get("metadata"))))
        name = given.get("id")
        if isinstance(name, str) and _ID.fullmatch(name) and name not in used:
            cell.id = name
        used.add(cell.id)
        pasted = _attachments(_dict(given.get("attachments")))
        if pasted and cell.cell_type != "code":
            cell.attachments = pasted
        yield cell


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    """A source as one text, whose lines end as Python's do."""
    lines = value if isinstance(value, list) else [value]
    text = "".join(line for line in lines if isinstance(line, str))
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    # Half of a surrogate pair can be read, but not written.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _metadata(given: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    marks = _dict(given.get("nbgrader"))
    if marks:
        plain = ((k, v) for k, v in marks.items() if isinstance(v, str | int | float))
        kept["nbgrader"] = {_text(k): _text(v) if isinstance(v, str) else v for k, v in plain}
    tags = given.get("tags")
    if isinstance(tags, list):
        texts = dict.fromkeys(_text(tag) for tag in tags if isinstance(tag, str))
        kept["tags"] = [tag for tag in texts if tag and "," not in tag]
    return kept


def _attachments(given: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {
        _text(name): {_text(kind): _text(content) for kind, content in bundle.items()}
        for name, bundle in given.items()
        if isinstance(bundle, dict)
    }

"""What Jupyter opens is read, whatever its format and its flaws, and what is no notebook is not."""

import io
import json
from collections.abc import Callable
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.grading.reading import UnreadableError, read_notebook

Data = dict[str, Any]


def written(**changes: object) -> str:
    return json.dumps(new_notebook(cells=[new_code_cell("1")]) | changes)


def read(data: bytes | str) -> nbformat.NotebookNode:
    return read_notebook(io.BytesIO(data.encode() if isinstance(data, str) else data))


NO_NOTEBOOKS = {
    "empty": (b"", "it is empty"),
    "blank": (b" \n ", "it is empty"),
    "binary": (b"\x89PNG\r\n\x1a\n\xff\xfe", "it is not a text file"),
    "a script": (b"import torch", "it is not JSON"),
    "cut off": (written().encode()[:-20], "only a part of it"),
    "a comma too many": (written().encode()[:-1] + b",}", "it is not JSON"),
    "a conflict of git": (b"<<<<<<< HEAD\n" + written().encode(), "it is not JSON"),
    "a long number": (b'{"x": ' + b"9" * 10_000 + b"}", "number that is too long"),
    "too deep": (b"[" * 100_000, "nested too deeply"),
    "a list": (b"[]", "not a notebook"),
    "an empty object": (b"{}", "it has no list of cells"),
    "a string": (b'"cells"', "not a notebook"),
    "a future format": (written(nbformat=7).encode(), "its format is 7"),
    "cells that are no list": (written(cells=3).encode(), "not a notebook"),
    "sheets that are no list": (b'{"nbformat": 3, "worksheets": 3}', "not a notebook"),
    "too many cells": (written(cells=[{}] * 2001).encode(), "more than 2000 cells"),
}


@pytest.mark.parametrize(("content", "reason"), NO_NOTEBOOKS.values(), ids=NO_NOTEBOOKS)
def test_what_is_no_notebook_is_refused_with_the_reason(content, reason):
    with pytest.raises(UnreadableError, match=reason):
        read(content)


def test_a_notebook_that_is_too_large_is_refused():
    with pytest.raises(UnreadableError, match="million characters"):
        read(written() + " " * 20_000_000)


# --- Flaws ---------------------------------------------------------------------------------------


def whole() -> Data:
    """A notebook of three cells, as JSON."""
    marks = {"grade_id": "one", "grade": False, "solution": True, "locked": False}
    code = new_code_cell("def one():\n    return 1", metadata={"nbgrader": marks, "tags": ["a"]})
    cells = [new_markdown_cell("# One"), code, new_code_cell("one()")]
    return json.loads(json.dumps(new_notebook(cells=cells)))


def in_each_cell(change: Callable[[Data], object]) -> Callable[[Data], None]:
    def change_all(data: Data) -> None:
        for cell in data["cells"]:
            change(cell)

    return change_all


def setting(**values: object) -> Callable[[Data], None]:
    return in_each_cell(lambda cell: cell.update(values))


def dropping(*keys: str) -> Callable[[Data], None]:
    return in_each_cell(lambda cell: [cell.pop(key, None) for key in keys])


def split_sources(cell: Data) -> None:
    cell["source"] = cell["source"].splitlines(keepends=True)


def with_other_ends(cell: Data) -> None:
    cell["source"] = cell["source"].replace("\n", "\r\n") + "\r\n"


def with_metadata(**values: object) -> Callable[[Data], None]:
    return in_each_cell(lambda cell: cell["metadata"].update(values))


def in_the_code(**values: object) -> Callable[[Data], None]:
    return lambda data: [cell.update(values) for cell in data["cells"][1:]]


def of_format(minor: int) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        data["nbformat_minor"] = minor
        dropping("id")(data)

    return change


OUTPUT = {"output_type": "execute_result", "data": {"text/plain": "1"}, "metadata": {}}
FLAWS: dict[str, Callable[[Data], object]] = {
    "no flaw": lambda data: None,
    # ids
    "an empty id": setting(id=""),
    "a long id": setting(id="a" * 65),
    "an odd id": setting(id="cell 1/ä"),
    "an id that is a number": setting(id=7),
    "an id that is null": setting(id=None),
    "one id for all": setting(id="same"),
    "no ids in format 4.5": dropping("id"),
    "ids in format 4.4": lambda data: data.update(nbformat_minor=4),
    "ids in format 4.2": lambda data: data.update(nbformat_minor=2),
    # what a cell must have
    "no execution_count": dropping("execution_count"),
    "no outputs": dropping("outputs"),
    "outputs that are null": in_the_code(outputs=None),
    "outputs that are no list": in_the_code(outputs={"a": 1}),
    "an output without its fields": in_the_code(outputs=[{}, None, {"output_type": "stream"}]),
    "an output of an unknown type": in_the_code(outputs=[OUTPUT | {"output_type": "video"}]),
    "an output without a count": in_the_code(outputs=[OUTPUT]),
    "an execution_count that is a text": in_the_code(execution_count="*"),
    "an execution_count that is huge": in_the_code(execution_count=10**4000),
    "code with attachments": in_the_code(attachments={"a.png": 7}),
    "text with outputs": lambda data: data["cells"][0].update(outputs=[], execution_count=None),
    "no metadata in a text": lambda data: data["cells"][0].pop("metadata"),
    "metadata that are null": lambda data: data["cells"][0].update(metadata=None),
    "metadata that are a list": lambda data: data["cells"][0].update(metadata=[]),
    "unknown keys": setting(kernel="python", collapsed=7),
    # tags and other metadata
    "a tag twice": with_metadata(tags=["a", "a"]),
    "a tag with a comma": with_metadata(tags=["a,b", "a"]),
    "a tag that is empty": with_metadata(tags=["", "a"]),
    "tags that are one text": with_metadata(tags="a"),
    "NaN in the metadata": with_metadata(score=float("nan"), least=float("-inf")),
    "metadata of the wrong types": with_metadata(scrolled=7, collapsed="no", name=3, format=1),
    "nested metadata": with_metadata(colab={"a": {"b": [None]}}, jupyter=[]),
    # sources
    "sources in lines": in_each_cell(split_sources),
    "other ends of lines": in_each_cell(with_other_ends),
    "null among the lines": lambda data: data["cells"][0].update(source=["# One", None, 7]),
    # the notebook
    "no minor format": lambda data: data.pop("nbformat_minor"),
    "a minor format that is null": lambda data: data.update(nbformat_minor=None),
    "a minor format of the future": lambda data: data.update(nbformat_minor=99),
    "no format": lambda data: data.pop("nbformat"),
    "a format that is a text": lambda data: data.update(nbformat="4"),
    "an older format than it has": lambda data: data.update(nbformat=3),
    "no metadata": lambda data: data.pop("metadata"),
    "metadata of a notebook that are null": lambda data: data.update(metadata=None),
    "a kernel without a name": lambda data: data.update(metadata={"kernelspec": {}}),
    "a language that is a number": lambda data: data.update(metadata={"language_info": 7}),
    "widgets": lambda data: data.update(metadata={"widgets": []}),
    "unknown keys of a notebook": lambda data: data.update(signature="x", worksheets=[]),
    "cells that are none": lambda data: data["cells"].extend([None, 7, "text", []]),
} | {f"format 4.{minor}": of_format(minor) for minor in range(5)}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_of_the_format_loses_no_cell(flaw):
    data = whole()
    FLAWS[flaw](data)
    notebook = read(json.dumps(data))
    nbformat.validate(notebook)
    assert [(cell.cell_type, cell.source.strip()) for cell in notebook.cells] == [
        ("markdown", "# One"),
        ("code", "def one():\n    return 1"),
        ("code", "one()"),
    ]
    assert notebook.cells[1].metadata.nbgrader == whole()["cells"][1]["metadata"]["nbgrader"]
    assert len({cell.id for cell in notebook.cells}) == 3


def test_a_notebook_of_format_3_is_read():
    notebook = nbformat.from_dict(whole())
    sheets = json.loads(nbformat.writes(nbformat.convert(notebook, 3)))
    sheets["worksheets"][0]["cells"][1].pop("outputs")
    cells = read(json.dumps(sheets)).cells
    assert [c.source for c in cells] == ["# One", "def one():\n    return 1", "one()"]
    assert cells[1].metadata.nbgrader.grade_id == "one"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_notebook_is_read_in_each_encoding_of_json(encoding):
    cells = read(written(cells=[new_markdown_cell("Größe √d")]).encode(encoding)).cells
    assert cells[0].source == "Größe √d"


@pytest.mark.parametrize("kind", ["heading", "Code", "", None, ["code"], 7])
def test_a_cell_of_an_unknown_type_keeps_its_text(kind):
    (cell,) = read(written(cells=[{"cell_type": kind, "source": "mine"}])).cells
    assert (cell.cell_type, cell.source) == ("raw", "mine")


@pytest.mark.parametrize("source", [None, 7, {}, [], [None]])
def test_a_source_that_is_no_text_is_empty(source):
    (cell,) = read(written(cells=[{"cell_type": "code", "source": source}])).cells
    assert cell.source == ""


def test_half_a_character_becomes_the_sign_for_one_that_is_unknown():
    (cell,) = read(written().replace('"1"', r'"a\ud800b \ud83d\ude00"')).cells
    assert cell.source == "a�b 😀"


def test_pictures_that_were_pasted_stay():
    picture = {"a.png": {"image/png": "aGVsbG8="}}
    (cell,) = read(written(cells=[new_markdown_cell("x", attachments=picture)])).cells
    assert cell.attachments == picture


def test_metadata_that_could_break_grading_is_dropped():
    cell = new_code_cell("1", metadata={"tags": ["mine"]})
    cell.metadata.update(scrolled=7, nbgrader={"grade_id": "one", "nested": {"a": []}})
    metadata = {"language": 7, "widgets": [], "kernelspec": {"name": 6}}
    notebook = read(written(metadata=metadata, cells=[cell]))
    assert notebook.metadata == {}
    assert notebook.cells[0].metadata == {"tags": ["mine"], "nbgrader": {"grade_id": "one"}}

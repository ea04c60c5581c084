"""The parts that nbgrader's autograder is given: each does its own piece, whatever it meets."""

import io
import json
import os
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.grading.originals import grade_id, restore
from autograder.grading.plain_files import plain_files, replace_what_is_no_file
from autograder.grading.submission import UnreadableError, read_notebook

# --- Reading what was handed in ------------------------------------------------------------------


def written(**changes: object) -> str:
    return json.dumps(new_notebook(cells=[new_code_cell("1")]) | changes)


NO_NOTEBOOKS = {
    "empty": (b"", "it is empty"),
    "blank": (b" \n ", "it is empty"),
    "binary": (b"\x89PNG\r\n\x1a\n\xff\xfe", "it is not a text file"),
    "a script": (b"import torch", "it is not JSON"),
    "cut off": (written().encode()[:-20], "only a part of it"),
    "a long number": (b'{"x": ' + b"9" * 10_000 + b"}", "number that is too long"),
    "too deep": (b"[" * 100_000, "nested too deeply"),
    "a list": (b"[]", "not a notebook"),
    "an empty object": (b"{}", "not a notebook"),
    "a string": (b'"cells"', "not a notebook"),
    "a future format": (written(nbformat=7).encode(), "not a notebook"),
    "cells that are no list": (written(cells=3).encode(), "not a notebook"),
    "a cell without text": (written(cells=[{"cell_type": "code"}]).encode(), "not a notebook"),
    "half a character": (written().replace('"1"', r'"\ud800"').encode(), "not a notebook"),
}


@pytest.mark.parametrize(("content", "reason"), NO_NOTEBOOKS.values(), ids=NO_NOTEBOOKS)
def test_what_is_no_notebook_is_refused_with_the_reason(content, reason):
    with pytest.raises(UnreadableError, match=reason):
        read_notebook(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_a_notebook_of_an_older_format_is_read_in_the_current_one():
    cells = [{"cell_type": "code", "source": "x = 1", "metadata": {}, "outputs": []}]
    cells[0]["execution_count"] = None
    notebook = read_notebook(io.StringIO(written(nbformat_minor=2, cells=cells)))
    assert (notebook.nbformat_minor, notebook.cells[0].source) == (5, "x = 1")
    nbformat.validate(notebook)


def test_metadata_that_could_break_grading_is_dropped():
    cell = new_code_cell("1", metadata={"tags": ["mine"]})
    cell.metadata.scrolled = 7
    metadata = {"language": 7, "widgets": [], "kernelspec": {"name": 6}}
    notebook = read_notebook(io.StringIO(written(metadata=metadata, cells=[cell])))
    assert notebook.metadata == {}
    assert notebook.cells[0].metadata == {"tags": ["mine"]}


def test_a_notebook_that_is_too_large_is_refused():
    with pytest.raises(UnreadableError, match="million characters"):
        read_notebook(io.StringIO(written() + " " * 20_000_000))


# --- The files beside it -------------------------------------------------------------------------


@pytest.fixture
def folder_with_links(tmp_path: Path) -> Path:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "grades").write_text("everybody's")
    folder = tmp_path / "submission"
    (folder / "more").mkdir(parents=True)
    (folder / "mine.py").write_text("x = 1")
    (folder / "more" / "data.txt").write_text("1 2 3")
    (folder / "grades").symlink_to(secret / "grades")
    (folder / "secret").symlink_to(secret)
    (folder / "nowhere").symlink_to(tmp_path / "nowhere")
    (folder / "endless").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    return folder


def test_only_plain_files_are_read(folder_with_links):
    read = dict(plain_files(folder_with_links, 1000))
    assert read == {Path("mine.py"): b"x = 1", Path("more/data.txt"): b"1 2 3"}


def test_more_than_is_allowed_is_not_read(folder_with_links):
    with pytest.raises(OSError, match="too large"):
        list(plain_files(folder_with_links, 9))


def test_what_is_no_file_is_replaced_by_a_text_that_says_so(folder_with_links):
    replace_what_is_no_file(folder_with_links)
    for name in ("grades", "secret", "nowhere", "endless", "pipe"):
        text = (folder_with_links / name).read_text()
        assert "Only files are graded" in text
        with pytest.raises(UnreadableError, match="it was a link"):
            read_notebook(io.StringIO(text))
    assert (folder_with_links / "mine.py").read_text() == "x = 1"
    assert (folder_with_links.parent / "secret" / "grades").read_text() == "everybody's"


def test_a_folder_in_the_place_of_a_notebook_is_kept_beside_a_text(folder_with_links):
    replace_what_is_no_file(folder_with_links, ["more"])
    assert "a folder" in (folder_with_links / "more").read_text()
    assert (folder_with_links / "more.folder" / "data.txt").read_text() == "1 2 3"


def test_a_submission_that_is_a_link_to_another_is_not_followed(folder_with_links, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(folder_with_links)
    replace_what_is_no_file(link, ["mine.py"])
    assert "a link to" in (link / "mine.py").read_text()
    assert (folder_with_links / "mine.py").read_text() == "x = 1"


# --- Restoring the graded cells ------------------------------------------------------------------


def known(name: str, source: str, **kind: object) -> NotebookNode:
    cell = new_markdown_cell(source) if kind.pop("markdown", False) else new_code_cell(source)
    marks = {"grade_id": name, "grade": False, "solution": False, "locked": False} | kind
    cell.metadata.nbgrader = marks
    return cell


def originals() -> dict[str, NotebookNode]:
    cells = [
        known("setup", "import torch", locked=True),
        known("one", "def one(): ...", solution=True),
        known("check_one", "check(one)", grade=True, locked=True, points=3.0),
        known("two", "def two(): ...", solution=True),
        known("check_two", "check(two)", grade=True, locked=True, points=2.0),
        known("essay", "YOUR ANSWER HERE", markdown=True, grade=True, solution=True, points=4.0),
    ]
    return {cell.metadata.nbgrader.grade_id: cell for cell in cells}


def handed_in(**answers: str) -> list[NotebookNode]:
    cells = list(originals().values())
    for cell in cells:
        cell.source = answers.get(grade_id(cell), cell.source)
    return cells


def without(cells: list[NotebookNode], *names: str) -> list[NotebookNode]:
    return [cell for cell in cells if grade_id(cell) not in names]


def known_cells(cells: list[NotebookNode]) -> dict[str, str]:
    return {grade_id(cell): cell.source for cell in cells if grade_id(cell)}


def notices(cells: list[NotebookNode]) -> list[str]:
    return [cell.source for cell in cells if "Note on your submission" in cell.source]


def test_an_orderly_submission_stays_as_it_is():
    cells = restore(handed_in(one="def one(): return 1"), originals())
    assert list(known_cells(cells)) == list(originals())
    assert known_cells(cells)["one"] == "def one(): return 1"
    assert len(cells) == len(originals())


@pytest.mark.parametrize(
    "names",
    [
        ("setup",),
        ("check_one",),
        ("one", "check_one"),
        ("check_one", "two", "check_two"),
        ("essay",),
        tuple(originals()),
    ],
    ids=" ".join,
)
def test_missing_cells_come_back_in_their_place_with_a_notice_each(names):
    cells = restore(without(handed_in(), *names), originals())
    assert known_cells(cells) == known_cells(list(originals().values()))
    assert list(known_cells(cells)) == list(originals())
    assert len(notices(cells)) == len(names)


def test_an_answer_in_a_cell_of_the_students_own_still_counts():
    own = new_code_cell("def one(): return 1")
    cells = handed_in()
    cells[1] = own
    cells = restore(cells, originals())
    order = [cell.source for cell in cells if cell.cell_type == "code"]
    assert order.index("def one(): ...") < order.index(own.source) < order.index("check(one)")


def test_a_locked_cell_that_was_changed_is_put_back_with_a_notice():
    cells = restore(handed_in(check_one="3"), originals())
    assert known_cells(cells)["check_one"] == "check(one)"
    assert len(notices(cells)) == 1


def test_of_copied_answers_the_one_that_says_something_counts():
    copies = [known("essay", text, markdown=True) for text in ("mine", "YOUR ANSWER HERE")]
    cells = restore([*without(handed_in(), "essay"), *copies], originals())
    assert known_cells(cells)["essay"] == "mine"
    assert len(notices(cells)) == 1


def test_of_two_answers_the_last_counts():
    copies = [known("essay", text, markdown=True) for text in ("first", "second")]
    cells = restore([*without(handed_in(), "essay"), *copies], originals())
    assert known_cells(cells)["essay"] == "second"
    assert "first" in [cell.source for cell in cells]


def test_a_cell_whose_type_was_changed_gets_it_back():
    cells = handed_in()
    cells[1] = new_markdown_cell("def one(): return 1")
    cells[1].metadata.nbgrader = {"grade_id": "one"}
    cells = restore(cells, originals())
    (one,) = [cell for cell in cells if grade_id(cell) == "one"]
    assert (one.cell_type, one.source) == ("code", "def one(): return 1")


@pytest.mark.parametrize("marks", ["text", 7, {}, {"grade_id": ["one"]}, {"grade_id": "unknown"}])
def test_nbgrader_metadata_that_names_no_cell_is_dropped(marks):
    cell = new_code_cell("x = 1", metadata={"nbgrader": marks})
    cells = restore([cell, *handed_in()], originals())
    assert cells[0].source == "x = 1"
    assert "nbgrader" not in cells[0].metadata


def test_points_and_tags_of_a_test_cell_are_the_instructors():
    cells = handed_in()
    cells[2].metadata.nbgrader.points = 1000
    cells[2].metadata.tags = ["measurement"]
    (check,) = [c for c in restore(cells, originals()) if grade_id(c) == "check_one"]
    assert check.metadata == {"nbgrader": originals()["check_one"].metadata.nbgrader}

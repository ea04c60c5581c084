"""The graded cells of a submission are put back, and its answers found, wherever they stand."""

from copy import deepcopy

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

from autograder.cells import grade_id
from autograder.grading import is_notice, text_of_notice
from autograder.grading.restore import restore


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
    return [text_of_notice(cell) for cell in cells if is_notice(cell)]


QUESTION = "What is one?"


def restored(cells: list[NotebookNode]) -> list[NotebookNode]:
    released = [QUESTION, *(cell.source for cell in originals().values())]
    return restore(cells, originals(), released)


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
    cells = restored(without(handed_in(), *names))
    expected = {k: v.source for k, v in originals().items() if k not in {*names} & {"one", "two"}}
    assert known_cells(cells) == expected
    assert list(known_cells(cells)) == list(expected)
    assert len(notices(cells)) == len(names)


def test_a_stub_that_is_gone_does_not_take_the_place_of_what_was_written_elsewhere():
    merged = "def one(): return 1\n\ndef two(): return 2"
    cells = restored(without(handed_in(one=merged), "two"))
    assert "def two(): ..." not in [cell.source for cell in cells]
    assert notices(cells) == [
        "The cell two was missing. What your other cells define is graded.",
    ]


def test_a_test_that_is_put_back_stands_behind_what_it_is_about():
    cells = without(handed_in(), "one", "check_one")
    cells.insert(1, new_code_cell("def one(): return 1"))
    order = [cell.source for cell in restored(cells) if cell.cell_type == "code"]
    assert order.index("def one(): return 1") < order.index("check(one)") < len(order) - 2


def test_cells_whose_metadata_are_lost_are_known_by_their_text():
    cells = handed_in(one="def one(): return 1", essay="mine")
    for cell in cells:
        cell.metadata.clear()
        cell.source += "  \n"
    cells = restored(cells)
    code = [cell.source.strip() for cell in cells if cell.cell_type == "code"]
    assert code == [
        "import torch",
        "def one(): return 1",
        "check(one)",
        "def two(): ...",
        "check(two)",
    ]
    assert list(known_cells(cells)) == ["setup", "check_one", "two", "check_two", "essay"]


def test_white_space_alone_is_no_change():
    cells = handed_in(setup="import torch  \n\n", essay="YOUR ANSWER HERE\n")
    cells = restored(cells)
    assert known_cells(cells) == known_cells(list(originals().values()))
    assert notices(cells) == []


def test_a_set_up_that_was_changed_runs_after_the_original():
    cells = restored(handed_in(setup="import torch\nimport numpy"))
    assert [cell.source for cell in cells if cell.cell_type == "code"][:2] == [
        "import torch",
        "import torch\nimport numpy",
    ]
    assert "yours is run after it" in notices(cells)[0]


def test_a_test_that_was_changed_is_put_back_with_a_notice():
    cells = restore(handed_in(check_one="3"), originals())
    assert "3" not in [cell.source for cell in cells]
    assert known_cells(cells)["check_one"] == "check(one)"
    assert len(notices(cells)) == 1


def test_of_copied_answers_the_one_that_says_something_counts():
    copies = [known("essay", text, markdown=True) for text in ("mine", "YOUR ANSWER HERE")]
    cells = restored([*without(handed_in(), "essay"), *copies])
    assert known_cells(cells)["essay"] == "mine"
    assert len(notices(cells)) == 1


def test_of_two_answers_the_last_counts():
    copies = [known("essay", text, markdown=True) for text in ("first", "second")]
    cells = restored([*without(handed_in(), "essay"), *copies])
    assert known_cells(cells)["essay"] == "second"
    assert "first" in [cell.source for cell in cells]


def test_both_halves_of_a_cell_that_was_split_are_run():
    halves = [known("one", text, solution=True) for text in ("a = 1", "def one(): return a")]
    cells = handed_in()
    cells[1:2] = halves
    code = [cell.source for cell in restored(cells) if cell.cell_type == "code"]
    assert code[1:3] == ["a = 1", "def one(): return a"]


def test_a_stub_that_was_copied_does_not_take_the_place_of_the_answer():
    stub = originals()["one"]
    cells = restored([*handed_in(one="def one(): return 1"), stub])
    assert [c.source for c in cells].count(stub.source) == 0


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


def test_only_a_cell_that_was_released_keeps_the_tag_by_which_it_is_not_run():
    cells = [known("", text) for text in ("import torch  ", "def one(): return 1")]
    for cell in cells:
        cell.metadata = {"tags": ["measurement"]}
    cells = restored([*cells, *without(handed_in(), "setup")])
    kept = {c.source: c.metadata.get("tags") for c in cells if c.cell_type == "code"}
    assert kept["import torch"] == ["measurement"]
    assert kept["def one(): return 1"] is None


# --- Written answers -----------------------------------------------------------------------------


def with_text(*cells: NotebookNode, at: int = 5) -> list[NotebookNode]:
    """The submission with cells of the student's own before, or behind, the written question."""
    handed = handed_in()
    handed.insert(5, new_markdown_cell(QUESTION))
    handed[at:at] = cells
    return handed


ANSWERS = {
    "above the cell": with_text(new_markdown_cell("It is odd."), at=6),
    "below the cell": with_text(new_markdown_cell("It is odd."), at=7),
    "above the question": with_text(new_markdown_cell("It is odd."), at=5),
    "in a raw cell": with_text(new_raw_cell("It is odd."), at=7),
    "in a code cell": with_text(new_code_cell("It is odd."), at=7),
    "in a comment": with_text(new_code_cell("# It is odd."), at=7),
    "in two cells": with_text(new_markdown_cell("It"), new_markdown_cell("It is odd."), at=7),
    "in the question": without(with_text(new_markdown_cell(f"{QUESTION} It is odd.")), "essay"),
    "in a cell made anew": without(with_text(new_markdown_cell("It is odd."), at=7), "essay"),
}


@pytest.mark.parametrize("where", ANSWERS)
def test_an_answer_outside_its_cell_is_shown_in_it_and_waits_for_a_person(where):
    cells = restored([deepcopy(cell) for cell in ANSWERS[where]])
    essay = known_cells(cells)["essay"]
    assert "It is odd." in essay
    assert "a person grades it" in essay
    assert sum("It is odd." in cell.source for cell in cells) == 2


def test_pictures_of_an_answer_outside_its_cell_come_with_it():
    picture = {"a.png": {"image/png": "aGVsbG8="}}
    own = new_markdown_cell("![](attachment:a.png)", attachments=picture)
    (essay,) = [c for c in restored(with_text(own, at=7)) if grade_id(c) == "essay"]
    assert essay.attachments == picture


def test_text_far_away_lets_a_person_look():
    cells = restored(with_text(new_markdown_cell("It is odd."), at=0))
    assert "a person looks" in known_cells(cells)["essay"]


@pytest.mark.parametrize("code", ["%matplotlib inline\nx = 1", "!ls", "x?", "%%time\nx", "x = 1"])
def test_code_of_the_students_own_is_no_answer(code):
    cells = restored(with_text(new_code_cell(code), at=7))
    assert known_cells(cells)["essay"] == "YOUR ANSWER HERE"


def test_an_answer_in_its_cell_is_left_alone():
    handed = with_text(new_markdown_cell("a note"), at=7)
    handed[6].source = "It is odd."
    assert known_cells(restored(handed))["essay"] == "It is odd."

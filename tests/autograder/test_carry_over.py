"""A reader's answers and own cells in a new version of a notebook."""

from copy import deepcopy

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbgrader.utils import compute_checksum

from autograder.carry_over import carried_over, is_untouched
from autograder.cells import RELEASED, cells_of_the_course, finish

STUB = "def {name}(x):\n    raise NotImplementedError()"


def graded(cell, name, **kind):
    fields = {"grade": False, "locked": False, "solution": False, "task": False} | kind
    cell.metadata.nbgrader = {"grade_id": name, "schema_version": 3} | fields
    cell.metadata.nbgrader.checksum = compute_checksum(cell)
    return cell


def exercise(name, stub=STUB):
    return graded(new_code_cell(stub.format(name=name)), name, solution=True)


def check(name, points=3):
    cell = new_code_cell(f"check({name})")
    return graded(cell, f"check_{name}", grade=True, locked=True, points=points)


def question(points=4):
    cell = new_markdown_cell("YOUR ANSWER HERE")
    return graded(cell, "why", grade=True, solution=True, points=points)


def release(*cells):
    notebook = new_notebook(cells=[deepcopy(c) for c in cells])
    finish(notebook)
    return notebook


SETUP = graded(new_code_cell("import torch"), "setup", locked=True)
TITLE = new_markdown_cell("# A notebook")
GUESS = new_code_cell("my_guess = None")
FIRST = (SETUP, TITLE, GUESS, exercise("f"), check("f"), question())


def copy_of(notebook):
    """What `make lab` gives a reader."""
    work = deepcopy(notebook)
    work.metadata[RELEASED] = {"cells": cells_of_the_course(notebook)}
    return work


def cell_in(notebook, text):
    (cell,) = [cell for cell in notebook.cells if cell.source.startswith(text)]
    return cell


@pytest.fixture
def work():
    """Holds an answer and its report, a guess, a written answer, and a cell of the reader's."""
    work = copy_of(release(*FIRST))
    cell_in(work, "def f").source = "def f(x):\n    return x"
    cell_in(work, "check(f)").outputs = [new_output("execute_result", {"text/plain": "3"})]
    cell_in(work, "my_guess").source = "my_guess = 64"
    cell_in(work, "YOUR ANSWER").source = "Because."
    work.cells.insert(4, new_code_cell("f(1)  # mine"))
    return work


def sources(notebook):
    return [cell.source for cell in notebook.cells]


MINE = ["my_guess = 64", "def f(x):\n    return x", "f(1)  # mine", "check(f)", "Because."]


def test_what_the_course_changed_is_new_and_what_the_reader_wrote_stays(work):
    setup = graded(new_code_cell("import torch, math"), "setup", locked=True)
    title, more = new_markdown_cell("# A better title"), new_markdown_cell("More.")
    new = release(setup, title, *FIRST[2:], more)
    merged = carried_over(work, new)
    assert sources(merged) == ["import torch, math", "# A better title", *MINE, "More."]
    assert cell_in(merged, "check(f)").outputs == cell_in(work, "check(f)").outputs
    assert cell_in(merged, "def f").metadata.nbgrader == cell_in(new, "def f").metadata.nbgrader


def test_a_changed_exercise_is_new_and_the_answer_stands_under_it_at_rest(work):
    changed = exercise("f", "def {name}(x, y):\n    raise NotImplementedError()")
    merged = carried_over(work, release(*FIRST[:3], changed, *FIRST[4:]))
    stub, note, answer = merged.cells[3:6]
    assert stub.source == changed.source
    assert "has changed the cell `f` above" in note.source
    assert (answer.cell_type, answer.source) == ("raw", "def f(x):\n    return x")
    assert "f(1)  # mine" in sources(merged)


def test_an_exercise_that_is_gone_leaves_what_was_written_in_it(work):
    merged = carried_over(work, release(SETUP, TITLE, GUESS, question()))
    assert "check(f)" not in sources(merged)
    answer = cell_in(merged, "def f")
    assert "nbgrader" not in answer.metadata
    assert "no longer has the cell `f`" in merged.cells[merged.cells.index(answer) - 1].source


def test_a_written_answer_stays_when_its_points_change(work):
    merged = carried_over(work, release(*FIRST[:5], question(points=6)))
    assert cell_in(merged, "Because.").metadata.nbgrader.points == 6


def test_what_the_reader_took_out_stays_out_and_what_the_course_adds_comes(work):
    work.cells.remove(cell_in(work, "# A notebook"))
    work.cells.remove(cell_in(work, "def f"))
    merged = carried_over(work, release(*FIRST, exercise("g")))
    assert "# A notebook" not in sources(merged)
    assert not [source for source in sources(merged) if source.startswith("def f")]
    assert merged.cells[-1].source == STUB.format(name="g")


def test_a_cell_of_the_course_that_the_reader_changed_is_kept_when_the_course_changes_it(work):
    merged = carried_over(work, release(*FIRST[:2], new_code_cell("guess = 0"), *FIRST[3:]))
    assert "guess = 0" in sources(merged)
    mine = merged.cells.index(cell_in(merged, "my_guess = 64"))
    assert "is as you had it" in merged.cells[mine - 1].source


def test_a_locked_cell_that_was_edited_is_the_courses_again_and_the_edit_is_kept(work):
    cell_in(work, "import torch").source = "import torch\nmine = 1"
    merged = carried_over(work, release(*FIRST, new_markdown_cell("More.")))
    assert sources(merged)[0] == "import torch"
    assert "import torch\nmine = 1" in sources(merged)


def test_of_several_copies_of_an_exercise_every_text_stays(work):
    second = deepcopy(cell_in(work, "def f"))
    second.source = "def f(x):\n    return 2 * x"
    work.cells.append(second)
    merged = carried_over(work, release(*FIRST, new_markdown_cell("More.")))
    assert {"def f(x):\n    return x", "def f(x):\n    return 2 * x"} <= set(sources(merged))
    names = [c.metadata.nbgrader.grade_id for c in merged.cells if "nbgrader" in c.metadata]
    assert len(names) == len(set(names))
    assert len({cell.id for cell in merged.cells}) == len(merged.cells)


def test_the_readers_cells_keep_their_place_beside_new_text(work):
    replaced = new_markdown_cell("# Another title"), new_markdown_cell("and its text")
    work.cells.insert(2, new_code_cell("# after the title"))
    merged = carried_over(work, release(SETUP, *replaced, *FIRST[2:]))
    assert sources(merged)[1:5] == [
        "# Another title",
        "and its text",
        "# after the title",
        "my_guess = 64",
    ]


def without(*fields):
    def change(work):
        for cell in work.cells:
            for field in fields:
                cell.pop(field, None)
                cell.metadata.pop(field, None)
        for number, cell in enumerate(work.cells):
            cell.id = cell.get("id", f"new-{number}")

    return change


DROPPED = {
    "ids": without("id"),
    "what the notebook says of its release": lambda work: work.metadata.pop(RELEASED),
    "ids and what the notebook says": lambda work: (without("id")(work), work.metadata.clear()),
    "nbgrader's metadata": without("nbgrader"),
    "all of it": lambda work: (without("id", "nbgrader")(work), work.metadata.clear()),
}


@pytest.mark.parametrize("drop", DROPPED.values(), ids=DROPPED)
def test_whatever_a_tool_has_dropped_no_text_of_the_readers_is_lost(work, drop):
    drop(work)
    merged = carried_over(work, release(*FIRST[:3], exercise("g"), *FIRST[3:]))
    assert set(MINE) <= set(sources(merged))


@pytest.mark.parametrize("drop", DROPPED.values(), ids=DROPPED)
def test_carrying_over_again_changes_nothing(work, drop):
    drop(work)
    new = release(SETUP, new_markdown_cell("# Another"), exercise("g"), *FIRST[3:])
    once = carried_over(work, new)
    once.metadata[RELEASED] = {"cells": cells_of_the_course(new)}
    again = carried_over(once, new)
    assert [(c.id, c.cell_type, c.source) for c in again.cells] == [
        (c.id, c.cell_type, c.source) for c in once.cells
    ]


def test_a_notebook_is_untouched_until_something_is_written_or_run(work):
    assert not is_untouched(work)
    for change in (
        lambda nb: setattr(cell_in(nb, "my_guess"), "source", "my_guess = 1"),
        lambda nb: setattr(cell_in(nb, "YOUR"), "source", "Because."),
        lambda nb: nb.cells.append(new_markdown_cell("mine")),
        lambda nb: setattr(nb.cells[0], "outputs", [new_output("stream", text="1")]),
    ):
        notebook = copy_of(release(*FIRST))
        assert is_untouched(notebook)
        change(notebook)
        assert not is_untouched(notebook)

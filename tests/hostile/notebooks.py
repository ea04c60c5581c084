"""Edit the cells that are graded, or hand in what is no notebook."""

import json
from copy import deepcopy

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from autograder.example_submissions import cell_of
from tests.hostile import vectors
from tests.hostile.corpus import ATTACKED, EXERCISES, NOTHING, UNREADABLE, change, file
from tests.journeys.submissions import WRITTEN

CHECK = f"check_{ATTACKED}"
CHANGED = f"The cell {CHECK} had been changed."
MISSING = "was missing. It was put back as it was released."
COPY = f"The cell {CHECK} is there more than once."
RETYPED = f"The cell {CHECK} had become another type of cell."


def checks_in(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell_of(notebook, f"check_{name}") for name in EXERCISES]


def written(notebook: NotebookNode, **changes: object) -> bytes:
    return json.dumps(notebook | changes).encode()


# --- Test cells ----------------------------------------------------------------------------------


@change(CHANGED)
def edits_the_tests(notebook: NotebookNode) -> None:
    """Has the test cells say 6."""
    for check in checks_in(notebook):
        check.source = "6"


@change(f"The cell {CHECK} {MISSING}")
def deletes_the_tests(notebook: NotebookNode) -> None:
    """Deletes the test cells."""
    for check in checks_in(notebook):
        notebook.cells.remove(check)


@change(COPY)
def copies_the_tests(notebook: NotebookNode) -> None:
    """Hands in a test cell that says 6, ten times, beside the original."""
    check = deepcopy(cell_of(notebook, CHECK))
    check.source = "6"
    notebook.cells += [deepcopy(check) for _ in range(10)]


@change(RETYPED)
def turns_the_tests_into_text(notebook: NotebookNode) -> None:
    """Turns the test cells into Markdown."""
    for check in checks_in(notebook):
        check.cell_type = "markdown"
        del check["outputs"], check["execution_count"]


@change()
def moves_the_tests(notebook: NotebookNode) -> None:
    """Puts the test cells first, and everything else into the other order."""
    checks = checks_in(notebook)
    others = [cell for cell in notebook.cells if cell not in checks]
    setup = cell_of(notebook, "setup")
    others.remove(setup)
    notebook.cells = [*checks[::-1], setup, *others[::-1]]


@change()
def hides_the_tests(notebook: NotebookNode) -> None:
    """Tags the test cells, so that they are not run, or may fail."""
    for check in checks_in(notebook):
        check.metadata.tags = ["measurement", "raises-exception", "skip-execution", "remove_cell"]


@change()
def keeps_a_score_as_an_output(notebook: NotebookNode) -> None:
    """Hands in test cells with outputs that say 6, and with the record of a grading."""
    for check in checks_in(notebook):
        data = {"text/plain": "6", "text/html": "6 of 6 points"}
        output = {"output_type": "execute_result", "data": data, "metadata": {}}
        check.outputs = [output | {"execution_count": 1}]
    notebook.metadata.grading = {"seed": 6, "sandbox": "bubblewrap"}


# --- nbgrader's metadata -------------------------------------------------------------------------


@change()
def raises_its_points(notebook: NotebookNode) -> None:
    """Makes everything worth a thousand points."""
    for cell in notebook.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.points = 1000


@change()
def flips_its_metadata(notebook: NotebookNode) -> None:
    """Says of every cell that it is what it is not."""
    for cell in notebook.cells:
        for mark, value in cell.metadata.get("nbgrader", {}).items():
            if isinstance(value, bool):
                cell.metadata.nbgrader[mark] = not value


@change("The cell check_elu_feature_map had been changed.")
def swaps_its_cells(notebook: NotebookNode) -> None:
    """Gives a test that is passed the name of one that is not."""
    elu, attacked = (cell_of(notebook, name) for name in ("check_elu_feature_map", CHECK))
    elu.metadata, attacked.metadata = attacked.metadata, elu.metadata


@change()
def writes_nonsense_into_its_metadata(notebook: NotebookNode) -> None:
    """Writes other things than nbgrader's into its metadata, and a test that nobody knows."""
    for cell, marks in zip(notebook.cells, ([], "x", {"grade_id": {}}, 6, None), strict=False):
        if "nbgrader" not in cell.metadata:
            cell.metadata.nbgrader = marks
    bonus = new_code_cell("6")
    bonus.metadata.nbgrader = deepcopy(cell_of(notebook, CHECK).metadata.nbgrader)
    bonus.metadata.nbgrader.update(grade_id="bonus", points=100)
    notebook.cells.append(bonus)


@change()
def asks_for_another_kernel(notebook: NotebookNode) -> None:
    """Names another kernel and language, and options for what runs the notebook."""
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "6", "language": "sh"}
    notebook.metadata.update(execution={"timeout": -1, "allow_errors": False}, widgets=[])


# --- Cells ---------------------------------------------------------------------------------------


@change()
def hands_in_odd_cells(notebook: NotebookNode) -> None:
    """Hands in cells with one identifier, with NUL, with a million lines, and nested metadata."""
    nested: dict = {}
    for _ in range(300):
        nested = {"a": nested}
    odd = [new_code_cell("x = '\0'"), new_code_cell("\n" * 10**6), new_markdown_cell("\x1b[31m")]
    odd[0].metadata.nested = nested
    notebook.cells += odd
    for cell in odd:
        cell.id = notebook.cells[0].id


# --- The browser of whoever reads it --------------------------------------------------------------


@change()
def writes_what_acts(notebook: NotebookNode) -> None:
    """Writes all that could act where it is read: HTML, links, attachments, tags."""
    notebook.cells += [cell for cell in vectors.CELLS.values() if not cell.get("outputs")]


@change()
def answers_with_what_acts(notebook: NotebookNode) -> None:
    """Answers the written question with all of it, where the instructor gives points."""
    texts = [cell.source for cell in vectors.CELLS.values() if cell.cell_type == "markdown"]
    answer = cell_of(notebook, WRITTEN)
    answer.source = "\n\n".join(text for text in texts if "<!--" not in text)
    answer.attachments = {"a.png": {"text/html": "x"}}


@change()
def shows_what_acts(notebook: NotebookNode) -> None:
    """Shows all of it: data, metadata, text in colours, an error."""
    notebook.cells += [new_code_cell(code) for code in vectors.code_that_shows()]


@change("ValueError")
def raises_a_formula_that_acts(notebook: NotebookNode) -> None:
    """Has the report quote a formula that is a link."""
    cell_of(notebook, ATTACKED).source = (
        f"def {ATTACKED}(*args, **kwargs):\n"
        r"    raise ValueError(r'$\href{javascript:pwn(0)}{x}$ <img src=x onerror=pwn(0)>')"
    )


@change()
def shows_colours_that_end_nowhere(notebook: NotebookNode) -> None:
    """Prints the beginning of a colour, which nbconvert cannot read."""
    notebook.cells.append(new_code_cell(r"print('\x1b[38m\x1b[48m')"))


# --- What is no notebook -------------------------------------------------------------------------


@file(UNREADABLE + "it is JSON, but not a notebook", NOTHING)
def hands_in_a_future_format(notebook: NotebookNode) -> bytes:
    """Names a format of notebooks that does not exist."""
    return written(notebook, nbformat=99)


@file()
def hands_in_an_old_format(notebook: NotebookNode) -> bytes:
    """Names an older format than it has."""
    return written(notebook, nbformat=3)


@file(UNREADABLE + "its JSON is nested too deeply", NOTHING)
def nests_its_json(notebook: NotebookNode) -> bytes:
    """Is nested a hundred thousand times."""
    return written(notebook)[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@file(UNREADABLE, NOTHING)
def counts_in_its_json(notebook: NotebookNode) -> bytes:
    """Holds a number of ten thousand digits."""
    return written(notebook)[:-1] + b', "x": ' + b"9" * 10_000 + b"}"


@file(UNREADABLE + "it has more than 20 million characters", NOTHING)
def is_enormous(notebook: NotebookNode) -> bytes:
    """Holds 25 MB of text."""
    return written(notebook, x="6" * 25_000_000)


@file(UNREADABLE + "it is not JSON", NOTHING)
def is_nothing_but_zeros(notebook: NotebookNode) -> bytes:
    """Is what a disk that was full has left: NUL bytes."""
    return bytes(10_000)


@file()
def is_encoded_otherwise(notebook: NotebookNode) -> bytes:
    """Is UTF-16."""
    return written(notebook).decode().encode("utf-16")


@file()
def holds_half_a_character(notebook: NotebookNode) -> bytes:
    """Holds half a surrogate pair, in a cell and in a name."""
    cells = [*notebook.cells, new_markdown_cell("half: \ud800")]
    return written(notebook, cells=cells).replace(b'"nbformat"', rb'"\ud800": 1, "nbformat"')

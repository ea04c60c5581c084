"""The parts that nbgrader's autograder is given: each does its own piece, whatever it meets."""

import io
import json
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from autograder.grading.execute import ExecuteToTheEnd
from autograder.grading.originals import grade_id, restore
from autograder.grading.submission import UnreadableError, read_notebook
from autograder.grading.verdict import NoReportError, RequireReports, read_report
from autograder.report import MIMETYPE, Line, Report

# --- Reading what was handed in ------------------------------------------------------------------


def written(**changes: object) -> str:
    return json.dumps(new_notebook(cells=[new_code_cell("1")]) | changes)


NO_NOTEBOOKS = {
    "empty": (b"", "it is empty"),
    "blank": (b" \n ", "it is empty"),
    "binary": (b"\x89PNG\r\n\x1a\n\xff\xfe", "it is not a text file"),
    "a script": (b"import torch", "it is not JSON"),
    "cut off": (written().encode()[:-20], "only a part of it"),
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


def test_metadata_of_the_notebook_that_could_break_grading_is_dropped():
    notebook = read_notebook(io.StringIO(written(metadata={"language": 7, "widgets": []})))
    assert notebook.metadata == {}


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


# --- Running to the end --------------------------------------------------------------------------

SWALLOWS_INTERRUPTS = """
while True:
    try:
        while True:
            pass
    except KeyboardInterrupt:
        pass
"""


def run(tmp_path: Path, *cells: NotebookNode) -> list[NotebookNode]:
    execute = ExecuteToTheEnd(timeout=5, iopub_timeout=2, shutdown_kernel="immediate")
    notebook = new_notebook(cells=list(cells))
    return execute.preprocess(notebook, {"metadata": {"path": str(tmp_path)}})[0].cells


def names_of_errors(cell: NotebookNode) -> list[str]:
    return [output.ename for output in cell.outputs if output.output_type == "error"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import os; os._exit(1)", "DeadKernelError"),
        ("while True: pass", "CellTimeoutError"),
        (SWALLOWS_INTERRUPTS, "CellTimeoutError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
    ids=["dead kernel", "endless loop", "loop that cannot be interrupted", "error"],
)
def test_a_cell_that_fails_does_not_keep_the_others_from_running(tmp_path, code, error):
    cells = run(
        tmp_path,
        new_code_cell("x = 6"),
        new_code_cell(code),
        new_code_cell("x * 7"),
    )
    assert error in names_of_errors(cells[1])
    assert cells[2].outputs[0].data["text/plain"] == "42"


def test_a_test_cell_runs_once_although_the_cells_above_run_again(tmp_path):
    count = "from pathlib import Path\nwith Path('log').open('a') as log: print('x', file=log)"
    run(
        tmp_path,
        known("check_one", count, grade=True, locked=True, points=1.0),
        new_code_cell("import os; os._exit(1)"),
        new_code_cell("pass"),
    )
    assert (tmp_path / "log").read_text().split() == ["x"]


# --- The verdict ---------------------------------------------------------------------------------

REPORT = Report("one", (Line("is right", 2, ""), Line("is fast", 1, "it is <slow>")))


def result(report: Report, **changes: object) -> NotebookNode:
    bundle = report._repr_mimebundle_()
    bundle[MIMETYPE] |= changes
    return new_output("execute_result", bundle, execution_count=1)


def checked(*outputs: NotebookNode, execution_count: int | None = 1) -> NotebookNode:
    cell = known("check_one", "check(one)", grade=True, locked=True, points=3.0)
    cell.outputs = list(outputs)
    cell.execution_count = execution_count
    return cell


def error(name: str, value: str = "") -> NotebookNode:
    return new_output("error", ename=name, evalue=value, traceback=[])


def test_a_valid_report_is_taken():
    assert read_report(checked(result(REPORT)), "one", 3) == REPORT


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ([], "gave no report"),
        ([new_output("stream", text="3")], "gave no report"),
        ([new_output("display_data", REPORT._repr_mimebundle_())], "gave no report"),
        ([error("NameError", "name 'one' is not defined")], "does not exist"),
        ([error("KeyboardInterrupt"), error("CellTimeoutError")], "time limit"),
        ([error("DeadKernelError")], "process ended"),
        ([error("ValueError", "check() does not know 3")], "ValueError: check"),
        ([result(REPORT), error("SystemExit")], "SystemExit"),
        ([result(REPORT), result(REPORT)], "2 results"),
        ([new_output("execute_result", {"text/plain": "3"})], "no report"),
        ([result(REPORT, lines=3)], "not a report"),
        (
            [result(REPORT, lines=[{"title": "x", "points": 1e400, "complaint": ""}])],
            "not a report",
        ),
        ([new_output("execute_result", {MIMETYPE: "3"})], "not a report"),
        ([new_output("execute_result", {MIMETYPE: {}})], "not a report"),
        ([result(Report("two", REPORT.lines))], "about two, not about one"),
        ([result(REPORT, points=3)], "do not add up"),
        ([result(REPORT, points="2")], "do not add up"),
        ([result(Report("one", REPORT.lines[:1]))], "do not add up"),
        ([result(Report("one", (Line("a", 9, ""), Line("b", -6, "no"))))], "do not add up"),
    ],
)
def test_anything_but_one_valid_report_is_refused_with_the_reason(outputs, reason):
    with pytest.raises(NoReportError, match=reason):
        read_report(checked(*outputs), "one", 3)


def test_a_cell_that_was_not_run_has_no_report():
    with pytest.raises(NoReportError, match="not run"):
        read_report(checked(result(REPORT), execution_count=None), "one", 3)


def judged(cell: NotebookNode) -> NotebookNode:
    return RequireReports().preprocess_cell(cell, {}, 0)[0]


def test_without_a_report_the_cell_shows_0_points_and_the_reason():
    (output,) = judged(checked(error("NameError"))).outputs
    assert output.data["text/plain"] == "0"
    assert "0 of 3 points" in output.data["text/html"]
    assert "does not exist when the check runs" in output.data["text/html"]


def test_a_valid_report_keeps_its_points_and_costs_nothing_for_what_stands_on_stderr():
    cell = checked(new_output("stream", name="stderr", text="a warning"), result(REPORT))
    (output,) = judged(cell).outputs
    assert output.data["text/plain"] == "2"


def test_the_shown_report_is_made_anew_from_its_data():
    forged = result(REPORT)
    forged.data["text/html"] = "<script>all points</script>"
    forged.data["text/plain"] = "3"
    (output,) = judged(checked(forged)).outputs
    assert output.data["text/html"] == REPORT.to_html()
    assert output.data["text/plain"] == "2"


def test_cells_that_are_no_tests_keep_their_outputs():
    for cell in (new_code_cell("1"), known("one", "x", solution=True), new_markdown_cell("text")):
        if cell.cell_type == "code":
            cell.outputs = [error("NameError")]
        before = dict(cell)
        assert judged(cell) == before

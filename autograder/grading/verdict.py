"""Let a test cell earn points by a valid report, and by nothing else."""

from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution

from autograder.report import MIMETYPE, Line, Report

Resources = dict[str, Any]

_ERRORS = {
    "CellTimeoutError": "The check took longer than the time limit and was stopped. Is there an "
    "endless loop in your function, or one that is much too slow?",
    "DeadKernelError": "The Python process ended while the check ran: it was out of memory, or "
    "your code ended it.",
    "NameError": "The function does not exist when the check runs. Is its cell still there, above "
    "the check, and does it run without an error?",
}


class NoReportError(Exception):
    """A test cell has no valid report; the text tells the student why."""


class RequireReports(NbGraderPreprocessor):
    """Leaves each test cell with one output: its report, or one of 0 points that says why.

    nbgrader gives full points to a test cell that prints nothing, or anything but a number.
    """

    def preprocess_cell(
        self, cell: NotebookNode, resources: Resources, cell_index: int
    ) -> tuple[NotebookNode, Resources]:
        """Replace the outputs of a test cell; other cells stay as they are."""
        if cell.cell_type == "code" and is_grade(cell) and not is_solution(cell):
            marks = cell.metadata.nbgrader
            exercise = marks.grade_id.removeprefix("check_")
            points = int(marks.points)
            try:
                report = read_report(cell, exercise, points)
            except NoReportError as error:
                lines = (Line("the check reports a result", points, str(error)),)
                report = Report(exercise, lines, note=str(error))
            data = report._repr_mimebundle_()
            count = cell.execution_count
            cell.outputs = [new_output("execute_result", data, execution_count=count)]
        return cell, resources


def read_report(cell: NotebookNode, exercise: str, points: int) -> Report:
    """The report that a test cell gave on `exercise`, which is worth `points`.

    It is made anew from its data, so that neither its HTML nor its plain text is taken from the
    student's kernel. Raises NoReportError if there is none, several, or one that is not sound.
    """
    errors = {out.ename: out.evalue for out in cell.outputs if out.output_type == "error"}
    if errors:
        known = next((text for name, text in _ERRORS.items() if name in errors), "")
        name, value = next(iter(errors.items()))
        raise NoReportError(known or f"The check stopped with {name}: {value}")
    if cell.execution_count is None:
        raise NoReportError("The check was not run.")
    results = [out for out in cell.outputs if out.output_type == "execute_result"]
    if not results:
        raise NoReportError("The check gave no report.")
    if len(results) > 1:
        raise NoReportError(f"The check gave {len(results)} results where one report is expected.")
    data = results[0].data.get(MIMETYPE)
    if data is None:
        raise NoReportError("What came back is no report. Has `check` been given another meaning?")
    try:
        report = _report_from(data)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise NoReportError("What came back is not a report that the check makes.") from None
    if report.exercise != exercise:
        raise NoReportError(
            f"The report is about {report.exercise}, not about {exercise}. Has the name been "
            "given to another function?"
        )
    sound = all(line.points >= 0 for line in report.lines) and report.max_points == points
    if not sound or data.get("points") != report.points:
        raise NoReportError("The points of the report do not add up.")
    return report


def _report_from(data: Any) -> Report:
    lines = tuple(
        Line(str(line["title"]), int(line["points"]), str(line["complaint"]))
        for line in data["lines"]
    )
    names = ("mistake", "explanation", "printed", "note")
    return Report(str(data["exercise"]), lines, **{name: str(data[name]) for name in names})

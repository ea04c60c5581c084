"""`autograder check NOTEBOOK`."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from typer.testing import CliRunner

from autograder import run_notebook
from autograder.checked import kept_reports
from autograder.cli import app
from autograder.exercises import exercises_of
from autograder.report import fingerprint
from autograder.run_notebook import warnings_on


def graded(source, grade_id, points):
    kind = {"grade": True, "locked": True, "solution": False, "task": False}
    fields = {"grade_id": grade_id, "points": points, "schema_version": 3} | kind
    return new_code_cell(source, metadata={"nbgrader": fields})


def run(path, *options):
    return CliRunner().invoke(app, ["check", str(path), *options], env={"COLUMNS": "160"})


def row(result, name):
    return next(line for line in result.output.splitlines() if name in line)


def fields(line):
    """The cells of a row of the table."""
    return [field.strip() for field in line.strip("│ ").split("│")]


ELU = "import torch\ndef elu_feature_map(x):\n    return torch.nn.functional.elu(x) + 1"
POINTS = {name: exercise.points for name, exercise in exercises_of("linear_attention").items()}


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """A notebook with most of what can be in one: its path, its bytes, and what `check` says."""
    wrong = "def fourier_mixing(x):\n    return torch.fft.fft(x, dim=-2).real"
    broken = "def global_filter(x, f):\n    return x +"
    cells = [
        new_code_cell("from autograder.check import check"),
        new_code_cell(ELU),
        graded("check(elu_feature_map)", "check_elu_feature_map", 3),
        graded("check(elu_feature_map)", "check_elu_feature_map", 3),
        new_code_cell(wrong),
        new_code_cell("check(fourier_mixing)"),
        new_code_cell(broken),
        graded("check(global_filter)", "check_global_filter", 5),
        graded("print(5)", "check_linear_attention", 6),
        new_code_cell("1 / 0"),
    ]
    path = tmp_path_factory.mktemp("checked") / "02_linear_attention-Copy1.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    before = path.read_bytes()
    return path, before, run(path)


def test_a_notebook_is_run_and_its_points_are_printed(checked):
    _, _, result = checked
    assert result.exit_code == 0
    elu, fourier = POINTS["elu_feature_map"], POINTS["fourier_mixing"]
    assert fields(row(result, "elu_feature_map"))[1] == f"{elu}/{elu}"
    _, points, remark = fields(row(result, "fourier_mixing"))
    earned, _, most = points.partition("/")
    assert int(earned) < int(most) == fourier
    assert remark == "looks like: only over tokens"
    assert fields(row(result, "total"))[1] == f"{elu + int(earned)}/{sum(POINTS.values())}"


def test_the_notebook_stays_as_it_is(checked):
    path, before, _ = checked
    assert path.read_bytes() == before


def test_a_check_that_is_missing_or_changed_is_the_courses_own(checked):
    _, _, result = checked
    said = fields(row(result, "│ linear_attention"))
    points = f"0/{POINTS['linear_attention']}"
    assert said == ["linear_attention", points, "NameError: name 'linear_attention' is not defined"]
    assert "The cell check_linear_attention had been changed" in result.output
    assert "The cell check_causal_linear_attention was missing" in result.output
    assert "The cell check_elu_feature_map is there more than once" in result.output


def test_of_a_function_that_is_not_there_the_error_of_its_cell_is_told(checked):
    _, _, result = checked
    said = fields(row(result, "global_filter"))
    assert said[1] == f"0/{POINTS['global_filter']}"
    assert said[2] == "its cell raised SyntaxError: invalid syntax (line 2)"


def test_progress_knows_what_was_found(checked):
    path, _, _ = checked
    kept = kept_reports(path)
    assert set(kept) == {"elu_feature_map", "fourier_mixing"}
    assert kept["elu_feature_map"]["points"] == POINTS["elu_feature_map"]
    assert kept["elu_feature_map"]["checked"] == fingerprint(ELU)


@pytest.mark.parametrize(("full", "code"), [(True, 0), (False, 1)])
def test_a_script_can_ask_for_all_points(monkeypatch, full, code):
    monkeypatch.setattr(run_notebook, "run_and_report", lambda path: full)
    assert run("x.ipynb", "--require-full").exit_code == code
    assert run("x.ipynb").exit_code == 0


def test_more_output_than_grading_takes_is_told():
    output = new_output("stream", text="x" * 21_000_000)
    notebook = new_notebook(cells=[new_code_cell("print()", outputs=[output])])
    (warning,) = warnings_on(notebook)
    assert "shows 21 MB. Grading takes 20 MB" in warning


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"no json", "is not a notebook"),
        (b"[]", "is not a notebook"),
        (b"\xff\x00", "is not a notebook"),
        (b'{"cells": []}', "is no notebook of the course"),
    ],
)
def test_a_file_that_is_no_notebook_gets_one_clear_line(tmp_path, content, message):
    path = tmp_path / "broken.ipynb"
    if content is not None:
        path.write_bytes(content)
    result = run(path)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_kernel_that_dies_is_told(tmp_path):
    path = tmp_path / "02_linear_attention.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("import os; os._exit(1)")]), path)
    result = run(path)
    assert result.exit_code == 1
    assert "the kernel died" in result.output

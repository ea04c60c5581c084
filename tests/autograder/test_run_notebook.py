"""`autograder check NOTEBOOK`."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from typer.testing import CliRunner

from autograder.cli import app


def graded(source, grade_id, points):
    kind = {"grade": True, "locked": True, "solution": False, "task": False}
    fields = {"grade_id": grade_id, "points": points, "schema_version": 3} | kind
    return new_code_cell(source, metadata={"nbgrader": fields})


def run(path):
    return CliRunner().invoke(app, ["check", str(path)], env={"COLUMNS": "160"})


def test_a_notebook_is_run_and_its_points_are_printed(tmp_path):
    right = "import torch\ndef elu_feature_map(x):\n    return torch.nn.functional.elu(x) + 1"
    wrong = "def fourier_mixing(x):\n    return torch.fft.fft(x, dim=-2).real"
    cells = [
        new_code_cell("from autograder.check import check"),
        new_code_cell(right),
        graded("check(elu_feature_map)", "check_elu_feature_map", 3),
        new_code_cell(wrong),
        graded("check(fourier_mixing)", "check_fourier_mixing", 4),
        graded("check(global_filter)", "check_global_filter", 5),
        graded("print(5)", "check_linear_attention", 6),
    ]
    path = tmp_path / "solved.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    before = path.read_bytes()
    result = run(path)
    assert result.exit_code == 0
    lines = result.output.splitlines()

    def row(name):
        return next(line for line in lines if name in line)

    assert "3/3" in row("elu_feature_map")
    assert "1/4" in row("fourier_mixing")
    assert "looks like: only over tokens" in row("fourier_mixing")
    assert "0/5" in row("global_filter")
    assert "NameError" in row("global_filter")
    assert "0/6" in row("linear_attention")
    assert "printed no report" in row("linear_attention")
    assert "4/18" in row("total")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"no json", "is not a notebook"),
        (b"[]", "is not a notebook"),
        (b"\xff\x00", "is not a notebook"),
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
    path = tmp_path / "dies.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("import os; os._exit(1)")]), path)
    result = run(path)
    assert result.exit_code == 1
    assert "the kernel died" in result.output

"""What `autograder check` found is known to `autograder progress`, as long as the code is that."""

import pytest
from nbformat.v4 import new_code_cell

from autograder.checked import keep_reports, kept_reports
from autograder.report import fingerprint
from tests.autograder.test_progress import LINEAR, check_cell, progress_in, save

OLD, NEW = "def first(): return 1", "def first(): return 2"


def check_in_terminal(path, earned, code):
    keep_reports(path, [{"exercise": "first", "points": earned, "checked": fingerprint(code)}])


def exercise_in(folder):
    (exercise,) = progress_in(folder).exercises
    return exercise


def test_a_check_in_the_terminal_counts(tmp_path):
    path = save(tmp_path, LINEAR, new_code_cell(NEW), check_cell("first", 3))
    check_in_terminal(path, 3, NEW)
    assert exercise_in(tmp_path).solved


def test_it_counts_before_one_of_other_code(tmp_path):
    path = save(tmp_path, LINEAR, new_code_cell(NEW), check_cell("first", 3, 1, OLD))
    assert exercise_in(tmp_path).changed
    check_in_terminal(path, 3, NEW)
    assert exercise_in(tmp_path).solved


def test_it_does_not_count_once_the_code_has_changed(tmp_path):
    path = save(tmp_path, LINEAR, new_code_cell(NEW), check_cell("first", 3, 2, NEW))
    check_in_terminal(path, 3, OLD)
    assert exercise_in(tmp_path).earned == 2


def test_of_the_same_code_the_notebook_has_the_last_word(tmp_path):
    path = save(tmp_path, LINEAR, new_code_cell(NEW), check_cell("first", 3, 2, NEW))
    check_in_terminal(path, 3, NEW)
    assert exercise_in(tmp_path).earned == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "[1]", '[{"exercise": "first"}]', "7", "null"])
def test_a_damaged_file_is_no_report(tmp_path, text):
    path = save(tmp_path, LINEAR, new_code_cell(NEW), check_cell("first", 3))
    check_in_terminal(path, 3, NEW)
    (kept,) = path.parent.glob(".ipynb_checkpoints/*.json")
    kept.write_text(text)
    assert kept_reports(path) == {}
    assert exercise_in(tmp_path).earned is None


@pytest.mark.parametrize("points", [-1, "3", None, float("nan"), True])
def test_points_that_are_none_are_no_report(tmp_path, points):
    path = save(tmp_path, LINEAR, new_code_cell(NEW), check_cell("first", 3))
    check_in_terminal(path, points, NEW)
    assert kept_reports(path) == {}


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path):
    path = save(tmp_path, LINEAR, new_code_cell(NEW))
    (path.parent / ".ipynb_checkpoints").write_text("a file")
    check_in_terminal(path, 3, NEW)
    assert kept_reports(path) == {}

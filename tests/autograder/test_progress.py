"""How far a reader has come, from their saved notebooks, and the page that shows it."""

import json
import re
from dataclasses import replace

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from typer.testing import CliRunner

from autograder.cli import app
from autograder.exercises import NOTEBOOKS, exercises_of
from autograder.progress import CourseMap, read_progress, where_to_go_on
from autograder.registry import COURSE, PLAN
from autograder.report import MIMETYPE, Line, Report, fingerprint

FOUNDATIONS, SPARSE, LINEAR = (notebook.name for notebook in PLAN[:3])


def report(name, earned, points):
    lines = (Line("right", earned, ""), Line("fast", points - earned, "It is slow."))
    return Report(name, lines)


def check_cell(name, points, earned=None, code=""):
    """The cell of a check of `points`; earned: None where it was not run; code: what it checked."""
    kind = {"grade": True, "locked": True, "solution": False, "task": False}
    fields = {"grade_id": f"check_{name}", "points": points, "schema_version": 3} | kind
    outputs = []
    if earned is not None:
        checked = replace(report(name, earned, points), checked=code and fingerprint(code))
        data = checked._repr_mimebundle_()
        outputs.append(new_output("execute_result", data))
    return new_code_cell(f"check({name})", metadata={"nbgrader": fields}, outputs=outputs)


def save(folder, name, *cells):
    path = folder / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)
    return path


def begun(folder, name=LINEAR):
    """A notebook of three exercises: one solved, one half right, one not yet run."""
    return save(
        folder,
        name,
        new_markdown_cell("# 2. Attention & sums\n\n**Time** about an hour. No GPU.", id="title"),
        new_markdown_cell("### Exercise: `first`", id="first-heading"),
        check_cell("first", 3, earned=3),
        new_markdown_cell("### Exercise: `second`", id="second-heading"),
        new_markdown_cell("A hint without a heading.", id="hint"),
        check_cell("second", 5, earned=2),
        check_cell("third", 4),
    )


def progress_in(folder, name=LINEAR):
    return next(progress for progress in read_progress(folder) if progress.name == name)


def test_points_and_the_next_exercise_come_from_the_saved_outputs(tmp_path):
    begun(tmp_path)
    progress = progress_in(tmp_path)
    assert progress.summary() == "5 of 12 points, 1 of 3 exercises solved"
    assert progress.next_exercise.name == "second"


def test_title_and_time_are_the_notebooks_own(tmp_path):
    begun(tmp_path)
    progress = progress_in(tmp_path)
    assert (progress.title, progress.time) == ("2. Attention & sums", "about an hour")


def test_the_last_report_of_a_cell_counts(tmp_path):
    cell = check_cell("first", 3, earned=3)
    cell.outputs += check_cell("first", 3, earned=1).outputs
    save(tmp_path, LINEAR, cell)
    assert progress_in(tmp_path).earned == 1


CODE = "def first(x):\n    return x"


def test_code_that_was_changed_after_its_check_is_not_solved(tmp_path):
    check = check_cell("first", 3, earned=3, code=CODE)
    save(tmp_path, LINEAR, new_code_cell(CODE + "\n"), check)
    assert progress_in(tmp_path).summary() == "3 of 3 points, 1 of 1 exercises solved"

    save(tmp_path, LINEAR, new_code_cell(CODE + " + 1"), check)
    changed = progress_in(tmp_path)
    assert changed.begun
    assert changed.next_exercise.name == "first"
    assert changed.summary() == (
        "0 of 3 points, 0 of 1 exercises solved; changed since the check: first"
    )


SOLVED = "import torch\ndef elu_feature_map(x):\n    return torch.nn.functional.elu(x) + 1"
CELLS = {
    "as it is": SOLVED,
    "with empty lines around it": f"\n\n{SOLVED}\n\n",
    "with a magic": f"%pwd\n{SOLVED}",
    "timed": f"%%time\n{SOLVED}",
}


def test_a_check_that_was_run_in_a_notebook_counts_as_long_as_the_code_stays(tmp_path):
    start = new_code_cell("from autograder.check import check")
    cells = [
        cell
        for source in CELLS.values()
        for cell in (new_code_cell(source), check_cell("elu_feature_map", 3))
    ]
    notebook = new_notebook(cells=[start, *cells])
    NotebookClient(notebook, extra_arguments=["--IPKernelApp.log_level=ERROR"]).execute()
    save(tmp_path, LINEAR, *notebook.cells)
    assert [e.solved for e in progress_in(tmp_path).exercises] == [True] * len(CELLS)

    for cell in notebook.cells:
        cell.source = cell.source.replace("+ 1", "+ 2")
    save(tmp_path, LINEAR, *notebook.cells)
    # Of a cell with a magic it is not known.
    assert [e.changed for e in progress_in(tmp_path).exercises] == [True, True, False, False]


def test_a_solved_notebook_has_no_next_exercise(tmp_path):
    save(tmp_path, LINEAR, check_cell("first", 3, earned=3))
    assert progress_in(tmp_path).next_exercise is None
    assert progress_in(tmp_path).summary() == "3 of 3 points, 1 of 1 exercises solved"


def test_a_notebook_that_was_never_run_is_said_to_be_so(tmp_path):
    save(tmp_path, LINEAR, check_cell("first", 3))
    assert "not begun" in progress_in(tmp_path).summary()


def test_a_notebook_that_is_written_and_not_there_is_missing_and_another_is_to_come(tmp_path):
    for notebook in PLAN:
        summary = progress_in(tmp_path, notebook.name).summary()
        assert ("run `make lab`" in summary) == bool(notebook.you_write)
        assert (summary == "to come") == (not notebook.you_write)


def spoilt(change):
    """The bytes of a notebook that was begun, with something changed in what JSON says."""

    def spoil(good):
        notebook = json.loads(good)
        change(notebook)
        return json.dumps(notebook).encode()

    return spoil


def set_points(value):
    def change(notebook):
        notebook["cells"][2]["outputs"][0]["data"][MIMETYPE] = {"points": value}

    return spoilt(change)


DAMAGE = {
    "empty": lambda good: b"",
    "cut off": lambda good: good[: len(good) // 2],
    "not text": lambda good: b"\xff\xfe" + good,
    "a conflict of git": lambda good: b"<<<<<<< HEAD\n" + good,
    "no notebook": lambda good: b"[1, 2, 3]",
    "nested without end": lambda good: b"[" * 100_000,
    "no cells": spoilt(lambda notebook: notebook.pop("cells")),
    "cells that are none": spoilt(lambda notebook: notebook.update(cells=[None])),
    "cells without outputs": spoilt(lambda notebook: notebook["cells"][2].pop("outputs")),
    "metadata that is a list": spoilt(lambda notebook: notebook["cells"][2].update(metadata=[])),
    "points in words": set_points("three"),
    "points that are no number": set_points(float("nan")),
    "points below zero": set_points(-1),
    "no points": set_points(None),
    "a fingerprint that is none": spoilt(
        lambda notebook: notebook["cells"][2]["outputs"][0]["data"][MIMETYPE].update(checked=[1])
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_notebook_is_said_to_be_so_and_the_others_are_still_shown(tmp_path, damage):
    path = begun(tmp_path)
    begun(tmp_path, FOUNDATIONS)
    path.write_bytes(damage(path.read_bytes()))
    assert "damaged" in progress_in(tmp_path).summary()
    assert "5 of 12 points" in progress_in(tmp_path, FOUNDATIONS).summary()
    assert "damaged" in CourseMap(tmp_path)._repr_html_()


def test_a_folder_in_the_place_of_a_notebook_is_damage_too(tmp_path):
    (tmp_path / LINEAR / f"{LINEAR}.ipynb").mkdir(parents=True)
    assert "damaged" in progress_in(tmp_path).summary()


def test_a_notebook_that_was_begun_comes_before_an_earlier_one_that_was_not(tmp_path):
    save(tmp_path, FOUNDATIONS, check_cell("early", 3))
    assert where_to_go_on(read_progress(tmp_path))[1].name == "early"
    begun(tmp_path)
    assert where_to_go_on(read_progress(tmp_path))[1].name == "second"


def links(html):
    return dict(re.findall(r'<a href="([^"]*)">([^<]*)</a>', html))


def test_the_map_links_to_notebooks_and_to_the_heading_of_the_next_exercise(tmp_path):
    begun(tmp_path)
    html = CourseMap(tmp_path)._repr_html_()
    path = f"{LINEAR}/{LINEAR}.ipynb"
    assert links(html) == {
        path: "2. Attention &amp; sums",
        f"{path}#cell-id=second-heading": "second",
    }
    assert "Go on with" in html
    assert '<progress value="5" max="12">' in html


def test_the_map_of_an_empty_folder_shows_all_that_the_course_teaches(tmp_path):
    html = CourseMap(tmp_path)._repr_html_()
    assert all(notebook.heading in html and notebook.teaches in html for notebook in PLAN)
    assert links(html) == {}


def test_text_from_a_notebook_is_not_taken_for_html(tmp_path):
    save(tmp_path, LINEAR, new_markdown_cell("# <img src=x>"), check_cell('"><b>', 3, earned=1))
    html = CourseMap(tmp_path)._repr_html_()
    assert "<img" not in html
    assert "<b>" not in html


@pytest.mark.parametrize(("topic", "name"), NOTEBOOKS.items())
def test_a_released_notebook_tells_its_title_time_and_every_exercise(topic, name):
    progress = progress_in(COURSE / "release", name)
    assert progress.title == next(n.heading for n in PLAN if n.name == name)
    assert progress.time
    assert [e.name for e in progress.exercises] == list(exercises_of(topic))
    assert [e.points for e in progress.exercises] == [
        e.points for e in exercises_of(topic).values()
    ]
    assert all(exercise.place for exercise in progress.exercises)


def test_a_terminal_prints_the_progress_of_every_notebook():
    result = CliRunner().invoke(app, ["progress"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for progress in read_progress(COURSE / "work"):
        assert progress.title in result.output
        assert progress.summary() in result.output

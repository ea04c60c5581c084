"""What a release, a submission and a score become where something cannot be done."""

import json
import shutil
from pathlib import Path

import nbformat
import pytest

from autograder.classroom import Classroom, CommandError
from autograder.example_submissions import cell_of
from autograder.grading.disarm import DisarmHtml
from tests import needs
from tests.hostile.small_class import copy_of, rows_of, text_of
from tests.journeys.forms import FIRST, FORMS, NAME, POINTS, SECOND, WRITTEN, short_source

pytestmark = pytest.mark.xdist_group("submission")


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Classroom:
    """One student's untouched notebook with a solved copy beside it, graded; changed by no test."""
    needs.a_sandbox()
    classroom = Classroom(tmp_path_factory.mktemp("class") / "a", NAME, short_source())
    classroom.generate_assignment()
    classroom.release_assignment()
    folder = classroom.course / "submitted" / "ada" / NAME
    folder.mkdir(parents=True)
    (folder / f"{NAME}-Copy1.ipynb").write_bytes(nbformat.writes(classroom.release).encode())
    (folder / f"{NAME}.ipynb").write_bytes(FORMS["as_it_is_meant"].content(classroom.release))
    classroom.autograde()
    classroom.generate_feedback()
    return classroom


@pytest.fixture
def classroom(graded: Classroom, tmp_path: Path) -> Classroom:
    """The class, to be changed."""
    return copy_of(graded, tmp_path / "class")


def files_in(classroom: Classroom, *folders: str) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for folder in folders
        for path in (classroom.course / folder).rglob("*")
        if path.is_file()
    }


def change_source(classroom: Classroom, **changes: object) -> None:
    """Add a cell to the source, or change one."""
    path = classroom.course / "source" / NAME / f"{NAME}.ipynb"
    source = nbformat.read(path, as_version=4)
    cell = json.loads(json.dumps(cell_of(source, f"check_{FIRST}")))
    cell["metadata"]["nbgrader"] |= changes
    cell["id"] = "another"
    source.cells.append(nbformat.from_dict(cell))
    nbformat.write(source, path)


def test_the_feedback_names_the_file_that_was_graded_and_those_beside_it(graded):
    page = text_of(graded.feedback_page("ada").read_text())
    assert f"The file {NAME}.ipynb is what was graded." in page
    assert f"beside it was not: {NAME}-Copy1.ipynb" in page


def test_collecting_says_that_nobody_has_handed_in(graded):
    assert "No submissions" in graded.collect()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"grade_id": "check_new"}, "is not the same any more: check_new"), ({"points": -1}, "")],
)
def test_a_release_that_cannot_be_made_leaves_the_old_one(classroom, changes, said):
    before, rows = files_in(classroom, "release", "autograded"), rows_of(classroom)
    change_source(classroom, **changes)
    with pytest.raises(CommandError, match="nothing was changed") as raised:
        classroom.generate_assignment()
    assert said in str(raised.value)
    assert files_in(classroom, "release", "autograded") == before
    assert rows_of(classroom) == rows


def test_after_that_grading_goes_on_as_before(classroom):
    rows = rows_of(classroom)
    change_source(classroom, grade_id="check_new")
    with pytest.raises(CommandError):
        classroom.generate_assignment()
    classroom.autograde("--force")
    assert rows_of(classroom) == rows


def no_kernel(classroom: Classroom) -> tuple[str, ...]:
    return ("--ExecuteAndJudge.kernel_name=not_installed",)


def no_release(classroom: Classroom) -> tuple[str, ...]:
    shutil.rmtree(classroom.course / "release")
    return ()


def other_points(classroom: Classroom) -> tuple[str, ...]:
    path = classroom.course / "source" / NAME / f"{NAME}.ipynb"
    source = nbformat.read(path, as_version=4)
    cell_of(source, f"check_{FIRST}").metadata.nbgrader.points = 1
    nbformat.write(source, path)
    classroom.generate_assignment()
    return ()


@pytest.mark.parametrize("hinder", [no_kernel, no_release, other_points])
def test_a_grading_that_cannot_begin_changes_nothing(classroom, hinder):
    options = hinder(classroom)
    before, rows = files_in(classroom, "submitted", "autograded"), rows_of(classroom)
    with pytest.raises(CommandError, match="nothing was changed"):
        classroom.autograde("--force", *options)
    assert files_in(classroom, "submitted", "autograded") == before
    assert rows_of(classroom) == rows


def failing(*_: object) -> None:
    raise RuntimeError("a defect")


def test_no_old_score_survives_a_grading_that_fails(classroom, monkeypatch):
    monkeypatch.setattr(DisarmHtml, "preprocess", failing)
    with pytest.raises(CommandError, match="a defect"):
        classroom.autograde("--force")
    assert {grade.points for grade in classroom.grades()["ada"].values()} == {0}
    monkeypatch.undo()
    classroom.autograde()
    points = {name: classroom.grades()["ada"][f"check_{name}"].points for name in (FIRST, SECOND)}
    assert points == POINTS


def ended(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_grading_that_is_ended_keeps_the_scores_until_the_next(classroom, monkeypatch):
    rows = rows_of(classroom)
    monkeypatch.setattr(DisarmHtml, "preprocess", ended)
    with pytest.raises(KeyboardInterrupt):
        classroom.autograde("--force")
    assert rows_of(classroom) == rows
    monkeypatch.undo()
    classroom.autograde()
    assert rows_of(classroom) == rows
    assert (classroom.course / "autograded" / "ada" / NAME / f"{NAME}.ipynb").exists()
    assert classroom.grades()["ada"][WRITTEN].needs_manual_grade

"""Hostile and broken submissions are graded by nbgrader's own commands, for real."""

import inspect
import io
import json
from collections.abc import Callable
from copy import deepcopy
from importlib import import_module

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from nbgrader.api import Gradebook

from autograder.classroom import Classroom
from autograder.grading import session
from autograder.grading.plain_files import was_no_file
from autograder.grading.reading import UnreadableError, read_notebook
from tests import needs
from tests.autograder.exercises.linear_attention.right_answers import RIGHT
from tests.hostile import stoppers
from tests.hostile.corpus import (
    EXERCISES,
    HONEST,
    NOTEBOOK,
    NOTHING,
    SOLVED,
    SUBMISSIONS,
    WON,
    write_notebook,
)
from tests.hostile.floods import FLOODS
from tests.hostile.killed import grade_until, ungraded_class
from tests.hostile.small_class import (
    copy_of,
    hand_in,
    notebook_with,
    rows_of,
    small_class,
    submitted,
)
from tests.hostile.watched import LIMITS, Graded, grade
from tests.journeys.submissions import WRITTEN

GROUPS = {
    "hostile_a": ("bombs", "escapes", "folders"),
    "hostile_b": ("cheats", "searches", "answers", "messages", "notebooks"),
}
for _name in (name for names in GROUPS.values() for name in names):
    import_module(f"tests.hostile.{_name}")
ALL = [
    (group, h) for group, names in GROUPS.items() for h in SUBMISSIONS.values() if h.module in names
]


@pytest.fixture(autouse=True, scope="module")
def _sandbox() -> None:
    needs.a_sandbox()


def graded_group(group: str, folders: pytest.TempPathFactory) -> Graded:
    mine = [hostile for name, hostile in ALL if name == group]
    return grade(folders.mktemp(group), mine)


@pytest.fixture(scope="module")
def hostile_a(tmp_path_factory) -> Graded:
    return graded_group("hostile_a", tmp_path_factory)


@pytest.fixture(scope="module")
def hostile_b(tmp_path_factory) -> Graded:
    return graded_group("hostile_b", tmp_path_factory)


@pytest.fixture
def graded(request, group) -> Graded:
    """What came of a group of submissions, which are graded once."""
    return request.getfixturevalue(group)


def in_group(group: str) -> pytest.MarkDecorator:
    return pytest.mark.xdist_group(group)


each = pytest.mark.parametrize(
    ("group", "hostile"), [pytest.param(g, h, marks=in_group(g), id=h.name) for g, h in ALL]
)
whole = pytest.mark.parametrize("group", [pytest.param(g, marks=in_group(g), id=g) for g in GROUPS])


@each
@pytest.mark.timeout(1200)
def test_it_earns_what_honest_work_earns_and_its_student_reads_why(graded, hostile):
    assert graded.points(hostile.name) == hostile.earns
    if hostile.earns is None:
        return
    said = graded.said(hostile.name)
    assert hostile.told in said
    assert WON not in said
    assert graded.secret not in said
    assert hostile.told in graded.page(hostile.name)


@whole
@pytest.mark.timeout(1200)
def test_nbgrader_reports_no_failure(graded):
    assert graded.failure == ""


@whole
@pytest.mark.timeout(1200)
def test_the_grades_of_others_stay(graded):
    before, after = graded.honest
    assert before == after


@whole
@pytest.mark.timeout(1200)
def test_nothing_on_the_machine_is_changed(graded):
    before, after = graded.files
    changed = {path for path, content in before.items() if content and after.get(path) != content}
    new = set(after) - set(before)
    course = graded.classroom.course
    ours = {course / "gradebook.db"}
    ours |= {path for path in new if path.is_relative_to(course / "autograded")}
    ours |= {path for path in new if path.is_relative_to(course / "feedback")}
    ours |= {path for path in new if "feedback" in path.parts}
    # What is no file is replaced by a text that says so, and a time that is none is set aside.
    handed_in = {path for path in new if path.is_relative_to(course / "submitted")}
    ours |= {path for path in handed_in if was_no_file(path.read_text())}
    ours |= {path for path in changed | new if path.name.startswith("timestamp.txt")}
    assert (changed | new) - ours == set()


@whole
@pytest.mark.timeout(1200)
def test_nothing_is_left_behind(graded):
    assert graded.processes == []
    assert graded.temporary == []


@whole
@pytest.mark.timeout(1200)
def test_nobody_was_reached(graded):
    assert graded.visitors == []


# --- Stopping the class --------------------------------------------------------------------------


@in_group("hostile-c")
def test_students_who_try_to_stop_the_class_do_not(tmp_path):
    classroom = small_class(tmp_path / "class")
    for stop in stoppers.STOPPERS:
        stop(classroom)
    hand_in(classroom, "zoe")
    classroom.collect()
    classroom.collect()
    classroom.autograde(*LIMITS)
    classroom.generate_feedback()
    classroom.release_feedback()
    zoe = classroom.grades()["zoe"]
    assert {name: zoe[f"check_{name}"].points for name in EXERCISES} == HONEST
    released = (classroom.folder / "exchange").rglob("feedback/*.html")
    assert classroom.feedback_page("zoe").read_bytes() in [page.read_bytes() for page in released]


@in_group("hostile-c")
def test_a_flood_of_messages_ends_by_the_clock_and_the_next_is_graded(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "_OUTPUT_SECONDS", 1)
    monkeypatch.setattr(session, "_GRACE_SECONDS", 3)
    classroom = small_class(tmp_path / "class")
    for name, text in FLOODS.items():
        stoppers.hand_in_cell(classroom, name, new_code_cell(text))
    hand_in(classroom, "zoe")
    classroom.collect()
    classroom.autograde(*LIMITS)
    points = {
        student: {name: own[f"check_{name}"].points for name in EXERCISES}
        for student, own in classroom.grades().items()
    }
    assert points == {"zoe": HONEST} | dict.fromkeys(FLOODS, NOTHING)


@in_group("hostile-c")
def test_an_archive_writes_nowhere_else_and_does_not_stop_the_others(tmp_path):
    classroom = small_class(tmp_path / "class")
    target = tmp_path / "canary"
    target.write_text("secret")
    archives = classroom.course / "downloaded" / NOTEBOOK / "archive"
    archives.mkdir(parents=True)
    notebook = nbformat.writes(notebook_with(classroom, *SOLVED)).encode()
    stoppers.put_archives(archives, notebook, target)
    gradebook = (classroom.course / "gradebook.db").read_bytes()
    names = r".*/(?P<student_id>\w+)/(?P<file_id>\w+)\.ipynb$"
    classroom._instruct("zip_collect", f"--FileNameCollectorPlugin.named_regexp={names}")
    assert target.read_text() == "secret"
    assert (classroom.course / "gradebook.db").read_bytes() == gradebook
    assert submitted(classroom, "zoe").read_bytes() == notebook


def test_what_is_read_can_also_be_copied_however_deeply_it_is_nested():
    def below(frames: int, call: Callable[[], object]) -> object:
        return below(frames - 1, call) if frames else call()

    failed = []
    for depth in range(300, 500, 5):
        cell = {"cell_type": "markdown", "metadata": {}, "source": "", "id": "a"}
        notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        nested = '{"a":' * depth + "{}" + "}" * depth
        text = json.dumps(notebook).replace('"id"', f'"nested": {nested}, "id"')
        try:
            read = read_notebook(io.BytesIO(text.encode()))
        except UnreadableError:
            continue
        try:
            below(50, lambda read=read: deepcopy(read))
        except RecursionError:
            failed.append(depth)
    assert failed == []


# --- Grading again -------------------------------------------------------------------------------


HALF = ("elu_feature_map", "recurrent_step")


def right_cell(name: str) -> str:
    """Another right version of an exercise than the solution, as a cell."""
    function = RIGHT[name][0]
    source = inspect.getsource(function).replace(f"def {function.__name__}(", f"def {name}(")
    return f"import math\nimport torch\n\n\n{source}"


def scores(classroom: Classroom) -> dict[str, list[float]]:
    return {
        student: [own[f"check_{name}"].points for name in EXERCISES]
        for student, own in classroom.grades().items()
    }


@pytest.fixture(scope="module")
def regraded(tmp_path_factory) -> Classroom:
    """A class of three, not yet graded: solved, half, and solved in another way."""
    classroom = small_class(tmp_path_factory.mktemp("regraded") / "class")
    otherwise = {name: right_cell(name) for name in EXERCISES}
    notebooks = {
        "half": notebook_with(classroom, *HALF),
        "otherwise": notebook_with(classroom, **otherwise),
        "solved": notebook_with(classroom, *EXERCISES, **{WRITTEN: "Sums can be regrouped."}),
    }
    for student, notebook in notebooks.items():
        hand_in(classroom, student, lambda place, _, own=notebook: write_notebook(place, own))
    classroom.collect()
    return classroom


@in_group("hostile-d")
def test_right_work_keeps_exactly_its_points_however_often_it_is_graded(regraded):
    full = [exercise.points for exercise in EXERCISES.values()]
    half = [
        e.points if n in ("elu_feature_map", "recurrent_step") else 0 for n, e in EXERCISES.items()
    ]
    for _ in range(3):
        regraded.autograde("--force")
        assert scores(regraded) == {"half": half, "otherwise": full, "solved": full}


@in_group("hostile-d")
def test_what_a_person_gave_is_kept_when_it_is_graded_again(regraded):
    regraded.autograde("--force")
    with Gradebook(f"sqlite:///{regraded.course / 'gradebook.db'}") as gradebook:
        where = WRITTEN, NOTEBOOK, NOTEBOOK, "solved"
        written = gradebook.find_grade(*where)
        written.manual_score, written.extra_credit = 3, 0.5
        gradebook.find_comment(*where).manual_comment = "Well put."
        corrected = gradebook.find_grade("check_elu_feature_map", *where[1:])
        # nbgrader asks to look again at an automatic score that a person has overruled.
        corrected.manual_score, corrected.needs_manual_grade = 1, True
        gradebook.db.commit()
    before = rows_of(regraded)
    regraded.autograde("--force")
    assert rows_of(regraded) == before
    assert regraded.grades()["solved"][WRITTEN].points == 3.5


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Classroom, list]:
    """A class that is not yet graded, and its gradebook when it is."""
    folder = tmp_path_factory.mktemp("killed")
    classroom = ungraded_class(folder / "class")
    copy = copy_of(classroom, folder / "graded")
    copy.autograde()
    return classroom, rows_of(copy)


@in_group("hostile-d")
@pytest.mark.parametrize(
    ("words", "times", "seconds"),
    [
        ("Creating/updating student", 1, 0.0),
        ("Autograding", 1, 1.5),
        ("Writing", 2, 0.0),
        ("Setting destination file permissions", 3, 0.0),
    ],
)
def test_a_grader_that_was_killed_ends_as_if_nothing_had_happened(
    undisturbed, tmp_path, words, times, seconds
):
    ungraded, rows = undisturbed
    classroom = copy_of(ungraded, tmp_path / "class")
    assert grade_until(classroom, words, times, seconds) == []
    classroom.autograde()
    assert rows_of(classroom) == rows

"""A class goes through nbgrader's own commands, from the release to the fetched feedback."""

import csv
import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import pytest
from nbformat import NotebookNode

from autograder.build import COURSE, source_notebook
from autograder.classroom import Classroom, CommandError, Grade
from autograder.demo import run_demo
from autograder.example_submissions import a_mistake_in_each
from autograder.exercises import NOTEBOOKS, exercises_of
from tests import needs
from tests.journeys import submissions
from tests.journeys.submissions import QUICK, WRITTEN

TOPIC = "linear_attention"
EXERCISES = exercises_of(TOPIC)
UNREADABLE = ("cut_off", "no_json", "empty_file")

pytestmark = pytest.mark.xdist_group("round-trip")


@dataclass
class Graded:
    """What came out of the round trip."""

    classroom: Classroom
    files: dict[str, bytes]
    grades: dict[str, dict[str, Grade]]
    feedback: dict[str, str]

    def points(self, student: str) -> dict[str, float]:
        """The automatic points of a student, by exercise."""
        own = self.grades[student]
        return {name: own[f"check_{name}"].points for name in EXERCISES}


def full_points(*solved: str) -> dict[str, int]:
    """What somebody should get who solved these exercises, and no other."""
    return {name: e.points if name in solved else 0 for name, e in EXERCISES.items()}


def words(page: Path) -> str:
    """What a page says, without its markup."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", page.read_text(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", "", text)).split())


def source() -> NotebookNode:
    name = NOTEBOOKS[TOPIC]
    return source_notebook(COURSE / "source" / name / f"{name}.md", TOPIC)


@pytest.fixture(autouse=True, scope="module")
def _sandbox() -> None:
    needs.a_sandbox()


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    classroom = Classroom(tmp_path_factory.mktemp("class"), NOTEBOOKS[TOPIC], source())
    classroom.generate_assignment()
    classroom.release_assignment()
    files = submissions.make_all(classroom.release, source(), TOPIC)
    for student, content in files.items():
        classroom.fetch(student).write_bytes(content)
        classroom.submit(student)
    classroom.collect()
    classroom.autograde()
    classroom.generate_feedback()
    classroom.release_feedback()
    feedback = {student: words(classroom.fetch_feedback(student)) for student in files}
    return Graded(classroom, files, classroom.grades(), feedback)


def test_everybody_who_handed_in_has_a_grade_for_every_cell(graded):
    cells = [f"check_{name}" for name in EXERCISES] + [WRITTEN]
    assert {student: list(own) for student, own in graded.grades.items()} == dict.fromkeys(
        sorted(graded.files), cells
    )


def test_what_students_get_holds_no_solution(graded):
    fetched = [p for p in (graded.classroom.folder / "exchange").rglob("outbound/**/*.*")]
    assert [path.suffix for path in fetched] == [".ipynb"]
    assert "BEGIN SOLUTION" not in fetched[0].read_text()


def test_a_solved_notebook_earns_all_automatic_points(graded):
    assert graded.points("solved") == full_points(*EXERCISES)


def test_a_written_answer_waits_for_a_person(graded):
    assert graded.grades["solved"][WRITTEN].needs_manual_grade


def test_a_written_question_without_an_answer_is_graded_0_at_once(graded):
    written = graded.grades["untouched"][WRITTEN]
    assert (written.points, written.needs_manual_grade) == (0, False)


def test_an_untouched_notebook_earns_nothing_and_is_told_that_nothing_is_written(graded):
    assert graded.points("untouched") == full_points()
    assert graded.feedback["untouched"].count("Not written yet") == len(EXERCISES)


def test_half_of_the_exercises_earn_their_own_points(graded):
    names = list(EXERCISES)
    assert graded.points("half") == full_points(*names[: len(names) // 2])


@pytest.mark.parametrize("name", EXERCISES)
def test_a_mistake_costs_points_and_is_named_and_explained(graded, name):
    mistake = a_mistake_in_each(TOPIC, [name])[name]
    assert graded.points("wrong")[name] < EXERCISES[name].points
    told = f"This looks like: {mistake.name}. {' '.join(mistake.explanation.split())}"
    assert told in graded.feedback["wrong"]


def test_copied_cells_are_graded_once(graded):
    assert graded.points("copied_cells") == full_points(*QUICK)
    for cell in ("elu_feature_map", "check_elu_feature_map"):
        assert f"The cell {cell} is there more than once" in graded.feedback["copied_cells"]


def test_deleted_test_cells_are_put_back_and_graded(graded):
    assert graded.points("deleted_tests") == full_points(*QUICK)
    for name in EXERCISES:
        assert f"The cell check_{name} was missing" in graded.feedback["deleted_tests"]


def test_a_deleted_exercise_earns_nothing_and_the_others_keep_their_points(graded):
    assert graded.points("deleted_exercise") == full_points("fourier_mixing", "global_filter")
    for cell in ("setup", "elu_feature_map", "check_elu_feature_map", "linear_attention"):
        assert f"The cell {cell} was missing" in graded.feedback["deleted_exercise"]


def test_an_edited_test_cell_is_replaced_by_the_original(graded):
    assert graded.points("edited_tests") == full_points(*QUICK)
    for cell in ("check_elu_feature_map", "check_linear_attention"):
        assert f"The cell {cell} had been changed" in graded.feedback["edited_tests"]


def test_the_points_of_a_cell_are_the_instructors(graded):
    assert graded.points("raised_points") == full_points(*QUICK)
    most = {
        student: sum(g.max_points for g in own.values()) for student, own in graded.grades.items()
    }
    assert len(set(most.values())) == 1


def test_broken_nbgrader_metadata_changes_no_points(graded):
    assert graded.points("old_metadata") == full_points(*QUICK)


def test_a_function_that_ends_the_process_loses_its_own_points_only(graded):
    assert graded.points("killed_kernel") == full_points("elu_feature_map", "global_filter")
    assert "The Python process ended while your function ran" in graded.feedback["killed_kernel"]


@pytest.mark.parametrize("student", UNREADABLE)
def test_a_file_that_is_no_notebook_earns_nothing_and_says_why(graded, student):
    assert graded.points(student) == full_points()
    assert "cannot be read as a notebook" in graded.feedback[student]


@pytest.mark.parametrize("student", UNREADABLE)
def test_a_file_that_is_no_notebook_is_kept_as_it_was_handed_in(graded, student):
    name = graded.classroom.assignment
    kept = graded.classroom.course / "submitted" / student / name / f"{name}.ipynb"
    assert kept.read_bytes() == graded.files[student]


def test_the_export_holds_everybodys_total(graded):
    with graded.classroom.export().open() as file:
        totals = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert totals == {s: sum(g.points for g in own.values()) for s, own in graded.grades.items()}


def test_a_notebook_under_another_name_cannot_be_handed_in(graded):
    notebook = graded.classroom.fetch("renamed")
    notebook.rename(notebook.with_name("my_copy.ipynb"))
    with pytest.raises(CommandError, match="missing notebooks"):
        graded.classroom.submit("renamed")


# The tests from here on change the class.


def test_a_submission_without_the_notebook_is_reported_and_changes_no_other_grade(graded):
    place = graded.classroom.course / "submitted" / "renamed" / graded.classroom.assignment
    place.mkdir(parents=True)
    (place / "my_copy.ipynb").write_bytes(graded.files["solved"])
    with pytest.raises(CommandError, match=f"{graded.classroom.assignment}' for student 'renamed'"):
        graded.classroom.autograde()
    now = graded.classroom.grades()
    assert {student: now[student] for student in graded.grades} == graded.grades


def test_the_demo_prints_the_grades_and_where_the_feedback_lies(tmp_path, capsys):
    run_demo(tmp_path)
    printed = capsys.readouterr().out
    assert all(name in printed for name in EXERCISES)
    pages = re.findall(r"/\S+\.html", printed)
    assert len(pages) == 5
    assert all(Path(page).exists() for page in pages)

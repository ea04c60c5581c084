"""An instructor's way through formgrader in JupyterLab, and the feedback that a student sees."""

import re
from collections.abc import Iterator

import nbformat
import pytest
from nbgrader.api import Gradebook
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Locator, Page, expect

from autograder.build import COURSE, source_notebook
from autograder.classroom import Classroom, Grade
from autograder.example_submissions import (
    a_mistake_in_each,
    mistake_source,
    solutions_in,
    with_answers,
)
from autograder.exercises import NOTEBOOKS, exercises_of
from tests import needs
from tests.journeys.lab import SECONDS, running_lab, set_up_formgrader
from tests.journeys.submissions import QUICK, WRITTEN

pytestmark = pytest.mark.xdist_group("browser")

TOPIC = "linear_attention"
NOTEBOOK = NOTEBOOKS[TOPIC]
COMMENT = "Well put."
WAITING = re.compile("needs_manual_grade")


@pytest.fixture(scope="module")
def classroom(tmp_path_factory) -> Classroom:
    """A class whose instructor has the source notebook, and has done nothing yet."""
    needs.a_sandbox()
    source = source_notebook(COURSE / "source" / NOTEBOOK / f"{NOTEBOOK}.md", TOPIC)
    classroom = Classroom(tmp_path_factory.mktemp("formgrader"), NOTEBOOK, source)
    set_up_formgrader(classroom)
    return classroom


@pytest.fixture(scope="module")
def offline(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that reaches nothing but this machine: nbgrader's pages ask for MathJax."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.route(re.compile("^https:"), lambda route: route.abort())
    yield context
    context.close()


@pytest.fixture(scope="module")
def instructor(classroom, offline: BrowserContext) -> Iterator[FrameLocator]:
    """Formgrader, opened from JupyterLab's menu."""
    with running_lab(classroom.course) as address:
        page = offline.new_page()
        page.goto(f"{address}/lab?reset")
        page.get_by_role("menuitem", name="Nbgrader", exact=True).click(timeout=90 * SECONDS)
        page.get_by_role("menuitem", name="Formgrader", exact=True).click()
        yield page.frame_locator("iframe[src*=formgrader]")
        page.close()


def press(formgrader: FrameLocator, button: str, row: str = NOTEBOOK) -> None:
    """Press the button of a row, and close the message that says it worked."""
    formgrader.locator("tr", has_text=row).locator(f".{button} a").click(timeout=60 * SECONDS)
    message = formgrader.locator(".modal-dialog")
    expect(message).to_be_visible(timeout=90 * SECONDS)
    expect(message).to_contain_text("Successfully")
    message.get_by_role("button", name="OK").click()
    expect(message).to_be_hidden()


def hand_in(classroom: Classroom, student: str, answers: dict[str, str]) -> None:
    notebook = with_answers(classroom.release, answers)
    classroom.fetch(student).write_text(nbformat.writes(notebook), encoding="utf-8")
    classroom.submit(student)


def report_on(place: FrameLocator | Page, exercise: str) -> Locator:
    """The report under the check of an exercise."""
    return place.locator(".output_html", has_text=re.compile(rf"^\s*{exercise}: \d+ of \d+ points"))


def test_an_instructor_grades_a_class_by_mouse_and_a_student_reads_it(
    classroom, instructor, offline: BrowserContext
):
    assignment = instructor.locator("tr", has_text=NOTEBOOK)
    expect(assignment.locator(".status")).to_have_text("draft", timeout=60 * SECONDS)
    press(instructor, "assign")
    expect(assignment.locator(".preview a")).to_be_visible()
    press(instructor, "release")
    expect(assignment.locator(".status")).to_have_text("released")

    source = source_notebook(COURSE / "source" / NOTEBOOK / f"{NOTEBOOK}.md", TOPIC)
    solutions = solutions_in(source)
    mistake = a_mistake_in_each(TOPIC, ["fourier_mixing"])["fourier_mixing"]
    answers = {name: solutions[name] for name in QUICK}
    wrong = {"fourier_mixing": mistake_source(mistake)}
    hand_in(classroom, "ada", answers | {WRITTEN: "Sums can be regrouped."})
    hand_in(classroom, "ben", answers | wrong | {WRITTEN: "Brackets move."})
    press(instructor, "collect")
    submissions = assignment.locator(".num-submissions a")
    expect(submissions).to_have_text("2")

    submissions.click()
    for student in ("ada", "ben"):
        row = instructor.locator("tr", has_text=student)
        expect(row).to_contain_text("needs autograding", timeout=30 * SECONDS)
        press(instructor, "autograde", row=student)
        expect(row).to_contain_text("needs manual grading")
    points = sum(exercises_of(TOPIC)[name].points for name in QUICK)
    most = classroom.grades()["ben"][WRITTEN].max_points
    total = sum(e.points for e in exercises_of(TOPIC).values()) + most
    ada = instructor.locator("tr", has_text="ada")
    expect(ada.locator(".score")).to_have_text(f"{points} / {total:g}")

    instructor.get_by_role("link", name="Manual Grading").click()
    for heading in ("Assignment ID", "Notebook ID"):
        instructor.locator("table", has_text=heading).get_by_role("link", name=NOTEBOOK).click()
    # The button shows the names in the rows that are there.
    expect(instructor.get_by_role("link", name="Submission #")).to_have_count(2)
    instructor.get_by_role("button", name="Show All Names").click()
    instructor.get_by_role("link", name="ben", exact=True).click()
    answer = instructor.locator(f".nbgrader_cell:has(#{WRITTEN})")
    expect(answer).to_contain_text("Brackets move.", timeout=30 * SECONDS)
    report = report_on(instructor, "fourier_mixing")
    expect(report.get_by_role("cell", name="✗ failed").first).to_be_visible()
    expect(report).to_contain_text(f"This looks like: {mistake.name}.")
    report = report_on(instructor, "global_filter")
    expect(report.get_by_role("cell", name="✓ passed").first).to_be_visible()
    expect(report.get_by_role("cell", name="✗ failed")).to_have_count(0)

    score, comment = answer.locator(".score"), answer.locator(".comment")
    # Formgrader fetches what is saved after the page is there, and writes over what was typed.
    expect(score).to_have_class(WAITING)
    expect(comment).to_have_attribute("placeholder", re.compile("Type any comments"))
    score.fill(f"{most - 1:g}")
    score.press("Tab")
    expect(score).not_to_have_class(WAITING)
    comment.fill(COMMENT)
    comment.press("Tab")
    expect(answer.locator(".comment-saved.glyphicon-ok")).to_be_visible()
    grades = classroom.grades()
    assert grades["ben"][WRITTEN] == Grade(most - 1, most, needs_manual_grade=False)
    assert grades["ada"][WRITTEN].needs_manual_grade
    with Gradebook(f"sqlite:///{classroom.course / 'gradebook.db'}") as gradebook:
        saved = gradebook.find_comment(WRITTEN, NOTEBOOK, NOTEBOOK, "ben").comment
    assert saved == COMMENT

    instructor.get_by_role("link", name="Manual Grading").click()
    instructor.get_by_role("link", name="Manage Assignments").click()
    press(instructor, "generate-feedback")
    press(instructor, "release-feedback")

    page = offline.new_page()
    page.goto(classroom.fetch_feedback("ben").as_uri())
    report = report_on(page, "fourier_mixing")
    expect(report.get_by_role("cell", name="✗ failed").first).to_be_visible()
    expect(report).to_contain_text(f"This looks like: {mistake.name}.")
    report = report_on(page, "global_filter")
    expect(report.get_by_role("cell", name="✓ passed").first).to_be_visible()
    answer = page.locator(".nbgrader_cell", has_text="Brackets move.")
    expect(answer).to_contain_text(f"Score: {most - 1} / {most}")
    expect(answer).to_contain_text(COMMENT)

    assert "Traceback" not in (classroom.folder / "lab.log").read_text()

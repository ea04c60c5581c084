"""An instructor's way through formgrader in JupyterLab, and the feedback that a student sees."""

import os
import shutil
from collections.abc import Iterator

import nbformat
import pytest
from playwright.sync_api import Browser, FrameLocator, expect

from autograder.build import COURSE, source_notebook
from autograder.classroom import COURSE_ID, Classroom
from autograder.example_submissions import (
    a_mistake_in_each,
    mistake_source,
    solutions_in,
    with_answers,
)
from autograder.exercises import exercises_of
from tests import needs
from tests.lab import NOTEBOOK, SECONDS, TOPIC, running_lab
from tests.submissions import QUICK, WRITTEN

pytestmark = pytest.mark.xdist_group("browser")

COMMENT = "Well put."
SETTINGS = """
c.CourseDirectory.course_id = {course_id!r}
c.Exchange.root = {exchange!r}
c.ExchangeCollect.check_owner = False
"""


@pytest.fixture(scope="module")
def classroom(tmp_path_factory) -> Classroom:
    """A class whose instructor has the source notebook, and has done nothing yet."""
    needs.a_sandbox()
    source = source_notebook(COURSE / "source" / NOTEBOOK / f"{NOTEBOOK}.md", TOPIC)
    classroom = Classroom(tmp_path_factory.mktemp("formgrader"), NOTEBOOK, source)
    exchange = classroom.folder / "exchange"
    (classroom.course / "release").mkdir()
    exchange.mkdir()
    exchange.chmod(0o777)
    shutil.copy(COURSE / "jupyter_server_config.py", classroom.course)
    shutil.copytree(COURSE / "labconfig", classroom.course / "labconfig")
    with (classroom.course / "nbgrader_config.py").open("a") as file:
        file.write(SETTINGS.format(course_id=COURSE_ID, exchange=str(exchange)))
    return classroom


@pytest.fixture(scope="module")
def instructor(classroom, browser: Browser) -> Iterator[FrameLocator]:
    """Formgrader, opened from JupyterLab's menu."""
    with running_lab(classroom.course) as address:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{address}/lab?reset")
        page.get_by_role("menuitem", name="Nbgrader", exact=True).click(timeout=90 * SECONDS)
        page.get_by_role("menuitem", name="Formgrader", exact=True).click()
        yield page.frame_locator("iframe[src*=formgrader]")
        page.close()


def press(formgrader: FrameLocator, button: str, row: str = NOTEBOOK) -> None:
    """Press the button of a row, and close the message that says it worked."""
    formgrader.locator("tr", has_text=row).locator(f".{button} a").click(timeout=60 * SECONDS)
    message = formgrader.locator(".modal-dialog", has_text="Successfully")
    expect(message).to_be_visible(timeout=90 * SECONDS)
    message.get_by_role("button", name="Close").last.click()
    expect(message).to_be_hidden()


def hand_in(classroom: Classroom, student: str, answers: dict[str, str]) -> None:
    notebook = with_answers(classroom.release, answers)
    classroom.fetch(student).write_text(nbformat.writes(notebook), encoding="utf-8")
    classroom.submit(student)


def open_submission(formgrader: FrameLocator, answer: str) -> None:
    """Open the one of two submissions that holds a text."""
    formgrader.get_by_role("link", name="Manual Grading").click()
    for _ in ("the assignment", "its notebook"):
        formgrader.get_by_role("link", name=NOTEBOOK).first.click()
    formgrader.locator("tbody a", has_text="Submission").first.click()
    expect(formgrader.get_by_text("Submission 1 / 2")).to_be_visible()
    if not formgrader.get_by_text(answer).count():
        formgrader.get_by_role("link", name="Next").click()
        expect(formgrader.get_by_text("Submission 2 / 2")).to_be_visible()


def test_an_instructor_grades_a_class_by_mouse_and_a_student_reads_it(
    classroom, instructor, browser: Browser
):
    press(instructor, "assign")
    press(instructor, "release")

    source = source_notebook(COURSE / "source" / NOTEBOOK / f"{NOTEBOOK}.md", TOPIC)
    solutions = solutions_in(source)
    mistake = a_mistake_in_each(TOPIC, ["fourier_mixing"])["fourier_mixing"]
    answers = {name: solutions[name] for name in QUICK}
    wrong = {"fourier_mixing": mistake_source(mistake)}
    hand_in(classroom, "ada", answers | {WRITTEN: "Sums can be regrouped."})
    hand_in(classroom, "ben", answers | wrong | {WRITTEN: "Brackets move."})
    press(instructor, "collect")
    instructor.locator(".num-submissions a", has_text="2").click()
    for student in ("ada", "ben"):
        expect(instructor.locator("tr", has_text=student)).to_contain_text("needs autograding")
        press(instructor, "autograde", row=student)
        expect(instructor.locator("tr", has_text=student)).to_contain_text("needs manual grading")
    points = sum(exercises_of(TOPIC)[name].points for name in QUICK)
    expect(instructor.locator("tr", has_text="ada").locator(".score")).to_contain_text(
        f"{points} /"
    )

    open_submission(instructor, "Brackets move.")
    report = instructor.locator(".output", has_text="fourier_mixing: ").last
    expect(report.get_by_text("✗ failed").first).to_be_visible()
    expect(report).to_contain_text(f"This looks like: {mistake.name}.")
    instructor.locator(f"#{WRITTEN}").fill("3")
    instructor.locator(f"#{WRITTEN}-comment").fill(COMMENT)
    instructor.locator(f"#{WRITTEN}").press("Tab")
    expect(instructor.locator(".score-saved").last).to_be_visible()
    expect(instructor.locator(".comment-saved").last).to_be_visible()
    assert classroom.grades()["ben"][WRITTEN].points == 3

    instructor.get_by_role("link", name="Manual Grading").first.click()
    instructor.get_by_role("link", name="Manage Assignments").click()
    press(instructor, "generate-feedback")
    press(instructor, "release-feedback")

    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.goto(classroom.fetch_feedback("ben").as_uri())
    expect(page.locator("body")).to_contain_text(COMMENT)
    expect(page.locator("body")).to_contain_text("Written response (Score: 3.0 / 4.0)")
    expect(page.get_by_text(f"This looks like: {mistake.name}.")).to_be_visible()
    if shots := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{shots}/feedback.png", full_page=True)
    page.close()

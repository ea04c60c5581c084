"""A real JupyterLab in headless Chromium, on a copy of the course, for the browser tests."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Locator, Page, expect

from autograder.classroom import COURSE_ID, Classroom
from autograder.exercise import Exercise
from autograder.registry import COURSE, NOTEBOOKS
from autograder.work import update

SECONDS = 1000  # Playwright counts milliseconds

_SETTINGS = """
c.CourseDirectory.course_id = {course_id!r}
c.Exchange.root = {exchange!r}
c.ExchangeCollect.check_owner = False
"""


class Lab(NamedTuple):
    """A running JupyterLab, and the folder of the course on which it runs."""

    address: str
    course: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def copy_of_course(folder: Path) -> Path:
    """A copy of the course in `folder`, as somebody has it who just set it up."""
    theirs = ("gradebook.db", "submitted", "autograded", "feedback", ".build", "work", "kept")
    course = folder / "course"
    shutil.copytree(COURSE, course, ignore=shutil.ignore_patterns(*theirs))
    update(course)
    return course


def set_up_formgrader(classroom: Classroom) -> None:
    """Give a class what `running_lab` needs to show formgrader on it."""
    exchange = classroom.folder / "exchange"
    exchange.mkdir(exist_ok=True)
    exchange.chmod(0o777)
    shutil.copy(COURSE / "jupyter_server_config.py", classroom.course)
    shutil.copytree(COURSE / "labconfig", classroom.course / "labconfig")
    with (classroom.course / "nbgrader_config.py").open("a") as file:
        file.write(_SETTINGS.format(course_id=COURSE_ID, exchange=str(exchange)))


@contextmanager
def running_lab(course: Path) -> Iterator[str]:
    """Start JupyterLab as `make lab` does, on the folder `course`; yield its address."""
    folder = course.parent
    port = free_port()
    environment = os.environ | {
        "JUPYTER_CONFIG_PATH": str(course),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
    }
    arguments = ["--no-browser", f"--port={port}", "--ServerApp.token=", "--allow-root"]
    # A learner's open tabs are kept with the environment: leave them alone.
    arguments.append(f"--LabApp.workspaces_dir={folder / 'workspaces'}")
    log = folder / "lab.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *arguments],
            cwd=course,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api/status", timeout=5)
                break
            except OSError:
                time.sleep(0.25)
        else:
            raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()}")
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


def open_notebook(page: Page, address: str, path: str) -> None:
    """Open a notebook and wait until its kernel is idle."""
    # On a busy machine JupyterLab can take its own automatic save for somebody else's.
    page.add_locator_handler(
        page.locator(".jp-Dialog", has_text="File Changed"),
        lambda dialog: dialog.get_by_role("button", name="Overwrite").click(),
    )
    page.goto(f"{address}/lab/tree/{path}?reset")
    expect(page.locator(".jp-Notebook")).to_be_visible(timeout=90 * SECONDS)
    wait_until_idle(page)


def wait_until_idle(page: Page, timeout: int = 180 * SECONDS) -> None:
    status = page.locator("#jp-main-statusbar").get_by_text("Python 3 (ipykernel) |")
    expect(status).to_have_text(re.compile("Idle$"), timeout=timeout)


def cell_with(page: Page, text: str) -> Locator:
    """The code cell whose source contains `text`, scrolled into view."""
    cell = page.locator(".jp-CodeCell").filter(
        has=page.locator(".jp-InputArea-editor", has_text=text)
    )
    cell.first.scroll_into_view_if_needed()
    return cell.first


def run_cell(page: Page, cell: Locator) -> None:
    """Run it and wait for its end: for another number than that of its last run."""
    prompt = cell.locator(".jp-InputPrompt")
    before = prompt.inner_text()
    prompt.click()
    page.keyboard.press("Control+Enter")
    expect(prompt).not_to_have_text(before, timeout=60_000)
    expect(prompt).to_have_text(re.compile(r"\[\d+\]"), timeout=60_000)
    wait_until_idle(page)


def replace_source(page: Page, cell: Locator, source: str) -> None:
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(source)
    page.keyboard.press("Escape")


def run_all(page: Page) -> None:
    """Start every cell of the open notebook."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def expect_formulas(page: Page, paragraph: str, latex: str) -> None:
    """Formulas are rendered: MathJax's elements are there, and no source such as `latex` is."""
    page.locator("p", has_text=paragraph).first.scroll_into_view_if_needed()
    expect(page.locator("mjx-container").first).to_be_visible()
    assert latex not in page.locator(".jp-Notebook").inner_text()


def expect_a_mistake_to_be_named(page: Page, exercise: str, wrong: str, mistake: str) -> None:
    """Write `wrong` into the cell of an exercise, and run its check."""
    stub, check = cell_with(page, f"def {exercise}"), cell_with(page, f"check({exercise})")
    replace_source(page, stub, wrong)
    run_cell(page, stub)
    run_cell(page, check)
    expect(check).to_contain_text(f"This looks like: {mistake}")
    expect(check).to_contain_text("✗ failed")


def run_solved(page: Page, lab: Lab, exercise: Exercise) -> None:
    """Open the solved notebook of an exercise and run all; the exercise earns its points."""
    name = NOTEBOOKS[exercise.topic]
    open_notebook(page, lab.address, f"work/{name}/solved.ipynb")
    run_all(page)
    expect(cell_with(page, f"check({exercise.name})")).to_contain_text(
        f"{exercise.points} of {exercise.points} points", timeout=180 * SECONDS
    )
    wait_until_idle(page)


def expect_a_slider_to_change(page: Page, explorer: str) -> None:
    """Move the first slider of a widget: its figure and its sentence follow."""
    cell = cell_with(page, explorer)
    figure, slider = cell.locator("img"), cell.get_by_role("slider").first
    expect(figure).to_be_visible(timeout=30 * SECONDS)
    picture, words = figure.get_attribute("src"), cell.inner_text()
    slider.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(figure).not_to_have_attribute("src", picture, timeout=30 * SECONDS)
    assert cell.inner_text() != words


def expect_no_warnings(page: Page) -> None:
    """Nothing in the open notebook was written to standard error."""
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0

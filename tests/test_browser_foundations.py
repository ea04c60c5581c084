"""00_foundations in JupyterLab, as somebody who is new to the course meets it."""

import nbformat
import pytest
from playwright.sync_api import expect

from autograder.build import COURSE, source_notebook
from autograder.exercises import NOTEBOOKS, exercises_of
from tests.lab import (
    SECONDS,
    cell_with,
    copy_of_course,
    open_notebook,
    run_cell,
    running_lab,
    wait_until_idle,
)

pytestmark = pytest.mark.xdist_group("browser")

TOPIC = "foundations"
NOTEBOOK = NOTEBOOKS[TOPIC]
EXERCISES = exercises_of(TOPIC)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    with running_lab(copy_of_course(folder)) as address:
        solved = source_notebook(COURSE / "source" / NOTEBOOK / f"{NOTEBOOK}.md", TOPIC)
        nbformat.write(solved, folder / "course" / "release" / NOTEBOOK / "solved.ipynb")
        yield address


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield page
    page.close()


def test_a_newcomer_sees_what_a_check_says_and_what_validate_lists(lab, page):
    open_notebook(page, lab, f"release/{NOTEBOOK}/{NOTEBOOK}.ipynb")
    run_cell(page, cell_with(page, "from autograder.check import check"))

    untouched = cell_with(page, "check(softmax_attention)")
    run_cell(page, untouched)
    points = EXERCISES["softmax_attention"].points
    expect(untouched).to_contain_text(f"softmax_attention: 0 of {points} points")
    expect(untouched).to_contain_text("Not written yet")

    attempt = cell_with(page, "v.mean(dim=-2")
    run_cell(page, attempt)
    expect(attempt).to_contain_text("✓ passed")
    expect(attempt).to_contain_text("✗ failed")
    expect(attempt).to_contain_text("of the entries are wrong")

    page.get_by_role("button", name="Validate").click()
    dialog = page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("Validation", timeout=180 * SECONDS)
    for name in EXERCISES:
        expect(dialog).to_contain_text(f"check({name})")


def test_moving_a_control_changes_the_figure_and_the_sentence(lab, page):
    open_notebook(page, lab, f"release/{NOTEBOOK}/solved.ipynb")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    points = EXERCISES["relative_error"].points
    expect(cell_with(page, "check(relative_error)")).to_contain_text(
        f"{points} of {points} points", timeout=180 * SECONDS
    )
    wait_until_idle(page)

    for explorer in ("attention_explorer(", "cost_explorer("):
        cell = cell_with(page, explorer)
        figure, slider = cell.locator("img"), cell.get_by_role("slider").first
        expect(figure).to_be_visible(timeout=30 * SECONDS)
        picture, words = figure.get_attribute("src"), cell.inner_text()
        slider.focus()
        for _ in range(2):
            page.keyboard.press("ArrowRight")
        expect(figure).not_to_have_attribute("src", picture, timeout=30 * SECONDS)
        assert cell.inner_text() != words

    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0

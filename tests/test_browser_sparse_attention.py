"""01_sparse_attention in JupyterLab: formulas, checks and explorers as a learner meets them."""

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
    replace_source,
    run_cell,
    running_lab,
    wait_until_idle,
)

pytestmark = pytest.mark.xdist_group("browser")

TOPIC = "sparse_attention"
NOTEBOOK = NOTEBOOKS[TOPIC]
EXERCISES = exercises_of(TOPIC)
EXPLORERS = ("pattern_explorer(", "lsh_explorer(")
ONE_SIDED = """def lsh_bucket(x, rotations):
    return (x @ rotations).argmax(dim=-1)"""


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


def test_a_learner_reads_formulas_and_is_told_which_mistake_it_is(lab, page):
    open_notebook(page, lab, f"release/{NOTEBOOK}/{NOTEBOOK}.ipynb")
    page.locator("p", has_text="Locality-sensitive hashing").first.scroll_into_view_if_needed()
    expect(page.locator("mjx-container").first).to_be_visible()
    assert "\\arg\\max" not in page.locator(".jp-Notebook").inner_text()

    run_cell(page, cell_with(page, "from autograder.check import check"))
    stub = cell_with(page, "def lsh_bucket")
    check = cell_with(page, "check(lsh_bucket)")
    replace_source(page, stub, ONE_SIDED)
    run_cell(page, stub)
    run_cell(page, check)
    expect(check).to_contain_text("This looks like: argmax without the negated half")
    expect(check).to_contain_text("✗ failed")


def test_every_explorer_says_what_is_not_solved_yet(lab, page):
    open_notebook(page, lab, f"release/{NOTEBOOK}/{NOTEBOOK}.ipynb")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    expect(cell_with(page, "lsh_explorer(")).to_contain_text(
        "lsh_bucket is not solved yet.", timeout=180 * SECONDS
    )
    expect(cell_with(page, "pattern_explorer(")).to_contain_text("reachability is not solved yet.")
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def test_moving_a_slider_changes_the_figure_and_the_sentence(lab, page):
    open_notebook(page, lab, f"release/{NOTEBOOK}/solved.ipynb")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    points = EXERCISES["lsh_attention"].points
    expect(cell_with(page, "check(lsh_attention)")).to_contain_text(
        f"{points} of {points} points", timeout=180 * SECONDS
    )
    wait_until_idle(page)

    for explorer in EXPLORERS:
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

"""The course in JupyterLab, as a learner uses it. Needs a Chromium: the system's, or CHROMIUM."""

import time

import nbformat
import pytest
from nbformat.v4 import new_output
from playwright.sync_api import expect

from autograder.exercises import NOTEBOOKS, exercises_of
from autograder.report import Line, Report
from autograder.work import write_start_page
from tests.journeys.lab import (
    SECONDS,
    cell_with,
    expect_a_mistake_to_be_named,
    expect_a_slider_to_change,
    expect_no_warnings,
    open_notebook,
    replace_source,
    run_cell,
    run_solved,
    wait_until_idle,
)

pytestmark = pytest.mark.xdist_group("browser")

TOPIC = "linear_attention"
NOTEBOOK = NOTEBOOKS[TOPIC]


WRONG = "import torch\n\ndef elu_feature_map(x):\n    return torch.relu(x)"
RIGHT = WRONG.replace("torch.relu(x)", "torch.nn.functional.elu(x) + 1")


def test_a_learner_reads_writes_checks_and_validates(lab, page):
    address, _ = lab
    open_notebook(page, address, f"work/{NOTEBOOK}/{NOTEBOOK}.ipynb")

    # Formulas are rendered: MathJax's elements are there, and no source of a formula is left.
    page.locator("p", has_text="Look at the output for one query").scroll_into_view_if_needed()
    expect(page.locator("mjx-container").first).to_be_visible()
    assert page.locator("mjx-container").count() > 5
    assert "\\frac" not in page.locator(".jp-Notebook").inner_text()

    run_cell(page, cell_with(page, "from autograder.check import check"))
    stub, check = cell_with(page, "def elu_feature_map"), cell_with(page, "check(elu_feature_map)")
    run_cell(page, stub)
    run_cell(page, check)
    expect(check).to_contain_text("Not written yet")

    expect_a_mistake_to_be_named(page, "elu_feature_map", WRONG, "relu instead of elu plus 1")

    replace_source(page, stub, RIGHT)
    run_cell(page, stub)
    run_cell(page, check)
    expect(check).to_contain_text("4 of 4 points")
    expect(check).not_to_contain_text("✗ failed")

    page.keyboard.press("Control+S")
    page.get_by_role("button", name="Validate").click()
    dialog = page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("Validation", timeout=180 * SECONDS)
    expect(dialog).to_contain_text("check(linear_attention)")
    expect(dialog).not_to_contain_text("check(elu_feature_map)")


def test_moving_a_slider_changes_the_figure_and_the_sentence(lab, page):
    run_solved(page, lab, exercises_of(TOPIC)["global_filter"])

    for explorer in ("recurrent_state_explorer(", "kernel_approximation_explorer("):
        expect_a_slider_to_change(page, explorer)

    expect_no_warnings(page)


def test_the_markdown_source_opens_as_a_notebook_and_is_saved_without_loss(lab, page):
    address, course = lab
    source = course / "source" / NOTEBOOK / f"{NOTEBOOK}.md"
    before, saved_at = source.read_bytes(), source.stat().st_mtime_ns
    open_notebook(page, address, f"source/{NOTEBOOK}/{NOTEBOOK}.md")
    expect(page.locator(".jp-CodeCell").first).to_contain_text("from autograder.check import check")
    page.locator(".jp-Notebook").click()
    page.keyboard.press("Control+S")
    deadline = time.monotonic() + 30
    while source.stat().st_mtime_ns == saved_at and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    assert source.stat().st_mtime_ns != saved_at
    assert source.read_bytes() == before


def test_the_lab_opens_on_the_map_whose_links_lead_to_the_next_exercise(lab, page):
    address, course = lab
    path = course / "work" / NOTEBOOK / f"{NOTEBOOK}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    (check,) = [cell for cell in notebook.cells if cell.source == "check(elu_feature_map)"]
    report = Report("elu_feature_map", (Line("it is right", 4, ""),))._repr_mimebundle_()
    check.outputs = [new_output("execute_result", report)]
    nbformat.write(notebook, path)
    write_start_page(course)

    # Before anything is run, and without trust in the page.
    page.goto(address)
    start = page.locator(".jp-NotebookPanel", has_text="How to work")
    row = start.locator("tr", has_text="Linear attention")
    expect(row).to_contain_text("4 of", timeout=90 * SECONDS)
    expect(row.locator("progress")).to_have_attribute("value", "4")
    wait_until_idle(page)

    check.outputs = []
    nbformat.write(notebook, path)
    run_cell(page, cell_with(page, "CourseMap()"))
    expect(row).to_contain_text("not begun")

    check.outputs = [new_output("execute_result", report)]
    nbformat.write(notebook, path)
    run_cell(page, cell_with(page, "CourseMap()"))
    row.get_by_role("link", name="linear_attention", exact=True).click()
    heading = page.get_by_role("heading", name="Exercise: linear_attention")
    expect(heading).to_be_in_viewport(timeout=90 * SECONDS)

"""00_foundations in JupyterLab, as somebody who is new to the course meets it."""

import pytest
from playwright.sync_api import expect

from autograder.exercises import NOTEBOOKS, exercises_of
from tests.journeys.lab import (
    SECONDS,
    cell_with,
    expect_a_slider_to_change,
    expect_no_warnings,
    open_notebook,
    run_cell,
    run_solved,
)

pytestmark = pytest.mark.xdist_group("browser")

TOPIC = "foundations"
NOTEBOOK = NOTEBOOKS[TOPIC]
EXERCISES = exercises_of(TOPIC)


def test_a_newcomer_sees_what_a_check_says_and_what_validate_lists(lab, page):
    open_notebook(page, lab.address, f"work/{NOTEBOOK}/{NOTEBOOK}.ipynb")
    run_cell(page, cell_with(page, "from autograder.check import check"))

    untouched = cell_with(page, "class Untouched")
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
    run_solved(page, lab, EXERCISES["relative_error"])

    for explorer in ("attention_explorer(", "cost_explorer("):
        expect_a_slider_to_change(page, explorer)

    expect_no_warnings(page)

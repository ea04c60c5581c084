"""03_low_rank_attention in JupyterLab: formulas, checks and explorers as a learner meets them."""

import pytest
from playwright.sync_api import expect

from autograder.exercises import NOTEBOOKS, exercises_of
from tests.lab import (
    SECONDS,
    cell_with,
    expect_a_slider_to_change,
    expect_no_warnings,
    open_notebook,
    replace_source,
    run_all,
    run_cell,
    wait_until_idle,
)

pytestmark = pytest.mark.xdist_group("browser")

TOPIC = "low_rank_attention"
NOTEBOOK = NOTEBOOKS[TOPIC]
EXERCISES = exercises_of(TOPIC)
EXPLORERS = ("spectrum_explorer(", "nystrom_explorer(")
WITHOUT_SCALE = """import torch

def johnson_lindenstrauss_projection(n, k, generator):
    return torch.randn(n, k, generator=generator)"""


def test_a_learner_reads_formulas_and_is_told_which_mistake_it_is(lab, page):
    open_notebook(page, lab.address, f"release/{NOTEBOOK}/{NOTEBOOK}.ipynb")
    page.locator(
        "p", has_text="The singular value decomposition"
    ).first.scroll_into_view_if_needed()
    expect(page.locator("mjx-container").first).to_be_visible()
    assert "\\sum" not in page.locator(".jp-Notebook").inner_text()

    run_cell(page, cell_with(page, "from autograder.check import check"))
    stub = cell_with(page, "def johnson_lindenstrauss_projection")
    check = cell_with(page, "check(johnson_lindenstrauss_projection)")
    replace_source(page, stub, WITHOUT_SCALE)
    run_cell(page, stub)
    run_cell(page, check)
    expect(check).to_contain_text("This looks like: variance left at 1")
    expect(check).to_contain_text("✗ failed")


def test_every_explorer_says_what_is_not_solved_yet(lab, page):
    open_notebook(page, lab.address, f"release/{NOTEBOOK}/{NOTEBOOK}.ipynb")
    run_all(page)
    expect(cell_with(page, "nystrom_explorer(")).to_contain_text(
        "nystrom_attention is not solved yet.", timeout=180 * SECONDS
    )
    expect(cell_with(page, "spectrum_explorer(")).to_contain_text(
        "attention_spectrum is not solved yet."
    )
    expect_no_warnings(page)


def test_moving_a_slider_changes_the_figure_and_the_sentence(lab, page):
    open_notebook(page, lab.address, f"release/{NOTEBOOK}/solved.ipynb")
    run_all(page)
    points = EXERCISES["nystrom_attention"].points
    expect(cell_with(page, "check(nystrom_attention)")).to_contain_text(
        f"{points} of {points} points", timeout=180 * SECONDS
    )
    wait_until_idle(page)

    for explorer in EXPLORERS:
        expect_a_slider_to_change(page, explorer)

    expect_no_warnings(page)

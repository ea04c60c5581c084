"""03_low_rank_attention in JupyterLab: formulas, checks and explorers as a learner meets them."""

import pytest
from playwright.sync_api import expect

from autograder.exercises import NOTEBOOKS, exercises_of
from tests.journeys.lab import (
    SECONDS,
    cell_with,
    expect_a_mistake_to_be_named,
    expect_a_slider_to_change,
    expect_formulas,
    expect_no_warnings,
    open_notebook,
    run_all,
    run_cell,
    run_solved,
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
    open_notebook(page, lab.address, f"work/{NOTEBOOK}/{NOTEBOOK}.ipynb")
    expect_formulas(page, "The singular value decomposition", "\\sum")

    run_cell(page, cell_with(page, "from autograder.check import check"))
    expect_a_mistake_to_be_named(
        page, "johnson_lindenstrauss_projection", WITHOUT_SCALE, "variance left at 1"
    )


def test_every_explorer_says_what_is_not_solved_yet(lab, page):
    open_notebook(page, lab.address, f"work/{NOTEBOOK}/{NOTEBOOK}.ipynb")
    run_all(page)
    expect(cell_with(page, "nystrom_explorer(")).to_contain_text(
        "nystrom_attention is not solved yet.", timeout=180 * SECONDS
    )
    expect(cell_with(page, "spectrum_explorer(")).to_contain_text(
        "attention_spectrum is not solved yet."
    )
    expect_no_warnings(page)


def test_moving_a_slider_changes_the_figure_and_the_sentence(lab, page):
    run_solved(page, lab, EXERCISES["nystrom_attention"])

    for explorer in EXPLORERS:
        expect_a_slider_to_change(page, explorer)

    expect_no_warnings(page)

"""01_sparse_attention in JupyterLab: formulas, checks and explorers as a learner meets them."""

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

TOPIC = "sparse_attention"
NOTEBOOK = NOTEBOOKS[TOPIC]
EXERCISES = exercises_of(TOPIC)
EXPLORERS = ("pattern_explorer(", "lsh_explorer(")
ONE_SIDED = """def lsh_bucket(x, rotations):
    return (x @ rotations).argmax(dim=-1)"""


def test_a_learner_reads_formulas_and_is_told_which_mistake_it_is(lab, page):
    open_notebook(page, lab.address, f"work/{NOTEBOOK}/{NOTEBOOK}.ipynb")
    expect_formulas(page, "Locality-sensitive hashing", "\\arg\\max")

    run_cell(page, cell_with(page, "from autograder.check import check"))
    expect_a_mistake_to_be_named(page, "lsh_bucket", ONE_SIDED, "argmax without the negated half")


def test_every_explorer_says_what_is_not_solved_yet(lab, page):
    open_notebook(page, lab.address, f"work/{NOTEBOOK}/{NOTEBOOK}.ipynb")
    run_all(page)
    expect(cell_with(page, "lsh_explorer(")).to_contain_text(
        "lsh_bucket is not solved yet.", timeout=180 * SECONDS
    )
    expect(cell_with(page, "pattern_explorer(")).to_contain_text("reachability is not solved yet.")
    # The last cell: what is above it has run as well.
    expect(cell_with(page, "def counted_exponent")).to_contain_text("Run the cells above first")
    expect_no_warnings(page)


def test_moving_a_slider_changes_the_figure_and_the_sentence(lab, page):
    run_solved(page, lab, EXERCISES["lsh_attention"])

    for explorer in EXPLORERS:
        expect_a_slider_to_change(page, explorer)

    expect_no_warnings(page)

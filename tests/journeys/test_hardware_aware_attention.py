"""05_hardware_aware_attention in JupyterLab, as a learner meets it."""

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

TOPIC = "hardware_aware_attention"
NOTEBOOK = NOTEBOOKS[TOPIC]
EXERCISES = exercises_of(TOPIC)
EXPLORERS = ("tile_player(", "roofline_explorer(")
ZERO_BEYOND_THE_ROW = """from course.triton_here import tl, triton

@triton.jit
def softmax_kernel(x_ptr, out_ptr, x_row, out_row, num_columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    there = columns < num_columns
    x = tl.load(x_ptr + row * x_row + columns, mask=there, other=0.0).to(tl.float32)
    e = tl.exp(x - tl.max(x, axis=0))
    tl.store(out_ptr + row * out_row + columns, e / tl.sum(e, axis=0), mask=there)"""


def test_a_learner_reads_formulas_and_is_told_which_mistake_it_is(lab, page):
    open_notebook(page, lab.address, f"work/{NOTEBOOK}/{NOTEBOOK}.ipynb")
    expect_formulas(page, "Divide the FLOPs by it", "\\sum")

    run_cell(page, cell_with(page, "from autograder.check import check"))
    expect_a_mistake_to_be_named(page, "softmax_kernel", ZERO_BEYOND_THE_ROW, "zero beyond the row")


def test_every_explorer_says_what_is_not_solved_yet(lab, page):
    open_notebook(page, lab.address, f"work/{NOTEBOOK}/{NOTEBOOK}.ipynb")
    run_all(page)
    expect(cell_with(page, "roofline_explorer(")).to_contain_text(
        "attention_hbm_traffic is not solved yet.", timeout=180 * SECONDS
    )
    expect(cell_with(page, "tile_player(")).to_contain_text("tiled_attention is not solved yet.")
    expect_no_warnings(page)


def test_moving_a_slider_changes_the_figure_and_the_sentence(lab, page):
    run_solved(page, lab, EXERCISES["flash_attention_kernel"])

    for explorer in EXPLORERS:
        expect_a_slider_to_change(page, explorer)

    expect_no_warnings(page)

"""The roofline explorer shows the reader's formulas beside the truth, and kernels under it."""

import math

import pytest
import torch

from course.hardware import GPU_ROOFS
from course.measure import count_cost
from course.widgets.hardware_aware_attention import kernels
from course.widgets.hardware_aware_attention import roofline as widgets
from course.widgets.hardware_aware_attention.kernels import (
    FLASH,
    HERE,
    STANDARD,
    attainable,
    attention_flops,
    moved_elements,
)
from course.widgets.style import to_png
from tests.course.hierarchies import STAIRCASE, WITHOUT_LEVELS

pytestmark = pytest.mark.usefixtures("quietly")

A100, H100 = GPU_ROOFS


def intensity(flops, bytes):
    return flops / bytes


def roofline(intensity, peak_flops, bandwidth):
    return min(peak_flops, intensity * bandwidth)


def traffic(n, d, sram_elements, algorithm):
    if algorithm == "standard":
        return 4 * n**2 + 4 * n * d
    block = min(n, sram_elements // (4 * d))
    return 2 * n * d + n + math.ceil(n / block) * 2 * n * d


def tiled(q, k, v, block_q, block_k, causal):
    scores = q @ k.mT * q.shape[-1] ** -0.5
    return scores.softmax(dim=-1) @ v, scores.logsumexp(dim=-1)


RIGHT = {
    "arithmetic_intensity": intensity,
    "roofline": roofline,
    "attention_hbm_traffic": traffic,
    "tiled_attention": tiled,
}


def unsolved(*_):
    raise NotImplementedError


WRONG = {
    "raises": lambda *_: 1 / 0,
    "returns nothing": lambda *_: None,
    "returns zero": lambda *_: 0,
    "returns NaN": lambda *_: math.nan,
    "returns a tensor of two": lambda *_: torch.ones(2),
    "returns a complex number": lambda *_: 1j,
    "returns its first argument": lambda *arguments: arguments[0],
    "returns a pair of its first argument": lambda *arguments: (arguments[0],) * 2,
}


@pytest.fixture(autouse=True)
def _a_machine_that_does_not_exist(monkeypatch):
    monkeypatch.setattr(kernels, "N", 128)
    monkeypatch.setattr(kernels, "TILE", 32)
    monkeypatch.setattr(kernels, "flops_a_second", lambda: 1e11)
    monkeypatch.setattr(kernels, "hierarchy_here", lambda: STAIRCASE)
    for cached in (kernels.roof_here, kernels.timed_kernels):
        cached.cache_clear()
    yield
    for cached in (kernels.roof_here, kernels.timed_kernels):
        cached.cache_clear()


def points(machine=A100, n=1024, d=64, sram_kib=192, **functions):
    return widgets.roofline_points(
        **RIGHT | functions, machine=machine, n=n, d=d, sram_kib=sram_kib
    )


# --- the reader's functions -----------------------------------------------------------------------


@pytest.mark.parametrize("machine", [HERE, A100, H100])
def test_right_functions_give_no_complaint_and_a_figure_with_labelled_axes(machine):
    exhibit = points(machine)
    assert exhibit.problems == []
    (axes,) = exhibit.draw().axes
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert to_png(exhibit.draw()).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", RIGHT)
def test_an_unsolved_function_is_named_once_and_the_truth_still_drawn(name):
    exhibit = points(HERE, **{name: unsolved})
    assert exhibit.problems == [f"{name} is not solved yet."]
    assert to_png(exhibit.draw()).startswith(b"\x89PNG")
    assert set(exhibit.attention) == {STANDARD, FLASH}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", RIGHT)
def test_a_function_that_goes_wrong_is_told_so_and_never_breaks_the_figure(name, wrong):
    exhibit = points(HERE if name == "tiled_attention" else A100, **{name: WRONG[wrong]})
    assert exhibit.problems
    assert to_png(exhibit.draw()).startswith(b"\x89PNG")


def test_functions_that_come_later_in_the_notebook_may_be_left_out():
    exhibit = widgets.roofline_points(intensity, roofline)
    assert exhibit.problems == []
    assert exhibit.attention == {}
    assert "tiled_attention" not in exhibit.timed
    assert "standard attention" in exhibit.timed


def test_numbers_may_come_as_tensors():
    exhibit = points(roofline=lambda *args: torch.tensor(roofline(*args), dtype=torch.float64))
    assert exhibit.problems == []


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        ("arithmetic_intensity", lambda f, b: b / f, "gives 0.5 for 6 FLOPs and 3 bytes"),
        ("roofline", lambda i, p, b: i * b, "the roof is at 312 TFLOP/s"),
        ("roofline", lambda i, p, b: p, "roofline gives 312 TFLOP/s at 0.125 FLOPs a byte"),
        ("attention_hbm_traffic", lambda *s: 2 * traffic(*s), "for flash attention at n = 1024"),
    ],
)
def test_a_wrong_formula_is_told_with_its_number(name, wrong, words):
    assert words in points(**{name: wrong}).sentence()


def test_memory_counted_in_bytes_instead_of_elements_is_found_wrong():
    in_bytes = points(attention_hbm_traffic=lambda n, d, m, a: traffic(n, d, 2 * m, a))
    assert "flash attention" in in_bytes.problems[0]
    assert in_bytes.mine[FLASH].intensity > in_bytes.attention[FLASH].intensity


# --- the truth ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 64, 100])
@pytest.mark.parametrize("d", [4, 16])
@pytest.mark.parametrize("sram_elements", [64, 500, 10**6])
def test_what_is_added_up_tile_by_tile_is_the_formula(n, d, sram_elements):
    for algorithm in (STANDARD, FLASH):
        assert moved_elements(n, d, sram_elements, algorithm) == traffic(
            n, d, sram_elements, algorithm
        )


def test_the_flops_of_the_products_are_those_of_a_run():
    q, k, v = torch.randn(3, 1, 32, 8)
    weights = torch.ones(1, 32, 32)
    counted = count_cost(lambda: (torch.bmm(q, k.mT), torch.bmm(weights, v))).work
    assert attention_flops(32, 8) - 5 * 32**2 == counted


@pytest.mark.parametrize("roof", GPU_ROOFS.values())
def test_the_roof_is_memory_below_its_bend_and_arithmetic_above(roof):
    bend = roof.peak_flops / roof.bandwidth
    assert attainable(bend / 2, roof) == pytest.approx(roof.peak_flops / 2)
    assert attainable(bend * 2, roof) == roof.peak_flops
    assert bend in widgets.intensities(roof)


@pytest.mark.parametrize("roof", GPU_ROOFS.values())
def test_levels_above_the_memory_are_faster(roof):
    assert all(bandwidth > roof.bandwidth for bandwidth in roof.faster.values())


def test_a_machine_whose_curve_shows_no_levels_still_has_a_roof(monkeypatch):
    monkeypatch.setattr(kernels, "hierarchy_here", lambda: WITHOUT_LEVELS)
    roof = kernels.roof_here()
    assert roof.faster == {}
    assert roof.bandwidth == WITHOUT_LEVELS.bandwidth[-1]


def test_on_a_gpu_memory_bounds_standard_attention_and_more_sram_frees_flash_attention():
    small, large = points(n=4096, sram_kib=16), points(n=4096, sram_kib=192)
    assert small.attention[STANDARD] == large.attention[STANDARD]
    assert small.attention[FLASH].intensity < large.attention[FLASH].intensity
    bend = large.roof.peak_flops / large.roof.bandwidth
    assert large.attention[STANDARD].intensity < bend < large.attention[FLASH].intensity
    assert "times as fast" in large.findings()


# --- kernels --------------------------------------------------------------------------------------


def test_kernels_are_timed_on_this_machine_only():
    assert points(A100).timed == {}
    timed = points(HERE).timed
    assert set(timed) == {
        "standard attention",
        "softmax of its scores",
        "torch's fused attention",
        "linear attention",
        "matrix product",
        "tiled_attention",
    }
    assert all(point.flops_a_second > 0 for point in timed.values())
    # n scores a query are written and read, or not.
    assert timed["torch's fused attention"].intensity > timed["tiled_attention"].intensity
    assert timed["tiled_attention"].intensity > timed["softmax of its scores"].intensity


def test_kernels_are_timed_once_for_a_function():
    calls = []

    def counted(*args):
        calls.append(args)
        return tiled(*args)

    points(HERE, tiled_attention=counted)
    once = len(calls)
    points(HERE, tiled_attention=counted, n=256)
    assert len(calls) == once


# --- the explorer ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("machine", A100, "the roof bends at 201 FLOPs a byte"),
        ("n, tokens", 256, "n = 256, d"),
        ("d, head dimension", 128, "d = 128"),
        ("SRAM (KiB)", 16, "SRAM 16 KiB"),
    ],
)
def test_each_control_changes_text_and_figure(label, value, words):
    row, sentence, figure = widgets.roofline_explorer(**RIGHT).children
    before = figure.value
    assert words not in sentence.value
    {control.description: control for control in row.children}[label].value = value
    assert words in sentence.value
    assert figure.value != before


def test_the_explorer_of_unsolved_functions_says_so():
    _, sentence, _ = widgets.roofline_explorer(unsolved, unsolved, unsolved, unsolved).children
    for name in RIGHT:
        assert f"{name} is not solved yet." in sentence.value

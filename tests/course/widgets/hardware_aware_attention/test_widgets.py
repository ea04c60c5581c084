"""The figures of 05: online softmax, traffic, tiles that are touched, and machine code."""

import math

import pytest
import torch

import solutions.hardware_aware_attention as right
from course.machine_code import CompileError, MachineCode
from course.triton_here import MISSING, MissingKernel, tl, triton
from course.widgets import hardware_aware_attention as widgets
from course.widgets.hardware_aware_attention import code, touched
from course.widgets.hardware_aware_attention.online import example_row
from course.widgets.hardware_aware_attention.traffic import SRAM_SIZES
from course.widgets.style import to_png
from solutions.hardware_aware_attention.kernels import flash_attention_kernel
from solutions.mistakes.hardware_aware_attention import tiles as wrong_tiles

pytestmark = pytest.mark.usefixtures("quietly")

FIGURES = {
    "online_softmax": widgets.online_softmax_steps,
    "attention_hbm_traffic": widgets.traffic_against_sram,
    "tiled_attention": widgets.tiles_touched,
}


def unsolved(*_):
    raise NotImplementedError


WRONG = {
    "raises": lambda *_: 1 / 0,
    "returns nothing": lambda *_: None,
    "returns NaN": lambda *_: math.nan,
    "returns a tensor of two": lambda *_: torch.ones(2),
    "returns its first argument": lambda *arguments: arguments[0],
    "returns a pair of its first argument": lambda *arguments: (arguments[0],) * 2,
}


@pytest.mark.parametrize("name", FIGURES)
def test_with_a_right_function_there_is_no_problem(name):
    figure = FIGURES[name](getattr(right, name))
    assert figure.problems == []
    assert to_png(figure.draw())


@pytest.mark.parametrize("name", FIGURES)
def test_an_unsolved_function_is_said_to_be_so_and_drawn_without(name):
    figure = FIGURES[name](unsolved)
    assert figure.problems == [f"{name} is not solved yet."]
    assert to_png(figure.draw())


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("name", FIGURES)
def test_whatever_a_wrong_function_does_it_is_drawn(name, wrong):
    figure = FIGURES[name](wrong)
    assert figure.sentence()
    assert to_png(figure.draw())


# --- online_softmax_steps -------------------------------------------------------------------------


def test_the_running_sum_ends_at_the_sum_of_the_whole_row():
    figure = widgets.online_softmax_steps(right.online_softmax)
    row = example_row().double()
    last = figure.blocks[-1]
    assert last.maximum == row.max()
    assert last.total == pytest.approx((row - row.max()).exp().sum().item())
    assert last.unscaled > 1.5 * last.total
    assert any(block.factor < 1 for block in figure.blocks[1:])
    assert any(block.factor == 1 for block in figure.blocks[1:])


def test_wrong_weights_are_named_by_their_column():
    figure = widgets.online_softmax_steps(lambda x, block_size: x.softmax(dim=-1) * 1.01)
    assert "online_softmax gives" in figure.sentence()
    assert "Your weights sum to 1.01" in figure.sentence()


# --- traffic_against_sram -------------------------------------------------------------------------


def test_flash_attention_loses_below_2d_squared():
    sentence = widgets.traffic_against_sram(right.attention_hbm_traffic).findings()
    assert "and less from M = 8,192 on; 2d² is 8,192" in sentence


def test_a_wrong_count_is_told_beside_the_right_one_and_drawn():
    def keys_read_once(n, d, sram_elements, algorithm):
        return 4 * n * n + 4 * n * d if algorithm == "standard" else 4 * n * d + n

    figure = widgets.traffic_against_sram(keys_read_once)
    assert len(figure.problems) == 1
    assert "for flash attention with an SRAM of 256 numbers; added up" in figure.problems[0]
    assert len(figure.mine["flash"]) == len(SRAM_SIZES)


# --- tiles_touched --------------------------------------------------------------------------------


def test_the_tiles_that_are_multiplied_are_found():
    figure = widgets.tiles_touched(right.tiled_attention)
    whole, causal = figure.tiles[False], figure.tiles[True]
    assert (whole == touched.WHOLE).all()
    for row in range(len(causal)):
        # Two tiles of keys are as wide as one of queries is high.
        assert (causal[row, : 2 * row] == touched.WHOLE).all()
        assert (causal[row, 2 * row : 2 * row + 2] == touched.PARTLY).all()
        assert (causal[row, 2 * row + 2 :] == touched.SKIPPED).all()


def test_tiles_multiplied_for_nothing_or_left_out_are_seen():
    everything = wrong_tiles.tiles_above_the_diagonal_computed.function
    figure = widgets.tiles_touched(everything)
    assert (figure.tiles[True] == touched.NEEDLESS).sum() == 12
    assert "12 multiplied for nothing" in figure.sentence()

    def no_keys(q, k, v, block_q, block_k, causal):
        return torch.zeros_like(q), q[..., 0]

    figure = widgets.tiles_touched(no_keys)
    assert (figure.tiles[False] == touched.MISSED).all()
    assert to_png(figure.draw())


def test_a_kernels_tiles_are_those_of_the_function():
    of_function = widgets.tiles_touched(right.tiled_attention).tiles
    of_kernel = widgets.tiles_touched_by_kernel(flash_attention_kernel)
    assert of_kernel.problems == []
    for causal, tiles in of_function.items():
        assert torch.equal(of_kernel.tiles[causal], tiles)


def test_a_kernel_that_cannot_run_says_why_and_is_drawn_without():
    @triton.jit
    def unsolved_kernel(q_ptr, BLOCK_Q: tl.constexpr):
        raise NotImplementedError()

    # With its arguments it would say that it is unsolved: here the launch itself fails.
    for kernel, reason in [(MissingKernel(unsolved), MISSING), (unsolved_kernel, "raised")]:
        figure = widgets.tiles_touched_by_kernel(kernel)
        assert reason in figure.problems[0]
        assert to_png(figure.draw())


# --- compiled_kernel ------------------------------------------------------------------------------

GOOD = MachineCode("A100 (sm_80)", 141, 0, 24_576, 166_912, 64)
BAD = MachineCode("H100 (sm_90)", 255, 16, 300_000, 232_448, 0)


def test_a_row_says_whether_the_code_holds_and_why_not(monkeypatch):
    monkeypatch.setattr(code, "machine_code", lambda *_, **__: [GOOD, BAD])
    text = widgets.compiled_kernel(flash_attention_kernel, (64, 32), causal=True, d=64).data
    good, bad = text.splitlines()[2:]
    assert "| 64\u00a0×\u00a032 | 141 | 0 | 24,576 | 166,912 | 64 | ✓ yes |" in good
    for fault in ("too much shared memory", "registers overflow", "no tensor cores"):
        assert fault in bad


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise NotImplementedError()\nunsupported AST node", "is not solved yet"),
        ("at 7:3: x = foo\nNameError('foo is not defined')", "NameError('foo is not defined')"),
    ],
)
def test_a_kernel_without_machine_code_says_why(monkeypatch, text, told):
    def fails(*_, **__):
        raise CompileError(text)

    monkeypatch.setattr(code, "machine_code", fails)
    shown = widgets.compiled_kernel(flash_attention_kernel, (64, 32), causal=True, d=64).data
    assert told in shown
    assert "flash_attention_kernel" in shown


def test_without_triton_the_table_says_so():
    kernel = MissingKernel(unsolved)
    assert widgets.compiled_kernel(kernel, (64, 32), causal=True, d=64).data == MISSING

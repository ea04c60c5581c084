"""The tile player of 05_hardware_aware_attention: what it shows of the runs and of the reader."""

import math

import pytest
import torch

from course.specifications.foundations import attention_query_by_query
from course.tile_run import flash_run, standard_run
from course.widgets.hardware_aware_attention import tiles as widgets
from course.widgets.hardware_aware_attention.places import (
    DROPPED,
    IN_HBM,
    NOWHERE,
    ON_CHIP,
    whereabouts,
)
from course.widgets.style import to_png

pytestmark = pytest.mark.usefixtures("quietly")


def attention(q, k, v, block_q, block_k, causal):
    scores = q @ k.mT * q.shape[-1] ** -0.5
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1) > 0, -math.inf)
    return scores.softmax(dim=-1) @ v, scores.logsumexp(dim=-1)


def traffic(n, d, sram_elements, algorithm):
    if algorithm == "standard":
        return 4 * n**2 + 4 * n * d
    rows = min(n, sram_elements // (4 * d))
    return 2 * n * d + n + math.ceil(n / rows) * 2 * n * d


def unsolved(*_):
    raise NotImplementedError


def shown(tiled_attention=attention, attention_hbm_traffic=traffic, **settings):
    settings = {
        "sram_elements": 256,
        "causal": False,
        "bytes_per_number": 2,
        "number": 8,
    } | settings
    return widgets.tile_step(tiled_attention, attention_hbm_traffic, **settings)


def player(tiled_attention=attention, attention_hbm_traffic=traffic):
    row, sentence, figure = widgets.tile_player(tiled_attention, attention_hbm_traffic).children
    return {control.description: control for control in row.children}, sentence, figure


WRONG_ATTENTION = {
    "raises": lambda *_: 1 / 0,
    "returns nothing": lambda *_: None,
    "returns the output alone": lambda *inputs: attention(*inputs)[0],
    "returns a wrong shape": lambda *inputs: tuple(part.mT for part in attention(*inputs)),
    "gives NaN": lambda *inputs: tuple(part * math.nan for part in attention(*inputs)),
    "forgets the logsumexp": lambda *inputs: (attention(*inputs)[0], None),
    "forgets the scale": lambda q, *others: attention(2 * q, *others),
    "writes into its inputs": lambda q, *others: attention(q.zero_(), *others),
}
WRONG_TRAFFIC = {
    "raises": lambda *_: 1 / 0,
    "returns nothing": lambda *_: None,
    "returns infinity": lambda *_: math.inf,
    "returns two numbers": lambda *_: torch.ones(2),
    "is off by one": lambda *inputs: traffic(*inputs) + 1,
    "is much too large": lambda *inputs: traffic(*inputs) * 10**9,
}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sram_elements", [widgets.SRAM_SIZES[0], 160, widgets.SRAM_SIZES[-1]])
def test_right_functions_give_no_complaint_and_a_figure_with_labelled_axes(sram_elements, causal):
    for number in (1, 8, 10**6):
        exhibit = shown(sram_elements=sram_elements, causal=causal, number=number)
        assert exhibit.problems == []
    figure = exhibit.draw()
    assert to_png(figure).startswith(b"\x89PNG")
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(panels) == 8
    assert all(panel.get_xlabel() for panel in panels)


def test_unsolved_functions_are_named_and_the_truth_still_drawn():
    exhibit = shown(unsolved, unsolved)
    assert exhibit.problems == [
        "tiled_attention is not solved yet.",
        "attention_hbm_traffic is not solved yet.",
    ]
    assert "Your attention_hbm_traffic" not in exhibit.findings()
    figure = exhibit.draw()
    assert to_png(figure).startswith(b"\x89PNG")
    assert [text.get_text() for axes in figure.axes for text in axes.texts].count(
        "nothing to show"
    ) == 1


@pytest.mark.parametrize("wrong", WRONG_ATTENTION)
def test_attention_that_goes_wrong_is_told_so_and_never_breaks_the_figure(wrong):
    exhibit = shown(WRONG_ATTENTION[wrong])
    assert exhibit.problems
    assert all(problem.startswith("tiled_attention") for problem in exhibit.problems)
    assert to_png(exhibit.draw()).startswith(b"\x89PNG")


@pytest.mark.parametrize("wrong", WRONG_TRAFFIC)
def test_a_formula_that_goes_wrong_is_told_so_and_never_breaks_the_figure(wrong):
    exhibit = shown(attention_hbm_traffic=WRONG_TRAFFIC[wrong])
    assert exhibit.problems
    assert all(problem.startswith("attention_hbm_traffic") for problem in exhibit.problems)
    assert to_png(exhibit.draw()).startswith(b"\x89PNG")


def test_the_queries_that_are_wrong_are_counted_and_crossed_out():
    def wrong_from_the_second_tile_on(*inputs):
        output, logsumexp = attention(*inputs)
        output[8:] *= 1.01
        return output, logsumexp

    exhibit = shown(wrong_from_the_second_tile_on)
    assert exhibit.problems == [
        "tiled_attention, for the output, differs from softmax attention in 24 of 32 queries, the "
        "first is query 8."
    ]
    crosses = [
        text.get_position()[0]
        for axes in exhibit.draw().axes
        for text in axes.texts
        if text.get_text() == "×"
    ]
    assert crosses == list(range(8, 32))


def test_a_logsumexp_that_is_wrong_is_told_so():
    exhibit = shown(lambda *inputs: (attention(*inputs)[0], attention(*inputs)[1] - 1))
    assert exhibit.problems == [
        "tiled_attention, for the logsumexp, differs from softmax attention in 32 of 32 queries, "
        "the first is query 0."
    ]


def test_a_formula_that_differs_from_the_counter_stands_beside_it():
    def keys_read_once(n, d, sram_elements, algorithm):
        return traffic(n, d, sram_elements, algorithm) if algorithm == "standard" else 4 * n * d + n

    exhibit = shown(attention_hbm_traffic=keys_read_once)
    said, counted = keys_read_once(32, 8, 256, "flash"), traffic(32, 8, 256, "flash")
    assert exhibit.problems == [
        f"attention_hbm_traffic says {said:,} for flash attention where {counted:,} numbers were "
        "counted."
    ]
    assert f"{said:,} for flash" in exhibit.findings()


def test_the_counters_end_at_the_formula_and_a_mask_lets_flash_move_less():
    for sram_elements in widgets.SRAM_SIZES:
        full, causal = (shown(sram_elements=sram_elements, causal=causal) for causal in (0, 1))
        for algorithm in (widgets.STANDARD, widgets.FLASH):
            assert full.total(algorithm) == traffic(32, 8, sram_elements, algorithm)
        assert causal.total(widgets.STANDARD) == full.total(widgets.STANDARD)
        one_tile = full.block == widgets.NUM_TOKENS
        assert (causal.total(widgets.FLASH) < full.total(widgets.FLASH)) != one_tile


def test_too_little_sram_lets_flash_move_more_than_standard_and_the_player_shows_both_cases():
    ratios = [
        exhibit.total(widgets.FLASH) / exhibit.total(widgets.STANDARD)
        for exhibit in (shown(sram_elements=size) for size in widgets.SRAM_SIZES)
    ]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > 1 > ratios[-1]


def test_the_sentence_says_step_amounts_and_totals():
    exhibit = shown(number=8, bytes_per_number=4)
    standard, flash = (run[7] for run in exhibit.runs.values())
    told = exhibit.findings()
    for name, step, steps in [("Standard", standard, 36), ("Flash", flash, 24)]:
        amount = f"{step.hbm_elements:,} numbers ({4 * step.hbm_elements:,} bytes)"
        assert f"{name} step 8 of {steps}: {step.done}; it has moved {amount}." in told
    assert "By the end standard moves 5,120 and flash 2,592, 0.506 times as many." in told


def test_a_run_that_is_done_stays_at_its_end_and_says_so():
    exhibit = shown(number=30)
    assert exhibit.step(widgets.FLASH) is exhibit.runs[widgets.FLASH][-1]
    assert "Flash is done after 24 steps; it has moved 2,592 numbers" in exhibit.findings()
    assert "Standard step 30 of 36" in exhibit.findings()
    assert "is done" not in shown(number=24).findings()


def test_the_sentence_says_how_many_tiles_a_mask_skips():
    assert "flash skips 6 of 16 tiles." in shown(causal=True).findings()
    assert "skips" not in shown().findings()


# --- Where the arrays lie ------------------------------------------------------------------------


def places(run, number, block=2, n=4):
    inputs = torch.randn(3, n, 2, generator=torch.Generator().manual_seed(0))
    steps = run(*inputs, block) if run is standard_run else run(*inputs, block, block, False)
    return {name: place.squeeze(-1) for name, place in whereabouts(steps, number).items()}


def test_standard_attention_leaves_its_scores_in_hbm():
    # Tiles of S: the first is written, the second is at work.
    found = places(standard_run, number=2)
    tiles = [[IN_HBM, ON_CHIP], [NOWHERE, NOWHERE]]
    assert torch.equal(
        found["S"], torch.tensor(tiles).repeat_interleave(2, 0).repeat_interleave(2, 1)
    )
    assert found["Q"].tolist() == [ON_CHIP] * 2 + [IN_HBM] * 2
    assert found["K"].tolist() == [ON_CHIP] * 4
    assert found["V"].tolist() == [IN_HBM] * 4
    assert (found["O"] == NOWHERE).all()


def test_flash_attention_drops_its_scores_and_writes_output_and_logsumexp():
    # The second tile of queries takes its first tile of keys.
    found = places(flash_run, number=6)
    tiles = [[DROPPED, DROPPED], [ON_CHIP, NOWHERE]]
    for name in "SP":
        expected = torch.tensor(tiles).repeat_interleave(2, 0).repeat_interleave(2, 1)
        assert torch.equal(found[name], expected)
    assert found["K"].tolist() == [ON_CHIP] * 2 + [IN_HBM] * 2
    assert found["O"].tolist() == [IN_HBM] * 2 + [ON_CHIP] * 2
    assert found["L"].tolist() == [IN_HBM] * 2 + [NOWHERE] * 2


def test_at_no_step_has_flash_scores_in_hbm_or_standard_dropped_any():
    for run, never, steps in [(flash_run, IN_HBM, 8), (standard_run, DROPPED, 10)]:
        for number in range(1, steps + 1):
            found = places(run, number)
            assert not any((found[name] == never).any() for name in "SP")


# --- The player ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("step", 20, "Flash step 20 of 24"),
        ("SRAM size M (numbers)", 512, "tiles of 16 rows"),
        ("bytes a number", 8, "20,736 bytes"),
        ("causal", True, "skips 6 of 16 tiles"),
    ],
)
def test_each_control_changes_text_and_figure(label, value, words):
    controls, sentence, figure = player()
    controls["step"].value = 24 if label == "bytes a number" else 8
    before = figure.value
    assert words not in sentence.value
    controls[label].value = value
    assert words in sentence.value
    assert figure.value != before


def test_the_slider_and_play_end_where_the_longer_run_does():
    controls, sentence, _ = player()
    play = next(control for control in controls.values() if hasattr(control, "playing"))
    for size in (64, 1024):
        controls["SRAM size M (numbers)"].value = size
        longest = max(map(len, shown(sram_elements=size).runs.values()))
        assert controls["step"].max == play.max == longest
    assert controls["step"].value <= longest
    assert "An SRAM of M = 1,024 numbers" in sentence.value


def test_a_player_of_unsolved_functions_says_so_and_plays():
    controls, sentence, figure = player(unsolved, unsolved)
    before = figure.value
    controls["step"].value = 9
    assert "tiled_attention is not solved yet." in sentence.value
    assert "attention_hbm_traffic is not solved yet." in sentence.value
    assert figure.value != before


def test_the_output_that_is_shown_is_softmax_attention():
    exhibit = shown(causal=True, number=10**6)
    right = attention_query_by_query(*widgets.example_inputs(), causal=True)
    for algorithm in (widgets.STANDARD, widgets.FLASH):
        torch.testing.assert_close(exhibit.step(algorithm).output, right)

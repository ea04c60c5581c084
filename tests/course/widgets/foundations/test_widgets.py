"""The figures and widgets of 00_foundations show the reader's functions beside the truth."""

import pytest
import torch

from course.measure import count_cost
from course.trained_model import load_trained, tokens_and_twins
from course.widgets import foundations as widgets
from course.widgets.foundations import cost as foundations_cost
from course.widgets.foundations import low_rank as foundations_low_rank
from course.widgets.foundations.attention import (
    NUM_TOKENS,
    keys_looked_at,
    where_the_weight_goes,
)
from course.widgets.foundations.cost import COST_SIZES, HERE, MEMORIES, duration
from course.widgets.foundations.low_rank import (
    LEARNED,
    RANKS,
    SHUFFLED,
    SOFT_LEARNED,
    SOFT_SHUFFLED,
    maps,
)
from course.widgets.style import to_png
from solutions import foundations as reference

HEAD = "layer 2, head 1"


def unsolved(*_):
    raise NotImplementedError


def without_the_root(q, k, v, mask=None, causal=False):
    return reference.softmax_attention(q * q.shape[-1] ** 0.5, k, v, mask, causal)


def attention_map(function=reference.softmax_attention, **settings):
    settings = {"head": HEAD, "causal": False, "temperature": 1.0, "query": 20} | settings
    return widgets.attention_map(function, **settings)


def costs(function=reference.attention_cost, **settings):
    settings = {"d": 64, "num_heads": 16, "bytes_per_element": 2, "kept": 1} | settings
    return widgets.attention_costs(function, **settings)


def growth(attention=reference.softmax_attention, exponent=reference.scaling_exponent):
    return widgets.growth(attention, exponent)


def singular_values(approximation=reference.low_rank_approximation, error=reference.relative_error):
    return widgets.singular_values(approximation, error)


# Every exhibit, as a function of the reader's function that it shows.
EXHIBITS = {
    "all_heads": widgets.all_heads,
    "attention_map": attention_map,
    "attention_costs": costs,
    "growth": lambda f: growth(attention=f),
    "growth, exponent": lambda f: growth(exponent=f),
    "singular_values": lambda f: singular_values(approximation=f),
    "singular_values, error": lambda f: singular_values(error=f),
}
REFERENCE = {
    "all_heads": lambda: widgets.all_heads(reference.softmax_attention),
    "attention_map": attention_map,
    "attention_costs": costs,
    "growth": growth,
    "singular_values": singular_values,
}
WRONG = {
    "raises": lambda *_: 1 / 0,
    "returns nothing": lambda *_: None,
    "returns a number": lambda *_: 1.0,
    "returns three zeros": lambda *_: (0, 0, 0),
    "returns a scalar tensor": lambda *_: torch.tensor(1.0),
    "returns its first argument": lambda *arguments: arguments[0],
    "returns NaN of the shape of its first argument": lambda x, *_: torch.as_tensor(x) * torch.nan,
    "returns NaN for attention": lambda q, k, v, *_: q @ k.mT @ v * torch.nan,
    "returns NaN for costs": lambda *_: (torch.nan,) * 3,
}


pytestmark = pytest.mark.usefixtures("quietly")


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(foundations_cost, "GROWTH_SIZES", [32, 64, 128, 256])
    monkeypatch.setattr(foundations_cost, "FITTED", 3)
    monkeypatch.setattr(foundations_low_rank, "RANKS", RANKS[::3])


@pytest.mark.parametrize("name", REFERENCE)
def test_a_right_function_gives_no_complaint_and_a_figure_with_labelled_axes(name):
    exhibit = REFERENCE[name]()
    assert exhibit.problems == []
    assert exhibit.findings()
    figure = exhibit.draw()
    assert to_png(figure).startswith(b"\x89PNG")
    assert any(axes.get_xlabel() for axes in figure.axes)
    assert any(axes.get_ylabel() for axes in figure.axes)


@pytest.mark.parametrize("name", EXHIBITS)
def test_an_unsolved_function_is_named_and_the_truth_still_drawn(name):
    exhibit = EXHIBITS[name](unsolved)
    assert "is not solved yet." in exhibit.sentence()
    assert to_png(exhibit.draw()).startswith(b"\x89PNG")


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", EXHIBITS)
def test_a_function_that_goes_wrong_is_told_so_and_never_breaks_the_figure(name, wrong):
    exhibit = EXHIBITS[name](WRONG[wrong])
    assert exhibit.problems
    assert to_png(exhibit.draw()).startswith(b"\x89PNG")


# --- attention ------------------------------------------------------------------------------------


def test_the_weights_shown_are_the_attention_of_the_trained_model():
    tokens, _ = tokens_and_twins(1, NUM_TOKENS, torch.Generator().manual_seed(1))
    layers = load_trained().attention(tokens)
    shown = widgets.all_heads(reference.softmax_attention).weights
    for weights, truth in zip(shown.values(), torch.cat(layers, dim=1)[0], strict=True):
        torch.testing.assert_close(weights.float(), truth, atol=1e-5, rtol=0)


def test_attention_with_the_wrong_scale_is_found_wrong_and_drawn_beside_the_truth():
    exhibit = attention_map(without_the_root)
    assert "softmax_attention is not softmax(q kᵀ / √d) v" in exhibit.sentence()
    titles = [axes.get_title() for axes in exhibit.draw().axes]
    assert titles == ["softmax_attention", "by definition", "Weights of query 20"]
    assert len(attention_map().draw().axes) == 2


def test_a_function_that_ignores_the_causal_mask_is_found_wrong_where_it_is_asked_for():
    def never_causal(q, k, v, mask=None, causal=False):
        return reference.softmax_attention(q, k, v, mask)

    assert attention_map(never_causal).problems == []
    assert attention_map(never_causal, causal=True).problems


def test_a_higher_temperature_spreads_the_weights():
    spread = [
        keys_looked_at(attention_map(temperature=t).weights) for t in (1e-4, 1.0, 10.0, 1000.0)
    ]
    assert spread == sorted(spread)
    assert spread[0] < 1.2
    assert spread[-1] == pytest.approx(NUM_TOKENS, rel=0.01)


def test_where_the_weight_goes_sums_to_all_of_it_and_finds_the_other_occurrence():
    twins = torch.full((12,), -1)
    twins[:3], twins[8:11] = torch.tensor([8, 9, 10]), torch.tensor([0, 1, 2])
    to_twin = torch.eye(12)[twins.clamp(min=0)]
    for weights, kind in ((torch.eye(12), "to itself"), (to_twin, "to the other occurrence")):
        shares = where_the_weight_goes(weights, twins)
        assert sum(shares.values()) == pytest.approx(1)
        assert shares[kind] == 1


# --- cost -----------------------------------------------------------------------------------------


def test_growth_counts_and_fits_the_readers_attention():
    exhibit = growth()
    q, k, v = torch.randn(3, 1, 4, 256, 64)
    counted = count_cost(lambda: reference.softmax_attention(q, k, v))
    assert exhibit.costs["counted"][-1] == counted.work
    assert exhibit.exponents["counted"] == pytest.approx(2, abs=0.05)
    assert f"n^{exhibit.exponents['softmax_attention']:.2f}" in exhibit.findings()


def test_a_wrong_exponent_is_told_and_the_right_one_shown():
    exhibit = growth(exponent=lambda sizes, costs: 1 + reference.scaling_exponent(sizes, costs))
    assert exhibit.problems[0].startswith("scaling_exponent gives 2.56")
    assert exhibit.exponents["counted"] == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("settings", [{}, {"num_heads": 1, "d": 256}, {"kept": 1024}])
def test_at_the_largest_n_the_bytes_fill_the_memory_and_with_one_token_more_they_do_not_fit(
    settings,
):
    exhibit = costs(**settings)
    sizes = {"d": 64, "num_heads": 16, "bytes_per_element": 2} | settings
    kept = sizes.pop("kept", 1)

    def filled(n):
        return kept * sum(reference.attention_cost(n, **sizes)[1:])

    for name, memory in MEMORIES.items():
        n = exhibit.largest[name]
        assert filled(n) <= memory < filled(n + 1)


def test_what_a_short_run_counted_continues_as_the_formula_does():
    exhibit = costs(num_heads=3, d=32, bytes_per_element=4, kept=2)
    for n, in_bytes, flops in zip(COST_SIZES, *exhibit.truth, strict=True):
        formula, scores, inputs = reference.attention_cost(n, 32, 3, 4)
        assert (in_bytes, flops) == (2 * (scores + inputs), 2 * formula)


def test_a_formula_that_is_off_by_two_is_found_wrong_and_drawn():
    exhibit = costs(lambda *sizes: [x // 2 for x in reference.attention_cost(*sizes)])
    assert [problem.split(" at n")[0].split()[-1] for problem in exhibit.problems] == [
        "bytes",
        "FLOPs",
    ]
    assert exhibit.mine[1][0] == exhibit.truth[1][0] / 2


def test_the_sentence_names_the_cards_and_this_machine():
    sentence = costs().sentence()
    for name in ("a 24 GB card at n = ", "an 80 GB card at n = ", f"{HERE} at n = "):
        assert name in sentence


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "0.25 s"), (113, "113 s"), (300, "5 minutes"), (9e3, "2.5 hours"), (1e6, "11.6 days")],
)
def test_durations_read_as_words(seconds, words):
    assert duration(seconds) == words


# --- low rank -------------------------------------------------------------------------------------


def test_shuffled_maps_have_the_weights_of_the_learned_rows():
    for learned, shuffled in ((LEARNED, SHUFFLED), (SOFT_LEARNED, SOFT_SHUFFLED)):
        ours, theirs = maps()[learned], maps()[shuffled]
        assert not torch.equal(ours, theirs)
        assert torch.equal(ours.sort(dim=-1).values, theirs.sort(dim=-1).values)


def test_the_rank_for_an_error_is_the_smallest_that_reaches_it():
    matrix, rank = maps()[LEARNED][0], singular_values().rank_for(LEARNED, 0.1)[0]
    more, enough = (
        reference.relative_error(reference.low_rank_approximation(matrix, r), matrix).item()
        for r in (rank - 1, rank)
    )
    assert enough <= 0.1 < more


def test_only_maps_that_are_both_learned_and_soft_are_near_a_low_rank():
    needed = {kind: singular_values().rank_for(kind, 0.1) for kind in maps()}
    for kind in (LEARNED, SHUFFLED, SOFT_SHUFFLED):
        assert min(needed[kind]) > 2 * max(needed[SOFT_LEARNED])


def test_an_approximation_that_keeps_the_smallest_singular_values_is_found_wrong():
    def smallest(matrix, rank):
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        return (u[..., -rank:] * s[..., None, -rank:]) @ vh[..., -rank:, :]

    exhibit = singular_values(approximation=smallest)
    assert "miss the smallest possible error by" in exhibit.sentence()


# --- explorers ------------------------------------------------------------------------------------


def controls_and_output(explorer):
    row, sentence, figure = explorer.children
    return {control.description: control for control in row.children}, sentence, figure


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("head", "layer 1, head 2", "layer 1, head 2"),
        ("causal", True, "temperature 1, causal"),
        ("temperature", 4, "temperature 4"),
    ],
)
def test_each_control_of_the_attention_explorer_changes_text_and_figure(label, value, words):
    controls, sentence, figure = controls_and_output(
        widgets.attention_explorer(reference.softmax_attention)
    )
    before = figure.value
    assert words not in sentence.value
    controls[label].value = value
    assert words in sentence.value
    assert figure.value != before


def test_the_query_that_is_chosen_is_drawn():
    controls, _, figure = controls_and_output(
        widgets.attention_explorer(reference.softmax_attention)
    )
    before = figure.value
    controls["query i"].value = 3
    assert figure.value != before


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("heads", 1, "Heads: 1,"),
        ("d, numbers a head", 128, "d = 128"),
        ("bytes a number", 8, "8 bytes"),
        ("layers × sequences kept", 64, "layers × sequences: 64"),
    ],
)
def test_each_control_of_the_cost_explorer_changes_text_and_figure(label, value, words):
    controls, sentence, figure = controls_and_output(
        widgets.cost_explorer(reference.attention_cost)
    )
    before = figure.value
    assert words not in sentence.value
    controls[label].value = value
    assert words in sentence.value
    assert figure.value != before


def test_the_explorers_of_unsolved_functions_say_so():
    for explorer in (widgets.attention_explorer(unsolved), widgets.cost_explorer(unsolved)):
        _, sentence, _ = controls_and_output(explorer)
        assert "is not solved yet." in sentence.value

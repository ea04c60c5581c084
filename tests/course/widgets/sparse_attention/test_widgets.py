"""The figures and widgets of 01_sparse_attention show the reader's functions beside the truth."""

import pytest
import torch

from course.specifications.sparse_attention import walks
from course.widgets import sparse_attention as widgets
from course.widgets.exhibit import percent
from course.widgets.sparse_attention.lsh import ROUNDS, example_keys, recall
from course.widgets.sparse_attention.patterns import BIGBIRD, FIXED, STRIDED, WINDOW, right_mask
from course.widgets.style import to_png
from solutions import sparse_attention as reference

MASKS = ("sliding_window_mask", "strided_mask", "fixed_mask", "bigbird_mask")


def unsolved(*_):
    raise NotImplementedError


def masks(**replaced):
    return widgets.Masks(*(replaced.get(name, getattr(reference, name)) for name in MASKS))


def masks_that_are(function):
    return masks(**dict.fromkeys(MASKS, function))


def reach(made=None, reachability=reference.reachability, pattern=STRIDED, **settings):
    settings = {"n": 24, "width": 4, "num_layers": 2} | settings
    return widgets.pattern_reach(made or masks(), reachability, pattern, **settings)


def layers(made=None, reachability=reference.reachability):
    return widgets.layers_needed(made or masks(), reachability, n=20, width=4)


def model(n=32):
    """Two layers: one looks at the token before, the other at the other half of the sequence."""
    generator = torch.Generator().manual_seed(0)
    place = 6 * torch.eye(n).expand(2, 3, n, n)
    content = 3 * torch.randn(2, 3, n // 2, n, generator=generator).repeat(1, 1, 2, 1)
    other_half = content.roll(n // 2, dims=-2)
    return [(place, place.roll(1, dims=-2), place), (content, other_half, content)]


def kept(made=None, lsh_bucket=reference.lsh_bucket):
    return widgets.attention_kept(made or masks(), lsh_bucket, model(), width=4)


def buckets(lsh_bucket=reference.lsh_bucket, **settings):
    settings = {"keys": widgets.KEYS[0], "num_buckets": 8, "num_rounds": 2} | settings
    return widgets.lsh_buckets(lsh_bucket, **settings)


def found(lsh_bucket=reference.lsh_bucket):
    q, k, _ = model()[0]
    return widgets.lsh_recall(lsh_bucket, {"model": (q, k)})


# Every exhibit, as a function of the reader's function that it shows.
EXHIBITS = {
    "pattern_reach, masks": lambda f: reach(masks_that_are(f)),
    "pattern_reach, reachability": lambda f: reach(reachability=f),
    "layers_needed, masks": lambda f: layers(masks_that_are(f)),
    "layers_needed, reachability": lambda f: layers(reachability=f),
    "attention_kept, masks": lambda f: kept(masks_that_are(f)),
    "attention_kept, lsh_bucket": lambda f: kept(lsh_bucket=f),
    "lsh_buckets": buckets,
    "lsh_recall": found,
}
REFERENCE = {
    "four_families": widgets.four_families,
    "pattern_reach": reach,
    "layers_needed": layers,
    "attention_kept": kept,
    "lsh_buckets": buckets,
    "lsh_recall": found,
}
WRONG = {
    "raises": lambda *_: 1 / 0,
    "returns nothing": lambda *_: None,
    "returns a number": lambda *_: 1.0,
    "returns a scalar tensor": lambda *_: torch.tensor(True),
    "returns an empty mask of the right shape": lambda n, *_: torch.zeros(
        (n, n) if isinstance(n, int) else n.shape, dtype=torch.bool
    ),
    "returns bucket 0": lambda x, *_: torch.zeros(
        x.shape[:-1] if isinstance(x, torch.Tensor) else (x, x), dtype=torch.long
    ),
}


pytestmark = pytest.mark.usefixtures("quietly")


@pytest.mark.parametrize("name", REFERENCE)
def test_a_right_function_gives_no_complaint_and_a_figure_with_labelled_axes(name):
    exhibit = REFERENCE[name]()
    assert exhibit.problems == []
    assert exhibit.findings()
    figure = exhibit.draw()
    assert to_png(figure).startswith(b"\x89PNG")
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert any(panel.get_ylabel() for panel in panels)
    for panel in panels:
        assert panel.get_xlabel() or panel.get_xticks().size == 0


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


# --- Patterns ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [WINDOW, STRIDED, FIXED])
def test_the_mask_that_is_shown_is_the_readers_and_right(pattern):
    assert torch.equal(reach(pattern=pattern).mask, right_mask(pattern, 24, 4))


def test_what_is_wrong_with_a_mask_is_said_with_a_query_and_a_key():
    narrow = masks(
        sliding_window_mask=lambda n, w, causal: reference.sliding_window_mask(n, w - 1, causal)
    )
    assert reach(narrow, pattern=WINDOW).problems == [
        "sliding_window_mask is not the pattern of the paper: query 0 should see key 4."
    ]


def test_a_random_block_is_no_mistake_of_big_bird_and_a_missing_neighbour_is():
    assert reach(pattern=BIGBIRD).problems == []
    alone = masks(bigbird_mask=lambda n, *_: torch.eye(n, dtype=torch.bool))
    assert "bigbird_mask is not the pattern" in reach(alone, pattern=BIGBIRD).problems[0]


def test_the_reach_and_its_share_are_those_of_walks_along_the_mask():
    exhibit = reach(pattern=WINDOW, num_layers=3)
    assert torch.equal(exhibit.reach, walks(exhibit.mask, 3))
    assert exhibit.shares[2] == exhibit.reach.double().mean()
    assert "After 3 layers the output of token 12 depends on 24 of 24 inputs" in exhibit.findings()


def test_a_reach_that_is_wrong_is_told_so():
    exhibit = reach(reachability=lambda mask, num_layers: mask)
    assert exhibit.problems == ["reachability differs from walks along the mask."]


def test_a_window_needs_many_layers_and_the_patterns_with_far_keys_two():
    told = layers().findings()
    assert "sliding window connects all in 5" in told
    for pattern in (STRIDED, FIXED, BIGBIRD):
        assert f"{pattern} connects all in 2" in told


def test_a_pattern_that_leaves_pairs_apart_says_how_many():
    alone = masks(strided_mask=lambda n, stride: torch.eye(n, dtype=torch.bool))
    assert "strided leaves 90 % apart" in layers(alone).findings()


def test_a_window_keeps_attention_to_neighbours_and_hashing_that_to_the_other_half():
    exhibit = kept()
    near, far = exhibit.kept[WINDOW].mean(dim=-1)
    assert near > 0.9
    assert far < 0.5
    hashed = next(value for name, value in exhibit.kept.items() if name.startswith("LSH"))
    assert hashed[1].mean() > 0.9
    for pattern, share in exhibit.kept.items():
        assert share.mean() <= exhibit.best[pattern] + 1e-6


def test_the_sentence_tells_what_each_layer_keeps():
    exhibit = kept()
    near, far = (percent(layer.mean().item()) for layer in exhibit.kept[WINDOW])
    told = exhibit.findings()
    assert told.startswith("Of the attention to other tokens in layers 1 and 2: ")
    assert f"of the pairs and keeps {near} and {far} (so many pairs can hold" in told


# --- Hashing -------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_the_definitions_is_told_so():
    exhibit = buckets(lambda x, rotations: (x @ rotations).argmax(dim=-1))
    assert "was expected." in exhibit.problems[0]


def test_more_rounds_find_more_of_the_best_keys_and_of_all():
    x = example_keys(widgets.KEYS[0])
    shares = recall(reference.lsh_bucket, x, x, 16, own=False)
    assert len(shares.top) == len(shares.every) == len(ROUNDS)
    assert shares.top == sorted(shares.top)
    assert shares.every == sorted(shares.every)


def test_clusters_are_found_sooner_than_random_directions_at_the_same_cost():
    exhibit = found()
    clusters, random = (exhibit.found[kind] for kind in widgets.KEYS)
    assert clusters.top[1] > 1.5 * random.top[1]
    assert clusters.every[1] < 1.3 * random.every[1]


def test_recall_is_that_of_a_loop_over_queries():
    x = example_keys(widgets.KEYS[1])[:40]
    shares = recall(reference.lsh_bucket, x, x, 8, own=False)
    rotations = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
    bucket = reference.lsh_bucket(x, rotations)
    hits = 0
    for i in range(40):
        scores = (x @ x[i]).tolist()
        others = sorted((j for j in range(40) if j != i), key=lambda j: -scores[j])[:8]
        hits += sum(bool(bucket[j] == bucket[i]) for j in others)
    assert shares.top[0] == pytest.approx(hits / 320)


# --- Explorers -----------------------------------------------------------------------------------


def controls_and_output(explorer):
    row, sentence, figure = explorer.children
    return {control.description: control for control in row.children}, sentence, figure


def test_each_control_of_the_pattern_explorer_changes_text_and_figure():
    controls, sentence, figure = controls_and_output(
        widgets.pattern_explorer(masks(), reference.reachability)
    )
    for label, value, words in [
        ("pattern", STRIDED, "Strided"),
        ("tokens n", 32, "n = 32"),
        ("window, stride or block", 7, "width 7"),
        ("layers", 1, "After 1 layer the"),
    ]:
        before = figure.value
        assert words not in sentence.value
        controls[label].value = value
        assert words in sentence.value
        assert figure.value != before


def test_each_control_of_the_lsh_explorer_changes_text_and_figure():
    controls, sentence, figure = controls_and_output(widgets.lsh_explorer(reference.lsh_bucket))
    for label, value, words in [
        ("keys", widgets.KEYS[1], "random directions"),
        ("buckets", 32, "32 buckets"),
        ("rounds", 4, "4 rounds"),
    ]:
        before = figure.value
        assert words not in sentence.value
        controls[label].value = value
        assert words in sentence.value
        assert figure.value != before


def test_explorers_of_unsolved_functions_say_so():
    for explorer in (
        widgets.pattern_explorer(masks_that_are(unsolved), unsolved),
        widgets.lsh_explorer(unsolved),
    ):
        assert "is not solved yet." in controls_and_output(explorer)[1].value

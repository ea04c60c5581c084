"""The figures and widgets of 02_linear_attention show the reader's functions beside the truth."""

import math

import matplotlib as mpl
import pytest
import torch
from matplotlib.figure import Figure

from course.widgets import exhibit as exhibit_module
from course.widgets import linear_attention as widgets
from course.widgets.exhibit import Exhibit, percent
from course.widgets.linear_attention.states import example_recall, separate_keys
from course.widgets.style import SERIES, to_png
from solutions import linear_attention as reference


def unsolved(*_):
    raise NotImplementedError


def without_the_norm(x, projection):
    return (x @ projection.mT).exp() / len(projection) ** 0.5


def read_before_update(state, q_t, k_t, v_t, feature_map):
    new_state, _ = reference.recurrent_step(state, q_t, k_t, v_t, feature_map)
    phi = feature_map(q_t)
    read = (phi.unsqueeze(-1) * state[0]).sum(-2) / (phi * state[1]).sum(-1, keepdim=True)
    return new_state, read


def approximation(estimator=widgets.POSITIVE, features=None, m=64, norm=1.0, rows=None):
    features = features or reference.positive_random_features
    return widgets.kernel_approximation(estimator, features, m, norm, rows)


def kernel_error(**replaced):
    names = ("positive", "trigonometric", "orthogonal")
    functions = [
        replaced.get(name, getattr(reference, f"{name}_random_features")) for name in names
    ]
    return widgets.kernel_error_against_features(*functions)


def state(step=reference.recurrent_step, feature_map=reference.elu_feature_map, **settings):
    settings = {"sequence": "every key new", "t": 10} | settings
    return widgets.recurrent_state(step, feature_map, **settings)


def capacity(step=reference.recurrent_step, feature_map=reference.elu_feature_map):
    return widgets.recall_capacity(step, feature_map)


# Every exhibit, as a function of the reader's function that it shows.
EXHIBITS = {
    "kernel_approximation": lambda f: approximation(features=f, rows=f),
    "kernel_error": lambda f: kernel_error(positive=f, trigonometric=f, orthogonal=f),
    "key_norm_bias": widgets.key_norm_bias,
    "normaliser": widgets.normaliser_without_feature_map,
    "recurrent_state": lambda f: state(step=f),
    "recurrent_state, feature map": lambda f: state(feature_map=f),
    "recall_capacity": lambda f: capacity(step=f),
    "recall_capacity, feature map": lambda f: capacity(feature_map=f),
    "mixing_matrices": widgets.mixing_matrices,
}
REFERENCE = {
    "kernel_approximation": lambda: approximation(rows=reference.orthogonal_random_features),
    "kernel_error": kernel_error,
    "key_norm_bias": lambda: widgets.key_norm_bias(reference.positive_random_features),
    "normaliser": lambda: widgets.normaliser_without_feature_map(reference.elu_feature_map),
    "recurrent_state": state,
    "recall_capacity": capacity,
    "mixing_matrices": lambda: widgets.mixing_matrices(reference.fourier_mixing),
}
WRONG = {
    "raises": lambda *_: 1 / 0,
    "returns nothing": lambda *_: None,
    "returns a number": lambda *_: 1.0,
    "returns a scalar tensor": lambda *_: torch.tensor(1.0),
    "returns its first argument": lambda *arguments: arguments[0],
    "returns NaN of the shape of a feature map": lambda x, *_: x * torch.nan,
    "returns NaN of the shape of random features": lambda x, w, *_: x @ w.mT * torch.nan,
    "returns zeros of the shape of random features": lambda x, w, *_: x @ w.mT * 0,
    "returns a NaN state": lambda state, q, k, v, phi: ((state[0] * torch.nan, state[1]), v),
    "returns a flat state": lambda state, q, k, v, phi: ((state[1], state[1]), v),
}


pytestmark = pytest.mark.usefixtures("quietly")


def shown_axes(figure: Figure):
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


@pytest.mark.parametrize("name", REFERENCE)
def test_a_right_function_gives_no_complaint_and_a_figure_with_labelled_axes(name):
    exhibit = REFERENCE[name]()
    assert exhibit.problems == []
    assert exhibit.findings()
    figure = exhibit.draw()
    assert to_png(figure).startswith(b"\x89PNG")
    axes = shown_axes(figure)
    assert any(panel.get_ylabel() for panel in axes)
    for panel in axes:
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


def test_what_a_function_raises_is_quoted():
    exhibit = widgets.mixing_matrices(lambda x: 1 / 0)
    assert exhibit.problems == ["fourier_mixing raised ZeroDivisionError: division by zero."]


def test_an_exhibit_shows_its_image_and_its_sentence(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(exhibit_module, "display", lambda data, **how: shown.append(data))
    exhibit = approximation()
    exhibit._ipython_display_()
    image, words = shown
    assert image.data.startswith(b"\x89PNG")
    assert image.alt == words["text/plain"] == exhibit.sentence()
    assert capsys.readouterr() == ("", "")


def test_drawing_leaves_the_readers_matplotlib_settings_alone():
    before = dict(mpl.rcParams)
    to_png(approximation().draw())
    assert dict(mpl.rcParams) == before


def test_computing_leaves_the_number_of_threads_alone():
    before = torch.get_num_threads()
    approximation()
    assert torch.get_num_threads() == before


def test_the_series_differ_in_marker_and_dash_and_not_by_colour_alone():
    for key in ("color", "marker", "linestyle"):
        assert len({str(style[key]) for style in SERIES}) == len(SERIES)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "0 %"),
        (0.0001, "less than 0.1 %"),
        (0.0312, "3.1 %"),
        (0.5, "50 %"),
        (12.34, "12.3 times"),
        (5573, "5.6e+03 times"),
        (math.inf, "infinitely many times"),
        (math.nan, "NaN"),
    ],
)
def test_shares_read_as_words(share, words):
    assert percent(share) == words


# --- random features ------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [widgets.POSITIVE, widgets.TRIGONOMETRIC])
def test_more_features_estimate_kernel_and_attention_better(estimator):
    features = {
        widgets.POSITIVE: reference.positive_random_features,
        widgets.TRIGONOMETRIC: reference.trigonometric_random_features,
    }[estimator]
    few, many = (approximation(estimator, features, m=m) for m in (8, 1024))
    assert many.kernel_error < few.kernel_error / 4
    assert many.misplaced < few.misplaced / 4


def test_the_exact_attention_is_the_softmax_of_the_scores():
    exhibit = approximation()
    torch.testing.assert_close(exhibit.attention, exhibit.kernel.log().softmax(dim=-1))


def test_only_the_trigonometric_estimator_gives_negative_estimates():
    trigonometric = approximation(
        widgets.TRIGONOMETRIC, reference.trigonometric_random_features, norm=3
    )
    assert trigonometric.negative > 0.1
    assert approximation(norm=3).negative == 0


def test_features_without_the_norm_are_shown_and_found_wrong():
    exhibit = approximation(features=without_the_norm)
    assert "positive_random_features does not estimate exp(xᵀy)" in exhibit.sentence()
    assert exhibit.kernel_error > 1


def test_rows_that_are_not_orthogonal_are_found_wrong():
    exhibit = approximation(rows=lambda m, d, g: torch.randn(m, d, generator=g))
    assert "have the cosine" in exhibit.sentence()


def test_orthogonal_rows_of_unit_length_are_found_wrong():
    exhibit = approximation(
        rows=lambda m, d, g: torch.nn.functional.normalize(
            reference.orthogonal_random_features(m, d, g), dim=-1
        )
    )
    assert "mean squared length is 1 in 8 dimensions" in exhibit.sentence()


def test_rows_that_fail_below_d_are_told_where_only_few_are_drawn():
    def whole_blocks(m, d, generator):
        return reference.orthogonal_random_features(d * math.ceil(m / d), d, generator)

    assert approximation(rows=whole_blocks, m=64).problems == []
    few = approximation(rows=whole_blocks, m=8).problems
    assert few == [
        "orthogonal_random_features returned the shape (16, 16) where (8, 16) was expected."
    ]
    assert kernel_error(orthogonal=whole_blocks).problems[0].startswith("orthogonal_random")


def test_independent_rows_stand_in_for_unsolved_orthogonal_ones_and_the_text_says_so():
    exhibit = approximation(rows=unsolved)
    assert "independent (for orthogonal)" in exhibit.findings()
    torch.testing.assert_close(exhibit.kernel_estimate, approximation().kernel_estimate)


def test_every_estimators_error_falls_like_one_over_the_root_of_m():
    exhibit = kernel_error()
    for curves in exhibit.errors.values():
        for label in ("trigonometric", "positive"):
            fall = curves[label][0] / curves[label][-1]
            expected = (exhibit.num_features[-1] / exhibit.num_features[0]) ** 0.5
            assert 0.5 < fall / expected < 2


def test_positive_features_win_where_the_kernel_is_small_and_lose_where_it_is_large():
    unlike, alike = kernel_error().errors.values()
    assert unlike["positive"][-1] < unlike["trigonometric"][-1] / 2
    assert alike["positive"][-1] > alike["trigonometric"][-1] * 2


def test_orthogonal_rows_lower_the_error():
    exhibit = kernel_error()
    at_d = exhibit.num_features.index(16)
    for curves in exhibit.errors.values():
        for label in ("trigonometric", "positive"):
            assert curves[f"{label}, orthogonal"][at_d] < curves[label][at_d]


def test_no_orthogonal_curve_is_drawn_without_the_function():
    for curves in kernel_error(orthogonal=unsolved).errors.values():
        assert set(curves) == {"trigonometric", "positive"}


def test_only_the_form_without_the_norm_leans_to_long_keys():
    exhibit = widgets.key_norm_bias(reference.positive_random_features)
    longest = {label: shares[:, -1].mean().item() for label, shares in exhibit.shares.items()}
    assert longest[widgets.POSITIVE] == pytest.approx(1, abs=0.2)
    assert longest[widgets.DOCUMENT] > 2


def test_the_normaliser_crosses_zero_only_without_a_feature_map():
    exhibit = widgets.normaliser_without_feature_map(reference.elu_feature_map)
    without, with_map = exhibit.normalisers.values()
    assert (without < 0).double().mean().item() == pytest.approx(0.5, abs=0.05)
    assert with_map.min() > 0
    without, with_map = exhibit.outputs.values()
    assert without.max() > 10
    assert with_map.max() <= 1


# --- the recurrent state --------------------------------------------------------------------------


@pytest.mark.parametrize("sequence", widgets.SEQUENCES)
@pytest.mark.parametrize("t", [0, 47])
def test_the_state_shown_is_the_sum_over_the_tokens_so_far(sequence, t):
    exhibit = state(sequence=sequence, t=t)
    recall = example_recall(sequence)
    phi = reference.elu_feature_map(recall.keys[: t + 1])
    key_values, key_sum = exhibit.state
    torch.testing.assert_close(key_values, phi.mT @ recall.values[: t + 1])
    torch.testing.assert_close(key_sum, phi.sum(dim=0))


def test_a_state_recalls_until_it_has_more_keys_than_features():
    errors = state(t=0).errors
    assert max(errors[:16]) < 0.01
    assert errors[16] > 0.05
    assert errors[-1] > 0.5


def test_repeated_pairs_are_kept_and_replaced_values_are_not():
    assert state(sequence="four keys, same values").errors[-1] < 0.01
    assert state(sequence="four keys, new values").errors[-1] > 0.5


def test_the_state_keeps_its_bytes_while_the_cache_grows():
    early, late = state(t=0), state(t=40)
    assert early.state_bytes == late.state_bytes == 4 * (16 * 8 + 16)
    assert f"a key–value cache {4 * 41 * (16 + 8)}." in late.findings()


def test_a_step_that_reads_before_it_writes_is_found_wrong_and_drawn_beside_the_truth():
    exhibit = state(step=read_before_update)
    assert "recurrent_step differs from causal kernel attention" in exhibit.sentence()
    assert exhibit.errors[5] > exhibit.right_errors[5] + 0.05


def test_a_step_that_overwrites_its_state_does_not_spoil_what_is_shown():
    def in_place(state, *arguments):
        new_state, output = reference.recurrent_step(state, *arguments)
        for old, new in zip(state, new_state, strict=True):
            old.copy_(new)
        return state, output

    assert state(step=in_place).errors == pytest.approx(state().errors)


def test_a_feature_map_that_gives_zeros_is_found_wrong():
    assert "not positive" in state(feature_map=torch.relu).sentence()


def test_a_state_of_m_features_holds_m_separate_pairs():
    exhibit = capacity()
    for m in (8, 16, 32, 64):
        assert exhibit.room(m) == m


def test_separate_keys_are_distinct():
    keys = separate_keys(128, 8, torch.Generator().manual_seed(0))
    assert len(keys.unique(dim=0)) == 128


# --- mixing ---------------------------------------------------------------------------------------


def test_the_fourier_mixing_matrix_does_not_depend_on_the_input_and_softmaxs_does():
    exhibit = widgets.mixing_matrices(reference.fourier_mixing)
    one, other = exhibit.fourier
    torch.testing.assert_close(one, exhibit.fourier_truth, atol=1e-4, rtol=0)
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    one, other = exhibit.attention
    assert (one - other).abs().max() > 0.05


def test_a_global_filters_matrix_is_the_same_along_every_diagonal():
    circulant = widgets.mixing_matrices(reference.fourier_mixing).circulant
    torch.testing.assert_close(circulant, circulant.roll((1, 1), dims=(0, 1)))


def test_mixing_of_one_axis_is_found_wrong():
    exhibit = widgets.mixing_matrices(lambda x: torch.fft.fft(x, dim=-2).real)
    assert "not the transform over both axes" in exhibit.sentence()


def test_an_exhibit_must_say_what_it_shows():
    class Wordless(Exhibit):
        def draw(self):
            return Figure()

    with pytest.raises(TypeError, match="abstract"):
        Wordless()

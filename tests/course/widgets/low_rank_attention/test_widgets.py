"""The figures and widgets of 03_low_rank_attention show the reader's functions beside the truth."""

import math

import pytest
import torch

from course.widgets import low_rank_attention as widgets
from course.widgets.low_rank_attention.nystrom import FEW, LANDMARKS, MANY
from course.widgets.low_rank_attention.projection import (
    AVERAGES,
    DRAWN,
    PROJECTED,
    averages,
    promised_distortion,
)
from course.widgets.low_rank_attention.sequences import (
    KINDS,
    LENGTH,
    RANDOM,
    SMOOTH,
    TRAINED,
    example_sequence,
    missed_by_rank,
    relative_error,
    softmax_weights,
)
from course.widgets.low_rank_attention.spectrum import ENERGY
from course.widgets.style import to_png
from solutions import low_rank_attention as reference


def unsolved(*_):
    raise NotImplementedError


def spectra(spectrum=reference.attention_spectrum, rank=reference.effective_rank):
    return widgets.spectra(spectrum, rank)


def head(spectrum=reference.attention_spectrum, effective=reference.effective_rank, **settings):
    settings = {"kind": SMOOTH, "head": 2, "temperature": 1.0, "rank": 8} | settings
    return widgets.rank_of_a_head(spectrum, effective, **settings)


def distortion(
    projection=reference.johnson_lindenstrauss_projection, distortion=reference.distortion
):
    return widgets.projection_distortion(projection, distortion, num_draws=3)


def linformer(
    attention=reference.linformer_attention,
    projection=reference.johnson_lindenstrauss_projection,
):
    return widgets.linformer_error(attention, projection)


def pinv(iteration=reference.iterative_pinv):
    return widgets.pinv_convergence(iteration)


def nystrom(attention=reference.nystrom_attention):
    return widgets.nystrom_error(attention)


def factors(
    means=reference.segment_means,
    iteration=reference.iterative_pinv,
    attention=reference.nystrom_attention,
    **settings,
):
    settings = {"kind": SMOOTH, "head": 2, "num_landmarks": 16, "num_iterations": 6} | settings
    return widgets.nystrom_factors(means, iteration, attention, **settings)


# Every exhibit, as a function of the reader's function that it shows.
EXHIBITS = {
    "spectra": spectra,
    "spectra, rank": lambda f: spectra(rank=f),
    "head": head,
    "head, rank": lambda f: head(effective=f),
    "distortion": distortion,
    "distortion, distortion": lambda f: distortion(distortion=f),
    "linformer": linformer,
    "linformer, projection": lambda f: linformer(projection=f),
    "pinv": pinv,
    "nystrom": nystrom,
    "factors": factors,
    "factors, iteration": lambda f: factors(iteration=f),
    "factors, attention": lambda f: factors(attention=f),
}
REFERENCE = {
    "spectra": spectra,
    "head": head,
    "distortion": distortion,
    "linformer": linformer,
    "pinv": pinv,
    "nystrom": nystrom,
    "factors": factors,
}
MISSHAPEN = {
    "raises": lambda *_: 1 / 0,
    "returns nothing": lambda *_: None,
    "returns a number": lambda *_: 1.0,
    "returns an empty tensor": lambda *_: torch.zeros(0),
}
# Results of the right shape, all of them `times` something: NaN or 0.
WORTHLESS = {
    "spectra": lambda times: lambda a: a[..., 0] * times,
    "spectra, rank": lambda times: lambda a, energy: a[..., 0, 0] * times,
    "head": lambda times: lambda a: a[..., 0] * times,
    "head, rank": lambda times: lambda a, energy: a[..., 0, 0] * times,
    "distortion": lambda times: lambda n, k, generator: torch.ones(n, k) * times,
    "distortion, distortion": lambda times: lambda points, e: torch.tensor(1.0) * times,
    "linformer": lambda times: lambda q, k, v, e, f: v * times,
    "linformer, projection": lambda times: lambda n, k, generator: torch.ones(n, k) * times,
    "pinv": lambda times: lambda a, j: a * times,
    "nystrom": lambda times: lambda q, k, v, m, j: v * times,
    "factors": lambda times: lambda x, m: x[:m] * times,
    "factors, iteration": lambda times: lambda a, j: a * times,
    "factors, attention": lambda times: lambda q, k, v, m, j: v * times,
}


pytestmark = pytest.mark.usefixtures("quietly")


@pytest.mark.parametrize("name", REFERENCE)
def test_a_right_function_gives_no_complaint_and_a_figure_with_labelled_axes(name):
    exhibit = REFERENCE[name]()
    assert exhibit.problems == []
    assert exhibit.findings()
    figure = exhibit.draw()
    assert to_png(figure).startswith(b"\x89PNG")
    axes = [panel for panel in figure.axes if panel.get_label() != "<colorbar>"]
    assert any(panel.get_ylabel() for panel in axes)
    assert all(panel.get_xlabel() for panel in axes)


@pytest.mark.parametrize("name", EXHIBITS)
def test_an_unsolved_function_is_named_and_the_truth_still_drawn(name):
    exhibit = EXHIBITS[name](unsolved)
    assert "is not solved yet." in exhibit.sentence()
    assert to_png(exhibit.draw()).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", EXHIBITS)
def test_what_a_function_of_the_wrong_form_gives_is_told_once(name):
    for function in MISSHAPEN.values():
        problems = EXHIBITS[name](function).problems
        assert len(problems) == 1


@pytest.mark.parametrize("times", [math.nan, 0.0])
@pytest.mark.parametrize("name", WORTHLESS)
def test_nan_and_zeros_are_told_and_never_break_the_figure(name, times):
    exhibit = EXHIBITS[name](WORTHLESS[name](times))
    assert exhibit.problems
    assert to_png(exhibit.draw()).startswith(b"\x89PNG")


# --- the sequences --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_has_heads_tokens_and_channels_and_is_the_same_each_time(kind):
    shapes = {tuple(x.shape) for x in example_sequence(kind)}
    assert shapes == {(8, LENGTH, 16)}
    example_sequence.cache_clear()
    again = example_sequence(kind)
    example_sequence.cache_clear()
    assert all(torch.equal(a, b) for a, b in zip(example_sequence(kind), again, strict=True))


def test_the_trained_sequence_has_the_attention_of_the_model():
    from course.trained_model import example_tokens, load_trained

    tokens = example_tokens(1, LENGTH, torch.Generator().manual_seed(0))
    truth = torch.cat(load_trained().attention(tokens), dim=1)[0].double()
    q, k, _ = example_sequence(TRAINED)
    torch.testing.assert_close(softmax_weights(q, k), truth, rtol=1e-5, atol=1e-6)


def test_the_least_error_of_a_rank_is_that_of_the_best_approximation():
    q, k, _ = example_sequence(RANDOM)
    attention = softmax_weights(q, k)[0]
    u, s, vh = torch.linalg.svd(attention)
    for rank in (1, 20, 100):
        best = u[:, :rank] * s[:rank] @ vh[:rank]
        foretold = missed_by_rank(s)[rank].item()
        assert foretold == pytest.approx(relative_error(best, attention), rel=1e-9)
    assert missed_by_rank(s)[0] == 1
    assert missed_by_rank(s)[-1] == 0


# --- spectra --------------------------------------------------------------------------------------


def test_smooth_attention_is_of_low_rank_and_random_attention_is_not():
    ranks = spectra().ranks
    assert ranks[SMOOTH][1.0] < LENGTH / 10
    assert ranks[RANDOM][1.0] > LENGTH / 3


def test_a_high_temperature_lowers_the_effective_rank_of_every_kind():
    for by_temperature in spectra().ranks.values():
        assert by_temperature[4.0] < by_temperature[1.0]


def test_the_effective_rank_is_where_the_curve_passes_the_dotted_line():
    exhibit = head()
    missed = missed_by_rank(exhibit.spectrum)
    limit = math.sqrt(1 - ENERGY)
    assert missed[exhibit.effective_rank] <= limit < missed[exhibit.effective_rank - 1]


def test_the_error_shown_is_the_one_that_the_spectrum_foretells():
    exhibit = head(kind=RANDOM, rank=40)
    assert exhibit.error == pytest.approx(missed_by_rank(exhibit.spectrum)[40].item())


def test_a_spectrum_of_squares_and_a_rank_that_is_one_off_are_found_wrong():
    squares = spectra(lambda a: torch.linalg.svdvals(a).square())
    assert "differs from the singular values" in squares.sentence()
    one_off = spectra(rank=lambda a, energy: reference.effective_rank(a, energy) + 1)
    assert "effective_rank is not the smallest rank" in one_off.sentence()


# --- projections and Linformer --------------------------------------------------------------------


def test_the_promise_solves_the_lemmas_equation():
    epsilon = promised_distortion(512, 48)
    asked = 4 * math.log(48) / (epsilon**2 / 2 - epsilon**3 / 3)
    assert asked == pytest.approx(512)
    assert promised_distortion(8, 48) == math.inf


def test_the_measured_distortion_keeps_the_promise_and_does_not_depend_on_n():
    exhibit = distortion()
    short, long = (torch.tensor(curve)[:, 0] for curve in exhibit.measured.values())
    assert (short / long).log().abs().max() < math.log(1.5)
    for k, promise, mean in zip(exhibit.columns, exhibit.promised, short, strict=True):
        assert mean < promise or k < 128


def test_a_projection_of_variance_1_is_found_wrong():
    wide = distortion(lambda n, k, generator: torch.randn(n, k, generator=generator))
    assert "johnson_lindenstrauss_projection: ‖Eᵀx‖² is 64" in wide.sentence()


def test_a_distortion_of_lengths_and_not_of_their_squares_is_found_wrong():
    def of_lengths(points, projection):
        return (torch.pdist(points @ projection) / torch.pdist(points) - 1).abs().max()

    assert "distortion is" in distortion(distortion=of_lengths).sentence()


def test_averages_stand_for_a_smooth_sequence_and_drawn_projections_for_none():
    errors, at = linformer().errors, 2
    assert errors[SMOOTH][AVERAGES][at] < 0.1
    assert errors[RANDOM][AVERAGES][at] > 0.5
    for kind in KINDS:
        assert errors[kind][DRAWN][at] > 0.5
    assert errors[RANDOM][PROJECTED][at] < errors[RANDOM][DRAWN][at]


def test_no_way_to_project_beats_the_best_weights_of_that_rank():
    exhibit = linformer()
    for kind, curves in exhibit.errors.items():
        # Softmax over averages is of rank k, whatever k; so is the product after the softmax.
        for curve in curves.values():
            pairs = zip(curve[:3], exhibit.least[kind][:3], strict=True)
            assert all(error > 0.5 * least for error, least in pairs)


def test_averages_of_neighbours_are_segment_means():
    x = torch.randn(13, 3, dtype=torch.float64)
    torch.testing.assert_close(averages(13, 5).mT @ x, reference.segment_means(x, 5))


def test_linformer_without_its_scale_is_found_wrong():
    exhibit = linformer(lambda q, k, v, e, f: reference.linformer_attention(2 * q, k, v, e, f))
    assert "differs from softmax(Q(EᵀK)ᵀ/√d) FᵀV" in exhibit.sentence()


# --- Nyström --------------------------------------------------------------------------------------


def test_six_iterations_do_not_invert_the_landmarks_of_random_tokens_and_thirty_do():
    exhibit = pinv()
    assert exhibit.residuals[RANDOM][FEW] > 0.9
    assert exhibit.residuals[RANDOM][MANY] < 1e-3
    assert exhibit.converged(RANDOM) > FEW


def test_more_iterations_invert_smaller_singular_values():
    exhibit = pinv()
    thresholds = [exhibit.sigmas[kept > 0.5].min().item() for kept in exhibit.kept.values()]
    assert thresholds == sorted(thresholds, reverse=True)


def test_an_iteration_that_never_converges_is_found_wrong():
    assert "12 iterations" in pinv(lambda a, j: reference.iterative_pinv(a, min(j, 1))).sentence()


def test_an_exact_inverse_helps_on_a_smooth_sequence_and_ruins_a_random_one():
    errors, at = nystrom().errors, LANDMARKS.index(32)
    assert errors[SMOOTH][MANY][at] <= errors[SMOOTH][FEW][at] < 0.02
    assert errors[RANDOM][FEW][at] < 1 < errors[RANDOM][MANY][at] / 2


def test_the_weights_shown_are_the_product_of_the_three_factors():
    exhibit = factors(num_landmarks=8)
    first, middle, third = exhibit.factors
    torch.testing.assert_close(exhibit.product, first @ middle @ third)
    assert exhibit.error == pytest.approx(exhibit.errors[LANDMARKS.index(8)])


def test_landmarks_that_are_picked_and_not_averaged_are_found_wrong():
    picked = factors(lambda x, m: x[:: len(x) // m][:m])
    assert "segment_means does not give the means" in picked.sentence()


def test_nystrom_attention_without_its_scale_is_found_wrong():
    exhibit = nystrom(lambda q, k, *rest: reference.nystrom_attention(2 * q, k, *rest))
    assert "differs from the product of the three factors" in exhibit.sentence()


# --- the explorers --------------------------------------------------------------------------------


def controls_and_output(explorer):
    row, sentence, figure = explorer.children
    return {control.description: control for control in row.children}, sentence, figure


def assert_each_control_changes_text_and_figure(explorer, changes):
    controls, sentence, figure = controls_and_output(explorer)
    for label, (value, words) in changes.items():
        before = figure.value
        assert words not in sentence.value
        controls[label].value = value
        assert words in sentence.value
        assert figure.value != before


def test_each_control_of_the_spectrum_explorer_changes_text_and_figure():
    assert_each_control_changes_text_and_figure(
        widgets.spectrum_explorer(reference.attention_spectrum, reference.effective_rank),
        {
            "sequence": (SMOOTH, "smooth attention"),
            "head": (5, "head 5"),
            "temperature": (4.0, "temperature 4"),
            "rank": (32, "rank 32"),
        },
    )


def test_each_control_of_the_nystrom_explorer_changes_text_and_figure():
    functions = reference.segment_means, reference.iterative_pinv, reference.nystrom_attention
    assert_each_control_changes_text_and_figure(
        widgets.nystrom_explorer(*functions),
        {
            "sequence": (TRAINED, "trained sequence"),
            "head": (3, "head 3"),
            "landmarks m": (64, "m = 64"),
            "iterations": (20, "20 iterations"),
        },
    )


def test_an_explorer_of_unsolved_functions_says_so():
    for widget in (
        widgets.spectrum_explorer(unsolved, unsolved),
        widgets.nystrom_explorer(unsolved, unsolved, unsolved),
    ):
        _, sentence, _ = controls_and_output(widget)
        assert "is not solved yet." in sentence.value

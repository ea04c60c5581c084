"""Measured times are shown with their exponents, and with the size where methods change places."""

import pytest

from course.widgets.scaling import crossover, scaling
from course.widgets.style import to_png


def measured_scaling():
    sizes = [512, 1024, 2048, 4096]
    seconds = {"softmax": [n**2 * 1e-9 for n in sizes], "linear": [n * 1e-6 for n in sizes]}
    return scaling(sizes, seconds, overtakes=("softmax", "linear"))


def test_the_figure_has_labelled_axes_with_units_and_the_exponents_in_its_legend():
    figure = measured_scaling().draw()
    (axes,) = figure.axes
    assert axes.get_xlabel() == "sequence length n (tokens)"
    assert axes.get_ylabel() == "time (ms)"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["softmax: $n^{2.00}$", "linear: $n^{1.00}$", "linear overtakes: n ≈ 1000"]
    assert to_png(figure).startswith(b"\x89PNG")


def test_the_exponents_and_the_crossover_are_those_of_the_laws():
    exhibit = measured_scaling()
    assert exhibit.exponent("softmax") == pytest.approx(2)
    assert exhibit.exponent("linear") == pytest.approx(1)
    assert exhibit.crossover() == pytest.approx(1000)
    assert "linear overtakes softmax at n ≈ 1000" in exhibit.findings()


def test_there_is_no_crossover_where_one_method_is_faster_throughout():
    sizes, fast, slow = [1, 2, 4], [1, 1, 1], [2, 3, 4]
    assert crossover(sizes, fast, slow) is None
    assert crossover(sizes, slow, fast) is None
    seconds = {"fast": fast, "slow": slow}
    assert "does not overtake" in scaling(sizes, seconds, ("fast", "slow")).findings()
    assert "at every n" in scaling(sizes, seconds, ("slow", "fast")).findings()


def test_the_last_of_several_crossings_counts():
    crossing = crossover([1, 2, 4, 8], [2, 1, 1, 4], [1, 2, 2, 2])
    assert crossing == pytest.approx(4 * 2**0.5)


def test_times_that_do_not_fit_the_sizes_are_refused():
    with pytest.raises(ValueError, match="linear has 1 times for 2 sizes"):
        scaling([1, 2], {"linear": [1.0]}, ("linear", "linear"))
    with pytest.raises(ValueError, match="not measured: softmax"):
        scaling([1, 2], {"linear": [1.0, 2.0]}, ("softmax", "linear"))

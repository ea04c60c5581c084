"""The explorers of 02_linear_attention: a control moves, and text and figure follow."""

import asyncio

import pytest
from ipywidgets import IntSlider, VBox

from course.widgets import linear_attention as widgets
from course.widgets.exhibit import Exhibit, explorer
from course.widgets.style import new_figure
from solutions import linear_attention as reference


def unsolved(*_):
    raise NotImplementedError


def controls_and_output(explorer: VBox):
    row, sentence, figure = explorer.children
    return {control.description: control for control in row.children}, sentence, figure


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("estimator", widgets.TRIGONOMETRIC, "trigonometric"),
        ("estimator", widgets.DOCUMENT, "without −‖x‖²/2"),
        ("projections m", 1024, "m = 1024"),
        ("norm of queries and keys", 3, "norm 3"),
        ("rows of the projection", "orthogonal", "orthogonal projections"),
    ],
)
def test_each_control_of_the_kernel_explorer_changes_text_and_figure(label, value, words):
    controls, sentence, figure = controls_and_output(
        widgets.kernel_approximation_explorer(
            reference.positive_random_features,
            reference.trigonometric_random_features,
            reference.orthogonal_random_features,
        )
    )
    before = sentence.value, figure.value
    assert words not in sentence.value
    controls[label].value = value
    assert words in sentence.value
    assert figure.value != before[1]


def test_each_control_of_the_state_explorer_changes_text_and_figure():
    controls, sentence, figure = controls_and_output(
        widgets.recurrent_state_explorer(reference.recurrent_step, reference.elu_feature_map)
    )
    for label, value, words in [
        ("token t", 19, "20 tokens have written 20 different keys"),
        ("sequence", "four keys, same values", "20 tokens have written 4 different keys"),
    ]:
        before = figure.value
        controls[label].value = value
        assert words in sentence.value
        assert figure.value != before


def test_an_explorer_of_unsolved_functions_says_so_at_every_setting():
    explorers = [
        widgets.kernel_approximation_explorer(unsolved, unsolved, unsolved),
        widgets.recurrent_state_explorer(unsolved, unsolved),
    ]
    for widget in explorers:
        controls, sentence, _ = controls_and_output(widget)
        assert "is not solved yet." in sentence.value
    for estimator in controls_and_output(explorers[0])[0]["estimator"].options:
        controls = controls_and_output(explorers[0])[0]
        controls["rows of the projection"].value = "orthogonal"
        controls["estimator"].value = estimator
        assert "orthogonal_random_features is not solved yet." in explorers[0].children[1].value


def test_an_explorers_figure_has_its_sentence_as_alternative_text():
    _, sentence, figure = controls_and_output(
        widgets.recurrent_state_explorer(reference.recurrent_step, unsolved)
    )
    assert 'alt="feature_map is not solved yet.' in figure.value
    assert "data:image/png;base64," in figure.value
    assert "feature_map is not solved yet." in sentence.value


def test_a_held_key_draws_the_last_value_only():
    drawn = []

    class Drawn(Exhibit):
        def draw(self):
            return new_figure(1)

        def findings(self):
            return f"t = {drawn[-1]}"

    def compute(t):
        drawn.append(t)
        return Drawn()

    async def hold_the_key():
        widget = explorer(compute, t=(slider := IntSlider(value=0, max=50)))
        for t in range(1, 31):
            slider.value = t
        await asyncio.sleep(0.5)
        return widget

    widget = asyncio.run(hold_the_key())
    assert drawn == [0, 30]
    assert "t = 30" in widget.children[1].value

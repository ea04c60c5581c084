"""The figures and widgets of 03_low_rank_attention: everything the notebook imports.

Each takes functions the reader wrote. The figures show themselves as the last line of a cell; the
explorers put sliders to the same computations.
"""

from collections.abc import Callable

from ipywidgets import Dropdown, IntSlider, SelectionSlider, VBox

from course.widgets.exhibit import explorer, labelled
from course.widgets.low_rank_attention.nystrom import (
    LANDMARKS,
    NystromFactors,
    nystrom_error,
    nystrom_factors,
    pinv_convergence,
)
from course.widgets.low_rank_attention.projection import (
    averages,
    linformer_error,
    projection_distortion,
)
from course.widgets.low_rank_attention.sequences import (
    HEADS,
    KINDS,
    LENGTH,
    example_sequence,
    relative_error,
    softmax_weights,
)
from course.widgets.low_rank_attention.spectrum import RankOfAHead, rank_of_a_head, spectra
from course.widgets.scaling import scaling

__all__ = [
    "KINDS",
    "averages",
    "example_sequence",
    "linformer_error",
    "nystrom_error",
    "nystrom_explorer",
    "nystrom_factors",
    "pinv_convergence",
    "projection_distortion",
    "rank_of_a_head",
    "relative_error",
    "scaling",
    "softmax_weights",
    "spectra",
    "spectrum_explorer",
]


def spectrum_explorer(attention_spectrum: Callable, effective_rank: Callable) -> VBox:
    """Attention, its best approximation and its spectrum, by sequence, head, temperature, rank."""

    def compute(kind: str, head: int, temperature: float, rank: int) -> RankOfAHead:
        return rank_of_a_head(attention_spectrum, effective_rank, kind, head, temperature, rank)

    return explorer(
        compute,
        kind=labelled(Dropdown, "sequence", options=KINDS),
        head=labelled(IntSlider, "head", value=1, min=1, max=HEADS),
        temperature=labelled(
            SelectionSlider, "temperature", options=[0.25, 0.5, 1.0, 2.0, 4.0], value=1.0
        ),
        rank=labelled(IntSlider, "rank", value=8, min=1, max=LENGTH),
    )


def nystrom_explorer(
    segment_means: Callable, iterative_pinv: Callable, nystrom_attention: Callable
) -> VBox:
    """The three factors, their product and its error, by sequence, head, landmarks, iterations."""

    def compute(kind: str, head: int, num_landmarks: int, num_iterations: int) -> NystromFactors:
        functions = segment_means, iterative_pinv, nystrom_attention
        return nystrom_factors(*functions, kind, head, num_landmarks, num_iterations)

    return explorer(
        compute,
        kind=labelled(Dropdown, "sequence", options=KINDS),
        head=labelled(IntSlider, "head", value=1, min=1, max=HEADS),
        num_landmarks=labelled(SelectionSlider, "landmarks m", options=LANDMARKS, value=16),
        num_iterations=labelled(IntSlider, "iterations", value=6, min=0, max=30),
    )

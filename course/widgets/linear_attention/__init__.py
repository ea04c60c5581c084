"""The figures and widgets of 02_linear_attention: everything the notebook imports.

Each takes functions the reader wrote. The figures show themselves as the last line of a cell; the
explorers put sliders to the same computations.
"""

from collections.abc import Callable

from ipywidgets import Dropdown, FloatSlider, IntSlider, SelectionSlider, VBox
from torch import Tensor

from course.widgets.exhibit import explorer, labelled
from course.widgets.linear_attention.features import (
    DOCUMENT,
    POSITIVE,
    TRIGONOMETRIC,
    Features,
    KernelApproximation,
    Projections,
    document_features,
    kernel_approximation,
)
from course.widgets.linear_attention.figures import (
    kernel_error_against_features,
    key_norm_bias,
    normaliser_without_feature_map,
)
from course.widgets.linear_attention.mixing import mixing_matrices
from course.widgets.linear_attention.states import (
    LENGTH,
    SEQUENCES,
    FeatureMap,
    RecurrentState,
    recall_capacity,
    recurrent_state,
)
from course.widgets.scaling import crossover, scaling

__all__ = [
    "DOCUMENT",
    "POSITIVE",
    "SEQUENCES",
    "TRIGONOMETRIC",
    "crossover",
    "document_features",
    "kernel_approximation",
    "kernel_approximation_explorer",
    "kernel_error_against_features",
    "key_norm_bias",
    "mixing_matrices",
    "normaliser_without_feature_map",
    "recall_capacity",
    "recurrent_state",
    "recurrent_state_explorer",
    "scaling",
]


def kernel_approximation_explorer(
    positive_random_features: Features,
    trigonometric_random_features: Features,
    orthogonal_random_features: Projections,
) -> VBox:
    """Estimate against exact kernel, and attention maps, by features, norm, rows and estimator."""
    functions = {
        POSITIVE: positive_random_features,
        TRIGONOMETRIC: trigonometric_random_features,
        DOCUMENT: document_features,
    }

    def compute(estimator: str, num_features: int, norm: float, rows: str) -> KernelApproximation:
        orthogonal = orthogonal_random_features if rows == "orthogonal" else None
        return kernel_approximation(estimator, functions[estimator], num_features, norm, orthogonal)

    return explorer(
        compute,
        estimator=labelled(Dropdown, "estimator", options=list(functions)),
        num_features=labelled(
            SelectionSlider,
            "projections m",
            options=[2**exponent for exponent in range(2, 11)],
            value=64,
        ),
        norm=labelled(
            FloatSlider, "norm of queries and keys", value=1.5, min=0.25, max=4, step=0.25
        ),
        rows=labelled(Dropdown, "rows of the projection", options=["independent", "orthogonal"]),
    )


def recurrent_state_explorer(
    recurrent_step: Callable[..., tuple[tuple[Tensor, Tensor], Tensor]], feature_map: FeatureMap
) -> VBox:
    """The state after each token of a sequence, what it reads, its error and its bytes."""

    def compute(sequence: str, t: int) -> RecurrentState:
        return recurrent_state(recurrent_step, feature_map, sequence, t)

    return explorer(
        compute,
        sequence=labelled(Dropdown, "sequence", options=SEQUENCES),
        t=labelled(IntSlider, "token t", value=7, min=0, max=LENGTH - 1),
    )

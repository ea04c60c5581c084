"""The figures and widgets of 01_sparse_attention: everything the notebook imports.

Each takes functions the reader wrote. The figures show themselves as the last line of a cell; the
explorers put sliders to the same computations.
"""

from collections.abc import Callable

from ipywidgets import Dropdown, IntSlider, SelectionSlider, VBox
from torch import Tensor

from course.widgets.exhibit import explorer, labelled
from course.widgets.scaling import crossover, scaling
from course.widgets.sparse_attention.figures import attention_kept, four_families
from course.widgets.sparse_attention.lsh import (
    KEYS,
    ROUNDS,
    Hash,
    LSHBuckets,
    lsh_buckets,
    lsh_recall,
)
from course.widgets.sparse_attention.patterns import (
    MAX_LAYERS,
    PATTERNS,
    Masks,
    PatternReach,
    layers_needed,
    pattern_reach,
)

__all__ = [
    "KEYS",
    "PATTERNS",
    "Masks",
    "attention_kept",
    "crossover",
    "four_families",
    "layers_needed",
    "lsh_buckets",
    "lsh_explorer",
    "lsh_recall",
    "pattern_explorer",
    "pattern_reach",
    "scaling",
]


def pattern_explorer(masks: Masks, reachability: Callable[..., Tensor]) -> VBox:
    """A pattern, its density, and the receptive field over layers."""

    def compute(pattern: str, n: int, width: int, num_layers: int) -> PatternReach:
        return pattern_reach(masks, reachability, pattern, n, width, num_layers)

    return explorer(
        compute,
        pattern=labelled(Dropdown, "pattern", options=PATTERNS),
        n=labelled(IntSlider, "tokens n", value=48, min=8, max=64, step=4),
        width=labelled(IntSlider, "window, stride or block", value=4, min=1, max=12),
        num_layers=labelled(IntSlider, "layers", value=2, min=1, max=MAX_LAYERS),
    )


def lsh_explorer(lsh_bucket: Hash) -> VBox:
    """Buckets on the circle, and the recall of the best keys against rounds."""

    def compute(keys: str, num_buckets: int, num_rounds: int) -> LSHBuckets:
        return lsh_buckets(lsh_bucket, keys, num_buckets, num_rounds)

    return explorer(
        compute,
        keys=labelled(Dropdown, "keys", options=KEYS),
        num_buckets=labelled(SelectionSlider, "buckets", options=[2, 4, 8, 16, 32, 64], value=8),
        num_rounds=labelled(SelectionSlider, "rounds", options=ROUNDS, value=1),
    )

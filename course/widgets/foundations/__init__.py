"""The figures and widgets of 00_foundations: everything the notebook imports.

Each takes functions the reader wrote. The figures show themselves as the last line of a cell; the
explorers put sliders to the same computations.
"""

from collections.abc import Callable

from ipywidgets import Checkbox, Dropdown, IntSlider, SelectionSlider, VBox
from torch import Tensor

from course.widgets.exhibit import explorer, labelled
from course.widgets.foundations.attention import (
    NUM_TOKENS,
    TWIN,
    AttentionMap,
    all_heads,
    attention_map,
    example,
    true_weights,
    where_the_weight_goes,
)
from course.widgets.foundations.cost import AttentionCosts, attention_costs, growth
from course.widgets.foundations.low_rank import singular_values

__all__ = [
    "all_heads",
    "attention_costs",
    "attention_explorer",
    "attention_map",
    "cost_explorer",
    "growth",
    "singular_values",
]


def attention_explorer(softmax_attention: Callable[..., Tensor]) -> VBox:
    """One head of the trained model by the reader's function: head, mask, temperature, query."""

    def compute(head: str, causal: bool, temperature: float, query: int) -> AttentionMap:
        return attention_map(softmax_attention, head, causal, temperature, query)

    heads, twins = example()
    to_twin = {
        head: where_the_weight_goes(true_weights(q, k, False, 1.0), twins)[TWIN]
        for head, (q, k) in heads.items()
    }
    return explorer(
        compute,
        head=labelled(
            Dropdown, "head", options=list(heads), value=max(to_twin, key=to_twin.__getitem__)
        ),
        causal=labelled(Checkbox, "causal", value=False),
        temperature=labelled(
            SelectionSlider, "temperature", options=[0.1, 0.25, 0.5, 1, 2, 4, 10], value=1
        ),
        query=labelled(IntSlider, "query i", value=20, min=0, max=NUM_TOKENS - 1),
    )


def cost_explorer(attention_cost: Callable[..., tuple[int, int, int]]) -> VBox:
    """Bytes and FLOPs against n by the reader's formula, and where each memory gives out."""

    def compute(d: int, num_heads: int, bytes_per_element: int, kept: int) -> AttentionCosts:
        return attention_costs(attention_cost, d, num_heads, bytes_per_element, kept)

    return explorer(
        compute,
        num_heads=labelled(
            SelectionSlider, "heads", options=[2**exponent for exponent in range(8)], value=16
        ),
        d=labelled(SelectionSlider, "d, numbers a head", options=[16, 32, 64, 128, 256], value=64),
        bytes_per_element=labelled(SelectionSlider, "bytes a number", options=[2, 4, 8], value=2),
        kept=labelled(
            SelectionSlider,
            "layers × sequences kept",
            options=[2**exponent for exponent in range(11)],
            value=1,
        ),
    )

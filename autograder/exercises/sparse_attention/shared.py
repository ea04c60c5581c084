"""Cases and properties that the attentions of 01_sparse_attention share."""

from collections.abc import Callable

import torch

from autograder.cases import GRADIENTS
from autograder.exercise import Inputs, Property
from autograder.properties import matches

# Tokens of a long case. A boolean for each pair of them is 4.3 GB, and the scores of all pairs, a
# few rows at a time, take longer than grading allows.
LONG_SPARSE = 2**16
# Where costs are counted: keys on each side or tokens of a block, and the numbers of tokens.
COUNTED_WINDOW, COUNTED_BLOCK = 64, 64
COUNTED = (1024, 2048)
# Elements that the largest tensor may have for each token, fewer than the smallest n: 4 features of
# each key in a window of 64 on both sides are 516.
ELEMENTS_PER_TOKEN = 640


def calls_of_loops(n: int) -> int:
    """Enough for a loop over chunks, blocks or offsets, too few for one over 2,048 tokens."""
    return 2000


# The first feature of a query and of a key whose score is 15²/√4 = 112.5 above the others:
# e^89 is infinite in float32, and e^−104 is 0.
FAR = 15.0


def far_apart(inputs: Inputs) -> Inputs:
    """The same case, the scores of queries in turn near 0, far above it and far below."""
    turn = (torch.arange(inputs["q"].shape[-2]) + 1) % 3 - 1.0
    inputs["q"][..., 0] = FAR * turn
    inputs["k"][..., 0] = FAR
    return inputs | {"cotangent": None}


def one_key_far_above(inputs: Inputs, key: int) -> Inputs:
    """The same case, the scores of one key far above those of the others."""
    inputs["q"][..., 0] = FAR
    inputs["k"][..., 0] = FAR * (torch.arange(inputs["k"].shape[-2]) == key)
    return inputs | {"cotangent": None}


def by_columns(inputs: Inputs) -> Inputs:
    """The same case, its queries, keys and values laid out column by column."""
    return inputs | {name: inputs[name].mT.contiguous().mT for name in "qkv"}


def constant_values(inputs: Inputs) -> Inputs:
    """The same case, all its values the same."""
    return inputs | {"v": torch.full_like(inputs["v"], 2.5)}


def average() -> Property:
    """What no normaliser but the right one gives."""
    return matches(
        "output",
        title="the weights of a query sum to 1: constant values come back unchanged",
        points=1,
        cases=("constant values",),
    )


LEADING_AXES = {
    "no leading axis": (),
    "one leading axis": (3,),
    "three leading axes": (2, 1, 2),
    "a batch of one": (1, 1),
}


def leading_axes(draw: Callable[..., Inputs]) -> dict[str, Inputs]:
    """Cases with other leading axes than batch and heads, and more features of values than d."""
    return {name: draw(lead=lead, e=5) for name, lead in LEADING_AXES.items()}


def any_leading_axes() -> Property:
    """Right in the cases that `leading_axes` draws."""
    return matches(
        "output",
        *GRADIENTS,
        title="any leading axes, or none",
        points=1,
        cases=tuple(LEADING_AXES),
    )


def gradients(*cases: str) -> Property:
    """Those by queries, keys and values."""
    return matches(*GRADIENTS, title="gradients are right", points=1, cases=cases)

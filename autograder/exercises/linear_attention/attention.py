"""The exercises of 02_linear_attention: a feature map, and attention with it that sees all keys."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from autograder.cases import GRADIENTS, LONG_TOKENS, attention_case, in_float64, normal, sequence
from autograder.cost import NO_MATRIX, cost
from autograder.exercise import Answer, Exercise, Inputs, Part, Property, Sign
from autograder.probes import with_gradients
from autograder.properties import matches

# Not the feature map of the first exercise, which would be given away; m = d and m = 2 d. A common
# factor changes no output. It is large, so that what is added to the normaliser shows where that
# is asked for, with features that are faint, and nowhere else.
FEATURE_MAPS = {
    # Falling, so that applying it twice is far from applying it once.
    "softplus": lambda x: 1e4 * F.softplus(-x),
    "two_sided": lambda x: 1e4 * torch.cat([F.softplus(x), F.softplus(-x)], dim=-1),
    "faint": lambda x: 1e-7 * F.softplus(x),
}

LEADS = {"no leading axis": (), "one leading axis": (3,), "three leading axes": (1, 2, 3)}
"""Cases by what stands before n and d, beside those with two leading axes."""


def adds_to(normaliser: Callable[[Inputs], Tensor]) -> Sign:
    """The sign of a number that is added to the normaliser, (..., n, 1), or that it is kept above.

    The normaliser that was divided by is that of the truth, times the truth, by the answer.
    """

    def shows(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
        right = normaliser(in_float64(inputs)).expand_as(expected["output"])
        used = right * expected["output"] / answer["output"].double()
        return bool(used.max() < 0.1) and any(
            each.min() > 0 and each.max() < 1.05 * each.min() for each in (used - right, used)
        )

    return shows


# --- elu_feature_map -----------------------------------------------------------------------------


def _elu_cases(generator: Generator) -> dict[str, Inputs]:
    far = normal(generator, 2, 3, 2, 4, scale=30.0)
    # From 89 on exp overflows in float32.
    far[..., 0] = torch.tensor([89.0, -89.0])
    below = -7 + normal(generator, 2, 2, 3, 4).clamp(-2, 2)
    below[..., 0] = -9
    return {
        "short": {"x": normal(generator, 2, 3, 5, 4)},
        "far from zero": {"x": far},
        "far below zero": {"x": below.double()},
        "around zero": {"x": normal(generator, 1, 2, 3, 4, scale=1e-3)},
        "zeros": {"x": torch.zeros(1, 1, 2, 3)},
        "float64": {"x": normal(generator, 1, 2, 3, 4).double()},
        "one number": {"x": normal(generator, 1)[0]},
        "one axis": {"x": normal(generator, 7)},
        "three axes": {"x": normal(generator, 2, 7, 4)},
    }


def _elu_probe(function: Callable, x: Tensor) -> Answer:
    return with_gradients(function, {"x": x}, torch.ones_like(x))


def _not_positive(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    if (answer["output"] > 0).all():
        return None
    return "some features are zero or negative, so a sum of weights can vanish"


ELU_GRADIENTS = (
    "short",
    "far from zero",
    "far below zero",
    "around zero",
    "float64",
    "one number",
    "one axis",
    "three axes",
)
ELU = Exercise(
    "elu_feature_map",
    "linear_attention",
    (
        Part(
            "numbers",
            _elu_cases,
            _elu_probe,
            (
                Property(
                    "every feature is positive",
                    1,
                    _not_positive,
                    ("short", "far below zero", "around zero", "zeros"),
                ),
                matches("output", title="equals elu(x) + 1", points=1),
                # At 0 itself, several are as good.
                matches("grad_x", title="the gradient is right", points=1, cases=ELU_GRADIENTS),
            ),
        ),
    ),
)


# --- linear_attention ----------------------------------------------------------------------------


def _linear_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n_q: int, n_k: int, d: int, e: int, **more: Any) -> Inputs:
        return attention_case(generator, n_q, n_k, d, e, **{"feature_map": "softplus", **more})

    constant = case(6, 9, 4, 3)
    return {
        "short": case(5, 5, 4, 4),
        "constant values": constant | {"v": torch.full_like(constant["v"], 2.5)},
        "more keys than queries": case(7, 11, 4, 3),
        "more queries than keys": case(9, 4, 3, 5),
        "one token": case(1, 1, 4, 4),
        "one query": case(1, 6, 4, 4, lead=(1, 1)),
        "one number a value": case(4, 4, 4, 1),
        "large numbers": case(13, 13, 4, 4, scale=8.0),
        "float64": in_float64(case(5, 5, 4, 4)),
        **{name: case(3, 5, 4, 2, lead=lead) for name, lead in LEADS.items()},
    }


def _wide_cases(generator: Generator) -> dict[str, Inputs]:
    wide = attention_case(generator, 7, 11, 4, 3, feature_map="two_sided")
    return {"twice as many features": wide}


def _faint_cases(generator: Generator) -> dict[str, Inputs]:
    return {"faint features": attention_case(generator, 5, 7, 4, 3, feature_map="faint")}


def _linear_probe(
    function: Callable, feature_map: str, cotangent: Tensor, **tensors: Tensor
) -> Answer:
    phi = FEATURE_MAPS[feature_map]
    return with_gradients(lambda q, k, v: function(q, k, v, phi), tensors, cotangent)


def _sum_of_weights(inputs: Inputs) -> Tensor:
    phi = FEATURE_MAPS[inputs["feature_map"]]
    return phi(inputs["q"]) @ phi(inputs["k"]).sum(dim=-2).unsqueeze(-1)


def _values_like_keys(generator: Generator) -> Inputs:
    """Means of so many values that know nothing of their keys would be nearly 0, and rounding."""
    case = sequence(generator, LONG_TOKENS)
    return case | {"v": case["v"] + case["k"]}


EPSILON = "something added to the normaliser"
NO_EPSILON = "a feature map times a constant gives the same: nothing is added to the normaliser"
LINEAR_NUMBERS = (
    "short",
    "more keys than queries",
    "more queries than keys",
    "one token",
    "one query",
    "one number a value",
    "large numbers",
    "float64",
    *LEADS,
)
# With one token the weight is 1 whatever q and k are: their gradients are rounding.
LINEAR_GRADIENTS = (
    "short",
    "more keys than queries",
    "more queries than keys",
    "large numbers",
    "float64",
)
LINEAR_TITLE = "equals φ(Q)φ(K)ᵀ, normalised over the keys, times V"
LINEAR = Exercise(
    "linear_attention",
    "linear_attention",
    (
        Part(
            "numbers",
            _linear_cases,
            _linear_probe,
            (
                matches(
                    "output",
                    title="the weights of a query sum to 1: constant values come back unchanged",
                    points=1,
                    cases=("constant values",),
                ),
                matches("output", title=LINEAR_TITLE, points=2, cases=LINEAR_NUMBERS),
                matches(*GRADIENTS, title="gradients are right", points=1, cases=LINEAR_GRADIENTS),
            ),
        ),
        # Features as many as numbers is what many mistakes need to run at all.
        Part(
            "wide features",
            _wide_cases,
            _linear_probe,
            (
                matches("output", title=LINEAR_TITLE, points=0),
                matches(*GRADIENTS, title="gradients are right", points=0),
            ),
            tells_mistakes=False,
        ),
        Part(
            "faint features",
            _faint_cases,
            _linear_probe,
            (matches("output", title=NO_EPSILON, points=1),),
            signs={EPSILON: adds_to(_sum_of_weights)},
        ),
        *cost(
            sequence,
            lambda function, **tensors: function(*tensors.values(), F.softplus),
            exponent=1.1,
            largest=lambda n: 128 * n,
            calls=lambda n: n,
            words=NO_MATRIX,
            title="O(n): nothing n × n is computed, and tokens are not taken one by one",
            points=2,
            long={"long": _values_like_keys},
        ),
    ),
)

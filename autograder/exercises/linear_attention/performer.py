"""The exercise of 02_linear_attention that puts features and linear attention together."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from autograder.cases import (
    COUNTED_DIM,
    GRADIENTS,
    attention_case,
    in_float64,
    normal,
    sequence,
)
from autograder.cost import NO_MATRIX, cost
from autograder.exercise import Answer, Exercise, Inputs, Part, Property, difference
from autograder.exercises.linear_attention.attention import EPSILON, LEADS, adds_to
from autograder.probes import as_tensor, with_gradients
from autograder.properties import are_equal, matches
from course.specifications.linear_attention import kernel_attention


def _positive_features(x: Tensor, projection: Tensor) -> Tensor:
    return torch.exp(x @ projection.mT - (x * x).sum(-1, keepdim=True) / 2) / len(projection) ** 0.5


def _performer_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n_q: int, n_k: int, d: int, **more: Any) -> Inputs:
        lead = more.pop("lead", (2, 2))
        attention = attention_case(generator, n_q, n_k, d, 3, lead=lead)
        return attention | {"projection": normal(generator, 6, d), "causal": False, **more}

    return {
        "short": case(5, 5, 4),
        "more keys than queries": case(7, 11, 8),
        "more queries than keys": case(6, 3, 4),
        "one token": case(1, 1, 4, lead=(1, 1)),
        "long keys": case(6, 6, 4, k=normal(generator, 2, 2, 6, 4, scale=3.0)),
        "float64": in_float64(case(5, 5, 4)),
        "causal": case(9, 9, 4, causal=True),
        "causal, float64": in_float64(case(4, 4, 4, causal=True)),
        **{name: case(3, 5, 4, lead=lead) for name, lead in LEADS.items()},
        **{
            f"causal, {name}": case(5, 5, 4, lead=lead, causal=True) for name, lead in LEADS.items()
        },
    }


def _opposite_cases(generator: Generator) -> dict[str, Inputs]:
    """Queries and keys that point away from each other: every weight is about exp(−25)."""

    def case(causal: bool) -> Inputs:
        given = attention_case(generator, 5, 5, 4, 3, scale=0.3)
        given["q"] = given["q"] + torch.tensor([7.0, 0, 0, 0])
        given["k"] = given["k"] - torch.tensor([7.0, 0, 0, 0])
        projection = normal(generator, 6, 4).clamp(-2, 2)
        return given | {"projection": projection, "causal": causal}

    return {"far apart": case(causal=False), "far apart, causal": case(causal=True)}


def _sum_of_weights(inputs: Inputs) -> Tensor:
    scale = inputs["q"].shape[-1] ** -0.25
    q, k = (_positive_features(inputs[x] * scale, inputs["projection"]) for x in "qk")
    sums = k.cumsum(dim=-2) if inputs["causal"] else k.sum(dim=-2, keepdim=True)
    return (q * sums).sum(dim=-1, keepdim=True)


def _close_cases(generator: Generator) -> dict[str, Inputs]:
    # The same for every seed, as what is near a bound must not depend on luck. The values say
    # where attention looks, so that another sharpness shows.
    generator = Generator().manual_seed(0)
    q, k = normal(generator, 2, 2, 2, 32, 4, scale=0.5)
    given = {"q": q, "k": k, "v": k[..., :3].clone()}
    return {"many features": given | {"projection": normal(generator, 4096, 4)}}


def _close_probe(function: Callable, **tensors: Tensor) -> Answer:
    return {"output": as_tensor(function(**tensors))}


def _slow(q: Tensor, k: Tensor, v: Tensor, phi: Callable) -> Tensor:
    return kernel_attention(q, k, v, phi)


def _slow_causal(q: Tensor, k: Tensor, v: Tensor, phi: Callable, chunk_size: int = 1) -> Tensor:
    return kernel_attention(q, k, v, phi, causal=True)


def _performer_probe(
    function: Callable, projection: Tensor, causal: bool, cotangent: Tensor, **tensors: Tensor
) -> Answer:
    # The second call gets numbers that the first cannot have overwritten.
    given = [tensor.clone() for tensor in tensors.values()]
    answer = with_gradients(
        lambda q, k, v: function(q, k, v, projection, causal), tensors, cotangent
    )
    return answer | {"again": as_tensor(function(*given, projection, causal))}


# Where only the cost is counted, any use of the features will do.
def _as_cheap_as_linear(q: Tensor, k: Tensor, v: Tensor, phi: Callable) -> Tensor:
    return phi(q).sum(-1, keepdim=True) * v / phi(k).sum()


def _as_cheap_as_chunks(q: Tensor, k: Tensor, v: Tensor, phi: Callable, chunk_size: int) -> Tensor:
    return _as_cheap_as_linear(q, k, v, phi) + torch.ones(chunk_size, chunk_size).mean()


def _with_projection(generator: Generator, n: int) -> Inputs:
    return sequence(generator, n, projection=normal(generator, COUNTED_DIM, COUNTED_DIM))


def _counted(causal: bool, points: int, name: str) -> tuple[Part, ...]:
    # No long case: its supplied linear_attention would have to be one that is right and fast.
    return cost(
        _with_projection,
        lambda function, **tensors: function(*tensors.values(), causal),
        exponent=1.1,
        largest=lambda n: 128 * n,
        words=NO_MATRIX,
        title="O(n): nothing n × n is computed",
        points=points,
        supplies={
            "positive_random_features": _positive_features,
            "linear_attention": _as_cheap_as_linear,
            "causal_linear_attention": _as_cheap_as_chunks,
        },
        name=name,
    )


def _far_from_softmax(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    q, k, v = (inputs[name].double() for name in "qkv")
    truth = F.scaled_dot_product_attention(q, k, v)
    if answer["output"].shape != truth.shape:
        return difference("output", answer["output"], truth)
    error = ((answer["output"].double() - truth).norm() / truth.norm()).item()
    if error <= CLOSE:
        return None
    return f"with 4096 features the output is {error:.0%} away from softmax attention, in norm"


CLOSE = 0.1
PERFORMER_NUMBERS = (
    "short",
    "more keys than queries",
    "more queries than keys",
    "one token",
    "long keys",
    "float64",
    *LEADS,
)
CAUSAL_NUMBERS = ("causal", "causal, float64", *(f"causal, {name}" for name in LEADS))
PERFORMER_GRADIENTS = (
    "short",
    "more keys than queries",
    "more queries than keys",
    "float64",
    "causal",
)
NO_EPSILON = "weights however small count: nothing is added to them or to their sum"
SLOW: dict[str, Callable] = {
    "positive_random_features": _positive_features,
    "linear_attention": _slow,
    "causal_linear_attention": _slow_causal,
}
PERFORMER = Exercise(
    "performer_attention",
    "linear_attention",
    (
        Part(
            "numbers",
            _performer_cases,
            _performer_probe,
            (
                matches(
                    "output", title="equals the FAVOR+ estimate", points=2, cases=PERFORMER_NUMBERS
                ),
                matches("output", title="causal, too", points=1, cases=CAUSAL_NUMBERS),
                are_equal(
                    "output",
                    "again",
                    "two calls with the same arguments differ: is the projection drawn again?",
                    title="the same inputs give the same output",
                    points=1,
                    cases=("short",),
                ),
                matches(
                    *GRADIENTS, title="gradients are right", points=1, cases=PERFORMER_GRADIENTS
                ),
            ),
            supplies=SLOW,
        ),
        Part(
            "far apart",
            _opposite_cases,
            _performer_probe,
            (matches("output", title=NO_EPSILON, points=1),),
            supplies=SLOW,
            signs={EPSILON: adds_to(_sum_of_weights)},
        ),
        Part(
            "softmax",
            _close_cases,
            _close_probe,
            (
                Property(
                    "comes close to softmax attention with 4096 features", 1, _far_from_softmax
                ),
            ),
            supplies=SLOW,
        ),
        *_counted(causal=False, points=1, name="cost"),
        *_counted(causal=True, points=0, name="causal cost"),
    ),
)

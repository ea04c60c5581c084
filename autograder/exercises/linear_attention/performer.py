"""The exercise of 02_linear_attention that puts features and linear attention together."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from autograder.cases import COUNTED_DIM, GRADIENTS, attention_case, normal, sequence
from autograder.cost import NO_MATRIX, cost
from autograder.exercise import Answer, Exercise, Inputs, Part, Property
from autograder.probes import as_tensor, with_gradients
from autograder.properties import are_equal, matches
from course.specifications.linear_attention import kernel_attention


def _positive_features(x: Tensor, projection: Tensor) -> Tensor:
    return torch.exp(x @ projection.mT - (x * x).sum(-1, keepdim=True) / 2) / len(projection) ** 0.5


def _performer_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n_q: int, n_k: int, d: int, **more: object) -> Inputs:
        attention = attention_case(generator, n_q, n_k, d, 3)
        return attention | {"projection": normal(generator, 6, d), "causal": False, **more}

    return {
        "short": case(5, 5, 4),
        "more keys than queries": case(7, 11, 8),
        "long keys": case(6, 6, 4, k=normal(generator, 2, 2, 6, 4, scale=3.0)),
        "causal": case(9, 9, 4, causal=True),
        "many features": case(
            12,
            12,
            8,
            q=normal(generator, 2, 2, 12, 8, scale=0.5),
            k=normal(generator, 2, 2, 12, 8, scale=0.5),
            projection=normal(generator, 4096, 8),
        ),
    }


def _slow(q: Tensor, k: Tensor, v: Tensor, phi: Callable) -> Tensor:
    return kernel_attention(q, k, v, phi)


def _slow_causal(q: Tensor, k: Tensor, v: Tensor, phi: Callable, chunk_size: int = 1) -> Tensor:
    return kernel_attention(q, k, v, phi, causal=True)


def _performer_probe(
    function: Callable, projection: Tensor, causal: bool, cotangent: Tensor, **tensors: Tensor
) -> Answer:
    answer = with_gradients(
        lambda q, k, v: function(q, k, v, projection, causal), tensors, cotangent
    )
    return answer | {"again": as_tensor(function(*tensors.values(), projection, causal))}


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
    error = ((answer["output"].double() - truth).norm() / truth.norm()).item()
    if error <= 0.15:
        return None
    return f"with 4096 features the output is {error:.0%} away from softmax attention, in norm"


PERFORMER_NUMBERS = ("short", "more keys than queries", "long keys")
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
                matches("output", title="causal, too", points=1, cases=("causal",)),
                Property(
                    "comes close to softmax attention with 4096 features",
                    1,
                    _far_from_softmax,
                    ("many features",),
                ),
                are_equal(
                    "output",
                    "again",
                    "two calls with the same arguments differ: is the projection drawn again?",
                    title="the same inputs give the same output",
                    points=1,
                    cases=("short",),
                ),
                matches(*GRADIENTS, title="gradients are right", points=1, cases=PERFORMER_NUMBERS),
            ),
            supplies={
                "positive_random_features": _positive_features,
                "linear_attention": _slow,
                "causal_linear_attention": _slow_causal,
            },
        ),
        *_counted(causal=False, points=1, name="cost"),
        *_counted(causal=True, points=0, name="causal cost"),
    ),
)

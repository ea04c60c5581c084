"""The exercises of 03_low_rank_attention on Nyström's method."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from autograder.cases import (
    COUNTED_DIM,
    GRADIENTS,
    LONG_TOKENS,
    attention_case,
    in_float64,
    normal,
    sequence,
)
from autograder.cost import NO_MATRIX, cost
from autograder.exercise import Answer, Exercise, Inputs, Part
from autograder.probes import with_gradients
from autograder.properties import matches
from course.specifications.low_rank_attention import means_of_segments

COUNTED_LANDMARKS = 16


# --- segment_means -------------------------------------------------------------------------------


def _means_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n: int, num_landmarks: int, lead: tuple[int, ...] = (2, 3)) -> Inputs:
        return {
            "x": normal(generator, *lead, n, 4),
            "num_landmarks": num_landmarks,
            "cotangent": normal(generator, *lead, num_landmarks, 4),
        }

    turned = case(15, 5)
    turned["x"] = turned["x"].mT.contiguous().mT
    return {
        "whole segments": case(12, 4),
        "one landmark": case(7, 1),
        "as many landmarks as tokens": case(6, 6),
        "one token": case(1, 1),
        "columns contiguous": turned,
        "float64": in_float64(case(8, 2)),
        "no leading axes": case(12, 3, lead=()),
        "three leading axes": case(8, 4, lead=(2, 1, 2)),
        "ragged": case(13, 5),
        "ragged, no leading axes": case(11, 4, lead=()),
        "ragged, a batch of one": case(9, 4, lead=(1, 1)),
        "one token too many": case(17, 4),
        "nearly as many landmarks as tokens": case(7, 5),
    }


def _means_probe(function: Callable, num_landmarks: int, x: Tensor, cotangent: Tensor) -> Answer:
    return with_gradients(lambda x: function(x, num_landmarks), {"x": x}, cotangent)


def _tokens(generator: Generator, n: int, num_landmarks: int = 64) -> Inputs:
    return {"x": normal(generator, 1, n, COUNTED_DIM), "num_landmarks": num_landmarks}


WHOLE = (
    "whole segments",
    "one landmark",
    "as many landmarks as tokens",
    "one token",
    "columns contiguous",
    "float64",
    "no leading axes",
    "three leading axes",
)
RAGGED = (
    "ragged",
    "ragged, no leading axes",
    "ragged, a batch of one",
    "one token too many",
    "nearly as many landmarks as tokens",
)
MEANS = Exercise(
    "segment_means",
    "low_rank_attention",
    (
        Part(
            "numbers",
            _means_cases,
            _means_probe,
            (
                matches(
                    "output", title="equals the means of whole segments", points=1, cases=WHOLE
                ),
                matches(
                    "output",
                    title="equals them where n is no multiple: the first segments have one more",
                    points=2,
                    cases=RAGGED,
                ),
                matches("grad_x", title="the gradient is right", points=1, cases=(*WHOLE, *RAGGED)),
            ),
        ),
        *cost(
            _tokens,
            lambda function, x, num_landmarks: function(x, num_landmarks),
            exponent=1.1,
            largest=lambda n: 2 * COUNTED_DIM * n,
            calls=lambda n: 32,
            words="a matrix with a row for each landmark and a column for each token is not needed",
            title="O(n), all segments at once",
            points=1,
            # A matrix of averages, a row for each landmark, is 4.3 GB.
            long={"long": lambda generator: _tokens(generator, LONG_TOKENS + 5, 2**13)},
        ),
    ),
)


# --- iterative_pinv ------------------------------------------------------------------------------


def _softmax_matrices(generator: Generator, *shape: int) -> Tensor:
    return normal(generator, *shape, scale=2.0).softmax(dim=-1)


def _nearly_uniform(generator: Generator, m: int) -> Tensor:
    """Softmax matrices whose rows hardly differ: a condition number of about 1000 · m."""
    # Not symmetric: the start is Aᵀ, not A.
    own = torch.eye(m).roll(1, dims=0)
    scores = 1e-3 * (own + normal(generator, 2, m, m, scale=0.03))
    return scores.double().softmax(dim=-1)


def _two_equal_landmarks(generator: Generator, m: int) -> Tensor:
    """A softmax matrix with two equal rows and two equal columns: it has no inverse."""
    scores = 4 * torch.eye(m - 1) + normal(generator, m - 1, m - 1, scale=0.3)
    twice = torch.cat([torch.arange(m - 1), torch.randint(m - 1, (1,), generator=generator)])
    return scores[twice][:, twice].double().softmax(dim=-1)


def _pinv_cases(generator: Generator) -> dict[str, Inputs]:
    def case(a: Tensor, num_iterations: int) -> Inputs:
        return {
            "a": a,
            "num_iterations": num_iterations,
            "cotangent": normal(generator, *a.shape).to(a.dtype),
        }

    several = _softmax_matrices(generator, 3, 5, 5)
    sizes = torch.tensor([100.0, 1.0, 0.01])[:, None, None]
    return {
        "no iteration": case(normal(generator, 2, 3, 5, 5), 0),
        "one iteration": case(normal(generator, 2, 5, 5), 1),
        "negative entries": case(normal(generator, 2, 3, 4, 4), 4),
        "softmax matrices": case(_softmax_matrices(generator, 2, 3, 6, 6), 6),
        "one landmark": case(torch.ones(2, 1, 1), 3),
        "no batch": case(_softmax_matrices(generator, 7, 7), 3),
        "columns contiguous": case(_softmax_matrices(generator, 2, 5, 5).mT, 2),
        "float64": in_float64(case(_softmax_matrices(generator, 2, 4, 4), 6)),
        "large and small matrices": case(sizes * several, 3),
    }


def _far_cases(generator: Generator) -> dict[str, Inputs]:
    def case(a: Tensor, num_iterations: int) -> Inputs:
        return {"a": a, "num_iterations": num_iterations}

    return {
        "nearly uniform": case(_nearly_uniform(generator, 6), 25),
        "two equal landmarks": case(_two_equal_landmarks(generator, 6), 10),
    }


def _pinv_probe(
    function: Callable, a: Tensor, num_iterations: int, cotangent: Tensor | None = None
) -> Answer:
    return with_gradients(lambda a: function(a, num_iterations), {"a": a}, cotangent)


def _pseudo_inverse(a: Tensor, num_iterations: int) -> Answer:
    return {"output": torch.linalg.pinv(a)}


ITERATES = (
    "one iteration",
    "negative entries",
    "softmax matrices",
    "one landmark",
    "no batch",
    "columns contiguous",
    "float64",
)
PINV = Exercise(
    "iterative_pinv",
    "low_rank_attention",
    (
        Part(
            "numbers",
            _pinv_cases,
            _pinv_probe,
            (
                matches(
                    "output",
                    title="starts from Aᵀ / (‖A‖₁ ‖A‖_∞)",
                    points=1,
                    cases=("no iteration",),
                ),
                matches(
                    "output",
                    title="an iteration is ¼ Z(13I − AZ(15I − AZ(7I − AZ)))",
                    points=2,
                    cases=ITERATES,
                ),
                matches(
                    "output",
                    title="matrices of a batch do not change each other",
                    points=1,
                    cases=("large and small matrices",),
                ),
                # Not for softmax matrices: their row sums are 1, and rounding picks the largest.
                matches(
                    "grad_a",
                    title="the gradient is right",
                    points=1,
                    cases=("one iteration", "negative entries"),
                ),
            ),
        ),
        Part(
            "many iterations",
            _far_cases,
            _pinv_probe,
            (
                matches(
                    "output",
                    title="converges to the pseudo-inverse, where rows are nearly or exactly "
                    "equal, too",
                    points=2,
                ),
            ),
            truth=_pseudo_inverse,
        ),
    ),
)


# --- nystrom_attention ---------------------------------------------------------------------------


def _nystrom_cases(generator: Generator) -> dict[str, Inputs]:
    def case(
        n_q: int,
        n_k: int,
        d_v: int,
        m: int,
        iterations: int,
        scale: float = 2.0,
        lead: tuple[int, ...] = (2, 2),
    ) -> Inputs:
        counts = {"num_landmarks": m, "num_iterations": iterations}
        return attention_case(generator, n_q, n_k, 4, d_v, scale, lead) | counts

    turned = case(9, 9, 3, m=3, iterations=6)
    turned |= {name: turned[name].mT.contiguous().mT for name in "qkv"}
    return {
        "short": case(6, 6, 4, m=3, iterations=6),
        "ragged": case(13, 13, 3, m=5, iterations=4),
        "more keys than queries": case(7, 11, 3, m=3, iterations=6),
        "more queries than keys": case(11, 6, 4, m=4, iterations=2),
        "no leading axes": case(7, 7, 3, m=3, iterations=6, lead=()),
        "one leading axis": case(7, 7, 3, m=4, iterations=3, lead=(3,)),
        "three leading axes": case(6, 6, 3, m=3, iterations=4, lead=(2, 1, 2)),
        "a batch of one": case(8, 8, 3, m=3, iterations=6, lead=(1, 1)),
        "one landmark": case(7, 7, 3, m=1, iterations=6),
        "one token": case(1, 1, 3, m=1, iterations=1),
        "columns contiguous": turned,
        "large numbers": case(12, 12, 3, m=4, iterations=6, scale=8.0),
        "float64": in_float64(case(9, 9, 3, m=4, iterations=9)),
        "as many landmarks as tokens": case(5, 5, 3, m=5, iterations=2),
    }


def _exact_cases(generator: Generator) -> dict[str, Inputs]:
    # Each token answers itself most, so that its matrix has an inverse to converge to.
    own = 2 * F.normalize(normal(generator, 2, 2, 6, 4), dim=-1)
    each = attention_case(generator, 6, 6, 4, 3) | {"q": own, "k": own.clone()}
    return {"every token a landmark": in_float64(each) | {"num_landmarks": 6, "num_iterations": 40}}


def _pinv(a: Tensor, num_iterations: int) -> Tensor:
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    size = a.abs().sum(-2).amax(-1) * a.abs().sum(-1).amax(-1)
    z = a.mT / size[..., None, None]
    for _ in range(num_iterations):
        az = a @ z
        z = z @ (13 * identity - az @ (15 * identity - az @ (7 * identity - az))) / 4
    return z


def _nystrom_probe(
    function: Callable,
    num_landmarks: int,
    num_iterations: int,
    cotangent: Tensor,
    **tensors: Tensor,
) -> Answer:
    return with_gradients(
        lambda q, k, v: function(q, k, v, num_landmarks, num_iterations), tensors, cotangent
    )


def _softmax_attention(q: Tensor, k: Tensor, v: Tensor, **others: object) -> Answer:
    return {"output": F.scaled_dot_product_attention(q, k, v)}


BUILT_ON = {"segment_means": means_of_segments, "iterative_pinv": _pinv}
ANY_AXES = ("no leading axes", "one leading axis", "three leading axes", "a batch of one")
SAME_LENGTH = (
    "short",
    "ragged",
    *ANY_AXES,
    "one landmark",
    "one token",
    "as many landmarks as tokens",
    "columns contiguous",
    "float64",
)
OTHER_LENGTH = ("more keys than queries", "more queries than keys")
NYSTROM = Exercise(
    "nystrom_attention",
    "low_rank_attention",
    (
        Part(
            "numbers",
            _nystrom_cases,
            _nystrom_probe,
            (
                matches(
                    "output",
                    title="equals softmax(QK̃ᵀ/√d) softmax(Q̃K̃ᵀ/√d)⁺ softmax(Q̃Kᵀ/√d) V",
                    points=2,
                    cases=SAME_LENGTH,
                ),
                matches(
                    "output",
                    title="for another number of queries than keys, and large numbers",
                    points=1,
                    cases=(*OTHER_LENGTH, "large numbers"),
                ),
                matches(
                    *GRADIENTS,
                    title="gradients are right",
                    points=1,
                    cases=("short", "ragged", *ANY_AXES, *OTHER_LENGTH),
                ),
            ),
            supplies=BUILT_ON,
        ),
        Part(
            "exact",
            _exact_cases,
            _nystrom_probe,
            (
                matches(
                    "output",
                    title="is softmax attention where every token is a landmark",
                    points=1,
                ),
            ),
            truth=_softmax_attention,
            supplies=BUILT_ON,
        ),
        *cost(
            sequence,
            lambda function, **tensors: function(*tensors.values(), COUNTED_LANDMARKS, 6),
            exponent=1.1,
            largest=lambda n: 128 * n,
            words=NO_MATRIX,
            title="O(n): nothing n × n is computed",
            points=2,
            long={"long": lambda generator: sequence(generator, LONG_TOKENS)},
            supplies=BUILT_ON,
        ),
    ),
)

"""The exercises of 02_linear_attention."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from autograder.cases import (
    COST_DIM,
    COST_SIZES,
    GRADIENTS,
    LONG,
    NO_MATRIX,
    attention_case,
    cost_case,
    cost_tensors,
    in_float64,
    long_attention_case,
    normal,
)
from autograder.exercise import Answer, AnswerError, Exercise, Inputs, Property
from autograder.probes import as_tensor, cost_over_sizes, with_gradients
from autograder.properties import are_equal, cost_grows_at_most, matches

# Not the feature map of the first exercise, which would be given away; m = d and m = 2 d.
FEATURE_MAPS = {
    "softplus": F.softplus,
    "two_sided": lambda x: torch.cat([F.softplus(x), F.softplus(-x)], dim=-1),
    # Weights of a hundredth: a floor or a large ε under the normaliser shows.
    "faint": lambda x: 0.03 * F.softplus(x),
}
COST_CHUNK = 16


# --- elu_feature_map -----------------------------------------------------------------------------


def _elu_cases(generator: Generator) -> dict[str, Inputs]:
    return {
        "short": {"x": normal(generator, 2, 3, 5, 4)},
        "far from zero": {"x": normal(generator, 2, 7, 4, scale=30.0)},
        "around zero": {"x": torch.cat([torch.zeros(3), normal(generator, 8, scale=1e-3)])},
    }


def _elu_probe(function: Callable, x: Tensor) -> Answer:
    return with_gradients(function, {"x": x}, torch.ones_like(x))


def _not_positive(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    if (answer["output"] > 0).all():
        return None
    return "some features are zero or negative, so a sum of weights can vanish"


ELU = Exercise(
    "elu_feature_map",
    "linear_attention",
    _elu_cases,
    _elu_probe,
    (
        Property("every feature is positive", 1, _not_positive, ("short", "around zero")),
        matches("output", title="equals elu(x) + 1", points=1),
        matches("grad_x", title="the gradient is right", points=1, cases=("short",)),
    ),
)


# --- linear_attention ----------------------------------------------------------------------------


def _linear_cases(generator: Generator) -> dict[str, Inputs]:
    constant = attention_case(generator, 6, 9, 4, 3, feature_map="softplus")
    return {
        "short": attention_case(generator, 5, 5, 4, 4, feature_map="softplus"),
        "constant values": constant | {"v": torch.full_like(constant["v"], 2.5)},
        "more keys than queries": attention_case(generator, 7, 11, 4, 3, feature_map="two_sided"),
        "one token": attention_case(generator, 1, 1, 4, 4, feature_map="softplus"),
        "large numbers": attention_case(generator, 13, 13, 4, 4, scale=8.0, feature_map="softplus"),
        "small weights": attention_case(generator, 5, 5, 4, 4, feature_map="faint"),
        "float64": in_float64(attention_case(generator, 5, 5, 4, 4, feature_map="softplus")),
        "cost": cost_case(COST_SIZES[0] // 2, feature_map="softplus"),
    }


def _linear_long_cases(generator: Generator) -> dict[str, Inputs]:
    case = long_attention_case(generator, LONG, COST_DIM, COST_DIM, feature_map="softplus")
    # Means of so many values that are independent of their keys would be nearly 0, and rounding.
    case["v"] += case["k"]
    return {"long": case}


def _linear_probe(
    function: Callable, feature_map: str, sizes: list[int] | None = None, **tensors: Tensor
) -> Answer:
    phi = FEATURE_MAPS[feature_map]
    if sizes:
        return cost_over_sizes(function, lambda n: (*cost_tensors(n), phi), sizes)
    cotangent = tensors.pop("cotangent", None)
    return with_gradients(lambda q, k, v: function(q, k, v, phi), tensors, cotangent)


LINEAR_NUMBERS = (
    "short",
    "more keys than queries",
    "one token",
    "large numbers",
    "small weights",
    "float64",
)
# With one token the weight is 1 whatever q and k are: their gradients are rounding.
LINEAR_GRADIENTS = ("short", "more keys than queries", "large numbers")
LINEAR = Exercise(
    "linear_attention",
    "linear_attention",
    _linear_cases,
    _linear_probe,
    (
        matches(
            "output",
            title="the weights of a query sum to 1: constant values come back unchanged",
            points=1,
            cases=("constant values",),
        ),
        matches(
            "output",
            title="equals φ(Q)φ(K)ᵀ, normalised over the keys, times V",
            points=2,
            cases=LINEAR_NUMBERS,
        ),
        matches(*GRADIENTS, title="gradients are right", points=1, cases=LINEAR_GRADIENTS),
        cost_grows_at_most(
            1.1,
            NO_MATRIX,
            title="O(n): nothing n × n is computed",
            points=2,
            long=("long",),
        ),
    ),
    _linear_long_cases,
)


# --- causal_linear_attention ---------------------------------------------------------------------


def _causal_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n: int, chunk_size: int, **more: object) -> Inputs:
        attention = attention_case(generator, n, n, 4, 3, feature_map="two_sided")
        return attention | {"chunk_size": chunk_size, **more}

    return {
        "one chunk": case(7, 8),
        "whole chunks": case(12, 4),
        "ragged": case(13, 5),
        "chunks of one": case(6, 1),
        "one token": case(1, 4),
        "small weights": case(7, 3, feature_map="faint"),
        "float64": in_float64(case(9, 4)),
        "future changed": case(14, 4, changed_from=9),
        "cost": cost_case(40, feature_map="softplus", chunk_size=COST_CHUNK),
        "long chunks": cost_case(
            160, feature_map="softplus", chunk_size=128, calls_allowed=COST_SIZES
        ),
    }


def _causal_long_cases(generator: Generator) -> dict[str, Inputs]:
    return {
        # A loop over the chunks takes a fraction of a second here, one over the tokens many.
        "many tokens": long_attention_case(
            generator, 2 * LONG, 4, 4, feature_map="softplus", chunk_size=64
        ),
        # With m = 1536 features, an outer product for each token is 3.2 GB.
        "wide": long_attention_case(
            generator, 1024, 768, 512, feature_map="two_sided", chunk_size=256
        ),
    }


def _causal_probe(
    function: Callable,
    feature_map: str,
    chunk_size: int,
    sizes: list[int] | None = None,
    changed_from: int | None = None,
    largest_allowed: list[int] | None = None,
    calls_allowed: list[int] | None = None,
    **tensors: Tensor,
) -> Answer:
    phi = FEATURE_MAPS[feature_map]
    if sizes:
        return cost_over_sizes(function, lambda n: (*cost_tensors(n), phi, chunk_size), sizes)
    cotangent = tensors.pop("cotangent", None)
    answer = with_gradients(lambda q, k, v: function(q, k, v, phi, chunk_size), tensors, cotangent)
    if changed_from is not None:
        for tensor in tensors.values():
            tensor[..., changed_from:, :] += 1
        answer["after"] = as_tensor(function(*tensors.values(), phi, chunk_size))
    return answer


def _peeks(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    t = inputs["changed_from"]
    changes = (answer["after"] - answer["output"])[..., :t, :].abs()
    # NaN, which compares with nothing, counts as a change.
    change = changes.nan_to_num(torch.inf).max().item()
    if change == 0:
        return None
    by = f"by {change:.2g}" if math.isfinite(change) else "that is not a number"
    told = f"a change of token {t} changed an earlier output {by}"
    if change > 1e-5:
        return f"{told}: later tokens take part"
    return (
        f"{told}, which is rounding. A sum from which the chunk itself is subtracted again keeps "
        "a trace of it: shift the sums by one chunk instead"
    )


CAUSAL_GRADIENTS = ("one chunk", "whole chunks", "ragged", "chunks of one")
CAUSAL = Exercise(
    "causal_linear_attention",
    "linear_attention",
    _causal_cases,
    _causal_probe,
    (
        matches(
            "output",
            title="equals the lower-triangular form inside one chunk",
            points=1,
            cases=("one chunk", "one token"),
        ),
        matches(
            "output",
            title="equals it across chunks, ragged or not",
            points=2,
            cases=("whole chunks", "ragged", "chunks of one", "small weights", "float64"),
        ),
        Property(
            "no peeking: a later token leaves earlier outputs equal to the last bit",
            1,
            _peeks,
            ("future changed",),
        ),
        matches(*GRADIENTS, title="gradients are right", points=1, cases=CAUSAL_GRADIENTS),
        cost_grows_at_most(
            1.1,
            "neither an n × n nor an n × d × d tensor is needed",
            title="O(n), a chunk at a time: memory n·d, and d² for each chunk",
            points=2,
            cases=("cost", "long chunks"),
            long=("many tokens", "wide"),
        ),
    ),
    _causal_long_cases,
)


# --- recurrent_step ------------------------------------------------------------------------------


def _recurrent_cases(generator: Generator) -> dict[str, Inputs]:
    return {
        "nine tokens": attention_case(generator, 9, 9, 4, 3, feature_map="softplus"),
        "one token": attention_case(generator, 1, 1, 4, 4, feature_map="two_sided"),
        "small weights": attention_case(generator, 5, 5, 4, 4, feature_map="faint"),
    }


def _state_and_output(returned: object) -> tuple[tuple[Tensor, Tensor], Tensor]:
    match returned:
        case ((Tensor() as key_values, Tensor() as key_sum), Tensor() as output):
            return (key_values, key_sum), output
    raise AnswerError("return two things, the new state and the output: (S, z), output")


def _numbers(state: tuple[Tensor, Tensor]) -> Tensor:
    return torch.cat([part.detach().flatten() for part in state])


def _recurrent_probe(function: Callable, feature_map: str, **tensors: Tensor) -> Answer:
    phi = FEATURE_MAPS[feature_map]
    cotangent = tensors.pop("cotangent")
    # The numbers of each state that goes in, before and after the step; how many each new one has.
    before, after, sizes = [], [], []

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        m = phi(q[..., 0, :]).shape[-1]
        state = (v.new_zeros(*v.shape[:-2], m, v.shape[-1]), v.new_zeros(*v.shape[:-2], m))
        outputs = []
        for t in range(q.shape[-2]):
            before.append(_numbers(state))
            new_state, output = _state_and_output(
                function(state, q[..., t, :], k[..., t, :], v[..., t, :], phi)
            )
            outputs.append(output)
            after.append(_numbers(state))
            sizes.append(sum(part.numel() for part in new_state))
            state = new_state
        return torch.stack(outputs, dim=-2)

    with torch.no_grad():
        answer = {"output": run(**tensors)}
    answer["states_before"], answer["states_after"] = torch.cat(before), torch.cat(after)
    answer["state_sizes"] = torch.tensor(sizes)
    try:
        return with_gradients(run, tensors, cotangent) | answer
    except RuntimeError:
        # Autograd refuses tensors that were overwritten; the other properties can still be judged.
        return answer | {
            f"grad_{name}": torch.full_like(t, torch.nan) for name, t in tensors.items()
        }


def _grows(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    sizes = answer["state_sizes"]
    return None if (sizes == sizes[0]).all() else "the state grew from one token to the next"


RECURRENT = Exercise(
    "recurrent_step",
    "linear_attention",
    _recurrent_cases,
    _recurrent_probe,
    (
        matches("output", title="token by token, equals causal linear attention", points=2),
        Property("the state has the same size after every token", 1, _grows, ("nine tokens",)),
        are_equal(
            "states_before",
            "states_after",
            "the state that came in was overwritten: make a new tensor, without += or add_",
            title="the state that comes in is left as it was",
            points=1,
            cases=("nine tokens",),
        ),
        matches(
            *GRADIENTS,
            title="gradients flow through the state",
            points=1,
            cases=("nine tokens",),
        ),
    ),
)

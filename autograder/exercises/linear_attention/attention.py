"""The exercises of 02_linear_attention."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from autograder.cases import GRADIENTS, LONG_TOKENS, attention_case, in_float64, normal, sequence
from autograder.cost import NO_MATRIX, cost
from autograder.exercise import Answer, AnswerError, Exercise, Inputs, Part, Property
from autograder.probes import as_tensor, with_gradients
from autograder.properties import are_equal, matches

# Not the feature map of the first exercise, which would be given away; m = d and m = 2 d.
FEATURE_MAPS = {
    "softplus": F.softplus,
    "two_sided": lambda x: torch.cat([F.softplus(x), F.softplus(-x)], dim=-1),
    # Weights of a hundredth: a floor or a large ε under the normaliser shows.
    "faint": lambda x: 0.03 * F.softplus(x),
}


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
    (
        Part(
            "numbers",
            _elu_cases,
            _elu_probe,
            (
                Property("every feature is positive", 1, _not_positive, ("short", "around zero")),
                matches("output", title="equals elu(x) + 1", points=1),
                matches("grad_x", title="the gradient is right", points=1, cases=("short",)),
            ),
        ),
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
    }


def _linear_probe(
    function: Callable, feature_map: str, cotangent: Tensor, **tensors: Tensor
) -> Answer:
    phi = FEATURE_MAPS[feature_map]
    return with_gradients(lambda q, k, v: function(q, k, v, phi), tensors, cotangent)


def _values_like_keys(generator: Generator) -> Inputs:
    """Means of so many values that know nothing of their keys would be nearly 0, and rounding."""
    case = sequence(generator, LONG_TOKENS)
    return case | {"v": case["v"] + case["k"]}


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
                matches(
                    "output",
                    title="equals φ(Q)φ(K)ᵀ, normalised over the keys, times V",
                    points=2,
                    cases=LINEAR_NUMBERS,
                ),
                matches(*GRADIENTS, title="gradients are right", points=1, cases=LINEAR_GRADIENTS),
            ),
        ),
        *cost(
            sequence,
            lambda function, **tensors: function(*tensors.values(), F.softplus),
            exponent=1.1,
            largest=lambda n: 128 * n,
            words=NO_MATRIX,
            title="O(n): nothing n × n is computed",
            points=2,
            long={"long": _values_like_keys},
        ),
    ),
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
    }


def _causal_probe(
    function: Callable,
    feature_map: str,
    chunk_size: int,
    cotangent: Tensor,
    **tensors: Tensor,
) -> Answer:
    phi = FEATURE_MAPS[feature_map]
    return with_gradients(lambda q, k, v: function(q, k, v, phi, chunk_size), tensors, cotangent)


def _change_cases(generator: Generator) -> dict[str, Inputs]:
    case = sequence(generator, 14, 4, 3, feature_map="two_sided", chunk_size=4)
    return {"future changed": case | {"changed_from": 9}}


def _change_probe(
    function: Callable, feature_map: str, chunk_size: int, changed_from: int, **tensors: Tensor
) -> Answer:
    future = torch.arange(tensors["q"].shape[-2])[:, None] >= changed_from
    changed = [tensor + future for tensor in tensors.values()]
    before, after = (
        as_tensor(function(*given, FEATURE_MAPS[feature_map], chunk_size))
        for given in (tensors.values(), changed)
    )
    return {"output": before, "after": after}


def _peeks(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    t = inputs["changed_from"]
    if answer["after"].shape != answer["output"].shape:
        return "the output has another shape when a later token changes"
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
CAUSAL_COST = "O(n), a chunk at a time: memory n·d, and d² for each chunk"
NO_MATRICES = "neither an n × n nor an n × d × d tensor is needed"


def _in_chunks(chunk_size: int, feature_map: str = "softplus") -> Callable[..., Tensor]:
    phi = FEATURE_MAPS[feature_map]
    return lambda function, **tensors: function(*tensors.values(), phi, chunk_size)


CAUSAL = Exercise(
    "causal_linear_attention",
    "linear_attention",
    (
        Part(
            "numbers",
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
                matches(*GRADIENTS, title="gradients are right", points=1, cases=CAUSAL_GRADIENTS),
            ),
        ),
        Part(
            "no peeking",
            _change_cases,
            _change_probe,
            (
                Property(
                    "no peeking: a later token leaves earlier outputs equal to the last bit",
                    1,
                    _peeks,
                ),
            ),
        ),
        *cost(
            sequence,
            _in_chunks(16),
            exponent=1.1,
            largest=lambda n: 40 * n,
            words=NO_MATRICES,
            title=CAUSAL_COST,
            points=2,
            # A loop over the chunks takes a fraction of a second here, one over the tokens many.
            long={"many tokens": lambda generator: sequence(generator, 2 * LONG_TOKENS, 4, 4)},
        ),
        *cost(
            sequence,
            _in_chunks(128),
            exponent=1.1,
            largest=lambda n: 160 * n,
            calls=lambda n: n,
            words=NO_MATRICES,
            title=CAUSAL_COST,
            points=0,
            name="long chunks",
        ),
        *cost(
            sequence,
            _in_chunks(256, "two_sided"),
            exponent=1.1,
            largest=lambda n: 320 * n,
            words=NO_MATRICES,
            title=CAUSAL_COST,
            points=0,
            # With m = 1536 features, an outer product for each token is 3.2 GB.
            long={"wide": lambda generator: sequence(generator, 1024, 768, 512)},
            name="wide chunks",
        ),
    ),
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
    (
        Part(
            "token by token",
            _recurrent_cases,
            _recurrent_probe,
            (
                matches("output", title="token by token, equals causal linear attention", points=2),
                Property(
                    "the state has the same size after every token", 1, _grows, ("nine tokens",)
                ),
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
        ),
    ),
)

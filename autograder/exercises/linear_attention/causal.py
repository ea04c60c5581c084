"""The exercises of 02_linear_attention in which a token sees those before it."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from autograder.cases import GRADIENTS, LONG_TOKENS, attention_case, in_float64, sequence
from autograder.cost import cost
from autograder.exercise import Answer, AnswerError, Exercise, Inputs, Part, Property
from autograder.exercises.linear_attention.attention import (
    EPSILON,
    FEATURE_MAPS,
    LEADS,
    NO_EPSILON,
    adds_to,
)
from autograder.probes import as_tensor, with_gradients
from autograder.properties import are_equal, matches
from course.measure import count_cost


def _sum_of_earlier_weights(inputs: Inputs) -> Tensor:
    phi = FEATURE_MAPS[inputs["feature_map"]]
    return (phi(inputs["q"]) * phi(inputs["k"]).cumsum(dim=-2)).sum(dim=-1, keepdim=True)


# --- causal_linear_attention ---------------------------------------------------------------------


def _causal_case(generator: Generator, n: int, chunk_size: int, **more: Any) -> Inputs:
    given: dict[str, Any] = {"feature_map": "softplus", "chunk_size": chunk_size, **more}
    return attention_case(generator, n, n, 4, 3, **given)


def _causal_cases(generator: Generator) -> dict[str, Inputs]:
    return {
        "one chunk": _causal_case(generator, 7, 8),
        "whole chunks": _causal_case(generator, 12, 4),
        "ragged": _causal_case(generator, 13, 5),
        "chunks of one": _causal_case(generator, 6, 1),
        "one token": _causal_case(generator, 1, 4),
        "large numbers": _causal_case(generator, 11, 4, scale=8.0),
        "float64": in_float64(_causal_case(generator, 9, 4)),
        **{n: _causal_case(generator, 8, 3, lead=lead) for n, lead in LEADS.items()},
    }


def _wide_cases(generator: Generator) -> dict[str, Inputs]:
    return {"twice as many features": _causal_case(generator, 13, 5, feature_map="two_sided")}


def _faint_cases(generator: Generator) -> dict[str, Inputs]:
    return {"faint features": _causal_case(generator, 7, 3, feature_map="faint")}


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
    # So many tokens stand before it in its chunk that rounding cannot spare them all.
    case = sequence(generator, 40, 4, 3, feature_map="two_sided", chunk_size=16)
    return {"future changed": case | {"changed_from": 31}}


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
    t, before, after = inputs["changed_from"], answer["output"], answer["after"]
    shape = inputs["v"].shape
    for output in (before, after):
        if output.shape != shape:
            return f"the output has shape {tuple(output.shape)}, expected {tuple(shape)}"
    before, after = before[..., :t, :], after[..., :t, :]
    if not before.isfinite().all():
        return "outputs are not numbers already before a token is changed: mend that first"
    # NaN, which compares with nothing, counts as a change.
    change = (after - before).abs().nan_to_num(torch.inf).max().item()
    if change == 0:
        return None
    by = f"by {change:.2g}" if math.isfinite(change) else "to something that is not a number"
    told = f"a change of token {t} changed an earlier output {by}"
    if change > 1e-5:
        return f"{told}: later tokens take part"
    return (
        f"{told}, which is rounding. A sum from which the chunk itself is subtracted again keeps "
        "a trace of it: shift the sums by one chunk instead"
    )


CHUNKS_COMPARED = (16, 256)


def _chunk_probe(function: Callable, tokens: int) -> Answer:
    given = sequence(Generator().manual_seed(tokens), tokens).values()
    phi = FEATURE_MAPS["softplus"]
    work = [count_cost(partial(function, *given, phi, chunk)).work for chunk in CHUNKS_COMPARED]
    return {"work": torch.tensor(work)}


def _ignores_chunk_size(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    work = answer["work"]
    if work.shape != (len(CHUNKS_COMPARED),):
        return "what it costs could not be counted"
    small, large = work.tolist()
    # Inside the chunks there are 16 times as many products; what is outside of them stays.
    if large > 2 * small:
        return None
    return (
        f"chunks of {CHUNKS_COMPARED[1]} tokens cost {large:,} operations, chunks of "
        f"{CHUNKS_COMPARED[0]} cost {small:,}: `chunk_size` does not decide how long a chunk is"
    )


CAUSAL_GRADIENTS = ("one chunk", "whole chunks", "ragged", "chunks of one", "float64")
ACROSS_CHUNKS = ("whole chunks", "ragged", "chunks of one", "large numbers", "float64", *LEADS)
ACROSS = "equals it across chunks, ragged or not"
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
                matches("output", title=ACROSS, points=2, cases=ACROSS_CHUNKS),
                matches(*GRADIENTS, title="gradients are right", points=1, cases=CAUSAL_GRADIENTS),
            ),
        ),
        Part(
            "wide features",
            _wide_cases,
            _causal_probe,
            (
                matches("output", title=ACROSS, points=0),
                matches(*GRADIENTS, title="gradients are right", points=0),
            ),
            tells_mistakes=False,
        ),
        Part(
            "faint features",
            _faint_cases,
            _causal_probe,
            (matches("output", title=NO_EPSILON, points=1),),
            signs={EPSILON: adds_to(_sum_of_earlier_weights)},
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
        Part(
            "chunk size",
            lambda generator: {"two chunk sizes": {"tokens": 512}},
            _chunk_probe,
            (Property(CAUSAL_COST, 0, _ignores_chunk_size),),
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


def _recurrent_case(generator: Generator, n: int, d: int, e: int, **more: Any) -> Inputs:
    return attention_case(generator, n, n, d, e, **{"feature_map": "softplus", **more})


def _recurrent_cases(generator: Generator) -> dict[str, Inputs]:
    return {
        "nine tokens": _recurrent_case(generator, 9, 4, 3),
        "one token": _recurrent_case(generator, 1, 4, 4),
        "one number a value": _recurrent_case(generator, 4, 4, 1),
        "one sequence": _recurrent_case(generator, 4, 4, 3, lead=(1, 1)),
        "large numbers": _recurrent_case(generator, 6, 3, 4, scale=8.0),
        "float64": in_float64(_recurrent_case(generator, 5, 4, 3)),
        **{n: _recurrent_case(generator, 4, 4, 3, lead=lead) for n, lead in LEADS.items()},
    }


def _wide_steps(generator: Generator) -> dict[str, Inputs]:
    return {"twice as many features": _recurrent_case(generator, 5, 4, 3, feature_map="two_sided")}


def _faint_steps(generator: Generator) -> dict[str, Inputs]:
    return {"faint features": _recurrent_case(generator, 5, 4, 4, feature_map="faint")}


def _state_and_output(returned: object) -> tuple[tuple[Tensor, Tensor], Tensor]:
    match returned:
        case ((Tensor() as key_values, Tensor() as key_sum), Tensor() as output):
            return (key_values, key_sum), output
        case (Tensor(), (Tensor(), Tensor())):
            what = "the output comes first"
        case (Tensor(), Tensor(), Tensor()):
            what = "three tensors came back, and S and z belong into a pair"
        case Tensor():
            what = "one tensor came back, without a state"
        case _:
            what = f"a {type(returned).__name__} of another form came back"
    raise AnswerError(f"{what}: return two things, the new state and the output: (S, z), output")


def _numbers(state: tuple[Tensor, Tensor]) -> Tensor:
    return torch.cat([part.detach().flatten() for part in state])


def _recurrent_probe(function: Callable, feature_map: str, **tensors: Tensor) -> Answer:
    phi = FEATURE_MAPS[feature_map]
    cotangent = tensors.pop("cotangent")
    # The numbers of each state that goes in, before and after the step; how many each new one has.
    before, after, sizes = [], [], []

    def run(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
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
        return torch.stack(outputs, dim=-2), state

    with torch.no_grad():
        output, state = run(**tensors)
    answer = {"output": output, "S": state[0], "z": state[1]}
    answer["states_before"], answer["states_after"] = torch.cat(before), torch.cat(after)
    answer["state_sizes"] = torch.tensor(sizes)
    try:
        return with_gradients(lambda *given: run(*given)[0], tensors, cotangent) | answer
    except RuntimeError:
        # Autograd refuses tensors that were overwritten; the other properties can still be judged.
        return answer | {
            f"grad_{name}": torch.full_like(t, torch.nan) for name, t in tensors.items()
        }


def _grows(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    sizes = answer["state_sizes"]
    return None if (sizes == sizes[0]).all() else "the state grew from one token to the next"


def _state_overwritten(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    before, after = answer["states_before"], answer["states_after"]
    return before.shape == after.shape and not torch.equal(before, after)


RECURRENT_GRADIENTS = ("nine tokens", "one sequence", "float64")
RECURRENT_TITLE = "token by token, equals causal linear attention"
STATE_TITLE = "the state is the sum of φ(k)vᵀ and that of φ(k), as large after every token"
RECURRENT = Exercise(
    "recurrent_step",
    "linear_attention",
    (
        Part(
            "token by token",
            _recurrent_cases,
            _recurrent_probe,
            (
                matches("output", title=RECURRENT_TITLE, points=2),
                Property(STATE_TITLE, 1, _grows),
                matches("S", "z", title=STATE_TITLE, points=0),
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
                    cases=RECURRENT_GRADIENTS,
                ),
            ),
            signs={"state changed in place": _state_overwritten},
        ),
        Part(
            "wide features",
            _wide_steps,
            _recurrent_probe,
            (
                matches("output", title=RECURRENT_TITLE, points=0),
                matches(*GRADIENTS, title="gradients flow through the state", points=0),
            ),
            tells_mistakes=False,
        ),
        Part(
            "faint features",
            _faint_steps,
            _recurrent_probe,
            (matches("output", title=NO_EPSILON, points=1),),
            signs={EPSILON: adds_to(_sum_of_earlier_weights)},
        ),
    ),
)

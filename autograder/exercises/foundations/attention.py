"""The exercises of 00_foundations."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from autograder.cases import COUNTED_DIM, GRADIENTS, attention_case, in_float64, normal, sequence
from autograder.cost import cost
from autograder.exercise import Answer, Exercise, Inputs, Part
from autograder.probes import with_gradients
from autograder.properties import matches
from course.specifications.foundations import attention_query_by_query


def _laid_out_by_columns(x: Tensor) -> Tensor:
    return x.mT.contiguous().mT


# --- softmax_attention ---------------------------------------------------------------------------


def _random_mask(generator: Generator, *shape: int) -> Tensor:
    """True for about half of the keys, and for the first, which every query may see."""
    mask = torch.rand(*shape, generator=generator) < 0.5
    mask[..., 0] = True
    return mask


def _softmax_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n_q: int, n_k: int, **more: Any) -> Inputs:
        return attention_case(generator, n_q, n_k, 4, 3, **more)

    some_without_keys = _random_mask(generator, 6, 9)
    some_without_keys[1::3] = False
    # Each of these leaves query 0 some keys; with causal, it sees none.
    first_key_hidden = _random_mask(generator, 7, 7)
    first_key_hidden[:, 0], first_key_hidden[:, 1:] = False, True
    constant = case(6, 9)
    # The hidden key's scores are the largest by far: 10⁴ less is still more than what is seen.
    tempting, one_hidden = case(6, 8), torch.arange(8) != 3
    tempting["q"][..., 0] = tempting["q"][..., 0].abs() + 1
    tempting["k"][..., 3, 0] = 1e6
    return {
        "short": case(5, 5),
        "constant values": constant | {"v": torch.full_like(constant["v"], 2.5)},
        "more keys than queries": case(7, 11),
        "more queries than keys": case(11, 6),
        "one token": case(1, 1),
        "no leading axes": case(5, 7, lead=()),
        "one leading axis": case(6, 5, lead=(3,)),
        "three leading axes": case(4, 5, lead=(2, 1, 3)),
        "a batch of one": case(6, 5, lead=(1, 2)),
        "float64": in_float64(case(5, 8)),
        "not contiguous": {name: _laid_out_by_columns(x) for name, x in case(6, 5).items()},
        "large numbers": case(13, 13, scale=12.0),
        "mask": case(7, 9, mask=_random_mask(generator, 7, 9)),
        "mask for each sequence": case(7, 9, mask=_random_mask(generator, 2, 1, 1, 9)),
        "hidden key that fits best": tempting | {"mask": one_hidden.expand(6, 8)},
        "queries without keys": case(6, 9, mask=some_without_keys),
        "causal": case(7, 7, causal=True),
        "causal, more keys than queries": case(5, 8, causal=True),
        "causal, more queries than keys": case(9, 6, causal=True),
        "causal, no leading axes": case(6, 6, causal=True, lead=()),
        "causal and masked": case(7, 7, causal=True, mask=_random_mask(generator, 7, 7)),
        "causal and masked, one query blind": case(7, 7, causal=True, mask=first_key_hidden),
        "mask, no leading axes": case(7, 9, mask=_random_mask(generator, 7, 9), lead=()),
    }


def _softmax_probe(
    function: Callable,
    cotangent: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    **tensors: Tensor,
) -> Answer:
    return with_gradients(lambda q, k, v: function(q, k, v, mask, causal), tensors, cotangent)


MASKED = (
    "mask",
    "mask for each sequence",
    "mask, no leading axes",
    "hidden key that fits best",
)
CAUSAL = (
    "causal",
    "causal, more keys than queries",
    "causal, more queries than keys",
    "causal, no leading axes",
    "causal and masked",
)
BLIND = ("queries without keys", "causal and masked, one query blind")
ANY_AXES = ("no leading axes", "one leading axis", "three leading axes", "a batch of one")
OTHER_LENGTHS = ("more keys than queries", "more queries than keys")
SOFTMAX = Exercise(
    "softmax_attention",
    "foundations",
    (
        Part(
            "numbers",
            _softmax_cases,
            _softmax_probe,
            (
                matches(
                    "output",
                    title="the weights of a query sum to 1: constant values come back unchanged",
                    points=1,
                    cases=("constant values",),
                ),
                matches(
                    "output",
                    title="equals softmax(q kᵀ / √d) v",
                    points=2,
                    cases=(
                        "short",
                        *OTHER_LENGTHS,
                        "one token",
                        *ANY_AXES,
                        "float64",
                        "not contiguous",
                    ),
                ),
                matches(
                    "output",
                    title="large numbers do not overflow",
                    points=1,
                    cases=("large numbers",),
                ),
                matches(
                    "output", title="a query sees only what the mask shows", points=1, cases=MASKED
                ),
                matches(
                    "output",
                    title="a query that sees no key gives zeros",
                    points=1,
                    cases=BLIND,
                ),
                matches("output", title="causal: query i sees keys 0 to i", points=1, cases=CAUSAL),
                matches(
                    *GRADIENTS,
                    title="gradients are right",
                    points=1,
                    # With one token the weight is 1 whatever q and k are: gradients are rounding.
                    cases=("short", *OTHER_LENGTHS, *ANY_AXES, *MASKED, *BLIND, *CAUSAL),
                ),
            ),
        ),
        *cost(
            sequence,
            lambda function, **tensors: function(*tensors.values()),
            exponent=2.1,
            largest=lambda n: 2 * n * n,
            # Blocks of keys, one after another, need fewer; a query after another needs more.
            calls=lambda n: 3 * n,
            words="the scores are n × n, and a matrix product needs no more",
            title="all queries at once, and nothing larger than n × n",
            points=1,
            # Shorter than where the cost is linear.
            sizes=(64, 128, 256),
            # An n × n × d tensor of these is 4.3 GB.
            long={"wide": lambda generator: sequence(generator, 1024, 1024, COUNTED_DIM)},
        ),
    ),
)


# --- multi_head_attention ------------------------------------------------------------------------

WEIGHTS = ("w_q", "w_k", "w_v", "w_o")


def _heads_cases(generator: Generator) -> dict[str, Inputs]:
    def case(
        n: int,
        d_model: int,
        num_heads: int,
        d: int,
        d_v: int,
        lead: tuple[int, ...] = (2,),
        **more: object,
    ) -> Inputs:
        def weight(outputs: int, inputs: int) -> Tensor:
            return normal(generator, outputs, inputs, scale=1.5 * inputs**-0.5)

        return {
            "x": normal(generator, *lead, n, d_model),
            "w_q": weight(num_heads * d, d_model),
            "w_k": weight(num_heads * d, d_model),
            "w_v": weight(num_heads * d_v, d_model),
            "w_o": weight(d_model, num_heads * d_v),
            "num_heads": num_heads,
            "cotangent": normal(generator, *lead, n, d_model),
            **more,
        }

    by_columns = case(6, 6, 2, 3, 3)
    narrower, wider = case(6, 8, 2, 4, 4), case(5, 6, 3, 2, 2)
    for inputs, d_out in ((narrower, 5), (wider, 9)):
        inputs["w_o"] = normal(generator, d_out, inputs["w_o"].shape[1])
        inputs["cotangent"] = normal(generator, *inputs["x"].shape[:-1], d_out)
    return {
        "one head": case(5, 4, 1, 4, 4),
        "two heads": case(6, 8, 2, 4, 4),
        "three heads": case(7, 6, 3, 2, 2),
        "narrow heads": case(5, 8, 2, 3, 2),
        "one token": case(1, 6, 3, 2, 2),
        "narrower output": narrower,
        "wider output": wider,
        "no leading axes": case(5, 8, 2, 4, 4, lead=()),
        "two leading axes": case(5, 6, 2, 3, 2, lead=(2, 3)),
        "a batch of one": case(6, 6, 3, 2, 2, lead=(1,)),
        "float64": in_float64(case(6, 8, 4, 2, 2)),
        "not contiguous": by_columns | {"x": _laid_out_by_columns(by_columns["x"])},
        "causal": case(7, 8, 2, 4, 4, causal=True),
        "causal, no leading axes": case(7, 6, 2, 3, 3, lead=(), causal=True),
    }


def _heads_probe(
    function: Callable,
    num_heads: int,
    cotangent: Tensor,
    causal: bool = False,
    **tensors: Tensor,
) -> Answer:
    return with_gradients(
        lambda x, *weights: function(x, *weights, num_heads, causal), tensors, cotangent
    )


SEVERAL_HEADS = (
    "two heads",
    "three heads",
    "narrow heads",
    "one token",
    "narrower output",
    "wider output",
    "no leading axes",
    "two leading axes",
    "a batch of one",
    "float64",
    "not contiguous",
)
HEADS_CAUSAL = ("causal", "causal, no leading axes")
HEADS = Exercise(
    "multi_head_attention",
    "foundations",
    (
        Part(
            "numbers",
            _heads_cases,
            _heads_probe,
            (
                matches(
                    "output",
                    title="one head is softmax attention between the four projections",
                    points=1,
                    cases=("one head",),
                ),
                matches(
                    "output",
                    title="every head attends by its own columns",
                    points=2,
                    cases=SEVERAL_HEADS,
                ),
                matches("output", title="causal, too", points=1, cases=HEADS_CAUSAL),
                matches(
                    *(f"grad_{name}" for name in ("x", *WEIGHTS)),
                    title="gradients reach the input and the weights",
                    points=1,
                    cases=(
                        "one head",
                        "two heads",
                        "narrow heads",
                        "narrower output",
                        *HEADS_CAUSAL,
                    ),
                ),
            ),
            supplies={"softmax_attention": attention_query_by_query},
        ),
    ),
)

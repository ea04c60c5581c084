"""The exercises of 01_sparse_attention on masks that are not random, and on how far they reach."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import between
from autograder.exercise import Answer, AnswerError, Exercise, Inputs, Part, Property
from autograder.probes import as_tensor


def as_numbers(value: object) -> Tensor:
    """A mask as zeros and ones; AnswerError, which the student reads, if it is not boolean."""
    mask = as_tensor(value, "mask")
    if mask.dtype != torch.bool:
        raise AnswerError("the mask holds numbers, expected torch.bool: a comparison gives it")
    return mask.half()  # the shortest numbers that are compared


def other_shape(mask: Tensor, expected: tuple[int, ...]) -> str | None:
    """What is wrong with the shape of a mask, or None."""
    if tuple(mask.shape) == expected:
        return None
    return f"the mask has shape {tuple(mask.shape)}, expected {expected}"


def _equals(
    title: str, points: int, cases: tuple[str, ...], missing: str, extra: str, name: str = "mask"
) -> Property:
    """The mask is the reference's; `missing` and `extra` say of a pair {i}, {j} what is wrong.

    name: of the tensor, which may have an axis of length 1 before.
    """

    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        mask, right = answer[name], expected[name]
        if complaint := other_shape(mask, tuple(right.shape)):
            return complaint
        wrong = mask != right
        if not wrong.any():
            return None
        place = tuple(wrong.nonzero()[0].tolist())
        told = (missing if right[place] else extra).format(i=place[-2], j=place[-1])
        share = wrong.float().mean()
        return f"{told}; {share:.0%} of the pairs of {right.shape[-1]} tokens are wrong"

    return Property(title, points, complain, cases, compared=(name,))


def sees(title: str, points: int, *cases: str, name: str = "mask") -> Property:
    """The mask is right, pair by pair."""
    return _equals(
        title,
        points,
        cases,
        missing="query {i} does not see key {j}, which it must",
        extra="query {i} sees key {j}, which it must not",
        name=name,
    )


def _reaches(title: str, points: int, *cases: str) -> Property:
    return _equals(
        title,
        points,
        cases,
        missing="output {i} does not depend on input {j}, which it must",
        extra="output {i} depends on input {j}, which it must not",
    )


# --- sliding_window_mask -------------------------------------------------------------------------


def _window_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n: int, window: int, causal: bool) -> Inputs:
        return {"n": n, "window": window, "causal": causal}

    return {
        "both sides": case(between(generator, 13, 19), 4, causal=False),
        "an odd window": case(between(generator, 13, 19), 5, causal=False),
        "causal": case(between(generator, 13, 19), 4, causal=True),
        "window of 1": case(between(generator, 5, 8), 1, causal=False),
        "window of 0": case(between(generator, 4, 6), 0, causal=False),
        "causal window of 0": case(between(generator, 4, 6), 0, causal=True),
        "wider than the sequence": case(4, between(generator, 6, 9), causal=True),
        "as wide as the sequence": case(6, 6, causal=False),
        "one token": case(1, 2, causal=True),
    }


def _window_probe(function: Callable, n: int, window: int, causal: bool) -> Answer:
    return {"mask": as_numbers(function(n, window, causal))}


WINDOW_MASK = Exercise(
    "sliding_window_mask",
    "sparse_attention",
    (
        Part(
            "numbers",
            _window_cases,
            _window_probe,
            (
                sees(
                    "window keys on each side, and itself",
                    1,
                    "both sides",
                    "an odd window",
                    "window of 1",
                ),
                sees("causal: none of those after it", 1, "causal"),
                sees(
                    "windows of 0, and wider than the sequence",
                    1,
                    "window of 0",
                    "causal window of 0",
                    "wider than the sequence",
                    "as wide as the sequence",
                    "one token",
                ),
            ),
        ),
    ),
)


# --- strided_mask --------------------------------------------------------------------------------


def _strided_cases(generator: Generator) -> dict[str, Inputs]:
    stride = between(generator, 4, 6)
    return {
        "whole rows": {"n": 4 * stride, "stride": stride},
        "ragged": {"n": 4 * stride + between(generator, 1, stride - 1), "stride": stride},
        "stride of 1": {"n": between(generator, 5, 8), "stride": 1},
        "stride of 2": {"n": between(generator, 9, 12), "stride": 2},
        "longer than the sequence": {"n": between(generator, 4, 6), "stride": 9},
        "as long as the sequence": {"n": 6, "stride": 6},
        "one token": {"n": 1, "stride": 3},
    }


def _strided_probe(function: Callable, n: int, stride: int) -> Answer:
    return {"mask": as_numbers(function(n, stride))}


STRIDED_MASK = Exercise(
    "strided_mask",
    "sparse_attention",
    (
        Part(
            "numbers",
            _strided_cases,
            _strided_probe,
            (
                sees(
                    "near keys and whole strides away, nothing after itself",
                    2,
                    "whole rows",
                    "ragged",
                ),
                sees(
                    "strides of 1, and longer than the sequence",
                    1,
                    "stride of 1",
                    "stride of 2",
                    "longer than the sequence",
                    "as long as the sequence",
                    "one token",
                ),
            ),
        ),
    ),
)


# --- fixed_mask ----------------------------------------------------------------------------------


def _fixed_cases(generator: Generator) -> dict[str, Inputs]:
    stride = between(generator, 5, 7)
    ragged = 3 * stride + between(generator, 1, stride - 1)
    return {
        "one summary": {"n": 4 * stride, "stride": stride, "num_summary": 1},
        "several summaries": {"n": ragged, "stride": stride, "num_summary": 2},
        "every key a summary": {"n": 8, "stride": 3, "num_summary": 3},
        "blocks of one token": {"n": between(generator, 4, 6), "stride": 1, "num_summary": 1},
        "longer than the sequence": {
            "n": between(generator, 3, 6),
            "stride": 8,
            "num_summary": 2,
        },
        "one token": {"n": 1, "stride": 2, "num_summary": 1},
    }


def _fixed_probe(function: Callable, n: int, stride: int, num_summary: int) -> Answer:
    return {"mask": as_numbers(function(n, stride, num_summary))}


FIXED_MASK = Exercise(
    "fixed_mask",
    "sparse_attention",
    (
        Part(
            "numbers",
            _fixed_cases,
            _fixed_probe,
            (
                sees("its own block and the summaries, nothing after itself", 2, "one summary"),
                sees("several summaries, and a last block that is shorter", 1, "several summaries"),
                sees(
                    "blocks that are all summary, and longer than the sequence",
                    1,
                    "every key a summary",
                    "blocks of one token",
                    "longer than the sequence",
                    "one token",
                ),
            ),
        ),
    ),
)


# --- reachability --------------------------------------------------------------------------------


def _reach_cases(generator: Generator) -> dict[str, Inputs]:
    def random(n: int, share: float) -> Tensor:
        return torch.rand(n, n, generator=generator) < share

    # Three kinds of tokens, in any order: each sees its own kind and the one before.
    kind = torch.randperm(12, generator=generator) // 4
    gap = kind.unsqueeze(-1) - kind
    three_kinds = (gap == 0) | (gap == 1)
    ring = torch.eye(9, dtype=torch.bool)[torch.arange(9).roll(1)]
    # Token 0 sees 1, 1 sees 2 and so on: nothing is seen twice, and nobody sees itself.
    path = torch.ones(6, 6, dtype=torch.bool).triu(1).tril(1)
    lonely = random(9, 0.25)
    lonely[between(generator, 0, 8)] = False
    return {
        "one layer": {"mask": random(9, 0.3) & ~torch.eye(9).bool() | ring, "num_layers": 1},
        "two layers": {"mask": random(9, 0.2) | ring, "num_layers": 2},
        "three layers": {"mask": random(13, 0.12), "num_layers": 3},
        "a path": {"mask": path, "num_layers": 2},
        "a ring": {"mask": ring, "num_layers": between(generator, 4, 6)},
        "a token that sees nothing": {"mask": lonely, "num_layers": 2},
        "one token": {"mask": torch.ones(1, 1, dtype=torch.bool), "num_layers": 3},
        # 4 walks become 16, and so on: more than float64 holds; a tenth of each time, less.
        "very many layers": {"mask": three_kinds, "num_layers": 2500},
    }


def _reach_probe(function: Callable, mask: Tensor, num_layers: int) -> Answer:
    return {"mask": as_numbers(function(mask, num_layers))}


REACHABILITY = Exercise(
    "reachability",
    "sparse_attention",
    (
        Part(
            "numbers",
            _reach_cases,
            _reach_probe,
            (
                _reaches("one layer reaches what the mask shows", 1, "one layer", "one token"),
                _reaches(
                    "two layers reach what is seen by what is seen", 1, "two layers", "a path"
                ),
                _reaches(
                    "exactly so many steps, each in the mask's direction",
                    1,
                    "three layers",
                    "a ring",
                    "a token that sees nothing",
                ),
                _reaches("very many layers do not overflow", 1, "very many layers"),
            ),
        ),
    ),
)

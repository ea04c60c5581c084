"""The exercises of 01_sparse_attention on masks, and on how far they reach."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.exercise import Answer, AnswerError, Exercise, Inputs, Property
from autograder.probes import as_tensor
from autograder.properties import are_equal

DRAWS = 200
# So many standard errors, since a hundred rare events are no normal variable: of 500 seeds one was
# 5.2 away. What is wrong is 10 away or more.
STANDARD_ERRORS = 7


def between(generator: Generator, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _as_numbers(value: object) -> Tensor:
    """A mask as zeros and ones; AnswerError, which the student reads, if it is not boolean."""
    mask = as_tensor(value, "mask")
    if mask.dtype != torch.bool:
        raise AnswerError(f"the mask is {mask.dtype}, expected torch.bool: a comparison gives it")
    return mask.float()


def _wrong_pairs(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    mask, right = answer["mask"], expected["mask"]
    if mask.shape != right.shape:
        return f"the mask has shape {tuple(mask.shape)}, expected {tuple(right.shape)}"
    wrong = mask != right
    if not wrong.any():
        return None
    i, j = wrong.nonzero()[0].tolist()
    told = "does not see" if right[i, j] else "sees"
    should = "must" if right[i, j] else "must not"
    return (
        f"query {i} {told} key {j}, which it {should}; {wrong.float().mean():.0%} of the pairs of "
        f"{len(right)} tokens are wrong"
    )


def _sees(title: str, points: int, *cases: str) -> Property:
    return Property(title, points, _wrong_pairs, cases, compared=("mask",))


# --- sliding_window_mask -------------------------------------------------------------------------


def _window_cases(generator: Generator) -> dict[str, Inputs]:
    def case(causal: bool) -> Inputs:
        return {
            "n": between(generator, 13, 19),
            "window": between(generator, 4, 5),
            "causal": causal,
        }

    return {
        "both sides": case(causal=False),
        "causal": case(causal=True),
        "window of 1": {"n": between(generator, 5, 8), "window": 1, "causal": False},
        "window of 0": {"n": between(generator, 4, 6), "window": 0, "causal": False},
        "wider than the sequence": {"n": 4, "window": between(generator, 6, 9), "causal": True},
        "one token": {"n": 1, "window": 2, "causal": True},
    }


def _window_probe(function: Callable, n: int, window: int, causal: bool) -> Answer:
    return {"mask": _as_numbers(function(n, window, causal))}


WINDOW_MASK = Exercise(
    "sliding_window_mask",
    "sparse_attention",
    _window_cases,
    _window_probe,
    (
        _sees("window keys on each side, and itself", 1, "both sides", "window of 1"),
        _sees("causal: none of those after it", 1, "causal"),
        _sees(
            "windows of 0, and wider than the sequence",
            1,
            "window of 0",
            "wider than the sequence",
            "one token",
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
        "longer than the sequence": {"n": between(generator, 4, 6), "stride": 9},
        "one token": {"n": 1, "stride": 3},
    }


def _strided_probe(function: Callable, n: int, stride: int) -> Answer:
    return {"mask": _as_numbers(function(n, stride))}


STRIDED_MASK = Exercise(
    "strided_mask",
    "sparse_attention",
    _strided_cases,
    _strided_probe,
    (
        _sees("near keys and whole strides away, nothing after itself", 2, "whole rows", "ragged"),
        _sees(
            "strides of 1, and longer than the sequence",
            1,
            "stride of 1",
            "longer than the sequence",
            "one token",
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
        "longer than the sequence": {
            "n": between(generator, 3, 6),
            "stride": 8,
            "num_summary": 2,
        },
        "one token": {"n": 1, "stride": 2, "num_summary": 1},
    }


def _fixed_probe(function: Callable, n: int, stride: int, num_summary: int) -> Answer:
    return {"mask": _as_numbers(function(n, stride, num_summary))}


FIXED_MASK = Exercise(
    "fixed_mask",
    "sparse_attention",
    _fixed_cases,
    _fixed_probe,
    (
        _sees("its own block and the summaries, nothing after itself", 2, "one summary"),
        _sees("several summaries, and a last block that is shorter", 1, "several summaries"),
        _sees(
            "blocks that are all summary, and longer than the sequence",
            1,
            "every key a summary",
            "longer than the sequence",
            "one token",
        ),
    ),
)


# --- bigbird_mask --------------------------------------------------------------------------------


def _bigbird_cases(generator: Generator) -> dict[str, Inputs]:
    seed = between(generator, 0, 2**31 - 10)

    def case(n: int, block_size: int, num_global: int, num_random: int, **more: int) -> Inputs:
        return {
            "n": n,
            "block_size": block_size,
            "num_global_blocks": num_global,
            "num_random_blocks": num_random,
            "seed": seed,
            **more,
        }

    return {
        "whole blocks": case(40, 4, 1, 2),
        "ragged": case(32 + between(generator, 1, 2), 3, 2, 3),
        "no global blocks": case(30, 3, 0, 2),
        "nothing random": case(between(generator, 17, 23), 3, 1, 0),
        "more random than there are": case(24, 4, 1, 9),
        "one token": case(1, 2, 1, 1),
        "many draws": case(8, 1, 1, 2, draws=DRAWS),
    }


def _bigbird_probe(
    function: Callable,
    n: int,
    block_size: int,
    num_global_blocks: int,
    num_random_blocks: int,
    seed: int,
    draws: int = 1,
) -> Answer:
    settings = n, block_size, num_global_blocks, num_random_blocks

    def draw(times: int) -> Tensor:
        generator = Generator().manual_seed(seed)
        masks = [_as_numbers(function(*settings, generator)) for _ in range(times)]
        return torch.stack(masks).to(torch.uint8)  # they are many

    answer = {"masks": draw(draws)}
    answer["first"] = answer["masks"][:1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # another state of torch's own generator must change nothing
        return answer | {"again": draw(1)}


def _blocks(inputs: Inputs, answer: Answer) -> Tensor:
    """Which blocks see which, (draws, blocks, blocks), by the first token of each."""
    size = inputs["block_size"]
    return answer["masks"][:, ::size, ::size] > 0


def _near(inputs: Inputs) -> Tensor:
    block = torch.arange(math.ceil(inputs["n"] / inputs["block_size"]))
    return (block.unsqueeze(-1) - block).abs() <= 1


def _global(inputs: Inputs) -> Tensor:
    return torch.arange(len(_near(inputs))) < inputs["num_global_blocks"]


def _always_seen(inputs: Inputs) -> Tensor:
    return _near(inputs) | _global(inputs) | _global(inputs).unsqueeze(-1)


def _ragged_within_a_block(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    mask, n, size = answer["masks"][0], inputs["n"], inputs["block_size"]
    if mask.shape != (n, n):
        return f"the mask has shape {tuple(mask.shape)}, expected {(n, n)}"
    first = torch.arange(n) // size * size
    wrong = mask != mask[first][:, first]
    if not wrong.any():
        return None
    i, j = wrong.nonzero()[0].tolist()
    return (
        f"query {i} and key {j} differ from the first tokens of their blocks, {int(first[i])} and "
        f"{int(first[j])}: all tokens of a block see alike"
    )


def _missing(title: str, points: int, which: Callable[[Inputs], Tensor], what: str) -> Property:
    """Every pair of blocks that `which` gives is seen."""

    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        unseen = which(inputs) & ~_blocks(inputs, answer)[0]
        if not unseen.any():
            return None
        i, j = unseen.nonzero()[0].tolist()
        return f"query block {i} does not see key block {j}, {what}"

    return Property(title, points, complain)


def _wrong_count(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    free = ~_always_seen(inputs)
    found = (_blocks(inputs, answer) & free).sum(dim=-1)  # (draws, blocks)
    right = free.sum(dim=-1).clamp(max=inputs["num_random_blocks"])
    wrong = (found != right).any(dim=0)
    if not wrong.any():
        return None
    i = int(wrong.nonzero()[0])
    got = int(found[(found[:, i] != right[i]).nonzero()[0], i])
    return (
        f"query block {i} sees {got} blocks besides its window and the global ones, expected "
        f"{int(right[i])}"
    )


def _likelier(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    blocks, free = _blocks(inputs, answer).double(), ~_always_seen(inputs)
    share = blocks.mean(dim=0)
    mean = (share * free).sum(-1, keepdim=True) / free.sum(-1, keepdim=True).clamp(min=1)
    error = (mean * (1 - mean) / len(blocks)).sqrt()
    away = ((share - mean).abs() * free - STANDARD_ERRORS * error).masked_fill(~free, -1)
    if not (away > 0).any():
        return None
    i, j = divmod(int(away.argmax()), blocks.shape[-1])
    return (
        f"over {len(blocks)} draws, query block {i} sees block {j} in {share[i, j]:.0%} of them, "
        f"and a random block in {mean[i].item():.0%} on average: all should be as likely"
    )


def _not_for_itself(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    blocks, free = _blocks(inputs, answer).double(), ~_always_seen(inputs)
    centred = (blocks - blocks.mean(dim=0)) / blocks.std(dim=0).clamp(min=1e-9)
    for j in range(len(free)):
        rows = free[:, j].nonzero().flatten()  # those that may draw block j
        drawn = centred[:, rows, j]  # (draws, rows)
        found = (drawn.unsqueeze(-1) * drawn.unsqueeze(-2)).mean(dim=0).fill_diagonal_(0)
        if len(rows) and found.abs().max() > STANDARD_ERRORS / math.sqrt(len(blocks)):
            i, k = divmod(int(found.abs().argmax()), len(rows))
            return (
                f"over {len(blocks)} draws, query blocks {int(rows[i])} and {int(rows[k])} see key "
                f"block {j} with a correlation of {found[i, k]:.2f}, not 0: draw for each query "
                "block on its own"
            )
    return None


BIGBIRD_MASK = Exercise(
    "bigbird_mask",
    "sparse_attention",
    _bigbird_cases,
    _bigbird_probe,
    (
        Property("all tokens of a block see alike", 1, _ragged_within_a_block),
        _missing(
            "a block sees itself and its neighbours",
            1,
            _near,
            "which is itself or its neighbour",
        ),
        _missing(
            "global blocks see every block",
            1,
            lambda inputs: _global(inputs).unsqueeze(-1),
            "but a global block sees all",
        ),
        _missing(
            "every block sees the global blocks",
            1,
            _global,
            "which is global",
        ),
        Property("so many random blocks besides, and no others", 2, _wrong_count),
        Property("every other block is as likely", 1, _likelier, ("many draws",)),
        Property("each query block draws for itself", 1, _not_for_itself, ("many draws",)),
        are_equal(
            "first",
            "again",
            "an equal generator gave another mask: draw everything from `generator`",
            title="all randomness comes from the generator",
            points=1,
            cases=("whole blocks",),
        ),
    ),
)


# --- reachability --------------------------------------------------------------------------------


def _reach_cases(generator: Generator) -> dict[str, Inputs]:
    def random(n: int, share: float) -> Tensor:
        return torch.rand(n, n, generator=generator) < share

    # Three kinds of tokens, in any order: each sees its own kind and the one before.
    kind = torch.randperm(24, generator=generator) // 8
    gap = kind.unsqueeze(-1) - kind
    three_kinds = (gap == 0) | (gap == 1)
    ring = torch.eye(9, dtype=torch.bool)[torch.arange(9).roll(1)]
    lonely = random(9, 0.25)
    lonely[between(generator, 0, 8)] = False
    return {
        "one layer": {"mask": random(9, 0.3), "num_layers": 1},
        "two layers": {"mask": random(9, 0.2), "num_layers": 2},
        "three layers": {"mask": random(13, 0.12), "num_layers": 3},
        "a ring": {"mask": ring, "num_layers": between(generator, 4, 6)},
        "a token that sees nothing": {"mask": lonely, "num_layers": 2},
        "one token": {"mask": torch.ones(1, 1, dtype=torch.bool), "num_layers": 3},
        "very many layers": {"mask": three_kinds, "num_layers": 300},
    }


def _reach_probe(function: Callable, mask: Tensor, num_layers: int) -> Answer:
    return {"mask": _as_numbers(function(mask, num_layers))}


REACHABILITY = Exercise(
    "reachability",
    "sparse_attention",
    _reach_cases,
    _reach_probe,
    (
        _sees("one layer reaches what the mask shows", 1, "one layer", "one token"),
        _sees("two layers reach what is seen by what is seen", 1, "two layers"),
        _sees(
            "exactly so many steps, each in the mask's direction",
            1,
            "three layers",
            "a ring",
            "a token that sees nothing",
        ),
        _sees("very many layers do not overflow", 1, "very many layers"),
    ),
)

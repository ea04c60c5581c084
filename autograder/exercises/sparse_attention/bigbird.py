"""The exercise of 01_sparse_attention on the mask of Big Bird, part of which is random."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import between
from autograder.exercise import Answer, Exercise, Inputs, Part, Property
from autograder.exercises.sparse_attention.masks import as_numbers, other_shape
from autograder.properties import are_equal

DRAWS = 200
# So many standard errors, since a hundred rare events are no normal variable: of 500 seeds one was
# 5.2 away. What is wrong is 10 away or more.
STANDARD_ERRORS = 7


def _cases(generator: Generator) -> dict[str, Inputs]:
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


def _probe(
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
        masks = [as_numbers(function(*settings, generator)) for _ in range(times)]
        return torch.stack(masks).to(torch.uint8)  # they are many

    masks = draw(draws)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # another state of torch's own generator must change nothing
        return {"masks": masks, "again": draw(1)}


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
    mask, size = answer["masks"][0], inputs["block_size"]
    first = torch.arange(len(mask)) // size * size
    wrong = mask != mask[first][:, first]
    if not wrong.any():
        return None
    i, j = wrong.nonzero()[0].tolist()
    return (
        f"query {i} and key {j} differ from the first tokens of their blocks, {int(first[i])} and "
        f"{int(first[j])}: all tokens of a block see alike"
    )


def _property(
    title: str,
    points: int,
    complain: Callable[[Inputs, Answer, Answer], str | None],
    cases: tuple[str, ...] = (),
) -> Property:
    """A property of masks (n, n); of another shape, the shape is what is wrong."""

    def of_the_right_shape(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        shape = (inputs["n"], inputs["n"])
        return other_shape(answer["masks"][0], shape) or complain(inputs, answer, expected)

    return Property(title, points, of_the_right_shape, cases)


def _missing(title: str, points: int, which: Callable[[Inputs], Tensor], what: str) -> Property:
    """Every pair of blocks that `which` gives is seen."""

    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        unseen = which(inputs) & ~_blocks(inputs, answer)[0]
        if not unseen.any():
            return None
        i, j = unseen.nonzero()[0].tolist()
        return f"query block {i} does not see key block {j}, {what}"

    return _property(title, points, complain)


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
        f"besides its window and the global blocks, the number of blocks that query block {i} sees "
        f"is {got}, expected {int(right[i])}"
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
    (
        Part(
            "numbers",
            _cases,
            _probe,
            (
                _property("all tokens of a block see alike", 1, _ragged_within_a_block),
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
                _property("so many random blocks besides, and no others", 2, _wrong_count),
                _property("every other block is as likely", 1, _likelier, ("many draws",)),
                _property("each query block draws for itself", 1, _not_for_itself, ("many draws",)),
                are_equal(
                    "masks",
                    "again",
                    "an equal generator gave another mask: draw everything from `generator`",
                    title="all randomness comes from the generator",
                    points=1,
                    cases=("whole blocks",),
                ),
            ),
        ),
    ),
)

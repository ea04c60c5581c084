"""The exercise of 01_sparse_attention on the mask of Big Bird, part of which is random."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import between
from autograder.exercise import Answer, Exercise, Inputs, Part, Property
from autograder.exercises.sparse_attention.bigbird_signs import (
    SIGNS,
    STANDARD_ERRORS,
    blocks_seen,
    correlations,
    free,
    is_global,
    near,
    see_alike,
    unlikely,
)
from autograder.exercises.sparse_attention.masks import as_numbers, other_shape, sees
from autograder.properties import are_equal

DRAWS = 200


def _case(generator: Generator, settings: tuple[int, int, int, int], draws: int = 1) -> Inputs:
    names = ("n", "block_size", "num_global_blocks", "num_random_blocks")
    seed = between(generator, 0, 2**31 - 10)
    return {**dict(zip(names, settings, strict=True)), "seed": seed, "draws": draws}


def _cases_without_random_blocks(generator: Generator) -> dict[str, Inputs]:
    ragged = 3 * between(generator, 5, 7) + between(generator, 1, 2)
    return {
        name: _case(generator, settings)
        for name, settings in {
            "nothing random": (24, 4, 1, 0),
            "nothing random, no global blocks": (24, 3, 0, 0),
            "nothing random, ragged": (ragged, 3, 2, 0),
            "nothing random, blocks of one token": (9, 1, 1, 0),
            "nothing random, all blocks global": (5, 2, 4, 0),
            "nothing random, one token": (1, 2, 1, 0),
        }.items()
    }


def _cases_with_random_blocks(generator: Generator) -> dict[str, Inputs]:
    return {
        "whole blocks": _case(generator, (40, 4, 1, 2)),
        "ragged": _case(generator, (33 + between(generator, 1, 2), 3, 2, 3)),
        "no global blocks": _case(generator, (30, 3, 0, 2)),
        "more random than there are": _case(generator, (24, 4, 1, 9)),
        "one token": _case(generator, (1, 2, 1, 1)),
        # So many blocks that one is seldom drawn, and none may be left out.
        "many draws": _case(generator, (12, 1, 1, 3), DRAWS),
    }


def _probe(
    function: Callable,
    n: int,
    block_size: int,
    num_global_blocks: int,
    num_random_blocks: int,
    seed: int,
    draws: int,
) -> Answer:
    settings = n, block_size, num_global_blocks, num_random_blocks

    def draw(times: int) -> Tensor:
        generator = Generator().manual_seed(seed)
        masks = [as_numbers(function(*settings, generator)) for _ in range(times)]
        return torch.stack(masks) if times == 1 else torch.stack(masks).to(torch.uint8)

    masks = draw(draws)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # another state of torch's own generator must change nothing
        return {"masks": masks, "again": draw(1)}


def _unlike_within_a_block(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    wrong = answer["masks"][0] != see_alike(inputs, answer["masks"][0])
    if not wrong.any():
        return None
    i, j = wrong.nonzero()[0].tolist()
    size = inputs["block_size"]
    return (
        f"query {i} and key {j} differ from the first tokens of their blocks, {i // size * size} "
        f"and {j // size * size}: all tokens of a block see alike"
    )


def _property(
    title: str,
    points: int,
    complain: Callable[[Inputs, Answer, Answer], str | None],
    cases: tuple[str, ...] = (),
) -> Property:
    """A property of masks (n, n); of another shape, the shape is what is wrong."""

    def of_the_right_shape(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        masks = answer["masks"]
        if masks.dtype not in (torch.half, torch.uint8) or len(masks) != inputs["draws"]:
            return "the masks that were drawn did not come back"
        shape = (inputs["n"], inputs["n"])
        return other_shape(masks[0], shape) or complain(inputs, answer, expected)

    return Property(title, points, of_the_right_shape, cases)


def _missing(title: str, points: int, which: Callable[[Inputs], Tensor], what: str) -> Property:
    """Every pair of blocks that `which` gives is seen."""

    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        unseen = which(inputs) & ~blocks_seen(inputs, answer)[0]
        if not unseen.any():
            return None
        i, j = unseen.nonzero()[0].tolist()
        return f"query block {i} does not see key block {j}, {what}"

    return _property(title, points, complain)


def _wrong_count(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    may = free(inputs)
    found = (blocks_seen(inputs, answer) & may).sum(dim=-1)  # (draws, blocks)
    right = may.sum(dim=-1).clamp(max=inputs["num_random_blocks"])
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
    share, mean, away = unlikely(inputs, answer)
    if not (away > 0).any():
        return None
    i, j = divmod(int(away.argmax()), away.shape[-1])
    return (
        f"over {DRAWS} draws, query block {i} sees block {j} in {share[i, j]:.0%} of them, "
        f"and a random block in {mean[i].item():.0%} on average: all should be as likely"
    )


def _not_for_itself(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    for j in range(len(near(inputs))):
        rows, found = correlations(inputs, answer, j)
        if len(rows) and found.abs().max() > STANDARD_ERRORS / DRAWS**0.5:
            i, k = divmod(int(found.abs().argmax()), len(rows))
            return (
                f"over {DRAWS} draws, query blocks {int(rows[i])} and {int(rows[k])} see key block "
                f"{j} with a correlation of {found[i, k]:.2f}, not 0: draw for each query block on "
                "its own"
            )
    return None


def _fixed(points: int) -> tuple[Property, ...]:
    """What does not depend on the random blocks; each has so many points in this part."""
    return (
        _property("all tokens of a block see alike", points, _unlike_within_a_block),
        _missing(
            "a block sees itself and its neighbours",
            points,
            near,
            "which is itself or its neighbour",
        ),
        _missing(
            "global blocks see every block",
            points,
            lambda inputs: is_global(inputs).unsqueeze(-1),
            "but a global block sees all",
        ),
        _missing("every block sees the global blocks", points, is_global, "which is global"),
    )


SO_MANY = "so many random blocks besides, and no others"
BIGBIRD_MASK = Exercise(
    "bigbird_mask",
    "sparse_attention",
    (
        Part(
            "without random blocks",
            _cases_without_random_blocks,
            _probe,
            (*_fixed(1), sees(SO_MANY, 0, name="masks")),
        ),
        Part(
            "random blocks",
            _cases_with_random_blocks,
            _probe,
            (
                *_fixed(0),
                _property(SO_MANY, 2, _wrong_count),
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
            tells_mistakes=False,
            signs=SIGNS,
        ),
    ),
)

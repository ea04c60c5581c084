"""By what a wrong random choice of Big Bird's blocks is known: what holds in every draw of it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from autograder.exercise import Answer, Inputs, Sign

# So many standard errors, since a hundred rare events are no normal variable: of 500 seeds one was
# 5.2 away. What is wrong is 10 away or more.
STANDARD_ERRORS = 7


def blocks_seen(inputs: Inputs, answer: Answer) -> Tensor:
    """Which blocks see which, (draws, blocks, blocks), by the first token of each."""
    size = inputs["block_size"]
    return answer["masks"][:, ::size, ::size] > 0


def near(inputs: Inputs) -> Tensor:
    """A block, the one before and the one after: (blocks, blocks)."""
    block = torch.arange(math.ceil(inputs["n"] / inputs["block_size"]))
    return (block.unsqueeze(-1) - block).abs() <= 1


def is_global(inputs: Inputs) -> Tensor:
    """Which blocks are global."""
    return torch.arange(len(near(inputs))) < inputs["num_global_blocks"]


def free(inputs: Inputs) -> Tensor:
    """Which blocks a query block draws from: (blocks, blocks)."""
    return ~(near(inputs) | is_global(inputs) | is_global(inputs).unsqueeze(-1))


def of_token(inputs: Inputs) -> Tensor:
    """The block of each token."""
    return torch.arange(inputs["n"]) // inputs["block_size"]


def see_alike(inputs: Inputs, masks: Tensor) -> Tensor:
    """The masks in which the tokens of a block see what its first token sees, of each key block."""
    first = of_token(inputs) * inputs["block_size"]
    return masks[..., first, :][..., first]


def correlations(inputs: Inputs, answer: Answer, column: int) -> tuple[Tensor, Tensor]:
    """The query blocks that may draw a key block, and how their draws of it go together."""
    drawn = blocks_seen(inputs, answer)[:, :, column].double()
    rows = free(inputs)[:, column].nonzero().flatten()
    drawn = drawn[:, rows]
    centred = drawn - drawn.mean(dim=0)
    centred = centred / centred.square().mean(dim=0).sqrt().clamp(min=1e-9)
    return rows, (centred.mT @ centred / len(drawn)).fill_diagonal_(0)


def unlikely(inputs: Inputs, answer: Answer) -> tuple[Tensor, Tensor, Tensor]:
    """How often each block is drawn, its query block's mean, and where these are too far apart."""
    may, drawn = free(inputs), blocks_seen(inputs, answer).double()
    share = drawn.mean(dim=0)
    mean = (share * may).sum(-1, keepdim=True) / may.sum(-1, keepdim=True).clamp(min=1)
    error = (mean * (1 - mean) / len(drawn)).sqrt()
    away = ((share - mean).abs() - STANDARD_ERRORS * error).masked_fill(~may, -1)
    return share, mean, away


Drawn = Callable[[Inputs, Tensor, Tensor], bool]
"""(inputs, blocks drawn (draws, blocks, blocks), right number for each block) -> a sign."""


def _blocks_where(sign: Drawn) -> Sign:
    """The window and the global blocks are right, and what is drawn beside them shows the sign."""

    def shows(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
        seen, may = blocks_seen(inputs, answer), free(inputs)
        alike = torch.equal(see_alike(inputs, answer["masks"]), answer["masks"])
        right = may.sum(dim=-1).clamp(max=inputs["num_random_blocks"])
        return alike and bool(seen[:, ~may].all()) and sign(inputs, seen & may, right)

    return shows


def _is_many(drawn: Tensor) -> bool:
    return len(drawn) > 1


def _count(drawn: Tensor) -> Tensor:
    return drawn.sum(dim=-1)  # (draws, blocks)


def _with_replacement(inputs: Inputs, drawn: Tensor, right: Tensor) -> bool:
    count, random = _count(drawn), inputs["num_random_blocks"]
    if not _is_many(drawn):
        return bool((count <= right).all())
    may = free(inputs).sum(dim=-1).double()
    mean = may * (1 - (1 - 1 / may.clamp(min=1)) ** random)
    error = count.double().std(dim=0) / math.sqrt(len(count))
    twice = bool((count <= right - 2).any())  # three draws of one block
    return twice and bool(((count.double().mean(dim=0) - mean).abs() <= 5 * error).all())


def _hit_what_is_seen(inputs: Inputs, drawn: Tensor, right: Tensor) -> bool:
    count = _count(drawn)
    if not _is_many(drawn):
        return bool((count <= right).all())
    fewer, whole = count < right, count == right
    both = bool(fewer.any() and whole.any(dim=0).all())
    return both and bool((fewer | whole).all()) and not _with_replacement(inputs, drawn, right)


def _one_too_many(inputs: Inputs, drawn: Tensor, right: Tensor) -> bool:
    may = free(inputs).sum(dim=-1)
    return bool((_count(drawn) == may.clamp(max=inputs["num_random_blocks"] + 1)).all())


def _one_too_few(inputs: Inputs, drawn: Tensor, right: Tensor) -> bool:
    may = free(inputs).sum(dim=-1)
    return bool((_count(drawn) == may.clamp(max=inputs["num_random_blocks"] - 1)).all())


def _both_ways(inputs: Inputs, drawn: Tensor, right: Tensor) -> bool:
    return torch.equal(drawn, drawn.mT) and bool((_count(drawn).sum(-1) >= right.sum()).all())


def _exchanged(inputs: Inputs, drawn: Tensor, right: Tensor) -> bool:
    return bool((_count(drawn.mT) == right).all())


def _none(inputs: Inputs, drawn: Tensor, right: Tensor) -> bool:
    return not drawn.any()


def _as_the_dice_fall(inputs: Inputs, drawn: Tensor, right: Tensor) -> bool:
    count = _count(drawn)
    return not _is_many(drawn) or bool((count > right).any() and (count < right).any())


def _none_where_few(inputs: Inputs, drawn: Tensor, right: Tensor) -> bool:
    few = right < inputs["num_random_blocks"]
    return bool((_count(drawn) == right.masked_fill(few, 0)).all())


def _none_before(inputs: Inputs, drawn: Tensor, right: Tensor) -> bool:
    return not drawn.tril().any()


def _none_after(inputs: Inputs, drawn: Tensor, right: Tensor) -> bool:
    return not drawn.triu().any()


def _always_the_same(inputs: Inputs, drawn: Tensor, right: Tensor) -> bool:
    return bool((drawn == drawn[0]).all())


def _some_never(inputs: Inputs, drawn: Tensor, right: Tensor) -> bool:
    if not _is_many(drawn):
        return bool((_count(drawn) <= right).all())
    never = free(inputs) & ~drawn.any(dim=0)
    return bool(never.any()) and bool((_count(drawn) <= right).all())


def _one_for_all(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    if len(answer["masks"]) == 1:
        return True
    found = [correlations(inputs, answer, j)[1] for j in range(len(near(inputs)))]
    pairs = torch.cat([each[each != 0] for each in found])
    return len(pairs) > 0 and bool(pairs.mean() > 0.3)


def _another_mask(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    has_a_choice = bool((free(inputs).sum(dim=-1) > inputs["num_random_blocks"]).any())
    return not has_a_choice or not (answer["masks"][0] == answer["again"][0]).all()


def _tokens_where(count: Callable[[Inputs, Tensor], Tensor], wanted: Callable) -> Sign:
    """The window and the global blocks are right, and each token sees so many others besides."""

    def shows(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
        token, masks = of_token(inputs), answer["masks"] > 0
        may = free(inputs)[token][:, token]
        if not masks[:, ~may].all():
            return False
        return torch.equal(count(inputs, masks & may), wanted(inputs, may).expand(len(masks), -1))

    return shows


def _key_blocks(inputs: Inputs, masks: Tensor) -> Tensor:
    size = inputs["block_size"]
    whole = masks == masks[..., of_token(inputs) * size]
    return masks[..., ::size].sum(dim=-1) * whole.all(dim=-1)


SIGNS: dict[str, Sign] = {
    "drawn with replacement": _blocks_where(_with_replacement),
    "random blocks that hit the window": _blocks_where(_hit_what_is_seen),
    "one random block too many": _blocks_where(_one_too_many),
    "one random block too few": _blocks_where(_one_too_few),
    "random blocks both ways": _blocks_where(_both_ways),
    "rows and columns of random blocks exchanged": _blocks_where(_exchanged),
    "no random blocks": _blocks_where(_none),
    "each block by chance": _blocks_where(_as_the_dice_fall),
    "no random blocks where few are free": _blocks_where(_none_where_few),
    "random blocks after the query only": _blocks_where(_none_before),
    "random blocks before the query only": _blocks_where(_none_after),
    "the same blocks every time": _blocks_where(_always_the_same),
    "blocks that are never drawn": _blocks_where(_some_never),
    "one choice for every row": _one_for_all,
    "generator ignored": _another_mask,
    "random tokens instead of blocks": _tokens_where(
        lambda inputs, drawn: drawn.sum(dim=-1),
        lambda inputs, may: may.sum(dim=-1).clamp(
            max=inputs["num_random_blocks"] * inputs["block_size"]
        ),
    ),
    "each token draws for itself": _tokens_where(
        _key_blocks,
        lambda inputs, may: (
            may[..., :: inputs["block_size"]].sum(dim=-1).clamp(max=inputs["num_random_blocks"])
        ),
    ),
}
"""By the name of a mistake."""

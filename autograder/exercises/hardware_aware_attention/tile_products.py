"""Which tiles of scores attention by tiles multiplies: their sizes, and how many of them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from autograder.cases import normal
from autograder.exercise import Answer, Inputs, Part, Property, Sign
from course.measure import DispatchMode

# Whole tiles of both sizes; and no tile is as long as DIM, so that a product tells what it is of.
QUERIES, KEYS, DIM, VALUE_DIM = 40, 36, 47, 53
BLOCKS = ((5, 3), (2, 9))
RUNS = [(*block, causal) for block in BLOCKS for causal in (False, True)]
ASKED_SIZE = "tiles have the size that is asked for"
SKIPPED = "causal: tiles above the diagonal are skipped"
_FACTORS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}  # where the first of two factors stands

Run = Callable[[Callable, dict[str, Tensor], int, int, bool], Any]
"""Calls a function on tensors: run(function, tensors, block_q, block_k, causal)."""


class _Products(DispatchMode):
    """Logs the matrix products that torch computes: batch, rows, inner length, columns."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[int, int, int, int]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in _FACTORS:
            a, b = args[_FACTORS[name] : _FACTORS[name] + 2]
            self.log.append((math.prod(a.shape[:-2]), *a.shape[-2:], b.shape[-1]))
        return func(*args, **(kwargs or {}))


def tile_products(run: Run) -> Part:
    """The tiles of scores have the size that is asked for, and none is above the diagonal."""

    def probe(function: Callable, **tensors: Tensor) -> Answer:
        logged = []
        for index, how in enumerate(RUNS):
            with torch.no_grad(), _Products() as products:
                run(function, tensors, *how)
            logged += [(index, *product) for product in products.log]
        return {"products": torch.tensor(logged, dtype=torch.int64).reshape(-1, 5)}

    return Part(
        "products",
        lambda generator: {"products": _tensors(generator)},
        probe,
        (
            Property(ASKED_SIZE, 1, _another_size),
            Property(SKIPPED, 1, _multiplies_what_no_query_sees),
        ),
        signs={
            "block q and block k exchanged": _tiles_are(lambda q, k: (k, q)),
            "tiles of a size of its own": _of_one_size,
            "tiles of one row each": _row_by_row,
            "all keys at once": _tiles_are(lambda q, k: (q, KEYS)),
            "all queries at once": _tiles_are(lambda q, k: (QUERIES, k)),
            "all scores at once": _tiles_are(lambda q, k: (QUERIES, KEYS)),
            "all weights at once": _tiles_are(lambda q, k: (QUERIES, KEYS)),
        },
    )


def _tensors(generator: Generator) -> Inputs:
    # What a backward pass is given is there too: any output and logsumexp will do.
    return {
        "q": normal(generator, 1, 1, QUERIES, DIM),
        "k": normal(generator, 1, 1, KEYS, DIM),
        "v": normal(generator, 1, 1, KEYS, VALUE_DIM),
        "out": normal(generator, 1, 1, QUERIES, VALUE_DIM),
        "lse": normal(generator, 1, 1, QUERIES),
        "grad_out": normal(generator, 1, 1, QUERIES, VALUE_DIM),
    }


def _tiles_of_scores(answer: Answer, run: int) -> list[tuple[int, int]]:
    """Rows and columns of the products over the columns of q and k."""
    products = answer["products"]
    if products.dim() != 2 or products.shape[1] != 5:
        raise ValueError("what it multiplies could not be seen")
    return [
        (rows, columns)
        for index, batch, rows, inner, columns in products.tolist()
        if (index, inner) == (run, DIM)
        for _ in range(min(batch, QUERIES * KEYS))
    ]


def _another_size(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    for run, (block_q, block_k, causal) in enumerate(RUNS):
        asked, tiles = {block_q, block_k}, _tiles_of_scores(answer, run)
        # With causal the last tile of a row may end at the diagonal.
        wrong = [tile for tile in tiles if set(tile) != asked and not causal]
        with_blocks = f"with block_q = {block_q} and block_k = {block_k}"
        if not tiles:
            return f"{with_blocks} no product of a tile of q and a tile of k, transposed, was seen"
        if wrong:
            rows, columns = wrong[0]
            return f"{with_blocks} a tile of {rows} × {columns} scores is multiplied"
    return None


def _multiplies_what_no_query_sees(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    for run, (block_q, block_k, causal) in enumerate(RUNS):
        used = len(_tiles_of_scores(answer, run))
        ends = (min(KEYS, i + block_q) if causal else KEYS for i in range(0, QUERIES, block_q))
        allowed = sum(math.ceil(end / block_k) for end in ends)
        if causal and not 0 < used <= allowed:
            return (
                f"with {QUERIES} queries in tiles of {block_q} and {KEYS} keys in tiles of "
                f"{block_k}, {used} tiles of scores are multiplied; {allowed} hold a pair that is "
                "seen: leave out the tiles whose first key comes after their last query"
            )
    return None


def _split(length: int, block: int) -> set[int]:
    return {min(block, length - start) for start in range(0, length, block)}


def _tiles_are(sizes: Callable[[int, int], tuple[int, int]]) -> Sign:
    """Whether the tiles are those of sizes(block_q, block_k), without causal."""

    def sign(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
        return all(
            {frozenset(tile) for tile in _tiles_of_scores(answer, run)}
            == {
                frozenset((rows, columns))
                for rows in _split(QUERIES, sizes(block_q, block_k)[0])
                for columns in _split(KEYS, sizes(block_q, block_k)[1])
            }
            for run, (block_q, block_k, causal) in enumerate(RUNS)
            if not causal
        )

    return sign


def _of_one_size(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    """Whether tiles are the same, whatever was asked, and smaller than the whole."""
    first, *others = (
        set(_tiles_of_scores(answer, run)) for run, how in enumerate(RUNS) if not how[-1]
    )
    whole = {QUERIES, KEYS}
    return bool(first) and all(o == first for o in others) and all(set(t) != whole for t in first)


def _row_by_row(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    """Whether every tile is a single row of scores, or a single column."""
    tiles = [tile for run in range(len(RUNS)) for tile in _tiles_of_scores(answer, run)]
    return bool(tiles) and all(1 in tile for tile in tiles)

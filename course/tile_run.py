"""Standard and flash attention run tile by tile; every number copied to or from HBM is counted.

Both work on one head. Standard attention is three kernels (Dao et al. 2022, arXiv 2205.14135,
algorithm 0). It is given all the SRAM it wants: a kernel reads each of its inputs once, which is
the least that it can move. Flash attention goes through the keys once for each tile of queries
(Dao 2023, arXiv 2307.08691, algorithm 1).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Array -> the rows of a tile; of the n × n arrays S and P the rows and the columns.
Tiles = dict[str, tuple[range, ...]]


@dataclass(frozen=True, eq=False)
class Step:
    """What one step of a run did, and what lies where after it.

    done: in words. read, written: the tiles copied from and to HBM in this step. in_sram: the tiles
    on the chip in this step. running_max, running_sum: (rows of the current query tile), None where
    the run keeps none. output: (n, d), with the current tile as far as it is and NaN in rows not
    yet begun. hbm_elements: numbers moved between HBM and SRAM so far.
    """

    done: str
    read: Tiles
    written: Tiles
    in_sram: Tiles
    running_max: Tensor | None
    running_sum: Tensor | None
    output: Tensor
    hbm_elements: int


class _Recorder:
    """The arrays in HBM. Copies tiles of them, counts what it copies, and keeps the steps."""

    def __init__(self, n: int, **hbm: Tensor) -> None:
        self.hbm = hbm
        self.output = hbm["V"].new_full((n, hbm["V"].shape[-1]), math.nan)
        self.steps: list[Step] = []
        self._hbm_elements = 0
        self._read: Tiles = {}
        self._written: Tiles = {}

    def read(self, name: str, *where: range) -> Tensor:
        tile = self.hbm[name][_slices(where)].clone()
        self._hbm_elements += tile.numel()
        self._read[name] = where
        return tile

    def write(self, name: str, tile: Tensor, *where: range) -> None:
        self.hbm[name][_slices(where)] = tile
        self._hbm_elements += tile.numel()
        self._written[name] = where

    def step(
        self,
        done: str,
        running_max: Tensor | None = None,
        running_sum: Tensor | None = None,
        **in_sram: tuple[range, ...],
    ) -> None:
        self.steps.append(
            Step(
                done,
                self._read,
                self._written,
                in_sram,
                running_max,
                running_sum,
                self.output.clone(),
                self._hbm_elements,
            )
        )
        self._read, self._written = {}, {}


def _slices(where: tuple[range, ...]) -> tuple[slice, ...]:
    return tuple(slice(indices.start, indices.stop) for indices in where)


def tiles_of(n: int, block: int) -> list[range]:
    """The rows 0 to n − 1 in tiles of `block`; the last tile may be shorter."""
    return [range(start, min(start + block, n)) for start in range(0, n, block)]


def span(indices: range) -> str:
    """The indices in words: "8–15", or "8" where it is one."""
    return str(indices[0]) if len(indices) == 1 else f"{indices[0]}–{indices[-1]}"


def _without_future(scores: Tensor, rows: range, keys: range) -> Tensor:
    """The scores (rows, keys) with −∞ where a key comes after the query."""
    future = torch.tensor(keys) > torch.tensor(rows).unsqueeze(-1)
    return scores.masked_fill(future, -math.inf)


def standard_run(
    q: Float[Tensor, "n d"],
    k: Float[Tensor, "n d"],
    v: Float[Tensor, "n d"],
    block: int,
    causal: bool = False,
) -> list[Step]:
    """Softmax attention in three kernels, with S and P whole in HBM, in tiles of `block` tokens.

    Kernel 1 writes S = q kᵀ / √d, kernel 2 its softmax P, kernel 3 the output P v. A causal mask
    changes P alone: every entry is moved all the same.
    """
    n, d = q.shape
    recorder = _Recorder(n, Q=q, K=k, V=v, S=q.new_empty(n, n), P=q.new_empty(n, n), O=v.clone())
    tiles, every_key = tiles_of(n, block), range(n)

    kept: dict[range, Tensor] = {}
    for rows in tiles:
        q_tile = recorder.read("Q", rows)
        for keys in tiles:
            if keys not in kept:
                kept[keys] = recorder.read("K", keys)
            recorder.write("S", q_tile @ kept[keys].mT * d**-0.5, rows, keys)
            recorder.step(
                f"kernel 1 writes the scores of queries {span(rows)} and keys {span(keys)}",
                Q=(rows,),
                K=(range(max(tile.stop for tile in kept)),),
                S=(rows, keys),
            )

    for rows in tiles:
        scores = recorder.read("S", rows, every_key)
        if causal:
            scores = _without_future(scores, rows, every_key)
        row_max = scores.amax(dim=-1)
        weights = (scores - row_max.unsqueeze(-1)).exp()
        row_sum = weights.sum(dim=-1)
        recorder.write("P", weights / row_sum.unsqueeze(-1), rows, every_key)
        recorder.step(
            f"kernel 2 reads rows {span(rows)} of S and writes their softmax",
            row_max,
            row_sum,
            S=(rows, every_key),
            P=(rows, every_key),
        )

    kept = {}
    for rows in tiles:
        total = v.new_zeros(len(rows), v.shape[-1])
        for keys in tiles:
            weights = recorder.read("P", rows, keys)
            if keys not in kept:
                kept[keys] = recorder.read("V", keys)
            total = total + weights @ kept[keys]
            recorder.output[_slices((rows,))] = total
            done = f"kernel 3 reads the weights of queries {span(rows)} and keys {span(keys)}"
            if keys is tiles[-1]:
                recorder.write("O", total, rows)
                done += " and writes the output"
            recorder.step(
                done,
                P=(rows, keys),
                V=(range(max(tile.stop for tile in kept)),),
                O=(rows,),
            )
    return recorder.steps


def flash_run(
    q: Float[Tensor, "n d"],
    k: Float[Tensor, "n d"],
    v: Float[Tensor, "n d"],
    block_q: int,
    block_k: int,
    causal: bool,
) -> list[Step]:
    """Softmax attention with no n × n array in HBM: tiles of `block_q` queries, `block_k` keys.

    Each tile of queries has three kinds of step: it is read; each tile of keys and values is read
    and taken into the running maximum, sum and output; output and logsumexp are written. With
    `causal`, a tile of keys that no query of the tile may see is never read.
    """
    n, d = q.shape
    recorder = _Recorder(n, Q=q, K=k, V=v, O=v.clone(), L=q.new_empty(n))
    for rows in tiles_of(n, block_q):
        q_tile = recorder.read("Q", rows)
        row_max = q.new_full((len(rows),), -math.inf)
        row_sum = q.new_zeros(len(rows))
        total = v.new_zeros(len(rows), v.shape[-1])
        on_chip = {"Q": (rows,), "O": (rows,)}
        recorder.step(
            f"queries {span(rows)} are read, with maximum −∞ and sum 0", row_max, row_sum, **on_chip
        )

        for keys in tiles_of(n, block_k):
            if causal and keys.start > rows[-1]:
                break
            k_tile, v_tile = recorder.read("K", keys), recorder.read("V", keys)
            scores = q_tile @ k_tile.mT * d**-0.5
            if causal:
                scores = _without_future(scores, rows, keys)
            new_max = row_max.maximum(scores.amax(dim=-1))
            rescale = (row_max - new_max).exp()
            weights = (scores - new_max.unsqueeze(-1)).exp()
            row_sum = rescale * row_sum + weights.sum(dim=-1)
            total = rescale.unsqueeze(-1) * total + weights @ v_tile
            row_max = new_max
            recorder.output[_slices((rows,))] = total / row_sum.unsqueeze(-1)
            recorder.step(
                f"keys and values {span(keys)} are read for queries {span(rows)}",
                row_max,
                row_sum,
                K=(keys,),
                V=(keys,),
                S=(rows, keys),
                P=(rows, keys),
                **on_chip,
            )

        recorder.write("O", total / row_sum.unsqueeze(-1), rows)
        recorder.write("L", row_max + row_sum.log(), rows)
        recorder.step(
            f"output and logsumexp of queries {span(rows)} are written",
            row_max,
            row_sum,
            O=(rows,),
            L=(rows,),
        )
    return recorder.steps

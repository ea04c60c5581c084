"""Which tiles of the scores attention by tiles really multiplies: measured with NaN.

The values of one tile of keys are made NaN. Whatever multiplies a weight with them, be it 0, turns
NaN: the rows that do are the tiles of queries which met this tile of keys.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from course.measure import one_thread
from course.specifications.hardware_aware_attention.kernels import launch_flash_attention
from course.triton_here import DEVICE, MISSING, MissingKernel
from course.widgets.exhibit import Exhibit, ReaderError, as_tensor, note, percent, run
from course.widgets.style import BLUE, ORANGE, VERMILLION, new_figure, styled, write_in_place

NUM_TOKENS, DIM, BLOCK_Q, BLOCK_K = 120, 16, 32, 16
# What becomes of a tile, by whether some, all or none of its pairs are to be seen.
SKIPPED, WHOLE, PARTLY, NEEDLESS, MISSED = range(5)
_LOOKS = {
    SKIPPED: ("white", "skipped"),
    WHOLE: (BLUE, "multiplied, all pairs seen"),
    PARTLY: (ORANGE, "multiplied, some pairs hidden"),
    NEEDLESS: (VERMILLION, "multiplied for nothing"),
    MISSED: ("black", "left out, though seen"),
}


def pairs(causal: bool) -> tuple[Tensor, Tensor]:
    """How many query–key pairs of each tile there are, and how many of them are to be seen.

    Both are (tiles of queries, tiles of keys).
    """
    every = torch.ones(NUM_TOKENS, NUM_TOKENS, dtype=torch.int)

    def by_tiles(grid: Tensor) -> Tensor:
        rows = grid.split(BLOCK_Q)
        return torch.tensor([[tile.sum() for tile in row.split(BLOCK_K, dim=1)] for row in rows])

    return by_tiles(every), by_tiles(every.tril() if causal else every)


def touched(attention: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """Which tiles `attention` multiplies, (tiles of queries, tiles of keys), boolean."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, NUM_TOKENS, DIM, generator=generator)
    columns = []
    for start in range(0, NUM_TOKENS, BLOCK_K):
        poisoned = v.clone()
        poisoned[start : start + BLOCK_K] = math.nan
        rows = attention(q, k, poisoned).isnan().any(dim=-1)
        columns.append(torch.stack([tile.any() for tile in rows.split(BLOCK_Q)]))
    return torch.stack(columns, dim=1)


def verdict(causal: bool, multiplied: Tensor) -> Tensor:
    """What became of each tile: SKIPPED to MISSED."""
    there, seen = pairs(causal)
    found = torch.where(multiplied, torch.where(seen == there, WHOLE, PARTLY), SKIPPED)
    found[multiplied & (seen == 0)] = NEEDLESS
    found[~multiplied & (seen > 0)] = MISSED
    return found


@dataclass(kw_only=True)
class TilesTouched(Exhibit):
    """What became of each tile, without the causal mask and with it; None where nothing ran."""

    name: str
    tiles: dict[bool, Tensor | None]

    def findings(self) -> str:
        """How many tiles are multiplied, and how many of them hide some of their pairs."""
        told = []
        for causal, tiles in self.tiles.items():
            if tiles is None:
                continue
            multiplied = ((tiles != SKIPPED) & (tiles != MISSED)).sum().item()
            words = [
                f"{'with' if causal else 'without'} the causal mask {multiplied} of "
                f"{tiles.numel()} tiles are multiplied ({percent(multiplied / tiles.numel())}), "
                f"{(tiles == PARTLY).sum()} of them with some pairs hidden"
            ]
            for what in (NEEDLESS, MISSED):
                if number := (tiles == what).sum().item():
                    words.append(f"{number} {_LOOKS[what][1]}")
            told.append(", ".join(words))
        where = f"{self.name}, {NUM_TOKENS} tokens, tiles of {BLOCK_Q} queries and {BLOCK_K} keys"
        return f"{where}: {'; '.join(told) or 'nothing was measured'}."

    @styled
    def draw(self) -> Figure:
        """The tiles of the scores, coloured by what became of them."""
        figure = new_figure(height=3.6)
        panels = figure.subplots(1, 2)
        colours = ListedColormap([colour for colour, _ in _LOOKS.values()])
        for axes, (causal, tiles) in zip(panels, self.tiles.items(), strict=True):
            axes.set(title="causal" if causal else "not causal", xlabel="keys", ylabel="queries")
            axes.grid(visible=False)
            axes.set_xticks(range(0, NUM_TOKENS + 1, BLOCK_K))
            axes.set_yticks(range(0, NUM_TOKENS + 1, BLOCK_Q))
            # The last tile of keys reaches beyond the last key.
            width = math.ceil(NUM_TOKENS / BLOCK_K) * BLOCK_K
            height = math.ceil(NUM_TOKENS / BLOCK_Q) * BLOCK_Q
            axes.set(xlim=(0, width), ylim=(height, 0))
            if tiles is None:
                write_in_place(axes, "nothing to show")
                continue
            edges = [range(0, width + 1, BLOCK_K), range(0, height + 1, BLOCK_Q)]
            look = {"cmap": colours, "vmin": SKIPPED, "vmax": MISSED, "edgecolors": "#B0B0B0"}
            axes.pcolormesh(*edges, tiles.numpy(), linewidth=0.8, **look)
            if causal:
                axes.plot([0, NUM_TOKENS], [0, NUM_TOKENS], color="black", lw=1)
        handles = [
            Patch(facecolor=colour, edgecolor="#B0B0B0", label=label)
            for what, (colour, label) in _LOOKS.items()
            if what < NEEDLESS
            or any(t is not None and (t == what).any() for t in self.tiles.values())
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        return figure


def _measure(name: str, attention: Callable[..., Tensor]) -> TilesTouched:
    problems: list[str] = []
    tiles: dict[bool, Tensor | None] = {}
    for causal in (False, True):
        try:
            tiles[causal] = verdict(causal, touched(lambda *qkv, c=causal: attention(*qkv, c)))
        except ReaderError as error:
            note(problems, error)
            tiles[causal] = None
    return TilesTouched(problems=problems, name=name, tiles=tiles)


@one_thread()
def tiles_touched(tiled_attention: Callable[..., tuple[Tensor, Tensor]]) -> TilesTouched:
    """Which tiles the reader's tiled_attention multiplies, without and with the causal mask."""
    name = "tiled_attention"

    def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        returned = run(name, tiled_attention, q, k, v, BLOCK_Q, BLOCK_K, causal)
        output = returned[0] if isinstance(returned, tuple | list) and returned else returned
        return as_tensor(name, output, tuple(q.shape))

    return _measure(name, attention)


@one_thread()
def tiles_touched_by_kernel(kernel: Any) -> TilesTouched:
    """The same of the reader's flash_attention_kernel."""
    name = "flash_attention_kernel"
    if isinstance(kernel, MissingKernel):
        return TilesTouched(problems=[MISSING], name=name, tiles={False: None, True: None})

    def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        q, k, v = (x[None, None].to(DEVICE) for x in (q, k, v))
        out = torch.zeros_like(q)
        lse = torch.zeros(q.shape[:-1], device=DEVICE)
        tiles = {"BLOCK_Q": BLOCK_Q, "BLOCK_K": BLOCK_K}
        run(name, launch_flash_attention, kernel, q, k, v, out, lse, causal, tiles)
        return out[0, 0].cpu()

    return _measure(name, attention)

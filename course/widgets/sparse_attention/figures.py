"""Static figures of 01_sparse_attention: the four families, and what a model's attention loses."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from course.measure import one_thread
from course.specifications.sparse_attention import in_bigbird, mask_of
from course.widgets.exhibit import Exhibit, ReaderError, note, percent
from course.widgets.sparse_attention.lsh import Hash, found_by, hash_problems
from course.widgets.sparse_attention.patterns import (
    BIGBIRD,
    FIXED,
    STRIDED,
    WINDOW,
    Masks,
    chosen_mask,
)
from course.widgets.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    SERIES,
    VERMILLION,
    new_figure,
    styled,
)

LSH_ROUNDS, LSH_BUCKETS = 4, 16


# --- four_families --------------------------------------------------------------------------------


@dataclass(kw_only=True)
class FourFamilies(Exhibit):
    """What each of the four families computes of an n × n attention matrix, as pictures."""

    n: int

    def findings(self) -> str:
        """What the four panels show."""
        return (
            "Sparse attention computes some entries of the matrix. Linear attention and low rank "
            "compute two narrow factors and never the matrix. Hardware-aware attention computes "
            "every entry, a tile at a time, and keeps none."
        )

    @styled
    def draw(self) -> Figure:
        """Four panels: chosen entries, two factors of features, two of landmarks, tiles."""
        figure = new_figure(height=2.9)
        sparse, linear, low_rank, tiled = figure.subplots(1, 4)
        n, narrow = self.n, self.n // 6
        mask = mask_of(n, lambda i, j: in_bigbird(i, j, 2, 1))
        sparse.imshow(mask.int().numpy(), cmap=ListedColormap(["white", BLUE]))
        for axes, colour, names in [
            (linear, ORANGE, ("φ(Q)", "φ(K)ᵀ")),
            (low_rank, VERMILLION, ("n × k", "k × n")),
        ]:
            axes.add_patch(_box(0, 0, narrow, n, colour))
            axes.add_patch(_box(narrow + 2, 0, n - narrow - 2, narrow, colour))
            axes.text(narrow + 2, n * 0.62, names[0], fontsize=11)
            axes.text(n * 0.55, narrow + 4, names[1], fontsize=11)
            axes.set(xlim=(-0.5, n), ylim=(n, -0.5), aspect="equal")
        tile = n // 4
        for row in range(4):
            for column in range(4):
                current = (row, column) == (1, 2)
                box = _box(column * tile, row * tile, tile, tile, BLUE if current else "white")
                tiled.add_patch(box)
        tiled.set(xlim=(-0.5, n), ylim=(n, -0.5), aspect="equal")
        titles = ["sparse", "linear", "low rank", "hardware-aware"]
        costs = ["n·(keys seen)", "n·m·d", "n·k·d", "n²·d, tile by tile"]
        for axes, title, cost in zip(figure.axes, titles, costs, strict=True):
            axes.set(title=title, xlabel=cost, xticks=[], yticks=[])
            axes.grid(visible=False)
        sparse.set_ylabel("query")
        return figure


def _box(x: float, y: float, width: float, height: float, colour: str) -> Rectangle:
    return Rectangle((x, y), width, height, facecolor=colour, edgecolor=BLACK, lw=0.8)


def four_families() -> FourFamilies:
    """The four families of the course, side by side."""
    return FourFamilies(n=24)


# --- attention_kept -------------------------------------------------------------------------------


@dataclass(kw_only=True)
class AttentionKept(Exhibit):
    """The share of a model's attention to other tokens that a pattern shows, for each head.

    kept[pattern] is (layers, heads); density[pattern] the share of the pairs that it shows, which
    is what attention without a preference would have there. best[pattern] is what the largest
    weights of each query hold, as many as the pattern shows on average.
    """

    kept: dict[str, Tensor]
    density: dict[str, float]
    best: dict[str, float]

    def findings(self) -> str:
        """The mean over the heads of each layer, beside the density and the best possible."""
        told = [
            f"{pattern} shows {percent(self.density[pattern])} of the pairs and keeps "
            f"{' and '.join(percent(layer.mean().item()) for layer in kept)} "
            f"(so many pairs can hold {percent(self.best[pattern])})"
            for pattern, kept in self.kept.items()
        ]
        count = len(next(iter(self.kept.values())))
        layers = " and ".join(str(layer) for layer in range(1, count + 1))
        return f"Of the attention to other tokens in layers {layers}: {'; '.join(told)}."

    @styled
    def draw(self) -> Figure:
        """One row a pattern: a mark for each head, beside the density and the best possible."""
        figure = new_figure(height=0.7 * len(self.kept) + 1.4)
        axes = figure.subplots()
        for place, (pattern, kept) in enumerate(self.kept.items()):
            self._draw_row(axes, place, pattern, kept)
        axes.set(
            xlabel="% of the attention to other tokens that the pattern keeps",
            ylabel="pattern",
            xlim=(0, 102),
        )
        axes.set_yticks(range(len(self.kept)), list(self.kept))
        axes.invert_yaxis()
        handles, labels = axes.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(unique.values(), unique, loc="outside lower center", ncols=4)
        return figure

    def _draw_row(self, axes: Axes, place: int, pattern: str, kept: Tensor) -> None:
        for layer, heads in enumerate(kept, start=1):
            style = SERIES[layer - 1] | {"linestyle": "", "markersize": 5}
            # Each head is a little lower than the one before: they do not hide each other.
            middle = place + 0.22 * (2 * layer - 3)
            heights = np.linspace(middle - 0.15, middle + 0.15, len(heads))
            axes.plot(100 * heads.numpy(), heights, label=f"a head of layer {layer}", **style)
        for share, label, style in [
            (self.density, "all alike (density)", {"marker": "|", "ms": 14, "mew": 2.5}),
            (self.best, "largest weights, as many", {"marker": "*", "ms": 10, "color": GREY}),
        ]:
            style = {"color": BLACK, "linestyle": ""} | style
            axes.plot(100 * share[pattern], place, label=label, **style)


@one_thread()
def attention_kept(
    masks: Masks,
    lsh_bucket: Hash,
    queries_keys_values: list[tuple[Tensor, Tensor, Tensor]],
    width: int,
) -> AttentionKept:
    """How much of a model's attention each pattern keeps; (batch, heads, n, d) for each layer.

    Counted is the attention to other tokens: a query's own position is in every pattern. The
    model looks both ways: the causal patterns are taken with their mirror image. Big Bird's
    blocks are half of `width`. Hashing has LSH_ROUNDS rounds.
    """
    problems: list[str] = []
    queries, keys = (torch.stack([layer[i] for layer in queries_keys_values]) for i in (0, 1))
    n, d = queries.shape[-2:]
    attention = (queries @ keys.mT * d**-0.5).softmax(dim=-1).double()  # (layers, batch, heads, …)
    shown = {}
    for pattern in (WINDOW, STRIDED, FIXED, BIGBIRD):
        size = width // 2 if pattern == BIGBIRD else width
        mask = chosen_mask(masks, pattern, n, size, problems)
        shown[pattern] = mask | mask.mT if pattern in (STRIDED, FIXED) else mask
    try:
        rounds = found_by(lsh_bucket, queries, keys, LSH_BUCKETS)
        shown[f"LSH, {LSH_ROUNDS} rounds"] = next(islice(rounds, LSH_ROUNDS - 1, None))
        problems += hash_problems(lsh_bucket)
    except ReaderError as error:
        note(problems, error)
    others = ~torch.eye(n, dtype=torch.bool)
    attention = attention * others
    attention = attention / attention.sum(dim=(-2, -1), keepdim=True)
    exhibit = AttentionKept(problems=problems, kept={}, density={}, best={})
    for pattern, mask in shown.items():
        exhibit.kept[pattern] = (attention * mask).sum(dim=(-2, -1)).mean(dim=1)
        exhibit.density[pattern] = mask[..., others].double().mean().item()
        count = max(1, round(exhibit.density[pattern] * (n - 1)))
        largest = attention.topk(count, dim=-1).values
        exhibit.best[pattern] = largest.sum(dim=(-2, -1)).mean().item()
    return exhibit

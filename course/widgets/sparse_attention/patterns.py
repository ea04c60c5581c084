"""Masks at work: which keys they show, how far that reaches over layers, and what attention loses.

The masks and the reach are the reader's. They are held against the index sets of the papers, pair
by pair, and against walks along the edges of the mask.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from course.measure import one_thread
from course.specifications.sparse_attention import (
    in_bigbird,
    in_fixed,
    in_strided,
    in_window,
    mask_of,
    walks,
)
from course.widgets.exhibit import Exhibit, ReaderError, note, percent, run
from course.widgets.style import (
    BLACK,
    BLUE,
    SERIES,
    SKY,
    new_figure,
    styled,
)

WINDOW, CAUSAL, STRIDED, FIXED, BIGBIRD = (
    "sliding window",
    "causal window",
    "strided",
    "fixed",
    "Big Bird",
)
PATTERNS = [WINDOW, CAUSAL, STRIDED, FIXED, BIGBIRD]
MAX_LAYERS = 8
_NAMES = {
    WINDOW: "sliding_window_mask",
    CAUSAL: "sliding_window_mask",
    STRIDED: "strided_mask",
    FIXED: "fixed_mask",
    BIGBIRD: "bigbird_mask",
}


@dataclass(frozen=True)
class Masks:
    """The reader's four functions that make masks."""

    sliding_window_mask: Callable[..., Tensor]
    strided_mask: Callable[..., Tensor]
    fixed_mask: Callable[..., Tensor]
    bigbird_mask: Callable[..., Tensor]


def right_mask(pattern: str, n: int, width: int) -> Tensor:
    """The mask by the paper's index set, (n, n); Big Bird's without its random blocks."""
    sees = {
        WINDOW: lambda i, j: in_window(i, j, width, causal=False),
        CAUSAL: lambda i, j: in_window(i, j, width, causal=True),
        STRIDED: lambda i, j: in_strided(i, j, width),
        FIXED: lambda i, j: in_fixed(i, j, width, 1),
        BIGBIRD: lambda i, j: in_bigbird(i, j, width, 1),
    }
    return mask_of(n, sees[pattern])


def _as_mask(name: str, value: object, n: int) -> Tensor:
    if not isinstance(value, Tensor) or tuple(value.shape) != (n, n):
        raise ReaderError(f"{name} did not return a tensor of the shape {(n, n)}.")
    return value.detach() > 0


def readers_mask(masks: Masks, pattern: str, n: int, width: int) -> Tensor:
    """The reader's mask (n, n). Raises ReaderError where it cannot be had."""
    name = _NAMES[pattern]
    arguments = {
        WINDOW: (n, width, False),
        CAUSAL: (n, width, True),
        STRIDED: (n, width),
        FIXED: (n, width, 1),
        BIGBIRD: (n, width, 1, 1, torch.Generator().manual_seed(0)),
    }[pattern]
    return _as_mask(name, run(name, getattr(masks, name), *arguments), n)


def mask_problems(pattern: str, mask: Tensor, width: int) -> list[str]:
    """A sentence if the mask is not the paper's; of Big Bird, if what is not random is missing."""
    right = right_mask(pattern, len(mask), width)
    wrong = right & ~mask if pattern == BIGBIRD else right != mask
    if not wrong.any():
        return []
    i, j = wrong.nonzero()[0].tolist()
    verb = "should see" if right[i, j] else "should not see"
    return [f"{_NAMES[pattern]} is not the pattern of the paper: query {i} {verb} key {j}."]


def chosen_mask(masks: Masks, pattern: str, n: int, width: int, problems: list[str]) -> Tensor:
    """The reader's mask, or the paper's where there is none; what is wrong goes to `problems`."""
    try:
        mask = readers_mask(masks, pattern, n, width)
    except ReaderError as error:
        note(problems, error)
        return right_mask(pattern, n, width)
    problems += mask_problems(pattern, mask, width)
    return mask


def readers_reach(
    reachability: Callable[..., Tensor], mask: Tensor, num_layers: int, problems: list[str]
) -> Tensor:
    """The reader's reach, or the right one where there is none; `problems` gets what is wrong."""
    right = walks(mask, num_layers)
    name = "reachability"
    try:
        reach = _as_mask(name, run(name, reachability, mask.clone(), num_layers), len(mask))
    except ReaderError as error:
        note(problems, error)
        return right
    if not torch.equal(reach, right):
        note(problems, ReaderError(f"{name} differs from walks along the mask."))
    return reach


# --- pattern_reach --------------------------------------------------------------------------------


@dataclass(kw_only=True)
class PatternReach(Exhibit):
    """A mask, what it reaches after `num_layers`, and the share reached after 1 to MAX_LAYERS."""

    pattern: str
    width: int
    num_layers: int
    mask: Tensor
    reach: Tensor
    shares: list[float]

    @property
    def query(self) -> int:
        """The query whose receptive field is marked: the one in the middle."""
        return len(self.mask) // 2

    def findings(self) -> str:
        """Density, keys of a query, and the share that is reached."""
        n = len(self.mask)
        keys = self.mask.sum(dim=-1)
        field = int(self.reach[self.query].sum())
        return (
            f"{self.pattern.capitalize()}, n = {n}, width {self.width}: "
            f"{percent(self.mask.double().mean().item())} of the pairs are seen, at most "
            f"{int(keys.max())} keys by one query. After {self.num_layers} "
            f"{'layer' if self.num_layers == 1 else 'layers'} the output of token {self.query} "
            f"depends on {field} of {n} inputs; of all pairs "
            f"{percent(self.reach.double().mean().item())} are connected."
        )

    @styled
    def draw(self) -> Figure:
        """The mask, the reach, and the share connected against layers."""
        figure = new_figure(height=3.9)
        seen, reached, course = figure.subplots(1, 3, width_ratios=[1, 1, 1.05])
        colours = ListedColormap(["white", SKY, BLUE])
        for axes, pairs, title in [
            (seen, self.mask, "seen in one layer"),
            (reached, self.reach, f"reached in {self.num_layers}"),
        ]:
            image = pairs.int()
            image[self.query] *= 2
            axes.imshow(image.numpy(), cmap=colours, vmin=0, vmax=2, interpolation="nearest")
            axes.set(title=title, xlabel="key (input)", ylabel="query (output)")
            axes.grid(visible=False)
        layers = range(1, MAX_LAYERS + 1)
        course.plot(layers, [100 * share for share in self.shares], **SERIES[0])
        course.axvline(self.num_layers, color=BLACK, lw=1, ls=":")
        course.set(title="connected pairs", xlabel="layers", ylabel="% of all pairs")
        course.set(ylim=(0, 104), xticks=layers)
        handles = [Patch(color=BLUE, label=f"query {self.query}"), Patch(color=SKY, label="others")]
        figure.legend(handles=handles, loc="outside lower left", ncols=2)
        return figure


@one_thread()
def pattern_reach(
    masks: Masks,
    reachability: Callable[..., Tensor],
    pattern: str,
    n: int,
    width: int,
    num_layers: int,
) -> PatternReach:
    """One of PATTERNS at work; `width` is its window, stride or block."""
    problems: list[str] = []
    mask = chosen_mask(masks, pattern, n, width, problems)
    reaches = [
        readers_reach(reachability, mask, layer, problems) for layer in range(1, MAX_LAYERS + 1)
    ]
    return PatternReach(
        problems=problems,
        pattern=pattern,
        width=width,
        num_layers=num_layers,
        mask=mask,
        reach=reaches[num_layers - 1],
        shares=[reach.double().mean().item() for reach in reaches],
    )


# --- layers_needed --------------------------------------------------------------------------------


@dataclass(kw_only=True)
class LayersNeeded(Exhibit):
    """After how many layers each pair is connected, (n, n) for each pattern; 0 is never."""

    width: int
    layers: dict[str, Tensor]

    def findings(self) -> str:
        """How many layers until the most distant pair, or what is missing after MAX_LAYERS."""
        told = []
        for pattern, layers in self.layers.items():
            causal = not (layers.triu(1) > 0).any()
            possible = torch.ones_like(layers).tril() if causal else torch.ones_like(layers)
            missing = ((layers == 0) & (possible > 0)).sum() / possible.sum()
            if missing > 0:
                told.append(f"{pattern} leaves {percent(missing.item())} apart")
            else:
                told.append(f"{pattern} connects all in {int(layers.max())}")
        n = len(next(iter(self.layers.values())))
        return (
            f"n = {n}, width {self.width}, up to {MAX_LAYERS} layers; of the pairs that the mask "
            f"may connect: {'; '.join(told)}."
        )

    @styled
    def draw(self) -> Figure:
        """One map a pattern, coloured by the layer that first connects the pair."""
        figure = new_figure(height=2.5)
        panels = figure.subplots(1, len(self.layers), squeeze=False)[0]
        steps = np.arange(1, MAX_LAYERS + 2) - 0.5
        for axes, (pattern, layers) in zip(panels, self.layers.items(), strict=True):
            image = axes.imshow(
                np.ma.masked_equal(layers.numpy(), 0),
                cmap="viridis_r",
                norm=BoundaryNorm(steps, 256),
                interpolation="nearest",
            )
            axes.set(title=pattern, xlabel="key")
            axes.grid(visible=False)
        panels[0].set_ylabel("query")
        bar = figure.colorbar(
            image, ax=panels, ticks=range(1, MAX_LAYERS + 1), fraction=0.02, shrink=0.75
        )
        bar.set_label("layers (white: never)")
        return figure


@one_thread()
def layers_needed(
    masks: Masks, reachability: Callable[..., Tensor], n: int = 49, width: int = 7
) -> LayersNeeded:
    """The first layer that connects each pair, for every pattern with the same width."""
    problems: list[str] = []
    found = {}
    for pattern in PATTERNS:
        mask = chosen_mask(masks, pattern, n, width, problems)
        layers = torch.zeros(n, n, dtype=torch.long)
        for layer in range(1, MAX_LAYERS + 1):
            reach = readers_reach(reachability, mask, layer, problems)
            layers[reach & (layers == 0)] = layer
        found[pattern] = layers
    return LayersNeeded(problems=problems, width=width, layers=found)

"""Attention maps of the small trained model, made by the reader's own softmax_attention."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from course.measure import one_thread
from course.trained_model import load_trained, tokens_and_twins
from course.widgets.exhibit import Exhibit, ReaderError, as_tensor, not_finite, percent, run
from course.widgets.style import (
    BLUE,
    GREY,
    ORANGE,
    TRUTH,
    new_figure,
    styled,
    write_in_place,
)

NAME = "softmax_attention"
NUM_TOKENS = 64
SELF, NEIGHBOURS, TWIN = "to itself", "to its neighbours", "to the other occurrence"
ELSEWHERE = "elsewhere"


@cache
def example() -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
    """(queries, keys) of every head by its name, each (n, d), and the twin of each token, (n,).

    The twin is the same place in the other occurrence of a segment, -1 where there is none.
    """
    tokens, twins = tokens_and_twins(1, NUM_TOKENS, torch.Generator().manual_seed(1))
    layers = load_trained().queries_keys_values(tokens)
    heads = {
        f"layer {layer}, head {head}": (q[0, head - 1], k[0, head - 1])
        for layer, (q, k, _) in enumerate(layers, start=1)
        for head in range(1, q.shape[1] + 1)
    }
    return heads, twins[0]


def true_weights(q: Tensor, k: Tensor, causal: bool, temperature: float) -> Tensor:
    """softmax(q kᵀ / (temperature √d)), (n, n), in float64."""
    scores = (q @ k.mT).double() / (temperature * q.shape[-1] ** 0.5)
    if causal:
        hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    return scores.softmax(dim=-1)


def weights_by(
    softmax_attention: Callable[..., Tensor],
    q: Tensor,
    k: Tensor,
    causal: bool = False,
    temperature: float = 1.0,
) -> Tensor:
    """The weights of the reader's attention, (n, n): what it makes of the identity as values.

    Raises ReaderError.
    """
    n = len(k)
    q, k, v = (x.expand(1, 1, -1, -1) for x in (q / temperature, k, torch.eye(n)))
    output = run(NAME, softmax_attention, q, k, v, None, causal)
    return as_tensor(NAME, output, (1, 1, n, n))[0, 0]


def misplaced(weights: Tensor, truth: Tensor) -> float:
    """The share of a query's weight that lies on the wrong keys, the mean over queries."""
    return (weights - truth).abs().sum(dim=-1).mean().item() / 2


def weight_problems(weights: Tensor, truth: Tensor) -> list[str]:
    """What is wrong with the reader's weights, in sentences."""
    if unusable := not_finite(NAME, weights):
        return unusable
    off = misplaced(weights, truth)
    if off < 1e-3:
        return []
    return [f"{NAME} is not softmax(q kᵀ / √d) v: {percent(off)} of the weight is misplaced here."]


def where_the_weight_goes(weights: Tensor, twins: Tensor) -> dict[str, float]:
    """The mean weight that a query of the segment gives to itself, and so on; it sums to 1.

    Neighbours are one or two tokens away; the other occurrence is the twin and its neighbours.
    Tokens that occur once are left out: they have no twin to look at.
    """
    inside = twins >= 0
    position = torch.arange(len(twins))
    distance = (position[:, None] - position).abs()[inside]
    to_twin = (twins[:, None] - position).abs()[inside]
    kinds = {SELF: distance == 0, NEIGHBOURS: (distance > 0) & (distance <= 2), TWIN: to_twin <= 2}
    shares = {
        kind: (weights[inside] * chosen).sum(-1).mean().item() for kind, chosen in kinds.items()
    }
    return shares | {ELSEWHERE: 1 - sum(shares.values())}


def keys_looked_at(weights: Tensor) -> float:
    """exp(entropy) of a query's weights, the mean over queries: n for equal weights, 1 for one."""
    return torch.special.entr(weights).sum(dim=-1).exp().mean().item()


def _draw_map(axes: Axes, weights: Tensor | None, title: str) -> AxesImage | None:
    axes.set(title=title, xlabel="key j")
    axes.grid(visible=False)
    if weights is None:
        axes.set(xticks=[], yticks=[])
        axes.set_box_aspect(1)
        write_in_place(axes, "nothing to show")
        return None
    # By the root, so that small weights are seen too.
    return axes.imshow(weights.numpy(), norm=PowerNorm(0.5, vmin=0, vmax=1))


# --- attention_map --------------------------------------------------------------------------------


@dataclass(kw_only=True)
class AttentionMap(Exhibit):
    """The weights of one head, (n, n) in float64; `weights` is None where they cannot be shown."""

    head: str
    causal: bool
    temperature: float
    query: int
    weights: Tensor | None
    truth: Tensor
    twins: Tensor

    def findings(self) -> str:
        """How many keys a query looks at, and where its weight goes."""
        weights = self.truth if self.weights is None else self.weights
        shares = where_the_weight_goes(weights, self.twins)
        goes = ", ".join(f"{percent(share)} {kind}" for kind, share in shares.items())
        whose = "By definition" if self.weights is None else "With your function"
        mask = "causal" if self.causal else "not causal"
        return (
            f"{whose}, {self.head}, temperature {self.temperature:g}, {mask}: a query spreads over "
            f"{keys_looked_at(weights):.1f} of {len(weights)} keys. Of the weight of a token in "
            f"the repeated segment, this goes: {goes}."
        )

    @styled
    def draw(self) -> Figure:
        """The map, the true one beside it where they differ, and the weights of one query."""
        figure = new_figure(height=4.2)
        if self.problems:
            mine, true, row = figure.subplots(1, 3, width_ratios=[1, 1, 1.25])
            _draw_map(true, self.truth, "by definition")
        else:
            mine, row = figure.subplots(1, 2, width_ratios=[1, 1.6])
        _draw_map(mine, self.weights, "softmax_attention")
        mine.set_ylabel("query i")
        mine.axhline(self.query, color=BLUE, lw=1, ls="--")
        row.plot(self.truth[self.query].numpy(), label="by definition", **TRUTH)
        if self.weights is not None:
            row.plot(
                self.weights[self.query].numpy(),
                color=BLUE,
                marker="o",
                ms=3.5,
                lw=1.2,
                label="softmax_attention",
            )
        row.axvline(self.query, color=GREY, lw=1, ls=":", label="the query itself")
        twin = int(self.twins[self.query])
        if twin >= 0:
            row.axvline(twin, color=ORANGE, lw=1.5, ls="--", label="its other occurrence")
        row.set(title=f"Weights of query {self.query}", xlabel="key j", ylabel="weight")
        row.set_ylim(bottom=0)
        figure.legend(loc="outside lower center", ncols=4)
        return figure


@one_thread()
def attention_map(
    softmax_attention: Callable[..., Tensor],
    head: str,
    causal: bool,
    temperature: float,
    query: int,
) -> AttentionMap:
    """The attention of one head of the trained model on an example, by the reader's function.

    The temperature divides the queries: above 1 it spreads the weights, below it sharpens them.
    """
    heads, twins = example()
    q, k = heads[head]
    truth = true_weights(q, k, causal, temperature)
    weights, problems = None, []
    try:
        weights = weights_by(softmax_attention, q, k, causal, temperature)
        problems = weight_problems(weights, truth)
    except ReaderError as error:
        problems = [str(error)]
    return AttentionMap(
        problems=problems,
        head=head,
        causal=causal,
        temperature=temperature,
        query=query,
        weights=weights,
        truth=truth,
        twins=twins,
    )


# --- all_heads ------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class AllHeads(Exhibit):
    """The weights of every head by name, (n, n): the reader's where they can be shown."""

    weights: dict[str, Tensor]
    twins: Tensor

    def findings(self) -> str:
        """For each head, where most of the weight goes and over how many keys it spreads."""
        told = []
        for head, weights in self.weights.items():
            shares = where_the_weight_goes(weights, self.twins)
            kind = max(shares, key=shares.__getitem__)
            keys = keys_looked_at(weights)
            told.append(f"{head}: {percent(shares[kind])} {kind}, over {keys:.1f} keys")
        return f"Where most of the weight goes: {'; '.join(told)}."

    @styled
    def draw(self) -> Figure:
        """The maps as small multiples, a layer a row."""
        figure = new_figure(height=4.7)
        panels = figure.subplots(2, len(self.weights) // 2, sharex=True, sharey=True)
        image = None
        for axes, (head, weights) in zip(panels.flat, self.weights.items(), strict=True):
            image = _draw_map(axes, weights, head)
        for axes in panels[0]:
            axes.set_xlabel("")
        for axes in panels[:, 0]:
            axes.set_ylabel("query i")
        if image is not None:
            figure.colorbar(image, ax=panels, label="weight", shrink=0.8)
        return figure


@one_thread()
def all_heads(softmax_attention: Callable[..., Tensor]) -> AllHeads:
    """Every head of the trained model on an example, by the reader's function.

    Where that does not run, or is wrong, by definition.
    """
    heads, twins = example()
    truth = {name: true_weights(q, k, False, 1.0) for name, (q, k) in heads.items()}
    try:
        weights = {name: weights_by(softmax_attention, q, k) for name, (q, k) in heads.items()}
        problems = weight_problems(
            torch.cat(list(weights.values())), torch.cat(list(truth.values()))
        )
    except ReaderError as error:
        problems = [str(error)]
    if problems:
        problems.append("The maps are drawn by definition.")
    return AllHeads(problems=problems, weights=truth if problems else weights, twins=twins)

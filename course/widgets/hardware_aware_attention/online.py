"""Online softmax at work: what the running maximum and sum hold after each block of a row.

The maximum and the sum are followed by the course. The weights are the reader's, and are held
against softmax in float64.
"""
# ruff: noqa: E741  (l is the papers' letter)

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from course.measure import one_thread
from course.widgets.exhibit import Exhibit, ReaderError, as_tensor, not_finite, percent, run
from course.widgets.style import (
    BLACK,
    BLUE,
    SERIES,
    TRUTH,
    VERMILLION,
    new_figure,
    styled,
    write_in_place,
)

NAME = "online_softmax"
BLOCKS, WIDTH = 6, 8


def example_row() -> Tensor:
    """BLOCKS · WIDTH numbers, (n,), whose maximum rises in some blocks and not in others."""
    noise = torch.randn(BLOCKS, WIDTH, generator=torch.Generator().manual_seed(2))
    heights = torch.tensor([-1.0, 1.0, 0.0, 2.5, -2.0, 1.5])
    return (noise + heights.unsqueeze(-1)).flatten()


@dataclass(frozen=True)
class Block:
    """After a block: its maximum so far, the factor by which the sum was rescaled, and the sum.

    unscaled: what the sum would be without any rescaling.
    """

    maximum: float
    factor: float
    total: float
    unscaled: float


def follow(row: Tensor) -> list[Block]:
    """The running maximum and sum of a row after each block of WIDTH numbers."""
    m, l, unscaled, blocks = -math.inf, 0.0, 0.0, []
    for block in row.double().split(WIDTH):
        m_new = max(m, block.max().item())
        factor, added = math.exp(m - m_new), (block - m_new).exp().sum().item()
        m, l, unscaled = m_new, factor * l + added, unscaled + added
        blocks.append(Block(m, factor, l, unscaled))
    return blocks


@dataclass(kw_only=True)
class OnlineSoftmax(Exhibit):
    """A row, what is known of it after each block, and its softmax.

    weights: the reader's, (n,), or None where there are none.
    """

    row: Tensor
    blocks: list[Block]
    weights: Tensor | None

    def findings(self) -> str:
        """Where the sum is rescaled, what it ends at, and how far off the reader's weights are."""
        rises = ", ".join(
            f"by {block.factor:.3g} at block {number}"
            for number, block in enumerate(self.blocks[1:], start=2)
            if block.factor < 1
        )
        last = self.blocks[-1]
        direct = (self.row.double() - self.row.max()).exp().sum().item()
        told = (
            f"What the sum held is multiplied {rises}; where the maximum stays, by 1. It ends at "
            f"{last.total:.4g}; in two passes, Σ exp(x − max) is {direct:.4g}. Never rescaled it "
            f"would end at {last.unscaled:.4g}."
        )
        if self.weights is None:
            return told
        truth = self.row.double().softmax(dim=-1)
        off = ((self.weights - truth).norm() / truth.norm()).item()
        return f"{told} Your weights sum to {self.weights.sum():.4g}, and are {percent(off)} off."

    @styled
    def draw(self) -> Figure:
        """The row with its running maximum; the running sum; the weights."""
        figure = new_figure(height=3.6)
        numbers, sums, weights = figure.subplots(1, 3)
        columns = range(len(self.row))
        edges = [WIDTH * number - 0.5 for number in range(BLOCKS + 1)]
        numbers.plot(columns, self.row, ".", color=BLACK, label="x")
        numbers.stairs(
            [block.maximum for block in self.blocks],
            edges,
            baseline=None,
            color=BLUE,
            lw=2.5,
            label="running maximum m",
        )
        numbers.set(title="A row, block by block", xlabel="column", ylabel="x")
        numbers.set_ylim(self.row.min().item() - 0.5, self.row.max().item() + 3.5)
        numbers.legend(loc="upper left")

        steps = range(1, BLOCKS + 1)
        sums.plot(steps, [block.total for block in self.blocks], label="l, rescaled", **SERIES[0])
        sums.plot(
            steps, [block.unscaled for block in self.blocks], label="never rescaled", **SERIES[1]
        )
        for number, block in enumerate(self.blocks[1:], start=2):
            if block.factor < 1:
                sums.annotate(
                    f"× {block.factor:.2g}",
                    (number, block.total),
                    (0, -16),
                    textcoords="offset points",
                    ha="center",
                    color=BLUE,
                )
        top = max(block.unscaled for block in self.blocks)
        sums.set(title="The running sum", xlabel="blocks seen", ylabel="Σ exp(x − m)")
        sums.set(ylim=(-0.2 * top, 1.45 * top), xticks=list(steps))
        sums.legend(loc="upper left")

        weights.plot(columns, self.row.double().softmax(dim=-1), label="softmax", **TRUTH)
        if self.weights is None:
            write_in_place(weights, "nothing to show")
        else:
            style = {"color": VERMILLION, "lw": 1.2, "marker": ".", "ms": 4}
            weights.plot(columns, self.weights, label=NAME, **style)
        for axes in (numbers, weights):
            axes.set_xticks([edge + 0.5 for edge in edges])
        weights.set(title="The weights", xlabel="column", ylabel="weight")
        weights.set_ylim(top=1.3 * weights.get_ylim()[1])
        weights.legend(loc="upper left")
        return figure


@one_thread()
def online_softmax_steps(online_softmax: Callable[..., Tensor]) -> OnlineSoftmax:
    """Follow one row through online softmax, and take its weights by the reader's function."""
    row, problems, weights = example_row(), [], None
    try:
        weights = as_tensor(NAME, run(NAME, online_softmax, row.clone(), WIDTH), tuple(row.shape))
        problems += not_finite(NAME, weights)
        truth = row.double().softmax(dim=-1)
        if not problems and not torch.allclose(weights, truth, rtol=1e-4, atol=1e-6):
            column = int((weights - truth).abs().argmax())
            problems.append(
                f"{NAME} gives {weights[column]:.3g} for column {column}, where softmax gives "
                f"{truth[column]:.3g}."
            )
    except ReaderError as error:
        problems.append(str(error))
    return OnlineSoftmax(problems=problems, row=row, blocks=follow(row), weights=weights)

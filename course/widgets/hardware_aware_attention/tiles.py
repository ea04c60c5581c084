"""The tile player: standard and flash attention, step by step, and what each moved so far.

The runs are the course's own (course.tile_run). The reader's tiled_attention is held against their
output, and the reader's attention_hbm_traffic against their counters.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ipywidgets import Checkbox, IntSlider, Play, SelectionSlider, VBox, jslink
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from course.measure import one_thread
from course.specifications.foundations import attention_query_by_query
from course.tile_run import Step, flash_run, standard_run, tiles_of
from course.widgets.exhibit import (
    Exhibit,
    ReaderError,
    as_tensor,
    explorer,
    labelled,
    not_finite,
    note,
    run,
    times,
)
from course.widgets.hardware_aware_attention.places import draw_legend, draw_places
from course.widgets.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    VERMILLION,
    Look,
    new_figure,
    styled,
    write_in_place,
)

STANDARD, FLASH = "standard", "flash"
NUM_TOKENS, DIM = 32, 8
# Rows of a tile; 5 and 12 do not divide the number of tokens.
ROWS = [2, 4, 5, 8, 12, 16, 32]
SRAM_SIZES = [4 * DIM * rows for rows in ROWS]
_ATTENTION, _TRAFFIC = "tiled_attention", "attention_hbm_traffic"
_LINES: dict[str, Look] = {
    STANDARD: {"color": VERMILLION, "linestyle": "--"},
    FLASH: {"color": BLUE, "linestyle": "-"},
}
_MARKERS = {STANDARD: "s", FLASH: "o"}
_FINAL: Look = {"color": GREY, "alpha": 0.55, "marker": "o", "linestyle": "", "markersize": 10}
_NOW: Look = {"color": BLUE, "marker": "o", "linestyle": "", "markersize": 4.5}
_FORMULA: Look = {"marker": "*", "markersize": 14, "mfc": "none", "mec": BLACK, "linestyle": ""}


def example_inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of one head, (NUM_TOKENS, DIM), the same in every figure."""
    return tuple(torch.randn(3, NUM_TOKENS, DIM, generator=torch.Generator().manual_seed(5)))


# --- The reader's functions -----------------------------------------------------------------------


def readers_attention(
    tiled_attention: Callable, block: int, causal: bool, problems: list[str]
) -> Tensor | None:
    """The reader's output for the example, or None; `problems` gets what is wrong with it."""
    q, k, v = example_inputs()
    scores = q.double() @ k.double().mT * DIM**-0.5
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1) > 0, -math.inf)
    try:
        # Inputs of its own: the reader's function may write into them.
        answer = run(_ATTENTION, tiled_attention, *example_inputs(), block, block, causal)
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise ReaderError(f"{_ATTENTION} did not return (output, logsumexp).")
        output = as_tensor(f"{_ATTENTION}, for the output,", answer[0], tuple(v.shape))
    except ReaderError as error:
        note(problems, error)
        return None
    try:
        logsumexp = as_tensor(f"{_ATTENTION}, for the logsumexp,", answer[1], (NUM_TOKENS,))
    except ReaderError as error:
        note(problems, error)
        logsumexp = scores.logsumexp(dim=-1)
    problems += not_finite(_ATTENTION, output)
    for what, found, right in [
        ("the output", output, attention_query_by_query(q, k, v, causal=causal)),
        ("the logsumexp", logsumexp.unsqueeze(-1), scores.logsumexp(dim=-1, keepdim=True)),
    ]:
        wrong = differing_queries(found, right)
        if wrong:
            problems.append(
                f"{_ATTENTION}, for {what}, differs from softmax attention in {len(wrong)} of "
                f"{NUM_TOKENS} queries, the first is query {wrong[0]}."
            )
    return output


def differing_queries(found: Tensor, right: Tensor) -> list[int]:
    """The rows in which `found`, (n, columns), is not `right` to float32's precision."""
    near = torch.isclose(found, right.double(), rtol=1e-4, atol=1e-4).all(dim=-1)
    return (~near).nonzero().flatten().tolist()


def readers_traffic(
    attention_hbm_traffic: Callable, sram_elements: int, block: int, problems: list[str]
) -> dict[str, float]:
    """The reader's numbers by algorithm, where there are any, held against runs without a mask."""
    inputs = example_inputs()
    counted = {
        STANDARD: standard_run(*inputs, block)[-1].hbm_elements,
        FLASH: flash_run(*inputs, block, block, causal=False)[-1].hbm_elements,
    }
    said = {}
    for algorithm, right in counted.items():
        arguments = (NUM_TOKENS, DIM, sram_elements, algorithm)
        try:
            said[algorithm] = _as_number(run(_TRAFFIC, attention_hbm_traffic, *arguments))
        except ReaderError as error:
            note(problems, error)
            continue
        if said[algorithm] != right:
            problems.append(
                f"{_TRAFFIC} says {said[algorithm]:,.10g} for {algorithm} attention where "
                f"{right:,} numbers were counted."
            )
    return said


def _as_number(value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ReaderError(f"{_TRAFFIC} did not return one finite number.")
    return value


# --- tile_step ------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class TileStep(Exhibit):
    """Both runs at a step, numbered from 1; a run that has fewer steps stays at its last.

    runs and traffic go by algorithm; traffic is what the reader's formula says, without a mask,
    where it says anything. readers_output is (n, d), None where it cannot be had.
    """

    number: int
    sram_elements: int
    block: int
    causal: bool
    bytes_per_number: int
    runs: dict[str, list[Step]]
    traffic: dict[str, float]
    readers_output: Tensor | None

    def step(self, algorithm: str) -> Step:
        """Where the run is now."""
        steps = self.runs[algorithm]
        return steps[min(self.number, len(steps)) - 1]

    def total(self, algorithm: str) -> int:
        """The numbers that the whole run moves."""
        return self.runs[algorithm][-1].hbm_elements

    def _amount(self, numbers: int) -> str:
        return f"{numbers:,} numbers ({numbers * self.bytes_per_number:,} bytes)"

    def findings(self) -> str:
        """The step of both, what they moved so far, and what they move in all."""
        told = [
            f"An SRAM of M = {self.sram_elements:,} numbers holds tiles of {self.block} rows of Q, "
            "K, V and O; registers hold its tile of S and P."
        ]
        for algorithm, steps in self.runs.items():
            step = self.step(algorithm)
            now = f"is done after {len(steps)} steps"
            if self.number <= len(steps):
                now = f"step {self.number} of {len(steps)}: {step.done}"
            told.append(
                f"{algorithm.capitalize()} {now}; it has moved {self._amount(step.hbm_elements)}."
            )
        ratio = self.total(FLASH) / self.total(STANDARD)
        told.append(
            f"By the end standard moves {self.total(STANDARD):,} and flash {self.total(FLASH):,}, "
            f"{times(ratio)} as many."
        )
        if self.causal:
            visited = sum("S" in step.in_sram for step in self.runs[FLASH])
            every = len(tiles_of(NUM_TOKENS, self.block)) ** 2
            told.append(f"With the causal mask, flash skips {every - visited} of {every} tiles.")
        if self.traffic:
            numbers = " and ".join(
                f"{said:,.10g} for {name}" for name, said in self.traffic.items()
            )
            told.append(f"Your {_TRAFFIC}, without a mask, says {numbers}.")
        return " ".join(told)

    @styled
    def draw(self) -> Figure:
        """The tiles of both runs; the counters, maximum and sum; the outputs."""
        figure = new_figure(height=7.5)
        above, middle, below = figure.subfigures(
            3, 1, squeeze=False, height_ratios=[3.2, 2.7, 1.6]
        ).flat
        for axes, algorithm in zip(above.subplots(1, 2), self.runs, strict=True):
            self._draw_tiles(axes, algorithm)
        draw_legend(above)
        race, maximum, total = middle.subplots(1, 3, width_ratios=[1.7, 1, 1])
        self._draw_race(race)
        self._draw_running(maximum, total)
        handles = [
            *(Line2D([], [], label=name, **style) for name, style in _LINES.items()),
            Line2D([], [], label="your formula", **_FORMULA),
            Line2D([], [], label="m, ℓ now", **_NOW),
            Line2D([], [], label="m, ℓ of all keys", **_FINAL),
            Patch(color=ORANGE, alpha=0.35, label="queries on the chip"),
        ]
        middle.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        self._draw_outputs(below.subplots(1, 3, sharey=True))
        return figure

    def _draw_tiles(self, axes: Axes, algorithm: str) -> None:
        steps = self.runs[algorithm]
        number = min(self.number, len(steps))
        draw_places(axes, steps, number)
        sram = (
            "as much SRAM as it wants" if algorithm == STANDARD else f"M = {self.sram_elements:,}"
        )
        axes.set_title(f"{algorithm} ({sram}): step {number} of {len(steps)}")

    def _in_bytes(self, numbers: Any) -> Any:
        return numbers * self.bytes_per_number

    def _in_numbers(self, in_bytes: Any) -> Any:
        return in_bytes / self.bytes_per_number

    def _draw_race(self, axes: Axes) -> None:
        for algorithm, style in _LINES.items():
            moved = [step.hbm_elements for step in self.runs[algorithm]]
            steps = range(1, len(moved) + 1)
            number = min(self.number, len(moved))
            axes.plot(steps, moved, alpha=0.3, **style)
            axes.plot(steps[:number], moved[:number], **style)
            axes.plot(number, moved[number - 1], _MARKERS[algorithm], color=style["color"], ms=8)
            axes.annotate(
                f"{moved[-1]:,}",
                (len(moved), moved[-1]),
                xytext=(-9, 5),
                textcoords="offset points",
                ha="right",
                color=style["color"],
                fontweight="bold",
            )
            # The formula knows no mask, with which flash attention moves less.
            if algorithm in self.traffic and not (self.causal and algorithm == FLASH):
                axes.plot(len(moved), self.traffic[algorithm], **_FORMULA)
        axes.set(
            title="moved between HBM and SRAM",
            xlabel="step (one tile of either)",
            ylabel="numbers so far",
            ylim=(0, 1.2 * max(map(self.total, self.runs))),
        )
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        in_bytes = axes.secondary_yaxis(
            "right",
            functions=(self._in_bytes, self._in_numbers),
        )
        in_bytes.set_ylabel("bytes so far")
        for axis in (axes.yaxis, in_bytes.yaxis):
            axis.set_major_formatter("{x:,.0f}")

    def _draw_running(self, maximum: Axes, total: Axes) -> None:
        steps = self.runs[FLASH]
        number = min(self.number, len(steps))
        current = _query_tile(steps[number - 1])
        for axes, attribute in [(maximum, "running_max"), (total, "running_sum")]:
            final = _last_values(steps, attribute)
            axes.plot(final, **_FINAL)
            axes.plot(_last_values(steps[:number], attribute), **_NOW)
            axes.axvspan(current.start - 0.5, current.stop - 0.5, color=ORANGE, alpha=0.35, lw=0)
            margin = 0.15 * (final.max() - final.min())
            axes.set(ylim=(min(final.min(), 0) - margin, final.max() + margin))
            axes.set(xlabel="query", xlim=(-1, NUM_TOKENS))
        maximum.set(title="flash: maximum m", ylabel="score")
        total.set(title="flash: sum ℓ", ylabel="Σ exp(score − m)")

    def _draw_outputs(self, panels: np.ndarray) -> None:
        final = self.runs[FLASH][-1].output
        look: Look = {"cmap": "PuOr", "vmin": -final.abs().max(), "vmax": final.abs().max()}
        outputs = {
            "standard: output so far": self.step(STANDARD).output,
            "flash: output so far": self.step(FLASH).output,
            f"your {_ATTENTION}": self.readers_output,
        }
        for axes, (title, output) in zip(panels, outputs.items(), strict=True):
            axes.set_title(title, pad=14)
            axes.set(xlabel="query", yticks=[])
            axes.grid(visible=False)
            if output is None:
                axes.set(xticks=[])
                write_in_place(axes, "nothing to show")
                continue
            image = axes.imshow(output.mT.numpy(), aspect="auto", interpolation="nearest", **look)
        if self.readers_output is not None:
            for query in differing_queries(self.readers_output, final):
                panels[-1].text(query, -0.5, "×", color=VERMILLION, ha="center", va="bottom")
                panels[-1].set_title(f"your {_ATTENTION} (×: differs)", pad=14)
        panels[0].set_ylabel("channel")
        panels[0].figure.colorbar(image, ax=panels, fraction=0.02, label="value")


def _query_tile(step: Step) -> range:
    return step.in_sram["O"][0]


def _last_values(steps: list[Step], attribute: str) -> np.ndarray:
    """The last running maximum or sum of every query in steps of flash; NaN where it has none."""
    values = np.full(NUM_TOKENS, np.nan)
    for step in steps:
        rows = _query_tile(step)
        values[rows.start : rows.stop] = getattr(step, attribute).numpy()
    return values


def _rows_in(sram_elements: int) -> int:
    """The rows of a tile, of which those of Q, K, V and the output share the SRAM."""
    return min(NUM_TOKENS, sram_elements // (4 * DIM))


@one_thread()
def tile_step(
    tiled_attention: Callable[..., tuple[Tensor, Tensor]],
    attention_hbm_traffic: Callable[..., float],
    sram_elements: int,
    causal: bool,
    bytes_per_number: int,
    number: int,
) -> TileStep:
    """Standard and flash attention on the example after `number` steps, with one of SRAM_SIZES."""
    block = _rows_in(sram_elements)
    inputs = example_inputs()
    problems: list[str] = []
    return TileStep(
        number=number,
        sram_elements=sram_elements,
        block=block,
        causal=causal,
        bytes_per_number=bytes_per_number,
        runs={
            STANDARD: standard_run(*inputs, block, causal),
            FLASH: flash_run(*inputs, block, block, causal),
        },
        readers_output=readers_attention(tiled_attention, block, causal, problems),
        traffic=readers_traffic(attention_hbm_traffic, sram_elements, block, problems),
        problems=problems,
    )


def tile_player(
    tiled_attention: Callable[..., tuple[Tensor, Tensor]],
    attention_hbm_traffic: Callable[..., float],
) -> VBox:
    """Step through both algorithms, by hand or by Play, for an SRAM of each size."""

    def compute(number: int, **settings: Any) -> TileStep:
        return tile_step(tiled_attention, attention_hbm_traffic, number=number, **settings)

    sizes = labelled(SelectionSlider, "SRAM size M (numbers)", options=SRAM_SIZES, value=256)
    steps = labelled(IntSlider, "step", value=8, min=1)
    play = Play(value=8, min=1, interval=1500)

    def fit(_: Any) -> None:
        # Standard attention has the most steps.
        steps.max = play.max = len(standard_run(*example_inputs(), _rows_in(sizes.value)))

    sizes.observe(fit, names="value")
    fit(None)
    jslink((play, "value"), (steps, "value"))
    widget = explorer(
        compute,
        number=steps,
        sram_elements=sizes,
        bytes_per_number=labelled(SelectionSlider, "bytes a number", options=[2, 4, 8], value=2),
        causal=labelled(Checkbox, "causal", value=False),
    )
    controls = widget.children[0]
    controls.children = (play, *controls.children)
    return widget

"""What attention moves between HBM and SRAM, against the size of the SRAM."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from course.widgets.exhibit import Exhibit, ReaderError, note, times
from course.widgets.hardware_aware_attention.kernels import FLASH, STANDARD, moved_elements
from course.widgets.hardware_aware_attention.roofline import positive_number
from course.widgets.style import BLACK, BLUE, TRUTH, VERMILLION, Look, new_figure, styled

NAME = "attention_hbm_traffic"
N, D = 4096, 64
A100_SRAM = 192 * 1024 // 2
"""Numbers of two bytes that the L1 and shared memory of one of its processors hold."""
SRAM_SIZES = [int(4 * D * 2 ** (e / 2)) for e in range(27)]
_STYLES: dict[str, Look] = {
    STANDARD: {"color": VERMILLION, "linestyle": "--"},
    FLASH: {"color": BLUE, "linestyle": "-"},
}


def leading_term(sram_elements: float) -> float:
    """8n²d²/M: what is left of flash attention's traffic where K and V are read many times."""
    return 8 * (N * D) ** 2 / sram_elements


@dataclass(kw_only=True)
class Traffic(Exhibit):
    """Elements moved by n = N tokens with head dimension D, for each of SRAM_SIZES.

    truth: added up tile by tile; mine: by the reader's formula, NaN where it gave no number.
    """

    truth: dict[str, list[int]]
    mine: dict[str, list[float]]

    def findings(self) -> str:
        """Where flash attention begins to move less, and how much less it moves on an A100."""
        moved = zip(SRAM_SIZES, self.truth[STANDARD], self.truth[FLASH], strict=True)
        worse = [m for m, standard, flash in moved if flash > standard]
        there = [moved_elements(N, D, A100_SRAM, algorithm) for algorithm in (STANDARD, FLASH)]
        least = self.truth[FLASH][-1]
        return (
            f"n = {N}, d = {D}. Flash attention moves more than standard up to M = {worse[-1]:,}, "
            f"and less from M = {SRAM_SIZES[len(worse)]:,} on; 2d² is {2 * D**2:,}. With the "
            f"{A100_SRAM:,} numbers of two bytes of an A100 it moves {there[1]:,} numbers, "
            f"standard {there[0]:,}, {times(there[0] / there[1])} as many. With all in one tile "
            f"it moves {least:,}: each input and output once."
        )

    @styled
    def draw(self) -> Figure:
        """Elements moved against the size of the SRAM, log–log."""
        figure = new_figure(height=4.4)
        axes = figure.subplots()
        for name, truth in self.truth.items():
            label = "added up, tile by tile" if name == FLASH else None
            axes.plot(SRAM_SIZES, truth, label=label, **TRUTH)
            if name in self.mine:
                axes.plot(
                    SRAM_SIZES, self.mine[name], label=f"{name}, your formula", **_STYLES[name]
                )
        many = [m for m in SRAM_SIZES if leading_term(m) > 2 * self.truth[FLASH][-1]]
        axes.plot(
            many, [leading_term(m) for m in many], color=BLACK, lw=1.3, ls=":", label="8n²d²/M"
        )
        top = max(map(max, self.truth.values()))
        for place, words in ((2 * D**2, "2d²"), (A100_SRAM, "A100"), (4 * N * D, "4nd")):
            axes.axvline(place, color=BLACK, lw=1, ls=":")
            axes.annotate(words, (place, 1.3 * top), (4, 0), textcoords="offset points", va="top")
        axes.set(
            title=f"Moved between HBM and SRAM, n = {N}, d = {D}",
            xlabel="SRAM size M (numbers)",
            ylabel="numbers moved",
            ylim=(self.truth[FLASH][-1] / 2, 1.5 * top),
        )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        ticks = SRAM_SIZES[::4]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        axes.legend(loc="center right")
        return figure


def traffic_against_sram(attention_hbm_traffic: Callable[..., Any]) -> Traffic:
    """What both algorithms move, for SRAMs of many sizes, by the reader's formula and added up."""
    problems: list[str] = []
    truth = {
        algorithm: [moved_elements(N, D, m, algorithm) for m in SRAM_SIZES]
        for algorithm in (STANDARD, FLASH)
    }
    mine: dict[str, list[float]] = {}
    for algorithm, right in truth.items():
        curve = []
        for m, elements in zip(SRAM_SIZES, right, strict=True):
            try:
                said = positive_number(NAME, attention_hbm_traffic, N, D, m, algorithm)
            except ReaderError as error:
                note(problems, error)
                said = math.nan
            curve.append(said)
            if abs(said / elements - 1) > 1e-9:
                note(
                    problems,
                    ReaderError(
                        f"{NAME} says {said:,.10g} for {algorithm} attention with an SRAM of "
                        f"{m:,} numbers; added up, {elements:,} are moved."
                    ),
                )
        if not all(map(math.isnan, curve)):
            mine[algorithm] = curve
    return Traffic(problems=problems, truth=truth, mine=mine)

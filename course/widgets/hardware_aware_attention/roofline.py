"""The roofline of this machine and of two GPUs, and where kernels lie under it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ipywidgets import Dropdown, SelectionSlider, VBox
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from course.hardware import Roof
from course.widgets.exhibit import (
    Exhibit,
    ReaderError,
    explorer,
    labelled,
    note,
    percent,
    run,
    times,
)
from course.widgets.hardware_aware_attention.kernels import (
    FLASH,
    HERE,
    STANDARD,
    D,
    N,
    Point,
    attainable,
    attention_flops,
    moved_elements,
    roofs,
    timed_kernels,
)
from course.widgets.style import BLACK, BLUE, GREY, SERIES, TRUTH, Look, new_figure, styled

INTENSITIES = [2 ** (e / 2) for e in range(-6, 27)]


def intensities(roof: Roof) -> list[float]:
    """Where a roof is drawn: at INTENSITIES, and where it bends."""
    return sorted([*INTENSITIES, roof.peak_flops / roof.bandwidth])


@dataclass(kw_only=True)
class Roofline(Exhibit):
    """A roof, by the reader's formula and the true one, and what lies under it.

    mine_roof: FLOPs a second at `intensities` by the reader's `roofline`, None where that does not
    run. moved: bytes that attention moves, by algorithm; attention: where that puts it; mine: where
    the reader's formulas put it. timed: kernels as they ran here.
    """

    machine: str
    roof: Roof
    setting: str
    mine_roof: list[float] | None
    moved: dict[str, int]
    attention: dict[str, Point]
    mine: dict[str, Point]
    timed: dict[str, Point]

    def findings(self) -> str:
        """Where the roof bends, what it allows both attentions, and how near to it kernels came."""
        roof = self.roof
        told = [
            f"{self.machine} ({roof.source}): {flops_words(roof.peak_flops)} and "
            f"{bytes_words(roof.bandwidth)}/s, so the roof bends at "
            f"{roof.peak_flops / roof.bandwidth:.3g} FLOPs a byte."
        ]
        if self.attention:
            each = "; ".join(
                f"{name} attention moves {bytes_words(self.moved[name])}, {point.intensity:.3g} "
                f"FLOPs a byte, which allows {flops_words(point.flops_a_second)} "
                f"({self._bound(point)})"
                for name, point in self.attention.items()
            )
            gain = self.attention[FLASH].flops_a_second / self.attention[STANDARD].flops_a_second
            faster = (
                f"So flash attention can be {times(gain)} as fast."
                if gain > 1.01
                else "The roof allows flash attention no more than standard attention."
            )
            told.append(f"{self.setting}: {each}. {faster}")
        if self.timed:
            each = ", ".join(
                f"{name} {flops_words(point.flops_a_second)} "
                f"({percent(point.flops_a_second / attainable(point.intensity, roof))})"
                for name, point in self.timed.items()
            )
            told.append(
                f"Timed at n = {N}, d = {D}, with the share of what the roof allows: {each}."
            )
        return " ".join(told)

    def _bound(self, point: Point) -> str:
        slope = point.intensity * self.roof.bandwidth < self.roof.peak_flops
        return "bound by memory" if slope else "bound by arithmetic"

    @styled
    def draw(self) -> Figure:
        """FLOPs a second against FLOPs a byte, log–log."""
        figure = new_figure(height=5.4)
        axes = figure.subplots()
        peak, bend = self.roof.peak_flops, self.roof.peak_flops / self.roof.bandwidth
        left, right = INTENSITIES[0], INTENSITIES[-1]
        bottom, top = attainable(left, self.roof) / 2, 4 * peak
        x = intensities(self.roof)
        axes.plot(x, [attainable(i, self.roof) for i in x], label="the roof", **TRUTH)
        dashes = (":", "--", "-.")
        for (name, bandwidth), dash in zip(self.roof.faster.items(), dashes, strict=False):
            label = f"from {name}: {bytes_words(bandwidth)}/s"
            ends = [left, peak / bandwidth], [left * bandwidth, peak]
            axes.plot(*ends, color=GREY, lw=1.3, ls=dash, label=label, zorder=1)
        if self.mine_roof is not None:
            axes.plot(x, self.mine_roof, color=BLUE, label="roofline")
        for (name, point), style in zip(self.timed.items(), SERIES, strict=False):
            marker = {"color": style["color"], "marker": style["marker"], "ms": 8, "ls": "none"}
            axes.plot(*point, label=f"timed: {name}", zorder=4, **marker)
        for name, point in self.attention.items():
            axes.plot(*point, marker="o", ms=17, color=GREY, alpha=0.55, ls="none", zorder=2)
            if mine := self.mine.get(name):
                # One that lies outside of the picture is drawn at its edge.
                place = (
                    min(max(mine.intensity, 1.2 * left), right / 1.2),
                    min(max(mine.flops_a_second, 1.2 * bottom), top / 1.2),
                )
                label = f"{name} attention, {self.setting}"
                letter: Look = {
                    "marker": f"${name[0].upper()}$",
                    "ms": 9,
                    "color": BLACK,
                    "ls": "none",
                }
                axes.plot(*place, label=label, zorder=5, **letter)
        axes.axvline(bend, color=BLACK, lw=1, ls=":")
        for words, side, gap in (("bound by memory", "right", -6), ("by arithmetic", "left", 6)):
            axes.annotate(
                words,
                (bend, 1),
                (gap, -12),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha=side,
            )
        axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
        axes.set(xlabel="intensity (FLOPs a byte)", ylabel="FLOPs a second", title=self.machine)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.13), ncols=2)
        return figure


def flops_words(flops_a_second: float) -> str:
    """FLOPs a second in words: "113 GFLOP/s"."""
    return EngFormatter(places=None, sep=" ")(float(f"{flops_a_second:.3g}")) + "FLOP/s"


def bytes_words(size: float) -> str:
    """Bytes in words: "1.56 TB"."""
    return EngFormatter(places=None, sep=" ")(float(f"{size:.3g}")) + "B"


def positive_number(name: str, function: Callable[..., Any], *arguments: Any) -> float:
    """What the reader's function returns, if it is a number above 0. Raises ReaderError."""
    value = run(name, function, *arguments)
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ReaderError(f"{name} did not return a number.") from None
    if not 0 < number < math.inf:
        raise ReaderError(f"{name} returned {number:g} where a number above 0 was expected.")
    return number


def roofline_points(
    arithmetic_intensity: Callable[..., Any],
    roofline: Callable[..., Any],
    attention_hbm_traffic: Callable[..., Any] | None = None,
    tiled_attention: Callable[..., Any] | None = None,
    machine: str = HERE,
    n: int = N,
    d: int = D,
    sram_kib: int = 192,
) -> Roofline:
    """The roof of a machine by the reader's formulas, and what lies under it.

    With `attention_hbm_traffic`, attention of one head is placed on the roof, its tiles in an SRAM
    of `sram_kib`. On this machine kernels are timed too, among them `tiled_attention`.
    """
    roof = roofs()[machine]
    problems: list[str] = []
    mine_roof = _mine_roof(roofline, roof, problems)
    try:
        intensity = positive_number("arithmetic_intensity", arithmetic_intensity, 6.0, 3.0)
        if abs(intensity - 2) > 1e-6:
            problems.append(f"arithmetic_intensity gives {intensity:.3g} for 6 FLOPs and 3 bytes.")
    except ReaderError as error:
        problems.append(str(error))
    moved, attention, mine = {}, {}, {}
    if attention_hbm_traffic is not None:
        flops, size = attention_flops(n, d), roof.bytes_per_element
        for algorithm in (STANDARD, FLASH):
            sizes = (n, d, sram_kib * 1024 // size, algorithm)
            elements = moved_elements(*sizes)
            moved[algorithm] = size * elements
            true_intensity = flops / moved[algorithm]
            attention[algorithm] = Point(true_intensity, attainable(true_intensity, roof))
            try:
                traffic = positive_number("attention_hbm_traffic", attention_hbm_traffic, *sizes)
                if abs(traffic / elements - 1) > 1e-9:
                    problems.append(
                        f"attention_hbm_traffic says {traffic:,.0f} elements for {algorithm} "
                        f"attention at n = {n}, d = {d} and {sizes[2]:,} elements of SRAM; added "
                        f"up, {elements:,} are moved."
                    )
                x = positive_number(
                    "arithmetic_intensity", arithmetic_intensity, flops, size * traffic
                )
                y = positive_number("roofline", roofline, x, roof.peak_flops, roof.bandwidth)
                mine[algorithm] = Point(x, y)
            except ReaderError as error:
                note(problems, error)
    timed: dict[str, Point] = {}
    if machine == HERE:
        timed, wrong = timed_kernels(tiled_attention)
        problems += wrong
    return Roofline(
        problems=problems,
        machine=machine,
        roof=roof,
        setting=f"n = {n}, d = {d}, SRAM {sram_kib} KiB",
        mine_roof=mine_roof,
        moved=moved,
        attention=attention,
        mine=mine,
        timed=timed,
    )


def _mine_roof(roofline: Callable[..., Any], roof: Roof, problems: list[str]) -> list[float] | None:
    """The reader's roof at `intensities`; what is wrong with it goes to `problems`."""
    try:
        mine = [
            positive_number("roofline", roofline, i, roof.peak_flops, roof.bandwidth)
            for i in intensities(roof)
        ]
    except ReaderError as error:
        problems.append(str(error))
        return None
    for intensity, value in zip(intensities(roof), mine, strict=True):
        truth = attainable(intensity, roof)
        if abs(value / truth - 1) > 1e-6:
            problems.append(
                f"roofline gives {flops_words(value)} at {intensity:.3g} FLOPs a byte; the roof is "
                f"at {flops_words(truth)}."
            )
            break
    return mine


def roofline_explorer(
    arithmetic_intensity: Callable[..., Any],
    roofline: Callable[..., Any],
    attention_hbm_traffic: Callable[..., Any],
    tiled_attention: Callable[..., Any] | None = None,
) -> VBox:
    """Standard and flash attention on the roof of a chosen machine: n, d and the SRAM move them."""

    def compute(machine: str, n: int, d: int, sram_kib: int) -> Roofline:
        return roofline_points(
            arithmetic_intensity,
            roofline,
            attention_hbm_traffic,
            tiled_attention,
            machine,
            n,
            d,
            sram_kib,
        )

    return explorer(
        compute,
        machine=labelled(Dropdown, "machine", options=list(roofs()), value=HERE),
        n=labelled(SelectionSlider, "n, tokens", options=[2**e for e in range(8, 16)], value=N),
        d=labelled(SelectionSlider, "d, head dimension", options=[16, 32, 64, 128, 256], value=D),
        sram_kib=labelled(
            SelectionSlider,
            "SRAM (KiB)",
            options=[16, 32, 64, 96, 192, 512, 1024, 4096],
            value=192,
        ),
    )

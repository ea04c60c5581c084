"""The memory hierarchy of this machine, measured, beside the document's and two GPUs'."""

from dataclasses import dataclass
from functools import cache

from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course.hardware import DOCUMENT, GPUS, SOURCES, WHOSE, Row
from course.memory_hierarchy import LINE, Hierarchy, Level, measure_hierarchy
from course.reader import table
from course.widgets.exhibit import Exhibit
from course.widgets.style import BLACK, SERIES, TRUTH, new_figure, styled

hierarchy_here = cache(measure_hierarchy)
"""The hierarchy of this machine, measured at the first call only."""


@dataclass(kw_only=True)
class MemoryHierarchy(Exhibit):
    """Latency and bandwidth against the working set, and the levels that they show."""

    hierarchy: Hierarchy

    def findings(self) -> str:
        """The levels with their latency and bandwidth, and what a chain of loads wastes."""
        levels = self.hierarchy.levels
        if not levels:
            return "The latency shows no level: at no three sizes in a row does it stay the same."
        shown = "; ".join(
            f"{level.name}{extent(level)}: {level.nanoseconds:.3g} ns, "
            f"{gigabytes(level.bytes_a_second)}"
            for level in levels
        )
        last = levels[-1]
        chained = LINE / (1e-9 * last.nanoseconds)
        return (
            f"The latency stays the same, and then rises, at these levels: {shown}. A load from "
            f"the last takes {last.nanoseconds / levels[0].nanoseconds:.3g} times as long as from "
            f"the first, reading in order only "
            f"{levels[0].bytes_a_second / last.bytes_a_second:.2g} times. Lines of {LINE} bytes, "
            f"each awaited before the next, would come from the last level at "
            f"{chained / 1e9:.2g} GB/s: read in order, about "
            f"{last.bytes_a_second / chained:.0f} are under way at once."
        )

    @styled
    def draw(self) -> Figure:
        """Nanoseconds a load and bytes a second against the working set, log–log."""
        figure = new_figure(height=4.4)
        latency, bandwidth = figure.subplots(1, 2)
        levels = self.hierarchy.levels
        panels = (
            (latency, self.hierarchy.nanoseconds, [level.nanoseconds for level in levels]),
            (
                bandwidth,
                [b / 1e9 for b in self.hierarchy.bandwidth],
                [level.bytes_a_second / 1e9 for level in levels],
            ),
        )
        for (axes, values, plateaus), style in zip(panels, SERIES, strict=False):
            axes.plot(self.hierarchy.sizes, values, **style | {"markersize": 4})
            for level, value in zip(levels, plateaus, strict=True):
                axes.plot([level.smallest, level.largest], [value] * 2, **TRUTH, zorder=1)
            axes.set(xscale="log", yscale="log", xlabel="working set (bytes)")
            axes.set_xticks([2**e for e in range(12, 29, 4)], ["4K", "64K", "1M", "16M", "256M"])
            axes.set_ylim(min(values) / 4, 2.5 * max(values))
            ticks = [t * 10.0**e for e in range(-1, 4) for t in (1, 2, 5)]
            axes.set_yticks([t for t in ticks if min(values) / 3 < t < 2 * max(values)])
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
            _mark_caches(axes, self.hierarchy.caches)
        for level in levels:
            latency.annotate(
                f"{level.name}\n{level.nanoseconds:.3g} ns",
                (level.largest, level.nanoseconds),
                (0, 7),
                textcoords="offset points",
                ha="right",
            )
        latency.set(title="Each load waits for the one before", ylabel="time a load (ns)")
        bandwidth.set(title="Read in order", ylabel="bandwidth (GB/s)")
        return figure


def _mark_caches(axes: Axes, caches: dict[str, int]) -> None:
    """A dotted line at each cache size that the system tells."""
    for name, size in caches.items():
        axes.axvline(size, color=BLACK, lw=1, ls=":")
        axes.annotate(
            f"{name} {size_words(size)}",
            (size, 0),
            (-3, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            ha="right",
            fontsize=9,
        )


def memory_hierarchy() -> MemoryHierarchy:
    """Measure this machine, or show what was measured before; takes some seconds once."""
    return MemoryHierarchy(hierarchy=hierarchy_here())


def hierarchy_table() -> Markdown:
    """The document's table, whose numbers those are, this machine's, and two GPUs', with sources.

    Registers are not measured. A level that the curve does not show is left empty.
    """
    here = {level.name: level for level in hierarchy_here().levels}
    levels = ["registers", *(name for name in here if name != "memory"), "memory"]
    rows = [
        [
            name,
            cell(DOCUMENT.get(name)),
            WHOSE.get(name, ""),
            cell(measured_row(here[name])) if name in here else "",
            *(cell(gpu.get(name)) for gpu in GPUS.values()),
        ]
        for name in levels
    ]
    headers = ["level", "the document", "whose that is", "this machine, one thread", *GPUS]
    sources = "<br>".join(f"[{key}] {source}" for key, source in SOURCES.items())
    return Markdown(f"{table(headers, rows).data}\n\n{sources}")


def measured_row(level: Level) -> Row:
    """A measured level in words."""
    size = extent(level).removeprefix(" ")
    return Row(size, f"{level.nanoseconds:.3g} ns", gigabytes(level.bytes_a_second))


def cell(row: Row | None) -> str:
    """The words of a row, one below the other."""
    return "" if row is None else "<br>".join(filter(None, (row.size, row.latency, row.bandwidth)))


def extent(level: Level) -> str:
    """Where a level ends, and what the system says of it, as far as there is anything to say."""
    ends = f" up to about {size_words(level.end)}" if level.end else ""
    return ends + (f" (the system says {size_words(level.told)})" if level.told else "")


def size_words(size: float) -> str:
    """Bytes in words: "48 KiB", "1.4 MiB"."""
    return f"{size / 2**20:.3g} MiB" if size >= 2**20 else f"{size / 2**10:.3g} KiB"


def gigabytes(bytes_a_second: float) -> str:
    """A bandwidth in words: "43 GB/s"."""
    return f"{bytes_a_second / 1e9:.3g} GB/s"

"""Tables, figure and results file of a benchmark."""

import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import harness
from benchmarks.harness import OK, Cell, Contender, Row

RESULTS = Path(__file__).parent / "results"
# Okabe and Ito's colours, which colour-blind readers can tell apart; markers differ as well.
STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"))
PASSES = {False: "forward", True: "forward + backward"}


def describe_machine(rows: Sequence[Row]) -> dict[str, str]:
    """Say what was measured where: processor, cores, system and the versions of all libraries."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        processor = next((x.split(":")[1].strip() for x in lines if "model name" in x), processor)
    packages = {contender.package for row in rows for contender in row.contenders} - {""}
    versions = {}
    for package in ("torch", "numpy", *sorted(packages)):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = harness.NOT_INSTALLED
    return {
        "processor": processor,
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        **versions,
    }


def _find(cells: Sequence[Cell], row: Row, contender: Contender, backward: bool) -> list[Cell]:
    key = (row.name, contender.name, backward)
    found = [c for c in cells if (c.row, c.contender, c.backward) == key]
    return sorted(found, key=lambda cell: cell.size)


def fastest_peer(cells: Sequence[Cell], row: Row, backward: bool) -> dict[int, Cell]:
    """Return for each size the fastest peer that computes the row's function, where one ran."""
    comparable = {c.name for c in row.contenders[1:] if not c.differs}
    fastest: dict[int, Cell] = {}
    for cell in cells:
        if (cell.row, cell.backward, cell.status) != (row.name, backward, OK):
            continue
        best = fastest.get(cell.size)
        if cell.contender in comparable and (best is None or cell.seconds < best.seconds):
            fastest[cell.size] = cell
    return fastest


def _passes(row: Row) -> tuple[bool, ...]:
    return (False, True) if row.backward else (False,)


def summary_table(rows: Sequence[Row], cells: Sequence[Cell]) -> Table:
    """One line for each row and pass: our time divided by the fastest comparable peer's."""
    table = Table(box=box.MARKDOWN)
    for heading in ("task", "pass", "ours / fastest peer, by size", "median", "worst"):
        table.add_column(heading)
    for row in rows:
        for backward in _passes(row):
            peers = fastest_peer(cells, row, backward)
            ratios = {size: cell.ratio for size, cell in peers.items() if cell.ratio is not None}
            text = ", ".join(f"{size}: {ratio:.2f}" for size, ratio in sorted(ratios.items()))
            numbers = ratios.values()
            table.add_row(
                row.name,
                PASSES[backward],
                text or "no comparable peer ran",
                f"{statistics.median(numbers):.2f}" if ratios else "",
                f"{max(numbers):.2f}" if ratios else "",
            )
    return table


def _time_text(cell: Cell) -> str:
    if cell.status != OK:
        return cell.status
    ratio = "" if cell.ratio is None else f" (×{cell.ratio:.2f})"
    return f"{1e3 * cell.seconds:.3g} ms{ratio}"


def _memory_text(cell: Cell) -> str:
    return cell.status if cell.status != OK else f"{cell.peak_bytes / 2**20:.1f} MiB"


def row_table(row: Row, cells: Sequence[Cell]) -> Table:
    """Time, ratio ours / theirs, peak memory and error of every contender at every size."""
    table = Table(box=box.MARKDOWN)
    sizes = (f"{row.size} = {size}" for size in row.sizes)
    for heading in ("contender", "measured", *sizes, "slope", "largest error"):
        table.add_column(heading)
    for backward in _passes(row):
        for quantity, text, value in (
            ("time", _time_text, lambda cell: cell.seconds),
            ("memory", _memory_text, lambda cell: cell.peak_bytes),
        ):
            for contender in row.contenders:
                found = _find(cells, row, contender, backward)
                points = [(c.size, value(c)) for c in found if c.status == OK and value(c)]
                slope = f"{harness.slope(*zip(*points, strict=True)):.2f}" if points[1:] else ""
                errors = [cell.error for cell in found if cell.error is not None]
                error = f"{max(errors):.0e}" if errors else "not the same function"
                if not any(cell.status in (OK, harness.OUTPUTS_DIFFER) for cell in found):
                    error = ""
                name = contender.name + (" †" if contender.differs else "")
                table.add_row(
                    name, f"{PASSES[backward]}, {quantity}", *map(text, found), slope, error
                )
    return table


def _notes(row: Row, cells: Sequence[Cell]) -> list[str]:
    notes = [row.note] if row.note else []
    notes += [f"† {c.name}: {c.differs}." for c in row.contenders if c.differs]
    for contender in row.contenders:
        failed = [c for c in cells if (c.row, c.contender) == (row.name, contender.name)]
        reasons = {(c.status, c.detail): c for c in reversed(failed) if c.status != OK and c.detail}
        for (status, detail), cell in reversed(reasons.items()):
            where = "" if status == harness.NOT_INSTALLED else f" at {row.size} = {cell.size}"
            where += "" if status == harness.NOT_INSTALLED else f", {PASSES[cell.backward]}"
            notes.append(f"{contender.name} {status}{where}: {detail}.")
    return notes


def print_report(console: Console, title: str, rows: Sequence[Row], cells: Sequence[Cell]) -> None:
    """Print everything as Markdown: machine, summary, and a table with notes for each row."""
    # Plain text, not markup: names may hold brackets.
    say = lambda text="": console.print(text, markup=False, highlight=False, soft_wrap=True)  # noqa: E731
    say(f"# {title}\n")
    say("; ".join(f"{k} {v}" for k, v in describe_machine(rows).items()) + ".\n")
    say(
        f"Times are the median CPU time of one thread over {harness.MIN_ROUNDS} to "
        f"{harness.MAX_ROUNDS} rounds in which the contenders take turns. ×r is our time divided "
        "by the contender's, the median over the rounds: below 1 the course's function is faster. "
        "Memory is the peak above the inputs in a fresh process. The slope is the exponent in the "
        "size. Errors are relative to float64. † computes another function, and is not counted as "
        f"a peer. A call over {harness.CALL_SECONDS:g} s or {harness.MEMORY_BUDGET / 2**30:g} GiB "
        "is over budget.\n"
    )
    counts = {
        status: sum(c.status == status for c in cells) for status in {c.status for c in cells}
    }
    say(f"Cells: {', '.join(f'{n} {status}' for status, n in sorted(counts.items()))}.\n")
    console.print(summary_table(rows, cells))
    for row in rows:
        say(f"\n## {row.name}\n")
        console.print(row_table(row, cells))
        for note in _notes(row, cells):
            say(f"\n{note}")


def draw(rows: Sequence[Row], cells: Sequence[Cell]) -> Figure:
    """Draw for each row the time of each pass and the peak memory against size, log–log."""
    figure = plt.figure(figsize=(14, 3.8 * len(rows)), layout="constrained")
    for row, part in zip(rows, figure.subfigures(len(rows), squeeze=False)[:, 0], strict=True):
        axes = part.subplots(1, 3)
        _draw_row(row, cells, axes)
        part.suptitle(row.name, fontweight="bold")
        part.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _draw_row(row: Row, cells: Sequence[Cell], axes: Sequence[Axes]) -> None:
    last = _passes(row)[-1]
    panels = (
        (False, "CPU time", "ms", lambda cell: 1e3 * (cell.seconds or 0)),
        (True, "CPU time", "ms", lambda cell: 1e3 * (cell.seconds or 0)),
        (last, "peak memory", "MiB", lambda cell: (cell.peak_bytes or 0) / 2**20),
    )
    for axis, (backward, quantity, unit, value) in zip(axes, panels, strict=True):
        if backward and not row.backward:
            axis.set_axis_off()
            axis.text(0.5, 0.5, "no gradient flows through it", ha="center", va="center")
            continue
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        for contender, (colour, marker) in zip(row.contenders, STYLES, strict=False):
            found = [cell for cell in _find(cells, row, contender, backward) if cell.status == OK]
            # A peak below what the process held before has no place on a logarithmic axis.
            points = [(cell.size, value(cell)) for cell in found if value(cell) > 0]
            axis.plot(
                [size for size, _ in points],
                [number for _, number in points],
                color=colour,
                marker=marker,
                linestyle="--" if contender.differs else "-",
                label=contender.name + (" (another function)" if contender.differs else ""),
            )
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xticks(row.sizes, [str(size) for size in row.sizes])
        axis.set_xlabel("n (tokens)" if row.size == "n" else row.size)
        axis.set_ylabel(f"{quantity} ({unit})")
        axis.grid(alpha=0.3)
        axis.set_title(f"{quantity}, {PASSES[backward]}", fontsize=10)


def save(title: str, topic: str, rows: Sequence[Row], cells: Sequence[Cell]) -> list[Path]:
    """Write results/topic.json, .md and .png, and return their paths."""
    RESULTS.mkdir(exist_ok=True)
    paths = [RESULTS / f"{topic}.{suffix}" for suffix in ("json", "md", "png")]
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe_machine(rows),
        "cells": [asdict(cell) for cell in cells],
    }
    paths[0].write_text(json.dumps(record, indent=1) + "\n")
    with paths[1].open("w") as file:
        print_report(Console(file=file, width=400), title, rows, cells)
    figure = draw(rows, cells)
    figure.savefig(paths[2], dpi=80)
    plt.close(figure)
    return paths


def measure_and_report(title: str, topic: str, rows: Sequence[Row]) -> int:
    """Measure every row, print and save the report; 1 if an output was refused or failed."""
    console = Console()
    cells: list[Cell] = []
    groups = sum(len(row.sizes) * (1 + row.backward) for row in rows)
    with Progress(console=console) as progress:
        task = progress.add_task("", total=groups)
        for group in harness.measure_rows(rows):
            cells += group
            where = f"{group[0].row}, {group[0].size}"
            progress.update(task, advance=1, description=where)
    print_report(console, title, rows, cells)
    for path in save(title, topic, rows, cells):
        console.print(f"wrote {path}")
    return int(any(cell.status in (harness.OUTPUTS_DIFFER, harness.FAILED) for cell in cells))

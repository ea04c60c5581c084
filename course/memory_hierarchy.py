"""The memory hierarchy of this machine, measured on one thread: latency and bandwidth by size."""

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import torch

from course.machine import usable_memory
from course.measure import one_thread

LINE = 64
"""Bytes that travel together: a cache line."""
_PER_LINE = LINE // 8

_LARGEST = 256 * 2**20
_PASSES = 3
_STEPS, _CALLS = 512, 400  # 512 steps fill 4 KiB with the indices met: little of the smallest cache
_BYTES_A_CALL = 32 * 2**20

_KEPT = 1.35
"""How far the latencies of one level may lie apart: the largest over the smallest."""
_SHORTEST = 3


@dataclass(frozen=True)
class Level:
    """Working sets for which the latency stays the same, from `smallest` to `largest` bytes.

    end: the working set at which the latency is half-way to the next level's, on a log scale; None
    where no slower level follows. told: the size that the system tells of this cache, if it does.
    """

    name: str
    smallest: int
    largest: int
    nanoseconds: float
    bytes_a_second: float
    end: float | None
    told: int | None


@dataclass(frozen=True)
class Hierarchy:
    """For each working set of `sizes` bytes: nanoseconds a load, and bytes read a second.

    caches: the sizes that the system tells, by name; empty where it tells none.
    """

    sizes: list[int]
    nanoseconds: list[float]
    bandwidth: list[float]
    caches: dict[str, int]

    @property
    def levels(self) -> list[Level]:
        """The plateaus of the latency, named after the caches in which they lie."""
        runs = plateaus(self.nanoseconds)
        names = level_names([(self.sizes[i], self.sizes[j - 1]) for i, j in runs], self.caches)
        latencies = [median(self.nanoseconds[i:j]) for i, j in runs]
        # No level is left where the next one is no slower.
        ends = [
            self._reaches(math.sqrt(here * after), j) if after > here else None
            for (_, j), (here, after) in zip(runs, pairwise(latencies), strict=False)
        ] + [None]
        return [
            Level(
                name,
                self.sizes[i],
                self.sizes[j - 1],
                latency,
                median(self.bandwidth[i:j]),
                end,
                self.caches.get(name),
            )
            for name, (i, j), latency, end in zip(names, runs, latencies, ends, strict=False)
        ]

    def _reaches(self, nanoseconds: float, start: int) -> float:
        """The working set, not before index `start`, whose load takes so long; in log–log."""
        after = next(i for i in range(start, len(self.sizes)) if self.nanoseconds[i] > nanoseconds)
        return math.exp(
            np.interp(
                math.log(nanoseconds),
                np.log(self.nanoseconds[after - 1 : after + 1]),
                np.log(self.sizes[after - 1 : after + 1]),
            )
        )


# --- what the system tells ------------------------------------------------------------------------


def told_caches() -> dict[str, int]:
    """Bytes of the data caches of a core, as Linux or macOS tell: {"L1": 49152, …}, or nothing."""
    caches = _sysctl_caches() if sys.platform == "darwin" else _sysfs_caches()
    return dict(sorted(caches.items()))


def _sysfs_caches(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> dict[str, int]:
    caches = {}
    for index in folder.glob("index*"):
        try:
            kind, level, size = (
                (index / name).read_text().strip() for name in ("type", "level", "size")
            )
            if kind != "Instruction":
                unit = {"K": 2**10, "M": 2**20, "G": 2**30}[size[-1]]
                caches[f"L{level}"] = int(size[:-1]) * unit
        except (OSError, ValueError, LookupError):
            continue
    return caches


def _sysctl_caches() -> dict[str, int]:
    caches = {}
    for name, key in {"L1": "l1dcachesize", "L2": "l2cachesize", "L3": "l3cachesize"}.items():
        # Where cores differ, the fast ones are "performance level" 0.
        for path in (f"hw.perflevel0.{key}", f"hw.{key}"):
            try:
                told = subprocess.run(["sysctl", "-n", path], capture_output=True, timeout=5)
                size = int(told.stdout)
            except (OSError, ValueError, subprocess.SubprocessError):
                continue
            if size > 0:
                caches[name] = size
                break
    return caches


# --- what is measured -----------------------------------------------------------------------------


def link_in_a_random_cycle(table: np.ndarray, generator: np.random.Generator) -> None:
    """Let the first entry of each cache line hold the index of the first entry of the next one.

    One cycle leads through all lines of the table in random order, so that no line can be fetched
    before the one before it has come. `table` is of intp, and a whole number of lines long.
    """
    order = generator.permutation(len(table) // _PER_LINE) * _PER_LINE
    table[order] = np.roll(order, -1)


def walk(table: np.ndarray, visited: np.ndarray) -> None:
    """Follow the table from visited[0]: visited[i + 1] = table[visited[i]], to the end.

    numpy takes one element after the other. As it writes each into the array in which it looks for
    the next index, a load must wait for the one before it: a chain of loads at the speed of C.
    """
    table.take(visited[:-1], out=visited[1:], mode="wrap")


def step_nanoseconds(table: np.ndarray) -> float:
    """Processor time of one step through a linked table, with the cost of the calls taken off.

    Raises RuntimeError where numpy does not follow the table element by element.
    """
    visited = np.zeros(_STEPS + 1, dtype=np.intp)
    walk(table, visited)
    if not np.array_equal(visited[1:], table[visited[:-1]]):
        raise RuntimeError("numpy's take no longer follows a table within one call.")

    def seconds(steps: int) -> float:
        part = visited[: steps + 1]
        start = time.process_time()
        for _ in range(_CALLS):
            walk(table, part)
            part[0] = part[-1]
        return time.process_time() - start

    of_calls = min(seconds(1) for _ in range(3))
    return 1e9 * (seconds(_STEPS) - of_calls) / (_CALLS * (_STEPS - 1))


def read_bandwidth(numbers: torch.Tensor) -> float:
    """Bytes a second at which torch sums the numbers, over and over in one call."""
    repeats = max(1, _BYTES_A_CALL // numbers.nbytes)
    rows = numbers.expand(repeats, -1)
    start = time.process_time()
    rows.sum(dim=-1)
    return repeats * numbers.nbytes / (time.process_time() - start)


def working_sets() -> list[int]:
    """Bytes from 4 KiB to 256 MiB, or to an eighth of the free memory: two sizes an octave."""
    largest = min(_LARGEST, psutil.virtual_memory().available // 8, usable_memory() // 8)
    halves = range(2 * 12, int(2 * math.log2(largest)) + 1)
    return [int(2 ** (half / 2)) // LINE * LINE for half in halves]


@one_thread()
def measure_hierarchy() -> Hierarchy:
    """Latency and bandwidth of this machine, the best of three passes; takes some seconds.

    A load reads an address that the load before it brought. In the smallest sets a step costs what
    the fastest cache costs, and storing the index. Large sets lie in large pages where the system
    gives them; where not, a load also waits for the page's address.
    """
    sizes = working_sets()
    # Written once, for memory that nobody wrote to is one and the same page of zeros.
    arena = np.full(sizes[-1] // 8, 0, dtype=np.intp)
    numbers = torch.from_numpy(arena).view(torch.float32)
    bandwidth = [0.0] * len(sizes)
    for _ in range(_PASSES + 1):
        for i, size in enumerate(sizes):
            bandwidth[i] = max(bandwidth[i], read_bandwidth(numbers[: size // 4]))
    nanoseconds = [math.inf] * len(sizes)
    generator = np.random.default_rng(0)
    for _ in range(_PASSES):
        for i, size in enumerate(sizes):
            table = arena[: size // 8]
            link_in_a_random_cycle(table, generator)
            nanoseconds[i] = min(nanoseconds[i], step_nanoseconds(table))
    return Hierarchy(sizes, never_falling(nanoseconds), bandwidth, told_caches())


def never_falling(values: Sequence[float]) -> list[float]:
    """Each value, or the smallest of those after it.

    A smaller set is never slower: where it seems so, other programs had the cache just then.
    """
    return [*accumulate(reversed(values), min)][::-1]


# --- what the curve shows -------------------------------------------------------------------------


def plateaus(values: Sequence[float]) -> list[tuple[int, int]]:
    """Runs (start, end) in which the values stay the same within a third: the longest runs first.

    The longest run that fits is a plateau; then what is left of it and what is right of it is
    searched likewise. Shorter runs than three are slopes. In order of position.
    """

    def search(start: int, end: int) -> list[tuple[int, int]]:
        runs = [
            (i, j)
            for i in range(start, end)
            for j in range(i + _SHORTEST, end + 1)
            if max(values[i:j]) <= _KEPT * min(values[i:j])
        ]
        if not runs:
            return []
        i, j = max(runs, key=lambda run: run[1] - run[0])
        return [*search(start, i), (i, j), *search(j, end)]

    return search(0, len(values))


def level_names(spans: Sequence[tuple[int, int]], caches: dict[str, int]) -> list[str]:
    """A name for each plateau from a smallest to a largest working set in bytes.

    It is the smallest cache that holds the plateau's middle, "memory" beyond the largest; a second
    plateau in one cache is marked. Where no caches are told, "level 1", "level 2" and so on.
    """
    if not caches:
        return [f"level {number}" for number in range(1, len(spans) + 1)]
    names: list[str] = []
    for smallest, largest in spans:
        middle = math.sqrt(smallest * largest)
        name = next((name for name, size in caches.items() if middle <= size), "memory")
        names.append(name if name not in names else f"{name}, second plateau")
    return names

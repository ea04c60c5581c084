"""Measure the solutions beside other libraries: same inputs, checked outputs, one run.

A topic declares `Row`s, each a task with its contenders, the course's own first; `measure_rows`
returns one `Cell` for each row, size, pass and contender, none left out.

- Time is the CPU time of one thread, so that other programs on the machine do not count. The
  contenders of a cell take turns, so that a slow moment meets all of them. A cell holds the median
  over the rounds; a ratio is the median of the ratios within a round.
- Memory is the growth of the peak resident set of a fresh process during one call, over what the
  process held with its inputs made and every library warmed up on a small input. It counts the
  output, the gradients and workspaces that torch's own counters do not see.
- Accuracy is the largest error, as a share of the largest entry, of the output and of each
  gradient from the course's own function run in float64. A contender declared to compute the
  same function that is further off than TOLERANCE is refused: it gets no time and no ratio.
- A call that needs more than CALL_SECONDS or MEMORY_BUDGET is over budget, and so are the larger
  sizes of that contender. The first call runs in a process that can be stopped.

Needs Linux or macOS, where the operating system keeps a process's peak resident set.
"""

import importlib.util
import math
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import psutil
import torch
from torch import Tensor

SEED = 0
TOLERANCE = 1e-3
CALL_SECONDS = 2.0
MEMORY_BUDGET = 4 * 2**30  # bytes
STOP_SECONDS = 30.0  # wall clock; includes starting the process and importing the library
ROUND_SECONDS = 2.0
MIN_ROUNDS, MAX_ROUNDS = 5, 25

OK = "ok"
NOT_INSTALLED = "not installed"
OVER_BUDGET = "over budget"
OUTPUTS_DIFFER = "outputs differ"
FAILED = "failed"


@dataclass(frozen=True)
class Contender:
    """One implementation of a row's task.

    `run` takes the row's inputs; it must be a function of a module, since it is sent to another
    process, and import its library when called. `package` is what pip installs, `module` what is
    imported. `differs` says how the function computed is not the row's; empty where it is.
    """

    name: str
    run: Callable[..., Tensor]
    package: str = ""
    module: str = ""
    differs: str = ""

    @property
    def installed(self) -> bool:
        """Whether the library can be imported here."""
        return not self.module or importlib.util.find_spec(self.module.split(".")[0]) is not None


@dataclass(frozen=True)
class Row:
    """A task, its contenders (the course's first) and its inputs at a size.

    `error` replaces the comparison with the float64 output where outputs are random: it takes an
    output and returns how far it is from what it must be. `size` says what the sizes count.
    """

    name: str
    contenders: tuple[Contender, ...]
    inputs: Callable[[int], tuple]
    sizes: tuple[int, ...]
    size: str = "n"
    backward: bool = True
    error: Callable[[Tensor], float] | None = None
    note: str = ""


@dataclass
class Cell:
    """What was measured of one contender at one size, or why nothing was.

    `seconds` and `ratio` (ours divided by this contender's, so below 1 ours is faster) are
    medians, `peak_bytes` is the memory above the inputs, `error` the relative error.
    """

    row: str
    contender: str
    size: int
    backward: bool
    status: str = OK
    detail: str = ""
    seconds: float | None = None
    ratio: float | None = None
    rounds: int = 0
    peak_bytes: int | None = None
    error: float | None = None


def seeded(*shape: int, dtype: torch.dtype = torch.float32, stream: int = 0) -> Tensor:
    """Draw standard normal numbers that depend only on the shape and on `stream`."""
    generator = torch.Generator().manual_seed(SEED + stream)
    return torch.randn(shape, dtype=dtype, generator=generator)


def call(run: Callable[..., Tensor], inputs: tuple, backward: bool) -> tuple[Tensor, ...]:
    """Run forward, and backward too if asked: the output, then the gradient of each tensor.

    The output's gradient is the output, detached: it costs nothing to make, and is not constant.
    """
    if not backward:
        with torch.no_grad():
            return (run(*inputs),)
    leaves = [x.detach().requires_grad_() for x in inputs]
    output = run(*leaves)
    return output.detach(), *torch.autograd.grad(output, leaves, output.detach())


def relative_error(results: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """Return the largest |result − truth| / max |truth| over pairs of tensors of one shape."""
    errors = []
    for result, true in zip(results, truth, strict=True):
        if result.shape != true.shape:
            return math.inf
        error = ((result - true).abs().max() / true.abs().max()).item()
        errors.append(math.inf if math.isnan(error) else error)
    return max(errors)


def take_turns(
    runs: Sequence[Callable[[], object]], clock: Callable[[], float] = time.process_time
) -> list[list[float]]:
    """Time the runs in turns, each round starting with another: the seconds of each by round."""
    seconds: list[list[float]] = [[] for _ in runs]
    begin = clock()
    for turn in range(MAX_ROUNDS):
        for i in range(len(runs)):
            which = (turn + i) % len(runs)
            start = clock()
            runs[which]()
            seconds[which].append(clock() - start)
        if turn + 1 >= MIN_ROUNDS and clock() - begin > ROUND_SECONDS:
            break
    return seconds


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median over the rounds of our seconds divided by theirs in the same round."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def slope(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Return the exponent p of the fit value ∝ sizeᵖ: least squares in log–log."""
    logs = [[math.log(x) for x in axis] for axis in (sizes, values)]
    return statistics.linear_regression(*logs).slope


def _peak_resident() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def _first_call(
    connection: Connection, run: Callable[..., Tensor], row: Row, size: int, backward: bool
) -> None:
    """In a process of its own: send (status, detail, peak bytes) of one call to the parent."""
    try:
        torch.set_num_threads(1)
        call(run, row.inputs(min(row.sizes) // 4), backward)
        inputs = row.inputs(size)
        process = psutil.Process()
        if sys.platform == "linux":
            limit = process.memory_info().vms + MEMORY_BUDGET
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        before, start = process.memory_info().rss, time.process_time()
        results = call(run, inputs, backward)
        seconds, peak = time.process_time() - start, max(_peak_resident() - before, 0)
        del results
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            detail = f"more than {MEMORY_BUDGET / 2**30:g} GiB"
            return connection.send((OVER_BUDGET, detail, None))
        return connection.send((FAILED, str(error), None))
    except Exception as error:
        return connection.send((FAILED, repr(error), None))
    if seconds > CALL_SECONDS or peak > MEMORY_BUDGET:
        detail = f"{seconds:.1f} s and {peak / 2**30:.1f} GiB a call"
        return connection.send((OVER_BUDGET, detail, peak))
    connection.send((OK, "", peak))


def _try_out(contender: Contender, row: Row, size: int, backward: bool) -> Cell:
    """Call the contender once in a fresh process: a cell with its peak memory and status."""
    cell = Cell(row.name, contender.name, size, backward)
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_first_call, args=(sender, contender.run, row, size, backward))
    process.start()
    sender.close()
    try:
        if receiver.poll(STOP_SECONDS):
            cell.status, cell.detail, cell.peak_bytes = receiver.recv()
        else:
            cell.status, cell.detail = OVER_BUDGET, f"stopped after {STOP_SECONDS:g} s"
    except EOFError:
        cell.status, cell.detail = FAILED, "the process died without an answer"
    process.kill()
    process.join()
    return cell


def _compare(row: Row, contender: Contender, results: tuple, truth: tuple | None) -> float | None:
    if row.error is not None:
        return row.error(results[0])
    return None if contender.differs else relative_error(results, truth)


def _time(row: Row, cells: list[Cell], size: int, backward: bool) -> None:
    """Fill in the error, the seconds and the ratio of the cells that are within budget."""
    inputs = row.inputs(size)
    truth = None
    if row.error is None:
        exact = tuple(x.to(torch.promote_types(x.dtype, torch.float64)) for x in inputs)
        truth = call(row.contenders[0].run, exact, backward)
    timed = []
    for contender, cell in zip(row.contenders, cells, strict=True):
        if cell.status != OK:
            continue
        cell.error = _compare(row, contender, call(contender.run, inputs, backward), truth)
        if cell.error is not None and not cell.error <= TOLERANCE:
            cell.status, cell.detail = OUTPUTS_DIFFER, f"relative error {cell.error:.1e}"
        else:
            timed.append((contender, cell))
    del truth
    runs = [lambda run=contender.run: call(run, inputs, backward) for contender, _ in timed]
    ours = None
    for (contender, cell), seconds in zip(timed, take_turns(runs), strict=True):
        cell.seconds, cell.rounds = statistics.median(seconds), len(seconds)
        ours = seconds if contender is row.contenders[0] else ours
        if ours is not None:
            cell.ratio = median_ratio(ours, seconds)


def _cells(row: Row, size: int, backward: bool, exhausted: set[str]) -> list[Cell]:
    cells = []
    for contender in row.contenders:
        cell = Cell(row.name, contender.name, size, backward)
        if not contender.installed:
            cell.status, cell.detail = NOT_INSTALLED, f"pip install {contender.package}"
        elif contender.name in exhausted:
            cell.status, cell.detail = OVER_BUDGET, "over budget at a smaller size"
        else:
            cell = _try_out(contender, row, size, backward)
        if cell.status == OVER_BUDGET:
            exhausted.add(contender.name)
        cells.append(cell)
    if any(cell.status == OK for cell in cells):
        _time(row, cells, size, backward)
    return cells


def measure_rows(rows: Sequence[Row]) -> Iterator[list[Cell]]:
    """Yield the cells of each row, pass and size in turn."""
    torch.set_num_threads(1)
    # The server that new processes are forked from imports once what all of them need.
    modules = {contender.module for row in rows for contender in row.contenders} - {""}
    multiprocessing.set_forkserver_preload(["benchmarks.report", *sorted(modules)])
    for row in rows:
        for backward in (False, True) if row.backward else (False,):
            exhausted: set[str] = set()
            for size in row.sizes:
                yield _cells(row, size, backward, exhausted)

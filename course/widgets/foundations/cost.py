"""What attention costs: counted and timed as n grows, and where memory gives out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from torch import Tensor

from course.machine import usable_memory
from course.measure import count_cost, fastest_seconds, flops_a_second, one_thread
from course.measure import scaling_exponent as true_exponent
from course.specifications.foundations import attention_query_by_query, count_attention
from course.widgets.exhibit import Exhibit, ReaderError, as_tensor, percent, run
from course.widgets.style import BLACK, BLUE, GREY, SERIES, TRUTH, new_figure, styled

# --- growth ---------------------------------------------------------------------------------------

NUM_HEADS, DIM = 4, 64
GROWTH_SIZES = [64, 128, 256, 512, 1024, 2048, 4096]
FITTED = 4
"""As many of the largest sizes are fitted: below them, each call's fixed cost hides the law."""

COUNTED, TIMED, TORCHS = "counted", "softmax_attention", "torch's own"


@dataclass(kw_only=True)
class Growth(Exhibit):
    """An attention at GROWTH_SIZES: operations, seconds, and seconds of torch's own, by label.

    exponents: of the same three, by label.
    """

    costs: Mapping[str, Sequence[float]]
    exponents: dict[str, float]

    def findings(self) -> str:
        """The exponents beside the predicted one, and the time for a score, which n² fixes."""
        first, last = GROWTH_SIZES[0], GROWTH_SIZES[-1]
        seconds = self.costs[TIMED]
        mine, theirs = (
            [1e9 * s / (NUM_HEADS * n**2) for n, s in zip(GROWTH_SIZES, values, strict=True)]
            for values in (seconds, self.costs[TORCHS])
        )
        least = min(mine)
        return (
            f"From n = {GROWTH_SIZES[-FITTED]} on, counted operations grow as "
            f"n^{self.exponents[COUNTED]:.2f} and processor time as "
            f"n^{self.exponents[TIMED]:.2f}, torch's own as n^{self.exponents[TORCHS]:.2f}; the "
            f"formula says n². From n = {first} to {GROWTH_SIZES[1]} the time grew "
            f"{seconds[1] / seconds[0]:.1f} times, where n² says 4. Each score took "
            f"{mine[0]:.1f} ns at n = {first}, {least:.1f} ns at "
            f"n = {GROWTH_SIZES[mine.index(least)]} and {mine[-1]:.1f} ns at n = {last}; torch's "
            f"{theirs[-1]:.1f} ns there."
        )

    @styled
    def draw(self) -> Figure:
        """Operations and milliseconds against n, log–log, each beside a line of slope 2."""
        figure = new_figure(height=4.2)
        left, right = figure.subplots(1, 2)
        panels = {COUNTED: (left, 1), TIMED: (right, 1e3), TORCHS: (right, 1e3)}
        for style, (name, (axes, unit)) in zip(SERIES, panels.items(), strict=False):
            costs = [unit * cost for cost in self.costs[name]]
            if name != TORCHS:
                law = [costs[-1] * (n / GROWTH_SIZES[-1]) ** 2 for n in GROWTH_SIZES]
                axes.plot(GROWTH_SIZES, law, label="predicted: $n^{2}$", **TRUTH)
            label = f"{name}: $n^{{{self.exponents[name]:.2f}}}$"
            axes.plot(GROWTH_SIZES, costs, label=label, **style)
        left.set(title="Counted operations", ylabel="operations")
        right.set(title="The clock, on one thread", ylabel="processor time (ms)")
        for axes in (left, right):
            axes.axvspan(GROWTH_SIZES[-FITTED], GROWTH_SIZES[-1], color=GREY, alpha=0.12, lw=0)
            axes.set_xlabel("sequence length n (tokens)")
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(GROWTH_SIZES, [str(n) for n in GROWTH_SIZES])
            axes.legend(loc="upper left", title="fitted where the ground is grey")
        return figure


def _plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1) @ v


def _attention_problems(softmax_attention: Callable[..., Tensor]) -> list[str]:
    """A sentence if it is not attention on a short sequence."""
    name = "softmax_attention"
    q, k, v = torch.randn(3, 1, 2, 9, 4, generator=torch.Generator().manual_seed(0))
    try:
        output = as_tensor(name, run(name, softmax_attention, q, k, v), (1, 2, 9, 4))
    except ReaderError as error:
        return [str(error)]
    truth = attention_query_by_query(q, k, v).double()
    off = ((output - truth).norm() / truth.norm()).item()
    return [] if off < 1e-3 else [f"{name} is not attention: its output is {percent(off)} off."]


def _exponent_problems(scaling_exponent: Callable[..., float]) -> list[str]:
    """A sentence if it is not the least-squares slope in log–log of four costs."""
    name = "scaling_exponent"
    sizes, costs = [1, 2, 4, 8], [3.0, 5.0, 30.0, 60.0]
    truth = true_exponent(sizes, costs)
    try:
        exponent = float(run(name, scaling_exponent, sizes, costs))
    except ReaderError as error:
        return [str(error)]
    except (TypeError, ValueError, RuntimeError):
        return [f"{name} did not return a number."]
    if abs(exponent - truth) < 1e-3:
        return []
    return [
        f"{name} gives {exponent:.3g} for the costs {costs} at the sizes {sizes}: the slope in "
        f"log–log is {truth:.3g}."
    ]


@one_thread()
def growth(
    softmax_attention: Callable[..., Tensor], scaling_exponent: Callable[..., float]
) -> Growth:
    """Count and time the reader's attention beside torch's, and fit exponents by their function.

    The sequences have 4 heads with d = 64. torch's attention never writes the score matrix.

    Where a function does not run or is wrong, a right one takes its place and the text says so.
    """
    problems = _attention_problems(softmax_attention)
    if problems:
        problems.append("Attention by definition is measured in its place.")
        softmax_attention = _plain_attention
    if unfit := _exponent_problems(scaling_exponent):
        problems += [*unfit, "The exponents are those of the course."]
        scaling_exponent = true_exponent
    runs: dict[Any, Callable[[], Any]] = {}
    work: list[int] = []
    for n in GROWTH_SIZES:
        tensors = torch.randn(3, 1, NUM_HEADS, n, DIM, generator=torch.Generator().manual_seed(n))
        for name, function in {
            TIMED: softmax_attention,
            TORCHS: F.scaled_dot_product_attention,
        }.items():
            runs[name, n] = partial(function, *tensors)
        work.append(count_cost(runs[TIMED, n]).work)
    seconds = fastest_seconds(runs, repeats=20, budget=0.6)
    costs = {COUNTED: work} | {
        name: [seconds[name, n] for n in GROWTH_SIZES] for name in (TIMED, TORCHS)
    }
    exponents = {
        name: float(scaling_exponent(GROWTH_SIZES[-FITTED:], values[-FITTED:]))
        for name, values in costs.items()
    }
    return Growth(problems=problems, costs=costs, exponents=exponents)


# --- attention_costs ------------------------------------------------------------------------------

COST_SIZES = [2**exponent for exponent in range(8, 21)]
_HERE = float(usable_memory())
HERE = f"this machine ({_HERE / 1e9:.0f} GB)"
MEMORIES = {"a 24 GB card": 24e9, "an 80 GB card": 80e9, HERE: _HERE}


@dataclass(kw_only=True)
class AttentionCosts(Exhibit):
    """Bytes and FLOPs at COST_SIZES for one choice of heads, and the largest n for each memory.

    `mine` is (bytes, FLOPs) by the reader's formula, None where it does not run; `truth` is what a
    short run counted, continued by its law. `largest` is the n at which each memory is full.
    """

    setting: str
    mine: tuple[list[float], list[float]] | None
    truth: tuple[list[float], list[float]]
    input_bytes: list[float]
    largest: dict[str, int]
    flops_per_square: float

    def findings(self) -> str:
        """Where each memory gives out, and how long the products of that n would take here."""
        gives_out = ", ".join(f"{name} at n = {n:,}" for name, n in self.largest.items())
        seconds = self.flops_per_square * self.largest[HERE] ** 2 / flops_a_second()
        return (
            f"{self.setting}. Inputs and score matrices alone fill {gives_out}. Four times the "
            f"memory buys twice the n. The products of the last would take {duration(seconds)} on "
            f"one thread here, at {flops_a_second() / 1e9:.0f} GFLOP a second."
        )

    @styled
    def draw(self) -> Figure:
        """Bytes and FLOPs against n, log–log; memories are horizontal lines."""
        figure = new_figure(height=4.6)
        memory, work = figure.subplots(1, 2)
        for axes, index, label in ((memory, 0, "bytes"), (work, 1, "FLOPs")):
            axes.plot(COST_SIZES, self.truth[index], label="counted, continued", **TRUTH)
            if self.mine is not None:
                axes.plot(COST_SIZES, self.mine[index], color=BLUE, label="attention_cost")
            axes.set(xscale="log", yscale="log", xlabel="sequence length n (tokens)", ylabel=label)
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        memory.plot(
            COST_SIZES, self.input_bytes, color=BLACK, lw=1.2, ls="--", label="inputs alone"
        )
        for style, (name, size) in zip(SERIES[1:], MEMORIES.items(), strict=False):
            line = {"color": style["color"], "ls": style["linestyle"], "lw": 1.4}
            n = self.largest[name]
            memory.axhline(size, label=f"{name}: n = {n:,}", **line)
            memory.plot([n], [size], color=style["color"], marker=style["marker"], ms=8)
        for words, seconds in {"second": 1, "minute": 60, "hour": 3600, "day": 86400}.items():
            flops = seconds * flops_a_second()
            work.axhline(flops, color=GREY, lw=1, ls=":")
            work.text(COST_SIZES[0], flops, f"1 {words} here", va="bottom")
        work.margins(y=0.12)  # so that no text reaches the title
        memory.set_title("Inputs and score matrices")
        work.set_title("The two matrix products")
        for axes in (memory, work):
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=1)
        return figure


def duration(seconds: float) -> str:
    """Seconds in words: "0.25 s", "3.4 minutes", "12 hours", "40 days"."""
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _costs_by(
    attention_cost: Callable[..., tuple[int, int, int]], d: int, num_heads: int, size: int
) -> list[tuple[float, float, float]]:
    """What the reader's formula says at COST_SIZES. Raises ReaderError."""
    name = "attention_cost"
    costs = []
    for n in COST_SIZES:
        returned = run(name, attention_cost, n, d, num_heads, size)
        try:
            flops, score_bytes, input_bytes = map(float, returned)
        except (TypeError, ValueError):
            raise ReaderError(f"{name} did not return three numbers.") from None
        if not min(flops, score_bytes, input_bytes) > 0:
            raise ReaderError(f"{name} returned a number that is not above 0.")
        costs.append((flops, score_bytes, input_bytes))
    return costs


def attention_costs(
    attention_cost: Callable[..., tuple[int, int, int]],
    d: int,
    num_heads: int,
    bytes_per_element: int,
    kept: int,
) -> AttentionCosts:
    """Bytes and FLOPs of attention by the reader's formula, `kept` times over.

    Training keeps the scores of every layer and every sequence of the batch for the backward pass.
    """
    counted_n = 64
    counted = count_attention(counted_n, d, num_heads, bytes_per_element)
    a_square, b_square, per_token = (
        kept * cost / counted_n**power for cost, power in zip(counted, (2, 2, 1), strict=True)
    )
    truth = (
        [b_square * n**2 + per_token * n for n in COST_SIZES],
        [a_square * n**2 for n in COST_SIZES],
    )
    problems, mine = [], None
    try:
        costs = _costs_by(attention_cost, d, num_heads, bytes_per_element)
        mine = ([kept * (s + i) for _, s, i in costs], [kept * f for f, _, _ in costs])
        for quantity, said, right in zip(("bytes", "FLOPs"), mine, truth, strict=True):
            if not all(abs(a / b - 1) < 1e-9 for a, b in zip(said, right, strict=True)):
                problems.append(
                    f"attention_cost says {said[0]:,.0f} {quantity} at n = {COST_SIZES[0]}, a run "
                    f"has {right[0]:,.0f}."
                )
    except ReaderError as error:
        problems.append(str(error))
    largest = {
        # The positive root of b n² + p n = memory.
        name: int(((per_token**2 + 4 * b_square * size) ** 0.5 - per_token) / (2 * b_square))
        for name, size in MEMORIES.items()
    }
    return AttentionCosts(
        problems=problems,
        setting=(
            f"Heads: {num_heads}, d = {d}, {bytes_per_element} bytes a number, "
            f"layers × sequences: {kept}"
        ),
        mine=mine,
        truth=truth,
        input_bytes=[per_token * n for n in COST_SIZES],
        largest=largest,
        flops_per_square=a_square,
    )

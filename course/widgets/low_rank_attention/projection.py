"""Random projections and Linformer at work: what a projection distorts, and what attention loses.

The projections and the attention are the reader's. They are held against the bound of Johnson and
Lindenstrauss, and against softmax attention in float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor

from course.measure import one_thread, scaling_exponent
from course.specifications.low_rank_attention import (
    attention_over_mixtures,
    distortions,
    means_of_segments,
)
from course.widgets.exhibit import (
    Exhibit,
    ReaderError,
    as_tensor,
    not_finite,
    note,
    percent,
    run,
    times,
)
from course.widgets.low_rank_attention.sequences import (
    KINDS,
    LENGTH,
    example_sequence,
    relative_error,
    softmax_weights,
)
from course.widgets.style import BLACK, SERIES, TRUTH, new_figure, styled, write_in_place

PROJECTION, DISTORTION, LINFORMER = (
    "johnson_lindenstrauss_projection",
    "distortion",
    "linformer_attention",
)
POINTS = 48


def promised_distortion(k: int, num_points: int) -> float:
    """The ε for which the lemma asks for k columns: k = 4 ln(p) / (ε²/2 − ε³/3).

    Infinite where that has no solution with ε below 1. With so many columns a draw keeps all
    squared distances within 1 ± ε with a probability of at least 1/p (Dasgupta and Gupta 2003).
    """
    asked = 4 * math.log(num_points) / k
    low, high = 0.0, 1.0
    if asked >= high**2 / 2 - high**3 / 3:
        return math.inf
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if middle**2 / 2 - middle**3 / 3 < asked else (low, middle)
    return high


def draw_projection(projection: Callable, n: int, k: int, generator: Generator) -> Tensor:
    """The reader's projection, (n, k), in float64. Raises ReaderError where there is none."""
    return as_tensor(PROJECTION, run(PROJECTION, projection, n, k, generator), (n, k))


def projection_problems(projection: Callable) -> list[str]:
    """A sentence if squared lengths are not kept on average: 64 draws, 64 numbers to 64."""
    generator = Generator().manual_seed(1)
    try:
        draws = torch.stack([draw_projection(projection, 64, 64, generator) for _ in range(64)])
    except ReaderError as error:
        return [str(error)]
    square = draws.square().sum(dim=-1).mean().item()
    if found := not_finite(PROJECTION, draws):
        return found
    if abs(square - 1) < 0.05:
        return []
    return [f"{PROJECTION}: ‖Eᵀx‖² is {times(square)} ‖x‖² on average, where once is expected."]


# --- projection_distortion ------------------------------------------------------------------------


@dataclass(kw_only=True)
class ProjectionDistortion(Exhibit):
    """The largest distortion of POINTS points against k, for vectors of n numbers.

    measured[n] has (mean, smallest, largest) over the draws for each of `columns`.
    """

    columns: list[int]
    promised: list[float]
    measured: dict[int, list[tuple[float, float, float]]]

    def findings(self) -> str:
        """The distortion at the largest k, its slope, and what the lemma promises there."""
        k = self.columns[-1]
        told = []
        for n, curve in self.measured.items():
            means = [mean for mean, _, _ in curve]
            slope = scaling_exponent(self.columns[2:], means[2:])
            told.append(f"{means[-1]:.2f} for n = {n:,} (slope {slope:.2f})")
        return (
            f"The worst of {POINTS * (POINTS - 1) // 2} distances at k = {k}, mean over draws: "
            f"{' and '.join(told) or 'not measured'}. The lemma promises {self.promised[-1]:.2f}, "
            "and 1/√k has the slope −0.50."
        )

    @styled
    def draw(self) -> Figure:
        """Largest distortion against k, log–log, with the range of the draws and the promise."""
        figure = new_figure(height=4.2)
        axes = figure.subplots()
        axes.plot(self.columns, self.promised, label="promised by the lemma", **TRUTH)
        for style, (n, curve) in zip(SERIES, self.measured.items(), strict=False):
            mean, low, high = zip(*curve, strict=True)
            axes.plot(self.columns, mean, label=f"measured, n = {n:,}", **style)
            axes.fill_between(self.columns, low, high, color=style["color"], alpha=0.18, lw=0)
        typical = [math.sqrt(2 / k) for k in self.columns]
        axes.plot(self.columns, typical, color=BLACK, lw=1, ls=":", label="σ of one pair, √(2/k)")
        axes.set(
            title=f"The worst of all distances between {POINTS} points",
            xlabel="columns of the projection k",
            ylabel="distortion |‖Eᵀx‖²/‖x‖² − 1|",
        )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(self.columns, [str(k) for k in self.columns])
        if not self.measured:
            write_in_place(axes, "nothing of yours to show")
        axes.legend(loc="upper right")
        return figure


def _measure(
    projection: Callable, distortion: Callable, n: int, k: int, generator: Generator
) -> float:
    points = torch.randn(POINTS, n, generator=generator)
    drawn = draw_projection(projection, n, k, generator).float()
    value = run(DISTORTION, distortion, points, drawn)
    return as_tensor(DISTORTION, value, ()).item()


def _distortion_problems(distortion: Callable) -> list[str]:
    """A sentence if the function differs from the specification on a few points."""
    generator = Generator().manual_seed(2)
    points, drawn = torch.randn(6, 9, generator=generator), torch.randn(9, 3, generator=generator)
    truth = distortions(points.double(), drawn.double()).max().item()
    try:
        value = as_tensor(DISTORTION, run(DISTORTION, distortion, points, drawn), ()).item()
    except ReaderError as error:
        return [str(error)]
    if abs(value - truth) <= 1e-3 * truth:
        return []
    return [f"{DISTORTION} is {value:.3g} for six points where {truth:.3g} is right."]


@one_thread()
def projection_distortion(
    johnson_lindenstrauss_projection: Callable, distortion: Callable, num_draws: int = 12
) -> ProjectionDistortion:
    """Measure the largest distortion of normal points, for short and for long vectors."""
    problems = projection_problems(johnson_lindenstrauss_projection)
    problems += _distortion_problems(distortion)
    generator = Generator().manual_seed(3)
    columns = [2**exponent for exponent in range(3, 10)]
    measured = {}
    for n in (512, 4096):
        try:
            draws = [
                [
                    _measure(johnson_lindenstrauss_projection, distortion, n, k, generator)
                    for _ in range(num_draws)
                ]
                for k in columns
            ]
        except ReaderError as error:
            note(problems, error)
            continue
        curve = [(sum(values) / num_draws, min(values), max(values)) for values in draws]
        if all(math.isfinite(x) and x > 0 for point in curve for x in point):
            measured[n] = curve
    promised = [promised_distortion(k, POINTS) for k in columns]
    return ProjectionDistortion(
        problems=problems, columns=columns, promised=promised, measured=measured
    )


# --- linformer_error ------------------------------------------------------------------------------

DRAWN, AVERAGES, PROJECTED = "E, F drawn", "E = F: averages of neighbours", "softmax, then drawn E"


@dataclass(kw_only=True)
class LinformerError(Exhibit):
    """The relative error of the output against k, by kind of sequence and by way to project.

    errors[kind][way] has one entry for each of `columns`; `least[kind]` is what the best matrix of
    rank k in place of the attention weights reaches.
    """

    columns: list[int]
    errors: dict[str, dict[str, list[float]]]
    least: dict[str, list[float]]

    def findings(self) -> str:
        """The error of every way at one k, for each kind."""
        at = len(self.columns) // 2
        told = []
        for kind, curves in self.errors.items():
            ways = ", ".join(f"{way} {percent(curve[at])}" for way, curve in curves.items())
            told.append(f"{kind}: {ways or 'not measured'}")
        return (
            f"Error of the output at k = {self.columns[at]} of {LENGTH} tokens. {'; '.join(told)}."
        )

    @styled
    def draw(self) -> Figure:
        """Error against k, one panel a kind, one line a way, beside the best of rank k."""
        figure = new_figure(height=4.4)
        panels = figure.subplots(1, len(KINDS), sharey=True)
        for axes, kind in zip(panels, KINDS, strict=True):
            axes.plot(self.columns, self.least[kind], label="best weights of rank k", **TRUTH)
            for style, (way, curve) in zip(SERIES, self.errors[kind].items(), strict=False):
                axes.plot(self.columns, curve, label=way, **style)
            axes.axhline(1, color=BLACK, lw=1, ls=":")
            axes.set(title=f"{kind} sequence", xlabel="columns k")
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(self.columns, [str(k) for k in self.columns])
            axes.set_ylim(1e-3, 100)
            if not self.errors[kind]:
                write_in_place(axes, "nothing of yours to show", y=0.9)
        panels[0].set_ylabel("error of the output, relative")
        handles = max(
            (axes.get_legend_handles_labels() for axes in panels), key=lambda h: len(h[0])
        )
        figure.legend(*handles, loc="outside lower center", ncols=4, columnspacing=1.2)
        return figure


def averages(n: int, k: int) -> Tensor:
    """E whose columns average segments of neighbours: EᵀX are the means of X's rows, (n, k)."""
    return means_of_segments(torch.eye(n, dtype=torch.float64), k).mT.contiguous()


def _linformer(
    linformer_attention: Callable, q: Tensor, k: Tensor, v: Tensor, *ef: Tensor
) -> Tensor:
    output = run(LINFORMER, linformer_attention, q, k, v, *ef)
    return as_tensor(LINFORMER, output, (*q.shape[:-1], v.shape[-1]))


def _linformer_problems(linformer_attention: Callable) -> list[str]:
    """A sentence if the function differs from the specification on a few tokens."""
    generator = Generator().manual_seed(4)
    q, k, v = torch.randn(3, 2, 7, 4, generator=generator, dtype=torch.float64)
    e, f = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)
    try:
        output = _linformer(linformer_attention, q, k, v, e, f)
    except ReaderError as error:
        return [str(error)]
    off = relative_error(output, attention_over_mixtures(q, k, v, e, f))
    if off < 1e-6:
        return []
    return [f"{LINFORMER} differs from softmax(Q(EᵀK)ᵀ/√d) FᵀV by {percent(off)}."]


def least_error(weights: Tensor, v: Tensor, ranks: list[int]) -> list[float]:
    """The error of the output with the best approximation of `weights` of each rank."""
    u, s, vh = torch.linalg.svd(weights)
    truth = weights @ v
    return [
        relative_error((u[..., :rank] * s[..., None, :rank]) @ (vh[..., :rank, :] @ v), truth)
        for rank in ranks
    ]


@one_thread()
def linformer_error(
    linformer_attention: Callable, johnson_lindenstrauss_projection: Callable
) -> LinformerError:
    """Attend with k mixtures of LENGTH tokens: drawn ones, averages, and after the softmax."""
    problems = _linformer_problems(linformer_attention)
    problems += projection_problems(johnson_lindenstrauss_projection)
    columns = [4, 8, 16, 32, 64, 128]
    errors: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    least = {}
    for kind in KINDS:
        q, k, v = example_sequence(kind)
        weights = softmax_weights(q, k)
        truth = weights @ v
        least[kind] = least_error(weights, v, columns)
        generator = Generator().manual_seed(5)
        drawn: list[tuple[Tensor, Tensor]] = []
        try:
            for c in columns:
                e, f = (
                    draw_projection(johnson_lindenstrauss_projection, LENGTH, c, generator)
                    for _ in range(2)
                )
                drawn.append((e, f))
            after = [relative_error((weights @ e) @ (e.mT @ v), truth) for e, _ in drawn]
            errors[kind][PROJECTED] = after
        except ReaderError as error:
            note(problems, error)
        mean = [(averages(LENGTH, c),) * 2 for c in columns]
        for way, projections in ((DRAWN, drawn), (AVERAGES, mean)):
            try:
                outputs = [_linformer(linformer_attention, q, k, v, *ef) for ef in projections]
            except ReaderError as error:
                note(problems, error)
                continue
            if outputs:
                errors[kind][way] = [relative_error(output, truth) for output in outputs]
    return LinformerError(problems=problems, columns=columns, errors=errors, least=least)

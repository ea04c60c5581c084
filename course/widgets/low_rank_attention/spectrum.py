"""The spectrum of attention at work: how well the best matrix of rank k stands for it.

The spectrum and the effective rank are the reader's. They are held against torch's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from course.measure import one_thread
from course.widgets.exhibit import (
    Exhibit,
    ReaderError,
    as_tensor,
    not_finite,
    note,
    percent,
    run,
)
from course.widgets.low_rank_attention.sequences import (
    KINDS,
    LENGTH,
    brightest,
    example_sequence,
    missed_by_rank,
    relative_error,
    softmax_weights,
)
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

ENERGY = 0.99
TEMPERATURES = [4.0, 1.0, 0.25]
SPECTRUM, RANK = "attention_spectrum", "effective_rank"


def right_ranks(attention: Tensor) -> Tensor:
    """The first rank whose best approximation keeps ENERGY of the squares, for each matrix."""
    missed = missed_by_rank(torch.linalg.svdvals(attention)).square()
    return (missed > 1 - ENERGY).sum(dim=-1)


def read_spectrum(attention_spectrum: Callable, attention: Tensor, problems: list[str]) -> Tensor:
    """The reader's singular values of (heads, n, n), (heads, n); notes where they are wrong.

    Raises ReaderError where there are none.
    """
    truth = torch.linalg.svdvals(attention)
    values = run(SPECTRUM, attention_spectrum, attention)
    values = as_tensor(SPECTRUM, values, tuple(truth.shape))
    found = not_finite(SPECTRUM, values)
    off = relative_error(values, truth)
    if not found and off > 1e-4:
        found = [f"{SPECTRUM} differs from the singular values by {percent(off)}."]
    problems += [sentence for sentence in found if sentence not in problems]
    return values


def read_ranks(effective_rank: Callable, attention: Tensor, problems: list[str]) -> Tensor:
    """The reader's effective rank of each matrix, (heads,); notes where one is wrong.

    Raises ReaderError where there is none.
    """
    ranks = run(RANK, effective_rank, attention, ENERGY)
    ranks = as_tensor(RANK, ranks, (len(attention),))
    if found := not_finite(RANK, ranks):
        raise ReaderError(found[0])
    wrong = f"{RANK} is not the smallest rank that keeps {percent(ENERGY)} of the squares."
    if not torch.equal(ranks, right_ranks(attention).double()) and wrong not in problems:
        problems.append(wrong)
    return ranks


# --- spectra --------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Spectra(Exhibit):
    """The least error of each rank, (LENGTH + 1,), and the effective rank, both means over heads.

    missed[kind][temperature] and ranks[kind][temperature]; empty where the reader's functions
    cannot be run. `truth` is as `missed`, from torch's singular values.
    """

    missed: dict[str, dict[float, Tensor]]
    truth: dict[str, dict[float, Tensor]]
    ranks: dict[str, dict[float, float]]

    def findings(self) -> str:
        """The effective rank of each kind at each temperature."""
        told = []
        for kind, ranks in self.ranks.items():
            by_temperature = ", ".join(f"{rank:.1f} at T = {t:g}" for t, rank in ranks.items())
            told.append(f"{kind}: {by_temperature}")
        if not told:
            return "The spectra by torch are shown alone."
        return (
            f"Effective rank for {percent(ENERGY)} of the squares (an error of "
            f"{percent((1 - ENERGY) ** 0.5)}), of {LENGTH}, mean over the heads. {'; '.join(told)}."
        )

    @styled
    def draw(self) -> Figure:
        """The least error against the rank, one panel a kind, one line a temperature."""
        figure = new_figure(height=4.2)
        panels = figure.subplots(1, len(KINDS), sharey=True)
        for axes, kind in zip(panels, KINDS, strict=True):
            for curve in self.truth[kind].values():
                axes.plot(curve.numpy(), **TRUTH)
            for style, (t, curve) in zip(SERIES, self.missed[kind].items(), strict=False):
                axes.plot(curve.numpy(), markevery=16, label=f"temperature {t:g}", **style)
            axes.axhline((1 - ENERGY) ** 0.5, color=BLACK, lw=1, ls=":")
            if not self.missed[kind]:
                write_in_place(axes, "nothing of yours to show", y=0.9)
            axes.set(title=f"{kind} attention", xlabel="rank k", yscale="log", ylim=(1e-3, 1.2))
        panels[0].set_ylabel("least error of rank k, relative")
        handles, labels = panels[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return figure


@one_thread()
def spectra(attention_spectrum: Callable, effective_rank: Callable) -> Spectra:
    """The spectra of random, smooth and trained attention at TEMPERATURES."""
    problems: list[str] = []
    missed: dict[str, dict[float, Tensor]] = {kind: {} for kind in KINDS}
    truth: dict[str, dict[float, Tensor]] = {kind: {} for kind in KINDS}
    ranks: dict[str, dict[float, float]] = {}
    for kind in KINDS:
        q, k, _ = example_sequence(kind)
        for t in TEMPERATURES:
            attention = softmax_weights(q, k, t)
            truth[kind][t] = missed_by_rank(torch.linalg.svdvals(attention)).mean(dim=0)
            try:
                values = read_spectrum(attention_spectrum, attention, problems)
                missed[kind][t] = missed_by_rank(values).mean(dim=0)
            except ReaderError as error:
                note(problems, error)
            try:
                of_heads = read_ranks(effective_rank, attention, problems)
                ranks.setdefault(kind, {})[t] = of_heads.mean().item()
            except ReaderError as error:
                note(problems, error)
    return Spectra(problems=problems, missed=missed, truth=truth, ranks=ranks)


# --- rank_of_a_head -------------------------------------------------------------------------------


@dataclass(kw_only=True)
class RankOfAHead(Exhibit):
    """One attention matrix, its best approximation of a rank, both (n, n), and its spectrum.

    `spectrum` and `effective_rank` are None where the reader's functions cannot be run.
    """

    setting: str
    rank: int
    attention: Tensor
    approximation: Tensor
    truth: Tensor
    spectrum: Tensor | None
    effective_rank: int | None

    @property
    def error(self) -> float:
        """The error of the approximation as measured, relative."""
        return relative_error(self.approximation, self.attention)

    def findings(self) -> str:
        """The effective rank, the error measured and from the spectrum, and the weights below 0."""
        told = [f"{self.setting}."]
        if self.effective_rank is not None:
            told.append(
                f"Rank {self.effective_rank} of {len(self.attention)} keeps {percent(ENERGY)} of "
                "the squares."
            )
        foretold = ""
        if self.spectrum is not None:
            share = percent(missed_by_rank(self.spectrum)[self.rank].item())
            foretold = f"; your spectrum foretells {share}"
        told.append(f"The best matrix of rank {self.rank} is {percent(self.error)} off{foretold}.")
        negative = (self.approximation < 0).double().mean().item()
        told.append(f"{percent(negative)} of its weights are below 0.")
        return " ".join(told)

    @styled
    def draw(self) -> Figure:
        """The attention, its approximation in the same colours, and the singular values."""
        figure = new_figure(height=4.1)
        exact, near, spectrum = figure.subplots(1, 3, width_ratios=[1, 1, 1.25])
        scale = {"vmin": 0, "vmax": brightest(self.attention)}
        exact.imshow(self.attention.numpy(), **scale)
        exact.set(title="attention", ylabel="query")
        image = near.imshow(self.approximation.numpy(), **scale)
        near.set(title=f"best of rank {self.rank}: {percent(self.error)} off")
        for axes in (exact, near):
            axes.set_xlabel("key")
            axes.grid(visible=False)
        bar = figure.colorbar(image, ax=[exact, near], location="bottom", shrink=0.8, extend="max")
        bar.set_label("attention weight")
        self._draw_spectrum(spectrum)
        return figure

    def _draw_spectrum(self, axes: Axes) -> None:
        places = range(1, len(self.truth) + 1)
        axes.plot(places, self.truth.numpy(), label="singular values", **TRUTH)
        if self.spectrum is None:
            write_in_place(axes, "nothing of yours to show", y=0.9)
        else:
            axes.plot(places, self.spectrum.numpy(), color=BLUE, label="your spectrum")
        axes.axvline(self.rank, color=BLACK, lw=1, ls=":", label=f"rank {self.rank}")
        if self.effective_rank is not None:
            label = f"effective rank {self.effective_rank}"
            axes.axvline(self.effective_rank, color=VERMILLION, lw=1.5, ls="--", label=label)
        axes.set(xlabel="k", ylabel="σₖ", yscale="log", ylim=(1e-5, 2 * self.truth[0].item()))
        axes.legend(loc="lower left")


@one_thread()
def rank_of_a_head(
    attention_spectrum: Callable,
    effective_rank: Callable,
    kind: str,
    head: int,
    temperature: float,
    rank: int,
) -> RankOfAHead:
    """Approximate the attention of one head, 1 to HEADS, of one of KINDS by `rank`."""
    q, k, _ = example_sequence(kind)
    attention = softmax_weights(q[head - 1 : head], k[head - 1 : head], temperature)
    u, s, vh = torch.linalg.svd(attention[0])
    problems: list[str] = []
    spectrum = effective = None
    try:
        spectrum = read_spectrum(attention_spectrum, attention, problems)[0]
    except ReaderError as error:
        note(problems, error)
    try:
        effective = int(read_ranks(effective_rank, attention, problems)[0])
    except ReaderError as error:
        note(problems, error)
    return RankOfAHead(
        problems=problems,
        setting=f"{kind} attention, head {head}, temperature {temperature:g}",
        rank=rank,
        attention=attention[0],
        approximation=u[:, :rank] * s[:rank] @ vh[:rank],
        truth=s,
        spectrum=spectrum,
        effective_rank=effective,
    )

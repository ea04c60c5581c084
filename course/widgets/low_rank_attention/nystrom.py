"""Nyström attention at work: landmarks, the three factors, and the iterated pseudo-inverse.

The functions are the reader's. They are held against torch's pseudo-inverse and softmax attention
in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Generator, Tensor

from course.measure import one_thread
from course.specifications.low_rank_attention import means_of_segments, nystrom_matrix
from course.widgets.exhibit import (
    Exhibit,
    ReaderError,
    as_tensor,
    not_finite,
    note,
    percent,
    run,
)
from course.widgets.low_rank_attention.projection import least_error
from course.widgets.low_rank_attention.sequences import (
    KINDS,
    LENGTH,
    brightest,
    example_sequence,
    relative_error,
    softmax_weights,
)
from course.widgets.style import BLACK, BLUE, SERIES, TRUTH, new_figure, styled, write_in_place

MEANS, PINV, NYSTROM = "segment_means", "iterative_pinv", "nystrom_attention"
LANDMARKS = [1, 2, 4, 8, 16, 32, 64, 128]
FEW, MANY = 6, 30


def read_pinv(iterative_pinv: Callable, a: Tensor, num_iterations: int) -> Tensor:
    """The reader's iterate for a matrix or a batch. Raises ReaderError where there is none."""
    return as_tensor(PINV, run(PINV, iterative_pinv, a, num_iterations), tuple(a.shape))


def pinv_problems(iterative_pinv: Callable) -> list[str]:
    """A sentence if the function does not converge on a matrix that is easy to invert."""
    a = (3 * torch.eye(5, dtype=torch.float64)).softmax(dim=-1)
    try:
        inverse = read_pinv(iterative_pinv, a, 12)
    except ReaderError as error:
        return [str(error)]
    off = relative_error(inverse, torch.linalg.inv(a))
    if off < 1e-6:
        return []
    return [f"{PINV} is {percent(off)} off after 12 iterations on a matrix that is easy to invert."]


def read_nystrom(
    nystrom_attention: Callable, q: Tensor, k: Tensor, v: Tensor, *counts: int
) -> Tensor:
    """The reader's output for (q, k, v, num_landmarks, num_iterations); raises ReaderError."""
    output = run(NYSTROM, nystrom_attention, q, k, v, *counts)
    return as_tensor(NYSTROM, output, (*q.shape[:-1], v.shape[-1]))


def nystrom_problems(nystrom_attention: Callable) -> list[str]:
    """A sentence if the function differs from the three factors where their inverse is easy."""
    generator = Generator().manual_seed(1)
    q = 6 * torch.nn.functional.normalize(
        torch.randn(12, 8, generator=generator, dtype=torch.float64), dim=-1
    )
    v = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    landmarks = means_of_segments(q, 4)
    try:
        output = read_nystrom(nystrom_attention, q, q, v, 4, MANY)
    except ReaderError as error:
        return [str(error)]
    off = relative_error(output, nystrom_matrix(q, q, landmarks, landmarks) @ v)
    if off < 1e-6:
        return []
    return [f"{NYSTROM} differs from the product of the three factors by {percent(off)}."]


def landmark_weights(kind: str, num_landmarks: int) -> Tensor:
    """The middle factor, softmax(Q̃K̃ᵀ/√d), of every head of a sequence: (heads, m, m)."""
    q, k, _ = example_sequence(kind)
    return softmax_weights(means_of_segments(q, num_landmarks), means_of_segments(k, num_landmarks))


# --- pinv_convergence -----------------------------------------------------------------------------


@dataclass(kw_only=True)
class PinvConvergence(Exhibit):
    """How far the iterate is from inverting, by iteration, and which singular values it inverts.

    residuals[kind] is the largest |1 − σ·z| over the singular values and heads after 0, 1, …
    iterations; kept[j] is σ·z for each of `sigmas` after j iterations: 1 where it is inverted.
    """

    residuals: dict[str, list[float]]
    sigmas: Tensor
    kept: dict[int, Tensor]

    def converged(self, kind: str) -> int | None:
        """The first iteration with a residual below 1 %."""
        found = (j for j, residual in enumerate(self.residuals[kind]) if residual < 0.01)
        return next(found, None)

    def findings(self) -> str:
        """When each kind has converged, and which singular values six iterations invert."""
        if not self.kept:
            return "There is no iteration to show."
        last = len(next(iter(self.residuals.values()))) - 1
        told = [
            f"{kind} " + (f"after {j}" if (j := self.converged(kind)) else f"not after {last}")
            for kind in self.residuals
        ]
        kept = self.kept[FEW]
        inverted = self.sigmas[kept > 0.5]
        least = f"{inverted.min():.2g}" if len(inverted) else "none"
        return (
            f"Within 1 % of inverting the landmarks' matrix: {', '.join(told)} iterations. "
            f"After {FEW}, of singular values from {least} on more than half is inverted."
        )

    @styled
    def draw(self) -> Figure:
        """Residual against iteration, and σ·z against σ for some numbers of iterations."""
        figure = new_figure(height=4.2)
        course, filtered = figure.subplots(1, 2)
        for style, (kind, residuals) in zip(SERIES, self.residuals.items(), strict=False):
            course.plot(residuals, label=kind, markevery=3, **style)
        course.axvline(FEW, color=BLACK, lw=1, ls=":")
        course.set(
            title="landmarks' matrix, m = 32",
            xlabel="iterations",
            ylabel="largest |1 − σ·z|",
            yscale="log",
            ylim=(1e-9, 3),
        )
        for style, (j, kept) in zip(SERIES, self.kept.items(), strict=False):
            filtered.plot(self.sigmas.numpy(), kept.numpy(), label=str(j), markevery=8, **style)
        filtered.set(
            title="which singular values are inverted",
            xlabel="singular value σ",
            ylabel="σ·z, 1 where inverted",
            xscale="log",
            ylim=(-0.05, 1.1),
        )
        for axes, title in ((course, "sequence"), (filtered, "iterations")):
            if axes.get_legend_handles_labels()[0]:
                axes.legend(title=title, loc="center left", bbox_to_anchor=(1, 0.5))
            else:
                write_in_place(axes, "nothing to show")
        return figure


@one_thread()
def pinv_convergence(iterative_pinv: Callable) -> PinvConvergence:
    """Iterate on the landmarks of each kind, and on a diagonal matrix of known singular values."""
    problems = pinv_problems(iterative_pinv)
    residuals: dict[str, list[float]] = {}
    kept: dict[int, Tensor] = {}
    sigmas = torch.logspace(-6, 0, 97, dtype=torch.float64)
    try:
        for kind in KINDS:
            a = landmark_weights(kind, 32)
            u, s, _ = torch.linalg.svd(a)
            identity = torch.eye(a.shape[-1], dtype=a.dtype)
            # Directions that rounding alone has made have nothing to be inverted.
            real = s > 1e-12 * s[..., :1]
            residuals[kind] = []
            for j in range(MANY + 1):
                residual = u.mT @ (identity - a @ read_pinv(iterative_pinv, a, j)) @ u
                worst = residual.diagonal(dim1=-2, dim2=-1).abs()[real].max().item()
                residuals[kind].append(worst)
        for j in (0, 2, 4, FEW, 12, 20):
            inverse = read_pinv(iterative_pinv, torch.diag(sigmas), j)
            kept[j] = inverse.diagonal() * sigmas
            problems += [p for p in not_finite(PINV, kept[j]) if p not in problems]
    except ReaderError as error:
        note(problems, error)
    return PinvConvergence(problems=problems, residuals=residuals, sigmas=sigmas, kept=kept)


# --- nystrom_error --------------------------------------------------------------------------------


@dataclass(kw_only=True)
class NystromError(Exhibit):
    """The relative error of the output against landmarks, by kind and number of iterations.

    errors[kind][iterations] has one entry for each of LANDMARKS; `least` is what the best matrix
    of rank m reaches.
    """

    errors: dict[str, dict[int, list[float]]]
    least: dict[str, list[float]]

    def findings(self) -> str:
        """The error with 32 landmarks after few and after many iterations."""
        at = LANDMARKS.index(32)
        told = []
        for kind, curves in self.errors.items():
            by_iterations = ", ".join(
                f"{percent(curve[at])} after {j} iterations" for j, curve in curves.items()
            )
            told.append(f"{kind}: {by_iterations or 'not measured'}")
        return f"Error of the output with 32 landmarks for {LENGTH} tokens. {'; '.join(told)}."

    @styled
    def draw(self) -> Figure:
        """Error against landmarks, one panel a kind, one line a number of iterations."""
        figure = new_figure(height=4.3)
        panels = figure.subplots(1, len(KINDS), sharey=True)
        for axes, kind in zip(panels, KINDS, strict=True):
            axes.plot(LANDMARKS, self.least[kind], label="best weights of rank m", **TRUTH)
            for style, (j, curve) in zip(SERIES, self.errors[kind].items(), strict=False):
                axes.plot(LANDMARKS, curve, label=f"{j} iterations", **style)
            axes.axhline(1, color=BLACK, lw=1, ls=":")
            axes.set(title=f"{kind} sequence", xlabel="landmarks m", ylim=(1e-3, 1e3))
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(LANDMARKS, [str(m) for m in LANDMARKS])
            if not self.errors[kind]:
                write_in_place(axes, "nothing of yours to show", y=0.9)
        panels[0].set_ylabel("error of the output, relative")
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=4)
        return figure


@one_thread()
def nystrom_error(nystrom_attention: Callable) -> NystromError:
    """Attend through 1 to LENGTH landmarks, the inverse after 2, FEW and MANY iterations."""
    problems = nystrom_problems(nystrom_attention)
    errors: dict[str, dict[int, list[float]]] = {kind: {} for kind in KINDS}
    least = {}
    for kind in KINDS:
        q, k, v = example_sequence(kind)
        weights = softmax_weights(q, k)
        least[kind] = least_error(weights, v, LANDMARKS)
        for j in (2, FEW, MANY):
            try:
                errors[kind][j] = [
                    relative_error(read_nystrom(nystrom_attention, q, k, v, m, j), weights @ v)
                    for m in LANDMARKS
                ]
            except ReaderError as error:
                note(problems, error)
    return NystromError(problems=problems, errors=errors, least=least)


# --- nystrom_factors ------------------------------------------------------------------------------


@dataclass(kw_only=True)
class NystromFactors(Exhibit):
    """The three factors of one head, what they make of softmax attention, and errors against m.

    The factors are (n, m), (m, m) and (m, n), None where the reader's functions cannot be run;
    so are `product`, (n, n), and `errors`, one for each of LANDMARKS.
    """

    setting: str
    num_landmarks: int
    attention: Tensor
    factors: tuple[Tensor, Tensor, Tensor] | None
    product: Tensor | None
    errors: list[float] | None
    error: float | None

    def findings(self) -> str:
        """The error of the output, the numbers kept, and the largest entry of the inverse."""
        told = [f"{self.setting}."]
        if self.error is not None:
            told.append(f"The output is {percent(self.error)} off.")
        if self.factors is not None:
            n, m = self.factors[0].shape
            told.append(
                f"The factors hold {2 * n * m + m * m:,} numbers where attention has {n * n:,}; "
                f"the largest entry of the inverse is {self.factors[1].abs().max():.3g}."
            )
        if len(told) == 1:
            told.append("Softmax attention is shown alone.")
        return " ".join(told)

    @styled
    def draw(self) -> Figure:
        """The three factors above, softmax attention, their product and the error below."""
        figure = new_figure(height=6.2)
        (left, middle, right), (exact, near, curve) = figure.subplots(2, 3)
        names = ["softmax(QK̃ᵀ/√d), n × m", "pseudo-inverse, m × m", "softmax(Q̃Kᵀ/√d), m × n"]
        for axes, name, place in zip((left, middle, right), names, range(3), strict=True):
            factor = None if self.factors is None else self.factors[place]
            self._draw_matrix(axes, factor, name, signed=place == 1)
        scale = brightest(self.attention)
        self._draw_matrix(exact, self.attention, "softmax attention", top=scale)
        off = "" if self.error is None else f"\noutput {percent(self.error)} off"
        self._draw_matrix(near, self.product, f"product of the three{off}", top=scale)
        self._draw_errors(curve)
        return figure

    def _draw_matrix(
        self,
        axes: Axes,
        matrix: Tensor | None,
        title: str,
        signed: bool = False,
        top: float | None = None,
    ) -> None:
        axes.set(title=title)
        axes.grid(visible=False)
        if matrix is None or not matrix.isfinite().any():
            axes.set(xticks=[], yticks=[])
            write_in_place(axes, "nothing to show")
            return
        largest = top or brightest(matrix[matrix.isfinite()].abs())
        scale = {"vmin": -largest, "cmap": "PuOr"} if signed else {"vmin": 0}
        image = axes.imshow(matrix.numpy(), vmax=largest, aspect="auto", **scale)
        axes.figure.colorbar(image, ax=axes, extend="both" if signed else "max")
        axes.set(xlabel="column", ylabel="row")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))

    def _draw_errors(self, axes: Axes) -> None:
        axes.axhline(1, color=BLACK, lw=1, ls=":")
        axes.set(title="error of this head", xlabel="landmarks m", ylabel="error, relative")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(LANDMARKS[::2], [str(m) for m in LANDMARKS[::2]])
        if self.errors is None:
            write_in_place(axes, "nothing to show", y=0.3)
            return
        axes.plot(LANDMARKS, self.errors, color=BLUE, marker="o")
        axes.axvline(self.num_landmarks, color=BLACK, lw=1, ls=":")


@one_thread()
def nystrom_factors(
    segment_means: Callable,
    iterative_pinv: Callable,
    nystrom_attention: Callable,
    kind: str,
    head: int,
    num_landmarks: int,
    num_iterations: int,
) -> NystromFactors:
    """Take one head, 1 to HEADS, of one of KINDS apart, with the reader's functions."""
    q, k, v = (x[head - 1] for x in example_sequence(kind))
    attention = softmax_weights(q, k)
    problems = nystrom_problems(nystrom_attention) + pinv_problems(iterative_pinv)
    factors = product = errors = error = None
    try:
        landmarks = [
            as_tensor(
                MEANS, run(MEANS, segment_means, x, num_landmarks), (num_landmarks, x.shape[1])
            )
            for x in (q, k)
        ]
        if relative_error(landmarks[0], means_of_segments(q, num_landmarks)) > 1e-6:
            problems.append(f"{MEANS} does not give the means of the segments.")
        inverse = read_pinv(
            iterative_pinv, softmax_weights(landmarks[0], landmarks[1]), num_iterations
        )
        factors = softmax_weights(q, landmarks[1]), inverse, softmax_weights(landmarks[0], k)
        problems += not_finite(PINV, inverse)
    except ReaderError as caught:
        note(problems, caught)
    try:
        # With the identity for values, the output is the weights themselves.
        identity = torch.eye(LENGTH, dtype=q.dtype)
        product = read_nystrom(nystrom_attention, q, k, identity, num_landmarks, num_iterations)
        truth = attention @ v
        outputs = [read_nystrom(nystrom_attention, q, k, v, m, num_iterations) for m in LANDMARKS]
        errors = [relative_error(output, truth) for output in outputs]
        error = relative_error(product @ v, truth)
    except ReaderError as caught:
        note(problems, caught)
    return NystromFactors(
        problems=problems,
        setting=(
            f"{kind} sequence, head {head}, m = {num_landmarks} of {LENGTH}, "
            f"{num_iterations} iterations"
        ),
        num_landmarks=num_landmarks,
        attention=attention,
        factors=factors,
        product=product,
        errors=errors,
        error=error,
    )

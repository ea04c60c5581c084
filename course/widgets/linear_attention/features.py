"""Random features at work: how well φ(x)ᵀφ(y) estimates exp(xᵀy), and what attention makes of it.

The features to show are the reader's. What they are held against is exp(xᵀy) and torch's softmax.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib as mpl
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
from course.widgets.style import (
    BLUE,
    TRUTH,
    VERMILLION,
    new_figure,
    styled,
    write_in_place,
)

Features = Callable[[Tensor, Tensor], Tensor]
Projections = Callable[[int, int, torch.Generator], Tensor]

POSITIVE, TRIGONOMETRIC, DOCUMENT = "positive (FAVOR+)", "trigonometric", "without −‖x‖²/2"
DIM = 16


def document_features(x: Tensor, projection: Tensor) -> Tensor:
    """The form without the norm, exp(ωᵀx) / √m: φ(x)ᵀφ(y) estimates exp(‖x + y‖² / 2)."""
    return (x @ projection.mT).exp() / math.sqrt(len(projection))


def kernel_estimate(name: str, features: Features, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """φ(x)ᵀφ(y) for rows of x with rows of y, (n_x, n_y), in float64."""
    per_row = 2 if name == "trigonometric_random_features" else 1
    phi = run(name, features, torch.cat([x, y]), w)
    phi = as_tensor(name, phi, (len(x) + len(y), per_row * len(w)))
    return phi[: len(x)] @ phi[len(x) :].mT


def unit_rows(n: int, d: int, generator: torch.Generator) -> Tensor:
    """n random directions in d dimensions, each of length 1."""
    return torch.nn.functional.normalize(torch.randn(n, d, generator=generator), dim=-1)


def feature_problems(name: str, features: Features) -> list[str]:
    """A sentence if many features do not estimate exp(xᵀy) for x and y of length 1.

    In theory 4096 features leave a right estimate an error of a few per cent: the variance over
    the squared kernel is at most (e⁴ − 1) / m for either kind.
    """
    generator = torch.Generator().manual_seed(1)
    x, y = unit_rows(16, 8, generator), unit_rows(16, 8, generator)
    projection = torch.randn(4096, 8, generator=generator)
    try:
        estimate = kernel_estimate(name, features, x, y, projection)
    except ReaderError as error:
        return [str(error)]
    off = (estimate / (x @ y.mT).double().exp() - 1).abs().mean().item()
    if off < 0.2:
        return []
    return [
        f"{name} does not estimate exp(xᵀy): for x and y of length 1 and 4096 features it is off "
        f"by {percent(off)} on average, where a few per cent are left of a right one."
    ]


def check_projections(orthogonal: Projections) -> tuple[Projections | None, list[str]]:
    """The function, or None if it cannot be run, and what is wrong with its rows, in sentences.

    The rows must be orthogonal in blocks, and as long as normal vectors.
    """
    name = "orthogonal_random_features"
    try:
        rows = run(name, orthogonal, 512, 8, torch.Generator().manual_seed(1))
        rows = as_tensor(name, rows, (512, 8))
    except ReaderError as error:
        return None, [str(error)]
    unit = torch.nn.functional.normalize(rows, dim=-1).unflatten(0, (-1, 8))
    cosine = (unit @ unit.mT - torch.eye(8)).abs().max().item()
    square = rows.square().sum(dim=-1).mean().item()
    problems = []
    if not cosine < 1e-3:
        problems.append(
            f"{name}: two rows of a block of d have the cosine {cosine:.2g}, where 0 is expected."
        )
    if not abs(square / 8 - 1) < 0.2:
        problems.append(
            f"{name}: the rows' mean squared length is {square:.3g} in 8 dimensions, where normal "
            "vectors have 8."
        )
    return orthogonal, problems


def draw_projection(
    m: int, d: int, orthogonal: Projections | None, seed: torch.Generator
) -> Tensor:
    """The reader's orthogonal rows, (m, d), or independent ones where no function is given."""
    if orthogonal is None:
        return torch.randn(m, d, generator=seed)
    name = "orthogonal_random_features"
    return as_tensor(name, run(name, orthogonal, m, d, seed), (m, d)).float()


# --- kernel_approximation -------------------------------------------------------------------------


@dataclass(kw_only=True)
class KernelApproximation(Exhibit):
    """Scores and attention of a short sequence, exact and estimated; all are (n, n), float64.

    The estimates are None where the reader's features cannot be shown.
    """

    setting: str
    kernel: Tensor
    kernel_estimate: Tensor | None
    attention: Tensor
    attention_estimate: Tensor | None

    @property
    def _estimate(self) -> Tensor:
        assert self.kernel_estimate is not None, "asked for where there is one"
        return self.kernel_estimate

    @property
    def kernel_error(self) -> float:
        """|estimate − exact| / exact, the mean over all pairs."""
        return (self._estimate / self.kernel - 1).abs().mean().item()

    @property
    def misplaced(self) -> float:
        """The share of a row's attention that lies on the wrong keys, the mean over rows."""
        assert self.attention_estimate is not None, "it comes with the kernel's"
        return (self.attention_estimate - self.attention).abs().sum(dim=-1).mean().item() / 2

    @property
    def negative(self) -> float:
        """The share of the estimates of the kernel that are negative."""
        return (self._estimate < 0).double().mean().item()

    def findings(self) -> str:
        """Mean error of the kernel and of the attention, and the share of negative estimates."""
        if self.kernel_estimate is None:
            return "The exact kernel and softmax's attention are shown alone."
        return (
            f"{self.setting}: the estimate of exp(xᵀy) is off by {percent(self.kernel_error)} on "
            f"average, and {percent(self.negative)} of the estimates are negative. "
            f"{percent(self.misplaced)} of the attention is on the wrong keys"
            f"{' (weights below 0 allow more than all)' if self.misplaced > 1 else ''}."
        )

    @styled
    def draw(self) -> Figure:
        """Estimate against exact kernel, and both attention maps in one scale of colour."""
        figure = new_figure(height=4.3)
        scatter, exact_map, estimated_map = figure.subplots(1, 3, width_ratios=[1.35, 1, 1])
        self._draw_scatter(scatter)
        colours = mpl.colormaps["viridis"].with_extremes(under=VERMILLION, over="#FFF7BC")
        scale = {"vmin": 0, "vmax": self.attention.max().item(), "cmap": colours}
        image = exact_map.imshow(self.attention.numpy(), **scale)
        exact_map.set(title="attention by softmax\n", ylabel="query")
        if self.attention_estimate is None:
            estimated_map.set(title="attention by the estimate\n", xticks=[], yticks=[])
            write_in_place(estimated_map, "nothing to show")
            estimated_map.set_box_aspect(1)
        else:
            estimated_map.imshow(self.attention_estimate.numpy(), **scale)
            estimated_map.set_title(
                f"attention by the estimate\n{percent(self.misplaced)} misplaced"
            )
        for axes in (exact_map, estimated_map):
            axes.set_xlabel("key")
            axes.grid(visible=False)
        bar = figure.colorbar(
            image, ax=[exact_map, estimated_map], location="bottom", extend="both", shrink=0.9
        )
        bar.set_label("attention weight (orange-red: below 0)")
        return figure

    def _draw_scatter(self, axes: Axes) -> None:
        ends = torch.stack([self.kernel.min(), self.kernel.max()])
        axes.plot(ends.numpy(), ends.numpy(), label="exact", **TRUTH)
        axes.set(xscale="log", yscale="log", xlabel="exp(xᵀy), exact", ylabel="φ(x)ᵀφ(y), estimate")
        if self.kernel_estimate is None:
            write_in_place(axes, "nothing to show", y=0.1)
        else:
            signs = [
                ("estimate", 1, BLUE, "o"),
                ("below 0", -1, VERMILLION, "x"),
            ]
            for label, sign, colour, marker in signs:
                chosen = (self.kernel_estimate.sign() == sign) & self.kernel_estimate.isfinite()
                if chosen.any():
                    axes.scatter(
                        self.kernel[chosen].numpy(),
                        self.kernel_estimate[chosen].abs().numpy(),
                        s=14,
                        color=colour,
                        marker=marker,
                        alpha=0.5,
                        label=label,
                    )
            axes.set_title(
                f"kernel, one mark a pair\noff by {percent(self.kernel_error)} on average"
            )
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, columnspacing=1)


def _example_sequence(norm: float) -> tuple[Tensor, Tensor]:
    """Queries of length `norm`, and keys of 0.75 to 1.25 times that, (32, DIM) each.

    A key resembles the queries near it, as in a sequence with positions: rotating pairs of
    coordinates, with noise.
    """
    generator = torch.Generator().manual_seed(2)
    angles = torch.outer(torch.arange(32.0), 0.7 * 0.6 ** torch.arange(DIM / 2))
    position = torch.cat([angles.cos(), angles.sin()], dim=-1)
    noise = torch.randn(2, 32, DIM, generator=generator)
    q, k = torch.nn.functional.normalize(position + 0.5 * noise, dim=-1) * norm
    return q, k * torch.linspace(0.75, 1.25, 32).unsqueeze(-1)


@one_thread()
def kernel_approximation(
    estimator: str,
    features: Features,
    num_features: int,
    norm: float,
    orthogonal_random_features: Projections | None,
) -> KernelApproximation:
    """Estimate exp(xᵀy) and attention for 32 queries and keys of about `norm`, d = 16.

    `estimator` is POSITIVE, TRIGONOMETRIC or DOCUMENT; rows are independent where no
    `orthogonal_random_features` is given.
    """
    names = {
        POSITIVE: "positive_random_features",
        TRIGONOMETRIC: "trigonometric_random_features",
        DOCUMENT: "document_features",
    }
    name = names[estimator]
    problems = [] if estimator == DOCUMENT else feature_problems(name, features)
    rows = "independent"
    if orthogonal_random_features is not None:
        usable, row_problems = check_projections(orthogonal_random_features)
        problems += row_problems
        rows = "independent (for orthogonal)" if usable is None else "orthogonal"
        orthogonal_random_features = usable
    q, k = _example_sequence(norm)
    seed = torch.Generator().manual_seed(3)
    estimate: Tensor | None = None
    attention_estimate: Tensor | None = None
    try:
        projection = draw_projection(num_features, DIM, orthogonal_random_features, seed)
        estimate = kernel_estimate(name, features, q, k, projection)
        attention_estimate = estimate / estimate.sum(dim=-1, keepdim=True)
        problems += not_finite(name, attention_estimate)
    except ReaderError as error:
        estimate = None
        note(problems, error)
    scores = (q @ k.mT).double()
    return KernelApproximation(
        problems=problems,
        setting=f"{estimator}, m = {num_features}, {rows} projections, norm {norm:g}",
        kernel=scores.exp(),
        kernel_estimate=estimate,
        attention=scores.softmax(dim=-1),
        attention_estimate=attention_estimate,
    )

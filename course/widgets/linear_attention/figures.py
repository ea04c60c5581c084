"""Figures on what a feature map must do: stay positive, estimate the kernel, keep keys' norms out.

Each takes the reader's functions, and holds them against exp(xᵀy) and softmax.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course.measure import one_thread, scaling_exponent
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
from course.widgets.linear_attention.features import (
    DIM,
    DOCUMENT,
    POSITIVE,
    Features,
    Projections,
    check_projections,
    document_features,
    draw_projection,
    feature_problems,
    kernel_estimate,
    unit_rows,
)
from course.widgets.style import BLACK, SERIES, TRUTH, new_figure, styled

# --- normaliser_without_feature_map ---------------------------------------------------------------


@dataclass(kw_only=True)
class Normaliser(Exhibit):
    """Each query's normaliser and largest output, with no feature map and with the reader's.

    normalisers[label] is (queries,), in units of its mean size. outputs[label] is (queries,): the
    largest entry of the output over the largest entry of any value of that sequence.
    """

    normalisers: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def findings(self) -> str:
        """How often the normaliser is negative or near zero, and the largest output."""
        told = []
        for label, normaliser in self.normalisers.items():
            negative = (normaliser < 0).double().mean().item()
            near_zero = (normaliser.abs() < 0.05).double().mean().item()
            largest = self.outputs[label].max().item()
            told.append(
                f"{label}, {percent(negative)} of the normalisers are negative and "
                f"{percent(near_zero)} are within 0.05 mean sizes of zero; the largest output is "
                f"{times(largest)} the largest value."
            )
        return " ".join(told)

    @styled
    def draw(self) -> Figure:
        """Histograms of the normaliser and of the output's size, on common bins."""
        figure = new_figure(height=4.2)
        left, right = figure.subplots(1, 2)
        panels = [
            (left, self.normalisers, torch.linspace(-4, 4, 65)),
            (right, self.outputs, torch.logspace(-2, 4, 61)),
        ]
        for axes, measured, bins in panels:
            for style, (label, values) in zip(SERIES, measured.items(), strict=False):
                values = values[values.isfinite()]
                if not len(values):
                    continue
                axes.hist(
                    values.clamp(bins[0], bins[-1]).numpy(),
                    bins=bins.numpy(),
                    weights=[100 / len(values)] * len(values),
                    histtype="stepfilled",
                    facecolor=(style["color"], 0.25),
                    edgecolor=style["color"],
                    linestyle=style["linestyle"],
                    linewidth=1.5,
                    label=label,
                )
            axes.set_ylabel("share of queries in a bin (%)")
        left.axvline(0, color=BLACK, lw=1)
        left.set(title="Normaliser φ(q)ᵀ Σ φ(k)", xlabel="normaliser (multiples of its mean size)")
        right.axvline(1, color=BLACK, lw=1)
        right.set(
            title="Output: a weighted mean stays left of the line",
            xscale="log",
            xlabel="largest output (multiples of the largest value)",
        )
        left.legend(loc="upper left")
        return figure


@one_thread()
def normaliser_without_feature_map(elu_feature_map: Callable[[Tensor], Tensor]) -> Normaliser:
    """Normalise by qᵀΣk and by φ(q)ᵀΣφ(k) over 64 random sequences of 128 tokens, d = 32.

    Queries, keys and values are standard normal; every token attends to all.
    """
    generator = torch.Generator().manual_seed(6)
    q, k, v = torch.randn(3, 64, 128, 32, generator=generator)
    maps = {"Without a feature map": lambda x: x, "With elu_feature_map": elu_feature_map}
    problems: list[str] = []
    normalisers, outputs = {}, {}
    for label, feature_map in maps.items():
        try:
            phi_q, phi_k = (
                as_tensor("elu_feature_map", run("elu_feature_map", feature_map, x), x.shape)
                for x in (q, k)
            )
        except ReaderError as error:
            problems.append(str(error))
            continue
        weights = phi_q @ phi_k.mT
        normaliser = weights.sum(dim=-1)
        output = (weights / normaliser.unsqueeze(-1)) @ v.double()
        problems += not_finite("elu_feature_map", output)
        if label != "Without a feature map" and not (phi_q > 0).all():
            problems.append(
                f"elu_feature_map gives numbers that are not positive, down to {phi_q.min():.3g}."
            )
        largest_value = v.abs().amax(dim=(-2, -1), keepdim=True).squeeze(-1)
        normalisers[label] = (normaliser / normaliser.abs().mean()).flatten()
        outputs[label] = (output.abs().amax(dim=-1) / largest_value).flatten()
    return Normaliser(problems=problems, normalisers=normalisers, outputs=outputs)


# --- kernel_error_against_features ----------------------------------------------------------------


@dataclass(kw_only=True)
class KernelError(Exhibit):
    """Relative root-mean-square error of the kernel, by cosine of the pairs and by estimator.

    errors[cosine][estimator] has one entry for each of `num_features`.
    """

    num_features: list[int]
    errors: dict[float, dict[str, list[float]]]

    def findings(self) -> str:
        """The errors at the largest m with their slopes, and what orthogonal rows gain at m = d."""
        at_d, largest = self.num_features.index(DIM), self.num_features[-1]
        sentences = []
        for cosine, curves in self.errors.items():
            told = [
                f"{label} {percent(curve[-1])} ({scaling_exponent(self.num_features, curve):.2f})"
                for label, curve in curves.items()
            ]
            gains = [
                f"{percent(curves[both][at_d] / curve[at_d])} of the {label} error"
                for label, curve in curves.items()
                if (both := f"{label}, orthogonal") in curves
            ]
            sentences.append(
                f"Where exp(xᵀy) = {math.exp(cosine):.2f}, the error at m = {largest} (slope) is: "
                f"{', '.join(told) or 'not measured'}."
            )
            if gains:
                sentences.append(f"At m = d = {DIM}, orthogonal rows leave {' and '.join(gains)}.")
        return " ".join([*sentences, "1/√m has the slope −0.50."])

    @styled
    def draw(self) -> Figure:
        """Error against m for dissimilar and for similar pairs, log–log, beside 1/√m."""
        figure = new_figure(height=4.4)
        panels = figure.subplots(1, len(self.errors), sharey=True)
        guide = [self.num_features[0] ** 0.5 * m**-0.5 for m in self.num_features]
        for axes, (cosine, curves) in zip(panels, self.errors.items(), strict=True):
            axes.plot(self.num_features, guide, label="1/√m", **TRUTH)
            for style, (label, curve) in zip(SERIES, curves.items(), strict=False):
                axes.plot(self.num_features, curve, label=label, **style)
            alike = "alike" if cosine > 0 else "unlike"
            kernel = math.exp(cosine)
            axes.set(
                title=f"x and y {alike}: exp(xᵀy) = {kernel:.2f}", xlabel="random projections m"
            )
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
        panels[0].set_ylabel("error relative to exp(xᵀy)\n(root mean square)")
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=5, columnspacing=1.2)
        return figure


def _pairs(cosine: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """32 pairs (x, y) of length 1 with that cosine between them."""
    x = unit_rows(32, DIM, generator)
    side = torch.randn(32, DIM, generator=generator)
    side = torch.nn.functional.normalize(side - (side * x).sum(-1, keepdim=True) * x, dim=-1)
    return x, cosine * x + math.sqrt(1 - cosine**2) * side


@one_thread()
def kernel_error_against_features(
    positive_random_features: Features,
    trigonometric_random_features: Features,
    orthogonal_random_features: Projections,
    num_draws: int = 60,
) -> KernelError:
    """Measure how the error of φ(x)ᵀφ(y) falls with m, over `num_draws` projections each."""
    generator = torch.Generator().manual_seed(4)
    pairs = {cosine: _pairs(cosine, generator) for cosine in (-0.7, 0.7)}
    num_features = [2**exponent for exponent in range(2, 11)]
    estimators = {
        "trigonometric": ("trigonometric_random_features", trigonometric_random_features),
        "positive": ("positive_random_features", positive_random_features),
    }
    orthogonal, problems = check_projections(orthogonal_random_features)
    kinds = {"": None} if orthogonal is None else {"": None, ", orthogonal": orthogonal}
    curves = {
        label + addition: (name, features, rows)
        for label, (name, features) in estimators.items()
        for addition, rows in kinds.items()
    }
    for name, features in estimators.values():
        problems += feature_problems(name, features)
    errors: dict[float, dict[str, list[float]]] = {cosine: {} for cosine in pairs}
    x, y = (torch.cat(vectors) for vectors in zip(*pairs.values(), strict=True))
    exact = (x * y).sum(dim=-1).double().exp()
    for label, (name, features, rows) in curves.items():
        squares = torch.zeros(len(num_features), len(pairs), dtype=torch.float64)
        try:
            for row, m in enumerate(num_features):
                for _ in range(num_draws):
                    projection = draw_projection(m, DIM, rows, generator)
                    estimate = kernel_estimate(name, features, x, y, projection).diagonal()
                    squares[row] += (estimate / exact - 1).square().view(len(pairs), -1).mean(-1)
        except ReaderError as error:
            note(problems, error)
            continue
        for curve, cosine in zip((squares / num_draws).sqrt().T, pairs, strict=True):
            errors[cosine][label] = curve.tolist()
    return KernelError(problems=problems, num_features=num_features, errors=errors)


# --- key_norm_bias --------------------------------------------------------------------------------


@dataclass(kw_only=True)
class KeyNormBias(Exhibit):
    """Attention to keys at right angles to the query, as multiples of an equal share.

    shares[label] is (draws, keys). Softmax gives each key the same, whatever its norm.
    """

    norms: Tensor
    shares: dict[str, Tensor]

    def findings(self) -> str:
        """What the longest key gets, as a multiple of its fair share."""
        told = [
            f"{times(share[:, -1].mean().item())} ({label})" for label, share in self.shares.items()
        ]
        return (
            "All keys are at right angles to the query, so softmax gives each the same weight. Of "
            f"that, the longest key (norm {self.norms[-1]:.1f}) gets: {', '.join(told)}."
        )

    @styled
    def draw(self) -> Figure:
        """The share of attention against the key's norm, mean and middle 80 % of the draws."""
        figure = new_figure(height=4.1)
        axes = figure.subplots()
        norms = self.norms.numpy()
        axes.axhline(1, label="softmax", **TRUTH)
        for style, (label, share) in zip(SERIES, self.shares.items(), strict=False):
            axes.plot(norms, share.mean(dim=0).numpy(), label=label, **style)
            low, high = share.quantile(torch.tensor([0.1, 0.9], dtype=share.dtype), dim=0).numpy()
            axes.fill_between(norms, low, high, color=style["color"], alpha=0.18, lw=0)
        law = np.exp(norms**2 / 2)
        axes.plot(norms, law / law.mean(), color=BLACK, lw=1, ls=":", label="exp(‖k‖²/2), scaled")
        axes.set(
            xlabel="norm of the key ‖k‖",
            ylabel="attention weight\n(multiple of an equal share)",
            title="Keys at right angles to the query: which gets the attention?",
        )
        axes.legend(loc="upper left")
        return figure


@one_thread()
def key_norm_bias(positive_random_features: Features, num_draws: int = 30) -> KeyNormBias:
    """Attend from a query of length 1 to keys at right angles to it, of length 0 to 2.

    m = 1024, d = 16, `num_draws` projections.
    """
    generator = torch.Generator().manual_seed(5)
    norms = torch.linspace(0, 2, 21)
    query = torch.eye(DIM)[:1]
    keys = torch.randn(len(norms), DIM, generator=generator)
    keys[:, 0] = 0
    keys = torch.nn.functional.normalize(keys, dim=-1) * norms.unsqueeze(-1)
    shares = {}
    estimators = {
        POSITIVE: ("positive_random_features", positive_random_features),
        DOCUMENT: ("document_features", document_features),
    }
    for label, (name, features) in estimators.items():
        rows = []
        try:
            for _ in range(num_draws):
                projection = torch.randn(1024, DIM, generator=generator)
                rows.append(kernel_estimate(name, features, query, keys, projection).squeeze(0))
        except ReaderError:
            continue  # feature_problems says it
        scores = torch.stack(rows)
        shares[label] = scores / scores.mean(dim=-1, keepdim=True)
    problems = feature_problems("positive_random_features", positive_random_features)
    return KeyNormBias(problems=problems, norms=norms, shares=shares)

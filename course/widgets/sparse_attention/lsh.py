"""Hashing at work: buckets on the circle, and which of the keys that matter it finds.

The hash is the reader's. It is held against the largest of xR and −xR, computed number by number.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import matplotlib as mpl
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from course.measure import one_thread
from course.specifications.sparse_attention import bucket_of
from course.widgets.exhibit import Exhibit, ReaderError, note, percent, run
from course.widgets.style import BLACK, GREY, SERIES, new_figure, styled, write_in_place

Hash = Callable[[Tensor, Tensor], Tensor]

NAME = "lsh_bucket"
RANDOM, CLUSTERED = "random directions", "clusters"
KEYS = [CLUSTERED, RANDOM]
ROUNDS = [1, 2, 4, 8, 16]
POINTS, DIM, TOP = 252, 16, 8


def hashed(lsh_bucket: Hash, x: Tensor, rotations: Tensor) -> Tensor:
    """The reader's buckets of x (..., n, d): (..., n). Raises ReaderError where there are none."""
    buckets = run(NAME, lsh_bucket, x, rotations)
    if not isinstance(buckets, Tensor) or buckets.shape != x.shape[:-1]:
        raise ReaderError(f"{NAME} did not return one number for each vector.")
    if buckets.is_floating_point() or buckets.is_complex():
        raise ReaderError(f"{NAME} returned {buckets.dtype}, where whole numbers were expected.")
    return buckets.detach().long()


def hash_problems(lsh_bucket: Hash) -> list[str]:
    """A sentence if the buckets of twenty vectors are not those of the definition."""
    generator = torch.Generator().manual_seed(4)
    x, rotations = (torch.randn(*shape, generator=generator) for shape in ((20, 4), (4, 3)))
    try:
        buckets = hashed(lsh_bucket, x, rotations).tolist()
    except ReaderError as error:
        return [str(error)]
    for i, row in enumerate(x):
        right = bucket_of(row, rotations)
        if buckets[i] != right:
            return [f"{NAME} puts a vector into bucket {buckets[i]}, where {right} was expected."]
    return []


def example_keys(kind: str) -> Tensor:
    """POINTS vectors (POINTS, DIM), of one of KEYS; a cluster is a vector and its TOP best keys."""
    generator = torch.Generator().manual_seed(0)
    if kind == RANDOM:
        return torch.randn(POINTS, DIM, generator=generator)
    count = POINTS // (TOP + 1)
    centres = torch.randn(count, 1, DIM, generator=generator)
    spread = 0.35 * torch.randn(count, TOP + 1, DIM, generator=generator)
    return (centres + spread).flatten(0, 1)


def found_by(lsh_bucket: Hash, q: Tensor, k: Tensor, num_buckets: int) -> Iterator[Tensor]:
    """Which keys share a bucket with each query in a round so far, (..., n, n), round by round.

    q and k are (..., n, d), hashed with the same rotations. Raises ReaderError where the reader's
    hash cannot be run.
    """
    generator = torch.Generator().manual_seed(1)
    found = torch.zeros_like(q @ k.mT, dtype=torch.bool)
    for _ in range(ROUNDS[-1]):
        rotations = torch.randn(q.shape[-1], num_buckets // 2, generator=generator)
        of_q, of_k = hashed(lsh_bucket, q, rotations), hashed(lsh_bucket, k, rotations)
        found = found | (of_q.unsqueeze(-1) == of_k.unsqueeze(-2))
        yield found


@dataclass(frozen=True)
class Found:
    """What hashing finds: of the TOP keys of each query, and of all keys, for each of ROUNDS."""

    top: list[float]
    every: list[float]


def recall(lsh_bucket: Hash, q: Tensor, k: Tensor, num_buckets: int, own: bool) -> Found:
    """The share of the TOP keys by q kᵀ that share a bucket in one of the rounds, and of all keys.

    Without `own`, a token's own position is no key.
    """
    scores = q @ k.mT
    diagonal = torch.eye(q.shape[-2], dtype=torch.bool)
    if not own:
        scores = scores.masked_fill(diagonal, -torch.inf)
    top = scores.topk(TOP, dim=-1).indices
    shares = Found([], [])
    for done, found in enumerate(found_by(lsh_bucket, q, k, num_buckets), start=1):
        if done in ROUNDS:
            shares.top.append(found.gather(-1, top).double().mean().item())
            counted = found if own else found[..., ~diagonal]
            shares.every.append(counted.double().mean().item())
    return shares


# --- lsh_buckets ----------------------------------------------------------------------------------


@dataclass(kw_only=True)
class LSHBuckets(Exhibit):
    """Points on the circle with their buckets, and recall against rounds in DIM dimensions.

    angles and buckets are (points,); rotated, (2, half_buckets), are the directions hashed with.
    `buckets` and `found` are None where the reader's hash cannot be run.
    """

    keys: str
    num_buckets: int
    num_rounds: int
    angles: Tensor
    buckets: Tensor | None
    rotations: Tensor
    found: Found | None

    def findings(self) -> str:
        """Buckets in use, and the recall at the chosen number of rounds."""
        if self.buckets is None:
            return "The points are shown without their buckets."
        assert self.found is not None, "it is found by the same function"
        at = ROUNDS.index(self.num_rounds)
        return (
            f"On the circle {len(self.buckets.unique())} of {self.num_buckets} buckets are in use. "
            f"With {self.keys} in {DIM} dimensions, {self.num_buckets} buckets and "
            f"{self.num_rounds} {'round' if self.num_rounds == 1 else 'rounds'} find "
            f"{percent(self.found.top[at])} of the {TOP} best keys of a query, and "
            f"{percent(self.found.every[at])} of all keys, which is what they cost."
        )

    @styled
    def draw(self) -> Figure:
        """The circle on the left, recall on the right."""
        figure = new_figure(height=4.5)
        circle, course = figure.subplots(1, 2, width_ratios=[1, 1.25])
        self._draw_circle(circle)
        if self.found is None:
            write_in_place(course, "nothing to show")
        else:
            _draw_found(course, self.found)
            handles, labels = course.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower right", ncols=2)
            course.axvline(self.num_rounds, color=BLACK, lw=1, ls=":")
        course.set_title(f"{self.keys}, {self.num_buckets} buckets")
        return figure

    def _draw_circle(self, axes: Axes) -> None:
        x, y = self.angles.cos().numpy(), self.angles.sin().numpy()
        colours, markers = mpl.colormaps["tab20"], "osD^vPX*<>hp"
        if self.buckets is None:
            axes.plot(x, y, ".", color=GREY)
        else:
            for place, bucket in enumerate(self.buckets.unique().tolist()):
                chosen = (self.buckets == bucket).numpy()
                colour, marker = colours(place % 20), markers[place % len(markers)]
                axes.plot(
                    x[chosen], y[chosen], ls="", label=str(bucket), color=colour, marker=marker
                )
            axes.legend(title="bucket", loc="center", ncols=3, fontsize=8, columnspacing=0.6)
        for sign, style in ((1, "-"), (-1, ":")):
            for column in F.normalize(self.rotations, dim=0).T * sign * 1.25:
                ends = torch.stack([0.82 * column, column])
                axes.plot(*ends.T.numpy(), color=BLACK, lw=1.2, ls=style)
        axes.set(aspect="equal", xticks=[], yticks=[], xlim=(-1.35, 1.35), ylim=(-1.35, 1.35))
        axes.set_title("buckets of directions\n(lines: columns of R, dotted: of −R)")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)


@one_thread()
def lsh_buckets(lsh_bucket: Hash, keys: str, num_buckets: int, num_rounds: int) -> LSHBuckets:
    """Hash 72 directions of the plane once, and one of KEYS for 1 to 16 rounds."""
    problems = hash_problems(lsh_bucket)
    angles = torch.arange(72) * (torch.pi / 36) + 0.01
    points = torch.stack([angles.cos(), angles.sin()], dim=-1)
    generator = torch.Generator().manual_seed(2)
    rotations = torch.randn(2, num_buckets // 2, generator=generator)
    buckets = found = None
    try:
        buckets = hashed(lsh_bucket, points, rotations)
        x = example_keys(keys)
        found = recall(lsh_bucket, x, F.normalize(x, dim=-1), num_buckets, own=False)
    except ReaderError as error:
        note(problems, error)
    return LSHBuckets(
        problems=problems,
        keys=keys,
        num_buckets=num_buckets,
        num_rounds=num_rounds,
        angles=angles,
        buckets=buckets,
        rotations=rotations,
        found=found,
    )


# --- lsh_recall -----------------------------------------------------------------------------------


def _draw_found(axes: Axes, found: Found) -> None:
    axes.plot(ROUNDS, [100 * x for x in found.top], label=f"of the best {TOP} keys", **SERIES[0])
    axes.plot(ROUNDS, [100 * x for x in found.every], label="of all keys: the cost", **SERIES[1])
    axes.set_xscale("log", base=2)
    axes.set_xticks(ROUNDS, [str(number) for number in ROUNDS])
    axes.minorticks_off()
    axes.set(xlabel="rounds", ylabel="found, %", ylim=(-2, 103))


@dataclass(kw_only=True)
class LSHRecall(Exhibit):
    """Recall and cost against rounds for several kinds of queries and keys."""

    num_buckets: int
    found: dict[str, Found]

    def findings(self) -> str:
        """Recall and cost after the first and the last round."""
        if not self.found:
            return "There is no recall to measure."
        told = [
            f"{kind}: {percent(shares.top[0])} of the best {TOP} keys in one round (of all keys "
            f"{percent(shares.every[0])}), {percent(shares.top[-1])} in {ROUNDS[-1]} (of all "
            f"{percent(shares.every[-1])})"
            for kind, shares in self.found.items()
        ]
        return f"{self.num_buckets} buckets. {'; '.join(told)}."

    @styled
    def draw(self) -> Figure:
        """One panel a kind."""
        figure = new_figure(height=3.8)
        if not self.found:
            axes = figure.subplots()
            axes.set(xlabel="rounds", ylabel="found, %")
            write_in_place(axes, "nothing to show")
            return figure
        panels = figure.subplots(1, len(self.found), sharey=True, squeeze=False)[0]
        for axes, (kind, found) in zip(panels, self.found.items(), strict=True):
            _draw_found(axes, found)
            axes.set_title(kind)
            axes.label_outer()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figure


@one_thread()
def lsh_recall(
    lsh_bucket: Hash, queries_keys: dict[str, tuple[Tensor, Tensor]], num_buckets: int = 16
) -> LSHRecall:
    """Recall of the best keys on the examples and on the queries and keys given, (..., n, d)."""
    problems = hash_problems(lsh_bucket)
    found = {}
    try:
        for kind in KEYS:
            x = example_keys(kind)
            found[kind] = recall(lsh_bucket, x, F.normalize(x, dim=-1), num_buckets, own=False)
        for kind, (q, k) in queries_keys.items():
            found[kind] = recall(lsh_bucket, q, k, num_buckets, own=True)
    except ReaderError as error:
        note(problems, error)
    return LSHRecall(problems=problems, num_buckets=num_buckets, found=found)

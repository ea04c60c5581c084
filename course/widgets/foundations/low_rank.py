"""The singular values of learned attention maps, and of random ones that are as sharp."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from matplotlib.figure import Figure
from torch import Tensor

from course.measure import one_thread
from course.specifications.foundations import best_error
from course.trained_model import example_tokens, load_trained
from course.widgets.exhibit import Exhibit, ReaderError, as_tensor, note, run
from course.widgets.foundations.attention import true_weights
from course.widgets.style import SERIES, TRUTH, new_figure, styled, write_in_place

NUM_TOKENS = 128
RANKS = [1, 2, 4, 8, 16, 32, 64, 96, 128]
SOFT = 8
LEARNED, SHUFFLED = "learned", "shuffled"
SOFT_LEARNED, SOFT_SHUFFLED = f"learned, temperature {SOFT}", f"shuffled, temperature {SOFT}"


@cache
def maps() -> dict[str, Tensor]:
    """Attention maps of the model's eight heads on one example, (heads, n, n) in float64, by kind.

    Those that it learned, and the same at a high temperature; and each of the two with the weights
    of every row in random order: as sharp, and random otherwise.
    """
    generator = torch.Generator().manual_seed(4)
    layers = load_trained().queries_keys_values(example_tokens(1, NUM_TOKENS, generator))
    q, k = (torch.cat([layer[i][0] for layer in layers]) for i in (0, 1))
    sharp, soft = (true_weights(q, k, causal=False, temperature=t) for t in (1, SOFT))
    order = torch.rand(sharp.shape, generator=generator).argsort(dim=-1)
    return {
        LEARNED: sharp,
        SHUFFLED: sharp.gather(-1, order),
        SOFT_LEARNED: soft,
        SOFT_SHUFFLED: soft.gather(-1, order),
    }


@dataclass(kw_only=True)
class SingularValues(Exhibit):
    """Singular values, (heads, n), and relative errors at RANKS, (heads, ranks), by kind of map.

    `errors` is by the reader's functions, None where they do not run; `best` is what is possible.
    """

    values: dict[str, Tensor]
    errors: dict[str, Tensor] | None
    best: dict[str, Tensor]

    def rank_for(self, kind: str, error: float) -> list[int]:
        """The smallest rank that leaves each head at most that relative error."""
        tail = self.values[kind].square().flip(-1).cumsum(-1).flip(-1)
        # Entry r is the squared error at rank r.
        return ((tail / tail[:, :1]).sqrt() > error).sum(dim=-1).tolist()

    def findings(self) -> str:
        """The rank that each kind of map needs for a relative error of 10 %, over its heads."""
        told = []
        for kind in self.values:
            needed = self.rank_for(kind, 0.1)
            told.append(f"{kind} {min(needed)} to {max(needed)}")
        return (
            f"A relative error of 10 % needs this rank, of {NUM_TOKENS}, from head to head: "
            f"{'; '.join(told)}."
        )

    @styled
    def draw(self) -> Figure:
        """The singular values, and the error of the best approximation against its rank."""
        figure = new_figure(height=4.4)
        left, right = figure.subplots(1, 2)
        for style, (kind, values) in zip(SERIES, self.values.items(), strict=False):
            line = {"color": style["color"], "ls": style["linestyle"], "lw": 1.2}
            share = values / values[:, :1]
            left.plot(torch.arange(1, NUM_TOKENS + 1).numpy(), share.mT.numpy(), **line)
            left.plot([], [], label=kind, **line)
            right.plot(RANKS, self.best[kind].mT.numpy(), **TRUTH | {"linewidth": 3})
            if self.errors is not None:
                right.plot(
                    RANKS, self.errors[kind].mT.numpy(), marker=style["marker"], ms=4, **line
                )
        if self.errors is None:
            write_in_place(right, "nothing to show")
        left.set(
            title="Singular values, a line a head",
            xlabel="r",
            ylabel="r-th singular value / largest",
            yscale="log",
            ylim=(1e-4, 1.5),
        )
        right.set(
            title="Error of the best map of rank r (grey: possible)",
            xlabel="rank r",
            ylabel="relative error",
            ylim=(0, None),
        )
        left.legend(loc="lower left")
        return figure


def _errors_by(
    low_rank_approximation: Callable[[Tensor, int], Tensor],
    relative_error: Callable[[Tensor, Tensor], Tensor],
    of_maps: Tensor,
) -> Tensor:
    """The reader's relative errors at RANKS, (heads, ranks). Raises ReaderError."""
    errors = []
    for rank in RANKS:
        name = "low_rank_approximation"
        close = run(name, low_rank_approximation, of_maps, rank)
        as_tensor(name, close, of_maps.shape)
        name = "relative_error"
        errors.append(as_tensor(name, run(name, relative_error, close, of_maps), of_maps.shape[:1]))
    return torch.stack(errors, dim=-1)


@one_thread()
def singular_values(
    low_rank_approximation: Callable[[Tensor, int], Tensor],
    relative_error: Callable[[Tensor, Tensor], Tensor],
) -> SingularValues:
    """Approximate learned attention maps, and random ones, by the reader's functions."""
    problems: list[str] = []
    values, best = {}, {}
    errors: dict[str, Tensor] | None = {}
    for kind, of_maps in maps().items():
        values[kind] = torch.linalg.svdvals(of_maps)
        norm = torch.linalg.matrix_norm(of_maps)
        best[kind] = torch.stack([best_error(of_maps, rank) / norm for rank in RANKS], dim=-1)
        if errors is None:
            continue
        try:
            errors[kind] = _errors_by(low_rank_approximation, relative_error, of_maps)
        except ReaderError as error:
            note(problems, error)
            errors = None
    if errors is not None:
        off = max((errors[kind] - best[kind]).abs().max().item() for kind in best)
        if not off < 1e-3:
            problems.append(
                "low_rank_approximation and relative_error together miss the smallest possible "
                f"error by {off:.2g}."
            )
    return SingularValues(problems=problems, values=values, errors=errors, best=best)

"""How tokens are mixed: FNet's fixed matrix, softmax's, and a global filter's, side by side."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from course.measure import one_thread
from course.specifications.linear_attention import circular_convolution, dft_matrix
from course.widgets.exhibit import (
    Exhibit,
    ReaderError,
    as_tensor,
    not_finite,
    note,
    percent,
    run,
)
from course.widgets.style import BLUE, GREY, TRUTH, new_figure, styled, write_in_place

NUM_TOKENS, IMPULSE = 32, 8
NAME = "fourier_mixing"


@dataclass(kw_only=True)
class Mixing(Exhibit):
    """Mixing matrices, (n, n): entry [t, s] is the weight of token s in the output t.

    Each is given for two different inputs. `fourier` is None where the reader's cannot be run.
    """

    fourier: tuple[Tensor, Tensor] | None
    fourier_truth: Tensor
    attention: tuple[Tensor, Tensor]
    circulant: Tensor

    def findings(self) -> str:
        """What each matrix depends on."""
        n = len(self.circulant)
        changes = [f"softmax's by {_change(*self.attention)}"]
        shares = [f"softmax {_share_far_away(self.attention[0])}"]
        if self.fourier is not None:
            changes.append(f"FNet's by {_change(*self.fourier)}")
            shares.append(f"FNet {_share_far_away(self.fourier[0])}")
        shares.append(f"the global filter {_share_far_away(self.circulant)}")
        return (
            f"From one input to another, the mixing matrix changes: {', '.join(changes)}. Of its "
            f"weight, this goes to tokens more than {n // 4} away: {', '.join(shares)}. A filter "
            f"has {n} numbers to learn a channel, for {n * n} weights."
        )

    @styled
    def draw(self) -> Figure:
        """The matrices above, and below what one token at s = 8 adds to each output."""
        figure = new_figure(height=5.4)
        panels = figure.subplots(2, 3, height_ratios=[2.1, 1])
        fourier = None if self.fourier is None else self.fourier[0]
        columns = [
            ("FNet: fixed", fourier),
            ("softmax: made by the input", self.attention[0]),
            ("global filter: fixed once learned", self.circulant),
        ]
        for (above, below), (title, matrix) in zip(panels.T, columns, strict=True):
            above.set(title=title, xlabel="from token s")
            above.grid(visible=False)
            below.set(xlabel="to token t")
            below.axhline(0, color=GREY, lw=1)
            if matrix is None or not matrix.isfinite().all():
                above.set(xticks=[], yticks=[])
                above.set_box_aspect(1)
                write_in_place(above, "nothing to show")
                continue
            weights = (matrix / matrix.abs().max()).numpy()
            image = above.imshow(weights, cmap="PuOr", vmin=-1, vmax=1)
            above.axvline(IMPULSE, color=BLUE, lw=1, ls="--")
            below.plot(matrix[:, IMPULSE].numpy(), color=BLUE, marker="o", ms=3.5, lw=1.2)
        panels[1, 0].plot(self.fourier_truth[:, IMPULSE].numpy(), zorder=0, **TRUTH)
        panels[0, 0].set_ylabel("to token t")
        panels[1, 0].set_ylabel(f"weight\nfrom token {IMPULSE}")
        figure.colorbar(image, ax=panels[0], label="weight / largest weight")
        return figure


def _change(before: Tensor, after: Tensor) -> str:
    """‖after − before‖ / ‖before‖ in words."""
    return percent(((after - before).norm() / before.norm()).item())


def _share_far_away(matrix: Tensor) -> str:
    """The share of Σ|weight| that crosses more than a quarter of the sequence, round the end."""
    n = len(matrix)
    distance = (torch.arange(n).unsqueeze(-1) - torch.arange(n)).abs()
    far = torch.minimum(distance, n - distance) > n // 4
    return percent((matrix.abs()[far].sum() / matrix.abs().sum()).item())


def _mixing_problems(fourier_mixing: Callable[[Tensor], Tensor]) -> list[str]:
    """A sentence if fourier_mixing is not Re(W_n x W_d) on 12 tokens of 6 numbers."""
    x = torch.randn(12, 6, generator=torch.Generator().manual_seed(9))
    truth = (dft_matrix(12) @ x.to(torch.complex128) @ dft_matrix(6)).real
    try:
        output = as_tensor(NAME, run(NAME, fourier_mixing, x), (12, 6))
    except ReaderError as error:
        return [str(error)]
    off = ((output - truth).norm() / truth.norm()).item()
    if off < 1e-3:
        return []
    return [f"{NAME} is not the transform over both axes by definition: it is {percent(off)} off."]


@one_thread()
def mixing_matrices(fourier_mixing: Callable[[Tensor], Tensor]) -> Mixing:
    """Read off the mixing matrix of `fourier_mixing` at one channel, beside two others.

    Token s has the weights f(x + impulse at s) − f(x). Softmax attends among 32 tokens that
    resemble their neighbours; the filter is a decaying wave, as a trained one may be.
    """
    n = NUM_TOKENS
    generator = torch.Generator().manual_seed(10)
    impulses = torch.eye(n).unsqueeze(-1)  # (s, t, 1)
    problems = _mixing_problems(fourier_mixing)
    fourier = None
    try:
        matrices = []
        for x in torch.randn(2, n, 1, generator=generator):
            mixed = run(NAME, fourier_mixing, torch.cat([x + impulses, x.unsqueeze(0)]))
            mixed = as_tensor(NAME, mixed, (n + 1, n, 1)).squeeze(-1)
            matrices.append((mixed[:-1] - mixed[-1]).T)
        fourier = (matrices[0], matrices[1])
        problems += not_finite(NAME, fourier[0])
    except ReaderError as error:
        note(problems, error)
    tokens = torch.randn(2, n + 4, 16, generator=generator).unfold(-2, 5, 1).sum(dim=-1)
    tokens = torch.nn.functional.normalize(tokens, dim=-1)
    attention = (5 * tokens @ tokens.mT).softmax(dim=-1).double()
    lag = torch.arange(n, dtype=torch.float64)
    lag = torch.minimum(lag, n - lag)
    wave = (torch.exp(-lag / 4) * torch.cos(lag)).unsqueeze(-1)  # (n, 1)
    return Mixing(
        problems=problems,
        fourier=fourier,
        fourier_truth=dft_matrix(n).real,
        attention=(attention[0], attention[1]),
        circulant=circular_convolution(impulses.double(), wave).squeeze(-1).T,
    )

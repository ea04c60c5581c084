"""Roofs, and kernels under them: what attention computes and moves, and what runs here reach."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from course.hardware import GPU_ROOFS, Roof
from course.measure import PRODUCT_SIDE, fastest_seconds, flops_a_second
from course.widgets.exhibit import ReaderError, as_tensor, percent, run
from course.widgets.hardware_aware_attention.hierarchy import hierarchy_here

HERE = "This machine, one thread"
STANDARD, FLASH = "standard", "flash"

N, D, TILE = 4096, 64, 256
"""Tokens, head dimension and rows of a tile for which the kernels are timed."""


class Point(NamedTuple):
    """A place in a roofline plot: FLOPs a byte, and FLOPs a second."""

    intensity: float
    flops_a_second: float


@cache
def roof_here() -> Roof:
    """The roof of one thread of this machine, measured: a matrix product, and sums of numbers."""
    hierarchy = hierarchy_here()
    return Roof(
        peak_flops=flops_a_second(),
        bandwidth=hierarchy.bandwidth[-1],
        bytes_per_element=4,
        faster={level.name: level.bytes_a_second for level in hierarchy.levels[:-1]},
        source="float32, measured",
    )


def roofs() -> dict[str, Roof]:
    """This machine's roof, and the GPUs', by name."""
    return {HERE: roof_here(), **GPU_ROOFS}


def attainable(intensity: float, roof: Roof) -> float:
    """FLOPs a second under the roof: all that the processor can, or that the memory can feed."""
    return min(roof.peak_flops, intensity * roof.bandwidth)


def attention_flops(n: int, d: int) -> int:
    """FLOPs of the two products, and 5 a score: compare, subtract, exponential, add, divide."""
    return 4 * n**2 * d + 5 * n**2


def moved_elements(n: int, d: int, sram_elements: int, algorithm: str) -> int:
    """Elements between HBM and SRAM, added up kernel by kernel, or tile by tile."""
    if algorithm == STANDARD:
        scores, softmax, averaging = 2 * n * d + n**2, 2 * n**2, n**2 + 2 * n * d
        return scores + softmax + averaging
    block = min(n, sram_elements // (4 * d))
    moved = 0
    for start in range(0, n, block):
        rows = min(block, n - start)
        moved += rows * d + 2 * n * d  # its queries; all keys and values
        moved += rows * d + rows  # its outputs; a logsumexp a row
    return moved


# --- kernels, timed on this machine ---------------------------------------------------------------


@cache
def timed_kernels(tiled_attention: Callable[..., Any] | None) -> tuple[dict[str, Point], list[str]]:
    """The course's kernels on one thread, by name, and what is wrong with the reader's.

    Their bytes: what each operation reads and writes if it does both once; of tiled attention, what
    tiles of TILE rows move. `tiled_attention` is left out where it is None or wrong.
    """
    q, k, v = torch.randn(3, N, D, generator=torch.Generator().manual_seed(0))
    # Made once: to get memory from the system for them costs as much as the products.
    scores, weights = torch.empty(2, N, N)

    def standard() -> Tensor:
        torch.matmul(q * D**-0.5, k.mT, out=scores)
        torch.softmax(scores, dim=-1, out=weights)
        return weights @ v

    def linear() -> Tensor:
        phi_q, phi_k = F.elu(q) + 1, F.elu(k) + 1
        return phi_q @ (phi_k.mT @ v) / (phi_q @ phi_k.sum(dim=0)).unsqueeze(-1)

    flops, once = attention_flops(N, D), 4 * N * D
    # name: (what runs, FLOPs, elements)
    kernels: dict[str, tuple[Callable[[], Any], int, int]] = {
        "standard attention": (standard, flops, moved_elements(N, D, 0, STANDARD)),
        "softmax of its scores": (
            lambda: torch.softmax(scores, -1, out=weights),
            5 * N**2,
            2 * N**2,
        ),
        "torch's fused attention": (
            lambda: F.scaled_dot_product_attention(q[None, None], k[None, None], v[None, None]),
            flops,
            once,
        ),
        "linear attention": (linear, 4 * N * D**2, once),
    }
    problems = []
    if tiled_attention is not None:
        try:
            _check_tiled(tiled_attention)
            kernels["tiled_attention"] = (
                lambda: tiled_attention(q, k, v, TILE, TILE, False),
                flops,
                moved_elements(N, D, 4 * TILE * D, FLASH),
            )
        except ReaderError as error:
            problems.append(str(error))
    seconds = fastest_seconds({name: kernel[0] for name, kernel in kernels.items()}, repeats=3)
    points = {
        name: Point(flops / (4 * elements), flops / seconds[name])
        for name, (_, flops, elements) in kernels.items()
    }
    # The product that gave the roof its height.
    product_intensity = 2 * PRODUCT_SIDE**3 / (4 * 3 * PRODUCT_SIDE**2)
    points["matrix product"] = Point(product_intensity, flops_a_second())
    return points, problems


def _check_tiled(tiled_attention: Callable[..., Any]) -> None:
    """Raises ReaderError where a short run is not attention."""
    name = "tiled_attention"
    q, k, v = torch.randn(3, 50, 8, generator=torch.Generator().manual_seed(0))
    returned = run(name, tiled_attention, q, k, v, 16, 16, False)
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise ReaderError(f"{name} did not return an output and a logsumexp.")
    output = as_tensor(name, returned[0], (50, 8))
    truth = ((q @ k.mT / 8**0.5).softmax(dim=-1) @ v).double()
    off = ((output - truth).norm() / truth.norm()).item()
    if not off < 1e-3:
        raise ReaderError(f"{name} is not attention: its output is {percent(off)} off.")

"""Time the Triton kernels of 05_hardware_aware_attention on a GPU: `make bench-gpu`.

First every kernel passes the checks of its exercise, compiled. Then attention, forward and with
its gradients, beside attention by its formula and the backends of torch, in float16 with 4,096
tokens in a batch at least. Without a GPU it says so and ends with status 2.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from autograder.check import check_exercise
from autograder.exercises import exercises_of
from benchmarks.report import RESULTS, describe_machine
from course.triton_here import DEVICE, HAS_TRITON, triton
from solutions.hardware_aware_attention import kernels as course

TOPIC = "hardware_aware_attention"
SIZES = (512, 1024, 2048, 4096, 8192, 16384)
HEADS, TOKENS = 16, 16384
TOLERANCE = 2e-2
NO_GPU = "There is no GPU that torch can use here: nothing was measured. Run it where there is one."
# What the course promises, on an A100 or H100, from n = 4096 on: at most so many times the
# milliseconds of the other.
PROMISED = {("formula", False): 1 / 3, ("flash", False): 1 / 0.80, ("flash", True): 1 / 0.65}


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one contender; None where it does not run, with the reason."""

    contender: str
    n: int
    d: int
    causal: bool
    backward: bool
    milliseconds: float | None
    why: str = ""

    @property
    def teraflops(self) -> float:
        """10¹² FLOPs a second: 4n²d a head, half if causal; the gradients take 2.5 times that."""
        flops = 4 * self.n**2 * self.d * HEADS * batch_of(self.n)
        flops *= (0.5 if self.causal else 1) * (3.5 if self.backward else 1)
        return flops / self.milliseconds / 1e9


def batch_of(n: int) -> int:
    """As many sequences as make TOKENS tokens, so that a short one fills the GPU too."""
    return max(1, TOKENS // n)


def by_the_formula(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """Softmax attention with its n × n matrix."""
    scores = q @ k.mT * q.shape[-1] ** -0.5
    if causal:
        n = q.shape[-2]
        hidden = torch.ones(n, n, dtype=torch.bool, device=q.device).triu(1)
        scores.masked_fill_(hidden, float("-inf"))
    return scores.softmax(dim=-1) @ v


def by_torch(backend: SDPBackend) -> Callable[..., Tensor]:
    """torch's attention with one of its backends."""

    def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    return attend


CONTENDERS: dict[str, Callable[..., Tensor]] = {
    "course": course.FlashAttention.apply,
    "formula": by_the_formula,
    "flash": by_torch(SDPBackend.FLASH_ATTENTION),
    "memory-efficient": by_torch(SDPBackend.EFFICIENT_ATTENTION),
    "cuDNN": by_torch(SDPBackend.CUDNN_ATTENTION),
}


def check_the_kernels() -> None:
    """Raise RuntimeError if a kernel, compiled here, does not earn all its points."""
    for exercise in exercises_of(TOPIC).values():
        if exercise.kind == "kernel":
            report = check_exercise(exercise, getattr(course, exercise.name))
            if report.points < exercise.points:
                raise RuntimeError(f"{exercise.name} does not pass on this GPU:\n{report}")


def measure(n: int, d: int, causal: bool) -> list[Timing]:
    """Time every contender, forward and with gradients; all must give the formula's output."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    shape = batch_of(n), HEADS, n, d
    q, k, v, towards = (
        torch.randn(shape, generator=generator, device=DEVICE, dtype=torch.float16)
        for _ in range(4)
    )
    few = slice(0, 1), slice(0, 1)
    truth = by_the_formula(*(x[few].float() for x in (q, k, v)), causal)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    timings = []
    for name, attend in CONTENDERS.items():

        def forward(attend: Callable = attend) -> Tensor:
            return attend(*leaves, causal)

        def both(forward: Callable = forward) -> None:
            torch.autograd.grad(forward(), leaves, towards)

        for backward, run in ((False, forward), (True, both)):
            milliseconds, why = None, ""
            try:
                with torch.no_grad():
                    error = (forward()[few] - truth).abs().max().item()
                if error > TOLERANCE:
                    raise RuntimeError(f"its output differs by {error:.2g}")
                with torch.set_grad_enabled(backward):
                    milliseconds = triton.testing.do_bench(run, return_mode="median")
            except (RuntimeError, torch.OutOfMemoryError) as failed:
                why = str(failed).splitlines()[0][:80]
                torch.cuda.empty_cache()
            timings.append(Timing(name, n, d, causal, backward, milliseconds, why))
    return timings


def table(timings: list[Timing], d: int, causal: bool, backward: bool) -> Table:
    """One row for each contender: milliseconds, 10¹² FLOPs a second, and times the course's."""
    what = f"d = {d}, {'causal' if causal else 'not causal'}"
    title = f"{what}, {'forward + backward' if backward else 'forward'}"
    shown = Table("contender", *(f"n = {n}" for n in SIZES), title=title, box=box.MARKDOWN)
    chosen = [t for t in timings if (t.d, t.causal, t.backward) == (d, causal, backward)]
    ours = {t.n: t.milliseconds for t in chosen if t.contender == "course"}
    for name in CONTENDERS:
        cells = []
        for timing in (t for t in chosen if t.contender == name):
            if timing.milliseconds is None:
                cells.append(timing.why)
                continue
            ratio = f" (×{ours[timing.n] / timing.milliseconds:.2f})" if ours[timing.n] else ""
            cells.append(f"{timing.milliseconds:.3g} ms, {timing.teraflops:.0f} TFLOP/s{ratio}")
        shown.add_row(name, *cells)
    return shown


def targets(timings: list[Timing]) -> list[str]:
    """Of each target, the worst ratio of our time to the other's, and whether it is met."""
    by_key = {(t.contender, t.n, t.d, t.causal, t.backward): t.milliseconds for t in timings}
    lines = []
    for (other, backward), most in PROMISED.items():
        ratios = [
            ours / theirs
            for (name, n, d, causal, which), ours in by_key.items()
            if name == "course" and which == backward and n >= 4096 and ours
            if (theirs := by_key.get((other, n, d, causal, which)))
        ]
        what = f"course / {other}, {'with gradients' if backward else 'forward'}, n ≥ 4096"
        if not ratios:
            lines.append(f"{what}: not measured")
            continue
        verdict = "met" if max(ratios) <= most else "missed"
        lines.append(f"{what}: at worst {max(ratios):.2f}, target {most:.2f}: {verdict}")
    return lines


def main() -> int:
    """Check, measure, print and save; 2 where there is no GPU."""
    console = Console(width=200)
    if DEVICE != "cuda" or not HAS_TRITON:
        console.print(NO_GPU)
        return 2
    check_the_kernels()
    settings = [(n, d, causal) for d in (64, 128) for causal in (False, True) for n in SIZES]
    timings = [t for setting in track(settings) for t in measure(*setting)]
    machine = describe_machine([]) | {
        "GPU": torch.cuda.get_device_name(),
        "CUDA": str(torch.version.cuda or torch.version.hip),
        "triton": triton.__version__,
    }
    RESULTS.mkdir(exist_ok=True)
    saved = {"machine": machine, "timings": [asdict(timing) for timing in timings]}
    (RESULTS / "gpu_attention.json").write_text(json.dumps(saved, indent=1) + "\n")
    with open(RESULTS / "gpu_attention.md", "w", encoding="utf-8") as file:
        for out in (console, Console(file=file, width=250)):
            out.print("# 05_hardware_aware_attention on a GPU\n", markup=False)
            out.print("; ".join(f"{name} {value}" for name, value in machine.items()) + ".\n")
            for d, causal, backward in {(t.d, t.causal, t.backward): 0 for t in timings}:
                out.print(table(timings, d, causal, backward))
            for line in targets(timings):
                out.print(f"- {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

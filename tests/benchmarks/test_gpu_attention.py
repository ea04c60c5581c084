"""The benchmark of the Triton kernels, as far as it goes without a GPU."""

import io

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from benchmarks import gpu_attention
from benchmarks.gpu_attention import CONTENDERS, PROMISED, SIZES, Timing, table, targets
from course.triton_here import DEVICE


def timings(ours: float, theirs: float) -> list[Timing]:
    return [
        Timing(name, n, 64, False, backward, ours if name == "course" else theirs)
        for name in CONTENDERS
        for n in SIZES
        for backward in (False, True)
    ]


def test_attention_by_the_formula_is_attention():
    q, k, v = torch.randn(3, 1, 2, 9, 16)
    for causal in (False, True):
        truth = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        assert torch.allclose(gpu_attention.by_the_formula(q, k, v, causal), truth, atol=1e-5)


def test_flops_are_those_of_two_products_a_head_and_half_of_them_if_causal():
    n = gpu_attention.TOKENS
    whole = Timing("course", n, 64, False, False, milliseconds=1.0)
    assert whole.teraflops == pytest.approx(gpu_attention.HEADS * 2 * 2 * n * n * 64 / 1e-3 / 1e12)
    causal = Timing("course", n, 64, True, False, milliseconds=1.0)
    assert causal.teraflops == whole.teraflops / 2


def test_a_target_is_met_or_missed_by_the_worst_ratio():
    assert all(line.endswith(": met") for line in targets(timings(ours=1.0, theirs=3.5)))
    assert all(line.endswith(": missed") for line in targets(timings(ours=2.0, theirs=1.0)))
    none = [t for t in timings(1.0, 1.0) if t.n < 4096]
    assert targets(none) == [f"{line.split(':')[0]}: not measured" for line in targets(none)]
    assert len(targets(none)) == len(PROMISED)


def test_what_did_not_run_stands_in_the_table_with_its_reason():
    some = timings(1.0, 2.0)
    some[-1] = Timing("cuDNN", SIZES[-1], 64, False, True, None, "out of memory")
    console = Console(width=300, file=io.StringIO())
    console.print(table(some, 64, False, True))
    text = console.file.getvalue()
    assert "out of memory" in text
    assert text.count("(×0.50)") == (len(CONTENDERS) - 1) * len(SIZES) - 1


@pytest.mark.skipif(DEVICE == "cuda", reason="there is a GPU: run make bench-gpu")
def test_without_a_gpu_it_says_so_and_measures_nothing(capsys):
    assert gpu_attention.main() == 2
    assert gpu_attention.NO_GPU in capsys.readouterr().out

"""Triton as it can run here, and machines without it."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from course import machine_code as compiler
from course.machine_code import TARGETS, CompileError, machine_code
from course.specifications.hardware_aware_attention.kernels import launch_softmax
from course.triton_here import DEVICE, MISSING, tl, triton
from solutions.hardware_aware_attention import kernels as right
from solutions.hardware_aware_attention import tiled_attention
from solutions.hardware_aware_attention.kernels import FlashAttention, flash_attention


def attention(q, k, v, causal):
    scores = q @ k.mT * q.shape[-1] ** -0.5
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~seen, -math.inf)
    return scores.softmax(dim=-1) @ v


def inputs(n_q=37, n_k=37, d=16, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 3, n_q, d), (2, 3, n_k, d), (2, 3, n_k, d)
    return [torch.randn(*shape, generator=generator).to(DEVICE, dtype) for shape in shapes]


BOUNDS = {torch.float32: 5e-6, torch.float16: 5e-3, torch.bfloat16: 5e-2}


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_flash_attention_and_its_gradients_equal_those_of_attention_in_float64(causal, dtype):
    given = [x.requires_grad_() for x in inputs(45, 37, 32, dtype)]
    exact = [x.detach().double().requires_grad_() for x in given]
    output, truth = FlashAttention.apply(*given, causal), attention(*exact, causal)
    assert (output - truth).abs().max() < BOUNDS[dtype]
    towards = torch.randn_like(output)
    gradients = torch.autograd.grad(output, given, towards)
    truths = torch.autograd.grad(truth, exact, towards.double())
    for gradient, right_one in zip(gradients, truths, strict=True):
        assert (gradient - right_one).abs().max() < 4 * BOUNDS[dtype]


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION], ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_tiles_and_kernel_give_what_torchs_backends_give(causal, backend):
    q, k, v = (x.cpu() for x in inputs(50, 50, 32))
    with sdpa_kernel(backend):
        truth = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    by_tiles, _ = tiled_attention(q, k, v, 16, 16, causal)
    by_kernel = flash_attention(*(x.to(DEVICE) for x in (q, k, v)), causal)
    for output in (by_tiles, by_kernel.cpu()):
        assert torch.allclose(output, truth, rtol=1e-4, atol=1e-5)


def test_between_forward_and_backward_one_number_a_query_is_kept():
    given = [x.requires_grad_() for x in inputs(64, 64)]
    kept = FlashAttention.apply(*given, False).grad_fn.saved_tensors
    outside = {x.data_ptr() for x in given}
    new = [x for x in kept if x.data_ptr() not in outside]
    assert sorted(x.numel() for x in new) == [2 * 3 * 64, 2 * 3 * 64 * 16]  # logsumexp, output


def test_a_head_size_that_is_no_power_of_two_is_refused_with_what_is_taken():
    with pytest.raises(ValueError, match=r"24 numbers; the kernels take \(16, 32, 64, 128\)"):
        flash_attention(*inputs(d=24))


def test_rows_of_a_wider_matrix_have_their_softmax():
    x = inputs()[0][0, 0].repeat(1, 3)[:, 5:18]
    wide = torch.randn(x.shape[0], 40, device=DEVICE)
    wide[:, 5:18] = x
    assert torch.allclose(right.triton_softmax(wide[:, 5:18]), x.softmax(dim=-1), atol=1e-6)


def test_columns_that_do_not_lie_side_by_side_have_their_softmax_and_a_launch_refuses_them():
    x = inputs()[0][0, 0].mT
    assert torch.allclose(right.triton_softmax(x), x.softmax(dim=-1), atol=1e-6)
    with pytest.raises(ValueError, match="side by side"):
        launch_softmax(right.softmax_kernel, x, torch.empty_like(x))


# --- The interpreter, mended ---------------------------------------------------------------------


@triton.jit
def product_kernel(a_ptr, b_ptr, out_ptr, count, SIZE: tl.constexpr):
    i = tl.arange(0, SIZE)
    place = i[:, None] * SIZE + i[None, :]
    total = tl.zeros((SIZE, SIZE), tl.float32)
    for _ in range(0, count):  # the bound is a tensor
        total += tl.dot(tl.load(a_ptr + place), tl.load(b_ptr + place))
    tl.store(out_ptr + place, total)


def test_bfloat16_matrices_are_multiplied_as_numbers_and_a_tensor_bounds_a_loop():
    a, b = (x[0, 0, :16].bfloat16().contiguous() for x in inputs()[:2])
    out = torch.empty(16, 16, device=DEVICE)
    product_kernel[(1,)](a, b, out, 3, SIZE=16)
    assert torch.allclose(out, 3 * (a.float() @ b.float()), rtol=1e-4, atol=1e-4)


@triton.jit
def arithmetic_kernel(x_ptr, out_ptr, SIZE: tl.constexpr):
    i = tl.arange(0, SIZE)
    x = tl.load(x_ptr + i)
    y = -x * 0.5 + x * x
    tl.store(out_ptr + i, tl.where(x > 0.0, y, y - 1.0))
    tl.store(out_ptr + SIZE + i, x.to(tl.float32) * 1.001)
    tl.store(out_ptr + 2 * SIZE, tl.sum(x, axis=0))


def test_bfloat16_is_computed_in_as_by_torch():
    x = torch.linspace(-3, 2, 16).bfloat16().to(DEVICE)
    out = torch.zeros(33, dtype=torch.bfloat16, device=DEVICE)
    arithmetic_kernel[(1,)](x, out, SIZE=16)
    y = -x * 0.5 + x * x
    assert torch.allclose(out[:16], torch.where(x > 0, y, y - 1), rtol=0.02, atol=0.02)
    # To the nearest number, and not towards 0.
    assert torch.equal(out[16:32], (x.float() * 1.001).bfloat16())
    assert torch.allclose(out[32], x.sum(), rtol=0.02)


@triton.jit
def half_of_a_load_kernel(x_ptr, out_ptr, SIZE: tl.constexpr):
    i = tl.arange(0, SIZE)
    tl.store(out_ptr + i, tl.load(x_ptr + i, mask=i < SIZE // 2))


@pytest.mark.skipif(DEVICE != "cpu", reason="compiled, it is whatever lies there")
@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
def test_what_a_masked_load_leaves_undefined_is_nan_in_the_interpreter(dtype):
    x, out = torch.ones(8, dtype=dtype), torch.zeros(8, dtype=dtype)
    half_of_a_load_kernel[(1,)](x, out, SIZE=8)
    assert out.isnan().tolist() == [False] * 4 + [True] * 4


@triton.jit
def copy_kernel(x_ptr, out_ptr, first, SIZE: tl.constexpr):
    i = first + tl.arange(0, SIZE)
    tl.store(out_ptr + i, tl.load(x_ptr + i))


@pytest.mark.skipif(DEVICE != "cpu", reason="compiled kernels are not watched")
@pytest.mark.parametrize("first", [-3, 3, -(10**9), 10**9])
def test_what_a_kernel_reaches_beyond_its_tensors_is_counted_and_does_no_harm(first):
    from course.interpreter import watched

    x, whole = torch.ones(8), torch.zeros(24)
    out = whole[8:16]
    with watched([x], [out]) as seen:
        copy_kernel[(1,)](x, out, first, SIZE=8)
    inside = max(0, 8 - abs(first))
    assert (seen.read_outside, seen.written_outside) == (8 - inside, 8 - inside)
    assert whole.nonzero().numel() == inside


@pytest.mark.skipif(DEVICE != "cpu", reason="compiled kernels are not watched")
def test_inputs_are_not_to_be_written_and_are_not():
    from course.interpreter import watched

    x, y = torch.ones(8), torch.zeros(8)
    with watched([x, y], []) as seen:
        copy_kernel[(1,)](x, y, 0, SIZE=8)
    assert (seen.read_outside, seen.written_outside, y.sum()) == (0, 8, 0)


def in_a_new_process(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_makes_no_difference_who_imported_triton_first():
    program = (
        "import triton, torch\n"
        "from solutions.hardware_aware_attention.kernels import triton_softmax\n"
        "x = torch.randn(3, 5)\n"
        "print(torch.allclose(triton_softmax(x), x.softmax(-1), atol=1e-6))"
    )
    assert in_a_new_process(program) == "True\n"


WITHOUT_TRITON = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "triton" else find(name, *more)
sys.modules["triton"] = None
"""


def test_without_triton_kernels_can_be_defined_and_say_what_is_missing():
    program = (
        "from autograder.check import check_exercise\n"
        "from autograder.exercises import all_exercises\n"
        "from solutions.hardware_aware_attention.kernels import *\n"
        "report = check_exercise(all_exercises()['softmax_kernel'], softmax_kernel)\n"
        "print(report.points, report.lines[0].complaint)\n"
        "try:\n    softmax_kernel[(1,)]()\nexcept RuntimeError as error:\n    print(error)"
    )
    said = in_a_new_process(WITHOUT_TRITON + program).splitlines()
    assert said[0].startswith("0 ")
    assert MISSING in said[0]
    assert said[1] == MISSING


# --- Machine code for GPUs that are not here -----------------------------------------------------

CONSTANTS = {"CAUSAL": False, "BLOCK_Q": 64, "BLOCK_K": 32}


@pytest.mark.parametrize("d", [64, 128])
def test_the_forward_kernel_becomes_good_machine_code_for_every_target(d):
    rows = machine_code(right.flash_attention_kernel, D=d, **CONSTANTS)
    assert [row.target for row in rows] == list(TARGETS)
    for row in rows:
        assert row.spilled == 0
        assert row.shared_memory <= row.allowed_shared_memory
        assert row.tensor_core_instructions > 0
        assert 0 < row.registers <= 512


def test_without_a_product_of_tiles_no_tensor_core_is_used():
    rows = machine_code(right.softmax_kernel, BLOCK=1024)
    assert [row.tensor_core_instructions for row in rows] == [0, 0, 0]


def test_tiles_that_are_too_large_are_spilled():
    # 256 numbers for each of its threads, each of which has fewer registers.
    rows = machine_code(right.softmax_kernel, BLOCK=32_768)
    assert any(row.spilled for row in rows)


@triton.jit
def mixed_kernel(a_ptr, out_ptr):
    i = tl.arange(0, 16)
    a = tl.load(a_ptr + i[:, None] * 16 + i[None, :])
    tl.store(out_ptr + i, tl.dot(a.to(tl.float32), a))


def test_a_kernel_that_does_not_compile_says_why():
    with pytest.raises(CompileError, match="same dtype"):
        machine_code(mixed_kernel)


def test_a_compilation_that_takes_too_long_is_ended_with_all_its_processes(monkeypatch, tmp_path):
    hangs = tmp_path / "python"
    hangs.write_text("#!/bin/sh\nsleep 600 &\necho $! > $0.child\nwait\n")
    hangs.chmod(0o755)
    monkeypatch.setattr(compiler.sys, "executable", str(hangs))
    monkeypatch.setattr(compiler, "PATIENCE", 1)
    with pytest.raises(CompileError, match="was given up"):
        machine_code(right.flash_attention_kernel, D=16, **CONSTANTS)
    child = int((tmp_path / "python.child").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"

"""The solutions of 05_hardware_aware_attention against slow definitions, torch and autograd."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.exercises import exercises_of
from course.measure import count_cost
from course.specifications.hardware_aware_attention import (
    attained_flops,
    attention_and_logsumexp,
    attention_gradients,
    attention_with_counted_traffic,
    softmax_number_by_number,
)
from solutions import hardware_aware_attention as right

small = st.integers(1, 9)
lengths = st.integers(1, 20)
blocks = st.integers(1, 25)
quick = settings(max_examples=30, deadline=None)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# --- Roofline ------------------------------------------------------------------------------------


@given(
    flops=st.floats(1, 1e15),
    bytes=st.floats(1, 1e12),
    peak_flops=st.floats(1e9, 1e15),
    bandwidth=st.floats(1e9, 1e13),
)
@quick
def test_the_roofline_is_what_a_run_attains_that_computes_and_moves_at_once(
    flops, bytes, peak_flops, bandwidth
):
    intensity = right.arithmetic_intensity(flops, bytes)
    bound = right.roofline(intensity, peak_flops, bandwidth)
    assert bound == pytest.approx(attained_flops(flops, bytes, peak_flops, bandwidth))


def test_a_tensor_of_intensities_gives_a_tensor_of_bounds():
    bounds = right.roofline(torch.tensor([0.5, 4.0, 100.0]), peak_flops=80.0, bandwidth=10.0)
    close(bounds, torch.tensor([5.0, 40.0, 80.0]))


# --- Online softmax ------------------------------------------------------------------------------


@given(n=lengths, block_size=blocks, scale=st.sampled_from([0.1, 3.0, 300.0]))
@quick
def test_online_softmax_equals_torch_and_the_definition_for_any_block(n, block_size, scale):
    x = scale * normal(2, 3, n)
    output = right.online_softmax(x, block_size)
    close(output, x.softmax(dim=-1))
    close(output[0, 0], torch.tensor(softmax_number_by_number(x[0, 0].tolist())).double(), 1e-6)


@given(n=lengths, block_size=blocks, hidden=st.sets(st.integers(0, 19)))
@quick
def test_minus_infinity_weighs_nothing_wherever_it_is(n, block_size, hidden):
    x = normal(2, n)
    x[0, [i for i in hidden if i < n]] = -math.inf
    x[1] = -math.inf
    truth = torch.tensor([softmax_number_by_number(row) for row in x.tolist()])
    close(right.online_softmax(x, block_size), truth.double(), 1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_keeps_its_dtype_and_sums_long_rows_right(dtype):
    x = (0.1 * normal(3000)).to(dtype)
    output = right.online_softmax(x, 1)
    assert output.dtype == dtype
    truth = x.double().softmax(dim=-1)
    torch.testing.assert_close(output.double(), truth, rtol=2 * torch.finfo(dtype).eps, atol=1e-7)


@pytest.mark.parametrize("largest", ["first", "last"])
def test_numbers_near_the_ends_of_float32_do_not_overflow(largest):
    x = torch.linspace(-1.5e38, 1.5e38, 11)
    x = x if largest == "last" else x.flip(0)
    close(right.online_softmax(x, 3), x.softmax(dim=-1))


def reads_of(function):
    softmax = exercises_of("hardware_aware_attention")["online_softmax"].parts[0]
    answer = softmax.probe(function, x=torch.ones(2, 3, 7), block_size=4, logged=True)
    return answer["reads"].tolist()


def test_the_log_of_reads_holds_the_columns_that_operations_read_in_order():
    def by_blocks(x, block_size):
        return torch.cat([block.exp() for block in x.split(block_size, dim=-1)], dim=-1)

    assert reads_of(by_blocks) == [[0, 4], [4, 7]]
    assert reads_of(lambda x, _: x[..., 2:3] + x.mT[..., 5:, :].mT) == [[2, 3], [5, 7]]
    assert reads_of(lambda x, _: x.clone()[..., :4] * 2) == [[0, 7]]


def test_views_and_shapes_are_no_reads():
    def shapes_only(x, block_size):
        x.view(-1).unflatten(0, (6, 7)).unsqueeze(0).expand(2, -1, -1)
        return torch.zeros_like(x) + x.new_zeros(x.shape)

    assert reads_of(shapes_only) == []


# --- Tiles ---------------------------------------------------------------------------------------


@given(
    n_q=lengths, n_k=lengths, d=small, e=small, block_q=blocks, block_k=blocks, causal=st.booleans()
)
@quick
def test_tiled_attention_equals_the_definition_for_any_tile(
    n_q, n_k, d, e, block_q, block_k, causal
):
    q, k, v = normal(2, n_q, d), normal(2, n_k, d, seed=1), normal(2, n_k, e, seed=2)
    output, lse = right.tiled_attention(q, k, v, block_q, block_k, causal)
    true_output, true_lse = attention_and_logsumexp(q, k, v, causal)
    close(output, true_output)
    close(lse, true_lse)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_tiled_attention_equals_torchs_fused_attention(causal, scale):
    q, k, v = normal(3, 2, 4, 37, 8)
    q, k = scale * q, scale * k
    output, _ = right.tiled_attention(q, k, v, 8, 5, causal)
    close(output, F.scaled_dot_product_attention(q, k, v, is_causal=causal))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32_however_many_tiles_there_are(dtype):
    q, k, v = (0.1 * normal(3, 1, 4096, 8)).to(dtype)
    q = q[:, :5]
    true_output, true_lse = attention_and_logsumexp(q.double(), k.double(), v.double(), False)
    output, lse = right.tiled_attention(q, k, v, 4, 1, False)
    assert output.dtype == dtype
    close(lse.double(), true_lse, 1e-3)
    close(output.double(), true_output, 1e-3)
    grad_out = torch.ones_like(output)
    gradients = right.flash_backward(q, k, v, output, lse, grad_out, 4, 64, False)
    truths = attention_gradients(q.double(), k.double(), v.double(), grad_out.double(), False)
    for mine, truth in zip(gradients, truths, strict=True):
        assert mine.dtype == dtype
        close(mine.double(), truth, 1e-3)


def test_a_logsumexp_far_below_zero_is_finite():
    q, k = torch.full((1, 6, 4), 30.0), torch.full((1, 9, 4), -30.0)
    output, lse = right.tiled_attention(q, k, normal(1, 9, 4, dtype=torch.float32), 4, 4, False)
    close(lse, torch.full((1, 6), -1800 + math.log(9)), 1e-6)
    assert output.isfinite().all()


@given(
    n_q=lengths, n_k=lengths, d=small, e=small, block_q=blocks, block_k=blocks, causal=st.booleans()
)
@quick
def test_flash_backward_equals_autograd_for_any_tile(n_q, n_k, d, e, block_q, block_k, causal):
    q, k, v = normal(2, n_q, d), normal(2, n_k, d, seed=1), normal(2, n_k, e, seed=2)
    grad_out = normal(2, n_q, e, seed=3)
    out, lse = right.tiled_attention(q, k, v, block_q, block_k, causal)
    gradients = right.flash_backward(q, k, v, out, lse, grad_out, block_q, block_k, causal)
    for mine, truth in zip(gradients, attention_gradients(q, k, v, grad_out, causal), strict=True):
        close(mine, truth)


def test_inputs_need_not_be_contiguous_and_stay_as_they_are():
    q, k, v, grad_out = normal(4, 2, 8, 13).mT
    before = q.clone(), k.clone(), v.clone(), grad_out.clone()
    out, lse = right.tiled_attention(q, k, v, 4, 5, True)
    gradients = right.flash_backward(q, k, v, out, lse, grad_out, 4, 5, True)
    for mine, truth in zip(gradients, attention_gradients(q, k, v, grad_out, True), strict=True):
        close(mine, truth)
    for now, then in zip((q, k, v, grad_out), before, strict=True):
        assert torch.equal(now, then)


def forward(n, causal, block=32):
    q, k, v = normal(3, 1, 1, n, 16)
    return count_cost(lambda: right.tiled_attention(q, k, v, block, block, causal))


def backward(n, causal, block=32):
    q, k, v, out, grad_out = normal(5, 1, 1, n, 16)
    lse = torch.zeros(1, 1, n, dtype=q.dtype)
    return count_cost(
        lambda: right.flash_backward(q, k, v, out, lse, grad_out, block, block, causal)
    )


@pytest.mark.parametrize("run", [forward, backward])
def test_no_tensor_is_larger_than_the_inputs_or_a_tile(run):
    for n in (64, 256):
        for causal in (False, True):
            assert run(n, causal).largest_tensor == max(n * 16, 32 * 32)


@pytest.mark.parametrize("run", [forward, backward])
def test_causal_work_is_that_of_the_tiles_on_and_below_the_diagonal(run):
    n, tiles = 256, 256 // 32
    share = tiles * (tiles + 1) / 2 / tiles**2
    assert run(n, True).work / run(n, False).work == pytest.approx(share, rel=0.03)


# --- Traffic -------------------------------------------------------------------------------------


@given(
    n=st.integers(1, 30),
    d=small,
    sram_elements=st.integers(36, 400),
    algorithm=st.sampled_from(["standard", "flash"]),
)
@quick
def test_the_traffic_is_what_a_run_counts_and_the_run_is_attention(n, d, sram_elements, algorithm):
    q, k, v = normal(3, n, d)
    output, counted = attention_with_counted_traffic(q, k, v, sram_elements, algorithm)
    assert right.attention_hbm_traffic(n, d, sram_elements, algorithm) == counted
    close(output, F.scaled_dot_product_attention(q[None], k[None], v[None])[0])


def test_the_traffic_of_flash_grows_like_n2_d2_over_m():
    for d in (32, 64, 128):
        for sram_elements in (2**14, 2**16):
            n = 2**18
            traffic = right.attention_hbm_traffic(n, d, sram_elements, "flash")
            leading = 8 * n**2 * d**2 / sram_elements
            assert traffic == pytest.approx(leading, rel=0.02)


def test_what_fits_in_no_tile_and_what_nobody_knows_is_refused():
    assert right.attention_hbm_traffic(10, 8, 32, "flash") == 10 * 16 * 11 + 10
    with pytest.raises(ValueError, match="31 elements do not hold four rows of 8"):
        right.attention_hbm_traffic(10, 8, 31, "flash")
    with pytest.raises(ValueError, match="'linear'"):
        right.attention_hbm_traffic(10, 8, 32, "linear")

"""The solutions of 02_linear_attention against the slow specifications, in float64."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from course.measure import count_cost, scaling_exponent
from course.specifications.linear_attention import (
    circular_convolution,
    dft_matrix,
    kernel_attention,
)
from solutions import linear_attention as right

small = st.integers(1, 9)
quick = settings(max_examples=30, deadline=None)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def two_sided(x):
    return torch.cat([F.softplus(x), F.softplus(-x)], dim=-1)


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@given(n_q=small, n_k=small, d=small, e=small)
@quick
def test_linear_attention_equals_the_specification(n_q, n_k, d, e):
    q, k, v = normal(2, n_q, d), normal(2, n_k, d, seed=1), normal(2, n_k, e, seed=2)
    close(right.linear_attention(q, k, v, two_sided), kernel_attention(q, k, v, two_sided))


@given(n=st.integers(1, 20), chunk_size=st.integers(1, 25))
@quick
def test_causal_linear_attention_equals_the_specification_for_any_chunk(n, chunk_size):
    q, k, v = normal(3, 2, 2, n, 4)
    truth = kernel_attention(q, k, v, two_sided, causal=True)
    close(right.causal_linear_attention(q, k, v, two_sided, chunk_size), truth)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_keeps_its_dtype_and_stays_near_the_truth(dtype):
    q, k, v = normal(3, 2, 13, 8)
    truth = kernel_attention(q, k, v, right.elu_feature_map, causal=True)
    q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    out = right.causal_linear_attention(q, k, v, right.elu_feature_map, 5)
    assert out.dtype == dtype
    close(out.double(), truth, tolerance=8 * torch.finfo(dtype).eps)


def test_inputs_need_not_be_contiguous():
    q, k, v = normal(3, 2, 8, 13).mT
    truth = kernel_attention(q, k, v, right.elu_feature_map)
    close(right.linear_attention(q, k, v, right.elu_feature_map), truth)


def test_recurrent_steps_equal_the_causal_form():
    q, k, v = normal(3, 2, 11, 4)
    state = (v.new_zeros(2, 8, 4), v.new_zeros(2, 8))
    outputs = []
    for t in range(11):
        state, out = right.recurrent_step(state, q[:, t], k[:, t], v[:, t], two_sided)
        outputs.append(out)
    close(torch.stack(outputs, 1), kernel_attention(q, k, v, two_sided, causal=True))


def test_counted_work_is_linear_where_softmax_attention_is_quadratic():
    sizes = [512, 1024, 2048]

    def exponent(function):
        work = []
        for n in sizes:
            q, k, v = normal(3, 1, 1, n, 8)
            work.append(count_cost(lambda q=q, k=k, v=v: function(q, k, v)).work)
        return scaling_exponent(sizes, work)

    def softmax(q, k, v):
        return (q @ k.mT).softmax(dim=-1) @ v

    projection = normal(16, 8)
    assert exponent(softmax) > 1.9
    assert exponent(lambda *x: right.linear_attention(*x, two_sided)) < 1.05
    assert exponent(lambda *x: right.causal_linear_attention(*x, two_sided, 16)) < 1.05
    assert exponent(lambda *x: right.performer_attention(*x, projection)) < 1.05
    assert exponent(lambda *x: right.performer_attention(*x, projection, causal=True)) < 1.05


def test_trigonometric_and_positive_features_are_unbiased_but_only_one_is_positive():
    x, y = 0.4 * normal(2, 200, 4)
    truth = (x * y).sum(-1).exp()
    for features in (right.trigonometric_random_features, right.positive_random_features):
        projection = normal(200_000, 4, seed=3)
        estimate = (features(x[:5], projection) * features(y[:5], projection)).sum(-1)
        close(estimate, truth[:5], tolerance=0.03)
    few = normal(4, 4, seed=5)
    assert (
        right.positive_random_features(x, few) @ right.positive_random_features(y, few).mT > 0
    ).all()
    trigonometric = right.trigonometric_random_features
    assert (trigonometric(6 * x, few) @ trigonometric(6 * y, few).mT < 0).any()


def test_measured_variances_agree_with_the_formulas_of_the_notebook():
    x, y = torch.full((1, 3), 0.5), torch.tensor([[0.5, -0.2, 0.1]])
    draws = normal(20000, 8, 3, dtype=torch.float32)
    kappa, plus, gap = (x * y).sum().exp(), (x + y).square().sum(), (x - y).square().sum()
    predicted = {
        right.positive_random_features: kappa**2 / 8 * (plus.exp() - 1),
        right.trigonometric_random_features: kappa**2 / 16 * gap.exp() * (1 - (-gap).exp()) ** 2,
    }
    for features, variance in predicted.items():
        measured = torch.stack([(features(x, w) * features(y, w)).sum() for w in draws]).var()
        close(measured, variance, tolerance=0.1)


def test_orthogonal_features_have_a_smaller_error_than_independent_ones():
    x, y = 0.8 * normal(2, 20, 8, dtype=torch.float32)
    truth = (x * y).sum(-1).exp()
    generator = torch.Generator().manual_seed(0)

    def mean_squared_error(draw):
        errors = []
        for _ in range(500):
            w = draw()
            estimate = right.positive_random_features(x, w) * right.positive_random_features(y, w)
            errors.append((estimate.sum(-1) - truth).square().mean())
        return torch.stack(errors).mean()

    orthogonal = mean_squared_error(lambda: right.orthogonal_random_features(8, 8, generator))
    independent = mean_squared_error(lambda: torch.randn(8, 8, generator=generator))
    assert orthogonal < independent


def test_performer_attention_converges_to_softmax_attention():
    q, k, v = 0.5 * normal(3, 2, 16, 8)
    for causal in (False, True):
        truth = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        errors = [
            (right.performer_attention(q, k, v, normal(m, 8, seed=m), causal) - truth).norm()
            for m in (16, 16384)
        ]
        assert errors[1] < errors[0] / 5


@given(n=small, d=small)
@quick
def test_fourier_mixing_equals_the_dft_matrices(n, d):
    x = normal(2, n, d)
    truth = (dft_matrix(n) @ x.to(torch.complex128) @ dft_matrix(d)).real
    close(right.fourier_mixing(x), truth)


@given(n=small, d=small)
@quick
def test_global_filter_equals_the_circular_convolution(n, d):
    x, kernel = normal(2, n, d), normal(n, d, seed=1)
    weights = torch.fft.rfft(kernel, dim=0)
    close(right.global_filter(x, weights), circular_convolution(x, kernel))

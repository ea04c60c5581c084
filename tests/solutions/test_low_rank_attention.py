"""The solutions of 03_low_rank_attention against the slow specifications, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from course.measure import count_cost, scaling_exponent
from course.specifications.low_rank_attention import (
    attention_over_mixtures,
    distortions,
    iterated_on_a_number,
    means_of_segments,
    nystrom_matrix,
    rank_that_keeps,
)
from solutions import low_rank_attention as right

small = st.integers(1, 9)
quick = settings(max_examples=30, deadline=None)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def softmax_matrices(*shape, scale=2.0, seed=0):
    return (scale * normal(*shape, seed=seed)).softmax(dim=-1)


# --- Spectrum and rank ---------------------------------------------------------------------------


@given(n_q=small, n_k=small)
@quick
def test_the_spectrum_is_the_roots_of_the_eigenvalues_of_the_product(n_q, n_k):
    attention = softmax_matrices(2, n_q, n_k)
    squares = torch.linalg.eigvalsh(attention @ attention.mT).flip(-1)[..., : min(n_q, n_k)]
    close(right.attention_spectrum(attention).square(), squares)


@given(n_q=small, n_k=small, energy=st.floats(0.01, 0.999))
@quick
def test_the_effective_rank_equals_the_specification(n_q, n_k, energy):
    attention = softmax_matrices(3, n_q, n_k)
    spectra = right.attention_spectrum(attention).tolist()
    ranks = [rank_that_keeps(spectrum, energy) for spectrum in spectra]
    assert right.effective_rank(attention, energy).tolist() == ranks


@pytest.mark.parametrize("energy", [0.5, 0.9, 0.99])
def test_the_effective_rank_is_the_first_whose_best_approximation_misses_little(energy):
    attention = softmax_matrices(20, 20)
    u, s, vh = torch.linalg.svd(attention)
    rank = int(right.effective_rank(attention, energy))

    def missed(k):
        best = u[:, :k] * s[:k] @ vh[:k]
        return (attention - best).square().sum() / attention.square().sum()

    assert missed(rank) <= 1 - energy < missed(rank - 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_whole_energy_never_takes_more_than_all_values(dtype):
    attention = softmax_matrices(50, 7, 9).to(dtype)
    assert (right.effective_rank(attention, 1.0) <= 7).all()


def test_sharper_attention_has_a_larger_effective_rank():
    ranks = [
        right.effective_rank(softmax_matrices(4, 32, 32, scale=scale), 0.9).double().mean()
        for scale in (0.1, 1.0, 3.0, 10.0)
    ]
    assert ranks == sorted(ranks)
    assert ranks[0] == 1
    assert ranks[-1] > 8


# --- Linformer -----------------------------------------------------------------------------------


@given(n_q=small, n_k=small, d=small, d_v=small, projected=small)
@quick
def test_linformer_attention_equals_the_specification(n_q, n_k, d, d_v, projected):
    q, k, v = normal(2, 2, n_q, d), normal(2, 2, n_k, d, seed=1), normal(2, 2, n_k, d_v, seed=2)
    e, f = normal(2, n_k, projected, seed=3)
    truth = attention_over_mixtures(q, k, v, e, f)
    close(right.linformer_attention(q, k, v, e, f), truth)


def test_linformer_with_the_identity_is_softmax_attention():
    q, k, v = normal(3, 2, 13, 8)
    identity = torch.eye(13, dtype=q.dtype)
    truth = (q @ k.mT / math.sqrt(8)).softmax(-1) @ v
    close(right.linformer_attention(q, k, v, identity, identity), truth)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_keeps_its_dtype_and_stays_near_the_truth(dtype):
    q, k, v = normal(3, 2, 2, 13, 8)
    e, f = normal(2, 13, 4, seed=1) / math.sqrt(13)
    truth = attention_over_mixtures(q, k, v, e, f)
    out = right.linformer_attention(*(x.to(dtype) for x in (q, k, v, e, f)))
    assert out.dtype == dtype
    close(out.double(), truth, tolerance=8 * torch.finfo(dtype).eps)


# --- Random projections --------------------------------------------------------------------------


@given(p=st.integers(2, 9), n=small, k=small)
@quick
def test_the_distortion_equals_the_specification(p, n, k):
    points, projection = normal(p, n), normal(n, k, seed=1)
    close(right.distortion(points, projection), distortions(points, projection).max())


def test_the_variance_of_a_projected_length_is_2_over_k_whatever_n_is():
    generator = torch.Generator().manual_seed(0)
    for n, k in ((5, 8), (100, 8), (100, 32)):
        x = F.normalize(normal(n, dtype=torch.float32), dim=0)
        draws = [
            right.johnson_lindenstrauss_projection(n, k, generator).mT @ x for _ in range(4000)
        ]
        squares = torch.stack(draws).square().sum(dim=-1)
        close(squares.mean(), torch.tensor(1.0), tolerance=0.04)
        close(squares.var(), torch.tensor(2 / k), tolerance=0.15 * 2 / k)


def test_the_number_of_columns_that_the_lemma_asks_for_keeps_every_distance():
    p, epsilon, generator = 40, 0.5, torch.Generator().manual_seed(0)
    k = math.ceil(4 * math.log(p) / (epsilon**2 / 2 - epsilon**3 / 3))
    points = normal(p, 300, dtype=torch.float32)
    enough = right.johnson_lindenstrauss_projection(300, k, generator)
    few = right.johnson_lindenstrauss_projection(300, 4, generator)
    assert right.distortion(points, enough) < epsilon < right.distortion(points, few)


def test_projected_attention_outputs_come_nearer_as_columns_are_added():
    # Theorem 1 of the Linformer paper: PEEᵀw is near Pw for E from the lemma.
    generator = torch.Generator().manual_seed(0)
    attention, w = softmax_matrices(64, 64).float(), normal(64, 1, dtype=torch.float32)

    def error(k):
        e = [right.johnson_lindenstrauss_projection(64, k, generator) for _ in range(200)]
        away = torch.stack([attention @ x @ (x.mT @ w) - attention @ w for x in e])
        return away.square().mean().sqrt()

    close(error(16) / error(256), torch.tensor(4.0), tolerance=0.15 * 4)


# --- Segment means -------------------------------------------------------------------------------


@given(n=st.integers(1, 30), data=st.data())
@quick
def test_segment_means_equal_the_specification_for_any_number_of_landmarks(n, data):
    num_landmarks = data.draw(st.integers(1, n))
    x = normal(2, 3, n, 2)
    means = right.segment_means(x, num_landmarks)
    close(means, means_of_segments(x, num_landmarks))
    split = [segment.mean(dim=-2) for segment in x.tensor_split(num_landmarks, dim=-2)]
    close(means, torch.stack(split, dim=-2))


@pytest.mark.parametrize("n", [12, 13])
def test_segment_means_take_what_is_not_contiguous_and_keep_its_gradient(n):
    x = normal(2, 4, n).mT.requires_grad_()
    assert not x.is_contiguous()
    close(right.segment_means(x, 4), means_of_segments(x, 4))
    assert torch.autograd.gradcheck(lambda x: right.segment_means(x, 4), x)


# --- The iterated pseudo-inverse -----------------------------------------------------------------


def test_the_start_leaves_a_residual_below_1():
    a = normal(50, 6, 6)
    residual = torch.eye(6, dtype=a.dtype) - a @ right.iterative_pinv(a, 0)
    assert (torch.linalg.matrix_norm(residual, 2) < 1).all()


@given(m=small, num_iterations=st.integers(0, 8))
@quick
def test_every_iteration_turns_the_residual_into_its_third_power(m, num_iterations):
    a, identity = softmax_matrices(2, m, m), torch.eye(m, dtype=torch.float64)

    def residual(iterations):
        return identity - a @ right.iterative_pinv(a, iterations)

    before = residual(num_iterations)
    third = before @ before @ before
    close(residual(num_iterations + 1), (3 * third + third @ before) / 4)


@pytest.mark.parametrize("num_iterations", [0, 1, 6, 12])
def test_the_iteration_acts_on_each_singular_value_alone(num_iterations):
    a = softmax_matrices(7, 7)
    u, s, vh = torch.linalg.svd(a)
    norms = torch.linalg.matrix_norm(a, 1) * torch.linalg.matrix_norm(a, torch.inf)
    inverted = [iterated_on_a_number(sigma, norms.item(), num_iterations) for sigma in s.tolist()]
    truth = vh.mT @ torch.diag(torch.tensor(inverted, dtype=a.dtype)) @ u.mT
    close(right.iterative_pinv(a, num_iterations), truth)


def test_it_converges_to_the_pseudo_inverse_of_softmax_matrices():
    a = softmax_matrices(2, 3, 16, 16)
    assert torch.linalg.cond(a).max() > 100
    close(right.iterative_pinv(a, 25), torch.linalg.pinv(a), tolerance=1e-6)


def test_it_converges_where_there_is_no_inverse():
    landmark = torch.tensor([0, 1, 2, 3, 1])
    a = (4 * torch.eye(4, dtype=torch.float64))[landmark][:, landmark].softmax(dim=-1)
    assert torch.linalg.matrix_rank(a) == 4
    close(right.iterative_pinv(a, 10), torch.linalg.pinv(a))


def test_six_iterations_are_not_enough_where_singular_values_are_small():
    a = softmax_matrices(64, 64)
    truth = torch.linalg.pinv(a)
    errors = [(right.iterative_pinv(a, j) - truth).norm() / truth.norm() for j in (6, 20)]
    assert errors[0] > 0.5
    assert errors[1] < 1e-6


def test_matrices_of_a_batch_do_not_change_each_other():
    a = softmax_matrices(3, 5, 5) * torch.tensor([100.0, 1.0, 0.01]).double()[:, None, None]
    together = right.iterative_pinv(a, 6)
    for matrix, inverse in zip(a, together, strict=True):
        close(inverse, right.iterative_pinv(matrix, 6))


def test_the_gradient_of_the_iteration_is_right():
    a = normal(2, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: right.iterative_pinv(a, 3), a)


# --- Nyström attention ---------------------------------------------------------------------------


@given(n_q=st.integers(4, 14), n_k=st.integers(4, 14), d_v=small, num_landmarks=st.integers(1, 4))
@quick
def test_nystrom_attention_equals_the_product_of_the_three_factors(n_q, n_k, d_v, num_landmarks):
    # Queries and keys of unlike segments, so that the middle factor has an inverse to converge to.
    q, k = (6 * F.normalize(normal(2, n, 8, seed=n), dim=-1) for n in (n_q, n_k))
    v = normal(2, n_k, d_v, seed=2)
    landmarks = (means_of_segments(x, num_landmarks) for x in (q, k))
    truth = nystrom_matrix(q, k, *landmarks) @ v
    close(right.nystrom_attention(q, k, v, num_landmarks, 30), truth, tolerance=1e-6)


def test_nystrom_attention_is_softmax_attention_where_every_token_is_a_landmark():
    q = 4 * F.normalize(normal(2, 3, 11, 8), dim=-1)
    v = normal(2, 3, 11, 5, seed=1)
    truth = (q @ q.mT / math.sqrt(8)).softmax(-1) @ v
    close(right.nystrom_attention(q, q, v, 11, 30), truth, tolerance=1e-8)


def test_weights_of_nystrom_attention_sum_to_1_once_the_inverse_has_converged():
    q, k = 2 * normal(2, 24, 8)
    ones = torch.ones(24, 1, dtype=q.dtype)
    close(right.nystrom_attention(q, k, ones, 6, 30), ones, tolerance=1e-6)


def nystrom_error(q, k, v, num_landmarks, num_iterations):
    truth = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v
    away = right.nystrom_attention(q, k, v, num_landmarks, num_iterations) - truth
    return away.norm() / truth.norm()


def test_more_landmarks_come_nearer_to_softmax_attention_of_a_smooth_sequence():
    q, k, v = normal(3, 64, 8).cumsum(dim=1) / 4
    errors = [nystrom_error(q, k, v, num_landmarks, 6) for num_landmarks in (2, 8, 32)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05


def test_an_inverse_that_has_converged_does_worse_where_attention_is_not_of_low_rank():
    # Segments of unrelated tokens have nearly equal means: the inverse magnifies what is noise.
    q, k, v = normal(3, 8, 64, 8)
    assert nystrom_error(q, k, v, 16, 6) < 1 < nystrom_error(q, k, v, 16, 30)


@pytest.mark.parametrize("shape", [(1, 2), (13, 4), (2, 3, 2, 13, 4)])
def test_any_leading_dimensions_are_taken(shape):
    q, k, v = normal(3, *shape)
    assert right.nystrom_attention(q, k, v, 1, 6).shape == shape
    e, f = normal(2, shape[-2], 3)
    assert right.linformer_attention(q, k, v, e, f).shape == shape


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

    def linformer(q, k, v):
        e, f = normal(2, q.shape[-2], 16)
        return right.linformer_attention(q, k, v, e, f)

    assert exponent(softmax) > 1.9
    assert exponent(linformer) < 1.05
    assert exponent(lambda q, k, v: right.nystrom_attention(q, k, v, 16, 6)) < 1.05
    assert exponent(lambda q, k, v: right.segment_means(q, 16)) < 1.05

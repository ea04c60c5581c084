"""The solutions of 00_foundations against slow specifications, counts and libraries."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from autograder.answers import reference_answers
from autograder.exercise import PUBLIC_SEED
from autograder.exercises import exercises_of
from autograder.extract import exercise_source
from autograder.judge import judge
from autograder.probes import run_probe
from course import measure
from course.specifications.foundations import (
    attention_query_by_query,
    best_error,
    count_attention,
    frobenius_norm,
    heads_one_by_one,
    misfit,
)
from solutions import foundations as right

small = st.integers(1, 9)
quick = settings(max_examples=30, deadline=None)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def gradients(function, *tensors):
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    output = function(*leaves)
    return torch.autograd.grad(output, leaves, normal(*output.shape, seed=9))


# --- softmax_attention ---------------------------------------------------------------------------


@given(n_q=small, n_k=small, d=small, e=small, masked=st.booleans(), causal=st.booleans())
@quick
def test_softmax_attention_and_its_gradients_equal_the_specification(
    n_q, n_k, d, e, masked, causal
):
    q, k, v = normal(2, n_q, d), normal(2, n_k, d, seed=1), normal(2, n_k, e, seed=2)
    mask = normal(2, n_q, n_k, seed=3) > 0 if masked else None

    def attend(function):
        return lambda q, k, v: function(q, k, v, mask, causal)

    ours, slow = attend(right.softmax_attention), attend(attention_query_by_query)
    close(ours(q, k, v), slow(q, k, v))
    for gradient, truth in zip(gradients(ours, q, k, v), gradients(slow, q, k, v), strict=True):
        close(gradient, truth)


@pytest.mark.parametrize("n_k", [7, 11])
@pytest.mark.parametrize("how", ["all", "mask", "padding", "causal"])
def test_softmax_attention_equals_torchs_own(how, n_k):
    q, k, v = normal(2, 3, 7, 4), normal(2, 3, n_k, 4, seed=1), normal(2, 3, n_k, 5, seed=2)
    shape = {"mask": (7, n_k), "padding": (2, 1, 1, n_k)}.get(how)
    mask = normal(*shape, seed=3) > 0 if shape else None
    truth = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=how == "causal")
    close(right.softmax_attention(q, k, v, mask, causal=how == "causal"), truth)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_keeps_its_dtype_and_stays_near_the_truth(dtype):
    q, k, v = normal(3, 2, 13, 8)
    mask = normal(13, 13, seed=1) > 0
    truth = attention_query_by_query(q, k, v, mask, causal=True)
    output = right.softmax_attention(*(x.to(dtype) for x in (q, k, v)), mask, causal=True)
    assert output.dtype == dtype
    close(output.double(), truth, tolerance=8 * torch.finfo(dtype).eps)


def test_large_logits_stay_finite_in_float32():
    q, k, v = (100 * normal(3, 2, 13, 8, dtype=torch.float32)).unbind()
    assert right.softmax_attention(q, k, v, causal=True).isfinite().all()
    assert all(x.isfinite().all() for x in gradients(right.softmax_attention, q, k, v))


def test_a_query_without_keys_gives_zeros_and_takes_no_part_in_the_gradient():
    q, k, v = normal(3, 2, 5, 4)
    mask = torch.ones(5, 5, dtype=torch.bool)
    mask[2] = False
    assert right.softmax_attention(q, k, v, mask)[:, 2].eq(0).all()
    with_it = gradients(lambda *x: right.softmax_attention(*x, mask), q, k, v)
    assert with_it[0][:, 2].eq(0).all()
    other = torch.cat([q[:, :2], q[:, 2:3] + 1, q[:, 3:]], dim=1)
    for a, b in zip(
        with_it, gradients(lambda *x: right.softmax_attention(*x, mask), other, k, v), strict=True
    ):
        assert torch.equal(a, b)


def test_inputs_are_left_as_they_were_and_need_not_be_contiguous():
    q, k, v = normal(3, 2, 8, 13).mT
    before = [x.clone() for x in (q, k, v)]
    mask = normal(13, 13, seed=1) > 0
    kept = mask.clone()
    truth = attention_query_by_query(q, k, v, mask, causal=True)
    close(right.softmax_attention(q, k, v, mask, causal=True), truth)
    assert all(map(torch.equal, (q, k, v, mask), (*before, kept)))


# --- multi_head_attention ------------------------------------------------------------------------


def of_torch(d_model, num_heads):
    """torch's module, and its four weights, which ours takes as arguments."""
    module = torch.nn.MultiheadAttention(
        d_model, num_heads, bias=False, batch_first=True, dtype=torch.float64
    )
    return module, (*module.in_proj_weight.chunk(3), module.out_proj.weight)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("n", "num_heads"), [(1, 1), (7, 2), (13, 4), (6, 8)])
def test_multi_head_attention_equals_torchs_module_with_the_same_weights(n, num_heads, causal):
    module, weights = of_torch(8, num_heads)
    x = normal(3, n, 8)
    hidden = torch.ones(n, n, dtype=torch.bool).triu(1) if causal else None
    truth, _ = module(x, x, x, attn_mask=hidden, need_weights=False)
    close(right.multi_head_attention(x, *weights, num_heads, causal), truth)


@given(n=small, num_heads=st.integers(1, 4), d=small, e=small, causal=st.booleans())
@quick
def test_multi_head_attention_and_its_gradients_equal_the_specification(n, num_heads, d, e, causal):
    tensors = (
        normal(2, n, 5),
        normal(num_heads * d, 5, seed=1),
        normal(num_heads * d, 5, seed=2),
        normal(num_heads * e, 5, seed=3),
        normal(6, num_heads * e, seed=4),
    )

    def attend(function):
        return lambda *x: function(*x, num_heads, causal)

    ours, slow = attend(right.multi_head_attention), attend(heads_one_by_one)
    close(ours(*tensors), slow(*tensors))
    for gradient, truth in zip(gradients(ours, *tensors), gradients(slow, *tensors), strict=True):
        close(gradient, truth)


def test_an_unsolved_softmax_attention_does_not_fail_multi_head_attention():
    def softmax_attention(*args, **kwargs):
        raise NotImplementedError

    exercises = exercises_of("foundations")
    exercise = exercises["multi_head_attention"]
    namespace = {}
    exec(exercise_source(right, exercise.name, set(exercises)), namespace)
    namespace["softmax_attention"] = softmax_attention
    cases = exercise.draw(PUBLIC_SEED)
    answers, _ = run_probe(exercise, namespace[exercise.name], cases)
    report = judge(exercise, cases, answers, reference_answers(exercise, cases))
    assert report.points == exercise.points
    assert namespace["softmax_attention"] is softmax_attention


# --- attention_cost and scaling_exponent ---------------------------------------------------------


@given(n=st.integers(1, 40), d=st.integers(1, 40), heads=small, bytes_=st.sampled_from([2, 4, 8]))
@quick
def test_attention_cost_equals_what_a_run_counts(n, d, heads, bytes_):
    assert right.attention_cost(n, d, heads, bytes_) == count_attention(n, d, heads, bytes_)


def test_attention_cost_is_what_softmax_attention_costs():
    q, k, v = normal(3, 1, 5, 37, 8)
    flops, score_bytes, input_bytes = right.attention_cost(37, 8, 5, q.itemsize)
    with FlopCounterMode(display=False) as counter:
        right.softmax_attention(q, k, v)
    assert counter.get_total_flops() == flops
    cost = measure.count_cost(lambda: right.softmax_attention(q, k, v))
    assert cost.largest_tensor * q.itemsize == score_bytes
    assert q.nbytes + k.nbytes + v.nbytes == input_bytes


points = st.tuples(st.integers(1, 1000), st.floats(1e-9, 1e12))


@given(st.lists(points, min_size=2, max_size=8, unique_by=lambda point: point[0]))
@quick
def test_the_scaling_exponent_equals_that_of_the_course_and_of_numpy(measured):
    sizes, costs = zip(*measured, strict=True)
    exponent = right.scaling_exponent(sizes, costs)
    assert exponent == pytest.approx(measure.scaling_exponent(sizes, costs), rel=1e-6, abs=1e-6)
    fitted = np.polyfit(np.log(sizes), np.log(costs), 1)[0]
    assert exponent == pytest.approx(fitted, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("away", [-1e-3, 1e-3])
def test_no_other_exponent_fits_better(away):
    sizes, costs = [10, 20, 40, 90], [3.0, 17.0, 50.0, 400.0]
    exponent = right.scaling_exponent(sizes, costs)
    assert misfit(sizes, costs, exponent) < misfit(sizes, costs, exponent + away)


@pytest.mark.parametrize("exponent", [0, 1, 1.5, 2])
def test_the_scaling_exponent_of_a_power_is_that_power(exponent):
    sizes = [10, 100, 1000]
    costs = [3e-6 * n**exponent for n in sizes]
    assert right.scaling_exponent(sizes, costs) == pytest.approx(exponent)


def test_softmax_attention_costs_n_squared():
    sizes = [256, 512, 1024]

    def work(n):
        q, k, v = normal(3, 1, 1, n, 8)
        return measure.count_cost(lambda: right.softmax_attention(q, k, v)).work

    assert 1.95 < right.scaling_exponent(sizes, [work(n) for n in sizes]) <= 2


# --- low_rank_approximation and relative_error ---------------------------------------------------


@given(rows=small, columns=small, data=st.data())
@quick
def test_the_error_of_an_approximation_is_the_smallest_possible(rows, columns, data):
    rank = data.draw(st.integers(1, min(rows, columns)))
    matrix = normal(2, rows, columns)
    approximation = right.low_rank_approximation(matrix, rank)
    assert (torch.linalg.matrix_rank(approximation) <= rank).all()
    close(torch.linalg.matrix_norm(approximation - matrix), best_error(matrix, rank))


def test_no_descent_finds_a_closer_matrix_of_that_rank():
    matrix, rank = normal(7, 5), 2
    left, other = normal(7, rank, seed=1).requires_grad_(), normal(rank, 5, seed=2).requires_grad_()
    optimiser = torch.optim.LBFGS([left, other], max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        error = (left @ other - matrix).square().sum()
        error.backward()
        return error

    optimiser.step(loss)
    close((left @ other).detach(), right.low_rank_approximation(matrix, rank), tolerance=1e-4)


def test_each_matrix_of_a_batch_is_approximated_by_itself():
    batch = normal(2, 3, 6, 4) * torch.logspace(-2, 2, 3, dtype=torch.float64)[:, None, None]
    whole = right.low_rank_approximation(batch, 2)
    errors = right.relative_error(whole, batch)
    for index in np.ndindex(2, 3):
        close(whole[index], right.low_rank_approximation(batch[index], 2))
        truth = frobenius_norm(whole[index] - batch[index]) / frobenius_norm(batch[index])
        assert errors[index].item() == pytest.approx(truth)


@given(st.integers(1, 5))
@quick
def test_the_relative_error_of_an_approximation_follows_from_the_singular_values(rank):
    matrix = normal(6, 5)
    values = torch.linalg.svdvals(matrix)
    share = values[rank:].square().sum() / values.square().sum()
    error = right.relative_error(right.low_rank_approximation(matrix, rank), matrix)
    assert error.item() == pytest.approx(math.sqrt(share), abs=1e-12)


def test_the_relative_error_does_not_depend_on_the_unit():
    matrix, approximation = normal(5, 4), normal(5, 4, seed=1)
    error = right.relative_error(approximation, matrix)
    close(right.relative_error(1e-6 * approximation, 1e-6 * matrix), error)

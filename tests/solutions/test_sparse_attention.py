"""The solutions of 01_sparse_attention against the slow specifications, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from autograder.exercises import exercises_of
from autograder.grading.provisioner import SandboxProvisioner
from course.measure import count_cost, scaling_exponent
from course.specifications.sparse_attention import (
    bucket_of,
    expanded,
    found_by_lsh,
    masked_attention,
    only_itself_as_a_last_resort,
    walks,
)
from solutions import sparse_attention as right

length = st.integers(1, 23)
quick = settings(max_examples=30, deadline=None)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def by_pairs(n, sees):
    return torch.tensor([[sees(i, j) for j in range(n)] for i in range(n)])


@given(n=length, window=st.integers(0, 25))
@quick
def test_a_sliding_window_is_the_papers_index_set(n, window):
    near = by_pairs(n, lambda i, j: i - window <= j <= i + window)
    past = by_pairs(n, lambda i, j: i - window <= j <= i)
    assert torch.equal(right.sliding_window_mask(n, window, causal=False), near)
    assert torch.equal(right.sliding_window_mask(n, window, causal=True), past)


@given(n=length, stride=st.integers(1, 25))
@quick
def test_the_strided_pattern_is_the_union_of_the_papers_two_sets(n, stride):
    def sees(i, j):
        return j in range(max(0, i - stride), i + 1) or (j <= i and (i - j) % stride == 0)

    assert torch.equal(right.strided_mask(n, stride), by_pairs(n, sees))


@given(n=length, stride=st.integers(1, 8), data=st.data())
@quick
def test_the_fixed_pattern_is_the_union_of_the_papers_two_sets(n, stride, data):
    c = data.draw(st.integers(1, stride))

    def sees(i, j):
        return j <= i and (j // stride == i // stride or j % stride in range(stride - c, stride))

    assert torch.equal(right.fixed_mask(n, stride, c), by_pairs(n, sees))


@given(
    n=st.integers(1, 40),
    block_size=st.integers(1, 7),
    num_global=st.integers(0, 3),
    num_random=st.integers(0, 4),
)
@quick
def test_bigbird_has_window_global_and_so_many_random_blocks(n, block_size, num_global, num_random):
    generator = torch.Generator().manual_seed(n)
    mask = right.bigbird_mask(n, block_size, num_global, num_random, generator)
    blocks = mask[::block_size, ::block_size]
    assert torch.equal(mask, expanded(blocks, block_size, n))
    always = by_pairs(len(blocks), lambda i, j: abs(i - j) <= 1 or i < num_global or j < num_global)
    assert blocks[always].all()
    random = (blocks & ~always).sum(dim=-1)
    assert torch.equal(random, (~always).sum(dim=-1).clamp(max=num_random))


@given(n=st.integers(1, 9), num_layers=st.integers(1, 5), seed=st.integers(0, 100))
@quick
def test_reach_follows_the_edges_of_the_mask(n, num_layers, seed):
    mask = normal(n, n, seed=seed) > 0.7
    assert torch.equal(right.reachability(mask, num_layers), walks(mask, num_layers))


def test_a_window_reaches_as_far_as_layers_times_window():
    mask = right.sliding_window_mask(50, 3, causal=False)
    assert torch.equal(right.reachability(mask, 7), right.sliding_window_mask(50, 21, causal=False))


def test_two_layers_of_the_strided_and_of_the_fixed_pattern_reach_everything_before():
    everything = torch.ones(49, 49, dtype=torch.bool).tril()
    assert torch.equal(right.reachability(right.strided_mask(49, 7), 2), everything)
    assert torch.equal(right.reachability(right.fixed_mask(49, 7, 1), 2), everything)


def test_reach_over_very_many_layers_does_not_overflow():
    mask = torch.ones(64, 64, dtype=torch.bool)
    assert right.reachability(mask, 100).all()


def test_bigbird_draws_from_its_generator_alone():
    def draw():
        return right.bigbird_mask(64, 4, 1, 2, torch.Generator().manual_seed(1))

    first = draw()
    torch.manual_seed(5)
    assert torch.equal(draw(), first)


# --- Attention -----------------------------------------------------------------------------------


@given(n=st.integers(1, 90), window=st.integers(1, 95))
@quick
def test_sliding_window_attention_is_attention_with_its_mask(n, window):
    q, k, v = normal(2, n, 4), normal(2, n, 4, seed=1), normal(2, n, 3, seed=2)
    mask = right.sliding_window_mask(n, window, causal=False)
    close(right.sliding_window_attention(q, k, v, window), masked_attention(q, k, v, mask))


@given(n=length, stride=st.integers(1, 25))
@quick
def test_strided_attention_is_attention_with_its_mask(n, stride):
    q, k, v = normal(2, n, 4), normal(2, n, 4, seed=1), normal(2, n, 3, seed=2)
    mask = right.strided_mask(n, stride)
    close(right.strided_attention(q, k, v, stride), masked_attention(q, k, v, mask))


@given(n=length, block_size=st.integers(1, 6), seed=st.integers(0, 100))
@quick
def test_block_sparse_attention_is_attention_with_its_mask(n, block_size, seed):
    q, k, v = normal(2, n, 4), normal(2, n, 4, seed=1), normal(2, n, 3, seed=2)
    num_blocks = math.ceil(n / block_size)
    block_mask = (normal(num_blocks, num_blocks, seed=seed) > 0.5) | torch.eye(num_blocks).bool()
    out = right.block_sparse_attention(q, k, v, block_mask, block_size)
    close(out, masked_attention(q, k, v, expanded(block_mask, block_size, n)))


@given(n=length, half=st.integers(1, 4))
@quick
def test_the_bucket_is_that_of_the_largest_number(n, half):
    x, rotations = normal(2, n, 3), normal(3, half, seed=1)
    buckets = right.lsh_bucket(x, rotations)
    assert buckets.tolist() == [[bucket_of(row, rotations) for row in rows] for rows in x]


def candidates(q, num_buckets, num_rounds, chunk_size, generator):
    """The mask of one sequence (n, d) over all rounds, by the specification."""
    rotations = torch.randn(num_rounds, q.shape[-1], num_buckets // 2, generator=generator)
    found = [
        found_by_lsh(right.lsh_bucket(q, r), chunk_size) for r in rotations.to(q.dtype).unbind()
    ]
    return only_itself_as_a_last_resort(torch.stack(found).any(dim=0))


@given(
    n=length,
    half=st.integers(1, 4),
    num_rounds=st.integers(1, 4),
    chunk_size=st.integers(1, 9),
    seed=st.integers(0, 100),
)
@quick
def test_lsh_attention_is_attention_to_its_candidates(n, half, num_rounds, chunk_size, seed):
    q, v = normal(2, 2, n, 4), normal(2, 2, n, 3, seed=1)
    settings = (2 * half, num_rounds, chunk_size)
    out = right.lsh_attention(q, v, *settings, torch.Generator().manual_seed(seed))
    for b in range(2):
        for h in range(2):
            one = q[b, h]
            mask = candidates(one, *settings, torch.Generator().manual_seed(seed))
            k = F.normalize(one, dim=-1)
            close(out[b, h], masked_attention(one, k, v[b, h], mask))


def test_lsh_attention_is_exact_where_every_key_is_found():
    q = normal(1, 40, 8) * 0.1 + torch.ones(8)  # all in one direction
    v = normal(1, 40, 5, seed=1)
    out = right.lsh_attention(q, v, 4, 2, 64, torch.Generator().manual_seed(0))
    others = ~torch.eye(40, dtype=torch.bool)
    close(out, masked_attention(q, F.normalize(q, dim=-1), v, others))


# --- Gradients, types, costs ---------------------------------------------------------------------


def attentions(n):
    generator = torch.Generator().manual_seed(0)
    blocks = right.bigbird_mask(n, 16, 1, 2, generator)[::16, ::16]
    stride = math.isqrt(n)
    return {
        "window": lambda q, k, v: right.sliding_window_attention(q, k, v, 8),
        "strided": lambda q, k, v: right.strided_attention(q, k, v, stride),
        "blocks": lambda q, k, v: right.block_sparse_attention(q, k, v, blocks, 16),
        "lsh": lambda q, k, v: right.lsh_attention(
            q, v, 8, 2, 16, torch.Generator().manual_seed(0)
        ),
    }


NAMES = list(attentions(16))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name):
    q, k, v = (x.requires_grad_() for x in normal(3, 1, 19, 3))
    function = attentions(19)[name]
    if name == "lsh":
        assert torch.autograd.gradcheck(lambda q, v: function(q, None, v), (q, v))
    else:
        assert torch.autograd.gradcheck(function, (q, k, v))


@pytest.mark.parametrize("name", NAMES)
def test_inputs_may_have_any_leading_dimensions_and_layout(name):
    q, k, v = normal(3, 2, 3, 8, 37).mT
    function = attentions(37)[name]
    out = function(q, k, v)
    assert out.shape == v.shape
    close(function(q[1, 2], k[1, 2], v[1, 2]), out[1, 2])
    close(function(q.contiguous(), k.contiguous(), v.contiguous()), out)


class Devices(TorchDispatchMode):
    """Keeps where the results of operations lie, but for what a generator drew."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        if func.overloadpacket is not torch.ops.aten.randn:
            self.seen |= {x.device.type for x in tree_leaves(result) if isinstance(x, torch.Tensor)}
        return result


@pytest.mark.parametrize("name", ["window", "strided", "lsh"])
def test_everything_is_computed_on_the_device_of_the_inputs(name):
    function = attentions(19)[name]
    q, k, v = torch.randn(3, 1, 2, 19, 8, device="meta")
    with Devices() as devices:
        function(q, k, v)
    assert devices.seen == {"meta"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_low_precision_keeps_its_dtype_and_stays_near_the_truth(name, dtype):
    # Whole numbers over 8 are exact in every type, so that each finds the same buckets.
    q, k, v = ((8 * x).round() / 8 for x in normal(3, 1, 2, 33, 8))
    function = attentions(33)[name]
    out = function(q.to(dtype), k.to(dtype), v.to(dtype))
    assert out.dtype == dtype
    if name != "lsh" or dtype == torch.float32:
        close(out.double(), function(q, k, v), tolerance=8 * torch.finfo(dtype).eps)
    assert out.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_large_logits_stay_finite(name):
    q, k, v = 30 * normal(3, 1, 2, 33, 8, dtype=torch.float32)
    assert attentions(33)[name](q, k, v).isfinite().all()


def test_a_mask_of_the_long_blocks_does_not_fit_into_the_memory_that_grading_gives():
    exercise = exercises_of("sparse_attention")["block_sparse_attention"]
    long = exercise.draw(1, [part for part in exercise.parts if part.only_grading])["long"]
    assert long.inputs["q"].shape[-2] ** 2 > SandboxProvisioner.memory.default_value


EXPONENTS = {"window": (0.95, 1.1), "strided": (1.4, 1.6), "blocks": (0.9, 1.2), "lsh": (0.9, 1.1)}


@pytest.mark.parametrize("name", NAMES)
def test_counted_work_grows_as_promised_and_nothing_is_as_large_as_n_by_n(name):
    sizes = [1024, 2048, 4096]
    costs = []
    for n in sizes:
        function = attentions(n)[name]
        q, k, v = normal(3, 1, n, 16, dtype=torch.float32)
        costs.append(count_cost(lambda f=function, x=(q, k, v): f(*x)))
    low, high = EXPONENTS[name]
    assert low < scaling_exponent(sizes, [cost.work for cost in costs]) < high
    assert costs[-1].largest_tensor < sizes[-1] ** 2 / 4

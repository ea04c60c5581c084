"""Counters, clocks and fits."""

import subprocess
import sys
import time

import pytest
import torch
import torch.nn.functional as F

from course.measure import count_cost, fastest_seconds, scaling_exponent


def test_a_matrix_product_costs_two_operations_a_multiply_add():
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    assert count_cost(lambda: a @ b).work == 2 * 3 * 5 * 7


def test_elementwise_operations_cost_one_for_each_element_and_views_nothing():
    a = torch.ones(6, 4)
    assert count_cost(lambda: a + 1).work == 24
    assert count_cost(lambda: a.mT[:, ::2].unsqueeze(0)).work == 0
    assert count_cost(lambda: a[:1].expand(6, 4)).work == 0


def test_a_batched_matrix_product_costs_no_more_than_its_matrix_products():
    a, b = torch.ones(2, 3, 4, 5), torch.ones(2, 3, 5, 7)
    cost = count_cost(lambda: a @ b)
    assert cost.work == 2 * 3 * (2 * 4 * 5 * 7)
    assert (cost.calls, cost.largest_tensor) == (1, 2 * 3 * 4 * 7)


def test_counting_does_not_import_the_compiler_which_takes_seconds():
    program = (
        "import sys, torch\n"
        "from course.measure import count_cost\n"
        "assert count_cost(lambda: torch.ones(2) + 1).calls == 2\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_products_inside_fused_attention_are_counted_forward_and_backward():
    q, k, v = (torch.ones(1, 2, n, 8, requires_grad=True) for n in (16, 32, 32))
    products = 2 * 2 * (2 * 16 * 32 * 8)  # QKᵀ and PV
    cost = count_cost(lambda: F.scaled_dot_product_attention(q, k, v))
    assert products <= cost.work < 1.1 * products
    output = F.scaled_dot_product_attention(q, k, v)
    backward = count_cost(lambda: output.backward(torch.ones_like(output)))
    assert 2.5 * products <= backward.work < 2.7 * products  # the scores anew, and four gradients


def test_a_broadcast_view_does_not_count_as_a_large_tensor():
    column = torch.ones(1000, 1)
    assert count_cost(lambda: column.expand(1000, 1000)).largest_tensor == 0
    assert count_cost(lambda: column.expand(1000, 1000) + 0).largest_tensor == 1_000_000


@pytest.mark.parametrize("exponent", [0, 1, 1.5, 2])
def test_the_scaling_exponent_is_the_power(exponent):
    sizes = [10, 100, 1000]
    assert scaling_exponent(sizes, [3 * n**exponent for n in sizes]) == pytest.approx(exponent)


def test_functions_are_timed_in_turn_and_stop_at_the_budget(monkeypatch):
    order, now = [], [0.0]

    def run(name, seconds):
        order.append(name)
        now[0] += seconds

    monkeypatch.setattr("time.process_time", lambda: now[0])
    times = fastest_seconds(
        {"quick": lambda: run("quick", 0.1), "slow": lambda: run("slow", 3.0)}, repeats=3, budget=2
    )
    assert times == {"quick": pytest.approx(0.1), "slow": pytest.approx(3.0)}
    assert order == ["quick", "slow", "quick", "slow", "quick", "quick"]


def test_time_in_which_a_function_only_waits_is_left_out():
    def wait():
        time.sleep(0.1)

    assert fastest_seconds({"wait": wait}, repeats=1)["wait"] < 0.05

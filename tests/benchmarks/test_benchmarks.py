"""The benchmark's measurements, refusals and report, at tiny sizes and without the peers."""

import itertools
import json
import time

import pytest
import torch
from rich.console import Console

from benchmarks import (
    grading,
    harness,
    linear_attention,
    low_rank_attention,
    report,
    sparse_attention,
)
from benchmarks.harness import Cell, Contender, Row
from solutions import low_rank_attention as course


def numbers(n):
    return (harness.seeded(1, n, 4),)


def square(x):
    return x * x


def square_as_power(x):
    return x.pow(2)


def square_a_little_large(x):
    return 1.01 * x * x


def square_with_wrong_gradient(x):
    return x * x + (x - x.detach()) * x.detach()


def raise_an_error(x):
    raise ValueError("no such layer")


def square_slowly(x):
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    return x * x


OURS = Contender("course", square)
ROWS = (*sparse_attention.ROWS, *linear_attention.ROWS, *low_rank_attention.ROWS)


def cells_of(*peers, backward=True, sizes=(8,)):
    row = Row("square", (OURS, *peers), numbers, sizes, backward=backward)
    groups = list(harness.measure_rows([row]))
    return row, [cell for group in groups for cell in group]


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(harness, "ROUND_SECONDS", 0.01)
    yield
    torch.set_num_threads(threads)


def test_equal_functions_are_timed_in_both_passes():
    _, cells = cells_of(Contender("power", square_as_power))
    assert [cell.backward for cell in cells] == [False, False, True, True]
    assert {cell.status for cell in cells} == {harness.OK}
    for cell in cells:
        assert cell.seconds > 0
        assert cell.rounds >= harness.MIN_ROUNDS
        assert cell.error < 1e-5
        assert cell.peak_bytes >= 0
    assert cells[0].ratio == 1


@pytest.mark.parametrize("wrong", [square_a_little_large, square_with_wrong_gradient])
def test_a_peer_with_another_output_or_gradient_is_refused(wrong):
    _, cells = cells_of(Contender("wrong", wrong))
    refused = cells[-1]
    assert refused.status == harness.OUTPUTS_DIFFER
    assert refused.seconds is None
    assert refused.ratio is None
    assert cells[-2].status == harness.OK


def test_a_declared_difference_is_timed_but_is_no_peer():
    other = Contender("other", square_a_little_large, differs="1% larger")
    row, cells = cells_of(other, backward=False)
    assert cells[1].status == harness.OK
    assert cells[1].error is None
    assert report.fastest_peer(cells, row, backward=False) == {}


def test_a_missing_library_is_shown_with_the_command_that_installs_it():
    missing = Contender("missing", square, package="no-such-thing", module="no_such_thing.part")
    row, cells = cells_of(missing, backward=False)
    assert cells[1].status == harness.NOT_INSTALLED
    assert cells[1].detail == "pip install no-such-thing"
    assert "pip install no-such-thing" in printed([row], cells)


def test_a_call_that_does_not_end_in_time_is_over_budget_and_larger_sizes_are_counted_too(
    monkeypatch,
):
    monkeypatch.setattr(harness, "STOP_SECONDS", 0.0)
    _, cells = cells_of(Contender("slow", square_slowly), backward=False, sizes=(8, 16))
    slow = [cell for cell in cells if cell.contender == "slow"]
    assert [cell.status for cell in slow] == [harness.OVER_BUDGET] * 2
    assert "smaller size" in slow[1].detail


def test_a_failing_peer_is_a_row_with_its_error():
    row, cells = cells_of(Contender("broken", raise_an_error), backward=False)
    assert cells[1].status == harness.FAILED
    assert "no such layer" in cells[1].detail
    assert "no such layer" in printed([row], cells)


def test_turns_interleave_and_each_round_starts_with_another():
    order, ticks = [], itertools.count()
    runs = [lambda name=name: order.append(name) for name in "abc"]
    seconds = harness.take_turns(runs, clock=lambda: next(ticks))
    assert "".join(order[:9]) == "abcbcacab"
    assert len({len(times) for times in seconds}) == 1
    assert all(time == 1 for times in seconds for time in times)


def test_the_ratio_is_the_median_of_the_ratios_of_each_round():
    assert harness.median_ratio([1.0, 2.0, 30.0], [2.0, 2.0, 10.0]) == 1.0


def test_the_slope_is_the_exponent():
    assert harness.slope([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2)


def test_the_fastest_peer_is_chosen_among_those_that_ran():
    row = Row("r", (OURS, Contender("a", square), Contender("b", square)), numbers, (8,))
    cells = [
        Cell("r", "course", 8, False, seconds=1.0, ratio=1.0),
        Cell("r", "a", 8, False, seconds=4.0, ratio=0.25),
        Cell("r", "b", 8, False, seconds=2.0, ratio=0.5),
        Cell("r", "b", 8, True, status=harness.OVER_BUDGET),
    ]
    assert report.fastest_peer(cells, row, backward=False)[8].contender == "b"
    assert report.fastest_peer(cells, row, backward=True) == {}


def test_the_error_is_relative_and_counts_nan_and_shapes_as_infinite():
    truth = torch.tensor([2.0, 4.0])
    assert harness.relative_error([truth + 0.4], [truth]) == pytest.approx(0.1)
    assert harness.relative_error([truth * float("nan")], [truth]) == float("inf")
    assert harness.relative_error([truth[:1]], [truth]) == float("inf")


def printed(rows, cells):
    console = Console(width=400)
    with console.capture() as capture:
        report.print_report(console, "Squares", rows, cells)
    return capture.get()


def test_the_table_the_figure_and_the_results_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    row, cells = cells_of(Contender("power", square_as_power), sizes=(8, 16))
    record, table, figure = report.save("Squares", "square", [row], cells)
    assert len(json.loads(record.read_text())["cells"]) == len(cells) == 8
    assert "| power" in table.read_text()
    assert "n = 16" in table.read_text()
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_the_memory_of_a_call_is_what_it_allocates():
    row = Row("square", (OURS,), numbers, (2**20,), backward=False)
    [[cell]] = harness.measure_rows([row])
    output_bytes = 4 * 4 * 2**20
    assert 0.8 * output_bytes < cell.peak_bytes < 1.5 * output_bytes


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_course_runs_in_every_row(row):
    ours = row.contenders[0]
    results = harness.call(ours.run, row.inputs(128), row.backward)
    assert all(torch.isfinite(result).all() for result in results)
    if row.error is not None:
        assert row.error(results[0]) < harness.TOLERANCE


def test_six_iterations_invert_the_middle_factor_of_the_benchmark_whatever_the_start():
    x, w_q, w_k, _ = low_rank_attention.nystrom_inputs(256)
    q, k = (low_rank_attention.heads(x @ w.mT) for w in (w_q, w_k))
    middle = [course.segment_means(y, low_rank_attention.LANDMARKS) for y in (q, k)]
    a = (middle[0] @ middle[1].mT / low_rank_attention.DIM**0.5).softmax(dim=-1)
    inverse = course.iterative_pinv(a, low_rank_attention.ITERATIONS)
    assert harness.relative_error([inverse], [torch.linalg.inv(a)]) < harness.TOLERANCE / 10


def test_the_course_comes_first_and_every_peer_says_how_to_install_it():
    for row in ROWS:
        assert row.contenders[0].name == "course"
        assert not row.contenders[0].module
        for contender in row.contenders:
            assert bool(contender.module) == bool(contender.package)


def test_the_report_on_grading_holds_medians_of_ratios_and_where_the_time_went(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(grading, "RESULTS", tmp_path)
    spent = {"start": 0.5, "cells": 3.0, "exercises": 0.25}
    monkeypatch.setattr(grading, "parts", lambda classroom: spent)
    seconds = {"stock solved": [4.0, 5.0, 8.0], "ours solved": [4.0, 6.0, 8.0]}
    seconds |= {"stock faulty": [2.0] * 3, "ours faulty": [1.0, 1.0, 3.0]}
    grading.write_results(seconds, None, Console(quiet=True))
    lines = (tmp_path / "grading.md").read_text().splitlines()
    solved, faulty = (next(x for x in lines if kind in x) for kind in ("solved  ", "faulty  "))
    assert [cell.strip() for cell in solved.split("|")[2:6]] == ["5.00 s", "6.00 s", "1.00", "1.20"]
    assert [cell.strip() for cell in faulty.split("|")[4:6]] == ["0.50", "1.50"]
    assert any("gradebook" in line and "2.25" in line for line in lines)
    assert json.loads((tmp_path / "grading.json").read_text())["parts"] == spent

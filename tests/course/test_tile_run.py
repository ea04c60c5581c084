"""The runs that the tile player shows: right, counted, and within what they say of themselves."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course.specifications.foundations import attention_query_by_query
from course.tile_run import flash_run, span, standard_run, tiles_of

length, size, block = st.integers(1, 13), st.integers(1, 5), st.integers(1, 15)
quick = settings(max_examples=60, deadline=None)


def qkv(n, d):
    return torch.randn(3, n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(n))


def both_runs(n, d, block_q, block_k, causal):
    q, k, v = qkv(n, d)
    return standard_run(q, k, v, block_q, causal), flash_run(q, k, v, block_q, block_k, causal)


def covered(where):
    return math.prod(len(indices) for indices in where)


def elements(name, where, d):
    return covered(where) * (d if name in "QKVO" else 1)


@given(n=length, d=size, block_q=block, block_k=block, causal=st.booleans())
@quick
def test_both_runs_end_with_softmax_attention(n, d, block_q, block_k, causal):
    right = attention_query_by_query(*qkv(n, d), causal=causal)
    for steps in both_runs(n, d, block_q, block_k, causal):
        torch.testing.assert_close(steps[-1].output, right)


@given(n=length, d=size, block=block, causal=st.booleans())
@quick
def test_standard_attention_moves_4n2_and_4nd_with_any_tile_and_mask(n, d, block, causal):
    steps = standard_run(*qkv(n, d), block, causal)
    assert steps[-1].hbm_elements == 4 * n**2 + 4 * n * d


@given(n=length, d=size, sram_elements=st.integers(4, 300))
@quick
def test_flash_attention_moves_what_the_formula_says_for_an_sram_of_any_size(n, d, sram_elements):
    rows = min(n, max(sram_elements, 4 * d) // (4 * d))
    steps = flash_run(*qkv(n, d), rows, rows, causal=False)
    assert steps[-1].hbm_elements == 2 * n * d + n + math.ceil(n / rows) * 2 * n * d


@given(n=length, d=size, block_q=block, block_k=block)
@quick
def test_a_causal_flash_run_reads_just_the_tiles_that_some_query_sees(n, d, block_q, block_k):
    steps = flash_run(*qkv(n, d), block_q, block_k, causal=True)
    visited = [step.in_sram["S"] for step in steps if "S" in step.in_sram]
    seen = [
        (rows, keys)
        for rows in tiles_of(n, block_q)
        for keys in tiles_of(n, block_k)
        if any(key <= query for query in rows for key in keys)
    ]
    assert visited == seen
    keys_and_values = sum(2 * len(keys) * d for _, keys in seen)
    assert steps[-1].hbm_elements == 2 * n * d + n + keys_and_values


@given(n=length, d=size, block_q=block, block_k=block, causal=st.booleans())
@quick
def test_what_is_counted_are_the_tiles_that_a_step_says_it_read_and_wrote(
    n, d, block_q, block_k, causal
):
    for steps in both_runs(n, d, block_q, block_k, causal):
        moved = 0
        for step in steps:
            for name, where in [*step.read.items(), *step.written.items()]:
                moved += elements(name, where, d)
                on_chip = step.in_sram[name]
                inside = zip(where, on_chip, strict=True)
                assert all(set(part) <= set(whole) for part, whole in inside)
            assert step.hbm_elements == moved


@given(n=length, d=size, block_q=block, block_k=block, causal=st.booleans())
@quick
def test_the_running_maximum_and_sum_are_those_of_the_keys_seen_so_far(
    n, d, block_q, block_k, causal
):
    q, k, _ = qkv(n, d)
    scores = q @ k.T / d**0.5
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1) > 0, -math.inf)
    for step in both_runs(n, d, block_q, block_k, causal)[1]:
        if "S" in step.in_sram:
            rows, keys = step.in_sram["S"]
            seen = scores[rows.start : rows.stop, : keys.stop]
            torch.testing.assert_close(step.running_max, seen.amax(dim=-1))
            logsumexp = step.running_max + step.running_sum.log()
            torch.testing.assert_close(logsumexp, seen.logsumexp(dim=-1))


def test_flash_never_holds_more_than_four_tiles_of_d_columns_and_no_n_by_n_array():
    n, d, rows = 12, 3, 4
    for step in flash_run(*qkv(n, d), rows, rows, causal=False):
        tiles = [elements(name, step.in_sram[name], d) for name in "QKVO" if name in step.in_sram]
        assert sum(tiles) <= 4 * rows * d
        assert covered(step.in_sram.get("S", ())) <= rows**2
        assert not {"S", "P"} & {*step.read, *step.written}


def test_rows_that_no_step_has_reached_are_nan_and_no_step_changes_an_earlier_one():
    standard, flash = both_runs(n=8, d=2, block_q=4, block_k=4, causal=False)
    assert standard[5].output.isnan().all()
    read, first, second, written = flash[:4]
    assert read.output.isnan().all()
    assert first.output[4:].isnan().all()
    torch.testing.assert_close(
        first.output[:4], attention_query_by_query(*(part[:4] for part in qkv(8, 2)))
    )
    assert not torch.equal(first.output[:4], second.output[:4])
    assert torch.equal(second.output[:4], written.output[:4])


def test_the_inputs_are_left_as_they_are():
    q, k, v = qkv(6, 2)
    before = q.clone(), k.clone(), v.clone()
    standard_run(q, k, v, 4)
    flash_run(q, k, v, 4, 4, causal=False)
    assert all(map(torch.equal, before, (q, k, v)))


def test_a_step_says_in_words_what_was_done():
    standard, flash = both_runs(n=5, d=2, block_q=4, block_k=2, causal=False)
    assert standard[0].done == "kernel 1 writes the scores of queries 0–3 and keys 0–3"
    assert standard[-1].done == (
        "kernel 3 reads the weights of queries 4 and keys 4 and writes the output"
    )
    assert flash[1].done == "keys and values 0–1 are read for queries 0–3"
    assert (span(range(3, 4)), span(range(3, 9))) == ("3", "3–8")

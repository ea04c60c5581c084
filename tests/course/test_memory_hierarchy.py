"""The memory hierarchy: what a chain of loads visits, and which levels a curve shows."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from course import memory_hierarchy
from course.memory_hierarchy import (
    LINE,
    Hierarchy,
    level_names,
    link_in_a_random_cycle,
    measure_hierarchy,
    never_falling,
    plateaus,
    read_bandwidth,
    step_nanoseconds,
    told_caches,
    walk,
    working_sets,
)
from tests.course.hierarchies import CACHES, LATENCIES, STAIRCASE

PER_LINE = LINE // 8


def linked(lines, seed=0):
    table = np.zeros(lines * PER_LINE, dtype=np.intp)
    link_in_a_random_cycle(table, np.random.default_rng(seed))
    return table


def noisy(hierarchy, seed):
    factors = 1 + 0.1 * np.random.default_rng(seed).uniform(-1, 1, len(hierarchy.sizes))
    latencies = [x * f for x, f in zip(hierarchy.nanoseconds, factors, strict=True)]
    return Hierarchy(hierarchy.sizes, latencies, hierarchy.bandwidth, hierarchy.caches)


# --- the chain ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [1, 2, 3, 64, 1000])
def test_a_walk_visits_the_first_entry_of_every_line_once_and_comes_back(lines):
    table = linked(lines)
    visited = np.zeros(lines + 1, dtype=np.intp)
    walk(table, visited)
    assert visited[-1] == visited[0] == 0
    assert sorted(visited[:-1]) == list(range(0, lines * PER_LINE, PER_LINE))


def test_a_walk_follows_the_table_step_by_step():
    table = linked(500)
    visited = np.zeros(200, dtype=np.intp)
    walk(table, visited)
    place = 0
    for seen in visited:
        assert seen == place
        place = table[place]


def test_another_seed_takes_another_way():
    assert not np.array_equal(linked(100), linked(100, seed=1))


def test_the_time_of_a_step_is_refused_where_numpy_does_not_follow_the_table(monkeypatch):
    def all_at_once(table, visited):
        visited[1:] = table[visited[:-1]]

    monkeypatch.setattr(memory_hierarchy, "walk", all_at_once)
    with pytest.raises(RuntimeError, match="no longer follows"):
        step_nanoseconds(linked(100))


def test_a_step_takes_a_positive_time_and_a_sum_reads_some_bytes():
    assert step_nanoseconds(linked(64)) > 0
    assert read_bandwidth(torch.zeros(2**16)) > 0


# --- the whole measurement ------------------------------------------------------------------------


def test_working_sets_grow_by_half_octaves_in_whole_lines_and_fit_in_memory(monkeypatch):
    sizes = working_sets()
    assert sizes[0] == 4096
    assert all(size % LINE == 0 for size in sizes)
    assert all(1.3 < b / a < 1.5 for a, b in pairwise(sizes))

    class LittleMemory:
        total = available = 8 * 2**20

    monkeypatch.setattr(memory_hierarchy.psutil, "virtual_memory", lambda: LittleMemory)
    assert working_sets()[-1] <= 2**20


def test_the_measurement_has_one_latency_and_one_bandwidth_for_each_size(monkeypatch):
    monkeypatch.setattr(memory_hierarchy, "working_sets", lambda: [4096, 2**16, 2**20])
    monkeypatch.setattr(memory_hierarchy, "_BYTES_A_CALL", 2**20)
    threads = torch.get_num_threads()
    hierarchy = measure_hierarchy()
    assert hierarchy.sizes == [4096, 2**16, 2**20]
    assert len(hierarchy.nanoseconds) == len(hierarchy.bandwidth) == 3
    assert min(*hierarchy.nanoseconds, *hierarchy.bandwidth) > 0
    assert torch.get_num_threads() == threads
    assert isinstance(hierarchy.levels, list)


def test_a_smaller_set_is_never_slower_than_a_larger_one():
    assert never_falling([1, 5, 3, 3, 9, 8]) == [1, 3, 3, 3, 8, 8]


# --- levels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_a_staircase_shows_its_levels_with_their_latency_and_their_end(seed):
    levels = noisy(STAIRCASE, seed).levels
    assert [level.name for level in levels] == list(LATENCIES)
    for level in levels:
        assert level.nanoseconds == pytest.approx(LATENCIES[level.name], rel=0.15)
        assert level.bytes_a_second == pytest.approx(1e11 / level.nanoseconds, rel=0.15)
        assert level.told == CACHES.get(level.name)
        if level.told:
            assert level.told / 2 < level.end < 2 * level.told
    assert levels[-1].end is None


def test_a_flat_curve_is_one_level_and_a_steady_slope_is_none():
    assert plateaus([5.0] * 9) == [(0, 9)]
    assert plateaus([1.5**i for i in range(9)]) == []
    assert plateaus([]) == []


def test_two_sizes_alike_are_no_level():
    assert plateaus([1, 1, 1, 5, 5, 20, 20, 20]) == [(0, 3), (5, 8)]


def test_a_level_followed_by_a_faster_one_has_no_end():
    latencies = [1.0] * 4 + [9.0] * 4 + [3.0] * 4
    sizes = [4096 * 2**i for i in range(len(latencies))]
    levels = Hierarchy(sizes, latencies, latencies, {}).levels
    assert [level.nanoseconds for level in levels] == [1, 9, 3]
    assert [level.end is None for level in levels] == [False, True, True]


def test_levels_are_numbered_where_the_system_tells_nothing():
    untold = Hierarchy(STAIRCASE.sizes, STAIRCASE.nanoseconds, STAIRCASE.bandwidth, {})
    assert [level.name for level in untold.levels] == [f"level {i}" for i in range(1, 5)]
    assert all(level.told is None for level in untold.levels)


def test_a_second_plateau_in_one_cache_is_marked():
    spans = [(2**12, 2**14), (2**16, 2**17), (2**18, 2**19), (2**26, 2**28)]
    assert level_names(spans, CACHES) == ["L1", "L2", "L2, second plateau", "memory"]


# --- what the system tells ------------------------------------------------------------------------


def write_cache(folder, kind, level, size):
    folder.mkdir()
    for name, text in {"type": kind, "level": level, "size": size}.items():
        (folder / name).write_text(f"{text}\n")


def test_linux_tells_data_and_unified_caches(tmp_path):
    write_cache(tmp_path / "index0", "Data", 1, "48K")
    write_cache(tmp_path / "index1", "Instruction", 1, "32K")
    write_cache(tmp_path / "index2", "Unified", 2, "2M")
    assert memory_hierarchy._sysfs_caches(tmp_path) == {"L1": 48 * 2**10, "L2": 2 * 2**20}


@pytest.mark.parametrize("size", ["", "48", "4xK", "-"])
def test_what_linux_does_not_tell_is_left_out(tmp_path, size):
    write_cache(tmp_path / "index0", "Data", 1, size)
    (tmp_path / "index1").mkdir()
    assert memory_hierarchy._sysfs_caches(tmp_path) == {}
    assert memory_hierarchy._sysfs_caches(tmp_path / "nowhere") == {}


def test_macos_tells_the_caches_of_its_fast_cores(monkeypatch):
    told = {
        "hw.perflevel0.l1dcachesize": "131072",
        "hw.l1dcachesize": "65536",
        "hw.l2cachesize": "0",
    }

    def sysctl(command, **_):
        return subprocess.CompletedProcess(command, 0, stdout=told.get(command[-1], "").encode())

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", sysctl)
    assert told_caches() == {"L1": 131072}


def test_without_the_program_that_tells_them_there_are_no_caches(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", missing)
    assert told_caches() == {}

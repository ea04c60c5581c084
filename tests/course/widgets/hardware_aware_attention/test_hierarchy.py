"""The memory hierarchy as a figure and as a table, and that each foreign number has a source."""

import re

import pytest

from course.hardware import DOCUMENT, GPUS, SOURCES, WHOSE
from course.memory_hierarchy import Hierarchy
from course.widgets.hardware_aware_attention import hierarchy as widgets
from course.widgets.style import to_png
from tests.course.hierarchies import CACHES, STAIRCASE, WITHOUT_LEVELS

pytestmark = pytest.mark.usefixtures("quietly")

UNTOLD = Hierarchy(STAIRCASE.sizes, STAIRCASE.nanoseconds, STAIRCASE.bandwidth, {})


@pytest.fixture
def here(monkeypatch):
    """Let this machine be the one that a test chooses."""

    def choose(hierarchy):
        monkeypatch.setattr(widgets, "hierarchy_here", lambda: hierarchy)

    choose(STAIRCASE)
    return choose


@pytest.mark.parametrize("hierarchy", [STAIRCASE, UNTOLD, WITHOUT_LEVELS])
def test_every_machine_gives_a_sentence_and_a_figure_with_labelled_axes(here, hierarchy):
    here(hierarchy)
    exhibit = widgets.memory_hierarchy()
    assert exhibit.problems == []
    assert exhibit.findings()
    figure = exhibit.draw()
    assert to_png(figure).startswith(b"\x89PNG")
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def test_the_sentence_names_the_levels_and_what_a_chain_wastes(here):
    sentence = widgets.memory_hierarchy().sentence()
    for name, size in CACHES.items():
        assert f"{name} up to about" in sentence
        assert f"(the system says {widgets.size_words(size)})" in sentence
    # 64 bytes a 100 ns are 0.64 GB/s; read in order the last level gives 1 GB/s.
    assert "takes 100 times as long as from the first" in sentence
    assert "at 0.64 GB/s: read in order, about 2 are" in sentence


def test_a_curve_without_levels_is_told_so(here):
    here(WITHOUT_LEVELS)
    assert "shows no level" in widgets.memory_hierarchy().sentence()


def test_the_cache_sizes_are_marked_in_both_panels(here):
    for axes in widgets.memory_hierarchy().draw().axes:
        texts = [text.get_text() for text in axes.texts]
        for name, size in CACHES.items():
            assert f"{name} {widgets.size_words(size)}" in texts


def test_the_table_has_the_documents_levels_and_the_measured_ones(here):
    rows = [line.split(" | ") for line in widgets.hierarchy_table().data.splitlines()]
    table = {row[0].removeprefix("| "): row[1:] for row in rows if len(row) > 1}
    assert list(table)[2:] == ["registers", "L1", "L2", "L3", "memory"]
    for level, row in DOCUMENT.items():
        assert row.size in table[level][0]
        assert row.latency in table[level][0]
    assert "12 ns" in table["L3"][2]
    assert table["registers"][2] == ""


@pytest.mark.parametrize("hierarchy", [UNTOLD, WITHOUT_LEVELS])
def test_the_table_stands_where_the_system_tells_nothing(here, hierarchy):
    here(hierarchy)
    assert "| memory |" in widgets.hierarchy_table().data


def test_every_source_is_used_and_every_number_of_a_gpu_has_one():
    cells = [
        text
        for gpu in GPUS.values()
        for row in gpu.values()
        for text in (row.size, row.latency, row.bandwidth)
        if text
    ]
    # A number that is a quantity and not part of a name like HBM2.
    assert all(re.search(r"\[\d+\]", text) for text in cells)
    used = {
        int(key)
        for key in re.findall(r"(?:\[|, )(\d+)(?=[\],])", " ".join([*cells, *WHOSE.values()]))
    }
    assert used <= set(SOURCES)
    assert set(WHOSE) == set(DOCUMENT)


@pytest.mark.parametrize(
    ("size", "words"), [(49152, "48 KiB"), (2**20, "1 MiB"), (1.4 * 2**20, "1.4 MiB")]
)
def test_sizes_read_as_words(size, words):
    assert widgets.size_words(size) == words

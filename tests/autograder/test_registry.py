"""The list of notebooks, and what is made from it."""

import pytest

from autograder.registry import (
    BENCHMARKS,
    COURSE,
    NOTEBOOKS,
    PLAN,
    ROOT,
    readme_with_tables,
)

README = (ROOT / "README.md").read_text()


def test_the_notebooks_are_numbered_in_their_order_and_named_after_topics():
    assert [notebook.number for notebook in PLAN] == list(range(len(PLAN)))
    assert len({notebook.topic for notebook in PLAN}) == len(PLAN)


def test_what_is_written_has_a_source_and_what_has_a_source_is_said_to_be_written():
    sources = {path.stem for path in (COURSE / "source").glob("*/*.md")}
    assert sources == set(NOTEBOOKS.values())


def test_the_tables_of_the_readme_are_the_registrys():
    assert readme_with_tables(README) == README, "run `make build`"
    for notebook in PLAN:
        if notebook.you_write:
            assert f"| `{notebook.name}` | {notebook.you_write} |" in README
        if notebook.implements:
            row = f"| {notebook.implements} | `{notebook.name}` | {notebook.state} |"
            assert row in README


def test_a_table_that_is_behind_is_written_anew_and_the_rest_stays():
    behind = README.replace(PLAN[0].you_write, "something else")
    assert behind != README
    assert readme_with_tables(behind) == README


def test_a_readme_that_lost_the_place_of_a_table_is_refused():
    with pytest.raises(ValueError, match="the README lacks '<!-- topics"):
        readme_with_tables(README.replace("<!-- topics", "<!-- "))


def test_every_topic_that_is_timed_has_a_module_for_it():
    modules = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert set(BENCHMARKS) == modules & {notebook.topic for notebook in PLAN}
    assert "linear_attention" in BENCHMARKS

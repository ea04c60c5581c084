"""A learner's own copies of the notebooks, while the course is updated with git."""

import errno
import json
import os
import subprocess
import sys
import threading

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_output

from autograder.kept import keep, replace
from autograder.registry import COURSE, NOTEBOOKS, ROOT
from autograder.work import update, write_start_page

FOUNDATIONS, SPARSE, LINEAR = list(NOTEBOOKS.values())[:3]
THREE = (FOUNDATIONS, SPARSE, LINEAR)
TODO, SOLVED = "raise NotImplementedError()", "return 1  # mine"


def git(folder, *arguments, fails=False):
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "pull.rebase=false"]
    done = subprocess.run(["git", "-C", folder, *who, *arguments], capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def origin(tmp_path):
    """The course's repository, with what a learner's start needs of it."""
    folder = tmp_path / "origin"
    for place in (*(f"release/{n}/{n}.ipynb" for n in NOTEBOOKS.values()), "source/start.md"):
        target = folder / "course" / place
        target.parent.mkdir(parents=True)
        target.write_bytes((COURSE / place).read_bytes())
    (folder / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    git(tmp_path, "init", "--quiet", folder)
    commit(folder)
    return folder


def commit(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "The course")


@pytest.fixture
def clone(origin, tmp_path):
    git(tmp_path, "clone", "--quiet", origin, "clone")
    return tmp_path / "clone"


def notebook_path(clone, name, folder="work"):
    return clone / "course" / folder / name / f"{name}.ipynb"


def change(path, edit):
    notebook = nbformat.read(path, as_version=4)
    edit(notebook)
    nbformat.write(notebook, path)


def solve(notebook):
    """Solve all, run a check, answer the written question, and add a cell."""
    for cell in notebook.cells:
        cell.source = cell.source.replace(TODO, SOLVED).replace("YOUR ANSWER HERE", "Because.")
        if cell.source.startswith("check("):
            cell.outputs = [new_output("execute_result", {"text/plain": "1"})]
    notebook.cells.append(new_markdown_cell("A note of mine."))


def courses_text(path):
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


def solved_in(path):
    text = "\n".join(courses_text(path))
    return text.count(SOLVED), text.count("Because."), text.count("A note of mine.")


def publish(origin):
    """A new version of the course: another title everywhere, and a stub of each that changed."""
    for name in THREE:

        def edit(notebook):
            notebook.cells[0] = new_markdown_cell("# A better title")

        change(notebook_path(origin, name, "release"), edit)
    commit(origin)


def test_a_learner_pulls_an_update_and_loses_nothing(origin, clone):
    assert len(update(clone / "course")) == len(NOTEBOOKS)
    for name in THREE:
        change(notebook_path(clone, name), solve)
    before = {name: notebook_path(clone, name).read_bytes() for name in THREE}
    answers = {name: solved_in(notebook_path(clone, name)) for name in THREE}
    assert all(min(found) >= 1 for found in answers.values())
    assert git(clone, "status", "--porcelain") == ""

    publish(origin)
    git(clone, "pull")
    said = update(clone / "course")
    for name in THREE:
        path = notebook_path(clone, name)
        assert courses_text(path)[0] == "# A better title"
        assert solved_in(path) == answers[name]
        assert any(f"{path} up to date" in line for line in said)
    kept = [path.read_bytes() for path in (clone / "course" / "kept").iterdir()]
    assert sorted(kept) == sorted(before.values())

    assert update(clone / "course") == []
    assert git(clone, "status", "--porcelain") == ""


def test_a_notebook_that_nobody_worked_in_is_replaced_without_a_copy(origin, clone):
    update(clone / "course")
    publish(origin)
    git(clone, "pull")
    update(clone / "course")
    assert courses_text(notebook_path(clone, LINEAR))[0] == "# A better title"
    assert not (clone / "course" / "kept").exists()


# --- Who worked in course/release, as earlier versions had it -----------------------------------


def test_work_in_the_release_is_moved_and_the_release_is_gits_again(clone):
    released = notebook_path(clone, LINEAR, "release")
    change(released, solve)
    mine = released.with_name("mine.ipynb")
    mine.write_bytes(released.read_bytes())
    answers = solved_in(released)
    update(clone / "course")
    assert solved_in(notebook_path(clone, LINEAR)) == answers
    assert not mine.exists()
    assert solved_in(notebook_path(clone, LINEAR).with_name("mine.ipynb")) == answers
    assert git(clone, "status", "--porcelain") == ""
    assert update(clone / "course") == []


def by_stash(clone):
    git(clone, "stash")
    git(clone, "pull")
    git(clone, "stash", "pop", fails=True)


def by_commit(clone):
    commit(clone)
    git(clone, "pull", fails=True)


@pytest.mark.parametrize("pull", [by_stash, by_commit])
def test_work_that_git_could_not_merge_with_an_update_is_found(origin, clone, pull):
    released = notebook_path(clone, LINEAR, "release")

    def solve_and_change_the_title(notebook):
        solve(notebook)
        notebook.cells[0].source = "# My title"

    change(released, solve_and_change_the_title)
    answers = solved_in(released)
    publish(origin)
    pull(clone)
    with pytest.raises(ValueError, match="Notebook does not appear to be JSON"):
        nbformat.read(released, as_version=4)

    update(clone / "course")
    assert solved_in(notebook_path(clone, LINEAR)) == answers
    assert "# A better title" in courses_text(notebook_path(clone, LINEAR))
    assert "# My title" in courses_text(notebook_path(clone, LINEAR))
    assert courses_text(released)[0] == "# A better title"
    assert git(clone, "diff", "--name-only", "--diff-filter=U") == ""


def test_work_in_the_release_beside_work_of_ones_own_is_kept(clone):
    update(clone / "course")
    change(notebook_path(clone, LINEAR), solve)
    mine = notebook_path(clone, LINEAR).read_bytes()
    released = notebook_path(clone, LINEAR, "release")
    change(released, solve)
    again = released.read_bytes()
    update(clone / "course")
    assert notebook_path(clone, LINEAR).read_bytes() == mine
    assert [path.read_bytes() for path in (clone / "course" / "kept").iterdir()] == [again]


def test_without_git_work_in_the_release_is_moved_once(clone):
    (clone / ".git").rename(clone / "no-git")
    released = notebook_path(clone, LINEAR, "release")
    change(released, solve)
    answers = solved_in(released)
    for _ in range(3):
        said = update(clone / "course")
    assert solved_in(notebook_path(clone, LINEAR)) == answers
    assert "make build" in said[-1]
    assert len(list((clone / "course" / "kept").iterdir())) <= 1


# --- What can go wrong ---------------------------------------------------------------------------


DAMAGE = {
    "empty": lambda good: b"",
    "cut off": lambda good: good[: len(good) // 2],
    "not text": lambda good: b"\xff\xfe" + good,
    "no notebook": lambda good: b"[1, 2, 3]",
    "no cells": lambda good: json.dumps({**json.loads(good), "cells": None}).encode(),
    "nested without end": lambda good: b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_notebook_stays_as_it_is_and_the_others_are_brought_up_to_date(
    origin, clone, damage
):
    update(clone / "course")
    path = notebook_path(clone, SPARSE)
    path.write_bytes(damage(path.read_bytes()))
    damaged = path.read_bytes()
    publish(origin)
    git(clone, "pull")
    said = "\n".join(update(clone / "course"))
    assert path.read_bytes() == damaged
    assert f"left {path}, which is damaged" in said
    assert courses_text(notebook_path(clone, LINEAR))[0] == "# A better title"
    assert "damaged" in (clone / "course" / "work" / "start.ipynb").read_text()


def test_when_the_disk_is_full_everything_stays_as_it_is(origin, clone, monkeypatch):
    update(clone / "course")
    change(notebook_path(clone, LINEAR), solve)
    before = notebook_path(clone, LINEAR).read_bytes()
    publish(origin)
    git(clone, "pull")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        said = update(clone / "course")
    assert any("No space left on device" in line for line in said)
    assert notebook_path(clone, LINEAR).read_bytes() == before
    assert not list((clone / "course").rglob(".*.new"))

    update(clone / "course")
    assert courses_text(notebook_path(clone, LINEAR))[0] == "# A better title"


KILLED = """
import os, sys
from pathlib import Path
from autograder import work

steps = iter(range(int(sys.argv[2]) + 1))
def step(call):
    def counted(*arguments):
        if next(steps, None) is None:
            os._exit(9)
        return call(*arguments)
    return counted

os.fsync = step(os.fsync)
os.replace = step(os.replace)
work.update(Path(sys.argv[1]))
"""


@pytest.mark.slow
# The untouched notebooks before it take four steps, the copy that is kept two, the notebook two.
@pytest.mark.parametrize("step", range(3, 9))
def test_killed_in_between_the_next_run_ends_with_all_of_it(origin, clone, step):
    update(clone / "course")
    change(notebook_path(clone, LINEAR), solve)
    before = notebook_path(clone, LINEAR).read_bytes()
    answers = solved_in(notebook_path(clone, LINEAR))
    publish(origin)
    git(clone, "pull")
    killed = subprocess.run([sys.executable, "-c", KILLED, clone / "course", str(step)])
    assert killed.returncode == 9

    update(clone / "course")
    assert solved_in(notebook_path(clone, LINEAR)) == answers
    assert courses_text(notebook_path(clone, LINEAR))[0] == "# A better title"
    assert [path.read_bytes() for path in (clone / "course" / "kept").iterdir()] == [before]
    assert not list((clone / "course").rglob(".*.new"))


def test_what_is_saved_while_a_second_run_waits_is_not_replaced(origin, clone):
    course = clone / "course"
    update(course)
    change(notebook_path(clone, LINEAR), solve)
    answers = solved_in(notebook_path(clone, LINEAR))
    publish(origin)
    git(clone, "pull")
    runs = [threading.Thread(target=update, args=[course]) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert solved_in(notebook_path(clone, LINEAR)) == answers
    assert len(list((course / "kept").iterdir())) == 1


def test_a_copy_is_kept_once_and_never_over_another(tmp_path):
    first = keep(tmp_path, "notebook", b"one")
    assert keep(tmp_path, "notebook", b"one") == first
    second = keep(tmp_path, "notebook", b"two")
    assert [path.read_bytes() for path in (first, second)] == [b"one", b"two"]


def test_a_file_that_is_a_link_is_replaced_where_it_leads(tmp_path):
    (tmp_path / "far").write_bytes(b"old")
    (tmp_path / "link").symlink_to("far")
    replace(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far").read_bytes() == b"new"


# --- The start page ------------------------------------------------------------------------------


def test_the_start_page_shows_the_map_before_anything_is_run(clone):
    course = clone / "course"
    update(course)
    write_start_page(course)
    page = nbformat.read(course / "work" / "start.ipynb", as_version=4)
    nbformat.validate(page)
    (code,) = [cell for cell in page.cells if cell.cell_type == "code"]
    assert f"{LINEAR}/{LINEAR}.ipynb" in code.outputs[0].data["text/html"]
    assert "How to work" in "".join(cell.source for cell in page.cells)

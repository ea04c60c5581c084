"""What a hostile submission is, and how it is handed in."""

import ast
import inspect
import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.example_submissions import cell_of
from autograder.exercises import NOTEBOOKS, exercises_of

TOPIC = "linear_attention"
NOTEBOOK = NOTEBOOKS[TOPIC]
FILE = f"{NOTEBOOK}.ipynb"

ATTACKED = "linear_attention"
"""The exercise that the submissions do not solve, and want points for."""

SOLVED = ("elu_feature_map", "recurrent_step", "positive_random_features")
"""Quick ones that they solve honestly, and should keep the points of."""

EXERCISES = {n: e for n, e in exercises_of(TOPIC).items() if n in (ATTACKED, *SOLVED)}
NOTHING = dict.fromkeys(EXERCISES, 0)
HONEST = {name: exercise.points for name, exercise in EXERCISES.items()} | {ATTACKED: 0}
_LONG = [part for part in EXERCISES[ATTACKED].parts if part.only_grading]
_ENFORCED = {prop.title for part in _LONG for prop in part.properties}
WITHOUT_COST = sum(p for title, p in EXERCISES[ATTACKED].titles.items() if title not in _ENFORCED)
"""What an attention earns that is right and quadratic."""

KNOWN: dict[str, str] = {}
"""What an attacker knows of the machine; a submission's own cells find it under the same name."""

WON = "The attack has succeeded"
"""What a submission prints, and nobody should ever read, when it got what it wanted."""

NOT_WRITTEN = "Not written yet"
UNREADABLE = "cannot be read as a notebook: "


@dataclass(frozen=True)
class Hostile:
    """One submission, and what should come of it.

    write: puts it into a folder, given the notebook with the honest answers. told: what the
    student should read. earns: points by exercise, None if there is nothing to grade.
    directly: it comes into submitted/ by hand, and not through the exchange.
    """

    name: str
    module: str
    write: Callable[[Path, NotebookNode], None]
    told: str
    earns: dict[str, int] | None
    directly: bool = False


SUBMISSIONS: dict[str, Hostile] = {}


def _register(function: Callable, write: Callable, told: str, earns: dict | None, **how: bool):
    name, module = function.__name__, function.__module__.rpartition(".")[2]
    assert function.__doc__, f"{name} does not say what it tries"
    assert name not in SUBMISSIONS, f"there are two submissions called {name}"
    expected = None if earns is None else HONEST | earns
    SUBMISSIONS[name] = Hostile(name, module, write, told, expected, **how)
    return function


def cell(told: str = NOT_WRITTEN, at: str = "", before: str = "", **earns: int) -> Callable:
    """The body of the function is the text of a cell: a new one, or that of the exercise `at`.

    before: what else the cell begins with.
    """

    def register(function: Callable) -> Callable:
        def write(folder: Path, notebook: NotebookNode) -> None:
            text = before + body_of(function)
            if at:
                cell_of(notebook, at).source = text
            else:
                place = notebook.cells.index(cell_of(notebook, "setup")) + 1
                notebook.cells.insert(place, new_code_cell(text))
            write_notebook(folder, notebook)

        return _register(function, write, told, earns)

    return register


_RESPOND = """
import autograder.respond

_honest = autograder.respond.respond


def _respond(name, namespace, cases, answers):
    if name != "{attacked}":
        return _honest(name, namespace, cases, answers)
{body}


autograder.respond.respond = _respond
"""


def answer(told: str, **earns: int) -> Callable:
    """The body of the function answers for ATTACKED: it reads and writes two files."""

    def register(function: Callable) -> Callable:
        def write(folder: Path, notebook: NotebookNode) -> None:
            body = textwrap.indent(body_of(function), "    ")
            text = _RESPOND.format(attacked=ATTACKED, body=body)
            cell_of(notebook, ATTACKED).source = text
            write_notebook(folder, notebook)

        return _register(function, write, told, earns)

    return register


def change(told: str = NOT_WRITTEN, **earns: int) -> Callable:
    """The function changes the notebook."""

    def register(function: Callable[[NotebookNode], None]) -> Callable:
        def write(folder: Path, notebook: NotebookNode) -> None:
            function(notebook)
            write_notebook(folder, notebook)

        return _register(function, write, told, earns)

    return register


def folder(
    told: str = NOT_WRITTEN, earns: dict[str, int] | None = HONEST, directly: bool = False
) -> Callable:
    """The function changes the folder that is handed in, in which the notebook lies."""

    def register(function: Callable[[Path], None]) -> Callable:
        def write(folder: Path, notebook: NotebookNode) -> None:
            write_notebook(folder, notebook)
            function(folder)

        return _register(function, write, told, earns, directly=directly)

    return register


def file(told: str = NOT_WRITTEN, earns: dict[str, int] | None = HONEST) -> Callable:
    """The function makes what is handed in in the place of the notebook: its bytes."""

    def register(function: Callable[[NotebookNode], bytes]) -> Callable:
        def write(folder: Path, notebook: NotebookNode) -> None:
            (folder / FILE).write_bytes(function(notebook))

        return _register(function, write, told, earns)

    return register


_PREPARE = """
import ctypes, gc, glob, json, mmap, os, signal, socket, struct, subprocess, sys, textwrap
import threading, time
from contextlib import suppress
from pathlib import Path

import torch

KNOWN = {known!r}
WON = {won!r}
"""


def write_notebook(folder: Path, notebook: NotebookNode) -> None:
    """Write a notebook as it is, valid or not, with what its own cells use in a first one."""
    cells = [new_code_cell(_PREPARE.strip().format(known=KNOWN, won=WON)), *notebook.cells]
    (folder / FILE).write_text(json.dumps(notebook | {"cells": cells}), encoding="utf-8")


def body_of(function: Callable) -> str:
    """The statements of a function, without its docstring."""
    source = textwrap.dedent(inspect.getsource(function))
    statements = ast.parse(source).body[0].body[1:]
    lines = source.splitlines()[statements[0].lineno - 1 : statements[-1].end_lineno]
    return textwrap.dedent("\n".join(lines))

"""`check(function)`: what a notebook calls under each exercise."""

import linecache
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from autograder.exercise import PUBLIC_SEED, Exercise
from autograder.exercises import all_exercises
from autograder.probes import default_settings, run_probe
from autograder.report import Report, fingerprint


def check(function: Callable) -> Report:
    """Check a function against the public cases of the exercise that it is called after.

    Works without solutions/. Raises ValueError if it belongs to no exercise.
    """
    report = check_exercise(_exercise_of(function, sys._getframe(1).f_globals), function)
    return replace(report, checked=_cell_of(function))


@default_settings()
def check_exercise(exercise: Exercise, function: Callable) -> Report:
    """Check a function against the public cases of `exercise`.

    Where work is graded, the judge is not in this process: the report says so, and nothing else.
    """
    try:
        from autograder.answers import recorded_answers
        from autograder.judge import judge
    except ModuleNotFoundError:
        return Report(exercise.name, note="While work is graded, only the course's checks count.")
    expected, mistakes = recorded_answers(exercise)
    cases = exercise.draw(PUBLIC_SEED)
    answers, printed = run_probe(exercise, function, cases)
    return judge(exercise, cases, answers, expected, mistakes, printed)


def _cell_of(function: Callable) -> str:
    """The fingerprint of the cell that defines the function; empty where it is not known."""
    code = getattr(function, "__code__", None)
    if code is None or Path(code.co_filename).exists():
        return ""
    text = "".join(linecache.getlines(code.co_filename))
    # IPython keeps a magic as the call that it stands for: the saved cell has another text.
    return fingerprint(text) if text and "get_ipython()" not in text else ""


def _exercise_of(function: Any, namespace: dict[str, Any]) -> Exercise:
    exercises = all_exercises()
    # By the variable it is bound to first: a wrapped function (torch.compile, functools.partial)
    # need not know its name.
    bound = [name for name in exercises if namespace.get(name) is function]
    name = bound[0] if len(bound) == 1 else getattr(function, "__name__", "")
    if name not in exercises:
        raise ValueError(
            f"check() does not know {function!r}. Give it one of the functions of an exercise: "
            + ", ".join(exercises)
        )
    return exercises[name]

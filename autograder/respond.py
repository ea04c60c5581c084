"""What grading runs in a student's process: their function on the judge's cases, and no more."""

from pathlib import Path
from runpy import run_path
from types import FunctionType
from typing import Any

from autograder.exercise import AnswerError, Raised
from autograder.exercises import all_exercises
from autograder.probes import run_probe
from autograder.transfer import pack_answers, unpack_cases


def respond(name: str, namespace: dict[str, Any], cases_file: str, answers_file: str) -> None:
    """Read cases of the exercise `name`, run the student's function, and write its answers."""
    cases = unpack_cases(Path(cases_file).read_bytes())
    if name in namespace:
        answers, printed = run_probe(all_exercises()[name], namespace[name], cases)
    else:
        text = f"there is no function {name}: is its cell there, and does it run without an error?"
        answers, printed = dict.fromkeys(cases, Raised(AnswerError.__name__, text)), ""
    Path(answers_file).write_bytes(pack_answers(answers, printed))


_AT_CHECKS: dict[str, dict[str, Any]] = {}


def remember(name: str, namespace: dict[str, Any]) -> None:
    """Keep what is defined where an exercise is checked: a later cell may define it anew."""
    _AT_CHECKS[name] = dict(namespace)


def as_checked(name: str, namespace: dict[str, Any]) -> dict[str, Any]:
    """The namespace as it was at the check of an exercise. Raises LookupError if it is the same.

    Functions of the notebook are given back such that they call each other as they did then.
    """
    kept = dict(_AT_CHECKS.get(name, {}))
    functions = {k: v for k, v in kept.items() if callable(v)}
    if all(namespace.get(key) is function for key, function in functions.items()):
        raise LookupError("nothing was defined anew")
    for key, function in functions.items():
        if isinstance(function, FunctionType) and function.__globals__ is namespace:
            then = FunctionType(
                function.__code__, kept, key, function.__defaults__, function.__closure__
            )
            then.__kwdefaults__ = function.__kwdefaults__
            kept[key] = then
    return kept


def call(function: str, *arguments: str) -> str:
    """An expression that calls a function of this module, in a process that has imported nothing.

    arguments: expressions.
    """
    return f"__import__('autograder.respond').respond.{function}({', '.join(arguments)})"


def kernels_in(path: str) -> dict[str, Any]:
    """What a file of Triton kernels, and nothing else, defines."""
    return run_path(path)

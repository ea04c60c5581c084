"""Wrong versions that students really write, each with the explanation they should read."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules


@dataclass(frozen=True)
class Mistake:
    """A wrong version of an exercise. Its name is the function's, as words.

    Where its numbers change from call to call, a part of the exercise has a sign with its name.
    """

    exercise: str
    name: str
    explanation: str
    function: Callable


def mistake(exercise: Callable, explanation: str) -> Callable[[Callable], Mistake]:
    """Declare the decorated function as a wrong version of `exercise`, a reference solution."""

    def declare(function: Callable) -> Mistake:
        name = function.__name__.replace("_", " ").strip()
        return Mistake(exercise.__name__, name, explanation, function)

    return declare


def mistakes_of(topic: str, exercise: str) -> list[Mistake]:
    """The mistakes of an exercise, from every module of its topic."""
    package = import_module(f"solutions.mistakes.{topic}")
    names = sorted(module.name for module in iter_modules(package.__path__))
    modules = [import_module(f"{package.__name__}.{name}") for name in names]
    declared = (value for module in modules for value in vars(module).values())
    return [m for m in declared if isinstance(m, Mistake) and m.exercise == exercise]

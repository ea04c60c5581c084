"""Judge every mutant of the solutions, and print those that still earn all points."""

import ast
import inspect
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from autograder.answers import reference_answers
from autograder.exercise import PUBLIC_SEED, Exercise, Part
from autograder.exercises import NOTEBOOKS, exercises_of
from autograder.lines import failed, judge_parts
from autograder.probes import run_probe
from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.operators import Mutant, mutants_of

SECONDS = 20
MEMORY = 6_000_000_000
SEEDS = (PUBLIC_SEED, 1)
console = Console()


def _give_up(*_: Any) -> None:
    raise TimeoutError


def solution_tree(exercise: Exercise) -> tuple[ast.FunctionDef, dict[str, Any]]:
    """The syntax tree of a solution, and the names of its module."""
    module = import_module(f"solutions.{exercise.module}")
    tree = ast.parse(inspect.getsource(module))
    function = next(
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == exercise.name
    )
    return function, vars(module)


def function_of(mutant: Mutant, names: dict[str, Any], folder: Path) -> Callable:
    """The mutant as a function of a file: Triton reads the text of a kernel."""
    name = mutant.function.name
    path = folder / f"{name}.py"
    path.write_text(ast.unparse(mutant.function))
    spec = spec_from_file_location(name, path)
    module = module_from_spec(spec)
    vars(module).update({key: value for key, value in names.items() if not key.startswith("__")})
    spec.loader.exec_module(module)
    return getattr(module, name)


def stages(exercise: Exercise) -> Iterator[list[Part]]:
    """The parts that are quick to judge, and then each of the others."""
    quick = [p for p in exercise.parts if p.tells_mistakes and not p.only_grading]
    yield quick
    yield from ([part] for part in exercise.parts if part not in quick)


def survives(exercise: Exercise, function: Callable, right: dict[tuple, Any]) -> bool:
    """Whether a function earns all points. right: the reference's answers, kept between calls."""
    for parts in stages(exercise):
        for seed in SEEDS:
            key = seed, parts[0].name
            cases = exercise.draw(seed, parts)
            if key not in right:
                right[key] = reference_answers(exercise, cases)
            signal.alarm(SECONDS)
            try:
                answers, _ = run_probe(exercise, function, cases)
                if failed(judge_parts(exercise, cases, answers, right[key])):
                    return False
            except (TimeoutError, MemoryError):
                return False
            finally:
                signal.alarm(0)
    return True


def survivors_of(exercise: Exercise) -> tuple[int, list[Mutant]]:
    """How many mutants there are, and those that live and are not known to be equivalent."""
    tree, names = solution_tree(exercise)
    known = EQUIVALENT.get(exercise.name, {})
    mutants = [mutant for mutant in mutants_of(tree) if mutant.change not in known]
    right: dict[tuple, Any] = {}
    alive = []
    with tempfile.TemporaryDirectory() as folder:
        for mutant in track(mutants, exercise.name, console=console, transient=True):
            try:
                function = function_of(mutant, names, Path(folder))
            except Exception:
                continue  # what cannot even be defined is no mutant
            if survives(exercise, function, right):
                alive.append(mutant)
    return len(mutants), alive


def main(topic: Annotated[str, typer.Argument(help="One topic; all without it.")] = "") -> None:
    """Exits with 1 if a mutant lives."""
    signal.signal(signal.SIGALRM, _give_up)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    living = 0
    for exercise in (
        e for t in ([topic] if topic else NOTEBOOKS) for e in exercises_of(t).values()
    ):
        number, alive = survivors_of(exercise)
        console.print(f"{exercise.name}: {number} mutants, {len(alive)} alive")
        for mutant in alive:
            console.print(f"    line {mutant.line}: {mutant.change}", markup=False)
        living += len(alive)
    sys.exit(bool(living))


if __name__ == "__main__":
    typer.run(main)

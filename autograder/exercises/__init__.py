"""The exercises of each notebook, one module a topic."""

from importlib import import_module

from autograder.exercise import Exercise

# Topic -> notebook, in the order of the course.
NOTEBOOKS = {
    "foundations": "00_foundations",
    "sparse_attention": "01_sparse_attention",
    "linear_attention": "02_linear_attention",
    "low_rank_attention": "03_low_rank_attention",
    "hardware_aware_attention": "05_hardware_aware_attention",
}


def exercises_of(topic: str) -> dict[str, Exercise]:
    """The exercises of one notebook by name, in its order."""
    module = import_module(f"autograder.exercises.{topic}")
    return {exercise.name: exercise for exercise in module.EXERCISES}


def all_exercises() -> dict[str, Exercise]:
    """Every exercise of the course by name."""
    return {name: e for topic in NOTEBOOKS for name, e in exercises_of(topic).items()}

"""The exercises of each notebook, one package a topic."""

from importlib import import_module

from autograder.exercise import Exercise
from autograder.registry import NOTEBOOKS


def exercises_of(topic: str) -> dict[str, Exercise]:
    """The exercises of one notebook by name, in its order."""
    module = import_module(f"autograder.exercises.{topic}")
    return {exercise.name: exercise for exercise in module.EXERCISES}


def all_exercises() -> dict[str, Exercise]:
    """Every exercise of the course by name."""
    return {name: e for topic in NOTEBOOKS for name, e in exercises_of(topic).items()}

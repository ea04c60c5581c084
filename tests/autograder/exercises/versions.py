"""Right and wrong versions of every exercise, and how tests over them are called."""

from importlib import import_module

import pytest

from autograder.exercises import NOTEBOOKS, all_exercises
from solutions.mistakes import mistakes_of

FRESH = 1
"""A seed of cases that are not those of the check."""
EXERCISES = list(all_exercises().values())
MISTAKES = [(e, m) for e in EXERCISES for m in mistakes_of(e.topic, e.name)]
RIGHT, WRONG = (
    {
        name: functions
        for topic in NOTEBOOKS
        for name, functions in getattr(
            import_module(f"{__package__}.{topic}.{kind}"), table
        ).items()
    }
    for kind, table in (("right_answers", "RIGHT"), ("wrong_answers", "WRONG"))
)
RIGHT_VERSIONS = [(e, f) for e in EXERCISES for f in RIGHT[e.name]]
WRONG_VERSIONS = [(e, f) for e in EXERCISES for f in WRONG.get(e.name, {})]
REFERENCES = {e.name: getattr(import_module(f"solutions.{e.module}"), e.name) for e in EXERCISES}


def named(exercise):
    """The topic is a part of the test's name, by which `pytest -k` finds it."""
    return f"{exercise.topic}-{exercise.name}"


each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=named)


def each(names, pairs):
    """Over pairs of an exercise and a version; those of one exercise run in one process."""
    return pytest.mark.parametrize(
        names,
        [
            pytest.param(
                exercise,
                version,
                marks=pytest.mark.xdist_group(exercise.name),
                id=f"{named(exercise)}-{getattr(version, '__name__', None) or version.name}",
            )
            for exercise, version in pairs
        ],
    )


def mistake_called(name, exercise):
    return next(m.function for e, m in MISTAKES if (e.name, m.name) == (exercise, name))

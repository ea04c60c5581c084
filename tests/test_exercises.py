"""What every exercise must do: accept what is right, reject and name what is wrong."""

from importlib import import_module

import pytest

from autograder.answers import mistake_answers, reference_answers
from autograder.check import check_exercise
from autograder.exercise import PUBLIC_SEED
from autograder.exercises import NOTEBOOKS, all_exercises
from autograder.judge import judge
from autograder.probes import run_probe
from solutions.mistakes import mistakes_of

FRESH_SEEDS = (1, 2)
EXERCISES = list(all_exercises().values())
MISTAKES = [(e, m) for e in EXERCISES for m in mistakes_of(e.topic, e.name)]
RIGHT, WRONG = (
    {
        name: functions
        for topic in NOTEBOOKS
        for name, functions in getattr(import_module(f"tests.{kind}.{topic}"), table).items()
    }
    for kind, table in (("right_answers", "RIGHT"), ("wrong_answers", "WRONG"))
)
RIGHT_VERSIONS = [(e, f) for e in EXERCISES for f in RIGHT[e.name]]
WRONG_VERSIONS = [(e, f) for e in EXERCISES for f in WRONG.get(e.name, {})]


def named(pairs):
    return [f"{e.name}-{getattr(other, '__name__', None) or other.name}" for e, other in pairs]


def judge_on(seed, exercise, function):
    cases = exercise.draw_cases(seed)
    answers, printed = run_probe(exercise, function, cases)
    expected, mistakes = reference_answers(exercise, cases), mistake_answers(exercise, cases)
    return judge(exercise, cases, answers, expected, mistakes, printed)


def complaints(report):
    return [line.complaint for line in report.lines if line.complaint]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_reference_earns_full_points_on_public_and_fresh_cases(exercise):
    reference = getattr(import_module(f"solutions.{exercise.topic}"), exercise.name)
    for report in (
        check_exercise(exercise, reference),
        *(judge_on(seed, exercise, reference) for seed in FRESH_SEEDS),
    ):
        assert complaints(report) == []
        assert report.points == exercise.points


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_two_right_versions_and_two_mistakes_are_known_for_each_exercise(exercise):
    assert len(RIGHT[exercise.name]) >= 2
    assert len(mistakes_of(exercise.topic, exercise.name)) >= 2


@pytest.mark.parametrize(("exercise", "right"), RIGHT_VERSIONS, ids=named(RIGHT_VERSIONS))
def test_a_right_version_written_differently_earns_full_points(exercise, right):
    for seed in FRESH_SEEDS:
        assert complaints(judge_on(seed, exercise, right)) == []
    assert check_exercise(exercise, right).points == exercise.points


@pytest.mark.parametrize(("exercise", "wrong"), WRONG_VERSIONS, ids=named(WRONG_VERSIONS))
def test_a_wrong_version_that_nobody_listed_is_rejected_and_not_misnamed(exercise, wrong):
    for report in (check_exercise(exercise, wrong), judge_on(FRESH_SEEDS[0], exercise, wrong)):
        assert report.points < exercise.points
        assert report.mistake == WRONG[exercise.name][wrong]


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=named(MISTAKES))
def test_a_mistake_is_rejected_and_named_by_the_check(exercise, mistake):
    report = check_exercise(exercise, mistake.function)
    assert report.points < exercise.points
    assert report.mistake == mistake.name
    assert report.explanation == mistake.explanation


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=named(MISTAKES))
def test_a_mistake_is_rejected_and_named_on_fresh_cases(exercise, mistake):
    report = judge_on(FRESH_SEEDS[0], exercise, mistake.function)
    assert report.points < exercise.points
    assert report.mistake == mistake.name


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_stub_earns_nothing_and_is_told_so(exercise):
    def stub(*args, **kwargs):
        raise NotImplementedError

    report = check_exercise(exercise, stub)
    assert report.points == 0
    assert report.max_points == exercise.points
    assert "Not written yet" in report.note


WORTHLESS = {
    "returns nothing": lambda *args, **kwargs: None,
    "returns a number": lambda *args, **kwargs: 1.0,
    "returns its first argument": lambda *args, **kwargs: args[0],
    "takes no arguments": lambda: None,
}


@pytest.mark.parametrize("function", WORTHLESS.values(), ids=WORTHLESS)
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_a_function_that_does_nothing_earns_at_most_a_token(exercise, function):
    report = check_exercise(exercise, function)
    assert report.points <= 1
    assert complaints(report)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_public_cases_are_the_same_each_time_and_fresh_ones_are_not(exercise):
    def numbers(seed):
        cases = exercise.draw_cases(seed)
        return [
            (case, name, value.tolist() if hasattr(value, "tolist") else value)
            for case, inputs in cases.items()
            for name, value in inputs.items()
        ]

    assert numbers(PUBLIC_SEED) == numbers(PUBLIC_SEED)
    assert numbers(PUBLIC_SEED) != numbers(FRESH_SEEDS[0])

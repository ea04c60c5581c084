"""What every exercise must do: accept what is right, reject and name what is wrong."""

from functools import cache

import pytest
import torch

from autograder.answers import mistake_answers, recorded_answers, reference_answers
from autograder.check import check_exercise
from autograder.exercise import KEEPS_INPUTS, PUBLIC_SEED
from autograder.exercises import all_exercises
from autograder.judge import judge
from autograder.mistakes import agree
from autograder.probes import run_probe
from course.triton_here import tl, triton
from solutions.mistakes import mistakes_of
from tests.autograder.exercises.versions import (
    EXERCISES,
    FRESH,
    MISTAKES,
    REFERENCES,
    RIGHT,
    RIGHT_VERSIONS,
    WRONG,
    WRONG_VERSIONS,
    each,
    each_exercise,
)


@cache
def reference_on(seed, name):
    exercise = all_exercises()[name]
    return reference_answers(exercise, exercise.draw(seed))


@cache
def mistakes_on(seed, name):
    exercise = all_exercises()[name]
    return mistake_answers(exercise, exercise.draw(seed))


def judge_on(seed, exercise, function):
    cases, expected = exercise.draw(seed), reference_on(seed, exercise.name)
    answers, printed = run_probe(exercise, function, cases)
    report = judge(exercise, cases, answers, expected)
    if not complaints(report):
        return report
    # Only what is wrong can be a known mistake.
    mistakes = mistakes_on(seed, exercise.name)
    return judge(exercise, cases, answers, expected, mistakes, printed)


def complaints(report):
    return [line.complaint for line in report.lines if line.complaint]


@each_exercise
def test_the_reference_earns_full_points_on_public_and_fresh_cases(exercise):
    reference = REFERENCES[exercise.name]
    for report in (check_exercise(exercise, reference), judge_on(FRESH, exercise, reference)):
        assert complaints(report) == []
        assert report.points == exercise.points


@each_exercise
def test_two_right_versions_and_two_mistakes_are_known_for_each_exercise(exercise):
    assert len(RIGHT[exercise.name]) >= 2
    assert len(mistakes_of(exercise.topic, exercise.name)) >= 2


@each(("exercise", "right"), RIGHT_VERSIONS)
def test_a_right_version_written_differently_earns_full_points(exercise, right):
    assert complaints(judge_on(FRESH, exercise, right)) == []
    assert check_exercise(exercise, right).points == exercise.points


# Kernels take seconds, and their public cases are like the fresh ones but for their numbers: wrong
# ones run on the public cases alone.


@each(("exercise", "wrong"), WRONG_VERSIONS)
def test_a_wrong_version_that_nobody_listed_is_rejected_and_not_misnamed(exercise, wrong):
    reports = [check_exercise(exercise, wrong)]
    if exercise.kind != "kernel":
        reports.append(judge_on(FRESH, exercise, wrong))
    for report in reports:
        assert report.points < exercise.points
        assert report.mistake == WRONG[exercise.name][wrong]


@each_exercise
def test_what_is_recorded_is_what_the_solution_answers_today(exercise):
    cases, (recorded, mistakes) = exercise.draw(PUBLIC_SEED), recorded_answers(exercise)
    today = reference_on(PUBLIC_SEED, exercise.name)
    assert today.keys() == recorded.keys()
    assert agree(exercise, cases, recorded, today, today), "run `autograder build`"
    declared = mistakes_of(exercise.topic, exercise.name)
    assert [(m.name, m.explanation) for m in mistakes] == [
        (m.name, m.explanation) for m in declared
    ]


@each(("exercise", "mistake"), MISTAKES)
def test_a_mistake_is_rejected_and_named_on_public_and_fresh_cases(exercise, mistake):
    for seed in (PUBLIC_SEED,) if exercise.kind == "kernel" else (PUBLIC_SEED, FRESH):
        (answers,) = [m.answers for m in mistakes_on(seed, exercise.name) if m.name == mistake.name]
        if answers:
            cases = exercise.draw(seed, [part for part in exercise.parts if part.tells_mistakes])
        else:  # it is told by a sign
            cases = exercise.draw(seed)
            answers, _ = run_probe(exercise, mistake.function, cases)
        expected, known = (
            recorded_answers(exercise)
            if seed == PUBLIC_SEED
            else (reference_on(seed, exercise.name), mistakes_on(seed, exercise.name))
        )
        report = judge(exercise, cases, answers, expected, known)
        assert complaints(report)
        assert report.mistake == mistake.name, "run `autograder build` if it was changed"
        assert report.explanation == mistake.explanation


def test_what_rounding_decides_of_a_mistake_is_not_recorded():
    _, mistakes = recorded_answers(all_exercises()["attention_spectrum"])
    (answers,) = [mistake.answers for mistake in mistakes if mistake.name == "logarithms"]
    # Of matrices with a singular value of 0, which is another small number on each processor.
    assert "output" not in answers["three kinds of tokens"]
    assert "output" in answers["attention"]


def stub(*args, **kwargs):
    raise NotImplementedError


@triton.jit
def kernel_stub(x_ptr, out_ptr, BLOCK: tl.constexpr):
    raise NotImplementedError()


@each_exercise
def test_the_stub_earns_nothing_and_is_told_so(exercise):
    report = check_exercise(exercise, kernel_stub if exercise.kind == "kernel" else stub)
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
@each_exercise
def test_a_function_that_does_nothing_earns_at_most_a_token(exercise, function):
    report = check_exercise(exercise, function)
    # To leave what it was given alone is no merit of a function that does little.
    kept = sum(line.earned for line in report.lines if line.title == KEEPS_INPUTS)
    assert report.points - kept <= 1
    assert complaints(report)


@each_exercise
def test_public_cases_are_the_same_each_time_and_fresh_ones_are_not(exercise):
    def numbers(seed):
        return [
            (case, name, value.tolist() if hasattr(value, "tolist") else value)
            for case, drawn in exercise.draw(seed).items()
            for name, value in drawn.inputs.items()
        ]

    assert numbers(PUBLIC_SEED) == numbers(PUBLIC_SEED)
    assert numbers(PUBLIC_SEED) != numbers(FRESH)


# --- What a probe brings back --------------------------------------------------------------------


@each_exercise
def test_a_probe_decides_nothing(exercise):
    answers, _ = recorded_answers(exercise)
    assert all(tensor.dtype != torch.bool for a in answers.values() for tensor in a.values())


def keeps_every_token(state, q_t, k_t, v_t, feature_map):
    keys, values = feature_map(k_t).unsqueeze(-2), v_t.unsqueeze(-2)
    if state[1].dim() == values.dim():  # not the first token
        keys, values = torch.cat([state[0], keys], -2), torch.cat([state[1], values], -2)
    weights = (feature_map(q_t).unsqueeze(-2) * keys).sum(-1, keepdim=True)
    return (keys, values), (weights * values).sum(-2) / weights.sum(-2)


def test_a_state_that_grows_costs_that_property_alone():
    report = check_exercise(all_exercises()["recurrent_step"], keeps_every_token)
    assert complaints(report) == ["case “nine tokens”: the state grew from one token to the next"]


def test_an_output_that_is_nan_anyway_says_nothing_of_later_tokens():
    def linear_where_finite(q, k, v, feature_map, chunk_size):
        output = REFERENCES["causal_linear_attention"](q, k, v, feature_map, chunk_size)
        return output if v.requires_grad else output * torch.nan

    report = check_exercise(all_exercises()["causal_linear_attention"], linear_where_finite)
    assert "not numbers already before a token is changed" in complaints(report)[0]


SETTINGS = {
    "float64 by default": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "another device": (lambda: torch.set_default_device("meta"), torch.get_default_device),
    "no gradients": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "deterministic algorithms": (
        lambda: torch.use_deterministic_algorithms(True),
        torch.are_deterministic_algorithms_enabled,
    ),
}


@pytest.fixture
def usual_settings():
    """Calling it gives torch its usual settings again; so does the end of the test."""

    def restore():
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.set_grad_enabled(True)
        torch.use_deterministic_algorithms(False)

    yield restore
    restore()


@pytest.mark.parametrize(("change", "read"), SETTINGS.values(), ids=SETTINGS)
def test_a_setting_that_a_cell_has_changed_costs_no_points_and_stays(change, read, usual_settings):
    # Kernels run in a process of their own, in which no cell has.
    functions = [e for e in EXERCISES if e.kind == "function"]
    drawn = [(e, e.draw(PUBLIC_SEED), recorded_answers(e)[0]) for e in functions]
    usual = read()
    change()
    changed = read()
    answers = [run_probe(e, REFERENCES[e.name], cases)[0] for e, cases, _ in drawn]
    assert read() == changed != usual
    usual_settings()
    for (exercise, cases, expected), answer in zip(drawn, answers, strict=True):
        assert complaints(judge(exercise, cases, answer, expected)) == []

"""The judge outside: points by secret cases, words by public ones."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import solutions.linear_attention as solutions
from autograder.answers import recorded_answers
from autograder.exercise import PUBLIC_SEED, Case, Exercise, ReferenceFailsError
from autograder.exercises import exercises_of
from autograder.grading.verdict import (
    LONG_CPU_SECONDS,
    LONG_SECONDS,
    Ask,
    NoAnswerError,
    Returned,
    decide,
    no_answer,
)
from autograder.probes import run_probe

EXERCISES = exercises_of("linear_attention")
ELU = EXERCISES["elu_feature_map"]
LINEAR = EXERCISES["linear_attention"]
LONG = next(part for part in LINEAR.parts if part.only_grading)
SEED = 20240607


def asking(exercise: Exercise, function: Callable) -> Ask:
    def ask(cases: dict[str, Case]) -> Returned:
        return Returned(*run_probe(exercise, function, cases), cpu_seconds=0.1, seconds=0.1)

    return ask


@pytest.mark.parametrize("name", EXERCISES)
def test_the_reference_earns_all_points_on_secret_cases(name):
    exercise = EXERCISES[name]
    report = decide(exercise, SEED, asking(exercise, getattr(solutions, name)))
    assert (report.points, report.max_points) == (exercise.points, exercise.points)
    assert not report.printed


def stub(x: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError


def test_an_unwritten_function_earns_nothing_and_is_told_so():
    report = decide(ELU, SEED, asking(ELU, stub))
    assert report.points == 0
    assert "Not written yet" in report.note


def replayed(x: torch.Tensor) -> torch.Tensor:
    """The recorded answer where the input is a public one, and zeros elsewhere."""
    expected, _ = recorded_answers(ELU)
    for name, case in ELU.draw(PUBLIC_SEED).items():
        public = case.inputs["x"]
        if x.shape == public.shape and torch.equal(x.detach(), public):
            return x * 0 + expected[name]["output"].to(x.dtype)
    return x * 0


def test_answers_replayed_from_the_public_cases_earn_nothing_and_nothing_secret_is_shown():
    report = decide(ELU, SEED, asking(ELU, replayed))
    assert report.points == 0
    assert any("drawn when this was graded" in line.complaint for line in report.lines)


def told(x: torch.Tensor) -> torch.Tensor:
    print(x.tolist())
    raise ValueError(f"the input is {x.tolist()}")


def test_neither_an_exception_nor_a_print_shows_a_secret_input():
    report = decide(ELU, SEED, asking(ELU, told))
    secret = ELU.draw(SEED)["short"].inputs["x"].flatten()[0].item()
    public = ELU.draw(PUBLIC_SEED)["short"].inputs["x"].flatten()[0].item()
    assert repr(public) in report.to_html()
    assert repr(secret) not in report.to_html()


def exp_plus_one(x: torch.Tensor) -> torch.Tensor:
    return torch.exp(x) + 1


def test_the_numbers_shown_are_those_of_the_public_cases():
    report = decide(ELU, SEED, asking(ELU, exp_plus_one))
    complaint = next(line.complaint for line in report.lines if "equals" in line.title)
    expected, _ = recorded_answers(ELU)
    assert f"{expected['short']['output'].flatten()[0].item():.6g}" in complaint


def test_a_known_mistake_is_named():
    from solutions.mistakes import mistakes_of

    mistake = mistakes_of("linear_attention", "elu_feature_map")[0]
    report = decide(ELU, SEED, asking(ELU, mistake.function))
    assert report.mistake == mistake.name


def test_no_answer_at_all_is_0_points_with_the_reason():
    report = no_answer(ELU, "The process ended.")
    assert (report.points, report.max_points) == (0, ELU.points)
    assert "The process ended." in report.to_html()


def cost_line(report) -> str:
    return next(line.complaint for line in report.lines if line.title == long_title())


def long_title() -> str:
    return LONG.properties[0].title


def long_fails(answer: Ask) -> Ask:
    """Answers the short cases rightly, and the long ones with `answer`."""
    right = asking(LINEAR, solutions.linear_attention)

    def ask(cases: dict[str, Case]) -> Returned:
        long = all(case.part == LONG.name for case in cases.values())
        return answer(cases) if long else right(cases)

    return ask


def gives_up(cases: dict[str, Case]) -> Returned:
    raise NoAnswerError("it used too much memory")


def is_slow(cases: dict[str, Case]) -> Returned:
    returned = asking(LINEAR, solutions.linear_attention)(cases)
    return replace(returned, cpu_seconds=1000 * LONG_CPU_SECONDS)


def waits_for_others(cases: dict[str, Case]) -> Returned:
    returned = asking(LINEAR, solutions.linear_attention)(cases)
    return replace(returned, seconds=1000 * LONG_SECONDS)


def is_empty(cases: dict[str, Case]) -> Returned:
    return Returned({}, "", 0.1, 0.1)


def is_half_precise(cases: dict[str, Case]) -> Returned:
    return asking(LINEAR, lambda *given: solutions.linear_attention(*given).bfloat16())(cases)


def is_wrong(cases: dict[str, Case]) -> Returned:
    return asking(LINEAR, lambda q, k, v, phi: v)(cases)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (gives_up, "too much memory"),
        (is_slow, "seconds"),
        (waits_for_others, "seconds"),
        (is_empty, "fails"),
        (is_wrong, "output is wrong"),
        (is_half_precise, "output is wrong"),
    ],
    ids=["no answer", "too slow", "too late", "empty answer", "wrong numbers", "fewer digits"],
)
def test_a_cost_that_was_only_claimed_costs_the_property_and_no_other(answer, reason):
    report = decide(LINEAR, SEED, long_fails(answer))
    assert reason in cost_line(report)
    assert [line.title for line in report.lines if line.complaint] == [long_title()]


def test_a_reference_that_fails_is_no_students_fault(monkeypatch):
    monkeypatch.setattr(solutions, "elu_feature_map", stub)
    with pytest.raises(ReferenceFailsError, match="elu_feature_map"):
        decide(ELU, SEED, asking(ELU, torch.nn.functional.softplus))

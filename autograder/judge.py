"""The judge: compares what a probe brought back with the reference. It never runs student code."""

from dataclasses import dataclass

import torch

from autograder.exercise import Answer, Exercise, Inputs, Property, Raised, wrong_entries
from autograder.report import Line, Report

Answers = dict[str, Answer | Raised]
"""Answers by the name of the case."""

_MISSING = Raised("AnswerError", "no answer came back")


@dataclass(frozen=True)
class KnownMistake:
    """A wrong version that students write, with what it answers on the same cases."""

    name: str
    explanation: str
    answers: Answers
    random: bool = False


def judge(
    exercise: Exercise,
    cases: dict[str, Inputs],
    answers: Answers,
    expected: Answers,
    mistakes: tuple[KnownMistake, ...] = (),
    printed: str = "",
) -> Report:
    """Decide the points of one exercise, property by property, and name a known mistake.

    answers: the student's; expected: the reference's, in float64. Fails closed: a case without
    an answer, or with one that cannot be compared, fails every property that looks at it.
    """
    lines = _judge_properties(exercise, cases, answers, expected)
    if any(isinstance(a, Raised) and a.is_stub for a in answers.values()):
        return Report(exercise.name, lines, note="Not written yet: it raises NotImplementedError.")
    recognised = next(
        (m for m in mistakes if _recognises(m, exercise, cases, answers, expected, lines)), None
    )
    return Report(
        exercise.name,
        lines,
        mistake=recognised.name if recognised else "",
        explanation=recognised.explanation if recognised else "",
        printed=printed,
    )


def _recognises(
    mistake: KnownMistake,
    exercise: Exercise,
    cases: dict[str, Inputs],
    answers: Answers,
    expected: Answers,
    lines: tuple[Line, ...],
) -> bool:
    """Whether wrong answers are those of `mistake`.

    By their numbers; where the mistake's numbers are right, or random, by the properties that fail.
    """
    failed = _failed(lines)
    if not failed or not (mistake.random or _agree(exercise, answers, mistake.answers)):
        return False
    if not mistake.random and not _agree(exercise, mistake.answers, expected):
        return True
    return failed == _failed(_judge_properties(exercise, cases, mistake.answers, expected))


def _judge_properties(
    exercise: Exercise, cases: dict[str, Inputs], answers: Answers, expected: Answers
) -> tuple[Line, ...]:
    lines = []
    for prop in exercise.properties:
        complaint = ""
        for name in prop.cases or cases:
            text = _complaint(prop, cases[name], answers.get(name, _MISSING), expected[name])
            if text:
                complaint = f"case “{name}”: {text}"
                break
        lines.append(Line(prop.title, prop.points, complaint))
    return tuple(lines)


def _complaint(
    prop: Property, inputs: Inputs, answer: Answer | Raised, expected: Answer
) -> str | None:
    if isinstance(answer, Raised):
        return str(answer)
    try:
        return prop.complain(inputs, answer, expected)
    except Exception as error:
        # Whatever came back could not even be compared.
        return f"the answer cannot be compared ({type(error).__name__}: {error})"


def _failed(lines: tuple[Line, ...]) -> set[str]:
    return {line.title for line in lines if line.complaint}


def _compared(exercise: Exercise, answer: Answer) -> Answer:
    names = {name for prop in exercise.properties for name in prop.compared}
    return {name: tensor for name, tensor in answer.items() if name in names}


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape:
        return False
    finite = a.isfinite() & b.isfinite()
    infinite_alike = torch.equal(a[~finite].nan_to_num(), b[~finite].to(a.dtype).nan_to_num())
    return infinite_alike and not wrong_entries(a[finite], b[finite]).any()


def _agree(exercise: Exercise, answers: Answers, others: Answers) -> bool:
    # Equal in every tensor that is held against the reference, or an exception in both.
    for name, theirs in others.items():
        mine = answers.get(name, _MISSING)
        if isinstance(mine, Raised) or isinstance(theirs, Raised):
            if type(mine) is not type(theirs):
                return False
        elif not all(
            key in mine and _close(mine[key], tensor)
            for key, tensor in _compared(exercise, theirs).items()
        ):
            return False
    return True

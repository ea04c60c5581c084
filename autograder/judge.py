"""The judge: compares what a probe brought back with the reference. It never runs student code."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from autograder.exercise import (
    TOLERANCES,
    Answer,
    Exercise,
    Inputs,
    Property,
    Raised,
    ReferenceFailsError,
    difference,
    wrong_entries,
)
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
    lines = _judge_properties(exercise.properties, cases, answers, expected)
    if answers and all(isinstance(a, Raised) and a.is_stub for a in answers.values()):
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


def judge_long(
    exercise: Exercise, cases: dict[str, Inputs], answers: Answers, expected: Answers
) -> dict[str, str]:
    """What is wrong with the outputs of the long cases, by the title of the property.

    It tells nothing of the inputs, which are secret.
    """
    complaints = {}
    for prop in exercise.properties:
        for name in prop.long:
            answer = answers.get(name, _MISSING)
            if isinstance(answer, Raised) or "output" not in answer:
                complaints[prop.title] = "on a long sequence it fails: it may need too much memory"
            # The tolerance is that of the output's type, which is therefore not free.
            elif answer["output"].dtype not in _dtypes(cases[name]) or difference(
                "output", answer["output"], expected[name]["output"]
            ):
                complaints[prop.title] = "on a long sequence its output is wrong"
    return complaints


def _dtypes(inputs: Inputs) -> set[torch.dtype]:
    return {value.dtype for value in inputs.values() if isinstance(value, torch.Tensor)}


def _recognises(
    mistake: KnownMistake,
    exercise: Exercise,
    cases: dict[str, Inputs],
    answers: Answers,
    expected: Answers,
    lines: tuple[Line, ...],
) -> bool:
    """Whether wrong answers are those of `mistake`.

    By their numbers; where the mistake's numbers are right, or random, by the properties that
    fail, and by the size of the largest tensors where those are counted.
    """
    failed = _failed(lines)
    if not failed or not (mistake.random or _agree(exercise, answers, mistake.answers)):
        return False
    if not mistake.random and not _agree(exercise, mistake.answers, expected):
        return True
    known = [p for p in exercise.properties if not set(p.cases) & set(exercise.costly)]
    theirs = _failed(_judge_properties(known, cases, mistake.answers, expected))
    mine = failed & {prop.title for prop in known}
    return mine == theirs and _as_large(answers, mistake.answers)


def _judge_properties(
    properties: Iterable[Property], cases: dict[str, Inputs], answers: Answers, expected: Answers
) -> tuple[Line, ...]:
    lines = []
    for prop in properties:
        complaint = ""
        for name in prop.cases or cases:
            text = _complaint(
                prop, cases[name], answers.get(name, _MISSING), expected.get(name, {})
            )
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
    except ReferenceFailsError:
        raise
    except Exception as error:
        # Whatever came back could not even be compared.
        return f"the answer cannot be compared ({type(error).__name__}: {error})"


def _failed(lines: tuple[Line, ...]) -> set[str]:
    return {line.title for line in lines if line.complaint}


def _compared(exercise: Exercise, case: str, answer: Answer) -> Answer:
    # What some property holds against the reference in this case.
    names = {
        name
        for prop in exercise.properties
        if not prop.cases or case in prop.cases
        for name in prop.compared
    }
    return {name: tensor for name, tensor in answer.items() if name in names}


def _as_large(answers: Answers, others: Answers) -> bool:
    # Within a factor of 2: an n × n and an n × d × d tensor are further apart.
    for case, theirs in others.items():
        mine = answers.get(case, _MISSING)
        if isinstance(mine, Raised) or isinstance(theirs, Raised):
            continue
        if "largest_tensor" in mine and "largest_tensor" in theirs:
            ratio = mine["largest_tensor"] / theirs["largest_tensor"]
            if not ((ratio > 0.5) & (ratio < 2)).all():
                return False
    return True


def _close(a: object, b: torch.Tensor) -> bool:
    # a comes from the student: it may be anything.
    if not isinstance(a, torch.Tensor) or a.shape != b.shape or a.dtype not in TOLERANCES:
        return False
    finite = a.isfinite() & b.isfinite()
    infinite_alike = torch.allclose(
        a[~finite].double(), b[~finite].double(), rtol=0, atol=0, equal_nan=True
    )
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
            for key, tensor in _compared(exercise, name, theirs).items()
        ):
            return False
    return True

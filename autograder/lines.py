"""What the properties of an exercise say of answers: a line of the report for each title."""

from collections.abc import Iterable
from dataclasses import replace

from autograder.exercise import (
    KEEPS_INPUTS,
    Answer,
    Case,
    Exercise,
    Inputs,
    Property,
    Raised,
    ReferenceFailsError,
)
from autograder.report import Line

Answers = dict[str, Answer | Raised]
"""Answers by the name of the case."""

Truths = dict[str, Answer]
"""What is right, in float64, by the name of the case; of cases that are held against it."""

MISSING = Raised("AnswerError", "no answer came back")
_NOTHING_ELSE = "this counts once something else is right"


def judge_parts(
    exercise: Exercise, cases: dict[str, Case], answers: Answers, expected: Truths
) -> tuple[Line, ...]:
    """What the properties of those parts say that the cases belong to, a line a title."""
    parts = {case.part for case in cases.values()}
    declared = [
        (prop, prop.cases or [name for name, case in cases.items() if case.part == part.name])
        for part in exercise.parts
        if part.name in parts
        for prop in part.properties
    ]
    kept = [prop for prop in exercise.properties if prop.title == KEEPS_INPUTS]
    declared += [(prop, prop.cases) for prop in kept if cases.keys() & set(prop.cases)]
    lines: dict[str, Line] = {}
    for prop, names in declared:
        names = [name for name in names if name in cases]
        said = _complaint_of(prop, names, cases, answers, expected) if names else ""
        before = lines.get(prop.title, Line(prop.title, 0, ""))
        lines[prop.title] = Line(prop.title, before.points + prop.points, before.complaint or said)
    # What does nothing changes nothing, and earns nothing by it.
    if KEEPS_INPUTS in lines and not any(
        line.earned for title, line in lines.items() if title != KEEPS_INPUTS
    ):
        line = lines[KEEPS_INPUTS]
        lines[KEEPS_INPUTS] = replace(line, complaint=line.complaint or _NOTHING_ELSE)
    return tuple(lines.values())


def _complaint_of(
    prop: Property,
    names: Iterable[str],
    cases: dict[str, Case],
    answers: Answers,
    expected: Truths,
) -> str:
    for name in names:
        answer = answers.get(name, MISSING)
        if prop.title == KEEPS_INPUTS and isinstance(answer, Raised):
            continue  # other properties tell
        text = _complaint(prop, cases[name].inputs, answer, expected.get(name, {}))
        if text:
            return f"case “{name}”: {text}"
    return ""


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


def failed(lines: Iterable[Line]) -> set[str]:
    """The titles of the lines that complain."""
    return {line.title for line in lines if line.complaint}

"""Decide what an exercise earns, outside the student's process, on cases that it never saw."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from autograder.answers import recorded_answers, reference_when_asked
from autograder.exercise import PUBLIC_SEED, Exercise, Inputs
from autograder.judge import Answers, judge, judge_long
from autograder.report import Line, Report

LONG_CPU_SECONDS, LONG_SECONDS = 3.0, 10.0
"""What the long cases of an exercise may take, in CPU time of all processes and by the clock.

A solution needs a tenth of the first at most.
"""

_FRESH_ONLY = (
    "right on the cases of the check, wrong on others of their kind, which were drawn when this "
    "was graded"
)


class NoAnswerError(Exception):
    """The student's process gave no answer; the text tells the student why."""


@dataclass(frozen=True)
class Returned:
    """What came back from the student's process, and how long that took."""

    answers: Answers
    printed: str
    cpu_seconds: float
    seconds: float


Ask = Callable[[dict[str, Inputs]], Returned]
"""Runs the student's function on cases, in its process. Raises NoAnswerError."""


def decide(exercise: Exercise, seed: int, ask: Ask) -> Report:
    """The points of one exercise on the cases of `seed`, and what the student should read.

    What a student reads is about the public cases: nothing in it comes from the secret ones.
    Raises NoAnswerError if the student's process gave none.
    """
    cases = exercise.draw_cases(seed)
    answers = ask(cases).answers
    report = judge(exercise, cases, answers, reference_when_asked(exercise, cases))
    if report.note:
        return report
    lines = tuple(replace(line, complaint=line.complaint and _FRESH_ONLY) for line in report.lines)
    lines = _with_long_cases(exercise, seed, ask, lines)
    if not any(line.complaint for line in lines):
        return Report(exercise.name, lines)
    return _explained(exercise, ask, lines)


def no_answer(exercise: Exercise, reason: str) -> Report:
    """The report on an exercise of which nothing came back."""
    lines = tuple(Line(prop.title, prop.points, reason) for prop in exercise.properties)
    return Report(exercise.name, lines, note=reason)


def _with_long_cases(
    exercise: Exercise, seed: int, ask: Ask, lines: tuple[Line, ...]
) -> tuple[Line, ...]:
    """The lines, where properties that hold on short cases must hold on long ones too."""
    earned = {line.title for line in lines if not line.complaint}
    if not any(prop.long and prop.title in earned for prop in exercise.properties):
        return lines
    cases = exercise.draw_long_cases(seed)
    titles = [prop.title for prop in exercise.properties if prop.long]
    try:
        returned = ask(cases)
    except NoAnswerError as error:
        complaints = dict.fromkeys(titles, f"on a long sequence: {error}")
    else:
        expected = reference_when_asked(exercise, cases)
        complaints = judge_long(exercise, cases, returned.answers, expected)
        if returned.cpu_seconds > LONG_CPU_SECONDS or returned.seconds > LONG_SECONDS:
            slow = f"on a long sequence it computed for more than {LONG_CPU_SECONDS:g} seconds"
            complaints = dict.fromkeys(titles, slow)
    return tuple(
        replace(line, complaint=line.complaint or complaints.get(line.title, "")) for line in lines
    )


def _explained(exercise: Exercise, ask: Ask, lines: tuple[Line, ...]) -> Report:
    """The lines with the complaints of the public cases; the mistake, if it is a known one."""
    returned = ask(exercise.draw_cases(PUBLIC_SEED))
    expected, mistakes = recorded_answers(exercise)
    cases = exercise.draw_cases(PUBLIC_SEED)
    shown = judge(exercise, cases, returned.answers, expected, mistakes, returned.printed)
    said = {line.title: line.complaint for line in shown.lines}
    return replace(
        shown,
        lines=tuple(
            replace(line, complaint=line.complaint and (said[line.title] or line.complaint))
            for line in lines
        ),
        note="",
    )

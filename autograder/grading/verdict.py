"""Decide what an exercise earns, outside the student's process, on cases that it never saw."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from autograder.answers import recorded_answers, reference_answers
from autograder.exercise import PUBLIC_SEED, AnswerError, Case, Exercise, Part, Raised
from autograder.judge import judge
from autograder.lines import MISSING, Answers, judge_parts
from autograder.report import Line, Report

LONG_CPU_SECONDS, LONG_TIMES = 3.0, 45.0
"""What the long cases of a part may take: seconds of CPU time of all processes, or so many times
what the solution needs on this machine, whichever is more. A solution needs a tenth of the first.
"""
LONG_SECONDS = 10.0
"""The same by the clock, on a machine that may do other things."""

_FRESH_ONLY = (
    "right on the cases of the check, wrong on others of their kind, which were drawn when this "
    "was graded"
)
_LONG = "on a long sequence"
# What it raised may tell of the inputs.
_FAILS_WHEN_LONG = Raised(AnswerError.__name__, f"{_LONG} it fails: it may need too much memory")


class NoAnswerError(Exception):
    """The student's process gave no answer; the text tells the student why."""


@dataclass(frozen=True)
class Returned:
    """What came back from the student's process, and how long that took."""

    answers: Answers
    printed: str
    cpu_seconds: float
    seconds: float


Ask = Callable[[dict[str, Case]], Returned]
"""Runs the student's function on cases, in its process. Raises NoAnswerError."""


def decide(exercise: Exercise, seed: int, ask: Ask) -> Report:
    """The points of one exercise on the cases of `seed`, and what the student should read.

    What a student reads is about the public cases: nothing in it comes from the secret ones.
    Raises NoAnswerError if the student's process gave none.
    """
    cases = exercise.draw(seed)
    report = judge(exercise, cases, ask(cases).answers, reference_answers(exercise, cases))
    if report.note:
        return report
    lines = tuple(replace(line, complaint=line.complaint and _FRESH_ONLY) for line in report.lines)
    for part in exercise.parts:
        if part.only_grading:
            lines = _with_long_cases(exercise, part, seed, ask, lines)
    if not any(line.complaint for line in lines):
        return Report(exercise.name, lines)
    return _explained(exercise, ask, lines)


def no_answer(exercise: Exercise, reason: str) -> Report:
    """The report on an exercise of which nothing came back."""
    lines = tuple(Line(title, points, reason) for title, points in exercise.titles.items())
    return Report(exercise.name, lines, note=reason)


def _with_long_cases(
    exercise: Exercise, part: Part, seed: int, ask: Ask, lines: tuple[Line, ...]
) -> tuple[Line, ...]:
    """The lines, where properties that hold on short cases must hold on the long ones too."""
    titles = {prop.title for prop in part.properties}
    if not any(line.title in titles and not line.complaint for line in lines):
        return lines
    cases = exercise.draw(seed, [part])
    try:
        returned = ask(cases)
    except NoAnswerError as error:
        complaints = dict.fromkeys(titles, f"{_LONG}: {error}")
    else:
        start = time.process_time()
        expected = reference_answers(exercise, cases)
        allowed = max(LONG_CPU_SECONDS, LONG_TIMES * (time.process_time() - start))
        got = {name: returned.answers.get(name, MISSING) for name in cases}
        answers = {n: _FAILS_WHEN_LONG if isinstance(a, Raised) else a for n, a in got.items()}
        judged = judge_parts(exercise, cases, answers, expected)
        complaints = {line.title: line.complaint for line in judged}
        too_long = LONG_SECONDS * allowed / LONG_CPU_SECONDS
        if returned.cpu_seconds > allowed or returned.seconds > too_long:
            slow = f"{_LONG} it computed for more than {allowed:.0f} seconds"
            complaints = dict.fromkeys(titles, slow)
    return tuple(
        replace(line, complaint=line.complaint or complaints.get(line.title, "")) for line in lines
    )


def _explained(exercise: Exercise, ask: Ask, lines: tuple[Line, ...]) -> Report:
    """The lines with the complaints of the public cases; the mistake, if it is a known one."""
    cases = exercise.draw(PUBLIC_SEED)
    returned = ask(cases)
    expected, mistakes = recorded_answers(exercise)
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

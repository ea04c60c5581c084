"""The judge: compares what a probe brought back with the reference. It never runs student code."""

from autograder.exercise import Case, Exercise, Raised
from autograder.lines import Answers, Truths, failed, judge_parts
from autograder.mistakes import KnownMistake, recognise
from autograder.report import Report


def judge(
    exercise: Exercise,
    cases: dict[str, Case],
    answers: Answers,
    expected: Truths,
    mistakes: tuple[KnownMistake, ...] | None = None,
    printed: str = "",
) -> Report:
    """Decide the points of one exercise, property by property, and name a known mistake.

    answers: the student's; expected: the reference's, in float64. mistakes: those that are known
    on the same cases; without them none is looked for. Fails closed: a case without an answer, or
    with one that cannot be compared, fails every property that looks at it.
    """
    lines = judge_parts(exercise, cases, answers, expected)
    if answers and all(isinstance(a, Raised) and a.is_stub for a in answers.values()):
        return Report(exercise.name, lines, note="Not written yet: it raises NotImplementedError.")
    name = explanation = ""
    if mistakes is not None and failed(lines):
        name, explanation = recognise(exercise, cases, answers, expected, mistakes)
    return Report(exercise.name, lines, name, explanation, printed=printed)

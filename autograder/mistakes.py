"""Tell which known mistake wrong answers are: a declared one, or one of those that all make.

A name is given only where the answers equal the mistake's in every case, or where undoing what the
mistake does makes every property hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from autograder.exercise import (
    CHANGED,
    TOLERANCES,
    Answer,
    Case,
    Exercise,
    Part,
    Raised,
    wrong_entries,
)
from autograder.general_mistakes import GENERAL, shows
from autograder.lines import MISSING, Answers, Truths, failed, judge_parts

_COUNTED = {"work", "calls", "largest_tensor", "products", "outside"}


@dataclass(frozen=True)
class KnownMistake:
    """A wrong version that students write, with what it answers on the same cases."""

    name: str
    explanation: str
    answers: Answers


def recognise(
    exercise: Exercise,
    cases: dict[str, Case],
    answers: Answers,
    expected: Truths,
    mistakes: tuple[KnownMistake, ...],
) -> tuple[str, str]:
    """The name and the explanation of the mistake that wrong answers show; empty if of none."""
    for mistake in mistakes:
        if _recognises(mistake, exercise, cases, answers, expected):
            return mistake.name, mistake.explanation
    return next(
        (
            (general.name, general.explanation)
            for general in GENERAL
            if general.explains(exercise, cases, answers, expected)
        ),
        ("", ""),
    )


# --- Mistakes of one exercise --------------------------------------------------------------------


def _recognises(
    mistake: KnownMistake,
    exercise: Exercise,
    cases: dict[str, Case],
    answers: Answers,
    expected: Truths,
) -> bool:
    """Whether wrong answers are those of `mistake`.

    By their numbers, in every case; where those are random, by its sign; where they are right, by
    the properties that fail and by what was counted.
    """
    signs = [part for part in exercise.parts if mistake.name in part.signs]
    if signs:
        shown = [
            shows(
                part.signs[mistake.name],
                case.inputs,
                answers.get(name, MISSING),
                expected.get(name, {}),
            )
            for part in signs
            for name, case in cases.items()
            if case.part == part.name
        ]
        return bool(shown) and all(shown)
    # What the mistake was not run on tells nothing of it.
    cases = {name: case for name, case in cases.items() if name in mistake.answers}
    expected = {name: truth for name, truth in expected.items() if name in cases}
    if not cases or not agree(exercise, cases, answers, mistake.answers, expected):
        return False
    if wrong_in_numbers(exercise, cases, mistake.answers, expected):
        return True
    mine = failed(judge_parts(exercise, cases, answers, expected))
    theirs = failed(judge_parts(exercise, cases, mistake.answers, expected))
    return bool(mine) and mine == theirs and _cost_the_same(answers, mistake.answers)


def _compared(part: Part, case: str, answer: Answer) -> Answer:
    # What some property holds against the reference in this case.
    names = {
        name
        for prop in part.properties
        if not prop.cases or case in prop.cases
        for name in prop.compared
    }
    return {name: tensor for name, tensor in answer.items() if name in names}


def _cost_the_same(answers: Answers, others: Answers) -> bool:
    for case, theirs in others.items():
        mine = answers.get(case, MISSING)
        if isinstance(mine, Raised) or isinstance(theirs, Raised):
            continue
        for name in _COUNTED & theirs.keys():
            if name not in mine or mine[name].shape != theirs[name].shape:
                return False
            if not _counted_alike(name, mine[name], theirs[name]):
                return False
    return True


def _counted_alike(name: str, mine: torch.Tensor, theirs: torch.Tensor) -> bool:
    if name == "products":
        return torch.equal(mine, theirs)
    if name == "outside":  # whether something is read there, and whether something is written
        return torch.equal(mine > 0, theirs > 0)
    # Within a factor of 2: an n × n and an n × d × d tensor are further apart, and a loop too.
    ratio = mine / theirs
    return bool(((ratio > 0.5) & (ratio < 2)).all())


def close(a: object, b: torch.Tensor, beside: float = 0.0) -> bool:
    """Whether two tensors are equal within the tolerance; a may come from a student.

    beside: as in `wrong_entries`.
    """
    if not isinstance(a, torch.Tensor) or a.shape != b.shape or a.dtype not in TOLERANCES:
        return False
    finite = a.isfinite() & b.isfinite()
    infinite_alike = torch.allclose(
        a[~finite].double(), b[~finite].double(), rtol=0, atol=0, equal_nan=True
    )
    return infinite_alike and not wrong_entries(a[finite], b[finite], beside).any()


def agree(
    exercise: Exercise,
    cases: dict[str, Case],
    answers: Answers,
    others: Mapping[str, Answer | Raised],
    expected: Truths,
) -> bool:
    """Equal in every tensor that is held against the reference, or the same exception in both."""
    for name, theirs in others.items():
        mine = answers.get(name, MISSING)
        if isinstance(mine, Raised) or isinstance(theirs, Raised):
            if not _raised_alike(mine, theirs):
                return False
            continue
        if (
            CHANGED in mine
            and CHANGED in theirs
            and not torch.equal(mine[CHANGED], theirs[CHANGED])
        ):
            return False  # one of them overwrites its inputs, which can make gradients wrong
        compared = _compared(exercise.part(cases[name].part), name, theirs)
        for key, tensor in compared.items():
            # A gradient that should be there, and is 0 but for rounding, is so in both.
            truth = expected.get(name, {}).get(key) if key.startswith("grad_") else None
            usual = _largest(truth)
            if key not in mine or not close(mine[key], tensor, usual):
                return False
    return True


def wrong_in_numbers(
    exercise: Exercise, cases: dict[str, Case], answers: Answers, expected: Truths
) -> bool:
    """Whether some tensor of a mistake differs from the truth, or it raises an exception."""
    held: dict[str, Answer] = {
        name: {key: tensor for key, tensor in expected[name].items() if key in answer}
        if not isinstance(answer, Raised)
        else {}
        for name, answer in answers.items()
        if name in expected
    }
    return not agree(exercise, cases, answers, held, expected)


def _largest(tensor: torch.Tensor | None) -> float:
    if tensor is None or not tensor.isfinite().any():
        return 0.0
    return tensor[tensor.isfinite()].abs().max().item()


def _raised_alike(mine: Answer | Raised, theirs: Answer | Raised) -> bool:
    # The text of an exception tells the shapes, and so the place where it was raised.
    return (
        isinstance(mine, Raised)
        and isinstance(theirs, Raised)
        and (mine.kind, mine.message) == (theirs.kind, theirs.message)
    )

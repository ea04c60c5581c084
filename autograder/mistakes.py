"""Tell which known mistake wrong answers are: a declared one, or one of those that all make.

A name is given only where the answers equal the mistake's in every case, or where undoing what the
mistake does makes every property hold.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from autograder.exercise import (
    ALL_PAIRS,
    CHANGED,
    ONE_AT_A_TIME,
    TOLERANCES,
    Answer,
    Case,
    Exercise,
    Inputs,
    Part,
    Raised,
    Sign,
    is_mutable,
    wrong_entries,
)
from autograder.lines import MISSING, Answers, Truths, failed, judge_parts

_COUNTED = ("work", "calls", "largest_tensor")


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
    cases = {name: case for name, case in cases.items() if name in mistake.answers}
    signs = [part for part in exercise.parts if mistake.name in part.signs]
    if signs:
        return all(
            _shows(
                part.signs[mistake.name],
                case.inputs,
                answers.get(name, MISSING),
                expected.get(name, {}),
            )
            for part in signs
            for name, case in cases.items()
            if case.part == part.name
        )
    if not _agree(exercise, cases, answers, mistake.answers):
        return False
    if not _agree(exercise, cases, mistake.answers, expected):
        return True
    # What the mistake was not run on tells nothing of it.
    mine = failed(judge_parts(exercise, cases, answers, expected))
    theirs = failed(judge_parts(exercise, cases, mistake.answers, expected))
    return mine == theirs and _cost_the_same(answers, mistake.answers)


def _shows(sign: Sign, inputs: Inputs, answer: Answer | Raised, expected: Answer) -> bool:
    try:
        return not isinstance(answer, Raised) and bool(sign(inputs, answer, expected))
    except Exception:
        return False  # an answer of another form shows nothing


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
    # Within a factor of 2: an n × n and an n × d × d tensor are further apart, and a loop too.
    for case, theirs in others.items():
        mine = answers.get(case, MISSING)
        if isinstance(mine, Raised) or isinstance(theirs, Raised):
            continue
        for name in _COUNTED:
            if name in theirs:
                if name not in mine or mine[name].shape != theirs[name].shape:
                    return False
                ratio = mine[name] / theirs[name]
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


def _agree(
    exercise: Exercise,
    cases: dict[str, Case],
    answers: Answers,
    others: Mapping[str, Answer | Raised],
) -> bool:
    # Equal in every tensor that is held against the reference, or the same exception in both.
    for name, theirs in others.items():
        mine = answers.get(name, MISSING)
        if isinstance(mine, Raised) or isinstance(theirs, Raised):
            if not _raised_alike(mine, theirs):
                return False
            continue
        compared = _compared(exercise.part(cases[name].part), name, theirs)
        if not all(key in mine and _close(mine[key], tensor) for key, tensor in compared.items()):
            return False
    return True


def _raised_alike(mine: Answer | Raised, theirs: Answer | Raised) -> bool:
    # The text of an exception tells the shapes, and so the place where it was raised.
    return (
        isinstance(mine, Raised)
        and isinstance(theirs, Raised)
        and (mine.kind, mine.message) == (theirs.kind, theirs.message)
    )


# --- Mistakes of all exercises -------------------------------------------------------------------

Explains = Callable[[Exercise, dict[str, Case], Answers, Truths], bool]
"""(exercise, cases, answers, expected) -> whether the answers are right but for a mistake."""

Repair = Callable[[Case, Answer | Raised, Answer], Answer | Raised]
"""(case, answer, expected) -> the answer without the mistake."""

Change = Callable[[Inputs, Tensor, Tensor], Tensor]
"""(inputs, tensor, expected) -> the tensor without the mistake."""


@dataclass(frozen=True)
class GeneralMistake:
    """A mistake of any exercise, and how it is known."""

    name: str
    explanation: str
    explains: Explains


def _repaired_by(repair: Repair) -> Explains:
    """With the repair every property holds."""

    def explains(
        exercise: Exercise, cases: dict[str, Case], answers: Answers, expected: Truths
    ) -> bool:
        try:
            repaired = {
                name: repair(case, answers.get(name, MISSING), expected.get(name, {}))
                for name, case in cases.items()
            }
        except Exception:
            return False  # answers of another form are not this mistake's
        return not failed(judge_parts(exercise, cases, repaired, expected))

    return explains


def _each_tensor(change: Change) -> Explains:
    """With each tensor that is held against the reference changed, every property holds."""

    def repair(case: Case, answer: Answer | Raised, expected: Answer) -> Answer | Raised:
        if isinstance(answer, Raised):
            return answer
        names = expected.keys() & answer.keys() - {CHANGED}
        return answer | {n: change(case.inputs, answer[n], expected[n]) for n in names}

    return _repaired_by(repair)


def _in_the_type_given(inputs: Inputs, x: Tensor, expected: Tensor | None = None) -> Tensor:
    given = [v for v in inputs.values() if isinstance(v, Tensor) and v.is_floating_point()]
    return x.to(given[0].dtype) if given and x.is_floating_point() else x


def _of_the_right_shape(inputs: Inputs, x: Tensor, expected: Tensor) -> Tensor:
    return x.reshape(expected.shape) if x.squeeze().shape == expected.squeeze().shape else x


def _turned(inputs: Inputs, x: Tensor, expected: Tensor) -> Tensor:
    return x.mT if x.dim() > 1 and x.mT.shape == expected.shape else x


def _with_all_digits(inputs: Inputs, x: Tensor, expected: Tensor) -> Tensor:
    short = x.dtype == torch.float64 and x.shape == expected.shape
    return expected if short and not wrong_entries(x.float(), expected).any() else x


def _with_gradients(inputs: Inputs, x: Tensor, expected: Tensor) -> Tensor:
    return x if x.shape != (0,) else _in_the_type_given(inputs, expected)


def _inputs_kept(case: Case, answer: Answer | Raised, expected: Answer) -> Answer | Raised:
    if isinstance(answer, Raised):
        return answer
    return answer | {CHANGED: torch.zeros_like(answer[CHANGED])}


def _axes(case: Case) -> int:
    return max((v.dim() for v in case.inputs.values() if isinstance(v, Tensor)), default=0)


def _only_the_usual_axes(
    exercise: Exercise, cases: dict[str, Case], answers: Answers, expected: Truths
) -> bool:
    """Right in the cases whose tensors have as many axes as in most, and in those alone."""
    ((usual, _),) = Counter(map(_axes, cases.values())).most_common(1)

    def repair(case: Case, answer: Answer | Raised, expected: Answer) -> Answer | Raised:
        if _axes(case) == usual or not expected:
            return answer
        right = {name: _in_the_type_given(case.inputs, x) for name, x in expected.items()}
        mutable = sum(map(is_mutable, case.inputs.values()))
        return right | {CHANGED: torch.zeros(mutable, dtype=torch.uint8)}

    return _repaired_by(repair)(exercise, cases, answers, expected)


def _costs(name: str) -> Explains:
    """Nothing but a cost is wrong, and it shows the sign."""

    def explains(
        exercise: Exercise, cases: dict[str, Case], answers: Answers, expected: Truths
    ) -> bool:
        wrong = failed(judge_parts(exercise, cases, answers, expected))
        for part in exercise.parts:
            titles = {prop.title for prop in part.properties}
            if name in part.signs and wrong <= titles:
                shown = [c for c, case in cases.items() if case.part == part.name]
                if any(_shows(part.signs[name], {}, answers.get(c, MISSING), {}) for c in shown):
                    return True
        return False

    return explains


GENERAL = (
    GeneralMistake(
        "it overwrites what it is given",
        "The numbers are right, but a tensor that the function was given holds others afterwards. "
        "Who called it may still need that tensor. Make a new one: x = x + y instead of x += y, "
        "x.clone() before x[...] = y.",
        _repaired_by(_inputs_kept),
    ),
    GeneralMistake(
        "another type of numbers",
        "The numbers are right, but their type is not that of the input. Give new tensors the "
        "dtype of the input, as in torch.zeros(n, dtype=x.dtype) or x.new_zeros(n), and turn the "
        "result back with .to(x.dtype) if you computed with more digits.",
        _each_tensor(_in_the_type_given),
    ),
    GeneralMistake(
        "fewer digits than it was given",
        "For float64 the result is right to about seven digits: somewhere on the way numbers are "
        "float32. Look for .float(), for torch.tensor(…) and torch.arange(…) without a dtype.",
        _each_tensor(_with_all_digits),
    ),
    GeneralMistake(
        "no gradients",
        "The numbers are right, but nothing can be learned through them: detach(), no_grad(), "
        ".item(), numpy() and torch.tensor(…) of numbers end the graph.",
        _each_tensor(_with_gradients),
    ),
    GeneralMistake(
        "axes of length 1",
        "The numbers are right, but the shape has an axis of length 1 too many or too few. "
        "squeeze() without a dimension takes every axis of length 1, also that of a batch of one; "
        "keepdim=True keeps one.",
        _each_tensor(_of_the_right_shape),
    ),
    GeneralMistake(
        "the last two axes exchanged",
        "The numbers are right, but rows are columns: the result is the transpose of what is "
        "asked for.",
        _each_tensor(_turned),
    ),
    GeneralMistake(
        "the opposite sign",
        "Every number has the right size and the wrong sign.",
        _each_tensor(lambda inputs, x, expected: -x),
    ),
    GeneralMistake(
        "for one number of axes only",
        "It is right for tensors with as many axes as in most cases, and for others not. The dots "
        "in the signature stand for any number of leading axes: unpack only the last ones, "
        "*lead, n, d = x.shape, and count dimensions from the end, dim=-2 instead of dim=2.",
        _only_the_usual_axes,
    ),
    GeneralMistake(
        ONE_AT_A_TIME,
        "The numbers are right, but torch is called again and again, more often the longer the "
        "sequence is. Each call costs some microseconds, however little it computes: let one call "
        "compute for many tokens.",
        _costs(ONE_AT_A_TIME),
    ),
    GeneralMistake(
        ALL_PAIRS,
        "The numbers are right, but somewhere there is a number for every pair of tokens: memory "
        "and time grow with the square of the length. Look for the product that makes it, and for "
        "another order of the products or a part of them at a time.",
        _costs(ALL_PAIRS),
    ),
)

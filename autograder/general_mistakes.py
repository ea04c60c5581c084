"""Mistakes of any exercise, each known by what undoes it: with that, every property holds."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from autograder.exercise import (
    ALL_PAIRS,
    ALL_PAIRS_IN_PARTS,
    CHANGED,
    ONE_AT_A_TIME,
    Answer,
    Case,
    Exercise,
    Inputs,
    Raised,
    Sign,
    is_mutable,
    wrong_entries,
)
from autograder.lines import MISSING, Answers, Truths, failed, judge_parts


def shows(sign: Sign, inputs: Inputs, answer: Answer | Raised, expected: Answer) -> bool:
    """Whether a sign is seen in an answer, of whatever form that is."""
    try:
        return not isinstance(answer, Raised) and bool(sign(inputs, answer, expected))
    except Exception:
        return False  # an answer of another form shows nothing


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


def _of_the_right_type(inputs: Inputs, x: Tensor, expected: Tensor) -> Tensor:
    # What was float32 on the way has lost the digits of float64 too.
    return _in_the_type_given(inputs, _with_all_digits(inputs, x.double(), expected))


def _of_the_right_shape(inputs: Inputs, x: Tensor, expected: Tensor) -> Tensor:
    return x.reshape(expected.shape) if x.squeeze().shape == expected.squeeze().shape else x


def _turned(inputs: Inputs, x: Tensor, expected: Tensor) -> Tensor:
    return x.mT if x.dim() > 1 and x.mT.shape == expected.shape else x


def _with_all_digits(inputs: Inputs, x: Tensor, expected: Tensor) -> Tensor:
    # With or without .to(x.dtype) at the end.
    longer = _in_the_type_given(inputs, x)
    short = longer.dtype == torch.float64 and x.shape == expected.shape
    return expected if short and not wrong_entries(x.float(), expected).any() else x


def _with_gradients(inputs: Inputs, x: Tensor, expected: Tensor) -> Tensor:
    return x if x.shape != (0,) else _in_the_type_given(inputs, expected)


def _right(case: Case, expected: Answer) -> Answer:
    right = {name: _in_the_type_given(case.inputs, x) for name, x in expected.items()}
    mutable = sum(map(is_mutable, case.inputs.values()))
    return right | {CHANGED: torch.zeros(mutable, dtype=torch.uint8)}


def _gradients_replaced(
    fit: Callable[[Tensor], bool],
) -> Callable[[Case, Answer | Raised, Answer], Answer | Raised]:
    """Gives the reference's gradients where those of an output `fit`."""

    def repair(case: Case, answer: Answer | Raised, expected: Answer) -> Answer | Raised:
        # Without an output, gradients are what the function itself computes.
        if isinstance(answer, Raised) or "output" not in expected:
            return answer
        names = [n for n in expected.keys() & answer.keys() if n.startswith("grad_")]
        wrong = [n for n in names if fit(answer[n])]
        return answer | {n: _in_the_type_given(case.inputs, expected[n]) for n in wrong}

    return repair


def _in_proportion(case: Case, answer: Answer | Raised, expected: Answer) -> Answer | Raised:
    """The reference's, where each mean of values is the reference's but for a factor."""
    if isinstance(answer, Raised) or "output" not in expected or "v" not in case.inputs:
        return answer
    output, right = answer["output"].double(), expected["output"].double()
    if output.shape != right.shape or right.shape[-1] < 2:
        return answer
    factor = (output * right).sum(-1, keepdim=True) / right.square().sum(-1, keepdim=True)
    if wrong_entries((output / factor).to(answer["output"].dtype), right).any():
        return answer
    names = [n for n in expected if n == "output" or n.startswith("grad_")]
    return answer | {n: _in_the_type_given(case.inputs, expected[n]) for n in names}


def _inputs_kept(case: Case, answer: Answer | Raised, expected: Answer) -> Answer | Raised:
    if isinstance(answer, Raised):
        # Autograd refuses to write into what it is given, and into what it still needs.
        refused = "in-place operation" in answer.message or "inplace" in answer.message
        return _right(case, expected) if refused else answer
    if not answer[CHANGED].any():
        return answer
    # Gradients are computed from what was given: they are wrong because of it.
    right = {n: x for n, x in _right(case, expected).items() if n.startswith("grad_")}
    return answer | right | {CHANGED: torch.zeros_like(answer[CHANGED])}


def _axes(case: Case) -> int:
    return max((v.dim() for v in case.inputs.values() if isinstance(v, Tensor)), default=0)


def _only_the_usual_axes(
    exercise: Exercise, cases: dict[str, Case], answers: Answers, expected: Truths
) -> bool:
    """Right in the cases whose tensors have as many axes as in most, and in those alone."""
    ((usual, _),) = Counter(map(_axes, cases.values())).most_common(1)
    if usual < 2:
        return False  # numbers and lists of them have no leading axes

    def repair(case: Case, answer: Answer | Raised, expected: Answer) -> Answer | Raised:
        if _axes(case) == usual or not expected:
            return answer
        return _right(case, expected)

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
                if any(shows(part.signs[name], {}, answers.get(c, MISSING), {}) for c in shown):
                    return True
        return False

    return explains


GENERAL = (
    GeneralMistake(
        "it overwrites what it is given",
        "The numbers are right, but a tensor that the function was given, or that autograd still "
        "needs, holds others afterwards. Make a new one: x = x + y instead of x += y, x.clone() "
        "before x[...] = y.",
        _repaired_by(_inputs_kept),
    ),
    GeneralMistake(
        "fewer digits than it was given",
        "For float64 the result is right to about seven digits. Most often numbers are float32 on "
        "the way: look for .float(), for torch.tensor(…) and torch.arange(…) without a dtype. An ε "
        "that is added, or small numbers that are set to 0, show in the same way.",
        _each_tensor(_with_all_digits),
    ),
    GeneralMistake(
        "another type of numbers",
        "The numbers are right, but their type is not that of the input. Give new tensors the "
        "dtype of the input, as in torch.zeros(n, dtype=x.dtype) or x.new_zeros(n), and turn the "
        "result back with .to(x.dtype) if you computed with more digits.",
        _each_tensor(_of_the_right_type),
    ),
    GeneralMistake(
        "no gradients",
        "The numbers are right, but nothing can be learned through them: detach(), no_grad(), "
        ".item(), numpy() and torch.tensor(…) of numbers end the graph.",
        _each_tensor(_with_gradients),
    ),
    GeneralMistake(
        "gradients cut off on the way",
        "The numbers are right, and their gradients are not: a part of what the result depends on "
        "carries none. Look for detach(), .data, no_grad() and .item() on the way.",
        _repaired_by(_gradients_replaced(lambda x: bool(x.isfinite().all()))),
    ),
    GeneralMistake(
        "gradients that are not a number",
        "The numbers are right, and some of their gradients are NaN. Going back, 0 times infinity "
        "is NaN, also for what is hidden or cut off afterwards: let no row be hidden whole, and no "
        "division by 0 or root of 0 be taken, where the result is thrown away.",
        _repaired_by(_gradients_replaced(lambda x: bool(x.isnan().any()))),
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
        "rows that are off by a factor",
        "Each row has the right direction and the wrong size: the weights of a row do not sum to "
        "what they should. Look at what the row is divided by.",
        _repaired_by(_in_proportion),
    ),
    GeneralMistake(
        "for one number of axes only",
        "It is right for tensors with as many axes as in most cases, and for others not. The dots "
        "in the signature stand for any number of leading axes: unpack only the last ones, "
        "*lead, n, d = x.shape, and count dimensions from the end, dim=-2 instead of dim=2.",
        _only_the_usual_axes,
    ),
    GeneralMistake(
        ALL_PAIRS,
        "The numbers are right, but somewhere there is a number for every pair of tokens: memory "
        "and time grow with the square of the length. Look for the product that makes it, and for "
        "another order of the products or a part of them at a time.",
        _costs(ALL_PAIRS),
    ),
    GeneralMistake(
        ALL_PAIRS_IN_PARTS,
        "The numbers are right, and no tensor is too large, but the work still grows with the "
        "square of the length: every query meets every key, a part of them at a time. Compute only "
        "what is needed, or in another order.",
        _costs(ALL_PAIRS_IN_PARTS),
    ),
    GeneralMistake(
        ONE_AT_A_TIME,
        "The numbers are right, but torch is called again and again, more often the longer the "
        "sequence is. Each call costs some microseconds, however little it computes: let one call "
        "compute for many tokens.",
        _costs(ONE_AT_A_TIME),
    ),
)

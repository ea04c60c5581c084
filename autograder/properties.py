"""The properties that most exercises share, as parts to declare an exercise from."""

import torch
from torch import Tensor

from autograder.exercise import Answer, Inputs, Property, difference


def matches(*names: str, title: str, points: int, cases: tuple[str, ...] = ()) -> Property:
    """The tensors called `names` equal the reference's, within the tolerance of their dtype."""

    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        # An output of another shape has no gradients: its shape is what is wrong.
        of_output = names[0].startswith("grad_") and "output" in expected
        if of_output and answer["output"].shape != expected["output"].shape:
            return difference("output", answer["output"], expected["output"])
        if of_output and not any(answer[name].numel() for name in names):
            return "the output does not carry gradients: did you detach, or use .item()?"
        found = (difference(name, answer[name], expected[name]) for name in names)
        return next((text for text in found if text), None) or _other_dtype(inputs, answer)

    def _other_dtype(inputs: Inputs, answer: Answer) -> str | None:
        given = {x.dtype for x in inputs.values() if isinstance(x, Tensor)}
        for name in names:
            if answer[name].dtype not in given:
                return f"{name} is {answer[name].dtype}, the inputs are {given.pop()}"
        return None

    return Property(title, points, complain, cases, compared=names)


def are_equal(
    first: str, second: str, complaint: str, title: str, points: int, cases: tuple[str, ...]
) -> Property:
    """The tensors `first` and `second` of an answer are equal to the bit, or `complaint` is said.

    NaN equals NaN.
    """

    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        a, b = answer[first], answer[second]
        equal = a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
        return None if equal else complaint

    return Property(title, points, complain, cases)

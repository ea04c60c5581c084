"""The properties that most exercises share, as parts to declare an exercise from."""

import torch
from torch import Tensor

from autograder.exercise import Answer, Inputs, Property, difference
from course.measure import scaling_exponent


def matches(*names: str, title: str, points: int, cases: tuple[str, ...] = ()) -> Property:
    """The tensors called `names` equal the reference's, within the tolerance of their dtype."""

    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        # An output of another shape has no gradients: its shape is what is wrong.
        of_output = names[0].startswith("grad_") and "output" in expected
        if of_output and answer["output"].shape != expected["output"].shape:
            return difference("output", answer["output"], expected["output"])
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


def cost_grows_at_most(
    exponent: float,
    largest: str,
    title: str,
    points: int,
    cases: tuple[str, ...] = ("cost",),
    long: tuple[str, ...] = (),
) -> Property:
    """Counted work grows no faster than n to the `exponent`, and no tensor exceeds a bound.

    The case holds `sizes` and `largest_allowed` (elements, per size), and may hold
    `calls_allowed`, of torch, per size; `largest` says in words what a tensor above the bound is.
    The probe is `autograder.probes.cost_over_sizes`. It counts beside the student's code, which
    can forge what it counts: the `long` cases are those that no larger cost can answer.
    """

    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        sizes = inputs["sizes"]
        for n, used, allowed in zip(
            sizes, answer["largest_tensor"].tolist(), inputs["largest_allowed"], strict=True
        ):
            if used > allowed:
                return (
                    f"at n = {n} your largest tensor has {used:,} elements, "
                    f"at most {allowed:,} are allowed: {largest}"
                )
        for n, used, allowed in zip(
            sizes, answer["calls"].tolist(), inputs.get("calls_allowed", ()), strict=False
        ):
            if used > allowed:
                return f"at n = {n} torch was called {used:,} times: compute more at once"
        work = answer["work"].tolist()
        if not all(counted > 0 for counted in work):
            return "no PyTorch operation was seen: compute with torch, from the tensors given"
        slope = scaling_exponent(sizes, work)
        if slope > exponent:
            return (
                f"counted operations grow like n^{slope:.2f} from n = {sizes[0]} to {sizes[-1]}, "
                f"at most n^{exponent} is allowed"
            )
        return None

    return Property(title, points, complain, cases, long=long)

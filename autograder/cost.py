"""What a function costs, as parts of an exercise: counted at a check, enforced at grading."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from autograder.exercise import (
    ALL_PAIRS,
    ALL_PAIRS_IN_PARTS,
    ONE_AT_A_TIME,
    Answer,
    Inputs,
    Part,
    Property,
    Sign,
    difference,
)
from autograder.probes import as_tensor
from course.measure import count_cost, scaling_exponent

COUNTED_SIZES = (256, 512, 1024)
NO_MATRIX = "a tensor with a row and a column per token is what this form avoids"

Arguments = Callable[[Generator, int], Inputs]
"""Draws the named arguments for n tokens."""


def cost(
    arguments: Arguments,
    call: Callable[..., Any],
    *,
    exponent: float,
    largest: Callable[[int], int],
    words: str,
    title: str,
    points: int,
    calls: Callable[[int], int] | None = None,
    sizes: Sequence[int] = COUNTED_SIZES,
    long: Mapping[str, Callable[[Generator], Inputs]] | None = None,
    supplies: Mapping[str, Callable] | None = None,
    name: str = "cost",
) -> tuple[Part, ...]:
    """The parts of an exercise that hold its cost against a bound, one line of its report.

    call: runs the function on the arguments, `call(function, **arguments)`.
    exponent: counted work may grow no faster than n to it, over `sizes`.
    largest: elements that the largest tensor may have at n; `words` says what a larger one is.
    calls: operations of torch that may be called at n, where that is limited.
    long: draws the arguments of cases that no larger cost can answer in the memory and the time
        that grading gives. Counting is done beside the student's code, which can forge it.
    name: tells it from another cost of the exercise, which may have the same title and 0 points.
    """

    def count(function: Callable, sizes: list[int]) -> Answer:
        counted = []
        for n in sizes:
            given = arguments(Generator().manual_seed(n), n)
            counted.append(count_cost(partial(_call, call, function, given)))
        return {
            "work": torch.tensor([each.work for each in counted]),
            "calls": torch.tensor([each.calls for each in counted]),
            "largest_tensor": torch.tensor([each.largest_tensor for each in counted]),
        }

    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        if any(answer[key].shape != (len(sizes),) for key in ("work", "calls", "largest_tensor")):
            return "what it costs could not be counted"
        used = {key: answer[key].tolist() for key in ("work", "calls", "largest_tensor")}
        for n, elements in zip(sizes, used["largest_tensor"], strict=True):
            if elements > largest(n):
                return (
                    f"at n = {n} your largest tensor has {elements:,} elements, "
                    f"at most {largest(n):,} are allowed: {words}"
                )
        for n, called in zip(sizes, used["calls"], strict=True):
            if calls and called > calls(n):
                return (
                    f"at n = {n} torch was called {called:,} times, at most {calls(n):,} are "
                    "allowed: compute more at once"
                )
        if not all(counted > 0 for counted in used["work"]):
            return "no PyTorch operation was seen: compute with torch, from the tensors given"
        slope = scaling_exponent(sizes, used["work"])
        if slope > exponent:
            return (
                f"counted operations grow like n^{slope:.2f} from n = {sizes[0]} to {sizes[-1]}, "
                f"at most n^{exponent} is allowed"
            )
        return None

    def grows(key: str, power: float) -> Sign:
        return lambda inputs, answer, expected: (
            scaling_exponent(sizes, answer[key].tolist()) > power
        )

    def one_at_a_time(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
        # A loop over chunks grows as well, but has fewer calls than there are tokens.
        limits = torch.tensor([calls(n) if calls else n for n in sizes])
        many = bool((answer["calls"] > limits).any())
        return many and grows("calls", 0.7)(inputs, answer, expected)

    signs: dict[str, Sign] = {ONE_AT_A_TIME: one_at_a_time}
    if exponent < 2:
        signs[ALL_PAIRS] = grows("largest_tensor", 1.7)
        signs[ALL_PAIRS_IN_PARTS] = grows("work", 1.7)
    counted = Part(
        name,
        lambda generator: {name: {"sizes": list(sizes)}},
        count,
        (Property(title, points, complain),),
        supplies=supplies or {},
        signs=signs,
    )
    if long is None:
        return (counted,)

    def run(function: Callable, **given: object) -> Answer:
        return {"output": _call(call, function, given)}

    enforced = Part(
        f"{name}, enforced",
        lambda generator: {case: draw(generator) for case, draw in long.items()},
        run,
        (Property(title, 0, _wrong_when_long, compared=("output",)),),
        only_grading=True,
        tells_mistakes=False,
        supplies=supplies or {},
    )
    return counted, enforced


def _call(call: Callable[..., Any], function: Callable, given: Inputs) -> Tensor:
    return as_tensor(call(function, **given))


def _wrong_when_long(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    # The tolerance is that of the output's type, which is therefore not free.
    dtypes = {value.dtype for value in inputs.values() if isinstance(value, Tensor)}
    output = answer["output"]
    if output.dtype not in dtypes or difference("output", output, expected["output"]):
        return "on a long sequence its output is wrong"
    return None

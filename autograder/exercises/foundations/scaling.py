"""The exercises of 00_foundations on cost and its growth."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Generator, Tensor

from autograder.cases import normal
from autograder.exercise import Answer, AnswerError, Exercise, Inputs, Part, Property
from autograder.probes import as_number
from autograder.properties import matches
from course.specifications.foundations import count_attention

# --- attention_cost ------------------------------------------------------------------------------

COSTS = {
    "flops": "FLOPs",
    "score_bytes": "bytes of the score matrices",
    "input_bytes": "bytes of the inputs",
}


def _cost_cases(generator: Generator) -> dict[str, Inputs]:
    def case(num_heads: int, bytes_per_element: int, n: int | None = None) -> Inputs:
        drawn_n, d = torch.randint(5, 90, (2,), generator=generator).tolist()
        return {
            "n": n or drawn_n,
            "d": d,
            "num_heads": num_heads,
            "bytes_per_element": bytes_per_element,
        }

    return {
        "one head": case(1, 4),
        "several heads": case(int(torch.randint(2, 9, (1,), generator=generator)), 4),
        "half precision": case(3, 2),
        "double precision": case(2, 8),
        "one token": case(2, 4, n=1),
    }


def _cost_probe(function: Callable, **sizes: int) -> Answer:
    returned = function(**sizes)
    if not isinstance(returned, tuple | list) or len(returned) != len(COSTS):
        raise AnswerError("return three numbers: FLOPs, score-matrix bytes, input bytes")
    # float64 holds every whole number up to 2⁵³.
    return {
        name: as_number(value, words, torch.float64)
        for (name, words), value in zip(COSTS.items(), returned, strict=True)
    }


def _is_counted(name: str, title: str, points: int) -> Property:
    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        counted = dict(zip(COSTS, count_attention(**inputs), strict=True))[name]
        said = answer[name].item()
        if said == counted:
            return None
        sizes = ", ".join(f"{key} = {value}" for key, value in inputs.items())
        return f"a run with {sizes} counted {counted:,} {COSTS[name]}, you say {said:,.12g}"

    return Property(title, points, complain, compared=(name,))


COST = Exercise(
    "attention_cost",
    "foundations",
    (
        Part(
            "numbers",
            _cost_cases,
            _cost_probe,
            (
                _is_counted(
                    "flops", "FLOPs are those that a run counts in the two matrix products", 2
                ),
                _is_counted("score_bytes", "every head has a score matrix, n × n", 1),
                _is_counted("input_bytes", "the inputs are q, k and v of all heads", 1),
            ),
        ),
    ),
)


# --- scaling_exponent ----------------------------------------------------------------------------


def _measured(generator: Generator, sizes: list[int], noise: float, unit: float = 1e3) -> Inputs:
    exponent = 1.2 + 1.6 * torch.rand((), generator=generator)
    x = torch.tensor(sizes, dtype=torch.float32)
    costs = unit * x**exponent * normal(generator, len(sizes), scale=noise).exp()
    return {"sizes": sizes, "costs": costs}


def _exponent_cases(generator: Generator) -> dict[str, Inputs]:
    case = partial(_measured, generator)
    less_for_more = case([32, 64, 128, 256, 512], noise=0.1)
    less_for_more["costs"][3] *= 0.03
    return {
        "a power": case([16, 32, 64, 128], noise=0.0),
        "two sizes": case([100, 300], noise=0.0),
        "seconds": case([256, 512, 1024, 2048], noise=0.0, unit=1e-15),
        "with noise": case([64, 128, 256, 512, 1024], noise=0.3),
        "uneven sizes": case([10, 11, 50, 400, 410, 5000], noise=0.3),
        "not in order": case([512, 64, 2048, 128, 1024], noise=0.3),
        # Costs sorted by themselves belong to other sizes.
        "less for more": less_for_more,
    }


def _measured_twice(generator: Generator) -> dict[str, Inputs]:
    return {"measured twice": _measured(generator, [64, 64, 256, 1024, 1024], noise=0.3)}


def _exponent_probe(function: Callable, sizes: list[int], costs: Tensor) -> Answer:
    return {"exponent": as_number(function(sizes, costs.tolist()), "exponent", costs.dtype)}


_LEAST_SQUARES = "with noise, it is the least-squares slope in log–log"

EXPONENT = Exercise(
    "scaling_exponent",
    "foundations",
    (
        Part(
            "numbers",
            _exponent_cases,
            _exponent_probe,
            (
                matches(
                    "exponent",
                    title="a power gives its exponent, whatever its constant",
                    points=1,
                    cases=("a power", "two sizes", "seconds"),
                ),
                matches(
                    "exponent",
                    title=_LEAST_SQUARES,
                    points=2,
                    cases=("with noise", "uneven sizes", "not in order", "less for more"),
                ),
            ),
        ),
        Part(
            "sizes measured twice",
            _measured_twice,
            _exponent_probe,
            (matches("exponent", title=_LEAST_SQUARES, points=0),),
            # Slopes between neighbours divide by 0 here, each way of writing them in its own way.
            tells_mistakes=False,
        ),
    ),
)

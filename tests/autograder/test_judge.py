"""The tolerance policy, and the judge's way of failing closed."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autograder.cost import cost
from autograder.exercise import CHANGED, Answer, Case, Exercise, Inputs, Part, Raised, difference
from autograder.judge import judge
from autograder.mistakes import KnownMistake
from autograder.probes import run_probe
from autograder.properties import matches

TRUTH = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
DOUBLES = matches("output", title="doubles", points=2)


def exercise_of(*parts: Part) -> Exercise:
    return Exercise("double", "none", parts)


def drawn(generator: torch.Generator) -> dict[str, Inputs]:
    return {"only": {"x": TRUTH}}


def doubled(function: Callable, x: torch.Tensor) -> Answer:
    return {"output": function(x)}


EXERCISE = exercise_of(Part("numbers", drawn, doubled, (DOUBLES,)))
CASES = {"only": Case("numbers", {"x": TRUTH})}
KEPT = {CHANGED: torch.zeros(1, dtype=torch.uint8)}
EXPECTED = {"only": {"output": TRUTH}}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_rounding_to_a_dtype_is_accepted(dtype):
    assert difference("output", TRUTH.to(dtype), TRUTH) is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_a_row_that_is_off_by_one_per_cent_is_rejected(dtype):
    wrong = TRUTH.clone()
    wrong[3] *= 1.01
    assert "output[3, " in difference("output", wrong.to(dtype), TRUTH)


@pytest.mark.parametrize("d", [16, 64, 128])
def test_a_scale_of_root_d_plus_1_for_root_d_is_rejected(d):
    right, wrong = ((4 * TRUTH / root).softmax(dim=-1) for root in (d**0.5, (d + 1) ** 0.5))
    assert difference("output", wrong.float(), right) is not None


def test_the_message_names_the_first_wrong_entry_both_values_and_the_share_of_nan():
    wrong = TRUTH.clone()
    wrong[2, 1:] = torch.nan
    text = difference("output", wrong, TRUTH)
    assert text.startswith(f"output[2, 1] is nan, expected {TRUTH[2, 1]:.6g}")
    assert "10% of the entries are wrong, 10% are NaN" in text


def test_of_a_single_number_neither_an_index_nor_a_share_is_told():
    text = difference("exponent", torch.tensor(1.5), torch.tensor(2.0))
    assert text == "exponent is 1.5, expected 2"


def test_shape_and_dtype_are_told_before_numbers():
    assert "shape (5, 8), expected (8, 5)" in difference("output", TRUTH.T, TRUTH)
    assert "dtype torch.int64" in difference("output", TRUTH.long(), TRUTH)
    assert "dtype torch.complex128" in difference("output", TRUTH + 0j, TRUTH)


@given(st.integers(0, 39), st.floats(0.01, 1e6) | st.just(float("inf")) | st.just(float("nan")))
def test_no_single_wrong_entry_is_overlooked(index, error):
    wrong = TRUTH.clone()
    wrong.view(-1)[index] += error
    assert difference("output", wrong, TRUTH) is not None


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"only": {}},
        {"only": {"output": "text"}},
        {"only": {"output": torch.zeros(0)}},
        {"only": {"output": TRUTH.long()}},
        {"only": {"output": TRUTH + 1j}},
        {"only": Raised("ZeroDivisionError", "division by zero")},
        {"other": {"output": TRUTH}},
    ],
)
def test_the_judge_fails_closed_on_answers_that_cannot_be_compared(answers):
    mistake = KnownMistake("halved", "It halves.", {"only": {"output": TRUTH / 2}})
    report = judge(EXERCISE, CASES, answers, EXPECTED, (mistake,))
    assert report.points == 0
    assert report.mistake == ""
    assert report.lines[0].complaint


@pytest.mark.parametrize(
    ("entry", "named"), [(torch.nan, "nan"), (torch.inf, "inf"), (-torch.inf, ""), (0.0, "")]
)
def test_a_mistake_of_nan_or_infinity_is_named_where_the_answer_has_the_same(entry, named):
    answer = TRUTH.clone()
    answer[2, 3] = entry
    mistakes = []
    for name, value in [("nan", torch.nan), ("inf", torch.inf)]:
        wrong = TRUTH.clone()
        wrong[2, 3] = value
        mistakes.append(KnownMistake(name, "It overflows.", {"only": {"output": wrong}}))
    report = judge(EXERCISE, CASES, {"only": {"output": answer}}, EXPECTED, tuple(mistakes))
    assert report.points == 0
    assert report.mistake == named


def test_cost_is_judged_by_slope_calls_and_the_largest_tensor():
    def complaint(work, largest, calls=(5, 5, 5), allowed=None):
        (part,) = cost(
            lambda generator, n: {},
            lambda function: function(),
            exponent=1.1,
            largest=lambda n: 10 * n,
            calls=allowed,
            words="too big",
            title="linear",
            points=1,
            sizes=(100, 200, 400),
        )
        counted = {"work": work, "largest_tensor": largest, "calls": calls}
        answer = {name: torch.tensor(values) for name, values in counted.items()}
        return part.properties[0].complain({}, answer, {})

    assert complaint([10, 20, 40], [900, 1900, 3900]) is None
    assert "n^2.00" in complaint([10, 40, 160], [900, 1900, 3900])
    assert "at n = 200 your largest tensor has 2,001" in complaint([10, 20, 40], [900, 2001, 4000])
    many = complaint([10, 20, 40], [900, 1900, 3900], [5, 50, 500], allowed=lambda n: n)
    assert "at n = 400 torch was called 500 times, at most 400 are allowed" in many
    assert "no PyTorch operation was seen" in complaint([0, 0, 0], [0, 0, 0], [0, 0, 0])
    assert "could not be counted" in complaint([10, 20], [900, 1900, 3900])


# --- Lines, and what all exercises have in common ------------------------------------------------


def test_properties_with_one_title_are_one_line_earned_together():
    def part(name, points, complaint):
        prop = replace(DOUBLES, points=points, complain=lambda *case: complaint, compared=())
        return Part(name, lambda generator: {name: {"n": 1}}, doubled, (prop,))

    for complaint, earned in ((None, 3), ("it is slow", 0)):
        exercise = exercise_of(part("one", 3, None), part("two", 0, complaint))
        answers = {"one": {}, "two": {}}
        report = judge(exercise, exercise.draw(0), answers, {})
        assert (report.points, report.max_points, len(report.lines)) == (earned, 3, 1)


def judged(function, *cases):
    """The report on a function of x, whose truth is 2 x."""
    inputs = {f"case {i}": {"x": x} for i, x in enumerate(cases)}
    exercise = exercise_of(Part("numbers", lambda generator: inputs, doubled, (DOUBLES,)))
    drawn = exercise.draw(0)
    expected = {name: {"output": 2 * case.inputs["x"].double()} for name, case in drawn.items()}
    answers, _ = run_probe(exercise, function, drawn)
    return judge(exercise, drawn, answers, expected, ())


def overwrites(x):
    x *= 2
    return x.clone()


def overwrites_in_secret(x):
    output = 2 * x
    x.data.zero_()
    return output


def unpacks_two(x):
    _n, _d = x.shape
    return 2 * x


X, Y, Z = torch.randn(3, 2), torch.randn(4, 2), torch.randn(1, 2)
GENERAL = {
    "it overwrites what it is given": (overwrites, overwrites_in_secret),
    "another type of numbers": (lambda x: 2 * x.double(), lambda x: (2 * x).to(torch.float64)),
    "axes of length 1": (lambda x: (2 * x).squeeze(0), lambda x: (2 * x).unsqueeze(1)),
    "the last two axes exchanged": (lambda x: 2 * x.mT,),
    "the opposite sign": (lambda x: -2 * x,),
    "": (lambda x: 3 * x, lambda x: x @ x.mT, lambda x: None, lambda x: [][0]),
}
WRONG = [(name, function) for name, functions in GENERAL.items() for function in functions]


@pytest.mark.parametrize(("name", "function"), WRONG)
def test_mistakes_of_all_exercises_are_named_and_nothing_else_is(name, function):
    report = judged(function, X, Y, Z)
    assert report.points < report.max_points
    assert report.mistake == name


def test_a_function_for_one_number_of_axes_is_told_so():
    report = judged(unpacks_two, X, Y, X[None])
    assert report.mistake == "for one number of axes only"
    assert "not enough values" in report.lines[0].complaint or "too many" in str(report.lines)


def test_digits_lost_on_the_way_are_told():
    report = judged(lambda x: (2 * x).float().to(x.dtype), X, X.double() / 3)
    assert report.mistake == "fewer digits than it was given"


def test_who_overwrites_loses_one_point_and_is_told_what_was_overwritten():
    report = judged(overwrites_in_secret, X, Y)
    assert (report.points, report.max_points) == (2, 3)
    assert "x holds other numbers" in report.lines[-1].complaint


def test_who_does_nothing_earns_nothing_for_leaving_inputs_alone():
    assert judged(lambda x: x, X, Y).points == 0
    assert judged(lambda x: None, X, Y).points == 0


def test_an_exception_is_a_mistakes_own_only_if_it_is_the_same():
    mistake = KnownMistake("raises", "It raises.", {"only": Raised("ValueError", "at 3")})
    for raised, name in (
        (Raised("ValueError", "at 3", "line 2"), "raises"),
        (Raised("ValueError", "at 4"), ""),
        (Raised("TypeError", "at 3"), ""),
    ):
        report = judge(EXERCISE, CASES, {"only": raised}, EXPECTED, (mistake,))
        assert report.mistake == name


def test_a_mistake_with_random_numbers_is_known_by_its_sign_in_every_case():
    def drawn(generator):
        return {"a": {"n": 1}, "b": {"n": 2}}

    part = Part(
        "numbers", drawn, doubled, (replace(DOUBLES, complain=lambda *case: "wrong", compared=()),),
        signs={"too long": lambda inputs, answer, expected: len(answer["output"]) > inputs["n"]},
    )  # fmt: skip
    exercise = exercise_of(part)
    mistake = KnownMistake("too long", "It is.", {"a": {}, "b": {}})
    for lengths, name in (((2, 3), "too long"), ((2, 2), "")):
        answers = {c: {"output": torch.zeros(n)} for c, n in zip("ab", lengths, strict=True)}
        report = judge(exercise, exercise.draw(0), answers, {}, (mistake,))
        assert report.mistake == name

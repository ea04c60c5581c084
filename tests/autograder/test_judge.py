"""The tolerance policy, and the judge's way of failing closed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autograder.exercise import Exercise, Raised, difference
from autograder.judge import KnownMistake, judge
from autograder.properties import cost_grows_at_most, matches

TRUTH = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
EXERCISE = Exercise(
    "double",
    "none",
    lambda generator: {"only": {"x": TRUTH}},
    lambda function, x: {"output": function(x)},
    (matches("output", title="doubles", points=2),),
)
CASES = {"only": {"x": TRUTH}}
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
    prop = cost_grows_at_most(1.1, "too big", title="linear", points=1)
    inputs = {"sizes": [100, 200, 400], "largest_allowed": [1000, 2000, 4000]}

    def complaint(work, largest, calls=(5, 5, 5), **more):
        counted = {"work": work, "largest_tensor": largest, "calls": calls}
        answer = {name: torch.tensor(values) for name, values in counted.items()}
        return prop.complain(inputs | more, answer, {})

    assert complaint([10, 20, 40], [900, 1900, 3900]) is None
    assert "n^2.00" in complaint([10, 40, 160], [900, 1900, 3900])
    assert "at n = 200 your largest tensor has 2,001" in complaint([10, 20, 40], [900, 2001, 4000])
    many = complaint([10, 20, 40], [900, 1900, 3900], [5, 50, 500], calls_allowed=[100, 200, 400])
    assert "at n = 400 torch was called 500 times" in many
    assert "no PyTorch operation was seen" in complaint([0, 0, 0], [0, 0, 0], [0, 0, 0])

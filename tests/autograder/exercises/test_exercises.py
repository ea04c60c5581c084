"""What every exercise must do: accept what is right, reject and name what is wrong."""

import time
from functools import cache
from importlib import import_module

import pytest
import torch

from autograder.answers import mistake_answers, recorded_answers, reference_answers
from autograder.check import check_exercise
from autograder.exercise import PUBLIC_SEED, difference
from autograder.exercises import NOTEBOOKS, all_exercises
from autograder.grading.provisioner import SandboxProvisioner
from autograder.grading.verdict import LONG_CPU_SECONDS
from autograder.judge import judge
from autograder.probes import run_probe
from course.measure import count_cost
from course.specifications.linear_attention import dft_matrix
from course.triton_here import tl, triton
from solutions.mistakes import mistakes_of

FRESH_SEEDS = (1, 2)
EXERCISES = list(all_exercises().values())
MISTAKES = [(e, m) for e in EXERCISES for m in mistakes_of(e.topic, e.name)]
RIGHT, WRONG = (
    {
        name: functions
        for topic in NOTEBOOKS
        for name, functions in getattr(
            import_module(f"{__package__}.{topic}.{kind}"), table
        ).items()
    }
    for kind, table in (("right_answers", "RIGHT"), ("wrong_answers", "WRONG"))
)
RIGHT_VERSIONS = [(e, f) for e in EXERCISES for f in RIGHT[e.name]]
REFERENCES = {e.name: getattr(import_module(f"solutions.{e.module}"), e.name) for e in EXERCISES}
LONG = [e for e in EXERCISES if any(prop.long for prop in e.properties)]
LONG_VERSIONS = [(e, f) for e in LONG for f in (REFERENCES[e.name], *RIGHT[e.name])]
WRONG_VERSIONS = [(e, f) for e in EXERCISES for f in WRONG.get(e.name, {})]


def grouped(pairs):
    """Those of one exercise in one process, which then runs its mistakes once."""
    return [pytest.param(*pair, marks=pytest.mark.xdist_group(pair[0].name)) for pair in pairs]


def named(pairs):
    return [f"{e.name}-{getattr(other, '__name__', None) or other.name}" for e, other in pairs]


@cache
def reference_on(seed, name):
    exercise = all_exercises()[name]
    return reference_answers(exercise, exercise.draw_cases(seed))


@cache
def mistakes_on(seed, name):
    exercise = all_exercises()[name]
    return mistake_answers(exercise, exercise.draw_cases(seed))


def judge_on(seed, exercise, function):
    cases, expected = exercise.draw_cases(seed), reference_on(seed, exercise.name)
    answers, printed = run_probe(exercise, function, cases)
    report = judge(exercise, cases, answers, expected)
    if not complaints(report):
        return report
    # Only what is wrong can be a known mistake.
    mistakes = mistakes_on(seed, exercise.name)
    return judge(exercise, cases, answers, expected, mistakes, printed)


def complaints(report):
    return [line.complaint for line in report.lines if line.complaint]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_reference_earns_full_points_on_public_and_fresh_cases(exercise):
    reference = REFERENCES[exercise.name]
    for report in (
        check_exercise(exercise, reference),
        *(judge_on(seed, exercise, reference) for seed in FRESH_SEEDS),
    ):
        assert complaints(report) == []
        assert report.points == exercise.points


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_two_right_versions_and_two_mistakes_are_known_for_each_exercise(exercise):
    assert len(RIGHT[exercise.name]) >= 2
    assert len(mistakes_of(exercise.topic, exercise.name)) >= 2


@pytest.mark.parametrize(("exercise", "right"), RIGHT_VERSIONS, ids=named(RIGHT_VERSIONS))
def test_a_right_version_written_differently_earns_full_points(exercise, right):
    for seed in FRESH_SEEDS:
        assert complaints(judge_on(seed, exercise, right)) == []
    assert check_exercise(exercise, right).points == exercise.points


@pytest.mark.parametrize(("exercise", "wrong"), grouped(WRONG_VERSIONS), ids=named(WRONG_VERSIONS))
def test_a_wrong_version_that_nobody_listed_is_rejected_and_not_misnamed(exercise, wrong):
    for report in (check_exercise(exercise, wrong), judge_on(FRESH_SEEDS[0], exercise, wrong)):
        assert report.points < exercise.points
        assert report.mistake == WRONG[exercise.name][wrong]


@pytest.mark.parametrize(("exercise", "mistake"), grouped(MISTAKES), ids=named(MISTAKES))
def test_a_mistake_is_rejected_and_named_by_the_check(exercise, mistake):
    report = check_exercise(exercise, mistake.function)
    assert report.points < exercise.points
    assert report.mistake == mistake.name
    assert report.explanation == mistake.explanation


@pytest.mark.parametrize(("exercise", "mistake"), grouped(MISTAKES), ids=named(MISTAKES))
def test_a_mistake_is_rejected_and_named_on_fresh_cases(exercise, mistake):
    report = judge_on(FRESH_SEEDS[0], exercise, mistake.function)
    assert report.points < exercise.points
    assert report.mistake == mistake.name


def stub(*args, **kwargs):
    raise NotImplementedError


@triton.jit
def kernel_stub(x_ptr, out_ptr, BLOCK: tl.constexpr):
    raise NotImplementedError()


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_stub_earns_nothing_and_is_told_so(exercise):
    report = check_exercise(exercise, kernel_stub if exercise.in_triton else stub)
    assert report.points == 0
    assert report.max_points == exercise.points
    assert "Not written yet" in report.note


WORTHLESS = {
    "returns nothing": lambda *args, **kwargs: None,
    "returns a number": lambda *args, **kwargs: 1.0,
    "returns its first argument": lambda *args, **kwargs: args[0],
    "takes no arguments": lambda: None,
}


@pytest.mark.parametrize("function", WORTHLESS.values(), ids=WORTHLESS)
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_a_function_that_does_nothing_earns_at_most_a_token(exercise, function):
    report = check_exercise(exercise, function)
    assert report.points <= 1
    assert complaints(report)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_public_cases_are_the_same_each_time_and_fresh_ones_are_not(exercise):
    def numbers(seed):
        cases = exercise.draw_cases(seed)
        return [
            (case, name, value.tolist() if hasattr(value, "tolist") else value)
            for case, inputs in cases.items()
            for name, value in inputs.items()
        ]

    assert numbers(PUBLIC_SEED) == numbers(PUBLIC_SEED)
    assert numbers(PUBLIC_SEED) != numbers(FRESH_SEEDS[0])


# --- What a probe brings back --------------------------------------------------------------------


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_a_probe_decides_nothing(exercise):
    answers, _ = recorded_answers(exercise)
    assert all(tensor.dtype != torch.bool for a in answers.values() for tensor in a.values())


def keeps_every_token(state, q_t, k_t, v_t, feature_map):
    keys, values = feature_map(k_t).unsqueeze(-2), v_t.unsqueeze(-2)
    if state[1].dim() == values.dim():  # not the first token
        keys, values = torch.cat([state[0], keys], -2), torch.cat([state[1], values], -2)
    weights = (feature_map(q_t).unsqueeze(-2) * keys).sum(-1, keepdim=True)
    return (keys, values), (weights * values).sum(-2) / weights.sum(-2)


def test_a_state_that_grows_costs_that_property_alone():
    report = check_exercise(all_exercises()["recurrent_step"], keeps_every_token)
    assert complaints(report) == ["case “nine tokens”: the state grew from one token to the next"]


def test_a_past_that_turns_nan_has_changed():
    def linear_where_finite(q, k, v, feature_map, chunk_size):
        output = REFERENCES["causal_linear_attention"](q, k, v, feature_map, chunk_size)
        return output if v.requires_grad else output * torch.nan

    report = check_exercise(all_exercises()["causal_linear_attention"], linear_where_finite)
    assert "an earlier output that is not a number: later tokens take part" in complaints(report)[0]


SETTINGS = {
    "float64 by default": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "another device": (lambda: torch.set_default_device("meta"), torch.get_default_device),
    "no gradients": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "deterministic algorithms": (
        lambda: torch.use_deterministic_algorithms(True),
        torch.are_deterministic_algorithms_enabled,
    ),
}


@pytest.fixture
def usual_settings():
    """Calling it gives torch its usual settings again; so does the end of the test."""

    def restore():
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.set_grad_enabled(True)
        torch.use_deterministic_algorithms(False)

    yield restore
    restore()


@pytest.mark.parametrize(("change", "read"), SETTINGS.values(), ids=SETTINGS)
def test_a_setting_that_a_cell_has_changed_costs_no_points_and_stays(change, read, usual_settings):
    drawn = [(e, e.draw_cases(PUBLIC_SEED), recorded_answers(e)[0]) for e in EXERCISES]
    usual = read()
    change()
    changed = read()
    answers = [run_probe(e, REFERENCES[e.name], cases)[0] for e, cases, _ in drawn]
    assert read() == changed != usual
    usual_settings()
    for (exercise, cases, expected), answer in zip(drawn, answers, strict=True):
        assert complaints(judge(exercise, cases, answer, expected)) == []


# --- Long cases ----------------------------------------------------------------------------------


def cpu_seconds(exercise, function, inputs):
    start = time.process_time()
    run_probe(exercise, function, {"part": inputs})
    return time.process_time() - start


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_a_property_looks_at_every_long_case(exercise):
    looked_at = {name for prop in exercise.properties for name in prop.long}
    assert looked_at == set(exercise.draw_long_cases(FRESH_SEEDS[0]))


@pytest.mark.parametrize(("exercise", "right"), LONG_VERSIONS, ids=named(LONG_VERSIONS))
def test_a_right_version_answers_the_long_cases_in_a_fraction_of_the_time(exercise, right):
    cases = exercise.draw_long_cases(FRESH_SEEDS[0])
    expected = reference_answers(exercise, cases)
    for name, inputs in cases.items():
        answers, _ = run_probe(exercise, right, {name: inputs})
        assert difference("output", answers[name]["output"], expected[name]["output"]) is None
    assert sum(cpu_seconds(exercise, right, case) for case in cases.values()) < LONG_CPU_SECONDS / 3


def mistake_called(name, exercise):
    return next(m.function for e, m in MISTAKES if (e.name, m.name) == (exercise, name))


def fourier_by_matrices(x):
    n, d = x.shape[-2:]
    return (dft_matrix(n) @ x.to(torch.complex128) @ dft_matrix(d)).real.to(x.dtype)


def filter_by_matrices(x, weights):
    n = x.shape[-2]
    weights = torch.cat([weights, weights[1 : (n + 1) // 2].flip(0).conj()])
    spectrum = weights * (dft_matrix(n) @ x.to(torch.complex128))
    return (dft_matrix(n).conj() @ spectrum / n).real.to(x.dtype)


TOO_LARGE = {
    "softmax_attention": [mistake_called("every product kept", "softmax_attention")],
    "low_rank_approximation": [mistake_called("full matrices", "low_rank_approximation")],
    "sliding_window_attention": [
        mistake_called("dense attention with a mask", "sliding_window_attention")
    ],
    "strided_attention": [mistake_called("all scores and a mask", "strided_attention")],
    "block_sparse_attention": [],  # looks at its mask, which has no numbers here
    "lsh_attention": [mistake_called("dense scores and a mask", "lsh_attention")],
    "linear_attention": [mistake_called("quadratic order", "linear_attention")],
    "causal_linear_attention": [
        mistake_called("masked quadratic form", "causal_linear_attention"),
        mistake_called("outer product of every token", "causal_linear_attention"),
    ],
    "fourier_mixing": [fourier_by_matrices],
    "global_filter": [filter_by_matrices],
    "linformer_attention": [mistake_called("scores of all tokens first", "linformer_attention")],
    "segment_means": [mistake_called("product with a matrix of averages", "segment_means")],
    "nystrom_attention": [mistake_called("multiplied from the left", "nystrom_attention")],
}
TOO_LARGE_VERSIONS = [(e, f) for e in LONG for f in TOO_LARGE[e.name]]


def bytes_of_the_largest_tensor(exercise, function):
    """On the long cases, in float32, found without computing any number."""
    largest = []
    for inputs in exercise.draw_long_cases(FRESH_SEEDS[0]).values():
        shapes = {k: v.to("meta") if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
        with torch.device("meta"):
            cost = count_cost(lambda shapes=shapes: exercise.probe(function, **shapes))
        largest.append(cost.largest_tensor)
    return torch.float32.itemsize * max(largest)


@pytest.mark.parametrize(("exercise", "large"), TOO_LARGE_VERSIONS, ids=named(TOO_LARGE_VERSIONS))
def test_what_is_right_but_too_large_does_not_fit_into_the_memory_that_grading_gives(
    exercise, large
):
    failed = {line.title for line in check_exercise(exercise, large).lines if line.complaint}
    assert failed == {prop.title for prop in exercise.properties if prop.long}
    memory = SandboxProvisioner.memory.default_value
    assert bytes_of_the_largest_tensor(exercise, large) > memory
    assert bytes_of_the_largest_tensor(exercise, REFERENCES[exercise.name]) < memory / 20


def rows_at_a_time(q, k, v, feature_map):
    phi_k = feature_map(k)
    outputs = []
    for phi_q in feature_map(q).split(16, dim=-2):
        weights = phi_q @ phi_k.mT
        outputs.append(weights @ v / weights.sum(-1, keepdim=True))
    return torch.cat(outputs, dim=-2)


def test_rows_of_the_matrix_one_after_another_take_more_time_than_grading_gives():
    exercise = all_exercises()["linear_attention"]
    inputs = exercise.draw_long_cases(FRESH_SEEDS[0])["long"]
    n, some = inputs["q"].shape[-2], 512
    inputs["q"] = inputs["q"][..., :some, :]
    assert cpu_seconds(exercise, rows_at_a_time, inputs) * n / some > LONG_CPU_SECONDS


def test_tokens_one_after_another_take_more_time_than_grading_gives():
    exercise = all_exercises()["causal_linear_attention"]
    inputs = exercise.draw_long_cases(FRESH_SEEDS[0])["many tokens"]
    n, some = inputs["q"].shape[-2], 2048
    inputs |= {name: inputs[name][..., :some, :] for name in "qkv"}
    step_by_step = mistake_called("steps smaller than a chunk", exercise.name)
    assert cpu_seconds(exercise, step_by_step, inputs) * n / some > LONG_CPU_SECONDS

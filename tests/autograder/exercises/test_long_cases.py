"""Long cases, which grading draws: what is right answers them at ease, what costs more cannot."""

import time
from dataclasses import replace

import pytest
import torch

from autograder.answers import reference_answers
from autograder.check import check_exercise
from autograder.exercises import all_exercises
from autograder.grading.provisioner import SandboxProvisioner
from autograder.grading.verdict import LONG_CPU_SECONDS, LONG_TIMES
from autograder.lines import failed, judge_parts
from autograder.probes import run_probe
from course.measure import count_cost
from course.specifications.linear_attention import dft_matrix
from tests.autograder.exercises.versions import (
    EXERCISES,
    FRESH,
    REFERENCES,
    RIGHT,
    each,
    mistake_called,
)

pytestmark = pytest.mark.slow


def long_parts(exercise):
    return [part for part in exercise.parts if part.only_grading]


LONG = [e for e in EXERCISES if long_parts(e)]
LONG_VERSIONS = [(e, f) for e in LONG for f in (REFERENCES[e.name], *RIGHT[e.name])]


def cpu_seconds(function, *arguments):
    start = time.process_time()
    returned = function(*arguments)
    return time.process_time() - start, returned


@each(("exercise", "right"), LONG_VERSIONS)
def test_a_right_version_answers_the_long_cases_in_a_fraction_of_the_time(exercise, right):
    for part in long_parts(exercise):
        cases = exercise.draw(FRESH, [part])
        needed, expected = cpu_seconds(reference_answers, exercise, cases)
        used, (answers, _) = cpu_seconds(run_probe, exercise, right, cases)
        assert not failed(judge_parts(exercise, cases, answers, expected))
        assert used < max(LONG_CPU_SECONDS, LONG_TIMES * needed) / 1.5


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
    for case in exercise.draw(FRESH, long_parts(exercise)).values():
        probe = exercise.part(case.part).probe
        shapes = {
            name: value.to("meta") if isinstance(value, torch.Tensor) else value
            for name, value in case.inputs.items()
        }
        with torch.device("meta"):
            cost = count_cost(lambda probe=probe, shapes=shapes: probe(function, **shapes))
        largest.append(cost.largest_tensor)
    return torch.float32.itemsize * max(largest)


@each(("exercise", "large"), TOO_LARGE_VERSIONS)
def test_what_is_right_but_too_large_does_not_fit_into_the_memory_that_grading_gives(
    exercise, large
):
    complaining = failed(check_exercise(exercise, large).lines)
    assert complaining == {p.title for part in long_parts(exercise) for p in part.properties}
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


def seconds_of_the_whole(exercise, function, name, first):
    """(CPU seconds that a long case would take, the seconds allowed for it).

    `first` cuts the inputs to a share that is measured.
    """
    drawn = exercise.draw(FRESH, long_parts(exercise))[name]
    needed, _ = cpu_seconds(reference_answers, exercise, {name: drawn})
    inputs = drawn.inputs | first(drawn.inputs)
    used, _ = cpu_seconds(run_probe, exercise, function, {name: replace(drawn, inputs=inputs)})
    share = inputs["q"].numel() / drawn.inputs["q"].numel()
    return used / share, max(LONG_CPU_SECONDS, LONG_TIMES * needed)


def test_rows_of_the_matrix_one_after_another_take_more_time_than_grading_gives():
    exercise = all_exercises()["linear_attention"]
    needed, allowed = seconds_of_the_whole(
        exercise, rows_at_a_time, "long", lambda inputs: {"q": inputs["q"][..., :512, :]}
    )
    assert needed > allowed


def test_tokens_one_after_another_take_more_time_than_grading_gives():
    exercise = all_exercises()["causal_linear_attention"]
    step_by_step = mistake_called("steps smaller than a chunk", exercise.name)
    needed, allowed = seconds_of_the_whole(
        exercise,
        step_by_step,
        "many tokens",
        lambda inputs: {name: inputs[name][..., :2048, :] for name in "qkv"},
    )
    assert needed > allowed

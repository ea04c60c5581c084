"""`check`, as a notebook calls it."""

import functools
import subprocess
import sys
import textwrap
import warnings
from importlib import import_module

import pytest
import torch

from autograder.check import check, check_exercise
from autograder.exercises import all_exercises
from autograder.report import MIMETYPE
from solutions import linear_attention as right


def elu_feature_map(x):
    return torch.relu(x)


def test_the_plain_text_is_the_points_and_the_html_the_table():
    bundle = check(right.elu_feature_map)._repr_mimebundle_()
    assert float(bundle["text/plain"]) == all_exercises()["elu_feature_map"].points
    assert "every feature is positive" in bundle["text/html"]
    assert bundle[MIMETYPE]["exercise"] == "elu_feature_map"


def test_a_recognised_mistake_is_explained_in_the_html():
    html = check(elu_feature_map).to_html()
    assert "relu instead of elu plus 1" in html
    assert "✗ failed" in html


def complaints(name, function):
    report = check_exercise(all_exercises()[name], function)
    return [line.complaint for line in report.lines if line.complaint]


def test_an_output_of_the_wrong_shape_is_told_as_that_where_gradients_are_asked_for():
    told = complaints("block_sparse_attention", lambda q, k, v, block_mask, block_size: v[..., 1:])
    assert any("output has shape" in text for text in told)
    assert not any("nan" in text for text in told)


def test_a_mask_of_blocks_instead_of_tokens_is_told_by_its_shape():
    told = complaints("bigbird_mask", lambda n, size, *rest: torch.ones(n // size, n // size) > 0)
    assert any("the mask has shape (6, 6), expected (24, 24)" in text for text in told)
    assert not any("cannot be compared" in text for text in told)


def test_the_tuple_that_max_gives_is_called_a_tuple():
    told = complaints("lsh_bucket", lambda x, rotations: (x @ rotations).max(dim=-1))
    assert any("the output is a tuple, expected a tensor" in text for text in told)


def test_keys_and_values_of_different_lengths_raise_and_do_not_end_the_process():
    told = complaints(
        "linformer_attention",
        lambda q, k, v, e, f: torch.nn.functional.scaled_dot_product_attention(q, e.mT @ k, v),
    )
    assert any("RuntimeError: Expected size" in text for text in told)


def test_a_wrapped_function_is_known_by_the_variable_it_is_bound_to():
    namespace = {"check": check, "partial": functools.partial, "right": right}
    exec(
        "elu_feature_map = partial(right.elu_feature_map)\nreport = check(elu_feature_map)",
        namespace,
    )
    assert namespace["report"].points == namespace["report"].max_points


@pytest.mark.parametrize("value", [None, ..., 3, len, lambda x: x])
def test_something_that_is_no_exercise_gets_an_error_that_lists_them(value):
    names = ", ".join(all_exercises())
    with pytest.raises(ValueError, match=f"one of the functions of an exercise: {names}"):
        check(value)


def test_prints_and_warnings_are_shown_in_the_report_and_nothing_reaches_the_streams(capfd):
    def elu_feature_map(x):
        print("<b>shape</b>", tuple(x.shape))
        print("to stderr", file=sys.stderr)
        warnings.warn("careful", stacklevel=1)
        return torch.nn.functional.elu(x) + 1

    report = check(elu_feature_map)
    assert report.points == report.max_points
    assert "&lt;b&gt;shape&lt;/b&gt;" in report.to_html()
    assert capfd.readouterr() == ("", "")


def test_an_exception_is_reported_with_the_line_of_the_student():
    def linear_attention(q, k, v, feature_map):
        return q @ k

    report = check(linear_attention)
    assert report.points == 0
    assert "RuntimeError" in report.lines[0].complaint
    assert "return q @ k" in report.lines[0].complaint


def test_a_function_that_writes_into_its_inputs_does_not_change_the_cases():
    def elu_feature_map(x):
        result = torch.nn.functional.elu(x) + 1
        with torch.no_grad():
            x.zero_()
        return result

    check(elu_feature_map)
    assert check(right.elu_feature_map).points == check(right.elu_feature_map).max_points


def test_an_unsolved_or_wrong_dependency_does_not_fail_performer_attention():
    source = textwrap.dedent("""
        def positive_random_features(x, projection):
            raise NotImplementedError()

        def linear_attention(q, k, v, feature_map):
            return q * 0

        def performer_attention(q, k, v, projection, causal=False):
            scale = q.shape[-1] ** -0.25
            phi = lambda x: positive_random_features(x * scale, projection)
            if causal:
                return causal_linear_attention(q, k, v, phi, 32)
            return linear_attention(q, k, v, phi)

        report = check(performer_attention)
    """)
    namespace = {"check": check}
    exec(source, namespace)
    report = namespace["report"]
    assert [line.complaint for line in report.lines if line.complaint] == []
    assert report.points == report.max_points
    assert "causal_linear_attention" not in namespace


def test_check_works_where_solutions_are_not_installed():
    source = textwrap.dedent("""
        import sys
        sys.modules["solutions"] = None  # import solutions raises ImportError
        import torch
        from autograder.check import check

        def elu_feature_map(x):
            return torch.nn.functional.elu(x)

        report = check(elu_feature_map)
        print(report, report.mistake)
    """)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("2 elu without plus 1\n", "")


def test_reports_never_exceed_the_points_nor_fall_below_zero():
    for exercise in all_exercises().values():
        report = check(getattr(import_module(f"solutions.{exercise.module}"), exercise.name))
        assert 0 <= report.points <= report.max_points == exercise.points


def test_of_an_error_inside_torch_the_message_is_told_and_not_the_trace():
    def elu_feature_map(x):
        return x[:0].unflatten(0, (0, -1))

    complaint = check(elu_feature_map).lines[0].complaint
    assert "cannot reshape tensor of 0 elements" in complaint
    assert complaint.endswith("return x[:0].unflatten(0, (0, -1)))")
    assert "frame #" not in complaint


def test_half_a_function_earns_what_it_does():
    def performer_attention(q, k, v, projection, causal=False):
        if causal:
            raise NotImplementedError
        return right.performer_attention(q, k, v, projection)

    report = check(performer_attention)
    failed = {line.title for line in report.lines if line.complaint}
    assert failed == {
        "causal, too",
        "gradients are right",
        "weights however small count: nothing is added to them or to their sum",
        "O(n): nothing n × n is computed",
    }
    assert report.note == ""


@pytest.mark.parametrize(
    ("setting", "value", "before"),
    [
        (torch.set_default_dtype, torch.float64, torch.float32),
        (torch.set_default_device, "meta", "cpu"),
        (torch.set_grad_enabled, False, True),
    ],
    ids=["dtype", "device", "gradients"],
)
def test_a_setting_that_a_cell_left_behind_costs_nothing(setting, value, before):
    setting(value)
    try:
        report = check(right.linear_attention)
    finally:
        setting(before)
    assert report.points == report.max_points


def test_a_compiled_function_is_checked_as_it_was_written_and_never_compiled():
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    function = torch.compile(right.elu_feature_map, backend=backend)
    assert complaints("elu_feature_map", function) == []
    assert compiled == []
    function(torch.zeros(3))
    assert len(compiled) == 1

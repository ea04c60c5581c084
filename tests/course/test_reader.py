"""What a notebook says to its reader."""

import pytest

from course.reader import NotHereError, after_solving, table


def test_an_unsolved_exercise_is_named_instead_of_a_traceback(capsys):
    with after_solving("linear_attention", "elu_feature_map"):
        raise NotImplementedError
    assert "needs your linear_attention, elu_feature_map" in capsys.readouterr().out


def test_a_name_that_a_cell_above_has_not_made_is_told(capsys):
    with after_solving("linear_attention"):
        timing.draw()  # noqa: F821
    assert "Run the cells above first: they make timing" in capsys.readouterr().out
    with after_solving("linear_attention"):
        [timing.exponent(method) for method in ("dense", "linear")]  # noqa: F821
    assert "Run the cells above first: they make timing" in capsys.readouterr().out


def test_other_errors_of_the_reader_are_not_hidden():
    def solved_with_a_slip():
        return undefined  # noqa: F821

    with pytest.raises(NameError), after_solving("linear_attention"):
        solved_with_a_slip()
    with pytest.raises(ZeroDivisionError), after_solving("linear_attention"):
        1 / 0  # noqa: B018


def test_a_table_has_a_row_for_each_and_rounds_floats():
    assert table(["n", "error"], [[64, 0.12345], ["all", 2]]).data.splitlines() == [
        "| n | error |",
        "| --- | --- |",
        "| 64 | 0.123 |",
        "| all | 2 |",
    ]


def test_an_unsolved_kernel_is_told_from_one_that_fails(capsys):
    with after_solving("softmax_kernel"):
        raise RuntimeError("at 5:4:\n    raise NotImplementedError()\nunsupported")
    assert "needs your softmax_kernel" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="shapes"), after_solving("softmax_kernel"):
        raise RuntimeError("shapes do not fit")


def test_a_kernel_that_cannot_run_here_says_why(capsys):
    with after_solving("softmax_kernel"):
        raise NotHereError("no Triton on this machine")
    assert capsys.readouterr().out == "no Triton on this machine\n"

"""What the student's process answers for: the notebook as it ends, or as it was at a check."""

import functools

import pytest

from autograder import respond


@pytest.fixture
def notebook(monkeypatch):
    """Runs cells in one namespace, as a kernel does."""
    monkeypatch.setattr(respond, "_AT_CHECKS", {})
    namespace = {"functools": functools}

    def run(code):
        exec(code, namespace)
        return namespace

    return run


def test_what_was_defined_at_the_check_is_found_again(notebook):
    respond.remember("f", notebook("def f(): return 1"))
    assert respond.as_checked("f", notebook("def f(): return 2"))["f"]() == 1
    assert notebook("")["f"]() == 2


def test_a_function_calls_the_others_as_they_were(notebook):
    code = "def g(x, *, by=2): return x * by\ndef f(x): return g(x)\nk = functools.partial(f, 3)"
    respond.remember("f", notebook(code))
    then = respond.as_checked("f", notebook("def g(x): return 0"))
    assert (then["f"](3), then["k"]()) == (6, 0)


def test_what_was_deleted_is_found_again(notebook):
    respond.remember("f", notebook("def f(): return 1"))
    assert respond.as_checked("f", notebook("del f"))["f"]() == 1


def test_there_is_nothing_else_where_no_function_was_defined_anew(notebook):
    respond.remember("f", notebook("x = 1\ndef f(): return 1"))
    with pytest.raises(LookupError):
        respond.as_checked("f", notebook("x = 2\ndef other(): return 1"))


def test_there_is_nothing_where_no_check_was(notebook):
    with pytest.raises(LookupError):
        respond.as_checked("f", notebook("def f(): return 1"))

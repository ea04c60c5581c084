"""What some tests need of the machine; where it is missing they are skipped, and fail under CI."""

import os

import pytest

from autograder.grading.sandbox import SandboxError, find_bubblewrap


def missing(reason: str) -> None:
    """Skip, or under CI fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def a_sandbox() -> None:
    """A test that calls this needs a sandbox for students' code."""
    try:
        find_bubblewrap()
    except SandboxError as error:
        missing(str(error))

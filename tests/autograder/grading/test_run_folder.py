"""What a killed run of the grader left is removed by the next, and nothing of another's."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from autograder.grading.run_folder import run_folder

RUN = (
    "from autograder.grading.run_folder import run_folder; import sys\n"
    "(run_folder() / 'file').touch(); print(run_folder(), flush=True); sys.stdin.read()"
)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def start(place: Path) -> tuple[subprocess.Popen, Path]:
    """A run in a process of its own, and its folder."""
    pipe = subprocess.PIPE
    environment = os.environ | {"TMPDIR": str(place)}
    command = [sys.executable, "-c", RUN]
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
    return process, Path(process.stdout.readline().strip())


def test_a_run_that_ends_leaves_nothing(place):
    process, folder = start(place)
    assert folder.parent == place
    process.communicate()
    assert list(place.iterdir()) == []


def test_what_a_killed_run_left_is_removed_by_the_next_and_what_a_living_one_has_is_not(place):
    killed, left = start(place)
    living, kept = start(place)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert (left / "file").exists()
    own = run_folder()
    assert set(place.iterdir()) == {own, kept}
    assert (kept / "file").exists()
    living.communicate()


def test_a_link_to_somewhere_else_is_left_alone(place):
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (place / "autograder-run-link").symlink_to(elsewhere)
    assert run_folder().exists()
    assert elsewhere.exists()


def test_a_run_has_one_folder_that_nobody_else_can_read(place):
    assert run_folder() == run_folder()
    assert run_folder().stat().st_mode & 0o777 == 0o700

"""The folder in which a run of the grader keeps what it writes for a while."""

import atexit
import fcntl
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

_NAME = "autograder-run-"


def run_folder() -> Path:
    """The folder of this process below the temporary folder; it is removed when the process ends.

    Those of processes that were killed are removed too. A run holds a lock on its own, which ends
    with it, however that comes: so no other run takes it for left behind.
    """
    return _run_folder(tempfile.gettempdir(), os.getpid())


@cache
def _run_folder(place: str, process: int) -> Path:
    for left in Path(place).glob(f"{_NAME}*"):
        _remove_if_left(left)
    made = Path(tempfile.mkdtemp(prefix=".autograder-new-", dir=place))
    _lock(made)  # for as long as the process lives
    folder = made.with_name(_NAME + made.name.rpartition("-")[2])
    made.rename(folder)
    atexit.register(_remove, folder, process)
    return folder


def _lock(folder: Path) -> int:
    """Lock a folder, and return its descriptor. Raises OSError if somebody else holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(f"{folder} is somebody else's")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_if_left(folder: Path) -> None:
    try:
        descriptor = _lock(folder)
    except OSError:
        return
    shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)


def _remove(folder: Path, process: int) -> None:
    # A process that was forked off has not made it.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)

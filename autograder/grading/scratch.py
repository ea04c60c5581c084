"""Exchange files with a student's process, which may have put anything in their place."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from autograder.grading.plain_files import plain_files
from autograder.grading.sandbox import EXCHANGE, WORK

_FILES_LIMIT = 100_000_000


class ScratchError(Exception):
    """What the student's process left cannot be read; the text says why."""


class Scratch:
    """A scratch folder, held open from before the student's code runs.

    here: the folder as the grader sees it. there: as the student's process sees it.
    """

    def __init__(self, here: Path, there: str) -> None:
        self._there = there
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
        self._exchange = os.open(here / EXCHANGE, flags)
        self._work = os.open(here / WORK, flags)

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._exchange)
        os.close(self._work)

    def path_there(self, name: str) -> str:
        """Where the student's process finds an exchanged file."""
        return f"{self._there}/{EXCHANGE}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """Write a file for the student's process. Raises ScratchError if it cannot be made."""
        try:
            _write(name, self._exchange, data)
        except OSError:
            raise ScratchError("your code fills the folder that the cases are put into") from None

    def read(self, name: str, limit: int) -> bytes:
        """Read what the student's process wrote, and remove it.

        Raises ScratchError if there is nothing, no plain file, or more than `limit` bytes.
        """
        # A link is not followed, and a pipe is not waited for.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(name, flags, dir_fd=self._exchange)
        except OSError:
            raise ScratchError("no answer came back") from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ScratchError("what came back is no plain file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(limit + 1)
        finally:
            os.close(descriptor)
        if len(data) > limit:
            raise ScratchError(f"the answer has more than {limit / 1e6:g} MB")
        os.unlink(name, dir_fd=self._exchange)
        return data

    def copy_in(self, folder: Path) -> None:
        """Copy a folder's plain files, but no notebooks, to where the notebook runs.

        A file that is there stays as it is. Raises OSError if they are too large.
        """
        for path, data in plain_files(folder, _FILES_LIMIT):
            for parent in reversed(path.parents[:-1]):
                with suppress(FileExistsError):
                    os.mkdir(parent, dir_fd=self._work)
                    os.chmod(parent, 0o777, dir_fd=self._work)
            if path.suffix != ".ipynb":
                with suppress(FileExistsError):
                    _write(str(path), self._work, data)


def _write(name: str, folder: int, data: bytes) -> None:
    # A new file, and never what the student's process may have put there.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    descriptor = os.open(name, flags, 0o666, dir_fd=folder)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o666)
        file.write(data)

"""A control group of a sandbox's own, where the system lets us make one: its meter of CPU time.

See https://docs.kernel.org/admin-guide/cgroup-v2.html. Each group of version 2 counts CPU time,
whatever controllers it has, and nothing that a process does takes time away from it.
"""

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

_NAME = "autograder-sandbox-"
_END_SECONDS = 2


class OwnCgroup:
    """A control group below our own, in which nothing runs yet.

    Raises OSError where there is none of version 2, or we may not make one in it.
    """

    def __init__(self) -> None:
        ours = _our_folder()
        for left in ours.glob(f"{_NAME}*"):
            with suppress(OSError):
                left.rmdir()  # fails where something runs in it
        self._folder = ours / f"{_NAME}{secrets.token_hex(8)}"
        self._folder.mkdir()

    def take(self, process: int) -> None:
        """Move a process into it; its children are born there. Raises OSError if we may not."""
        (self._folder / "cgroup.procs").write_text(str(process))

    def cpu_seconds(self) -> float:
        """CPU time of all that ran in it."""
        rows = (line.split() for line in (self._folder / "cpu.stat").read_text().splitlines())
        return int(dict(rows)["usage_usec"]) / 1e6

    def remove(self) -> None:
        """Remove it when all in it have ended; one that has not is left to the next sandbox."""
        end = time.monotonic() + _END_SECONDS
        while time.monotonic() < end:
            try:
                return self._folder.rmdir()
            except FileNotFoundError:
                return None
            except OSError:
                time.sleep(0.01)
        return None


def _our_folder() -> Path:
    """Where our own control group of version 2 is seen. Raises OSError if nowhere."""
    with open("/proc/self/cgroup") as file:
        ours = [line[3:].strip() for line in file if line.startswith("0::")]
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split() for line in file if " - cgroup2 " in line]
    for _, _, _, root, place, *_ in mounts:
        below = os.path.relpath(ours[0], root) if ours else ".."
        if not below.startswith(".."):
            return Path(place, below)
    raise OSError("no control groups of version 2")

"""Watch what a student's processes use, and end them when it is too much."""

import threading
from collections.abc import Callable, Iterator

import psutil

_INTERVAL = 0.1
_LEAST_FREE = 0.03
"""Share of the machine's memory at which the sandbox ends, whoever uses the rest."""


def _processes(root: int) -> Iterator[psutil.Process]:
    try:
        top = psutil.Process(root)
        yield top
        yield from top.children(recursive=True)
    except psutil.NoSuchProcess:
        return


def cpu_seconds(root: int) -> float:
    """CPU time of a process and all its descendants, also of those that have ended."""
    total = 0.0
    for process in _processes(root):
        try:
            total += sum(process.cpu_times()[:4])  # its own and its children's; user and system
        except psutil.NoSuchProcess:
            continue
    return total


def memory_bytes(root: int) -> int:
    """Memory that a process and its descendants hold: their own, and what they share."""
    total = 0
    for process in _processes(root):
        try:
            with open(f"/proc/{process.pid}/status") as file:
                rows = (line.split() for line in file)
                held = {row[0]: int(row[1]) for row in rows if row[0] in ("RssAnon:", "RssShmem:")}
        except (OSError, ValueError):
            continue  # it has ended
        total += 1024 * sum(held.values())
    return total


class Watch(threading.Thread):
    """Calls `end` with a reason when the processes below `root` use more memory than allowed.

    The kernel's own limits hold for each process; this one holds for all together.
    """

    def __init__(self, root: int, memory: int, end: Callable[[str], None]) -> None:
        super().__init__(daemon=True, name="watch-student")
        self._root, self._memory, self._end = root, memory, end
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look until `stop` is called or the processes have ended."""
        while not self._stopped.wait(_INTERVAL) and psutil.pid_exists(self._root):
            if memory_bytes(self._root) > self._memory:
                return self._end(f"it used more than {self._memory / 1e9:g} GB of memory")
            machine = psutil.virtual_memory()
            if machine.available < _LEAST_FREE * machine.total:
                return self._end("the machine that graded it ran out of memory")
        return None

    def stop(self) -> None:
        """Stop looking."""
        self._stopped.set()

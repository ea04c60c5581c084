"""Watch what a student's processes use, and end them when it is too much."""

import os
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


def _number_inside(process: int, thread: str) -> int:
    """The number of a thread in the sandbox, where they are counted up from 1; 0 without one."""
    with open(f"/proc/{process}/task/{thread}/status") as file:
        numbers = next(line.split()[1:] for line in file if line.startswith("NSpid:"))
    return int(numbers[-1]) if len(numbers) > 1 else 0


class Watch(threading.Thread):
    """Adds up what the processes below `root` compute, and ends them when they use too much memory.

    end: called with the reason. The kernel's own limits hold for each process; this one holds for
    all together.
    """

    def __init__(self, root: int, memory: float, end: Callable[[str], None]) -> None:
        super().__init__(daemon=True, name="watch-student")
        self._root, self._memory, self._end = root, memory, end
        self._stopped = threading.Event()
        self._cpu: dict[tuple[int, float], float] = {}
        self._numbers: dict[str, int] = {}

    def cpu_seconds(self) -> float:
        """CPU time of all processes so far, also of those that have ended.

        A parent can hide what its children took, so each is looked at while it runs. One that came
        and went between two looks, as the numbers of those that are seen tell, counts as if it had
        computed all the time between them.
        """
        for process in _processes(self._root):
            try:
                times = process.cpu_times()
                self._cpu[process.pid, process.create_time()] = times.user + times.system
                for thread in os.listdir(f"/proc/{process.pid}/task"):
                    if thread not in self._numbers:
                        self._numbers[thread] = _number_inside(process.pid, thread)
            except (psutil.NoSuchProcess, OSError):
                continue
        unseen = max(self._numbers.values(), default=0) - len(self._numbers)
        return sum(self._cpu.copy().values()) + _INTERVAL * max(0, unseen)

    def run(self) -> None:
        """Look until `stop` is called or the processes have ended."""
        while not self._stopped.wait(_INTERVAL) and psutil.pid_exists(self._root):
            self.cpu_seconds()
            if memory_bytes(self._root) > self._memory:
                return self._end(f"it used more than {self._memory / 1e9:g} GB of memory")
            machine = psutil.virtual_memory()
            if machine.available < _LEAST_FREE * machine.total:
                return self._end("the machine that graded it ran out of memory")
        return None

    def stop(self) -> None:
        """Stop looking."""
        self._stopped.set()

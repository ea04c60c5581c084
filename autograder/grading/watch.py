"""Watch what a student's processes use, and end them when it is too much."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil

from autograder.grading.own_cgroup import OwnCgroup
from autograder.grading.sandbox import IN_MEMORY, outside

_INTERVAL = 0.1
_LEAST_FREE = 0.03
"""Share of the machine's memory at which the sandbox ends, whoever uses the rest."""

_HELD = (b"RssAnon", b"RssShmem", b"VmSwap", b"VmPTE", b"HugetlbPages")
"""What /proc/PID/status says of memory that only the process's end gives back, in kB."""

_FILE, _DESCRIPTOR, _SOCKET = 1024, 4096, 400_000
"""Bytes that the kernel may hold for an empty file, for what is open (the most is a pipe's), and
for an open socket, in which messages wait."""

_SECOND = os.sysconf("SC_CLK_TCK")
_FIRST_AGAIN = 300
"""The number that follows on the highest one, when the system has given them all."""


@dataclass
class Used:
    """What was found at one look: bytes of memory, CPU time of each process, all threads."""

    memory: int
    cpu: dict[tuple[str, bytes], float]
    threads: set[int]


class Processes:
    """A process and those below it."""

    numbered_apart = False
    """Whether they alone have the numbers that they have."""

    def __init__(self, root: int) -> None:
        self.root = root

    def used(self) -> Used:
        """Look at all of them. Raises OSError if they cannot be seen, or all have ended."""
        used = Used(0, {}, set())
        for folder in self._folders():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                threads = os.listdir(f"{folder}/task")
                started, seconds = _cpu_time(folder)
                used.cpu[folder, started] = seconds
                used.threads.update(map(int, threads))
                used.memory += _memory(folder, threads)
        return used

    def _folders(self) -> Iterator[str]:
        with suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.root)
            for process in (top, *top.children(recursive=True)):
                yield f"/proc/{process.pid}"


class SandboxedProcesses(Processes):
    """All processes in a sandbox, as its own /proc lists them; root: its first one."""

    numbered_apart = True

    def used(self) -> Used:
        """Look at all of them, and at what they keep in memory besides."""
        used = super().used()
        for folder in IN_MEMORY:
            disk = os.statvfs(f"{outside(self.root)}{folder}")
            used.memory += (disk.f_blocks - disk.f_bfree) * disk.f_frsize
            used.memory += (disk.f_files - disk.f_ffree) * _FILE
        used.memory += _sockets_memory(f"/proc/{self.root}/net")
        return used

    def _folders(self) -> Iterator[str]:
        place = f"{outside(self.root)}/proc"
        for name in os.listdir(place):
            # The first is bubblewrap's, and hidden: see sandbox.py.
            if name.isdigit() and name != "1":
                yield f"{place}/{name}"


def _cpu_time(folder: str) -> tuple[bytes, float]:
    """When a process was started, and the CPU time of its threads; see proc(5), stat."""
    with open(f"{folder}/stat", "rb") as file:
        # The name in brackets can be anything.
        fields = file.read().rpartition(b")")[2].split()
    return fields[19], (int(fields[11]) + int(fields[12])) / _SECOND


def _memory(folder: str, threads: list[str]) -> int:
    """What a process holds, as that of its threads tells which still lives."""
    for thread in threads:
        with (
            suppress(FileNotFoundError, ProcessLookupError),
            open(f"{folder}/task/{thread}/status", "rb") as file,
        ):
            # Names of processes, which stand there too, can be any bytes but ends of lines.
            rows = {name: value for name, _, value in (line.partition(b":") for line in file)}
            if b"VmPTE" in rows:
                held = sum(int(rows[name].split()[0]) for name in _HELD if name in rows)
                return 1024 * held + _DESCRIPTOR * int(rows[b"FDSize"])
    return 0


def _sockets_memory(folder: str) -> int:
    """What may wait in the sockets of a network namespace."""
    total = 0
    for version in ("", "6"):
        rows = {}
        with suppress(FileNotFoundError), open(f"{folder}/sockstat{version}", "rb") as file:
            rows = {row[0]: int(row[2]) for row in map(bytes.split, file)}
        total += _SOCKET * rows.get(b"sockets:", 0)
        # Its connections are looked for among those of the whole machine, which takes a while.
        if rows.get(f"TCP{version}:".encode()):
            with open(f"{folder}/tcp{version}", "rb") as file:
                queues = [line.split()[4].split(b":") for line in file.readlines()[1:]]
            total += 2 * sum(int(queue, 16) for both in queues for queue in both)
    return total


class Watch(threading.Thread):
    """Adds up what processes compute, and ends them when they use too much.

    memory, threads: what they may hold together. end: called with the reason. cgroup: where only
    they run, if there is such a one. The kernel's own limits hold for each process; these hold for
    all together.
    """

    def __init__(
        self,
        processes: Processes,
        memory: float,
        threads: float,
        end: Callable[[str], None],
        cgroup: OwnCgroup | None = None,
    ) -> None:
        super().__init__(daemon=True, name="watch-student")
        self._processes, self._end, self._cgroup = processes, end, cgroup
        self._most_memory, self._most_threads = memory, threads
        self._stopped, self._looking = threading.Event(), threading.Lock()
        self._cpu: dict[tuple[str, bytes], float] = {}
        self._cpu_seconds = 0.0
        self._threads: set[int] = set()
        self._last = self._given = self._seen = 0

    def cpu_seconds(self) -> float:
        """CPU time of all processes so far, also of those that have ended; never less than before.

        As the control group counts it. Without one, a parent can hide what its children took, so
        each is looked at while it runs. One that came and went between two looks, as the numbers of
        those that are seen tell, counts as if it had computed all the time between them.
        """
        with suppress(OSError):  # all have ended
            self._look()
        return self._cpu_seconds

    def run(self) -> None:
        """Look until `stop` is called or the processes have ended."""
        blind = 0
        while not self._stopped.wait(_INTERVAL) and _lives(self._processes.root):
            try:
                reason, blind = self._too_much(self._look()), 0
            except Exception:
                # Whatever a student's process has done: what cannot be seen cannot go on. Where it
                # is just ending, it has ended at the next look.
                blind += 1
                reason = "what it used could not be seen" if blind > 1 else ""
            if reason and not self._stopped.is_set():
                return self._end(reason)
        return None

    def stop(self) -> None:
        """Stop looking."""
        self._stopped.set()

    def _look(self) -> Used:
        with self._looking:
            used = self._processes.used()
            if self._cgroup:
                seconds = self._cgroup.cpu_seconds()
            else:
                self._cpu |= used.cpu
                self._count(used.threads)
                unseen = self._given - self._seen if self._processes.numbered_apart else 0
                seconds = sum(self._cpu.values()) + _INTERVAL * max(0, unseen)
            self._cpu_seconds = max(self._cpu_seconds, seconds)
            return used

    def _count(self, threads: set[int]) -> None:
        """Count the threads that are new, and the numbers that were given up to the newest one."""
        new = threads - self._threads
        self._threads = threads
        self._seen += len(new)
        # Numbers go up, and from the highest on to a low one. One that seems to be more than half
        # of the way ahead was given before, to a thread that the last look had missed.
        highest = max(_highest_number(), self._last)
        way = highest - _FIRST_AGAIN
        ahead = [
            n - self._last if n > self._last else n - _FIRST_AGAIN + highest - self._last
            for n in new
        ]
        steps = max((step for step in ahead if step <= way // 2), default=0)
        self._given += steps
        self._last += steps
        if self._last > highest:
            self._last += _FIRST_AGAIN - highest

    def _too_much(self, used: Used) -> str:
        if used.memory > self._most_memory:
            return f"it used more than {self._most_memory / 1e9:g} GB of memory"
        if len(used.threads) > self._most_threads:
            return f"it had more than {self._most_threads} processes and threads"
        machine = psutil.virtual_memory()
        if machine.available < _LEAST_FREE * machine.total:
            return "the machine that graded it ran out of memory"
        return ""


def _lives(process: int) -> bool:
    """Whether a process runs: one that has ended has a number until it is asked for its result."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _highest_number() -> int:
    with open("/proc/sys/kernel/pid_max") as file:
        return int(file.read())

"""What the watch counts, and when it ends what it watches."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest

from autograder.grading import watch
from autograder.grading.own_cgroup import OwnCgroup
from autograder.grading.watch import Processes, Used, Watch

HIGHEST, INTERVAL = 32768, 0.1


class Looks(Processes):
    """What is found at each look, one after the other; the last again and again."""

    numbered_apart = True

    def __init__(self, looks: Iterable[Used | Exception]) -> None:
        super().__init__(os.getpid())  # which lives
        self._looks = list(looks)

    def used(self) -> Used:
        look = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        if isinstance(look, Exception):
            raise look
        return look


def used(cpu: float = 0, threads: Iterable[int] = (), memory: int = 0) -> Used:
    return Used(memory, {("kernel", b"0"): cpu}, set(threads))


def cpu_seconds(*looks: Used | Exception) -> list[float]:
    """What the watch says after each look."""
    watched = Watch(Looks(looks), 10**9, 100, lambda reason: None)
    return [round(watched.cpu_seconds(), 6) for _ in looks]


def seconds_after(threads: Iterable[int]) -> list[float]:
    """What it adds after each look at which the first thread and one other are there."""
    said = cpu_seconds(*(used(threads=[1, thread]) for thread in threads))
    return [round(after - before, 6) for before, after in pairwise(said)]


@pytest.fixture(autouse=True)
def _numbers(monkeypatch) -> None:
    monkeypatch.setattr(watch, "_highest_number", lambda: HIGHEST)


def test_what_processes_that_have_ended_computed_is_kept():
    both = Used(0, {("a", b"1"): 2.0, ("b", b"2"): 3.0}, {1, 2})
    assert cpu_seconds(both, Used(0, {("a", b"1"): 2.5}, {1})) == [5.0, 5.5]


def test_a_process_with_the_number_of_another_is_counted_beside_it():
    first, second = Used(0, {("a", b"1"): 2.0}, {1}), Used(0, {("a", b"9"): 1.0}, {1})
    assert cpu_seconds(first, second) == [2.0, 3.0]


def test_each_thread_that_nobody_saw_counts_as_if_it_had_computed_all_the_time():
    assert cpu_seconds(used(threads=[1, 2]), used(threads=[1, 2, 13])) == [0, 10 * INTERVAL]


def test_it_is_never_less_than_before_when_the_numbers_begin_again():
    # After the highest number comes 300. Of those in between, one is seen at each look.
    threads = [10_000, 20_000, 30_000, HIGHEST - 1, 300, 301, 312, 10_000]
    given = [10_000, 10_000, HIGHEST - 30_001, 1, 1, 11, 9_688]
    assert seconds_after(threads) == [round((step - 1) * INTERVAL, 6) for step in given]


def test_a_thread_that_the_last_look_missed_is_no_beginning_of_the_numbers():
    looks = used(0, [1, 2]), used(0, [1, 2, 5]), used(0, [1, 2, 3, 4, 5])
    assert cpu_seconds(*looks) == [0, 2 * INTERVAL, 2 * INTERVAL]


def test_numbers_that_others_have_too_tell_nothing(monkeypatch):
    monkeypatch.setattr(Looks, "numbered_apart", False)
    assert cpu_seconds(used(0, [5000]), used(0, [9000])) == [0, 0]


def test_when_all_have_ended_it_stays():
    assert cpu_seconds(used(2.0), FileNotFoundError(), used(1.0)) == [2.0, 2.0, 2.0]


def said_at_the_end(look: Used | Exception, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Why the watch ends what it watches."""
    monkeypatch.setattr(watch, "_INTERVAL", 0.001)
    reasons: list[str] = []
    watched = Watch(Looks([used(), look]), 10**9, 100, reasons.append)
    watched.start()
    watched.join(timeout=0.2)
    watched.stop()
    return reasons


@pytest.mark.parametrize(
    ("look", "reason"),
    [
        (used(memory=10**9 + 1), "it used more than 1 GB of memory"),
        (used(threads=range(101)), "it had more than 100 processes and threads"),
        (PermissionError("/proc"), "what it used could not be seen"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, ""), "what it used could not be seen"),
        (ValueError("no number"), "what it used could not be seen"),
    ],
    ids=["memory", "threads", "hidden", "no text", "nonsense"],
)
def test_what_uses_too_much_or_cannot_be_seen_is_ended(monkeypatch, look, reason):
    assert said_at_the_end(look, monkeypatch) == [reason]


def test_what_uses_what_it_may_goes_on(monkeypatch):
    assert said_at_the_end(used(memory=10**9, threads=range(100)), monkeypatch) == []


def test_a_machine_without_memory_ends_it(monkeypatch):
    monkeypatch.setattr(watch, "_LEAST_FREE", 1.0)
    assert said_at_the_end(used(), monkeypatch) == ["the machine that graded it ran out of memory"]


# --- Real processes ------------------------------------------------------------------------------

SAYS = "print('ready', flush=True); import time; time.sleep(60)"


@pytest.fixture
def start() -> Iterable[Callable[[str], Used]]:
    """Starts Python code that says when it is ready, and looks at it."""
    started = []

    def looked_at(code: str) -> Used:
        command = [sys.executable, "-c", code]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return Processes(process.pid).used()

    yield looked_at
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_name_that_is_no_text_hides_nothing(start):
    name = r"b'\xff) S 1\nRssAnon:\t0 kB\n'"
    held = f"import ctypes; ctypes.CDLL(None).prctl(15, {name}, 0, 0, 0); x = b'6' * 10**8; "
    assert start(held + SAYS).memory > 10**8


LEADERLESS = """
import ctypes, platform, threading, time
held = b"6" * 10**8
def work():
    time.sleep(0.2)
    print("ready", flush=True)
    time.sleep(60)
threading.Thread(target=work).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"""


def test_a_process_whose_first_thread_has_ended_is_still_seen(start):
    assert start(LEADERLESS).memory > 10**8


ZERO_PAGES = """
import ctypes, mmap
libc = ctypes.CDLL(None)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p] + [ctypes.c_size_t] * 5
start = libc.mmap(None, 2**36, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 2**64 - 1, 0)
libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(2**36), 15)
for place in range(0, 2**36, 2**21):
    ctypes.c_char.from_address(start + place).value
"""


def test_the_tables_of_pages_that_hold_nothing_are_counted(start):
    assert start(ZERO_PAGES + SAYS).memory > 2**36 // 2**21 * 4096


def test_what_a_child_computes_is_counted_also_where_its_parent_hides_it(start):
    forks = "import os, signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    forks += "import time\nif os.fork() == 0:\n    while time.process_time() < 0.3: pass\n"
    forks += "    print('ready', flush=True)\ntime.sleep(60)"
    assert sum(start(forks).cpu.values()) > 0.2


# --- Control groups ------------------------------------------------------------------------------


def test_a_control_group_counts_what_nobody_saw():
    try:
        cgroup = OwnCgroup()
    except OSError:
        pytest.skip("no control group of version 2 that we may divide")
    code = "import os, sys; sys.stdin.read()\nfor _ in range(50):\n"
    code += "    if os.fork() == 0:\n        sum(range(10**5)); os._exit(0)\n"
    code = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n" + code
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    cgroup.take(process.pid)
    process.communicate()
    assert cgroup.cpu_seconds() > 0.05
    cgroup.remove()
    assert not cgroup._folder.exists()

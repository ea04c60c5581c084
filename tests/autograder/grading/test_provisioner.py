"""What a student's process may use, and what becomes of the cells when it uses more."""

import json
import time

import psutil
import pytest

from tests import needs
from tests.autograder.grading.in_sandbox import errors, run, said

pytestmark = pytest.mark.xdist_group("sandbox")


@pytest.fixture(autouse=True, scope="module")
def _sandbox() -> None:
    needs.a_sandbox()


GLOO = """
%%file worker.py
import sys, torch, torch.distributed as dist
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="tcp://127.0.0.1:29511", rank=rank, world_size=2)
x = torch.ones(1) + rank
dist.all_reduce(x)
print(x.item())
dist.destroy_process_group()
"""


def test_processes_can_work_together_with_gloo(tmp_path):
    start = "import subprocess, sys\nworkers = [subprocess.Popen([sys.executable, 'worker.py', r], "
    start += "stdout=subprocess.PIPE, text=True) for r in '01']\n"
    start += "print([worker.communicate()[0].split() for worker in workers])"
    _, cell = run(tmp_path, GLOO.strip(), start)
    assert said(cell).strip() == "[['3.0'], ['3.0']]"


LIMITED = {
    "memory": ("x = bytearray(4 * 10**9)", "MemoryError"),
    "files": (
        "for i in range(10**6):\n    open(str(i), 'wb').write(bytes(10**7))",
        "No space left on device",
    ),
    "one large file": ("open('x', 'wb').truncate(10**12)", "File too large"),
    "processes": (
        "import subprocess\nwaiting = [subprocess.Popen(['sleep', '60']) for _ in range(1000)]",
        "Resource temporarily unavailable",
    ),
    "threads": (
        "import threading\nend = threading.Event()\n"
        "for _ in range(1000):\n    threading.Thread(target=end.wait).start()",
        "can't start new thread",
    ),
}


@pytest.mark.parametrize(("code", "reason"), LIMITED.values(), ids=LIMITED)
def test_what_is_used_is_limited(tmp_path, code, reason):
    (cell,) = run(tmp_path, code)
    assert any(reason in text for text in errors(cell)), errors(cell)


SOCKETS = """
import os, socket, time
for _ in range(10):
    if os.fork() == 0:
        held = [socket.socketpair() for _ in range(450)]
        for pair in held:
            for end in pair:
                end.setblocking(False)
                end.send(bytes(10**6))
        time.sleep(60)
time.sleep(60)
"""
SEVERAL = """
import os, time
for _ in range(10):
    if os.fork() == 0:
        x = bytearray(b"6") * 500_000_000
        time.sleep(60)
time.sleep(60)
"""
PRINTS = """
import time
while True:
    print('x' * 10**4)
    time.sleep(0.001)
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (SOCKETS, "more than 3 GB of memory"),
        (SEVERAL, "more than 3 GB of memory"),
        (PRINTS, "printed more than 20 MB"),
        ("import os; os._exit(1)", ""),
    ],
    ids=["sockets", "many processes", "prints", "exit"],
)
def test_a_cell_that_takes_the_process_down_is_told_why_and_the_others_run(tmp_path, code, reason):
    cells = run(tmp_path, "x = 6", code, "print(x * 7)", output_bytes=2_000_000)
    assert any(reason in text and "DeadKernelError" in text for text in errors(cells[1]))
    assert said(cells[2]).strip() == "42"


def test_of_too_much_output_only_the_output_is_left_out(tmp_path):
    prints = "print('x' * 3 * 10**7)\nfor _ in range(3):\n    print(6, flush=True)"
    cells = run(tmp_path, "x = 6", prints, "open('found', 'w').write(str(x))", "print(x * 7)")
    assert [errors(cell) for cell in cells] == [[]] * 4
    assert said(cells[1]).count("a notebook may show 20 MB") == 1
    assert sum(len(said(cell)) for cell in cells) < 1000


def test_a_cell_runs_again_when_an_earlier_one_may_have_spoilt_its_process(tmp_path):
    prepare = f"import os, time\nend = {time.time() + 8}\n"
    first = prepare + "if time.time() > end:\n    os._exit(1)"
    second = "if time.time() < end:\n    time.sleep(end - time.time())\n    os._exit(1)\n"
    cells = run(tmp_path, first, prepare + second + "print(42)")
    assert [len(errors(cell)) for cell in cells] == [1, 0]
    assert said(cells[1]).strip() == "42"


@pytest.mark.parametrize("process", [-1, "os.getppid()"], ids=["everything", "its parent"])
def test_a_cell_cannot_kill_what_runs_it(tmp_path, process):
    cells = run(tmp_path, "x = 6", f"import os; os.kill({process}, 9)", "print(x * 7)")
    assert not any("DeadKernelError" in text for text in errors(cells[1]))
    assert said(cells[2]).strip() == "42"


SWALLOWS_INTERRUPTS = """
while True:
    try:
        while True:
            pass
    except KeyboardInterrupt:
        pass
"""


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("while True: pass", "CellTimeoutError"),
        (SWALLOWS_INTERRUPTS, "CellTimeoutError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
    ids=["endless loop", "loop that cannot be interrupted", "error"],
)
def test_a_cell_that_fails_does_not_keep_the_others_from_running(tmp_path, code, error):
    cells = run(tmp_path, "x = 6", code, "print(x * 7)", timeout=3)
    assert any(error in text for text in errors(cells[1]))
    assert said(cells[2]).strip() == "42"


def test_when_the_time_of_a_notebook_is_over_its_other_cells_are_not_run(tmp_path):
    cells = run(tmp_path, "import time; time.sleep(60)", "print(42)", notebook_seconds=5)
    assert any("CellTimeoutError" in text for text in errors(cells[0]))
    assert said(cells[1]) == ""


def test_an_output_that_cannot_be_written_is_left_out(tmp_path):
    (cell,) = run(tmp_path, r"print('\ud800')")
    json.dumps(cell.outputs, ensure_ascii=False).encode()


def test_nothing_is_left_when_it_ends(tmp_path):
    daemon = "import subprocess\nsubprocess.Popen(['sleep', '1234567'], start_new_session=True)"
    run(tmp_path, daemon)
    assert not [process for process in psutil.process_iter() if "1234567" in _command(process)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""

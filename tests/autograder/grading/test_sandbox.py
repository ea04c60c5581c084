"""What a student's process can see, use and do in the sandbox."""

import errno
import json
import os
import platform
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from autograder.grading import sandbox
from autograder.grading.execute import ExecuteAndJudge
from autograder.grading.sandbox import NOBODY, SandboxError, find_bubblewrap
from tests import needs

pytestmark = pytest.mark.xdist_group("sandbox")


@pytest.fixture(autouse=True, scope="module")
def _sandbox() -> None:
    needs.a_sandbox()


def run(folder: Path, *sources: str, **settings: object) -> list[NotebookNode]:
    """Run cells as a submission of ada's; settings of ExecuteAndJudge by their names."""
    course = CourseDirectory(root=str(folder), assignment_id="hello")
    execute = {"kernel_name": "sandbox", "timeout": 20, "shutdown_kernel": "immediate"}
    config = Config({"ExecuteAndJudge": execute | settings})
    converter = Autograde(coursedir=course, config=config)
    exporter = NotebookExporter(parent=converter, config=config)
    execute = ExecuteAndJudge(parent=exporter)
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    key = {"student": "ada", "assignment": "hello", "notebook": "hello"}
    return execute.preprocess(notebook, {"nbgrader": key, "metadata": {}})[0].cells


def said(cell: NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def errors(cell: NotebookNode) -> list[str]:
    return [f"{out.ename}: {out.evalue}" for out in cell.outputs if out.output_type == "error"]


LOOK = {
    "ids": "os.getresuid() + os.getresgid()",
    "groups": "os.getgroups()",
    "capabilities": "[int(line.split()[1], 16) for line in open('/proc/self/status') "
    "if line.startswith(('CapPrm', 'CapEff'))]",
    "environment": "sorted(os.environ)",
    "importable": "[name for name in HIDDEN if importable(name)]",
    "shown": "[path for path in PATHS if os.path.exists(path)]",
    "beside": "sorted(os.listdir())",
    "processes": "sum(name.isdigit() for name in os.listdir('/proc'))",
    "writable": "writable()",
    "reached": "reached()",
    "loopback": "loopback()",
    "keys": "errno_of(lambda: call(KEYCTL, 11, -3, 0, 0, 0))",
    "segment": "errno_of(lambda: call(SHMGET, 0, 1000, 0o1600))",
    "hidden memory": "errno_of(lambda: os.memfd_create('x'))",
    "host": "errno_of(lambda: socket.socket(socket.AF_VSOCK))",
    "user namespace": "errno_of(lambda: call(UNSHARE, 0x10000000))",
}
CALLS = {"x86_64": (250, 29, 272), "aarch64": (219, 194, 97)}
PREPARE = """
import ctypes, importlib.util, json, os, socket
KEYCTL, SHMGET, UNSHARE = {calls!r}
HIDDEN, PATHS, PORT = {hidden!r}, {paths!r}, {port!r}

def call(*arguments):
    if ctypes.CDLL(None, use_errno=True).syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def errno_of(do):
    try:
        do()
    except OSError as error:
        return error.errno

def importable(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False

def writable():
    found = set()
    for folder, folders, _ in os.walk("/"):
        if folder.startswith(("/proc/", "/sys/")):
            folders.clear()
            continue
        try:
            name = os.path.join(folder, "written")
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
            os.unlink(name)
            found.add(folder)
        except OSError:
            pass
    return sorted(found)

def reached():
    found = []
    for address in [("127.0.0.1", PORT), ("1.1.1.1", 53)]:
        try:
            socket.create_connection(address, timeout=1).close()
            found.append(address)
        except OSError:
            pass
    return found

def loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            client.send(b"hello")
            return server.accept()[0].recv(5).decode()
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a student's process finds, by the names in LOOK."""
    folder = tmp_path_factory.mktemp("course")
    mine, other = (folder / "submitted" / name / "hello" for name in ("ada", "ben"))
    for place in (mine, other, folder / "release" / "hello"):
        place.mkdir(parents=True)
    (mine / "helper.py").write_text("x = 1")
    (other / "hello.ipynb").write_text("{}")
    (mine / "theirs.ipynb").symlink_to(other / "hello.ipynb")
    (folder / "release" / "hello" / "data.csv").write_text("1,2")
    (folder / "gradebook.db").write_text("")
    project = Path(sandbox.__file__).parents[2]
    paths = [folder, mine, other, folder / "gradebook.db", "/home", "/root/.ssh", "/etc/shadow"]
    paths += [project / "solutions" / "linear_attention.py"]
    paths += [project / name for name in ("tests", "course/source", ".git")]
    paths += [project / "autograder" / name for name in ("recorded", "grading", "judge.py")]
    hidden = [f"autograder.{name}" for name in ("judge", "answers", "grading")]
    hidden += ["solutions.linear_attention"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        prepare = PREPARE.format(
            calls=CALLS[platform.machine()],
            hidden=hidden,
            paths=[str(path) for path in paths],
            port=server.getsockname()[1],
        )
        look = "\n".join(f"print(json.dumps({expression}))" for expression in LOOK.values())
        prepared, looked = run(folder, prepare, look)
    assert not errors(prepared) + errors(looked)
    return dict(zip(LOOK, map(json.loads, said(looked).splitlines()), strict=True))


def test_nobody_is_root_in_it(seen):
    expected = NOBODY if os.geteuid() == 0 else os.geteuid()
    assert seen["ids"][:3] == [expected] * 3
    assert 0 not in seen["ids"]
    assert seen["groups"] in ([], [os.getegid()])
    assert seen["capabilities"] == [0, 0]


def test_neither_the_solutions_nor_the_judge_can_be_imported(seen):
    assert seen["importable"] == []


def test_nothing_of_the_course_and_of_the_machine_is_shown(seen):
    assert seen["shown"] == []


def test_the_graders_environment_is_not_passed_on(seen):
    assert set(seen["environment"]) <= {
        *("HOME", "LANG", "LC_CTYPE", "LOGNAME", "NBGRADER_EXECUTION", "OMP_NUM_THREADS", "PATH"),
        *("PWD", "PYTHONDONTWRITEBYTECODE", "TMPDIR", "USER"),
        # ipykernel's own
        *("CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "GIT_PAGER", "MPLBACKEND", "PAGER"),
        *("PYDEVD_USE_FRAME_EVAL", "TERM", "KMP_INIT_AT_FORK", "KMP_DUPLICATE_LIB_OK"),
    }


def test_only_the_scratch_folder_and_shared_memory_can_be_written_to(seen):
    assert "/scratch/work" in seen["writable"]
    assert all(path.startswith(("/scratch", "/dev/shm")) for path in seen["writable"])


def test_the_files_beside_a_notebook_are_there_but_links_are_not(seen):
    assert seen["beside"] == ["data.csv", "helper.py"]


def test_no_other_process_is_seen(seen):
    assert seen["processes"] < 5


def test_there_is_no_network_but_a_loopback_of_its_own(seen):
    assert seen["reached"] == []
    assert seen["loopback"] == "hello"


@pytest.mark.parametrize("call", ["keys", "segment", "hidden memory", "user namespace"])
def test_what_no_namespace_isolates_is_refused(seen, call):
    assert seen[call] == errno.EPERM


def test_there_is_no_way_to_the_host_of_a_virtual_machine(seen):
    assert seen["host"] == errno.EAFNOSUPPORT


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


SHARED = """
import mmap, os
held = [mmap.mmap(-1, 10**8) for _ in range(100)]
for piece in held:
    piece.write(bytes(10**8))
"""
SEVERAL = """
import os, time
for _ in range(10):
    if os.fork() == 0:
        x = bytearray(os.urandom(1024) * 500_000)
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
        (SHARED, "more than 3 GB of memory"),
        (SEVERAL, "more than 3 GB of memory"),
        (PRINTS, "printed more than 20 MB"),
        ("import os; os._exit(1)", ""),
    ],
    ids=["shared memory", "many processes", "prints", "exit"],
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


# --- Without a sandbox ---------------------------------------------------------------------------


@pytest.fixture
def no_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sandbox, "_candidates", list)
    find_bubblewrap.cache_clear()
    yield
    find_bubblewrap.cache_clear()


@pytest.mark.usefixtures("no_bubblewrap")
def test_without_a_sandbox_nothing_is_run_and_the_message_says_what_to_do(tmp_path):
    with pytest.raises(SandboxError, match="sudo apt install bubblewrap"):
        run(tmp_path, f"open({str(tmp_path / 'written')!r}, 'w')")
    assert not (tmp_path / "written").exists()


def test_a_kernel_without_a_sandbox_is_refused(tmp_path):
    with pytest.raises(SandboxError, match="has no sandbox"):
        run(tmp_path, "x = 1", kernel_name="python3")


@pytest.mark.usefixtures("no_bubblewrap")
def test_only_an_explicit_setting_runs_without_a_sandbox_and_the_page_says_so(tmp_path):
    notice, cell = run(tmp_path, "print(6 * 7)", without_sandbox=True)
    assert "without a sandbox" in notice.source
    assert said(cell).strip() == "42"


@pytest.mark.usefixtures("no_bubblewrap")
def test_a_bubblewrap_that_fails_is_reported_with_its_own_words(monkeypatch):
    monkeypatch.setattr(sandbox, "_candidates", lambda: [shutil.which("false")])
    with pytest.raises(SandboxError, match=r"cannot isolate.*false.*Allow user namespaces"):
        find_bubblewrap()

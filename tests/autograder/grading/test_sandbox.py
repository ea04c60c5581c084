"""What a student's process can see, use and do in the sandbox."""

import errno
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from autograder.grading import sandbox, shown
from autograder.grading.sandbox import SandboxError, find_bubblewrap, sandboxed
from autograder.grading.shown import ROOT
from tests import needs
from tests.autograder.grading.in_sandbox import LIMITS, errors, run, said, says

pytestmark = pytest.mark.xdist_group("sandbox")


@pytest.fixture(autouse=True, scope="module")
def _sandbox() -> None:
    needs.a_sandbox()


LOOK = {
    "ids": "os.getresuid() + os.getresgid()",
    "groups": "os.getgroups()",
    "capabilities": "[int(line.split()[1], 16) for line in open('/proc/self/status') "
    "if line.startswith(('CapPrm', 'CapEff'))]",
    "environment": "sorted(os.environ)",
    "importable": "[name for name in HIDDEN if importable(name)]",
    "shown": "[path for path in PATHS if os.path.exists(path)]",
    "strangers": "strangers()",
    "modules": "{folder: sorted(os.listdir(folder)) for folder in PACKAGES}",
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
    "semaphores": "errno_of(lambda: call(SEMGET, 0, 1000, 0o1600))",
    "pages in a pipe": "errno_of(lambda: call(VMSPLICE, 1, 0, 0, 0))",
    "memory of another": "errno_of(lambda: call(PTRACE, 16, 1, 0, 0))",
    "shared memory": "errno_of(lambda: mmap.mmap(-1, 4096))",
    "shared zeros": "errno_of(lambda: mmap.mmap(os.open('/dev/zero', os.O_RDWR), 4096))",
    "zeros": "list(os.read(os.open('/dev/zero', os.O_RDONLY), 2))",
    "first process": "os.listdir('/proc/1')",
    "buffer": "buffer()",
}
SYSTEM = (
    *("/proc", "/dev", "/bin", "/sbin", "/lib", "/lib64"),
    *("/etc/passwd", "/etc/hosts", "/etc/nsswitch.conf"),
    *(f"/scratch/{name}" for name in ("home", "work", "exchange", "kernel")),
)
CALLS = {"x86_64": (250, 29, 272, 64, 278, 101), "aarch64": (219, 194, 97, 190, 75, 117)}
PREPARE = """
import ctypes, importlib.util, json, mmap, os, socket
KEYCTL, SHMGET, UNSHARE, SEMGET, VMSPLICE, PTRACE = {calls!r}
HIDDEN, PATHS, PORT, PACKAGES = {hidden!r}, {paths!r}, {port!r}, {packages!r}
EXPECTED = set({expected!r})

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

def strangers():
    found = []
    for folder, folders, names in os.walk("/"):
        paths = {{os.path.join(folder, name) for name in (*folders, *names)}}
        folders[:] = [f for f in folders if os.path.join(folder, f) not in EXPECTED]
        found += [path for path in paths - EXPECTED if not os.path.isdir(path)]
    return found

def buffer():
    pair = socket.socketpair()
    before = pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10**8)
    return pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - before

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
    paths = [folder, mine, other, folder / "gradebook.db"]
    paths += [ROOT / name for name in ("solutions", "tests", "course/source")]
    paths += [ROOT / "autograder" / name for name in ("recorded", "grading", "judge.py")]
    assert all(path.exists() for path in paths)
    hidden = [f"autograder.{name}" for name in ("judge", "answers", "grading")]
    hidden += ["solutions.linear_attention"]
    expected = [*shown.shown_first(), *shown.shown_last(), *SYSTEM]
    with socket.create_server(("127.0.0.1", 0)) as server:
        prepare = PREPARE.format(
            calls=CALLS[platform.machine()],
            hidden=hidden,
            paths=[str(path) for path in paths],
            port=server.getsockname()[1],
            packages=[str(ROOT / name) for name in shown.MODULES],
            expected=[str(path) for path in expected],
        )
        look = "\n".join(f"print(json.dumps({expression}))" for expression in LOOK.values())
        prepared, looked = run(folder, prepare, look)
    assert not errors(prepared) + errors(looked)
    return dict(zip(LOOK, map(json.loads, said(looked).splitlines()), strict=True))


def test_nobody_is_root_in_it(seen):
    (user,) = set(seen["ids"])
    assert user not in (0, os.geteuid())
    assert seen["groups"] in ([], [user])
    assert seen["capabilities"] == [0, 0]


def test_neither_the_solutions_nor_the_judge_can_be_imported(seen):
    assert seen["importable"] == []


def test_nothing_of_the_course_and_of_the_machine_is_shown(seen):
    assert seen["shown"] == []
    assert seen["strangers"] == []


def test_of_the_course_what_a_probe_and_a_notebook_need_is_shown_and_nothing_else(seen):
    # Whoever shows more has thought about what a student could do with it, and names it here too.
    assert seen["modules"] == {
        str(ROOT / "autograder"): [
            *("__init__.py", "cases.py", "check.py", "cost.py", "exercise.py", "exercises"),
            *("kernel_probes.py", "kernel_source.py", "probes.py", "properties.py"),
            *("registry.py", "report.py", "respond.py", "transfer.py"),
        ],
        str(ROOT / "course"): [
            *("__init__.py", "data", "hardware.py", "interpreter.py", "machine.py"),
            *("machine_code.py", "measure.py", "memory_hierarchy.py", "reader.py"),
            *("specifications", "tile_run.py", "trained_model.py", "triton_here.py", "widgets"),
        ],
    }


def test_the_graders_environment_is_not_passed_on(seen):
    assert set(seen["environment"]) <= {
        *("HOME", "LANG", "LC_CTYPE", "LOGNAME", "NBGRADER_EXECUTION", "OMP_NUM_THREADS", "PATH"),
        *("PWD", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "TMPDIR", "USER"),
        # ipykernel's own
        *("CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "GIT_PAGER", "MPLBACKEND", "PAGER"),
        *("PYDEVD_USE_FRAME_EVAL", "TERM", "KMP_INIT_AT_FORK", "KMP_DUPLICATE_LIB_OK"),
    }


def test_only_folders_in_memory_can_be_written_to(seen):
    assert {"/scratch/work", "/tmp", "/dev/shm"} <= set(seen["writable"])
    assert all(path.startswith(sandbox.IN_MEMORY) for path in seen["writable"])


def test_the_files_beside_a_notebook_are_there_but_links_are_not(seen):
    assert seen["beside"] == ["data.csv", "helper.py"]


def test_no_other_process_is_seen(seen):
    assert seen["processes"] < 5


def test_there_is_no_network_but_a_loopback_of_its_own(seen):
    assert seen["reached"] == []
    assert seen["loopback"] == "hello"


@pytest.mark.parametrize(
    "call",
    [
        *("keys", "segment", "hidden memory", "user namespace", "semaphores", "pages in a pipe"),
        *("memory of another", "shared memory"),
    ],
)
def test_what_no_namespace_isolates_and_nobody_could_count_is_refused(seen, call):
    assert seen[call] == errno.EPERM


def test_zeros_can_be_read_but_not_shared(seen):
    assert seen["zeros"] == [0, 0]
    assert seen["shared zeros"] == errno.ENODEV


def test_nobody_makes_the_buffer_of_a_socket_larger(seen):
    assert seen["buffer"] == 0


def test_nothing_of_the_first_process_is_seen(seen):
    assert seen["first process"] == []


def test_there_is_no_way_to_the_host_of_a_virtual_machine(seen):
    assert seen["host"] == errno.EAFNOSUPPORT


# --- Whoever grades ----------------------------------------------------------------------------

HOLDS = """
import subprocess, sys
held = [subprocess.Popen(["sleep", "9"]) for _ in range(25)]
print(len(held), flush=True)
"""


def test_each_sandbox_has_its_own_limit_of_processes():
    with sandboxed([sys.executable, "-c", HOLDS + "sys.stdin.read()"], LIMITS) as prepared:
        line, descriptors = prepared
        pipe = subprocess.PIPE
        first = subprocess.Popen(line, pass_fds=descriptors, stdin=pipe, stdout=pipe, text=True)
    assert first.stdout.readline() == "25\n"
    assert says([sys.executable, "-c", HOLDS]) == "25\n"
    first.kill()
    first.communicate()


@pytest.mark.parametrize(
    ("ids", "first", "end"),
    [
        ([range(2**32 - 1)], 0x70000000, 0x7FFF0000),
        ([range(65536)], 32768, 65536),
        ([range(1), range(1, 65536)], 32768, 65536),
        ([range(1000)], None, None),
        ([range(1)], None, None),
    ],
    ids=["a machine", "a container", "a user's container", "few users", "one user"],
)
def test_root_gives_each_sandbox_a_user_that_nobody_is(monkeypatch, ids, first, end):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sandbox, "_ids", lambda kind: ids)
    users = {sandbox._own_user() for _ in range(20)}
    if first is None:
        assert users == {None}
    else:
        assert len(users) == 20
        assert min(users) >= first
        assert max(users) < end


def test_who_is_not_root_stays_who_he_is(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert sandbox._own_user() is None


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

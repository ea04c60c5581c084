"""Grades hostile submissions, and watches the machine meanwhile."""

import ctypes
import hashlib
import os
import platform
import secrets
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from autograder.build import ROOT
from autograder.classroom import Classroom, Grade
from autograder.grading import provisioner
from autograder.grading.run_folder import run_folder
from tests.hostile.corpus import EXERCISES, FILE, KNOWN, NOTEBOOK, Hostile
from tests.hostile.small_class import (
    Rows,
    failure_of,
    hand_in,
    put_into_submitted,
    rows_of,
    said_in,
    small_class,
    submitted,
    text_of,
)

Fingerprints = dict[Path, str]

HONEST_STUDENTS = ("ada", "ben")
LIMITS = (
    "--ExecuteAndJudge.exercise_seconds=8",
    "--ExecuteAndJudge.timeout=6",
    "--ExecuteAndJudge.notebook_seconds=60",
    "--ExecuteAndJudge.output_bytes=3_000_000",
    "--ExecuteAndJudge.answer_bytes=10_000_000",
    "--SandboxProvisioner.memory=1_200_000_000",
    "--SandboxProvisioner.files=64_000_000",
)


@dataclass
class Graded:
    """What came of a class of hostile submissions, and of the machine on which it was graded.

    failure: what nbgrader complained of. secret: what no submission may know. honest, files: the
    honest students' rows, and what lies on the machine, before and after. processes: those that
    students left. temporary: files that grading left. visitors: who came to the Door.
    """

    classroom: Classroom
    failure: str
    secret: str
    honest: tuple[Rows, Rows]
    files: tuple[Fingerprints, Fingerprints]
    processes: list[str]
    temporary: list[Path]
    visitors: list[str]

    def __post_init__(self) -> None:
        self._grades: dict[str, dict[str, Grade]] = self.classroom.grades()

    def points(self, student: str) -> dict[str, float] | None:
        """What a student earned automatically, by exercise; None if there is no submission."""
        own = self._grades.get(student)
        return own and {name: own[f"check_{name}"].points for name in EXERCISES}

    def said(self, student: str) -> str:
        """What the autograded notebook of a student says beside the student's code."""
        return said_in(self.classroom.course / "autograded" / student / NOTEBOOK / FILE)

    def page(self, student: str) -> str:
        """What the feedback of a student says."""
        return text_of(self.classroom.feedback_page(student).read_text())


def grade(folder: Path, submissions: list[Hostile]) -> Graded:
    """Hand in two honest and then the hostile submissions, grade them, and release feedback."""
    classroom = small_class(folder / "class")
    for student in HONEST_STUDENTS:
        hand_in(classroom, student)
    classroom.collect()
    classroom.autograde()
    honest = rows_of(classroom)

    outside, temporary = folder / "outside", folder / "temporary"
    outside.mkdir()
    temporary.mkdir()
    secret, token = secrets.token_hex(), f"hostile-{secrets.token_hex(8)}"
    (outside / "canary").write_text(secret)
    door = Door(outside, token)
    KNOWN.update(
        canary=str(outside / "canary"),
        course=str(classroom.course),
        folder=str(folder),
        gradebook=str(classroom.course / "gradebook.db"),
        key=token,
        other=str(submitted(classroom, "ben")),
        project=str(ROOT),
        **calls_of_this_machine(),
        source=str(classroom.course / "source" / NOTEBOOK / FILE),
        token=token,
        **door.addresses,
    )
    with pytest.MonkeyPatch.context() as patch, a_key(token, secret) as KNOWN["keyctl"]:
        patch.setattr(tempfile, "tempdir", str(temporary))
        own_folder = run_folder()  # which is there until this process ends
        patch.setenv("JUPYTER_RUNTIME_DIR", str(temporary))
        patch.setenv("HOSTILE_SECRET", secret)
        for hostile in submissions:
            if not hostile.directly:
                hand_in(classroom, hostile.name, hostile.write)
        failure = failure_of(classroom.collect)
        for hostile in submissions:
            if hostile.directly:
                put_into_submitted(classroom, hostile.name, hostile.write)
        files = fingerprints(folder)
        with namespaces_of_sandboxes(patch) as namespaces:
            failure += failure_of(classroom.autograde, *LIMITS)
            processes = processes_left(token, namespaces)
        failure += failure_of(classroom.generate_feedback)
        failure += failure_of(classroom.release_feedback)
    door.close()
    rows = [row for row in rows_of(classroom) if row[0] in HONEST_STUDENTS]
    left = [path for path in temporary.rglob("*") if path != own_folder]
    left += [
        path
        for place in ("/tmp", "/var/tmp", "/dev/shm")
        for path in Path(place).glob(f"*{token}*")
    ]
    return Graded(
        classroom,
        failure,
        secret,
        (honest, rows),
        (files, fingerprints(folder)),
        processes,
        left,
        door.visitors,
    )


def fingerprints(folder: Path) -> Fingerprints:
    """The files in a folder, by their contents; nothing for what is no plain file."""

    def content(path: Path) -> str:
        plain = stat.S_ISREG(path.lstat().st_mode)
        return hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""

    return {
        path: content(path) for path in folder.rglob("*") if not stat.S_ISDIR(path.lstat().st_mode)
    }


class Door:
    """Sockets that students' code is not to reach, and those who came."""

    def __init__(self, folder: Path, name: str) -> None:
        unix = folder / "door"
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        for address in (str(unix), f"\0{name}"):
            self._sockets.append(socket.socket(socket.AF_UNIX))
            self._sockets[-1].bind(address)
            self._sockets[-1].listen(100)
        port = self._sockets[0].getsockname()[1]
        self.addresses = {"port": str(port), "unix": str(unix), "abstract": name}
        self.visitors: list[str] = []
        for door in self._sockets:
            threading.Thread(target=self._wait, args=(door,), daemon=True).start()

    def _wait(self, door: socket.socket) -> None:
        while True:
            try:
                door.accept()[0].close()
            except OSError:
                return
            self.visitors.append(str(door.getsockname()))

    def close(self) -> None:
        """Let nobody in any more."""
        for door in self._sockets:
            door.close()


def calls_of_this_machine() -> dict[str, str]:
    """The numbers of system calls that Python has no function for."""
    numbers = {"x86_64": {"ptrace": 101, "semget": 64}, "aarch64": {"ptrace": 117, "semget": 190}}
    return {name: str(number) for name, number in numbers[platform.machine()].items()}


@contextmanager
def a_key(name: str, text: str) -> Iterator[str]:
    """Keep a key in this session, where the system lets us; yield the call that reads keys."""
    add_key, keyctl = (248, 250) if platform.machine() == "x86_64" else (217, 219)
    libc, revoke, session = ctypes.CDLL(None), 3, ctypes.c_int(-3)
    key = libc.syscall(add_key, b"user", name.encode(), text.encode(), len(text), session)
    yield str(keyctl)
    libc.syscall(keyctl, revoke, key)


@contextmanager
def namespaces_of_sandboxes(patch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The process namespaces of all sandboxes that are made meanwhile.

    They are held open, so that no other gets the name of one.
    """
    seen, held = set(), []
    read_child = provisioner.read_child

    def see(info: int) -> int:
        child = read_child(info)
        held.append(os.open(f"/proc/{child}/ns/pid", os.O_RDONLY))
        seen.add(os.readlink(f"/proc/self/fd/{held[-1]}"))
        return child

    patch.setattr(provisioner, "read_child", see)
    yield seen
    for descriptor in held:
        os.close(descriptor)


def processes_left(token: str, namespaces: set[str]) -> list[str]:
    """The command lines of processes that live in one of the namespaces, or hold the token."""
    end = time.monotonic() + 5  # a process that was killed takes its time
    while (found := _processes_with(token, namespaces)) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def _processes_with(token: str, namespaces: set[str]) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text(errors="replace").replace("\0", " ")
            if token in command or os.readlink(process / "ns" / "pid") in namespaces:
                found.append(command)
        except OSError:
            continue  # it has ended, or is somebody else's
    return found

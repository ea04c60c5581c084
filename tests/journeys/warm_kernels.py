"""Kernels that fork from a process which has imported what every notebook imports first.

Many notebooks are run one after the other; most of their time would go into these imports.
"""

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from typing import Any

from ipykernel import kernelapp

_IMPORTED = ("autograder.answers", "autograder.check", "autograder.judge", "ipykernel.zmqshell")


def _run(group: Connection, command: list[str], cwd: str | None, env: dict[str, str]) -> None:
    os.setsid()
    group.send(os.getpgrp())
    os.environ.clear()
    os.environ.update(env)
    if cwd:
        os.chdir(cwd)
    kernelapp.launch_new_instance(argv=command[command.index("-f") :])


class WarmKernel:
    """What `jupyter_client.launcher.launch_kernel` returns: a process as Popen knows it."""

    stdin = stdout = stderr = None

    def __init__(
        self,
        command: list[str],
        cwd: str | None = None,
        env: dict[str, str] = os.environ,
        **_: Any,
    ) -> None:
        fork = multiprocessing.get_context("forkserver")
        fork.set_forkserver_preload(list(_IMPORTED))
        mine, theirs = fork.Pipe()
        self._process = fork.Process(target=_run, args=(theirs, command, cwd, env))
        self._process.start()
        # Who stops a kernel stops its group: that must no longer be our own.
        self.pid = mine.recv()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self.poll()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

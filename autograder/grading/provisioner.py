"""Start a Jupyter kernel in the sandbox: a kernel provisioner of jupyter_client."""

import asyncio
import contextlib
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.provisioning import LocalProvisioner
from traitlets import Integer

from autograder.grading.sandbox import (
    KERNEL,
    NOBODY,
    SCRATCH,
    Limits,
    outside,
    read_child,
    sandboxed,
)
from autograder.grading.seccomp import seccomp_filter
from autograder.grading.watch import Watch

_START_SECONDS = 60
_MESSAGE_LIMIT = 16_000_000
_MESSAGES_WAITING = 64
_CONNECTION_FILE = f"{SCRATCH}/{KERNEL}/connection.json"

_SYSTEM_FILES = {
    "/etc/hosts": "127.0.0.1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\nhosts: files\n",
    "/etc/passwd": f"student:x:{NOBODY}:{NOBODY}:student:{SCRATCH}/home:/bin/sh\n",
}


class SandboxProvisioner(LocalProvisioner):
    """Runs ipykernel in bubblewrap and talks to it through sockets in its scratch folder.

    The grader reaches the folder through /proc: nothing of the machine can be written to.
    """

    memory = Integer(3_000_000_000, help="Bytes of memory, of all processes together.").tag(
        config=True
    )
    files = Integer(
        256_000_000, help="Bytes of files, and as many again of shared memory, in memory."
    ).tag(config=True)
    processes = Integer(256, help="Processes and threads.").tag(config=True)
    cpu_seconds = Integer(600, help="Seconds of CPU time of one process.").tag(config=True)

    child: int | None = None
    """The first process in the sandbox, as the machine numbers it."""

    ended_because = ""
    """Why the sandbox was ended from outside, if it was."""

    complaints = ""
    """What bubblewrap, and a kernel that did not start, had to say; known when it has ended."""

    watch: Watch | None = None
    """What looks at the processes in the sandbox while there are any."""

    _messages: int = -1
    _sockets: contextlib.ExitStack | None = None

    @property
    def scratch(self) -> Path:
        """The scratch folder as the grader sees it."""
        return outside(self.child)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Write the connection file as the kernel reads it, and prepare bubblewrap's command."""
        manager = self.parent
        manager.transport = "ipc"
        manager.ip = f"{SCRATCH}/{KERNEL}/socket"
        # A kernel sends what its student wants: bound what one message, and a queue, may hold.
        manager.context.setsockopt(zmq.MAXMSGSIZE, _MESSAGE_LIMIT)
        manager.context.setsockopt(zmq.RCVHWM, _MESSAGES_WAITING)
        return await super().pre_launch(**kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        """Start the kernel. Raises SandboxError if there is no sandbox, or it does not start."""
        connection = {**self.connection_info, "key": self.connection_info["key"].decode()}
        cmd = [_CONNECTION_FILE if part == self.parent.connection_file else part for part in cmd]
        info, report = os.pipe()
        texts = {_CONNECTION_FILE: json.dumps(connection)} | _SYSTEM_FILES
        files = {path: _pipe_with(text.encode()) for path, text in texts.items()}
        seccomp = _pipe_with(seccomp_filter())
        more = ["--info-fd", str(report), "--seccomp", str(seccomp)]
        for path, descriptor in files.items():
            more += ["--perms", "0444", "--ro-bind-data", str(descriptor), path]
        limits = Limits(self.memory, self.files, self.processes, self.cpu_seconds)
        command = sandboxed(cmd, limits, *more)
        # A pipe that nobody empties: it cannot grow.
        self._messages, messages = os.pipe()
        kwargs |= {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.DEVNULL,
            "stderr": messages,
            "pass_fds": (report, seccomp, *files.values()),
            "cwd": "/",
            "env": {},
        }
        try:
            await super().launch_kernel(command, **kwargs)
        finally:
            for descriptor in (report, seccomp, messages, *files.values()):
                os.close(descriptor)
        self.child = read_child(info)
        self.ended_because = ""
        self.watch = Watch(self.child, self.memory, self.end)
        self.watch.start()
        self._sockets = contextlib.ExitStack()
        self.connection_info["ip"] = await self._hold_sockets()
        return self.connection_info

    async def _hold_sockets(self) -> str:
        """Hold the kernel's sockets open, and make a path to each; returns what the paths share.

        A student's code can put links to other sockets in their place, but not into what is held.
        """
        ports = [port for name, port in self.connection_info.items() if name.endswith("_port")]
        folder = self._sockets.enter_context(tempfile.TemporaryDirectory())
        flags = os.O_PATH | os.O_NOFOLLOW
        end = time.monotonic() + _START_SECONDS
        for port in ports:
            path = self.scratch / KERNEL / f"socket-{port}"
            while not path.exists() and await self.poll() is None and time.monotonic() < end:
                await asyncio.sleep(0.01)
            with contextlib.suppress(FileNotFoundError):
                held = os.open(path, flags)
                self._sockets.callback(os.close, held)
                os.symlink(f"/proc/self/fd/{held}", f"{folder}/socket-{port}")
        # The path of a socket may have 107 bytes, and that of the folder may be long.
        held = os.open(folder, os.O_PATH)
        self._sockets.callback(os.close, held)
        return f"/proc/self/fd/{held}/socket"

    def end(self, reason: str) -> None:
        """End every process in the sandbox, because of `reason`."""
        self.ended_because = reason
        if process := self.process:
            process.kill()

    async def cleanup(self, restart: bool = False) -> None:
        """Stop watching."""
        if self.watch:
            self.watch.stop()
            self.watch = None
            os.set_blocking(self._messages, False)
            with contextlib.suppress(BlockingIOError):
                self.complaints = os.read(self._messages, 2000).decode(errors="replace").strip()
            os.close(self._messages)
        if self._sockets:
            self._sockets.close()
            self._sockets = None
        await super().cleanup(restart)


def _pipe_with(data: bytes) -> int:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as file:
        file.write(data)
    return reader

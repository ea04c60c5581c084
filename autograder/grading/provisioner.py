"""Start a Jupyter kernel in the sandbox: a kernel provisioner of jupyter_client."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.provisioning import LocalProvisioner
from traitlets import Integer

from autograder.grading.own_cgroup import OwnCgroup
from autograder.grading.run_folder import run_folder
from autograder.grading.sandbox import KERNEL, SCRATCH, Limits, outside, read_child, sandboxed
from autograder.grading.watch import SandboxedProcesses, Watch

_START_SECONDS = 60
_MESSAGE_LIMIT = 16_000_000
_MESSAGES_WAITING = 64
_CONNECTION_FILE = f"{SCRATCH}/{KERNEL}/connection.json"


class SandboxProvisioner(LocalProvisioner):
    """Runs ipykernel in bubblewrap and talks to it through sockets in its scratch folder.

    The grader reaches the folder through /proc: nothing of the machine can be written to.
    """

    memory = Integer(3_000_000_000, help="Bytes of memory, of all processes together.").tag(
        config=True
    )
    files = Integer(
        256_000_000, help="Bytes of files in each folder that can be written to; all in memory."
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

    _held: contextlib.ExitStack | None = None
    """What is closed when the sandbox has ended."""

    @property
    def scratch(self) -> Path:
        """The scratch folder as the grader sees it."""
        return outside(self.child) / SCRATCH[1:]

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
        limits = Limits(self.memory, self.files, self.processes, self.cpu_seconds)
        self.ended_because = ""
        with contextlib.ExitStack() as stack:
            # A pipe that nobody empties: it cannot grow.
            self._messages, messages = os.pipe()
            stack.callback(os.close, self._messages)
            info, report = os.pipe()
            wait, go = os.pipe()
            with sandboxed(cmd, limits, {_CONNECTION_FILE: json.dumps(connection)}) as prepared:
                command, descriptors = prepared
                command[1:1] = ["--info-fd", str(report), "--block-fd", str(wait)]
                kwargs |= {
                    "stdin": subprocess.DEVNULL,
                    "stdout": subprocess.DEVNULL,
                    "stderr": messages,
                    "pass_fds": (report, wait, *descriptors),
                    "cwd": "/",
                    "env": {},
                }
                try:
                    await super().launch_kernel(command, **kwargs)
                finally:
                    for descriptor in (report, wait, messages):
                        os.close(descriptor)
            with os.fdopen(go, "wb", buffering=0) as start, contextlib.suppress(BrokenPipeError):
                self.child = read_child(info)
                self._first = os.pidfd_open(self.child)
                stack.callback(os.close, self._first)
                cgroup = _own_cgroup(self.child)
                if cgroup:
                    stack.callback(cgroup.remove)
                start.write(b"1")
            self.connection_info["ip"] = await self._hold_sockets(stack)
            # Nothing of a student's has run until here.
            processes = SandboxedProcesses(self.child)
            # The kernel's limit does not count bubblewrap's own process.
            self.watch = Watch(processes, self.memory, self.processes + 1, self.end, cgroup)
            self.watch.start()
            self._held = stack.pop_all()
        return self.connection_info

    async def _hold_sockets(self, stack: contextlib.ExitStack) -> str:
        """Hold the kernel's sockets open, and make a path to each; returns what the paths share.

        A student's code can put links to other sockets in their place, but not into what is held.
        """
        ports = [port for name, port in self.connection_info.items() if name.endswith("_port")]
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=run_folder()))
        flags = os.O_PATH | os.O_NOFOLLOW
        end = time.monotonic() + _START_SECONDS
        for port in ports:
            path = self.scratch / KERNEL / f"socket-{port}"
            while not path.exists() and await self.poll() is None and time.monotonic() < end:
                await asyncio.sleep(0.01)
            with contextlib.suppress(FileNotFoundError):
                held = os.open(path, flags)
                stack.callback(os.close, held)
                os.symlink(f"/proc/self/fd/{held}", f"{folder}/socket-{port}")
        # The path of a socket may have 107 bytes, and that of the folder may be long.
        held = os.open(folder, os.O_PATH)
        stack.callback(os.close, held)
        return f"/proc/self/fd/{held}/socket"

    def end(self, reason: str) -> None:
        """End every process in the sandbox, because of `reason`."""
        self.ended_because = reason
        self._end_first()

    async def kill(self, restart: bool = False) -> None:
        """End every process in the sandbox."""
        self._end_first()
        await super().kill(restart)

    def _end_first(self) -> None:
        # When the first process of its namespace ends, so do all others.
        with contextlib.suppress(ProcessLookupError):
            if self._held:
                signal.pidfd_send_signal(self._first, signal.SIGKILL)

    async def cleanup(self, restart: bool = False) -> None:
        """Stop watching."""
        if self._held:
            self.watch.stop()
            self.watch = None
            os.set_blocking(self._messages, False)
            with contextlib.suppress(BlockingIOError):
                self.complaints = os.read(self._messages, 2000).decode(errors="replace").strip()
            held, self._held = self._held, None
            held.close()
        await super().cleanup(restart)


def _own_cgroup(process: int) -> OwnCgroup | None:
    """A control group for a process that has not begun; None where we may not have one."""
    try:
        cgroup = OwnCgroup()
    except OSError:
        return None
    try:
        cgroup.take(process)
    except OSError:
        cgroup.remove()
        return None
    return cgroup

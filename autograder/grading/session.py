"""One kernel for a student's code: start it, run cells, ask its functions, end it.

Whatever its processes send, a clock in a thread of its own ends them: no message holds it up.
"""

import builtins
import json
import math
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import psutil
import zmq.asyncio
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output
from nbgrader.preprocessors import Execute

from autograder.grading.bounded import Answered
from autograder.grading.provisioner import SandboxProvisioner
from autograder.grading.run_folder import run_folder
from autograder.grading.sandbox import EXCHANGE, SCRATCH, WORK
from autograder.grading.scratch import Scratch, ScratchError
from autograder.grading.verdict import NoAnswerError
from autograder.grading.watch import Processes, Watch
from autograder.respond import call

_KERNELS = Path(__file__).parent / "kernels"
_ENDED = "The Python process ended while your function ran: your code ended it."

_START_SECONDS = 120
_OUTPUT_SECONDS = 10
"""What a kernel that was interrupted, or has answered, has for the rest of its messages."""

_GRACE_SECONDS = _OUTPUT_SECONDS + 5

_SEND_SECONDS = 5
"""What sending to a kernel may take, which can have spoilt or filled the connection."""

_MESSAGE_LIMIT = 150_000_000
_WAITING_LIMIT = 900_000_000
"""Bytes by which the grader may grow while it waits: messages, and what is made of them."""

_TINY = 1_000
"""What a message counts at least: many that are empty are as much work."""

_ENOUGH = 10
"""How many times what may be shown a process may send before it is ended."""


def _bounded(context: zmq.Context) -> zmq.Context:
    context.setsockopt(zmq.SNDTIMEO, 1000 * _SEND_SECONDS)
    context.setsockopt(zmq.MAXMSGSIZE, _MESSAGE_LIMIT)
    return context


def kernel_specs() -> KernelSpecManager:
    """The kernels that are known: the course's sandboxed one, and Jupyter's."""
    known = KernelSpecManager()
    known.kernel_dirs.insert(0, str(_KERNELS))
    return known


class _Client(AsyncKernelClient):
    """Opens the two channels that are read, and no others that a kernel could fill."""

    def _context_default(self) -> zmq.asyncio.Context:
        return _bounded(super()._context_default())

    def start_channels(self, *_: Any, **__: Any) -> None:
        """Start the channels."""
        super().start_channels(stdin=False, hb=False, control=False)


class _Clock(threading.Thread):
    """Calls `end` when the seconds are over, or what was sent takes the grader's own memory.

    A flood of messages keeps the event loop busy, and with it every time-out in it.
    """

    def __init__(self, seconds: float, end: Callable[[str], None], reason: str) -> None:
        super().__init__(daemon=True, name="clock")
        self._end, self._reason = end, reason
        self._over = time.monotonic() + seconds
        self._most = _memory() + _WAITING_LIMIT
        self._stopped = threading.Event()
        self.rang = False

    def run(self) -> None:
        """Look at the time until `stop` is called."""
        while not self._stopped.wait(0.05):
            if time.monotonic() > self._over:
                self.rang = True
                return self._end(self._reason)
            if _memory() > self._most:
                return self._end("it sent more at a time than can be read")
        return None

    def stop(self) -> None:
        """Stop, for good."""
        self._stopped.set()
        self.join()


class Session(Execute):
    """A kernel in a sandbox of its own, in which nothing has run.

    settings: an Execute whose settings hold here as well, with those of ExecuteAndJudge.
    Raises RuntimeError if the kernel cannot be started.
    """

    def __init__(self, settings: Execute) -> None:
        shared = {name: getattr(settings, name) for name in Execute.class_trait_names(config=True)}
        super().__init__(parent=settings, **shared)
        self.iopub_timeout = _OUTPUT_SECONDS
        self._sent = 0
        self._folder: tempfile.TemporaryDirectory | None = None
        self._scratch: Scratch | None = None
        try:
            self._start()
        except BaseException:
            self.end()
            raise

    def _start(self) -> None:
        cwd = None
        if self.parent.without_sandbox:
            self.kernel_name = "python3"
            self._folder = tempfile.TemporaryDirectory(dir=run_folder())
            here = Path(self._folder.name)
            for name in (WORK, EXCHANGE):
                (here / name).mkdir()
            cwd = str(here / WORK)
        self.km = self.create_kernel_manager()
        clock = _Clock(_START_SECONDS, self._kill, "it did not start")
        clock.start()
        try:
            self.start_new_kernel(cwd=cwd)
            provisioner = self.km.provisioner
            try:
                self.start_new_kernel_client()
            except RuntimeError as error:
                said = getattr(provisioner, "complaints", "")
                raise RuntimeError(f"The kernel could not be started: {error} {said}") from None
        finally:
            clock.stop()
        if self.parent.without_sandbox:
            self._scratch = Scratch(here, str(here))
            processes = Processes(provisioner.process.pid)
            self._watch = Watch(processes, math.inf, math.inf, self.log.warning)
            self._watch.start()
        else:
            self._scratch, self._watch = Scratch(provisioner.scratch, SCRATCH), provisioner.watch

    def create_kernel_manager(self) -> KernelManager:
        """A manager that knows the course's sandboxed kernel, and for no other than that."""
        manager = super().create_kernel_manager()
        manager.connection_file = str(run_folder() / f"{secrets.token_hex(8)}.json")
        manager.client_factory = _Client
        _bounded(manager.context)
        manager.kernel_spec_manager = kernel_specs()
        return manager

    @property
    def ended(self) -> bool:
        """Whether `end` was called, or the kernel was of no more use."""
        return self.km is None

    @property
    def why(self) -> str:
        """Why the kernel was ended from outside, if it was; for the student."""
        reason = getattr(self.km and self.km.provisioner, "ended_because", "")
        return f"The Python process was ended: {reason}." if reason else ""

    def end(self) -> None:
        """End the kernel, and remove what it left."""
        if self.km is not None:
            # Dead before it is shut down: that would interrupt it first, and it may not listen.
            self._kill("it is over")
            if self.km.has_kernel:
                self.km.provisioner.process.wait(_START_SECONDS)
            self._cleanup_kernel()
            self.km = None
        if self._scratch:
            self._watch.stop()
            self._scratch.close()
            self._scratch = None
        if self._folder:
            self._folder.cleanup()
            self._folder = None

    def _kill(self, reason: str) -> None:
        """End every process that can be found, from any thread."""
        provisioner = self.km and self.km.provisioner
        if isinstance(provisioner, SandboxProvisioner):
            provisioner.end(reason)
        elif provisioner and provisioner.process:
            provisioner.ended_because = reason
            with suppress(psutil.NoSuchProcess):
                kernel = psutil.Process(provisioner.process.pid)
                for process in (*kernel.children(recursive=True), kernel):
                    process.kill()

    def copy_in(self, folders: Iterable[Path]) -> None:
        """Put the files that lie beside a notebook where it runs."""
        for folder in folders:
            try:
                self._scratch.copy_in(folder)
            except OSError as error:
                self.log.warning("The notebook runs without the files beside it: %s", error)

    def put(self, data: bytes, suffix: str = "") -> str:
        """Make a file; returns where the student's process finds it. Raises NoAnswerError."""
        name = secrets.token_hex(8) + suffix
        try:
            self._scratch.write(name, data)
        except ScratchError as error:
            raise NoAnswerError(f"Your function gave no answer ({error}).") from None
        return self._scratch.path_there(name)

    def run(self, notebook: NotebookNode, index: int, seconds: float) -> None:
        """Run a cell, in `seconds` or its time-out if that is less.

        Raises whatever a process can bring about that sends what it wants: the kernel is then of
        no more use.
        """
        self._run(notebook, index, int(min(self.timeout or seconds, seconds)), store_history=True)

    def remember(self, exercise: str, seconds: float) -> None:
        """Keep what is defined where an exercise is checked. Raises as `run`."""
        cell = new_code_cell(call("remember", repr(exercise), "globals()"))
        self._run(new_notebook(cells=[cell]), 0, int(seconds), store_history=False)

    def ask(self, exercise: str, namespace: str, cases: bytes) -> Answered:
        """What the student's function, in an expression for its namespace, answers to cases.

        Raises NoAnswerError; the kernel may have ended then.
        """
        answered = secrets.token_hex(8)
        places = self.put(cases), self._scratch.path_there(answered)
        cell = new_code_cell(call("respond", repr(exercise), namespace, *map(repr, places)))
        self.reset_execution_trackers()
        self._sent = 0
        before, start = self._watch.cpu_seconds(), time.monotonic()
        try:
            # In a notebook of its own: the process may send messages about cells that have run.
            alone = new_notebook(cells=[cell])
            self._run(alone, 0, self.parent.exercise_seconds, store_history=False)
            used, took = self._watch.cpu_seconds() - before, time.monotonic() - start
            data = self._scratch.read(answered, self.parent.answer_bytes)
        except CellTimeoutError:
            self.end()
            raise NoAnswerError(self._too_long()) from None
        except ScratchError as error:
            raise NoAnswerError(self._without_answer(cell, error)) from None
        except Exception as error:
            self.log.warning("%s took its kernel down: %r", exercise, error)
            reason = self.why or _ENDED
            self.end()
            raise NoAnswerError(reason) from None
        return Answered(data, used, took)

    def _run(self, notebook: NotebookNode, index: int, seconds: int, **how: bool) -> None:
        self.nb = notebook
        self.timeout_func = lambda cell: seconds
        late = f"it took longer than {seconds} seconds"
        clock = _Clock(seconds + _GRACE_SECONDS, self._kill, late)
        clock.start()
        try:
            self.execute_cell(notebook.cells[index], index, **how)
        except Exception:
            if not clock.rang:
                raise
        finally:
            clock.stop()
        if clock.rang:
            raise CellTimeoutError(late)
        if self.why:
            raise DeadKernelError(self.why)

    def process_message(
        self, msg: dict[str, Any], cell: NotebookNode, cell_index: int
    ) -> NotebookNode | None:
        """Take what a cell shows; too much is left out, and what never stops is ended."""
        limit = self.parent.output_bytes
        self._sent += max(_TINY, len(str(msg["content"])))
        if self._sent <= limit or msg["msg_type"] == "status":
            return super().process_message(msg, cell, cell_index)
        if self._sent > _ENOUGH * limit:
            self._kill(f"it printed more than {_ENOUGH * limit / 1e6:g} MB")
        cut = f"[left out: a notebook may show {limit / 1e6:g} MB. It is graded all the same.]\n"
        if not cell.outputs or cell.outputs[-1].get("text") != cut:
            cell.outputs.append(new_output("stream", name="stdout", text=cut))
        return None

    def _too_long(self) -> str:
        return (
            f"Your function took longer than {self.parent.exercise_seconds} seconds and was "
            "stopped. Is there an endless loop in it, or one that is much too slow?"
        )

    def _without_answer(self, cell: NotebookNode, error: Exception) -> str:
        raised = [output.ename for output in cell.outputs if output.output_type == "error"]
        if CellTimeoutError.__name__ in raised:
            return self._too_long()
        # Its message is not shown: it may be about a secret input.
        known = next((name for name in raised if hasattr(builtins, str(name))), "")
        return f"Your function gave no answer ({known or error})."


def _memory() -> int:
    """Bytes of memory that this process holds."""
    return psutil.Process().memory_info().rss


def sound(output: NotebookNode) -> NotebookNode:
    """An output as it is, if it can be written to a notebook."""
    try:
        nbformat.validate(output, ref="output", version=4)
        json.dumps(output, ensure_ascii=False).encode()
    except Exception:
        return new_output("stream", name="stdout", text="[an output that cannot be shown]\n")
    return output

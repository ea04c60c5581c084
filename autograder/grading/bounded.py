"""The judge in a process of its own, which ends where an answer takes it too long or too much.

It is warm, judges one exercise after the other, and is started anew when it was ended. What it asks
of the student's code is passed on as bytes; its clock stands still meanwhile.
"""

import atexit
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from autograder.exercise import Exercise
from autograder.grading.verdict import NoAnswerError, no_answer
from autograder.report import Report


@dataclass(frozen=True)
class Answered:
    """What a student's process answered, which may be any bytes, and what that took."""

    data: bytes
    cpu_seconds: float
    seconds: float


AskInBytes = Callable[[str, bytes], Answered]
"""Runs the code that was found in the cells on packed cases. Raises NoAnswerError."""

_START_SECONDS = 120
_TOO_MUCH = (
    "What your function returned could not be judged in the time and memory that there are for it. "
    "Its shape or size is far from what was asked for."
)


class Judge:
    """Decides what exercises earn, in a process that may hold `memory` bytes."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._process: subprocess.Popen | None = None
        self._worker: Connection
        self._ready = False

    def start(self) -> None:
        """Start the process, unless it runs; it is not waited for."""
        if self._process and self._process.poll() is None:
            return
        self.close()
        self._worker, theirs = Pipe()
        command = [sys.executable, "-P", "-m", "autograder.grading.judging"]
        command += [str(theirs.fileno()), str(self._memory)]
        self._process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        theirs.close()
        self._ready = False

    def close(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._worker.close()
            self._process = None

    def decide(
        self, exercise: Exercise, seed: int, cells: Sequence[str], ask: AskInBytes, seconds: float
    ) -> Report:
        """What `verdict.decide` says, or a report of 0 points if it takes more than `seconds`.

        cells: the texts of the student's cells. Raises what it raises, but NoAnswerError.
        """
        self.start()
        try:
            if not self._ready:
                self._receive(_START_SECONDS)
                self._ready = True
            self._worker.send((exercise.name, seed, cells))
            while True:
                start = time.monotonic()
                said = self._receive(seconds)
                seconds -= time.monotonic() - start
                if not isinstance(said, tuple):
                    break
                try:
                    self._worker.send(ask(*said))
                except NoAnswerError as error:
                    self._worker.send(error)
        except (EOFError, ConnectionError, TimeoutError):
            self.close()
            return no_answer(exercise, _TOO_MUCH)
        except BaseException:
            self.close()  # in the middle of a question
            raise
        if isinstance(said, Exception):
            raise said
        return said

    def _receive(self, seconds: float) -> Any:
        if seconds <= 0 or not self._worker.poll(seconds):
            raise TimeoutError
        return self._worker.recv()


@cache
def shared_judge(memory: int) -> Judge:
    """The judge of this process, which is starting or has started."""
    judge = Judge(memory)
    judge.start()
    atexit.register(judge.close)
    return judge

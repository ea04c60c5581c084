"""What runs in the judge's own process: `python -m autograder.grading.judging CONNECTION MEMORY`.

The grader names an exercise and a seed, and gets a report, or an exception that is the course's
fault. In between it is asked to have the student's code run.
"""

import ctypes
import resource
import signal
import sys
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Connection

from autograder.exercise import AnswerError, Case, Exercise, Raised
from autograder.exercises import all_exercises
from autograder.grading.kinds import KINDS
from autograder.grading.verdict import NoAnswerError, Returned, decide, no_answer
from autograder.report import Report
from autograder.transfer import MalformedError, pack_cases, unpack_answers

_PR_SET_PDEATHSIG = 1


def _serve(grader: Connection) -> None:
    """Judge what the grader names, until it has ended."""
    while True:
        try:
            name, seed, cells = grader.recv()
        except EOFError:
            return
        try:
            grader.send(_report(grader, all_exercises()[name], seed, cells))
        except MemoryError:
            raise
        except Exception as error:
            grader.send(error)


def _report(grader: Connection, exercise: Exercise, seed: int, cells: Sequence[str]) -> Report:
    try:
        ask = partial(_ask, grader, KINDS[exercise.kind].code(exercise, cells))
    except (AnswerError, NotImplementedError) as error:
        ask = partial(_all_raise, Raised(type(error).__name__, str(error)))
    try:
        return decide(exercise, seed, ask)
    except NoAnswerError as error:
        return no_answer(exercise, str(error))


def _ask(grader: Connection, code: str, cases: dict[str, Case]) -> Returned:
    grader.send((code, pack_cases(cases)))
    answered = grader.recv()
    if isinstance(answered, NoAnswerError):
        raise answered
    try:
        answers, printed = unpack_answers(answered.data)
    except MalformedError as error:
        raise NoAnswerError(f"Your function gave no answer ({error}).") from None
    return Returned(answers, printed, answered.cpu_seconds, answered.seconds)


def _all_raise(raised: Raised, cases: dict[str, Case]) -> Returned:
    return Returned(dict.fromkeys(cases, raised), "", cpu_seconds=0.0, seconds=0.0)


if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[2]),) * 2)
    connection = Connection(int(sys.argv[1]))
    connection.send(True)
    _serve(connection)

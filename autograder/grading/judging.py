"""What runs in the judge's own process: `python -m autograder.grading.judging CONNECTION MEMORY`.

The grader names an exercise and a seed, and gets a report, or an exception that is the course's
fault. In between it is asked to have the student's code run.
"""

import ctypes
import resource
import signal
import sys
from functools import partial
from multiprocessing.connection import Connection

from autograder.exercise import Inputs, Raised
from autograder.exercises import all_exercises
from autograder.grading.verdict import NoAnswerError, Returned, decide, no_answer
from autograder.transfer import MalformedError, pack_cases, unpack_answers

_PR_SET_PDEATHSIG = 1


def _ask(grader: Connection, cases: dict[str, Inputs]) -> Returned:
    grader.send(pack_cases(cases))
    answered = grader.recv()
    if isinstance(answered, NoAnswerError):
        raise answered
    if isinstance(answered, Raised):
        return Returned(dict.fromkeys(cases, answered), "", cpu_seconds=0.0, seconds=0.0)
    try:
        answers, printed = unpack_answers(answered.data)
    except MalformedError as error:
        raise NoAnswerError(f"Your function gave no answer ({error}).") from None
    return Returned(answers, printed, answered.cpu_seconds, answered.seconds)


def _serve(grader: Connection) -> None:
    """Judge what the grader names, until it has ended."""
    while True:
        try:
            name, seed = grader.recv()
        except EOFError:
            return
        exercise = all_exercises()[name]
        try:
            said = decide(exercise, seed, partial(_ask, grader))
        except NoAnswerError as error:
            said = no_answer(exercise, str(error))
        except MemoryError:
            raise
        except Exception as error:
            said = error
        grader.send(said)


if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[2]),) * 2)
    connection = Connection(int(sys.argv[1]))
    connection.send(True)
    _serve(connection)

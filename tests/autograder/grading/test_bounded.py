"""The judge in a process of its own: what it says, and what ends it."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
import torch

import solutions.linear_attention as solutions
from autograder.exercises import exercises_of
from autograder.grading.bounded import Answered, Judge
from autograder.grading.verdict import NoAnswerError
from autograder.probes import run_probe
from autograder.transfer import pack_answers, unpack_cases

ELU = exercises_of("linear_attention")["elu_feature_map"]
KERNEL = next(e for e in exercises_of("hardware_aware_attention").values() if e.kind == "kernel")
SEED = 20240607
MEMORY = 1_000_000_000


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    judge = Judge(MEMORY)
    yield judge
    judge.close()


def answering(function: Callable) -> Callable[[str, bytes], Answered]:
    def ask(code: str, cases: bytes) -> Answered:
        answers = run_probe(ELU, function, unpack_cases(cases))
        return Answered(pack_answers(*answers), cpu_seconds=0.1, seconds=0.1)

    return ask


def right_with(judge: Judge) -> bool:
    report = judge.decide(ELU, SEED, [], answering(solutions.elu_feature_map), seconds=60)
    return report.points == ELU.points


def workers() -> list[psutil.Process]:
    """Judges' processes, but that of a grader that other tests may have used."""
    found = [p for p in psutil.Process().children() if "autograder.grading.judging" in p.cmdline()]
    return [p for p in found if str(MEMORY) in p.cmdline()]


def test_it_decides_as_a_judge_in_this_process_would_and_stays_warm(judge):
    assert right_with(judge)
    (process,) = workers()
    report = judge.decide(ELU, SEED, [], answering(torch.exp), seconds=60)
    assert 0 < report.points < ELU.points
    assert workers() == [process]


def too_large(code: str, cases: bytes) -> Answered:
    answer = {"output": torch.ones(MEMORY // 4)}
    return Answered(pack_answers(dict.fromkeys(["short"], answer), ""), 0.1, 0.1)


def is_no_answer(code: str, cases: bytes) -> Answered:
    return Answered(b"\xff" * 100, 0.1, 0.1)


def has_none(code: str, cases: bytes) -> Answered:
    raise NoAnswerError("The process ended.")


@pytest.mark.parametrize(
    ("ask", "seconds", "reason"),
    [
        (too_large, 60, "could not be judged in the time and memory"),
        (answering(solutions.elu_feature_map), 0, "could not be judged in the time and memory"),
        (is_no_answer, 60, "gave no answer"),
        (has_none, 60, "The process ended."),
    ],
    ids=["too much memory", "too long", "no answer", "nobody to ask"],
)
def test_what_cannot_be_judged_is_0_with_a_reason_and_the_next_is_judged(
    judge, ask, seconds, reason
):
    report = judge.decide(ELU, SEED, [], ask, seconds)
    assert (report.points, report.max_points) == (0, ELU.points)
    assert reason in report.to_html()
    assert right_with(judge)
    assert len(workers()) == 1


def test_where_asking_fails_the_next_question_is_not_taken_for_the_answer(judge):
    def fails(code: str, cases: bytes) -> Answered:
        raise RuntimeError("the kernel cannot be started")

    with pytest.raises(RuntimeError, match="cannot be started"):
        judge.decide(ELU, SEED, [], fails, seconds=60)
    assert right_with(judge)


def test_a_cell_that_is_read_for_ever_is_not_read_in_this_process(judge):
    magics = "!true\n" * 400 + "@triton.jit\n" + "x = 1\n" * 400_000
    report = judge.decide(KERNEL, SEED, [magics], has_none, seconds=1)
    assert "could not be judged in the time" in report.note


def test_it_ends_with_the_process_that_started_it():
    start = (
        "import os, signal\nfrom autograder.grading.bounded import Judge\n"
        f"judge = Judge({MEMORY})\njudge.start()\njudge._receive(60)\n"
        "print(judge._process.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    said = subprocess.run([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True).stdout
    end = time.monotonic() + 20
    while psutil.pid_exists(int(said)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not psutil.pid_exists(int(said))

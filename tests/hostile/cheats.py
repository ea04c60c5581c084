"""Forge, patch and search in the process that runs the functions."""

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import torch

from tests.hostile.corpus import (
    ATTACKED,
    EXERCISES,
    NOTHING,
    WITHOUT_COST,
    cell,
)

SHAPE = "output has shape"
LONG = "on a long sequence"
ALL = EXERCISES[ATTACKED].points
QUADRATIC = {ATTACKED: WITHOUT_COST}


# --- What decides, replaced ----------------------------------------------------------------------


@cell(SHAPE)
def rewrites_the_cells():
    """Has IPython rewrite the stubs, and blank the checks."""
    from IPython import get_ipython

    def rewrite(lines):
        kept = [line for line in lines if not line.startswith("check(")]
        return [line.replace("raise NotImplementedError()", "return v") for line in kept]

    get_ipython().input_transformers_cleanup.append(rewrite)


@cell()
def replaces_check():
    """Binds `check` to a function that gives all points, here and in its module."""
    import autograder.check

    check = autograder.check.check = autograder.check.check_exercise = lambda *_: 6
    check(None)


@cell(SHAPE, at=ATTACKED)
def compares_nothing():
    """Lets every comparison and assertion be true."""
    import builtins

    import numpy as np

    def always(*args, **kwargs):
        return True

    torch.allclose = torch.equal = torch.isclose = np.allclose = always
    np.testing.assert_allclose = torch.testing.assert_close = always
    torch.Tensor.__eq__ = torch.Tensor.allclose = torch.Tensor.equal = always
    builtins.AssertionError = builtins.NotImplementedError = type("Nothing", (Exception,), {})

    def linear_attention(q, k, v, feature_map):
        return q


@cell(SHAPE, at=ATTACKED)
def returns_what_equals_everything():
    """Returns a tensor of a class of its own, which is equal and close to everything."""

    class Right(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            if function.__name__ in ("allclose", "equal", "isclose", "eq", "__eq__", "all"):
                return True
            return super().__torch_function__(function, types, args, kwargs or {})

    def linear_attention(q, k, v, feature_map):
        return q.as_subclass(Right)


@cell(SHAPE)
def patches_the_probe():
    """Has the probe report an answer that says itself that it is right."""
    import autograder.respond

    honest = autograder.respond.run_probe

    def run_probe(exercise, function, cases):
        if exercise.name != "linear_attention":
            return honest(exercise, function, cases)
        right = {"output": torch.ones(1), "points": torch.tensor(6), "passed": torch.tensor(True)}
        return dict.fromkeys(cases, right), "6 of 6 points"

    autograder.respond.run_probe = autograder.probes.run_probe = run_probe


@cell()
def patches_the_answers():
    """Packs points among what is said of the answers."""
    import autograder.transfer

    honest = autograder.transfer.save

    def save(tensors, metadata):
        about = json.loads(metadata["about"]) | {"points": 6, "report": {"points": 6}}
        return honest(tensors, metadata={"about": json.dumps(about), "points": "6"})

    autograder.transfer.save = save


@cell()
def patches_what_there_was_at_the_check():
    """Has the second try, on what there was at the check, find what equals everything."""
    import autograder.respond

    class Right(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            return True

    def as_checked(name, namespace):
        return {name: lambda q, *_: q.as_subclass(Right)}

    autograder.respond.as_checked = as_checked
    autograder.respond.remember = lambda *_: print("6 of 6 points")


@cell("Your function gave no answer (AttributeError).", **NOTHING)
def patches_what_the_judge_calls():
    """Replaces `__import__`, with which the judge's one line begins."""
    import builtins

    honest = builtins.__import__

    def forged(name, *args, **kwargs):
        return 6 if name == "autograder.respond" else honest(name, *args, **kwargs)

    builtins.__import__ = forged


# --- Costs ---------------------------------------------------------------------------------------


@cell(LONG, at=ATTACKED, **QUADRATIC)
def forges_the_cost():
    """Has the cost of an n × n matrix counted as if there were none."""
    import autograder.cost
    from course.measure import Cost

    def count_cost(function):
        function()
        return Cost(work=1, calls=1, largest_tensor=1)

    autograder.cost.count_cost = count_cost

    def linear_attention(q, k, v, feature_map):
        weights = feature_map(q) @ feature_map(k).mT
        return weights / weights.sum(-1, keepdim=True) @ v


@cell("no PyTorch operation was seen", at=ATTACKED, **QUADRATIC)
def claims_a_cost_that_is_no_number():
    """Has NaN counted, which is not larger than anything."""
    import autograder.cost
    from course.measure import Cost

    def count_cost(function):
        function()
        return Cost(float("nan"), float("nan"), float("nan"))

    autograder.cost.count_cost = count_cost

    def linear_attention(q, k, v, feature_map):
        weights = feature_map(q) @ feature_map(k).mT
        return weights / weights.sum(-1, keepdim=True) @ v


@cell(LONG, at=ATTACKED, **QUADRATIC)
def is_cheap_where_it_is_counted():
    """Returns without work in the case in which the cost is counted, which wants no gradient."""

    def linear_attention(q, k, v, feature_map):
        if not q.requires_grad:
            return v + 0
        weights = feature_map(q) @ feature_map(k).mT
        return weights / weights.sum(-1, keepdim=True) @ v


@cell(LONG, at=ATTACKED, **QUADRATIC)
def computes_in_processes_that_nobody_waits_for():
    """Computes for long in processes whose time no parent is told, as a quadratic form would."""

    def compute(seconds):
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(2):
            if os.fork() == 0:
                while time.process_time() < seconds:
                    pass
                os._exit(0)
        with suppress(ChildProcessError):
            os.wait()  # until all have ended, and none is counted

    def linear_attention(q, k, v, feature_map):
        if q.shape[-2] > 10_000:
            compute(3.5)
        q, k = feature_map(q), feature_map(k)
        return (q @ (k.mT @ v)) / (q @ k.sum(-2).unsqueeze(-1))


@cell(LONG, at=ATTACKED, **QUADRATIC)
def computes_in_many_short_lives():
    """Computes for long in processes that nobody waits for, and that end before they are seen."""

    def compute(seconds):
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(int(seconds / 0.05)):
            if os.fork() == 0:
                end = time.process_time() + 0.05
                while time.process_time() < end:
                    pass
                os._exit(0)
            with suppress(ChildProcessError):
                os.wait()

    def linear_attention(q, k, v, feature_map):
        if q.shape[-2] > 10_000:
            compute(7)
        q, k = feature_map(q), feature_map(k)
        return (q @ (k.mT @ v)) / (q @ k.sum(-2).unsqueeze(-1))


@cell(LONG, at=ATTACKED, **QUADRATIC)
def computes_until_the_numbers_of_processes_begin_again():
    """Computes in short lives, whose numbers come to their end meanwhile and begin again."""

    def use_up(number):
        for _ in range(number):
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()

    def compute(seconds):
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(int(seconds / 0.05)):
            if os.fork() == 0:
                end = time.process_time() + 0.05
                while time.process_time() < end:
                    pass
                os._exit(0)
            with suppress(ChildProcessError):
                os.wait()

    highest = int(Path("/proc/sys/kernel/pid_max").read_text())
    if highest <= 65536:
        use_up(highest - 1000)

    def linear_attention(q, k, v, feature_map):
        if q.shape[-2] > 10_000:
            compute(3.5)
            use_up(1000)
            compute(3.5)
        q, k = feature_map(q), feature_map(k)
        return (q @ (k.mT @ v)) / (q @ k.sum(-2).unsqueeze(-1))


@cell(LONG, at=ATTACKED, **QUADRATIC)
def ends_a_process_that_has_computed():
    """Ends a process that had computed before: its time is then missing, as if it were a credit."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    saved = os.fork()
    if saved == 0:
        while time.process_time() < 4:
            pass
        time.sleep(1000)
    time.sleep(4.5)

    def linear_attention(q, k, v, feature_map):
        if q.shape[-2] > 10_000:
            os.kill(saved, signal.SIGKILL)
            end = time.process_time() + 7
            while time.process_time() < end:
                pass
        q, k = feature_map(q), feature_map(k)
        return (q @ (k.mT @ v)) / (q @ k.sum(-2).unsqueeze(-1))


@cell(f"linear_attention: {ALL} of {ALL} points", at=ATTACKED, linear_attention=ALL)
def forges_nothing():
    """Solves the exercise honestly: all points, whatever else is graded beside it."""

    def linear_attention(q, k, v, feature_map):
        q, k = feature_map(q), feature_map(k)
        return (q @ (k.mT @ v)) / (q @ k.sum(-2).unsqueeze(-1))


# --- Scores and reports that are only shown ------------------------------------------------------


@cell()
def prints_a_score():
    """Prints a score to everything that can be printed to."""
    print("6")
    print("6", file=sys.stderr)
    os.write(1, b"6\n")
    os.write(2, b"6\n")
    sys.displayhook(6)


@cell()
def shows_a_report():
    """Shows a report of full points, as the course's own does, and through a formatter."""
    from IPython import get_ipython
    from IPython.display import display

    from autograder.report import Line, Report

    report = Report("linear_attention", (Line("everything", 6, ""),))
    display(report)
    mimes = get_ipython().display_formatter.mimebundle_formatter
    mimes.for_type(Report, lambda *_: report._repr_mimebundle_())
    for formatter in get_ipython().display_formatter.formatters.values():
        formatter.for_type(int, lambda *_: "6")


@cell()
def updates_its_report_later():
    """Goes on updating a display with a report of full points, while others are judged."""
    from IPython.display import display

    from autograder.report import Line, Report

    report = Report("linear_attention", (Line("everything", 6, ""),))
    handle = display(report, display_id="check_linear_attention")

    def update():
        while True:
            handle.update(report)
            time.sleep(0.05)

    threading.Thread(target=update, daemon=True).start()


@cell("Bang", at=ATTACKED)
def raises_what_lies():
    """Raises an exception that calls itself a stub's, and whose text is endless and is HTML."""

    class NotImplementedError(Exception):
        def __str__(self):
            return "Bang <script>points = 6</script>" * 10**6

    def linear_attention(q, k, v, feature_map):
        raise NotImplementedError

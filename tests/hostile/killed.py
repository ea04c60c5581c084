"""Grades a class in a process of its own, which can be killed at any moment."""

import subprocess
import sys
import time
from pathlib import Path

import psutil

from autograder.classroom import COURSE_ID, Classroom
from autograder.example_submissions import a_mistake_in_each, mistake_source
from tests.hostile.corpus import ATTACKED, EXERCISES, FILE, NOTEBOOK, TOPIC, write_notebook
from tests.hostile.small_class import hand_in, notebook_with, small_class
from tests.journeys.submissions import WRITTEN


def ungraded_class(folder: Path) -> Classroom:
    """Four collected submissions: solved, half, with a mistake, and a file that is no notebook."""
    classroom = small_class(folder)
    mistake = mistake_source(a_mistake_in_each(TOPIC, [ATTACKED])[ATTACKED])
    solved = notebook_with(classroom, *EXERCISES, **{WRITTEN: "Sums can be regrouped."})
    answers = {
        "ann": solved,
        "bob": notebook_with(classroom, "elu_feature_map", **{WRITTEN: "I do not know."}),
        "cyd": notebook_with(classroom, "elu_feature_map", **{ATTACKED: mistake}),
    }
    for student, notebook in answers.items():
        hand_in(classroom, student, lambda place, _, own=notebook: write_notebook(place, own))
    hand_in(classroom, "dee", lambda place, _: (place / FILE).write_text("{"))
    classroom.collect()
    return classroom


def grade_until(classroom: Classroom, words: str, times: int, seconds: float) -> list[str]:
    """Start `nbgrader autograde`, and kill it when it has said `words` so often, and then waited.

    Returns the command lines of the processes that it started and that live on.
    """
    command = [sys.executable, "-m", "nbgrader", "autograde", NOTEBOOK]
    command += [f"--CourseDirectory.course_id={COURSE_ID}"]
    grader = subprocess.Popen(
        command, cwd=classroom.course, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    said = 0
    for line in grader.stderr:
        said += words in line
        if said == times:
            break
    assert said == times, f"grading ended before it said {words!r} {times} times"
    time.sleep(seconds)
    started = psutil.Process(grader.pid).children(recursive=True)
    grader.kill()
    grader.communicate()
    _, alive = psutil.wait_procs(started, timeout=5)
    return [" ".join(process.cmdline()) for process in alive]

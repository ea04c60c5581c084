"""How nbgrader grades this course: what course/nbgrader_config.py puts into its autograder.

In the order in which a submission meets them:

    exchange.py      collects plain files, and no links
    platforms.py     knows whose the files are that come from Moodle and Canvas
    submission.py    takes the file; what is no notebook is graded as the untouched release
    originals.py     takes the student's answers, and every other graded cell from the gradebook
    execute.py       goes through the notebook, has its exercises judged, writes the reports
    disarm.py        takes out what could act in the browser of whoever reads it

and before all of them, release.py makes a release only where it can be made. What they need:

    reading.py       reads a notebook, whatever its format and its flaws
    restore.py       finds the answers in it, and puts back what is missing
    kinds.py         where the code of an exercise is found, and in which process it is asked
    processes.py     the processes in which a submission runs, one at a time
    session.py       one of them: a kernel that runs cells and answers; a clock ends it
    bounded.py       the judge in a process of its own, which ends when it takes too much
    judging.py       what runs there
    verdict.py       decides what an exercise earns, outside the student's process
    provisioner.py   starts a kernel in the sandbox, for jupyter_client
    sandbox.py       shuts it in: bubblewrap's arguments, and whether it can here
    shown.py         what of this project and of Python is seen in it
    seccomp.py       system calls that it refuses
    watch.py         ends it when it uses too much
    own_cgroup.py    counts its CPU time, where the system lets us
    run_folder.py    where the grader keeps what it writes for a while
    scratch.py       exchanges files with it
    plain_files.py   reads folders that somebody else has filled

and what disarm.py needs:

    writing.py       makes harmless HTML of what a student wrote
    pictures.py      tells which pictures can be shown
"""

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

OUTPUT_BYTES = 20_000_000
"""What a notebook may print and show while it is graded."""

_NOTICE = "> **Note on your submission.** "


def notice(text: str) -> NotebookNode:
    """A Markdown cell that tells the student what was done to the submission."""
    return new_markdown_cell(_NOTICE + text)


def is_notice(cell: NotebookNode) -> bool:
    """Whether a cell is one that `notice` made, or begins as one does."""
    return cell.cell_type == "markdown" and cell.source.startswith(_NOTICE)


def text_of_notice(cell: NotebookNode) -> str:
    """What a notice says, as plain text."""
    return cell.source.removeprefix(_NOTICE).replace("`", "")

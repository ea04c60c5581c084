"""How nbgrader grades this course: what course/nbgrader_config.py puts into its autograder.

In the order in which a submission meets them:

    submission.py   reads the file; what is no notebook is graded as the untouched release
    originals.py    takes the student's answers, and every other graded cell from the gradebook
    execute.py      runs it to its end, whatever a cell does to its kernel
    verdict.py      lets a test cell earn points by a valid report only
"""

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell


def notice(text: str) -> NotebookNode:
    """A Markdown cell that tells the student what was done to the submission."""
    return new_markdown_cell(f"> **Note on your submission.** {text}")

"""nbgrader's settings for the course. Its commands find them when they run in this folder.

The command line has the last word, for example `nbgrader autograde NAME --Execute.timeout=120`.
"""

import os
import sys
from pathlib import Path

c = get_config()
root = Path(__file__).parent

# nbgrader starts `alembic` by its name. It lies beside this Python, activated or not.
beside = str(Path(sys.executable).parent)
search = os.environ.get("PATH", "").split(os.pathsep)
if beside not in search:
    os.environ["PATH"] = os.pathsep.join([beside, *search])

# --- What an instructor may want to change -------------------------------------------------------

# The name of the class in the exchange: one for each term keeps the terms apart.
c.CourseDirectory.course_id = "efficient_transformers"

# Where students, grades and comments are kept: any URL that SQLAlchemy takes.
c.CourseDirectory.db_url = f"sqlite:///{root / 'gradebook.db'}"

# The exchange is nbgrader's own, /usr/local/share/nbgrader/exchange; every student must be able to
# write to it. Another folder:
# c.Exchange.root = "/srv/nbgrader/exchange"
# Students' own settings, such as /etc/jupyter/nbgrader_config.py, need the same course_id and
# root; with c.ExchangeSubmit.strict = True nobody can hand in without the notebook.

# Seconds that one cell may take. A check takes less than 5 on a laptop.
c.Execute.timeout = 60

# --- The folders ---------------------------------------------------------------------------------

# source/NAME and release/NAME; submitted/STUDENT/NAME, autograded/ and feedback/ likewise.
c.CourseDirectory.root = str(root)

# Never copied to students or into what is graded: the Markdown sources, which hold the solutions
# of written questions, and what tools leave behind.
c.CourseDirectory.ignore = [
    "*.md",
    ".ipynb_checkpoints",
    "__pycache__",
    "*.pyc",
    "feedback",
]

# A release and feedback are made anew whenever they are asked for: neither can then be stale. What
# else lies in release/NAME is deleted, but only where the new release can be made. Autograding
# takes new submissions only, or with --force all.
c.GenerateAssignment.force = True
c.GenerateAssignment.exporter_class = "autograder.grading.release.ReleaseExporter"
c.GenerateFeedback.force = True

# One student's folder cannot stop the others: see autograder/grading/exchange.py.
c.ExchangeFactory.collect = "autograder.grading.exchange.CollectPlainFiles"
c.ZipCollectApp.extractor_plugin = "autograder.grading.exchange.ExtractEach"
c.ZipCollectApp.collector_plugin = "autograder.grading.platforms.CollectFromPlatforms"
c.ExchangeFactory.release_feedback = "autograder.grading.exchange.ReleaseFeedbackToEach"

# --- Grading -------------------------------------------------------------------------------------

# See autograder/grading: a submission always gets a grade, and a point needs a valid report.
c.Autograde.exporter_class = "autograder.grading.submission.SubmissionExporter"
c.Autograde.sanitize_preprocessors = [
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "autograder.grading.originals.RestoreOriginals",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Autograde.autograde_preprocessors = [
    "autograder.grading.execute.ExecuteAndJudge",
    "autograder.grading.disarm.DisarmHtml",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]

# Students' code is graded in this kernel, which is in a sandbox; see docs/teaching.md. Validate,
# in a student's own JupyterLab, stays on python3.
c.ExecuteAndJudge.kernel_name = "sandbox"

# Cells that only measure tell a grader nothing.
c.Execute.skip_cells_with_tag = "measurement"
c.Execute.shutdown_kernel = "immediate"

# A kernel's warnings would go to the grader's terminal.
c.Execute.extra_arguments = ["--IPKernelApp.log_level=ERROR"]

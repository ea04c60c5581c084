"""Run cells in the sandbox, as a submission."""

import subprocess
from pathlib import Path

from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from autograder.grading.execute import ExecuteAndJudge
from autograder.grading.sandbox import Limits, sandboxed


def run(folder: Path, *sources: str, **settings: object) -> list[NotebookNode]:
    """Run cells as a submission of ada's; settings of ExecuteAndJudge by their names."""
    course = CourseDirectory(root=str(folder), assignment_id="hello")
    execute = {"kernel_name": "sandbox", "timeout": 20, "shutdown_kernel": "immediate"}
    config = Config({"ExecuteAndJudge": execute | settings})
    converter = Autograde(coursedir=course, config=config)
    exporter = NotebookExporter(parent=converter, config=config)
    execute = ExecuteAndJudge(parent=exporter)
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    key = {"student": "ada", "assignment": "hello", "notebook": "hello"}
    return execute.preprocess(notebook, {"nbgrader": key, "metadata": {}})[0].cells


def said(cell: NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def errors(cell: NotebookNode) -> list[str]:
    return [f"{out.ename}: {out.evalue}" for out in cell.outputs if out.output_type == "error"]


LIMITS = Limits(memory=10**9, files=10**7, processes=40, cpu_seconds=10)


def says(command: list[str], limits: Limits = LIMITS) -> str:
    """What a command prints in the sandbox."""
    with sandboxed(command, limits) as (line, descriptors):
        done = subprocess.run(line, pass_fds=descriptors, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout

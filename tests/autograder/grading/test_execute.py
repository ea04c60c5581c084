"""What `check` accepts, grading accepts: whatever form a function or a kernel has."""

import inspect
from pathlib import Path

import pytest
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from autograder.build import COURSE, source_notebook
from autograder.example_submissions import solutions_in
from autograder.exercises import NOTEBOOKS, all_exercises
from autograder.grading.execute import RECORD, ExecuteAndJudge
from autograder.report import MIMETYPE
from solutions.hardware_aware_attention import kernels
from tests import needs

pytestmark = pytest.mark.xdist_group("sandbox")

TOPIC = "linear_attention"


@pytest.fixture(autouse=True, scope="module")
def _sandbox() -> None:
    needs.a_sandbox()


def graded(folder: Path, cells: list[str], names: list[str], **settings: object) -> NotebookNode:
    """The notebook with these cells, and a test cell for each exercise, when it is graded."""
    course = CourseDirectory(root=str(folder), assignment_id="hello")
    config = Config({"ExecuteAndJudge": {"kernel_name": "sandbox"} | settings})
    exporter = NotebookExporter(parent=Autograde(coursedir=course, config=config), config=config)
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    for name in names:
        cell = new_code_cell(f"check({name})")
        cell.metadata.nbgrader = {"grade_id": f"check_{name}", "grade": True, "solution": False}
        notebook.cells.append(cell)
    key = {"student": "ada", "assignment": "hello", "notebook": "hello"}
    return ExecuteAndJudge(parent=exporter)(notebook, {"nbgrader": key, "metadata": {}})[0]


def points(notebook: NotebookNode) -> dict[str, int]:
    shown = [o.get("data", {}) for cell in notebook.cells for o in cell.outputs]
    reports = [data[MIMETYPE] for data in shown if MIMETYPE in data]
    return {report["exercise"]: report["points"] for report in reports}


FORMS = {
    "elu_feature_map": "import functools\n{name} = functools.partial({name})",
    "linear_attention": "{name} = (lambda function: lambda *given: function(*given))({name})",
    "recurrent_step": "class Step:\n    def __init__(self, step):\n        self.step = step\n"
    "    def __call__(self, *given):\n        return self.step(*given)\n\n{name} = Step({name})",
    "fourier_mixing": "{name} = torch.compile({name})",
}


def test_a_function_in_another_form_earns_what_it_earns_as_it_is(tmp_path):
    name = NOTEBOOKS[TOPIC]
    source = source_notebook(COURSE / "source" / name / f"{name}.md", TOPIC)
    solutions = solutions_in(source)
    cells = ["import math\nimport torch"]
    cells += [solutions[name] + "\n\n" + form.format(name=name) for name, form in FORMS.items()]
    notebook = graded(tmp_path, cells, list(FORMS), exercise_seconds=60)
    assert points(notebook) == {name: all_exercises()[name].points for name in FORMS}


KERNEL = "softmax_kernel"
TEXT = inspect.getsource(getattr(kernels, KERNEL).fn)
IMPORTS = "from course.triton_here import tl, triton\n"


def test_a_kernel_is_read_as_ipython_reads_its_cell_also_with_no_execute(tmp_path):
    cells = [IMPORTS, "%matplotlib inline\n!true\ntl.load?\n" + TEXT]
    settings = {"enabled": False, "exercise_seconds": 60}
    notebook = graded(tmp_path, cells, [KERNEL], **settings)
    assert points(notebook) == {KERNEL: all_exercises()[KERNEL].points}
    assert notebook.metadata[RECORD]["sandbox"] == "bubblewrap"

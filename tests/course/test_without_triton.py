"""05_hardware_aware_attention where there is no Triton, as on macOS: it says so, and goes on."""

import os

import nbformat
import pytest
from nbclient import NotebookClient

from autograder.build import COURSE, source_notebook
from autograder.exercises import NOTEBOOKS, exercises_of

pytestmark = pytest.mark.xdist_group("without-triton")

TOPIC = "hardware_aware_attention"
NAME = NOTEBOOKS[TOPIC]
HIDE_TRITON = """
import importlib.util

find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "triton" else find(name)
"""
SAYS_SO = "Triton is not installed here"


def about_kernels(notebook):
    """The set-up, and the cells of the sections 5.7 to 5.9."""
    headings = [
        (number, cell.source.lstrip("# ")[:4])
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "markdown" and cell.source.startswith("## ")
    ]
    starts = dict((heading, number) for number, heading in headings)
    setup = next(c for c in notebook.cells if "import check" in c.source)
    return [setup, *notebook.cells[starts["5.7 "] : starts["5.10"]]]


@pytest.fixture(scope="module", params=["solved", "release"])
def cells(request, tmp_path_factory):
    """Those code cells after they ran in a kernel that finds no Triton."""
    if request.param == "solved":
        notebook = source_notebook(COURSE / "source" / NAME / f"{NAME}.md", TOPIC)
    else:
        notebook = nbformat.read(COURSE / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    notebook.cells = about_kernels(notebook)
    folder = tmp_path_factory.mktemp("without_triton")
    (folder / "sitecustomize.py").write_text(HIDE_TRITON)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.delenv("TRITON_INTERPRET", raising=False)
        arguments = ["--IPKernelApp.log_level=ERROR"]
        NotebookClient(notebook, allow_errors=True, extra_arguments=arguments).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def said(cell):
    """Everything that a cell shows, as text."""
    texts = [output.get("text", "") for output in cell.outputs]
    for output in cell.outputs:
        texts += [value for value in output.get("data", {}).values() if isinstance(value, str)]
    return "\n".join(texts)


def test_no_cell_ends_in_a_traceback_or_writes_to_standard_error(cells):
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", f"{output.evalue}\n\n{cell.source}"
            assert output.get("name") != "stderr", f"{output.text}\n\n{cell.source}"


def test_every_cell_that_launches_compiles_or_checks_a_kernel_says_what_is_missing(cells):
    needs_one = ("with after_solving", "widgets.", "check(")
    told = [
        c for c in cells if c.source.startswith(needs_one) or "\nwith after_solving" in c.source
    ]
    assert len(told) > len(exercises_of(TOPIC))
    for cell in told:
        assert SAYS_SO in said(cell) or "skipped: no GPU here" in said(cell), cell.source

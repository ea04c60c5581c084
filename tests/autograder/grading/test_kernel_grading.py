"""Triton kernels, graded in the sandbox: by what Triton computes, and by nothing else."""

from copy import deepcopy
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.build import COURSE, source_notebook
from autograder.classroom import Classroom
from autograder.example_submissions import cell_of, solutions_in, with_answers
from tests import needs

pytestmark = pytest.mark.xdist_group("kernel-grading")

NAME = "05_hardware_aware_attention"
KERNEL, OTHER = "flash_attention_kernel", "attention_hbm_traffic"
FIRST_LINE = "    row_max = tl.full"


def small_source() -> NotebookNode:
    """The notebook with two exercises alone: a kernel and another."""
    source = source_notebook(COURSE / "source" / NAME / f"{NAME}.md", "hardware_aware_attention")
    wanted = {"setup", KERNEL, OTHER, f"check_{KERNEL}", f"check_{OTHER}"}
    source.cells = [
        cell for cell in source.cells if cell.metadata.get("nbgrader", {}).get("grade_id") in wanted
    ]
    return source


def submissions(release: NotebookNode, solutions: dict[str, str]) -> dict[str, NotebookNode]:
    """What each student hands in; all have solved the other exercise."""
    kernel = solutions[KERNEL]
    other = {OTHER: solutions[OTHER]}

    def handed_in(text: str, *cells: str) -> NotebookNode:
        notebook = with_answers(release, other | {KERNEL: text})
        notebook.cells[1:1] = [new_code_cell(cell) for cell in cells]
        return notebook

    def with_line(line: str) -> str:
        assert FIRST_LINE in kernel
        return kernel.replace(FIRST_LINE, f"    {line}\n{FIRST_LINE}")

    forging = (
        "import autograder.probes, autograder.kernel_probes, triton\n"
        "autograder.probes.run_probe = lambda *a: 1 / 0\n"
        "triton.runtime.interpreter.InterpreterBuilder.create_dot = lambda *a: a[3]"
    )
    plain = "def flash_attention_kernel(*arguments):\n    return arguments[0]"
    launcher = (
        "import torch\n\nclass Launched:\n    def __getitem__(self, grid):\n"
        "        def run(q, k, v, out, lse, *rest):\n"
        "            out.copy_(torch.nn.functional.scaled_dot_product_attention(q, k, v))\n"
        "        return run\n\nflash_attention_kernel = Launched()"
    )
    return {
        "solved": handed_in(kernel),
        "untouched": release,
        "torch_inside": handed_in(
            with_line("whole = torch.nn.functional.scaled_dot_product_attention(Q, K, V)")
        ),
        "sdpa_in_its_place": handed_in(launcher),
        "no_kernel": handed_in(plain),
        "forges_the_probe": handed_in(kernel, forging),
        "wild_pointer": handed_in(with_line("tl.store(q_ptr - 2000000000 * num_heads, 0.0)")),
        "endless": handed_in(with_line("while num_heads > 0:\n        n_q += 0")),
    }


@pytest.fixture(scope="module")
def classroom(tmp_path_factory: pytest.TempPathFactory) -> Classroom:
    needs.a_sandbox()
    source = small_source()
    classroom = Classroom(tmp_path_factory.mktemp("class"), NAME, deepcopy(source))
    classroom.generate_assignment()
    classroom.release_assignment()
    for student, notebook in submissions(classroom.release, solutions_in(source)).items():
        file = classroom.fetch(student)
        file.write_text(nbformat.writes(notebook))
        if student == "wild_pointer":
            # A package of this name beside the notebook is not Triton.
            (file.parent / "triton.py").write_text("raise SystemExit")
        classroom.submit(student)
    classroom.collect()
    classroom.autograde()
    return classroom


def points(classroom: Classroom, student: str, exercise: str) -> float:
    return classroom.grades()[student][f"check_{exercise}"].points


def report(classroom: Classroom, student: str) -> str:
    path = Path(classroom.course, "autograded", student, NAME, f"{NAME}.ipynb")
    cell = cell_of(nbformat.read(path, as_version=4), f"check_{KERNEL}")
    return cell.outputs[0].data["text/html"]


def test_a_solved_kernel_earns_all_points(classroom):
    assert points(classroom, "solved", KERNEL) == 15


def test_an_untouched_notebook_earns_nothing(classroom):
    assert points(classroom, "untouched", KERNEL) == points(classroom, "untouched", OTHER) == 0
    assert "Not written yet" in report(classroom, "untouched")


SAID = {
    "torch_inside": "uses torch, which is not Triton",
    "sdpa_in_its_place": "there is no kernel flash_attention_kernel",
    "no_kernel": "@triton.jit stands above it",
    "endless": "took longer than 30 seconds",
}


@pytest.mark.parametrize("student", SAID)
def test_what_is_no_sound_kernel_earns_nothing_and_is_told_so(classroom, student):
    assert points(classroom, student, KERNEL) == 0
    assert SAID[student] in report(classroom, student)


def test_a_wild_pointer_does_no_harm_and_costs_its_point(classroom):
    assert points(classroom, "wild_pointer", KERNEL) == 14
    assert "numbers beyond the output are written" in report(classroom, "wild_pointer")


@pytest.mark.parametrize("student", [*SAID, "wild_pointer", "solved"])
def test_the_other_exercise_is_graded_whatever_the_kernel_does(classroom, student):
    assert points(classroom, student, OTHER) == points(classroom, "solved", OTHER) > 0


def test_a_kernel_is_judged_where_no_other_cell_has_run(classroom):
    assert points(classroom, "forges_the_probe", KERNEL) == 15

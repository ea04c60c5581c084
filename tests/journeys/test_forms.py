"""`autograder check`, nbgrader's Validate and grading say the same of work in every form."""

import io
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from jupyter_client.provisioning import local_provisioner
from nbgrader.validator import Validator
from rich.console import Console
from traitlets.config import Config

from autograder.classroom import Classroom, Grade
from autograder.example_submissions import cell_of
from autograder.run_notebook import reports, run_notebook
from tests import needs
from tests.journeys.forms import ANSWER, FIRST, FORMS, NAME, POINTS, SECOND, WRITTEN, short_source
from tests.journeys.warm_kernels import WarmKernel

pytestmark = pytest.mark.xdist_group("forms")


@dataclass(frozen=True)
class Graded:
    """A class in which each student hands in one form, and which is graded once."""

    classroom: Classroom

    def grades(self, name: str) -> dict[str, Grade]:
        return self.classroom.grades()[name]

    def points(self, name: str) -> dict[str, float]:
        return {e: self.grades(name)[f"check_{e}"].points for e in (FIRST, SECOND)}


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    needs.a_sandbox()
    classroom = Classroom(tmp_path_factory.mktemp("class"), NAME, short_source())
    classroom.generate_assignment()
    for name in FORMS:
        put_into(classroom.course / "submitted" / name / NAME, name, classroom)
    classroom.autograde()
    return Graded(classroom)


def put_into(folder: Path, name: str, classroom: Classroom) -> Path:
    folder.mkdir(parents=True)
    for file, text in FORMS[name].files.items():
        (folder / file).write_text(text)
    path = folder / f"{NAME}.ipynb"
    path.write_bytes(FORMS[name].content(classroom.release))
    return path


def checked(path: Path) -> dict[str, float]:
    """What `autograder check` shows of the two exercises."""
    notebook = run_notebook(path, Console(file=io.StringIO()))
    return {r["exercise"]: r["points"] for r in reports(notebook) if r["exercise"] in POINTS}


def validates(path: Path) -> bool:
    """Whether Validate, the button in JupyterLab, says "Success"."""
    config = Config()
    config.Execute.extra_arguments = ["--IPKernelApp.log_level=ERROR"]
    try:
        return not Validator(config=config).validate(str(path))
    except Exception:
        return False  # it shows the error


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FORMS)
def test_what_check_and_validate_accept_is_graded_so(graded, tmp_path, monkeypatch, name):
    form = FORMS[name]
    path = put_into(tmp_path / "mine", name, graded.classroom)
    assert graded.points(name) == POINTS | {FIRST: form.graded}
    monkeypatch.setattr(local_provisioner, "launch_kernel", WarmKernel)
    assert checked(path) == POINTS | {FIRST: form.checked}
    assert validates(path) == form.validates
    assert form.graded >= form.checked, "a form in the table is graded worse than it is checked"
    assert form.graded == POINTS[FIRST] or not form.validates


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FORMS)
def test_a_written_answer_waits_for_a_person_wherever_it_stands(graded, name):
    assert graded.grades(name)[WRITTEN].needs_manual_grade
    path = graded.classroom.course / "autograded" / name / NAME / f"{NAME}.ipynb"
    written = cell_of(nbformat.read(path, as_version=4), WRITTEN)
    assert ANSWER in written.source

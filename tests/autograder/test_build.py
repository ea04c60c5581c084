"""From Markdown and solutions to the notebooks that students open."""

import inspect
import json
import re
import subprocess
import symtable
import sys
from importlib import import_module

import jupytext
import nbformat
import pytest
import torch
from safetensors.torch import save

from autograder.answers import RECORDED
from autograder.build import (
    SourceError,
    build,
    modules_of,
    release_notebook,
    same_answers,
    source_notebook,
)
from autograder.carry_over import is_untouched
from autograder.exercises import NOTEBOOKS, exercises_of
from autograder.extract import BEGIN, END, ExtractError, exercise_source
from autograder.registry import COURSE, ROOT
from solutions.mistakes import mistakes_of

pytestmark = pytest.mark.xdist_group("build")

TOPICS = list(NOTEBOOKS.items())


def source_path(name):
    return COURSE / "source" / name / f"{name}.md"


def release_path(name):
    return COURSE / "release" / name / f"{name}.ipynb"


@pytest.mark.parametrize(("topic", "name"), TOPICS)
class TestCommitted:
    def test_the_release_notebook_equals_a_rebuild_to_the_byte(self, topic, name):
        again = release_notebook(source_notebook(source_path(name), topic), name)
        assert again == release_path(name).read_bytes(), "run `autograder build`"

    def test_the_recorded_answers_are_small(self, topic, name):
        versions = sum(1 + len(mistakes_of(topic, each)) for each in exercises_of(topic))
        assert (RECORDED / f"{topic}.safetensors").stat().st_size < 40_000 * versions

    def test_the_release_is_valid_and_its_metadata_is_nbgraders_own(self, topic, name):
        notebook = nbformat.read(release_path(name), as_version=4)
        nbformat.validate(notebook)
        own = {
            "cell_type", "checksum", "grade", "grade_id", "locked",
            "points", "schema_version", "solution", "task",
        }  # fmt: skip
        assert is_untouched(notebook)
        for cell in notebook.cells:
            assert set(cell.metadata) <= {"nbgrader", "tags", "deletable", "editable"}
            assert set(cell.metadata.get("nbgrader", {})) <= own
            assert not cell.get("outputs")

    def test_every_exercise_is_a_stub_and_a_locked_check_with_its_points(self, topic, name):
        cells = {
            cell.metadata.nbgrader.grade_id: cell
            for cell in nbformat.read(release_path(name), as_version=4).cells
            if "nbgrader" in cell.metadata
        }
        for exercise in exercises_of(topic).values():
            stub, check = cells[exercise.name], cells[f"check_{exercise.name}"]
            assert "raise NotImplementedError()" in stub.source
            assert check.source == f"check({exercise.name})"
            assert check.metadata.nbgrader.points == exercise.points
            assert check.metadata.nbgrader.locked
            assert not check.metadata.editable

    def test_only_its_own_cell_defines_an_exercise(self, topic, name):
        for cell in nbformat.read(release_path(name), as_version=4).cells:
            if cell.cell_type == "code":
                own = cell.metadata.get("nbgrader", {}).get("grade_id")
                assert names_bound(cell.source) & set(exercises_of(topic)) <= {own}

    def test_nothing_of_a_solution_a_mistake_or_an_answer_is_readable(self, topic, name):
        released = squeeze("\n".join(c.source for c in nbformat.read(release_path(name), 4).cells))
        exercises = exercises_of(topic)
        shown = squeeze(inspect.getsource(import_module(f"course.specifications.{topic}")))
        for exercise in exercises.values():
            solutions = import_module(f"solutions.{exercise.module}")
            full = exercise_source(solutions, exercise.name, set(exercises))
            for secret in lines_between_markers(full):
                assert squeeze(secret) in shown or squeeze(secret) not in released, secret
            for mistake in mistakes_of(topic, exercise.name):
                assert squeeze(mistake.explanation) not in released
                assert squeeze(mistake.name) not in released
        for answer in model_answers(name):
            for sentence in re.split(r"(?<=[.:])\s", answer):
                if len(sentence) > 20:
                    assert squeeze(sentence) not in released, sentence

    def test_the_markdown_opens_as_a_notebook_and_saves_back_without_loss(self, topic, name):
        text = source_path(name).read_text()
        assert jupytext.writes(jupytext.reads(text, fmt="md"), fmt="md") == text


def names_bound(code):
    symbols = symtable.symtable(code, "cell", "exec").get_symbols()
    return {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}


def squeeze(text):
    return re.sub(r"\s+", "", text)


def lines_between_markers(source):
    """The lines of a solution that say something: not a bracket, a return of a name, or a def."""
    body = source[source.index(BEGIN) : source.index(END)]
    lines = [line.split("#")[0].strip() for line in body.splitlines()[1:]]
    return [line for line in lines if len(line) > 24 and not line.startswith(("def ", "for "))]


def model_answers(name):
    notebook = jupytext.reads(source_path(name).read_text(), fmt="md")
    return [cell.source for cell in notebook.cells if "written" in cell.metadata]


# --- What is built again -------------------------------------------------------------------------


TWO = {"foundations": "00_foundations", "low_rank_attention": "03_low_rank_attention"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of what two notebooks are built from, without nbgrader and the exercises' answers."""
    for package in ("autograder", "course", "solutions"):
        for path in (ROOT / package).rglob("*.py"):
            copy(path, tmp_path / path.relative_to(ROOT))
    for name in TWO.values():
        copy(source_path(name), tmp_path / "course" / "source" / name / f"{name}.md")
    monkeypatch.setattr("autograder.build.ROOT", tmp_path)
    monkeypatch.setattr("autograder.build.NOTEBOOKS", TWO)
    monkeypatch.setattr("autograder.build.record", lambda topic: answers_with(500.0, len(topic)))
    monkeypatch.setattr(
        "autograder.build.release_notebook", lambda source, name: release_path(name).read_bytes()
    )
    return tmp_path


def copy(path, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(path.read_bytes())


def make(project, **options):
    return build(course=project / "course", recorded=project / "recorded", **options)


def test_only_the_topic_that_changed_is_built_again(project):
    first = make(project)
    assert [line.split()[0] for line in first] == ["built", "built", "recorded"] * 2
    assert make(project) == ["everything is up to date"]

    for changed, built in {
        "solutions/foundations.py": ["00_foundations"],
        "solutions/mistakes/low_rank_attention/nystrom.py": ["03_low_rank_attention"],
        "course/source/00_foundations/00_foundations.md": ["00_foundations"],
        "course/specifications/low_rank_attention.py": ["03_low_rank_attention"],
        "course/measure.py": list(TWO.values()),
        "autograder/doctor.py": [],
        "course/widgets/foundations/cost.py": [],
        "autograder/exercises/linear_attention/features.py": [],
    }.items():
        with (project / changed).open("a") as file:
            file.write("\n")
        said = make(project)
        assert [name for name in TWO.values() if name in " ".join(said)] == built, changed
        assert make(project) == ["everything is up to date"]


def test_a_file_that_was_lost_or_changed_is_built_again_and_the_changed_one_is_kept(project):
    make(project)
    name = TWO["foundations"]
    folders = (project / "course" / "source" / name, project / "course" / "release" / name)
    source, release = (folder / f"{name}.ipynb" for folder in folders)
    answers = project / "recorded" / "foundations.safetensors"
    made = {path: path.read_bytes() for path in (source, release, answers)}
    edited = made[source].replace(b"softmax", b"softermax")
    worked_in = made[release].replace(b"raise NotImplementedError()", b"return x")

    source.write_bytes(edited)
    release.write_bytes(worked_in)
    answers.unlink()
    make(project)
    assert {path: path.read_bytes() for path in made} == made
    kept = [path.read_bytes() for path in (project / "course" / "kept").iterdir()]
    assert sorted(kept) == sorted([edited, worked_in])


def test_recorded_answers_that_mean_the_same_are_left_as_they_are(project):
    make(project)
    path = project / "recorded" / "foundations.safetensors"
    for stored, stays in ((answers_with(500.001, 11), True), (answers_with(505.0, 11), False)):
        path.write_bytes(stored)
        make(project)
        assert (path.read_bytes() == stored) == stays


def answers_with(*numbers):
    about = {"tensors": {"f|reference|short|output": "digest"}, "mistakes": {}}
    return save({"digest": torch.tensor(numbers)}, metadata={"about": json.dumps(about)})


def test_answers_are_the_same_within_the_judges_tolerance_and_where_they_are_no_numbers():
    nan, inf = torch.nan, torch.inf
    old = answers_with(500.0, 1e-9, nan, inf)
    assert same_answers(old, answers_with(500.001, 1e-3, nan, inf))
    for other in (
        (501.0, 1e-9, nan, inf),
        (500.0, 1e-9, 0.0, inf),
        (500.0, nan, nan, inf),
        (500.0, 1e-9, nan, -inf),
        (500.0, 1e-9, nan),
    ):
        assert not same_answers(old, answers_with(*other))
    assert not same_answers(answers_with(1, 2), answers_with(1, 3))


def test_a_topic_depends_on_what_its_recorded_answers_are_computed_with():
    kernels = modules_of("hardware_aware_attention")
    assert {"course.measure", "course.machine_code", "course.triton_here"} <= kernels.keys()
    assert {
        "solutions.hardware_aware_attention.kernels",
        "autograder.kernel_probes",
    } <= kernels.keys()
    linear = modules_of("linear_attention")
    assert {"course.measure", "solutions.mistakes.linear_attention.mixing"} <= linear.keys()
    assert not {"course.triton_here", "autograder.doctor", "autograder.registry"} & linear.keys()
    assert not [name for name in linear if "low_rank" in name]


# --- Errors --------------------------------------------------------------------------------------


CELLS = {
    "exercise": '```python exercise="elu_feature_map"\n```\n',
    "check": '```python check="elu_feature_map"\n```\n',
    "written": '<!-- #region written="answer" points=2 -->\nmodel\n<!-- #endregion -->\n',
}
UNKNOWN = "no exercise is called 'gelu_feature_map'"
ERRORS = {
    "unknown exercise": (CELLS["exercise"].replace("elu", "gelu"), 1, UNKNOWN),
    "unknown check": (CELLS["check"].replace("elu", "gelu"), 1, UNKNOWN),
    "check without exercise": ("# Title\n\n" + CELLS["check"], 3, "has no exercise="),
    "duplicate exercise": (CELLS["exercise"] + "\n" + CELLS["exercise"], 4, "is used twice"),
    "duplicate written": (CELLS["written"] + "\n" + CELLS["written"], 5, "is used twice"),
    "points missing": (CELLS["written"].replace(" points=2", ""), 1, "needs points"),
    "points zero": (CELLS["written"].replace("points=2", "points=0"), 1, "needs points"),
    "filled exercise": (CELLS["exercise"].replace("\n", "\nx = 1\n", 1), 1, "leave it empty"),
    "unknown specification": ('\n```python spec="no"\n```\n', 2, "has no function 'no'"),
    "exercise not used": (
        CELLS["exercise"] + "\n" + CELLS["check"],
        5,
        'exercise="linear_attention" is missing',
    ),
}


@pytest.mark.parametrize(("text", "line", "message"), ERRORS.values(), ids=ERRORS)
def test_an_error_in_a_source_stops_the_build_with_file_and_line(tmp_path, text, line, message):
    path = tmp_path / "notebook.md"
    path.write_text(text)
    with pytest.raises(SourceError) as caught:
        source_notebook(path, "linear_attention")
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)


def module_of(tmp_path, monkeypatch, text):
    (tmp_path / "made_up.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "made_up", raising=False)
    return import_module("made_up")


def test_markers_in_a_solution_keep_the_rest_as_scaffold(tmp_path, monkeypatch):
    body = ["y = math.pi", BEGIN, "z = y", END, "return z"]
    function = "\n    ".join(["def f(x):", '"""Doc."""', *body])
    module = module_of(tmp_path, monkeypatch, f"import math\nimport os\n\n\n{function}\n")
    assert exercise_source(module, "f", {"f"}) == f"import math\n\n\n{function}"


def test_a_solution_that_needs_a_private_helper_is_refused(tmp_path, monkeypatch):
    text = 'def _help():\n    return 1\n\n\ndef f(x):\n    """Doc."""\n    return _help()\n'
    with pytest.raises(ExtractError, match="f uses _help of made_up"):
        exercise_source(module_of(tmp_path, monkeypatch, text), "f", {"f"})


# --- The set-up cell -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOTEBOOKS.values())
def test_in_the_python_of_another_the_set_up_cell_says_what_to_do(name):
    cells = nbformat.read(release_path(name), as_version=4).cells
    (setup,) = [c for c in cells if c.metadata.get("nbgrader", {}).get("grade_id") == "setup"]
    bare = [sys.executable, "-I", "-S", "-c", setup.source]  # without installed packages
    told = subprocess.run(bare, capture_output=True, text=True).stderr
    assert "The course is not installed in the Python of this kernel" in told
    assert sys.executable in told
    assert all(way in told for way in ("make lab", "Select Kernel", "%pip install"))

"""From Markdown and solutions to the notebooks that students open."""

import inspect
import json
import re
import symtable
from importlib import import_module

import jupytext
import nbformat
import pytest
import torch

from autograder.answers import RECORDED, record, unpack_record
from autograder.build import COURSE, SourceError, build, source_notebook
from autograder.exercises import NOTEBOOKS, exercises_of
from autograder.extract import BEGIN, END, ExtractError, exercise_source
from solutions.mistakes import mistakes_of

pytestmark = pytest.mark.xdist_group("build")

TOPICS = list(NOTEBOOKS.items())


def source_path(name):
    return COURSE / "source" / name / f"{name}.md"


def release_path(name):
    return COURSE / "release" / name / f"{name}.ipynb"


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    """All notebooks and answers, built afresh in an empty folder."""
    folder = tmp_path_factory.mktemp("course")
    for _, name in TOPICS:
        target = folder / "source" / name / f"{name}.md"
        target.parent.mkdir(parents=True)
        target.write_bytes(source_path(name).read_bytes())
    build(course=folder, recorded=folder / "recorded")
    return folder


@pytest.mark.parametrize(("topic", "name"), TOPICS)
class TestCommitted:
    def test_the_release_notebook_equals_a_rebuild_to_the_byte(self, rebuilt, topic, name):
        again = rebuilt / "release" / name / f"{name}.ipynb"
        assert again.read_bytes() == release_path(name).read_bytes(), "run `autograder build`"

    def test_the_recorded_answers_equal_a_rebuild(self, rebuilt, topic, name):
        old, _ = unpack_record((RECORDED / f"{topic}.safetensors").read_bytes())
        new, _ = unpack_record((rebuilt / "recorded" / f"{topic}.safetensors").read_bytes())
        assert old.keys() == new.keys()
        assert record(topic) == (rebuilt / "recorded" / f"{topic}.safetensors").read_bytes()
        for key, tensor in new.items():
            torch.testing.assert_close(old[key], tensor, rtol=1e-3, atol=1e-5, equal_nan=True)

    def test_the_recorded_answers_are_small(self, rebuilt, topic, name):
        versions = sum(1 + len(mistakes_of(topic, each)) for each in exercises_of(topic))
        assert (RECORDED / f"{topic}.safetensors").stat().st_size < 40_000 * versions

    def test_the_release_is_valid_and_its_metadata_is_nbgraders_own(self, rebuilt, topic, name):
        notebook = nbformat.read(release_path(name), as_version=4)
        nbformat.validate(notebook)
        own = {
            "cell_type", "checksum", "grade", "grade_id", "locked",
            "points", "schema_version", "solution", "task",
        }  # fmt: skip
        for cell in notebook.cells:
            assert set(cell.metadata) <= {"nbgrader", "tags", "deletable", "editable"}
            assert set(cell.metadata.get("nbgrader", {})) <= own
            assert not cell.get("outputs")

    def test_every_exercise_is_a_stub_and_a_locked_check_with_its_points(
        self, rebuilt, topic, name
    ):
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

    def test_only_its_own_cell_defines_an_exercise(self, rebuilt, topic, name):
        for cell in nbformat.read(release_path(name), as_version=4).cells:
            if cell.cell_type == "code":
                own = cell.metadata.get("nbgrader", {}).get("grade_id")
                assert names_bound(cell.source) & set(exercises_of(topic)) <= {own}

    def test_nothing_of_a_solution_a_mistake_or_an_answer_is_readable(self, rebuilt, topic, name):
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

    def test_the_markdown_opens_as_a_notebook_and_saves_back_without_loss(
        self, rebuilt, topic, name
    ):
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


def test_a_second_build_does_nothing_and_keeps_a_notebook_that_was_worked_in(rebuilt):
    _, name = TOPICS[0]
    recorded = rebuilt / "recorded"
    assert build(course=rebuilt, recorded=recorded) == ["everything is up to date"]

    release = rebuilt / "release" / name / f"{name}.ipynb"
    built = release.read_bytes()
    work = built.replace(b"raise NotImplementedError()", b"return x", 1)
    release.write_bytes(work)
    build(course=rebuilt, recorded=recorded)
    assert release.read_bytes() == work

    # Something else in the course changed: the reader's work is not replaced by the same release.
    stamp = rebuilt / ".build" / "stamp.json"
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"inputs": ""}))
    build(course=rebuilt, recorded=recorded)
    assert release.read_bytes() == work
    assert not (rebuilt / "kept").exists()

    done = build(course=rebuilt, recorded=recorded, force=True)
    kept = list((rebuilt / "kept").iterdir())
    assert release.read_bytes() == built
    assert [path.read_bytes() for path in kept] == [work]
    assert str(kept[0]) in done[0]


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


def test_the_stamp_of_a_build_is_readable(rebuilt):
    stamp = json.loads((rebuilt / ".build" / "stamp.json").read_text())
    assert set(stamp["released"]) == set(NOTEBOOKS.values())

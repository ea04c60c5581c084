"""What is shown of the project is enough, and is found wherever it and its Python lie."""

import ast
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.grading import sandbox, shown
from autograder.grading.sandbox import SandboxError, find_bubblewrap
from autograder.grading.shown import ROOT
from tests import needs
from tests.autograder.grading.in_sandbox import says

pytestmark = pytest.mark.xdist_group("sandbox")


@pytest.fixture(autouse=True, scope="module")
def _sandbox() -> None:
    needs.a_sandbox()


def imported_by(path: Path) -> Iterator[str]:
    """The modules of autograder and course that a file imports, also when a function is called."""
    # A check asks for the judge, and does without where there is none.
    whole = path.name != "check.py"
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if whole else tree.body:
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in shown.MODULES:
            yield node.module if "." in node.module else f"{node.module}.{node.names[0].name}"


def test_what_is_shown_imports_only_what_is_shown():
    files = [file for path in shown.shown_last() for file in (path, *path.rglob("*.py"))]
    modules = {name for file in files if file.is_file() for name in imported_by(file)}
    named = {
        package: {Path(name).stem for name in names} for package, names in shown.MODULES.items()
    }
    parts = [module.split(".") for module in sorted(modules)]
    assert ["autograder", "exercise"] in parts
    assert [part for part in parts if len(part) > 1 and part[1] not in named[part[0]]] == []


def test_the_folders_that_are_shown_hold_nothing_but_code_and_what_the_course_measured():
    folders = [path for path in shown.shown_last() if path.is_dir()]
    suffixes = {path.suffix for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert suffixes - {".py", ".pyc"} == {".safetensors"}
    assert not {"solutions", "recorded", "grading"} & {path.name for path in folders}


def copy_of_what_is_shown(folder: Path) -> Path:
    """The project in another folder, as far as it is shown, with a secret beside it."""
    folder.mkdir(parents=True)
    for path in shown.shown_last():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
    for name in ("pyproject.toml", "secret"):
        (folder / name).touch()
    return folder


IMPORTED = "import autograder, os; print(autograder.__file__, os.path.exists({secret!r}))"


@pytest.mark.parametrize("below", ["tmp", "the scratch folder", "the system", "a link"])
def test_the_project_may_lie_anywhere(tmp_path, monkeypatch, below):
    root = copy_of_what_is_shown(tmp_path / "a" / "für Ada" / "course")
    if below == "the scratch folder":
        monkeypatch.setattr(sandbox, "SCRATCH", str(tmp_path))
        monkeypatch.setattr(sandbox, "IN_MEMORY", ("/tmp", str(tmp_path), f"{tmp_path}/exchange"))
    if below == "the system":
        monkeypatch.setattr(shown, "_SYSTEM", (*shown._SYSTEM, str(tmp_path / "a")))
    if below == "a link":
        (tmp_path / "link").symlink_to(root)
        root = tmp_path / "link"
    monkeypatch.setattr(shown, "ROOT", root)
    command = [sys.executable, "-c", IMPORTED.format(secret=str(root / "secret"))]
    assert says(command).split() == [*f"{root}/autograder/__init__.py".split(), "False"]
    find_bubblewrap.__wrapped__()


def test_a_python_behind_links_is_found(tmp_path, monkeypatch):
    environment = tmp_path / "environment"
    for name in ("bin", "elsewhere"):
        (environment / name).mkdir(parents=True)
    (environment / "elsewhere" / "python").symlink_to(os.path.realpath(sys.executable))
    (environment / "bin" / "python").symlink_to("../elsewhere/python")
    monkeypatch.setattr(sys, "executable", str(environment / "bin" / "python"))
    assert says([sys.executable, "-c", "print(6 * 7)"]) == "42\n"


def test_a_project_that_its_user_cannot_read_is_not_called_a_sandbox(tmp_path, monkeypatch):
    root = copy_of_what_is_shown(tmp_path / "course")
    (root / "autograder" / "exercise.py").unlink()
    (root / "autograder" / "exercise.py").mkdir(mode=0)
    monkeypatch.setattr(shown, "ROOT", root)
    with pytest.raises(SandboxError, match=r"autograder\.exercise cannot be imported.*chmod -R"):
        find_bubblewrap.__wrapped__()

"""The set-up: the pins, what environment.yml installs, and what `make` does and does not repeat."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests import needs

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


def slow_install(test):
    return pytest.mark.slow(pytest.mark.xdist_group("slow-install")(test))


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def constraints() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pins() -> dict[str, str]:
    """Name -> version of what is pinned for this platform and Python."""
    here = [pin for pin in constraints() if pin.marker is None or pin.marker.evaluate()]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in here}


def public(version: str) -> str:
    """The version without its local tag: 2.13.0+cpu is a build of 2.13.0."""
    return Version(version).public


# The pins


def test_every_constraint_is_one_exact_version_without_a_local_tag():
    for pin in constraints():
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert specifier.version == public(specifier.version)


def test_every_pin_lies_within_the_range_that_the_project_asks_for():
    pinned = pins()
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    for requirement in map(Requirement, wanted):
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])


# environment.yml


def conda_python() -> SpecifierSet:
    (python,) = [line for line in CONDA if isinstance(line, str) and line.startswith("python ")]
    return SpecifierSet(python.removeprefix("python "))


def test_conda_brings_a_python_that_the_project_accepts():
    accepted = SpecifierSet(PROJECT["requires-python"])
    minors = [f"3.{minor}" for minor in range(30)]
    chosen = list(conda_python().filter(minors))
    assert chosen
    assert chosen == list(accepted.filter(chosen))


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> dict[str, str]:
    """Name -> version of what pip installs for environment.yml in a new virtual environment.

    It resolves and fetches as it would, and stops before it unpacks.
    """
    folder = tmp_path_factory.mktemp("conda")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    small = f"iniconfig=={pins()['iniconfig']}"
    reach = run(
        *(python, "-m", "pip", "download", "--no-deps", "--retries", "0", "--dest", folder, small),
        cwd=folder,
    )
    if reach.returncode:
        reason = f"no package index can be reached: {reach.stderr.strip().splitlines()[-1]}"
        needs.missing(reason)

    copy = folder / "course"
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build")
    )
    # conda does this: it writes the pip part to a requirements file beside the YAML.
    (pip_part,) = [part["pip"] for part in CONDA if isinstance(part, dict)]
    (copy / "requirements.txt").write_text("\n".join(pip_part))
    dry_run = ("--dry-run", "--report", "report.json", "-r", "requirements.txt")
    install = run(python, "-m", "pip", "install", *dry_run, cwd=copy)
    assert install.returncode == 0, install.stdout[-3000:] + install.stderr[-3000:]
    report = json.loads((copy / "report.json").read_text())["install"]
    found = (item["metadata"] for item in report)
    return {canonicalize_name(package["name"]): package["version"] for package in found}


@slow_install
@pytest.mark.timeout(1800)
def test_environment_yml_installs_the_pinned_versions_and_nothing_else(installed):
    # pip came with the virtual environment; torch's CUDA build pins NVIDIA's packages itself.
    beside = {"pip", canonicalize_name(PROJECT["name"])}
    if "+cpu" not in installed["torch"]:
        beside |= {name for name in installed if name.startswith(("nvidia-", "cuda-"))}
    found = {name: public(version) for name, version in installed.items() if name not in beside}
    assert found == {name: version for name, version in pins().items() if name != "pip"}


@slow_install
@pytest.mark.timeout(1800)
def test_a_cpu_build_of_torch_comes_without_cuda_packages(installed):
    if "+cpu" not in installed["torch"]:
        pytest.skip(f"pip is given torch {installed['torch']} here, which is no CPU build")
    assert [name for name in installed if name.startswith(("nvidia-", "cuda-"))] == []


# The Makefile, with an interpreter that writes down what it is asked to do

RECORDER = """#!/bin/sh
echo "$(basename "$0") $* [$JUPYTER_CONFIG_PATH]" >> {log}
case "$*" in
  *{refuse}*) exit 1 ;;
  *"-m venv"*)
    mkdir -p .venv/bin
    for name in python autograder jupyter; do cp "$0" .venv/bin/$name; done ;;
esac
"""


class Checkout:
    """A folder with the Makefile, and a Python that only records what it is called with."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.python = folder / "recorder"
        self.log = folder / "log"
        (folder / "course").mkdir()
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, folder)
        self.refuse("nothing")

    def refuse(self, argument: str) -> None:
        """From now on calls with this argument fail."""
        script = RECORDER.format(log=self.log, refuse=argument)
        for python in (self.python, self.folder / ".venv/bin/python"):
            if python.parent.is_dir():
                python.write_text(script)
                python.chmod(0o755)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run("make", f"PYTHON={self.python}", *arguments, cwd=self.folder)

    def calls(self) -> list[str]:
        """What was called since the last look."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines

    def installs(self) -> list[str]:
        return [call for call in self.calls() if "-m pip install" in call or "-m venv" in call]


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path)


@needs_make
def test_the_first_make_test_makes_an_environment_and_installs_under_the_constraints(checkout):
    assert checkout.make("test").returncode == 0
    create, upgrade, install = checkout.installs()
    assert create.startswith("recorder -m venv")
    assert "--upgrade pip" in upgrade
    assert "--constraint constraints.txt" in install
    assert "--editable .[test]" in install


@needs_make
@pytest.mark.parametrize(("first", "second"), [("test", "test"), ("lab", "lab"), ("test", "lab")])
def test_a_second_make_installs_nothing_again(first, second, checkout):
    assert checkout.make(first).returncode == 0
    assert checkout.installs() != []
    assert checkout.make(second).returncode == 0
    assert checkout.installs() == []


@needs_make
@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_is_installed_into_the_same_environment(name, checkout):
    checkout.make("lab")
    checkout.calls()
    later = (checkout.folder / ".venv/.course").stat().st_mtime + 1
    os.utime(checkout.folder / name, (later, later))
    checkout.make("lab")
    (install,) = checkout.installs()
    assert "--editable ." in install


@needs_make
@pytest.mark.parametrize("step", ["--upgrade", "--editable"])
def test_an_installation_that_failed_is_done_again(step, checkout):
    checkout.refuse(step)
    assert checkout.make("test").returncode != 0
    assert "-m pytest" not in " ".join(checkout.calls())
    checkout.refuse("nothing")
    assert checkout.make("test").returncode == 0
    assert any("--editable .[test]" in call for call in checkout.calls())


@needs_make
def test_make_lab_builds_nothing_and_opens_jupyterlab_with_the_courses_settings(checkout):
    assert checkout.make("lab", "LAB_FLAGS=--no-browser --port 9999").returncode == 0
    calls = checkout.calls()
    update, lab = calls[-2:]
    assert update.startswith("autograder update")
    assert not [call for call in calls if "autograder build" in call]
    assert lab.startswith("jupyter lab ")
    assert "--no-browser --port 9999" in lab
    assert f"[{checkout.folder / 'course'}" in lab
    assert ("--allow-root" in lab) == (os.geteuid() == 0)


@needs_make
def test_a_python_that_is_too_old_is_named_and_nothing_is_made(checkout):
    old = "import sys; sys.version_info = (3, 10, 0); sys.version = '3.10.0'; exec(sys.argv[1])"
    checkout.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{old}" "$2"\n')
    result = checkout.make("lab")
    assert result.returncode != 0
    assert "needs Python 3.11 or newer" in result.stderr
    assert "3.10.0" in result.stderr
    assert not (checkout.folder / ".venv").exists()


@needs_make
def test_no_python_at_all_is_said_plainly(checkout):
    checkout.python.unlink()
    result = checkout.make("lab")
    assert result.returncode != 0
    assert "Install Python 3.11 or newer" in result.stderr


@needs_make
def test_a_debian_without_venv_is_told_which_package_to_install(checkout):
    checkout.refuse("ensurepip")
    result = checkout.make("lab")
    assert result.returncode != 0
    assert "apt install python3-venv" in result.stderr
    assert not (checkout.folder / ".venv").exists()

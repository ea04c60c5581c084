"""The doctor reports what is missing, with the fix, and never breaks over it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

import course
from autograder import doctor
from autograder.doctor import Finding
from autograder.grading import sandbox


def found(name: str) -> Finding:
    (finding,) = [finding for finding in doctor.diagnose() if finding.name == name]
    return finding


def hide(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)


def executable(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_whatever_is_not_ok_comes_with_a_fix():
    assert [
        finding.name
        for finding in doctor.diagnose()
        if bool(finding.fix) == (finding.state == "ok")
    ] == []


def test_what_is_installed_is_found_with_its_version():
    assert torch.__version__ in found("PyTorch").found
    assert found("JupyterLab").state == found("nbgrader").state == "ok"
    assert found("nbgrader in JupyterLab").state == "ok"


@pytest.mark.parametrize(
    ("module", "name"),
    [("torch", "PyTorch"), ("jupyterlab", "JupyterLab"), ("nbgrader", "nbgrader")],
)
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    module, name, monkeypatch, capsys
):
    hide(monkeypatch, module)
    finding = found(name)
    assert finding.state == "missing"
    assert "make lab" in finding.fix
    assert doctor.report() == 1
    assert f"Missing for the course: {name}" in capsys.readouterr().out


def test_a_library_that_breaks_while_it_is_imported_is_missing_and_says_why(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise OSError('libgomp.so.1: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch")
    finding = found("PyTorch")
    assert finding.state == "missing"
    assert "libgomp" in finding.found


def test_triton_missing_on_linux_is_installed_by_the_set_up(monkeypatch):
    hide(monkeypatch, "triton")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    finding = found("Triton")
    assert finding.state == "warn"
    assert "make lab" in finding.fix


@pytest.mark.parametrize("system", ["Darwin", "Windows"])
def test_triton_missing_elsewhere_sends_to_linux(system, monkeypatch):
    hide(monkeypatch, "triton")
    monkeypatch.setattr("platform.system", lambda: system)
    finding = found("Triton")
    assert finding.state == "warn"
    assert system in finding.found
    assert "Linux" in finding.fix


@pytest.mark.skipif(sys.platform != "linux", reason="Triton has builds for Linux only")
@pytest.mark.parametrize(("gpu", "how"), [(True, "compiled"), (False, "TRITON_INTERPRET")])
def test_triton_says_whether_kernels_are_compiled_or_interpreted(gpu, how, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Test GPU")
    assert how in found("Triton").found
    assert ("Test GPU" in found("PyTorch").found) == gpu


def test_a_disabled_server_extension_is_named(monkeypatch, tmp_path):
    folder = tmp_path / "jupyter_server_config.d"
    folder.mkdir()
    name = "nbgrader.server_extensions.formgrader"
    (folder / "off.json").write_text(
        f'{{"ServerApp": {{"jpserver_extensions": {{"{name}": false}}}}}}'
    )
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(tmp_path))
    finding = found("nbgrader in JupyterLab")
    assert finding.state == "warn"
    assert finding.fix == f"Run `jupyter server extension enable --sys-prefix {name}`."


def test_a_disabled_lab_extension_is_named(monkeypatch, tmp_path):
    folder = tmp_path / "labconfig"
    folder.mkdir()
    name = "@jupyter/nbgrader:validate-assignment"
    (folder / "page_config.json").write_text(f'{{"disabledExtensions": {{"{name}": true}}}}')
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(tmp_path))
    finding = found("nbgrader in JupyterLab")
    assert finding.state == "warn"
    assert finding.fix == f"Run `jupyter labextension enable {name}`."


def test_a_lab_extension_that_is_not_there_is_reported(monkeypatch):
    monkeypatch.setattr("jupyterlab_server.config.get_federated_extensions", lambda path: {})
    finding = found("nbgrader in JupyterLab")
    assert finding.state == "warn"
    assert "make lab" in finding.fix


def test_two_gigabytes_of_memory_are_too_few(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=2e9, available=1e9))
    finding = found("Memory")
    assert finding.state == "missing"
    assert "4 GB" in finding.fix


def test_a_full_disk_is_reported(monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1e6))
    assert found("Disk").state == "warn"


def test_a_student_and_an_instructor_are_told_apart(monkeypatch):
    assert "importable" in found("Solutions").found
    hide(monkeypatch, "solutions")
    finding = found("Solutions")
    assert finding.state == "ok"
    assert "recorded answers" in finding.found


@pytest.fixture
def bubblewrap(monkeypatch, tmp_path) -> Iterator[Path]:
    """The only bubblewrap on this machine, which is to be made."""
    path = tmp_path / "bwrap"
    monkeypatch.setattr(sandbox, "_candidates", lambda: [str(path)] if path.exists() else [])
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("sys.platform", "linux")
    sandbox.find_bubblewrap.cache_clear()
    yield path
    sandbox.find_bubblewrap.cache_clear()


def test_no_bubblewrap_asks_to_install_it(bubblewrap):
    finding = found("Sandbox")
    assert finding.state == "warn"
    assert "apt install bubblewrap" in finding.found


def test_a_bubblewrap_without_user_namespaces_shows_its_complaint_and_the_setting(bubblewrap):
    executable(bubblewrap, "echo 'No permissions to create new namespace' >&2; exit 1")
    finding = found("Sandbox")
    assert finding.state == "warn"
    assert "No permissions to create new namespace" in finding.found
    assert "userns" in finding.found


def test_a_bubblewrap_that_runs_a_command_is_enough(bubblewrap):
    executable(bubblewrap, "exit 0")
    assert found("Sandbox").state == "ok"


@pytest.fixture
def exchange(monkeypatch, tmp_path) -> Path:
    """A course in a temporary folder whose exchange folder, not yet made, is returned."""
    root = tmp_path / "exchange"
    (tmp_path / "nbgrader_config.py").write_text(
        f"c = get_config()\nc.Exchange.root = {str(root)!r}"
    )
    monkeypatch.setattr(course, "__file__", str(tmp_path / "__init__.py"))
    return root


def test_an_exchange_folder_that_is_writable_is_enough(exchange):
    exchange.mkdir()
    assert found("nbgrader exchange").state == "ok"


def test_an_exchange_folder_that_is_not_there_comes_with_the_command_that_makes_it(exchange):
    finding = found("nbgrader exchange")
    assert finding.state == "warn"
    assert f"mkdir -p {exchange}" in finding.fix


def test_a_course_without_its_nbgrader_configuration_is_reported(exchange):
    (exchange.parent / "nbgrader_config.py").unlink()
    finding = found("nbgrader exchange")
    assert finding.state == "warn"
    assert "nbgrader_config.py" in finding.found


def test_chromium_is_the_one_that_is_named(monkeypatch, tmp_path):
    browser = executable(tmp_path / "browser", "true")
    monkeypatch.setenv("CHROMIUM", str(browser))
    assert doctor.find_chromium() == str(browser)


def test_a_named_chromium_that_is_not_there_is_not_replaced_by_another(monkeypatch, tmp_path):
    executable(tmp_path / "chromium", "true")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "nowhere"))
    assert "CHROMIUM" in found("Chromium").fix


def test_chromium_is_found_on_the_path(monkeypatch, tmp_path):
    browser = executable(tmp_path / "chromium-browser", "true")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    assert doctor.find_chromium() == str(browser)


def test_warnings_alone_do_not_stop_the_course(monkeypatch, capsys):
    warning = Finding("Sandbox", "warn", "[red]/odd/path[/red]", "Install it.")
    monkeypatch.setattr(doctor, "diagnose", lambda: [warning])
    assert doctor.report() == 0
    printed = capsys.readouterr().out
    assert "[red]/odd/path[/red]" in printed
    assert "Install it." in printed

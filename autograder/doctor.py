"""What this machine has for the course, what it lacks, and what to do about it."""

import importlib
import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

MEMORY = 4e9
"""Bytes of memory that the course needs: 2 GB for a notebook, the rest for JupyterLab."""

DISK = 1e9
"""Bytes of free disk that the notebooks, the gradebook and the feedback should find."""

CHROMIUM_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)

LAB_EXTENSION = "@jupyter/nbgrader"

SERVER_EXTENSIONS = tuple(
    f"nbgrader.server_extensions.{name}"
    for name in ("assignment_list", "course_list", "formgrader", "validate_assignment")
)

SET_UP = "Run `make lab`, which installs it."

State = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    state: "missing" means that the course cannot be worked through without it; "warn" that
    something beside the course, such as grading, will not work.
    fix: what to do, as a sentence; empty where the state is "ok".
    """

    name: str
    state: State
    found: str
    fix: str = ""


def diagnose() -> list[Finding]:
    """Look at everything; nothing that is missing or broken raises."""
    looks = (
        _python,
        _torch,
        _triton,
        _jupyterlab,
        _nbgrader,
        _extensions,
        _memory,
        _disk,
        _solutions,
        _sandbox,
        _exchange,
        _chromium,
    )
    return [look() for look in looks]


def report() -> int:
    """Print what `diagnose` found as a table; 1 if the course cannot be worked through, else 0."""
    findings = diagnose()
    colours = {"ok": "green", "warn": "yellow", "missing": "bold red"}
    table = Table("What", "State", "Found, and what to do", title="This machine and the course")
    for finding in findings:
        # Text, not str: a path or an error message may hold what rich reads as markup.
        found = Text(finding.found, overflow="fold")
        if finding.fix:
            found.append(f"\n→ {finding.fix}", style="bold")
        table.add_row(finding.name, Text(finding.state, style=colours[finding.state]), found)
    console = Console()
    console.print(table)
    missing = [finding.name for finding in findings if finding.state == "missing"]
    if missing:
        console.print(f"Missing for the course: {', '.join(missing)}.", style="bold red")
        return 1
    console.print("Everything that the course needs is here.", style="green")
    return 0


def find_chromium() -> str | None:
    """The Chromium that browser tests drive: CHROMIUM if set, else the system's."""
    named = os.environ.get("CHROMIUM")
    return (
        shutil.which(named)
        if named
        else next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    )


def _load(name: str) -> ModuleType | str:
    """The module, or why it cannot be imported: a library of its own may be missing too."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        return f"{type(error).__name__}: {error}"


def _installed(title: str, module: str) -> Finding:
    loaded = _load(module)
    if isinstance(loaded, str):
        return Finding(title, "missing", loaded, SET_UP)
    return Finding(title, "ok", loaded.__version__)


def _python() -> Finding:
    # An older Python never comes here: pip does not install the project for it.
    return Finding("Python", "ok", f"{platform.python_version()} ({sys.executable})")


def _torch() -> Finding:
    torch = _load("torch")
    if isinstance(torch, str):
        return Finding("PyTorch", "missing", torch, SET_UP)
    gpu = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU, and none is needed"
    )
    return Finding(
        "PyTorch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads, {gpu}"
    )


def _triton() -> Finding:
    triton = _load("triton")
    if isinstance(triton, str):
        if platform.system() == "Linux":
            return Finding("Triton", "warn", triton, SET_UP)
        fix = "Run the Triton exercises on Linux; on Windows, WSL is one. The rest works here."
        return Finding("Triton", "warn", f"no build for {platform.system()}", fix)
    torch = _load("torch")
    if not isinstance(torch, str) and torch.cuda.is_available():
        return Finding("Triton", "ok", f"{triton.__version__}, kernels are compiled for the GPU")
    found = f"{triton.__version__}, kernels are interpreted on the CPU (TRITON_INTERPRET=1)"
    return Finding("Triton", "ok", found)


def _jupyterlab() -> Finding:
    return _installed("JupyterLab", "jupyterlab")


def _nbgrader() -> Finding:
    return _installed("nbgrader", "nbgrader")


def _extensions() -> Finding:
    """nbgrader's parts of JupyterLab: Validate, the assignment list, formgrader."""
    title = "nbgrader in JupyterLab"
    server, lab = _load("jupyter_server.extension.config"), _load("jupyterlab_server.config")
    if isinstance(server, str) or isinstance(lab, str):
        return Finding(title, "warn", "JupyterLab cannot be imported", SET_UP)
    from jupyter_core.paths import jupyter_config_path, jupyter_path

    manager = server.ExtensionConfigManager(read_config_path=jupyter_config_path())
    enabled = manager.get_jpserver_extensions()
    off = [name for name in SERVER_EXTENSIONS if not enabled.get(name)]
    if off:
        fix = f"Run `jupyter server extension enable --sys-prefix {' '.join(off)}`."
        return Finding(title, "warn", f"server extensions off: {', '.join(off)}", fix)
    page = lab.get_page_config(jupyter_path("labextensions"))
    if LAB_EXTENSION not in {extension["name"] for extension in page["federated_extensions"]}:
        fix = "Run `make clean`, then `make lab`, which installs it again."
        return Finding(title, "warn", f"no lab extension {LAB_EXTENSION}", fix)
    # One of its plugins can be switched off alone: its name goes on after a colon.
    off = [name for name in page["disabledExtensions"] if name.partition(":")[0] == LAB_EXTENSION]
    if off:
        fix = f"Run `jupyter labextension enable {' '.join(off)}`."
        return Finding(title, "warn", f"lab extension off: {', '.join(off)}", fix)
    return Finding(title, "ok", "validate, assignment list, course list and formgrader are on")


def _memory() -> Finding:
    psutil, machine = _load("psutil"), _load("course.machine")
    if isinstance(psutil, str):
        return Finding("Memory", "warn", psutil, SET_UP)
    if isinstance(machine, str):
        return Finding("Memory", "warn", machine, SET_UP)
    memory = machine.usable_memory()
    free = min(psutil.virtual_memory().available, memory)
    found = f"{memory / 1e9:.1f} GB, {free / 1e9:.1f} GB of it free"
    if memory < MEMORY:
        fix = f"Use a machine with {MEMORY / 1e9:.0f} GB, or give this container as much."
        return Finding("Memory", "missing", found, fix)
    return Finding("Memory", "ok", found)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    found = f"{free / 1e9:.1f} GB free in {Path.cwd()}"
    if free < DISK:
        return Finding("Disk", "warn", found, f"Free {DISK / 1e9:.0f} GB on this disk.")
    return Finding("Disk", "ok", found)


def _solutions() -> Finding:
    if importlib.util.find_spec("solutions") is None:
        return Finding(
            "Solutions", "ok", "absent, as a student has it: checks use recorded answers"
        )
    return Finding("Solutions", "ok", "importable: answers can be recorded and work can be graded")


def _sandbox() -> Finding:
    """The sandbox for students' code, tried for real: many machines forbid user namespaces."""
    title = "Sandbox"
    loaded = _load("autograder.grading.sandbox")
    if isinstance(loaded, str):
        return Finding(title, "warn", loaded, SET_UP)
    try:
        return Finding(title, "ok", f"{loaded.find_bubblewrap()} isolates students' code")
    except loaded.SandboxError as error:
        return Finding(title, "warn", str(error), "Only who grades a class needs it.")


def _exchange() -> Finding:
    """nbgrader's exchange folder, as the course's own configuration names it."""
    title = "nbgrader exchange"
    exchange, course = _load("nbgrader.exchange.default"), _load("course")
    if isinstance(exchange, str) or isinstance(course, str):
        return Finding(title, "warn", "nbgrader cannot be imported", SET_UP)
    from traitlets.config import ConfigFileNotFound, PyFileConfigLoader

    config = Path(str(course.__file__)).parent / "nbgrader_config.py"
    try:
        settings = PyFileConfigLoader(str(config)).load_config()
    except ConfigFileNotFound:
        return Finding(title, "warn", f"no {config}", "Restore it from the repository.")
    root = Path(exchange.Exchange(config=settings).root)
    if root.is_dir() and os.access(root, os.W_OK | os.X_OK):
        return Finding(title, "ok", f"{root} is writable")
    found = f"{root} is not writable" if root.exists() else f"{root} does not exist"
    fix = f"Only a class needs it: mkdir -p {root} && chmod ugo+rwx {root}, as an administrator."
    return Finding(title, "warn", found, fix)


def _chromium() -> Finding:
    found = find_chromium()
    if found is None:
        fix = "Only the browser tests need it: install chromium, or set CHROMIUM to its path."
        return Finding("Chromium", "warn", "not found", fix)
    return Finding("Chromium", "ok", found)

"""What of Python, of the system and of this project is shown in the sandbox: an allow-list."""

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MODULES = {
    "autograder": (
        "__init__.py",
        "cases.py",
        "check.py",
        "cost.py",
        "exercise.py",
        "exercises",
        "kernel_probes.py",
        "kernel_source.py",
        "probes.py",
        "properties.py",
        "registry.py",
        "report.py",
        "respond.py",
        "transfer.py",
    ),
    "course": (
        "__init__.py",
        "data",
        "hardware.py",
        "interpreter.py",
        "machine.py",
        "machine_code.py",
        "measure.py",
        "memory_hierarchy.py",
        "reader.py",
        "specifications",
        "tile_run.py",
        "trained_model.py",
        "triton_here.py",
        "widgets",
    ),
}
"""By package, what a notebook imports and a probe needs. Nothing else of this project is shown:

neither what decides, nor the solutions and recorded answers, nor what was handed in.
"""

_PARTS = ("bin", "lib", "lib64", "include", "libexec", "pyvenv.cfg")
"""Of Python and of the system: programs, libraries and headers, nothing that people put there."""

_SYSTEM = (
    *(f"/usr/{part}" for part in _PARTS),
    "/usr/share/zoneinfo",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/sys/devices/system/cpu",
)

ROOT = Path(__file__).parents[2]
"""Where the project's packages lie."""


def is_checkout() -> bool:
    """Whether ROOT is the project's own folder, and not one of Python's."""
    return (ROOT / "pyproject.toml").exists()


def shown_first() -> list[Path]:
    """Paths of the system and of Python; what lies below them is seen too, unless covered."""
    prefixes = dict.fromkeys((sys.base_prefix, sys.prefix))
    paths = [Path(prefix, part) for prefix in prefixes if prefix != "/usr" for part in _PARTS]
    return [path for path in (*map(Path, _SYSTEM), *paths) if path.exists()]


def covered() -> list[Path]:
    """Folders below `shown_first` that hold this project: nothing of them is to be seen."""
    # A checkout also holds tests and a history.
    folders = [ROOT] if is_checkout() else [ROOT / name for name in (*MODULES, "solutions")]
    shown = shown_first()
    return [
        path
        for path in folders
        if path.is_dir() and any(path.is_relative_to(above) for above in shown)
    ]


def shown_last() -> list[Path]:
    """This project's modules and packages."""
    return [ROOT / package / name for package, names in MODULES.items() for name in names]


def links_to_python() -> Iterator[tuple[str, str]]:
    """Links that lead from this environment's Python to its program, where they are not shown."""
    shown, path = shown_first(), Path(sys.executable)
    while path.is_symlink():
        target = os.readlink(path)
        if not any(path.is_relative_to(above) for above in shown):
            yield target, str(path)
        path = Path(os.path.normpath(path.parent / target))


@cache
def font_cache() -> tuple[Path, ...]:
    """matplotlib's list of fonts, which takes a second to make."""
    import matplotlib.font_manager

    return tuple(Path(matplotlib.get_cachedir()).glob("fontlist-*.json"))

"""Wrong Triton kernels as changes to the right ones."""

import inspect
import linecache
from typing import Any

from course.triton_here import tl, triton
from solutions.mistakes import Mistake, mistake


def changed(kernel: Any, name: str, explanation: str, changes: dict[str, str]) -> Mistake:
    """The kernel with each key of `changes`, which must be there, replaced by its value."""
    source = inspect.getsource(kernel.fn)
    for old, new in changes.items():
        if old not in source:
            raise ValueError(f"{kernel.__name__} has no {old!r} for the mistake {name!r}")
        source = source.replace(old, new)
    source = source.replace(kernel.__name__, name, 1)
    # Triton reads a kernel's source from its file.
    file = f"<{kernel.__name__}, {name}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    namespace = {"tl": tl, "triton": triton, "__name__": __name__}
    exec(compile(source, file, "exec"), namespace)
    return mistake(kernel, explanation)(namespace[name])

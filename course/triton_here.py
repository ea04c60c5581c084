"""Triton as it can run here: compiled on a GPU, in Triton's interpreter without one, or not at all.

Import `tl` and `triton` from here: whether a kernel is interpreted is decided when it is defined.
"""

import importlib.util
import inspect
import os
from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

import torch

from course.reader import NotHereError

__all__ = ["DEVICE", "HAS_TRITON", "MISSING", "MissingKernel", "kernel_texts", "tl", "triton"]

MISSING = (
    "Triton is not installed here; it comes for Linux alone. Read on: what the kernels must do is "
    "explained, and all else works. To write and run them, open the course on Linux, in a "
    "container or a virtual machine if need be. What you write is graded all the same."
)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
"""Where kernels run."""

HAS_TRITON = importlib.util.find_spec("triton") is not None


def _not_here(*_: Any, **__: Any) -> NoReturn:
    raise NotHereError(MISSING)


class MissingKernel:
    """What `triton.jit` makes of a kernel where there is no Triton."""

    def __init__(self, function: Callable) -> None:
        self.fn = function
        self.__name__ = function.__name__

    def __getitem__(self, grid: Any) -> NoReturn:
        """Raise NotHereError, which says what to do."""
        _not_here()


class _Missing:
    """Stands for `triton` and `tl`: kernels can be defined, and not be launched."""

    jit = MissingKernel

    def __getattr__(self, name: str) -> Callable:
        return _not_here


def kernel_texts(kernel: Any) -> list[str]:
    """The text of a kernel, after those of the kernels beside it, which it may call."""
    beside = [k for k in kernel.fn.__globals__.values() if isinstance(k, type(kernel))]
    return list(dict.fromkeys(_text(k.fn) for k in [*beside, kernel]))


@cache
def _text(function: Callable) -> str:
    return inspect.getsource(function)


if HAS_TRITON:
    if DEVICE == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    import triton
    import triton.language as tl

    if DEVICE == "cpu":
        from course.interpreter import mend

        mend()
else:
    triton = tl = _Missing()

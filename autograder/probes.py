"""How a student's function is run on a case. Probes decide nothing; they return tensors."""

import contextlib
import io
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from autograder.exercise import (
    CHANGED,
    Answer,
    AnswerError,
    Case,
    Exercise,
    Inputs,
    Raised,
    is_mutable,
)
from course.measure import one_thread

_TRACE_OF_TORCH = "\nException raised from "
"""What begins the list of torch's own C++ frames in some of its messages."""


def as_tensor(value: Any, name: str = "output") -> Tensor:
    """The value if it is a tensor; AnswerError, which the student reads, if it is not."""
    if value is None:
        raise AnswerError(f"the {name} is None, expected a tensor: is there a return?")
    if not isinstance(value, Tensor):
        # What `max` and `sort` give with a dimension is a tuple, though its type has other names.
        kind = "tuple" if isinstance(value, tuple) else type(value).__name__
        raise AnswerError(f"the {name} is a {kind}, expected a tensor")
    if value.is_complex():
        raise AnswerError(f"the {name} is complex, expected real numbers")
    return value


def as_number(value: Any, name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    """A number, or a tensor that holds one, as a tensor; AnswerError if it is neither."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if not isinstance(value, Real):
        raise AnswerError(f"the {name} is a {type(value).__name__}, expected a number")
    return torch.tensor(float(value), dtype=dtype)


def with_gradients(
    function: Callable[..., Any], tensors: dict[str, Tensor], cotangent: Tensor | None
) -> Answer:
    """Run function(*tensors); return its output, and grad_<name> of ⟨output, cotangent⟩ by each.

    A tensor that the output does not depend on has a gradient of zeros; where the output carries
    none, gradients have no numbers. Without a cotangent, only the output is returned.
    """
    if cotangent is None:
        return {"output": as_tensor(function(*tensors.values()))}
    # They share the memory of the inputs, where it is seen whether these were overwritten.
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
    output = as_tensor(function(*leaves.values()))
    answer = {"output": output.detach()}
    cotangent = _in_the_shape_of(output, cotangent)
    if output.shape != cotangent.shape:
        return answer | {
            f"grad_{name}": torch.full_like(t, torch.nan) for name, t in tensors.items()
        }
    if not output.requires_grad:
        return answer | {f"grad_{name}": torch.empty(0) for name in tensors}
    gradients = torch.autograd.grad(
        (output * cotangent).sum(), list(leaves.values()), allow_unused=True
    )
    for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
        answer[f"grad_{name}"] = torch.zeros_like(leaf.detach()) if gradient is None else gradient
    return answer


def _in_the_shape_of(output: Tensor, cotangent: Tensor) -> Tensor:
    # So that an output which is right but for its shape has its gradients.
    if output.squeeze().shape == cotangent.squeeze().shape:
        return cotangent.reshape(output.shape)
    if output.dim() > 1 and output.mT.shape == cotangent.shape:
        return cotangent.mT
    return cotangent


@contextlib.contextmanager
def _supplied(function: Callable, working: Mapping[str, Callable]) -> Iterator[None]:
    """Bind `working` functions in the student's namespace while the probe runs.

    So that an exercise which builds on earlier ones does not fail because those are unsolved.
    """
    namespace = getattr(function, "__globals__", {})
    missing = object()
    before = {name: namespace.get(name, missing) for name in working}
    namespace.update(working)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is missing:
                namespace.pop(name, None)
            else:
                namespace[name] = value


def _copy(inputs: Inputs) -> Inputs:
    # A function that writes into its arguments must not change the case.
    return {
        name: value.clone() if isinstance(value, Tensor) else copy(value)
        for name, value in inputs.items()
    }


def _changed(inputs: Inputs, given: Inputs) -> Tensor:
    """1 for each input that could be overwritten and was, 0 for the others."""

    def same(a: Any, b: Any) -> bool:
        if not isinstance(a, Tensor):
            return a == b
        return a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())

    mutable = [name for name, value in inputs.items() if is_mutable(value)]
    flags = [not same(inputs[name], given[name]) for name in mutable]
    return torch.tensor(flags, dtype=torch.uint8)


def _line_of(error: BaseException, function: Callable) -> str:
    # The deepest line in the file, or notebook cell, that holds the student's function.
    filename = getattr(getattr(function, "__code__", None), "co_filename", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == filename]
    return f"line {frames[-1].lineno}: {frames[-1].line}" if frames and frames[-1].line else ""


@contextlib.contextmanager
def default_settings() -> Iterator[None]:
    """Let torch make float32 tensors on the CPU and record gradients, whatever a cell has set."""
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
        # None is the CPU too, and unlike "cpu" it costs nothing at each call of torch.
        torch.set_default_device(None if device.type == "cpu" else device)


def _as_written() -> contextlib.AbstractContextManager:
    """Run what `torch.compile` made as it was written: compiling takes longer than all cases."""
    if "torch._dynamo" not in sys.modules:
        return contextlib.nullcontext()
    return torch.compiler.set_stance("force_eager")


def run_probe(
    exercise: Exercise, function: Callable, cases: dict[str, Case]
) -> tuple[dict[str, Answer | Raised], str]:
    """Run a function on every case: (answers by case, what it printed).

    An answer also tells, as `CHANGED`, which inputs were overwritten. Exceptions become `Raised`.
    Nothing reaches stdout or stderr: nbgrader scores a cell that writes to stderr as 0, and a
    warning is no mistake.
    """
    answers: dict[str, Answer | Raised] = {}
    printed = io.StringIO()
    with (
        default_settings(),
        one_thread(),
        _as_written(),
        # Where keys and values differ in number, the fused one reads past their end: the process,
        # a notebook's kernel, dies of it. This one raises an exception.
        sdpa_kernel(SDPBackend.MATH),
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        for name, case in cases.items():
            part, given = exercise.part(case.part), _copy(case.inputs)
            try:
                with _supplied(function, part.supplies):
                    answer = part.probe(function, **given)
                answer = {key: tensor.detach() for key, tensor in answer.items()}
                if not part.only_grading:
                    answer[CHANGED] = _changed(case.inputs, given)
                answers[name] = answer
            except Exception as error:
                message = str(error).partition(_TRACE_OF_TORCH)[0]
                answers[name] = Raised(type(error).__name__, message, _line_of(error, function))
    return answers, printed.getvalue()

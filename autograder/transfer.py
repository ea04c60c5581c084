"""Cases and answers as bytes: how the judge and a student's process exchange tensors.

A safetensors file: tensors are called case|name, and what is no tensor is JSON in the header.
Nothing in it can run code, as a pickle could.
"""

import json
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from autograder.exercise import Answer, Case, Raised

_SEPARATOR = "|"
_HEADER_LIMIT = 1_000_000
_TEXT_LIMIT = 2_000
_DTYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}


class MalformedError(Exception):
    """What came back is no set of answers; the text says why."""


def _order_in_memory(tensor: Tensor) -> list[int]:
    """Its axes from the one whose entries lie furthest apart on."""
    axes = list(range(tensor.dim()))
    # An axis of length 1 lies anywhere.
    if tensor.is_contiguous():
        return axes
    return sorted(axes, key=tensor.stride, reverse=True)


def pack_cases(cases: dict[str, Case]) -> bytes:
    """The cases as bytes. A tensor whose axes lie in another order in memory keeps that."""
    tensors: dict[str, Tensor] = {}
    about: dict[str, Any] = {}
    for name, case in cases.items():
        inputs, orders = {}, {}
        for key, value in case.inputs.items():
            if isinstance(value, Tensor):
                orders[key] = _order_in_memory(value)
                tensors[name + _SEPARATOR + key] = value.permute(orders[key]).contiguous().clone()
                value = None  # only its place: the file keeps another order
            inputs[key] = value
        about[name] = [case.part, inputs, orders]
    return save(tensors, metadata={"about": json.dumps(about)})


def unpack_cases(data: bytes) -> dict[str, Case]:
    """The cases that `pack_cases` packed, in their order."""
    cases, tensors = {}, load(data)
    for name, (part, inputs, orders) in _about(data).items():
        for key, order in orders.items():
            tensor = tensors[name + _SEPARATOR + key]
            inputs[key] = tensor.permute([order.index(axis) for axis in range(tensor.dim())])
        cases[name] = Case(part, inputs)
    return cases


def pack_answers(answers: dict[str, Answer | Raised], printed: str) -> bytes:
    """The answers, and what was printed, as bytes."""
    tensors, raised = {}, {}
    for case, answer in answers.items():
        if isinstance(answer, Raised):
            fields = (answer.kind, answer.message, answer.where)
            raised[case] = [str(field)[:_TEXT_LIMIT] for field in fields]
            continue
        for name, tensor in answer.items():
            plain = tensor.detach().as_subclass(Tensor).cpu()
            tensors[case + _SEPARATOR + name] = plain.contiguous().clone()
    about = {"raised": raised, "printed": printed[:_TEXT_LIMIT]}
    return save(tensors, metadata={"about": json.dumps(about)})


def unpack_answers(data: bytes) -> tuple[dict[str, Answer | Raised], str]:
    """The answers by case, and what was printed. `data` may be anything.

    Raises MalformedError if it is not what `pack_answers` makes.
    """
    about = _about(data)
    types = {str(entry["dtype"]) for entry in _header(data).values() if "dtype" in entry}
    if foreign := types - _DTYPES:
        raise MalformedError(f"it holds tensors of type {', '.join(sorted(foreign))[:100]}")
    tensors: dict[str, Answer] = {}
    try:
        for key, tensor in load(data).items():
            case, _, name = key.partition(_SEPARATOR)
            tensors.setdefault(case, {})[name] = tensor
        answers: dict[str, Answer | Raised] = {**tensors}
        for case, (kind, message, where) in about["raised"].items():
            answers[case] = Raised(*(str(text)[:_TEXT_LIMIT] for text in (kind, message, where)))
        return answers, str(about["printed"])[:_TEXT_LIMIT]
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise MalformedError("it is damaged") from None


def _header(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(_HEADER_LIMIT, len(data) - 8):
        raise MalformedError("it has no header, or too long a one")
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError):
        raise MalformedError("its header is damaged") from None
    if not isinstance(header, dict) or not all(isinstance(e, dict) for e in header.values()):
        raise MalformedError("its header is damaged")
    return header


def _about(data: bytes) -> dict[str, Any]:
    try:
        about = json.loads(_header(data)["__metadata__"]["about"])
    except (KeyError, ValueError, TypeError, RecursionError):
        raise MalformedError("its header is damaged") from None
    if not isinstance(about, dict):
        raise MalformedError("its header is damaged")
    return about

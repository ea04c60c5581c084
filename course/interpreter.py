"""Triton's interpreter: its faults mended, and a watch over the memory that kernels reach in it.

Import it after `course.triton_here`, which decides whether kernels are interpreted.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton.language as tl
from torch import Tensor
from triton.runtime import JITFunction, interpreter
from triton.runtime.interpreter import (
    InterpreterBuilder,
    InterpreterOptions,
    ReduceOps,
    TensorHandle,
)

# --- bfloat16, which NumPy does not have: the upper half of a float32 ----------------------------


def _is_bfloat16(x: Any) -> bool:
    return x.dtype.scalar == tl.bfloat16


def _in_float32(x: Any) -> Any:
    """The same numbers, as a GPU computes with them."""
    if not _is_bfloat16(x):
        return x
    return TensorHandle((x.data.astype(np.uint32) << 16).view(np.float32), tl.float32)


def _in_bfloat16(numbers: np.ndarray) -> Any:
    """The nearest numbers of bfloat16; of two that are as near, the even one."""
    bits = numbers.astype(np.float32).view(np.uint32)
    nearest = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return TensorHandle(np.where(np.isnan(numbers), np.uint16(0x7FC0), nearest), tl.bfloat16)


# --- The faults ----------------------------------------------------------------------------------


def mend() -> None:
    """Mend five faults of Triton's interpreter, as of versions 3.6 to 3.9.

    Functions of its own, such as tl.max, cannot be interpreted if something imported Triton before
    it was known that there is no GPU. It computes with bfloat16 as if the bits were integers,
    knows no constants of that type, and rounds to it towards 0. In 3.6, with NumPy 2.4, a tensor of
    one number cannot be the bound of a loop. And where a load is masked and has no `other`, it
    gives 0, where Triton defines nothing: here that is NaN.
    """
    for module in (tl, tl.standard):
        for name, value in vars(module).items():
            if isinstance(value, JITFunction):
                setattr(module, name, interpreter.InterpretedFunction(value.fn))
    _mend_bfloat16()
    _make_quicker()
    load, patch_tensor = InterpreterBuilder.create_masked_load, interpreter._patch_lang_tensor

    def create_masked_load(self: Any, ptrs: Any, mask: Any, other: Any, *rest: Any) -> Any:
        return load(self, ptrs, mask, _undefined(ptrs) if other is None else other, *rest)

    def patched_tensor(tensor: Any, scope: Any) -> None:
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    InterpreterBuilder.create_masked_load = create_masked_load
    interpreter._patch_lang_tensor = patched_tensor


def _undefined(ptrs: Any) -> Any:
    """What a load gives where nothing is defined: NaN, or 0 for numbers that know none."""
    dtype, shape = ptrs.get_element_ty(), ptrs.data.shape
    if dtype == tl.bfloat16:
        return _in_bfloat16(np.full(shape, np.nan, np.float32))
    numbers = np.full(shape, np.nan) if dtype.is_floating() else np.zeros(shape)
    return TensorHandle(numbers.astype(interpreter._get_np_dtype(dtype)), dtype)


def _mend_bfloat16() -> None:
    multiply, binary, cast, add_up = (
        InterpreterBuilder.create_dot,
        InterpreterBuilder.binary_op,
        InterpreterBuilder.cast_impl,
        ReduceOps.sum,
    )

    def create_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return multiply(self, _in_float32(a), _in_float32(b), *rest)

    def binary_op(self: Any, a: Any, b: Any, operation: Any) -> Any:
        if not _is_bfloat16(a):
            return binary(self, a, b, operation)
        result = operation(_in_float32(a).data, _in_float32(b).data)
        return TensorHandle(result, tl.int1) if result.dtype == bool else _in_bfloat16(result)

    def cast_impl(self: Any, x: Any, to: Any) -> Any:
        x = _in_float32(x)
        return _in_bfloat16(x.data) if to.scalar == tl.bfloat16 else cast(self, x, to)

    def sum_up(self: Any, inputs: Any) -> Any:
        if not _is_bfloat16(inputs.handle):
            return add_up(self, inputs)
        numbers = _in_float32(inputs.handle).data
        total = np.sum(numbers, axis=self.axis, keepdims=self.keep_dims)
        return self.to_tensor(_in_bfloat16(np.asarray(total)).data, inputs.dtype)

    InterpreterBuilder.get_bf16 = lambda self, number: _in_bfloat16(np.array([number], np.float32))
    InterpreterBuilder.create_dot = create_dot
    InterpreterBuilder.binary_op = binary_op
    InterpreterBuilder.cast_impl = cast_impl
    ReduceOps.sum = sum_up


def _make_quicker() -> None:
    """Do what takes half of the interpreter's time, and changes no number, once or not at all."""
    interpreter.interpreter_builder.options = InterpreterOptions(sanitize_overflow=False)
    prepared: set[int] = set()

    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        # What it replaces for functions of tl.standard stays; for the others, each launch does.
        if id(self.fn.__globals__) not in prepared:
            prepared.add(id(self.fn.__globals__))
            interpreter._patch_lang(self.fn)
        return self.rewrite()(*arguments, **named)

    interpreter.InterpretedFunction.__call__ = call


# --- What kernels reach --------------------------------------------------------------------------


@dataclass
class Seen:
    """What kernels did: products of tiles, numbers that they read, each time they did, and places
    that they tried to reach and may not.
    """

    products: int = 0
    read: int = 0
    read_outside: int = 0
    written_outside: int = 0


class _Places:
    """The elements of some tensors, by their addresses."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tables: dict[int, np.ndarray] = {}
        self._bytes: dict[int, int] = {}
        for tensor in tensors:
            storage = tensor.untyped_storage()
            start, size = storage.data_ptr(), tensor.element_size()
            table = self._tables.setdefault(start, np.zeros(storage.nbytes() // size, bool))
            elements = np.lib.stride_tricks.as_strided(
                table[tensor.storage_offset() :], tensor.shape, tensor.stride()
            )
            elements[...] = True
            self._bytes[start] = size

    def hold(self, addresses: np.ndarray) -> np.ndarray:
        """Whether an element lies at each address."""
        found = np.zeros(addresses.shape, bool)
        for start, table in self._tables.items():
            places = (addresses - np.uint64(start)) // np.uint64(self._bytes[start])
            inside = places < len(table)  # below the start it wraps around, and is large
            if inside.any():
                found |= inside & table[np.where(inside, places, 0)]
        return found


@contextlib.contextmanager
def watched(readable: Sequence[Tensor], writable: Sequence[Tensor]) -> Iterator[Seen]:
    """Let kernels reach the elements of these tensors and nothing else; count what they try.

    What is read elsewhere is NaN, what is written elsewhere is dropped: a wild pointer does no
    harm. What fails in the interpreter is raised as it was.
    """
    seen, read, written = Seen(), _Places([*readable, *writable]), _Places(writable)
    multiply, load, store, update, exchange = before = [
        getattr(InterpreterBuilder, f"create_{name}") for name in _WATCHED
    ]

    def dot(self: Any, *arguments: Any) -> Any:
        seen.products += 1
        return multiply(self, *arguments)

    def masked(mask: Any, held: np.ndarray) -> tuple[Any, np.ndarray]:
        """The mask without the places that are not held, and those of them that it asked for."""
        wanted = np.broadcast_to(np.asarray(mask.data, bool), held.shape)
        return TensorHandle(wanted & held, tl.int1), wanted & ~held

    def masked_load(self: Any, ptrs: Any, mask: Any, *rest: Any) -> Any:
        inside, outside = masked(mask, read.hold(ptrs.data))
        seen.read += int(inside.data.sum())
        seen.read_outside += int(outside.sum())
        loaded = load(self, ptrs, inside, *rest)
        if outside.any():
            loaded.data = np.where(outside, _undefined(ptrs).data, loaded.data)
        return loaded

    def masked_store(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any) -> Any:
        inside, outside = masked(mask, written.hold(ptrs.data))
        seen.written_outside += int(outside.sum())
        return store(self, ptrs, value, inside, *rest)

    def atomic_rmw(self: Any, how: Any, ptrs: Any, value: Any, mask: Any, *rest: Any) -> Any:
        inside, outside = masked(mask, written.hold(ptrs.data))
        seen.written_outside += int(outside.sum())
        return update(self, how, ptrs, value, inside, *rest)

    def atomic_cas(self: Any, ptrs: Any, expected: Any, *rest: Any) -> Any:
        outside = ~written.hold(ptrs.data)
        seen.written_outside += int(outside.sum())
        return expected if outside.any() else exchange(self, ptrs, expected, *rest)

    try:
        _replace(dot, masked_load, masked_store, atomic_rmw, atomic_cas)
        yield seen
    except interpreter.InterpreterError as error:
        raise (error.__cause__ or error) from None
    finally:
        _replace(*before)


_WATCHED = ("dot", "masked_load", "masked_store", "atomic_rmw", "atomic_cas")


def _replace(*functions: Callable) -> None:
    for name, function in zip(_WATCHED, functions, strict=True):
        setattr(InterpreterBuilder, f"create_{name}", function)

"""Clocks and counters: seconds on this machine, and operations and elements on any machine."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

_aten = torch.ops.aten
# What torch's own table lacks: its fused attention on a CPU. The formulas need the shapes alone.
_FLOPS = flop_registry | {
    _aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        _aten._scaled_dot_product_flash_attention
    ],
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        _aten._scaled_dot_product_flash_attention_backward
    ],
}


@dataclass
class Cost:
    """What a computation cost, counted and not timed.

    work: FLOPs of the matrix products (2 per multiply-add), those inside of fused attention too,
    and one for each element that any other operation writes. calls: operations that wrote
    something. largest_tensor: elements in the largest tensor that was allocated; a broadcast view
    costs nothing.
    """

    work: int = 0
    calls: int = 0
    largest_tensor: int = 0


class DispatchMode(TorchDispatchMode):
    """A mode that does not have torch import its compiler, which takes seconds in each process."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _CostCounter(DispatchMode):
    """Sees every operation that torch dispatches while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.cost = Cost()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        # The second gives a fresh result another shape: it writes nothing either.
        if func.is_view or func is torch.ops.aten._unsafe_view.default:
            return result
        self.cost.calls += 1
        written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if count_flops := _FLOPS.get(func.overloadpacket):
            self.cost.work += count_flops(*args, **kwargs, out_val=result)
        else:
            self.cost.work += sum(tensor.numel() for tensor in written)
        for tensor in written:
            elements = tensor.untyped_storage().nbytes() // tensor.element_size()
            self.cost.largest_tensor = max(self.cost.largest_tensor, elements)
        return result


def count_cost(function: Callable[[], Any]) -> Cost:
    """Run `function` once and count what its torch operations cost."""
    with _CostCounter() as counter:
        function()
    return counter.cost


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread; as a decorator too.

    Thousands of small operations gain nothing from more, and on busy cores each waits for them.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def fastest_seconds(
    functions: dict[Any, Callable[[], Any]], repeats: int = 5, budget: float = 2.0
) -> dict[Any, float]:
    """Time functions side by side, one run of each in turn, `repeats` times: the fastest of each.

    What counts is the processor's time on one thread. Time in which other programs had it is left
    out: short runs find a moment without them and long ones do not, which would spoil an exponent.
    Whatever else the machine does only ever adds, so the fastest run says most. Taking turns lets
    a slow spell hit all alike. A function that has used up `budget` seconds is not repeated
    further. Each is run once before, untimed.
    """
    times: dict[Any, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            if sum(times[name]) > budget:
                continue
            start = time.process_time()
            function()
            times[name].append(time.process_time() - start)
    return {name: min(values) for name, values in times.items()}


PRODUCT_SIDE = 1024


@cache
def flops_a_second() -> float:
    """FLOPs a second of a large matrix product in float32 on one thread of this machine."""
    a, b = torch.randn(2, PRODUCT_SIDE, PRODUCT_SIDE)
    return 2 * PRODUCT_SIDE**3 / fastest_seconds({"product": lambda: a @ b})["product"]


def scaling_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of log(cost) against log(size), by least squares: 2 for O(n²), 1 for O(n)."""
    x = [math.log(size) for size in sizes]
    y = [math.log(cost) for cost in costs]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - x_mean) ** 2 for a in x)

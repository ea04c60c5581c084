"""The exercises of 05_hardware_aware_attention in Triton, forward: softmax and FlashAttention."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from autograder.cases import normal
from autograder.exercise import Answer, Exercise, Inputs, Part, Property, Sign
from autograder.exercises.hardware_aware_attention.kernel_parts import (
    COMPILED,
    HIGH_TILES,
    STAYS_INSIDE,
    WIDE_TILES,
    machine_code,
    prime,
)
from autograder.kernel_probes import (
    GUARD,
    Guarded,
    nan_like,
    reads_again,
    run_kernel,
    too_many_products,
    triton_kernel,
)
from autograder.properties import matches
from course.specifications.hardware_aware_attention import attention_and_logsumexp

OWN_LAYOUTS = ("heads inside", "rows apart", "columns apart", "contiguous")
CAUSAL = (
    "causal",
    "causal, prime",
    "causal, more queries",
    "causal, more keys",
    "causal, wide tiles",
)


# --- softmax_kernel ------------------------------------------------------------------------------


def _softmax_cases(generator: Generator) -> dict[str, Inputs]:
    def case(columns: int, scale: float = 1.0, shift: float = 0.0) -> Inputs:
        return {"x": normal(generator, 5, columns, scale=scale) + shift}

    return {
        "whole": case(16),
        "ragged": case(13),
        "one column": case(1),
        "prime": case(prime(generator)),
        "far below 0": case(11, shift=-300.0),
        "large numbers": case(19, scale=50.0),
        "large numbers, whole": case(16, scale=50.0),
        "float16": {"x": case(21)["x"].half()},
        "bfloat16": {"x": case(21)["x"].bfloat16()},
        "long rows": case(3000),
    }


def _softmax_probe(function: Callable, x: Tensor) -> Answer:
    from course.specifications.hardware_aware_attention.kernels import launch_softmax

    kernel = triton_kernel(function)
    # The rows of x and of the output lie differently far apart.
    given = Guarded(x.unsqueeze(1), "rows apart")
    out = Guarded(nan_like(x).unsqueeze(1), "rows apart", guard=GUARD + 1)

    def launch(x: Tensor, out: Tensor) -> None:
        launch_softmax(kernel, x[:, 0], out[:, 0])

    answer = run_kernel(launch, [given], {"output": out})
    return answer | {"output": answer["output"][:, 0]}


def _softmax_truth(x: Tensor) -> Answer:
    return {"output": x.softmax(dim=-1)}


def _reaches_beyond_the_rows(read: bool, written: bool) -> Sign:
    """It reads, or writes, all of BLOCK numbers of every row."""

    def sign(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
        rows, columns = inputs["x"].shape
        beyond = rows * (2 ** (columns - 1).bit_length() - columns)
        return answer["outside"].tolist() == [read * beyond, written * beyond]

    return sign


def _rows_elsewhere(read: bool, written: bool) -> Sign:
    """It reads, or writes, other places than its rows, however many columns there are."""

    def sign(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
        return [times > 0 for times in answer["outside"].tolist()] == [read, written]

    return sign


SOFTMAX_KERNEL = Exercise(
    "softmax_kernel",
    "hardware_aware_attention",
    (
        Part(
            "numbers",
            _softmax_cases,
            _softmax_probe,
            (
                matches(
                    "output",
                    title="the softmax of each row",
                    points=1,
                    cases=("whole", "one column"),
                ),
                matches(
                    "output",
                    title="any number of columns: what lies beyond the row weighs nothing",
                    points=2,
                    cases=("ragged", "prime", "long rows"),
                ),
                matches(
                    "output",
                    title="far below 0, far apart, float16 and bfloat16",
                    points=1,
                    cases=(
                        "far below 0",
                        "large numbers",
                        "large numbers, whole",
                        "float16",
                        "bfloat16",
                    ),
                ),
                STAYS_INSIDE,
                Property("each number is read once", 1, reads_again, ("whole", "prime")),
            ),
            truth=_softmax_truth,
            # They give NaN, as others do: what they reach beyond the rows tells them.
            signs={
                "no mask on ragged rows": _reaches_beyond_the_rows(read=True, written=True),
                "no mask on the load": _reaches_beyond_the_rows(read=True, written=False),
                "row stride of another matrix": _rows_elsewhere(read=True, written=True),
                "rows of the output elsewhere": _rows_elsewhere(read=False, written=True),
                "rows of the input elsewhere": _rows_elsewhere(read=True, written=False),
            },
        ),
    ),
    kind="kernel",
)


# --- flash_attention_kernel ----------------------------------------------------------------------


def _far_below_0(inputs: Inputs) -> Inputs:
    """The same with all scores near −230, and values that do not cancel."""
    inputs["q"][..., 0], inputs["k"][..., 0] = 40, -23
    inputs["v"] += 2
    return inputs


def _flash_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n_q: int, n_k: int, d: int = 16, dtype: str = "float32", **more: Any) -> Inputs:
        scale, pairs = more.pop("scale", 1.0), more.pop("pairs", (1, 2))
        q = normal(generator, *pairs, n_q, d, scale=scale)
        k, v = normal(generator, 2, *pairs, n_k, d).unbind()
        tensors = {"q": q, "k": k * scale, "v": v}
        tensors = {name: x.to(getattr(torch, dtype)) for name, x in tensors.items()}
        return tensors | {"causal": False, "layout": "contiguous"} | HIGH_TILES | more

    n = prime(generator)
    many = case(2, 1280, dtype="bfloat16", scale=0.1, pairs=(1, 1))
    many["v"] = many["v"] / 100 + 1.1  # no sums of these are short numbers
    return {
        "one tile": case(32, 16),
        "whole tiles": case(64, 32),
        "wide tiles": case(20, 70, **WIDE_TILES),
        "batch of heads": case(5, 18, pairs=(2, 3)),
        "head of 32": case(5, 18, 32),
        "head of 64": case(5, 18, 64),
        "head of 128": case(5, 18, 128, pairs=(1, 1)),
        "one token": case(1, 1),
        "prime": case(n, n),
        "more keys": case(5, 50),
        "more queries": case(40, 7),
        "causal": case(64, 64, causal=True),
        "causal, prime": case(n, n, causal=True, pairs=(2, 1)),
        "causal, more queries": case(40, 21, causal=True),
        "causal, more keys": case(21, 40, causal=True),
        "causal, wide tiles": case(64, 64, causal=True, **WIDE_TILES),
        "large numbers": case(33, 33, scale=6.0),
        "large numbers, causal": case(33, 33, scale=6.0, causal=True),
        "far below 0": _far_below_0(case(9, 40)),
        "far below 0, causal": _far_below_0(case(33, 33, causal=True)),
        "float16": case(n, n, dtype="float16"),
        "bfloat16": case(n, n, dtype="bfloat16", causal=True),
        "many keys in bfloat16": many,
        "rows apart": case(6, 20, pairs=(2, 2), layout="rows apart"),
        "heads inside": case(6, 20, pairs=(2, 2), layout="heads inside"),
        "columns apart": case(6, 20, pairs=(2, 2), layout="columns apart"),
        "each its own": case(6, 20, pairs=(2, 2), layout="each its own"),
    }


def _flash_probe(function: Callable, **inputs: Any) -> Answer:
    from course.specifications.hardware_aware_attention.kernels import launch_flash_attention

    kernel = triton_kernel(function)
    q, k, v, layout = (inputs[name] for name in ("q", "k", "v", "layout"))
    layouts = OWN_LAYOUTS if layout == "each its own" else (layout,) * 4
    tensors = (q, k, v, nan_like(q))
    *given, out = (Guarded(x, each) for x, each in zip(tensors, layouts, strict=True))
    outputs = {"output": out, "logsumexp": Guarded(nan_like(q[..., :1]).float())}

    def launch(q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor) -> None:
        tiles = {name: inputs[name] for name in HIGH_TILES}
        launch_flash_attention(kernel, q, k, v, out, lse[..., 0], inputs["causal"], tiles)

    answer = run_kernel(launch, given, outputs)
    return answer | {"logsumexp": answer["logsumexp"][..., 0]}


def _flash_truth(q: Tensor, k: Tensor, v: Tensor, causal: bool, **how: Any) -> Answer:
    output, lse = attention_and_logsumexp(q, k, v, causal)
    return {"output": output, "logsumexp": lse}


FLASH_ATTENTION = Exercise(
    "flash_attention_kernel",
    "hardware_aware_attention",
    (
        Part(
            "numbers",
            _flash_cases,
            _flash_probe,
            (
                matches(
                    "output",
                    title="equals softmax attention, for heads of 16 to 128 numbers",
                    points=3,
                    cases=(
                        "one tile",
                        "whole tiles",
                        "wide tiles",
                        "batch of heads",
                        "head of 32",
                        "head of 64",
                        "head of 128",
                    ),
                ),
                matches(
                    "output",
                    title="any number of queries and keys",
                    points=2,
                    cases=("one token", "prime", "more keys", "more queries"),
                ),
                matches(
                    "output",
                    title="causal",
                    points=2,
                    cases=CAUSAL,
                ),
                Property(
                    "causal: no tile of later keys is multiplied", 1, too_many_products(2), CAUSAL
                ),
                matches(
                    "output",
                    title="large scores, and scores far below 0",
                    points=1,
                    cases=(
                        "large numbers",
                        "large numbers, causal",
                        "far below 0",
                        "far below 0, causal",
                    ),
                ),
                matches(
                    "output",
                    title="float16 and bfloat16, with sums in float32",
                    points=1,
                    cases=("float16", "bfloat16", "many keys in bfloat16"),
                ),
                matches(
                    "output",
                    title="any strides",
                    points=1,
                    cases=("rows apart", "heads inside", "columns apart", "each its own"),
                ),
                matches(
                    "logsumexp",
                    title="the logsumexp of each query",
                    points=2,
                    cases=(
                        "whole tiles",
                        "wide tiles",
                        "one token",
                        "prime",
                        "causal, prime",
                        "large numbers",
                        "far below 0",
                        "each its own",
                    ),
                ),
                STAYS_INSIDE,
            ),
            truth=_flash_truth,
        ),
        machine_code(COMPILED),
    ),
    kind="kernel",
)

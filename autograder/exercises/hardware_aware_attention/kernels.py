"""The exercises of 05_hardware_aware_attention in Triton."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from autograder.cases import GRADIENTS, normal
from autograder.exercise import Answer, Exercise, Inputs, Part, Property
from autograder.kernel_probes import (
    GUARD,
    TILES,
    Guarded,
    bad_code,
    code_answer,
    guarded_answer,
    interpreted,
    nan_like,
    too_many_products,
    triton_kernel,
    writes_outside,
)
from autograder.properties import matches
from course.specifications.hardware_aware_attention import (
    attention_and_logsumexp,
    attention_gradients,
)

COMPILED = {"CAUSAL": True, "D": 64, "BLOCK_Q": 64, "BLOCK_K": 32}
"""The constants with which a kernel is compiled for GPUs."""
OWN_LAYOUTS = ("heads inside", "rows apart", "columns apart", "contiguous")
NOTHING_OUTSIDE = "writes its own rows, and nothing beyond them"
GOOD_CODE = "compiles for GPUs: on tensor cores, in registers and shared memory"


def _prime(generator: Generator) -> int:
    return (29, 37, 41, 43)[int(torch.randint(4, (), generator=generator))]


def _machine_code(constants: dict[str, int | bool]) -> Part:
    """What the kernel becomes when it is compiled with these constants, which takes seconds."""

    def probe(function: Callable, **constants: Any) -> Answer:
        return code_answer(triton_kernel(function), constants)

    return Part(
        "machine code",
        lambda generator: {"machine code": dict(constants)},
        probe,
        (Property(GOOD_CODE, 1, bad_code),),
        tells_mistakes=False,
    )


# --- softmax_kernel ------------------------------------------------------------------------------


def _softmax_cases(generator: Generator) -> dict[str, Inputs]:
    def case(columns: int, scale: float = 1.0, shift: float = 0.0) -> Inputs:
        return {"x": normal(generator, 5, columns, scale=scale) + shift}

    return {
        "whole": case(16),
        "ragged": case(13),
        "one column": case(1),
        "prime": case(_prime(generator)),
        "far below 0": case(11, shift=-300.0),
        "large numbers": case(19, scale=50.0),
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
    with interpreted() as products:
        launch_softmax(kernel, given.view[:, 0], out.view[:, 0])
    answer = guarded_answer({"output": out}, products[0])
    return answer | {"output": answer["output"][:, 0]}


def _softmax_truth(x: Tensor) -> Answer:
    return {"output": x.softmax(dim=-1)}


SOFTMAX = Exercise(
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
                    cases=("far below 0", "large numbers", "float16", "bfloat16"),
                ),
                Property(NOTHING_OUTSIDE, 1, writes_outside),
            ),
            truth=_softmax_truth,
        ),
    ),
    kind="kernel",
)


# --- flash_attention_kernel ----------------------------------------------------------------------


def _flash_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n_q: int, n_k: int, d: int = 16, dtype: str = "float32", **more: Any) -> Inputs:
        scale, pairs = more.pop("scale", 1.0), more.pop("pairs", (1, 2))
        q = normal(generator, *pairs, n_q, d, scale=scale)
        k, v = normal(generator, 2, *pairs, n_k, d).unbind()
        tensors = {"q": q, "k": k * scale, "v": v}
        tensors = {name: x.to(getattr(torch, dtype)) for name, x in tensors.items()}
        return tensors | {"causal": False, "layout": "contiguous"} | more

    n = _prime(generator)
    many = case(2, 1280, dtype="bfloat16", scale=0.1, pairs=(1, 1))
    many["v"] = many["v"] / 100 + 1.1  # no sums of these are short numbers
    return {
        "one tile": case(32, 16),
        "whole tiles": case(64, 32),
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
        "large numbers": case(33, 33, scale=6.0),
        "large numbers, causal": case(33, 33, scale=6.0, causal=True),
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
    lse = Guarded(nan_like(q[..., :1]).float())
    views = [guarded.view for guarded in (*given, out)]
    with interpreted() as products:
        launch_flash_attention(kernel, *views, lse.view[..., 0], inputs["causal"], TILES)
    answer = guarded_answer({"output": out, "logsumexp": lse}, products[0])
    return answer | {"logsumexp": answer["logsumexp"][..., 0]}


def _flash_truth(q: Tensor, k: Tensor, v: Tensor, causal: bool, layout: str) -> Answer:
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
                    cases=("causal", "causal, prime", "causal, more queries"),
                ),
                Property(
                    "causal: no tile of later keys is multiplied",
                    1,
                    too_many_products(2),
                    ("causal",),
                ),
                matches(
                    "output",
                    title="large scores",
                    points=1,
                    cases=("large numbers", "large numbers, causal"),
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
                    cases=("whole tiles", "prime", "causal, prime", "large numbers", "one token"),
                ),
                Property(
                    NOTHING_OUTSIDE,
                    1,
                    writes_outside,
                    (
                        "one token",
                        "prime",
                        "more queries",
                        "rows apart",
                        "heads inside",
                        "columns apart",
                    ),
                ),
            ),
            truth=_flash_truth,
        ),
        _machine_code(COMPILED),
    ),
    kind="kernel",
)


# --- flash_dq_kernel, flash_dk_dv_kernel ---------------------------------------------------------


def _backward_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n_q: int, n_k: int, d: int = 16, dtype: str = "float32", **more: Any) -> Inputs:
        q, grad_out = normal(generator, 2, 1, 2, n_q, d).to(getattr(torch, dtype)).unbind()
        k, v = normal(generator, 2, 1, 2, n_k, d).to(getattr(torch, dtype)).unbind()
        return {"q": q, "k": k, "v": v, "grad_out": grad_out, "causal": False} | more

    n = _prime(generator)
    far = case(5, 20)
    # All scores near −96: exp(0 − logsumexp) is more than float32 holds.
    far["q"][..., 0], far["k"][..., 0] = -384, 1
    return {
        "one tile": case(32, 16),
        "whole tiles": case(64, 32),
        "head of 128": case(5, 18, 128),
        "one query": case(1, 3),
        "prime": case(n, n),
        "more keys": case(5, 50),
        "more queries": case(40, 7),
        "far below 0": far,
        "causal": case(64, 64, causal=True),
        "causal, prime": case(n, n, causal=True),
        "causal, more keys": case(21, 40, causal=True),
        "float16": case(n, n, dtype="float16"),
        "bfloat16": case(n, n, dtype="bfloat16", causal=True),
    }


def _backward_probe(names: tuple[str, ...], over: str) -> Callable[..., Answer]:
    def probe(function: Callable, **inputs: Any) -> Answer:
        from course.specifications.hardware_aware_attention.kernels import launch_backward_kernel

        kernel = triton_kernel(function)
        q, k, v, grad_out = (inputs[name] for name in ("q", "k", "v", "grad_out"))
        exact = (x.double() for x in (q, k, v))
        output, lse = attention_and_logsumexp(*exact, inputs["causal"])
        delta = (grad_out.double() * output).sum(dim=-1)
        columns = [x.unsqueeze(-1).float() for x in (lse, delta)]
        given = [Guarded(x).view for x in (q, k, v, grad_out, *columns)]
        given[4:] = [x[..., 0] for x in given[4:]]
        like = {"grad_q": q, "grad_k": k, "grad_v": v}
        gradients = {name: Guarded(nan_like(like[name])) for name in names}
        written = [guarded.view for guarded in gradients.values()]
        with interpreted() as products:
            launch_backward_kernel(kernel, over, given, written, inputs["causal"], TILES)
        return guarded_answer(gradients, products[0])

    return probe


def _backward_truth(q: Tensor, k: Tensor, v: Tensor, grad_out: Tensor, causal: bool) -> Answer:
    gradients = attention_gradients(q, k, v, grad_out, causal)
    return dict(zip(GRADIENTS, gradients, strict=True))


def _backward(name: str, names: tuple[str, ...], over: str, products: int) -> Exercise:
    return Exercise(
        name,
        "hardware_aware_attention",
        (
            Part(
                "numbers",
                _backward_cases,
                _backward_probe(names, over),
                (
                    matches(
                        *names,
                        title="equals the gradients of softmax attention",
                        points=2,
                        cases=("one tile", "whole tiles", "head of 128"),
                    ),
                    matches(
                        *names,
                        title="any number of queries and keys",
                        points=1,
                        cases=("one query", "prime", "more keys", "more queries", "far below 0"),
                    ),
                    matches(
                        *names,
                        title="causal",
                        points=1,
                        cases=("causal", "causal, prime", "causal, more keys"),
                    ),
                    matches(
                        *names,
                        title="float16 and bfloat16",
                        points=1,
                        cases=("float16", "bfloat16"),
                    ),
                    Property(
                        "causal: no tile above the diagonal is multiplied",
                        1,
                        too_many_products(products),
                        ("causal",),
                    ),
                    Property(
                        NOTHING_OUTSIDE, 1, writes_outside, ("one query", "prime", "more queries")
                    ),
                ),
                truth=_backward_truth,
            ),
            _machine_code(COMPILED | {"BLOCK_Q": 32}),
        ),
        kind="kernel",
    )


FLASH_DQ = _backward("flash_dq_kernel", ("grad_q",), "BLOCK_Q", 3)
FLASH_DK_DV = _backward("flash_dk_dv_kernel", ("grad_k", "grad_v"), "BLOCK_K", 4)

KERNELS = (SOFTMAX, FLASH_ATTENTION, FLASH_DQ, FLASH_DK_DV)

"""The exercises of 05_hardware_aware_attention in Triton, backward."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from autograder.cases import GRADIENTS, normal
from autograder.exercise import Answer, Exercise, Inputs, Part, Property
from autograder.exercises.hardware_aware_attention.forward_kernels import CAUSAL
from autograder.exercises.hardware_aware_attention.kernel_parts import (
    COMPILED,
    HIGH_TILES,
    STAYS_INSIDE,
    WIDE_TILES,
    machine_code,
    prime,
)
from autograder.kernel_probes import Guarded, nan_like, run_kernel, too_many_products, triton_kernel
from autograder.properties import matches
from course.specifications.hardware_aware_attention import (
    attention_and_logsumexp,
    attention_gradients,
)

# --- flash_dq_kernel, flash_dk_dv_kernel ---------------------------------------------------------


def _backward_cases(generator: Generator) -> dict[str, Inputs]:
    def case(n_q: int, n_k: int, d: int = 16, dtype: str = "float32", **more: Any) -> Inputs:
        q, grad_out = normal(generator, 2, 1, 2, n_q, d).to(getattr(torch, dtype)).unbind()
        k, v = normal(generator, 2, 1, 2, n_k, d).to(getattr(torch, dtype)).unbind()
        inputs = {"q": q, "k": k, "v": v, "grad_out": grad_out, "causal": False}
        return inputs | HIGH_TILES | more

    n = prime(generator)
    far = case(5, 20)
    # All scores near −96: exp(0 − logsumexp) is more than float32 holds.
    far["q"][..., 0], far["k"][..., 0] = -384, 1
    above = case(20, 20, causal=True)
    # The last key scores 100 more with all queries that do not see it: exp of that overflows.
    above["q"][..., 0], above["k"][..., 0] = 4, 0
    above["q"][..., -1, 0], above["k"][..., -1, 0] = 0, 100
    return {
        "one tile": case(32, 16),
        "whole tiles": case(64, 32),
        "wide tiles": case(20, 70, **WIDE_TILES),
        "head of 128": case(5, 18, 128),
        "one query": case(1, 3),
        "prime": case(n, n),
        "more keys": case(5, 50),
        "more queries": case(40, 7),
        "far below 0": far,
        "causal": case(64, 64, causal=True),
        "causal, prime": case(n, n, causal=True),
        "causal, more keys": case(21, 40, causal=True),
        "causal, more queries": case(40, 21, causal=True),
        "causal, wide tiles": case(64, 64, causal=True, **WIDE_TILES),
        "causal, hidden far above": above,
        "float16": case(n, n, dtype="float16"),
        "bfloat16": case(n, n, dtype="bfloat16", causal=True),
    }


def _backward_probe(names: tuple[str, ...], over: str) -> Callable[..., Answer]:
    def probe(function: Callable, **inputs: Any) -> Answer:
        from course.specifications.hardware_aware_attention.kernels import launch_backward_kernel

        kernel = triton_kernel(function)
        q, k, v, grad_out = (inputs[name] for name in ("q", "k", "v", "grad_out"))
        output, lse = attention_and_logsumexp(q.double(), k.double(), v.double(), inputs["causal"])
        delta = (grad_out.double() * output).sum(dim=-1)
        columns = [x.unsqueeze(-1).float() for x in (lse, delta)]
        given = [Guarded(x) for x in (q, k, v, grad_out, *columns)]
        like = {"grad_q": q, "grad_k": k, "grad_v": v}
        gradients = {name: Guarded(nan_like(like[name])) for name in names}
        tiles = {name: inputs[name] for name in HIGH_TILES}

        def launch(*views: Tensor) -> None:
            arguments = [*views[:4], *(column[..., 0] for column in views[4:6])]
            causal = inputs["causal"]
            launch_backward_kernel(kernel, over, arguments, [*views[6:]], causal, tiles)

        return run_kernel(launch, given, gradients)

    return probe


def _backward_truth(
    q: Tensor, k: Tensor, v: Tensor, grad_out: Tensor, causal: bool, **tiles: int
) -> Answer:
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
                        cases=("one tile", "whole tiles", "wide tiles", "head of 128"),
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
                        cases=(*CAUSAL, "causal, hidden far above"),
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
                        CAUSAL,
                    ),
                    STAYS_INSIDE,
                ),
                truth=_backward_truth,
            ),
            machine_code(COMPILED | {"BLOCK_Q": 32}),
        ),
        kind="kernel",
    )


FLASH_DQ = _backward("flash_dq_kernel", ("grad_q",), "BLOCK_Q", 3)
FLASH_DK_DV = _backward("flash_dk_dv_kernel", ("grad_k", "grad_v"), "BLOCK_K", 4)

"""Time the solutions of 03_low_rank_attention beside other libraries: `make bench`.

The peers are whole layers, so the course's functions are timed in layers too: every contender gets
the same float32 sequence, (1, n, 256), and the same weights, which have gradients as the sequence
has. Four heads of 64 numbers each.
"""

import sys
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from benchmarks import report
from benchmarks.harness import Contender, Row, seeded
from solutions import low_rank_attention as course

TITLE = "03_low_rank_attention beside other libraries"
HEADS, DIM = 4, 64
WIDTH = HEADS * DIM
COLUMNS, LANDMARKS, ITERATIONS = 256, 64, 6
SIZES = (1024, 2048, 4096, 8192, 16384)
MATRIX_SIZES = (32, 64, 128, 256, 512)
LINFORMER = {"package": "linformer", "module": "linformer"}
NYSTROM = {"package": "nystrom-attention", "module": "nystrom_attention"}
TRANSFORMERS = {
    "package": "transformers",
    "module": "transformers.models.nystromformer.modeling_nystromformer",
}
SOFTMAX = "exact softmax attention, O(n²)"


def linformer_inputs(n: int) -> tuple[Tensor, ...]:
    """Draw x, (1, n, width), W_q, W_k, W_v and W_o, (width, width), and E and F, (n, k)."""
    weights = (seeded(WIDTH, WIDTH, stream=i) * WIDTH**-0.5 for i in range(1, 5))
    return (
        seeded(1, n, WIDTH),
        *weights,
        *(seeded(n, COLUMNS, stream=i) * n**-0.5 for i in (5, 6)),
    )


def nystrom_inputs(n: int) -> tuple[Tensor, ...]:
    """Draw x, (1, n, width), and W_q, W_k and W_v, (width, width).

    Segments have a centre each and W_q is W_k, so that a landmark answers itself most. The middle
    factor is then inverted after 6 iterations from any start: the peers share theirs over a batch.
    """
    centres = seeded(1, LANDMARKS, WIDTH).repeat_interleave(n // LANDMARKS, dim=1)
    w_q = 1.5 * seeded(WIDTH, WIDTH, stream=2) * WIDTH**-0.5
    w_v = seeded(WIDTH, WIDTH, stream=3) * WIDTH**-0.5
    return centres + 0.1 * seeded(1, n, WIDTH, stream=1), w_q, w_q.clone(), w_v


def matrix_input(m: int) -> tuple[Tensor]:
    """Draw one softmax matrix, (1, 1, m, m), that is easy to invert."""
    return ((seeded(1, 1, m, m) + 8 * torch.eye(m)).softmax(dim=-1),)


def heads(x: Tensor) -> Tensor:
    """(…, n, heads · d) to (…, heads, n, d)."""
    return x.unflatten(-1, (HEADS, DIM)).transpose(1, 2)


def _merged(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(-2)


def ours_linformer(x: Tensor, *weights: Tensor) -> Tensor:
    """A layer around the course's linformer_attention."""
    w_q, w_k, w_v, w_o, e, f = weights
    q, k, v = (heads(F.linear(x, w)) for w in (w_q, w_k, w_v))
    return F.linear(_merged(course.linformer_attention(q, k, v, e, f)), w_o)


@lru_cache
def _linformer_layer(n: int) -> nn.Module:
    from linformer import LinformerSelfAttention

    layer = LinformerSelfAttention(WIDTH, n, k=COLUMNS, heads=HEADS)
    nn.init.zeros_(layer.to_out.bias)
    return layer


def lucidrains_linformer(x: Tensor, *weights: Tensor) -> Tensor:
    """Call linformer's LinformerSelfAttention with these weights."""
    names = ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.weight", "proj_k", "proj_v")
    return functional_call(
        _linformer_layer(x.shape[1]), dict(zip(names, weights, strict=True)), (x,)
    )


def softmax_layer(x: Tensor, *weights: Tensor) -> Tensor:
    """A layer around torch's fused softmax attention; E and F are not used, but get gradients."""
    w_q, w_k, w_v, w_o, e, f = weights
    q, k, v = (heads(F.linear(x, w)) for w in (w_q, w_k, w_v))
    unused = 0 * (e[0, 0] + f[0, 0])
    return F.linear(_merged(F.scaled_dot_product_attention(q, k, v)), w_o) + unused


def ours_nystrom(x: Tensor, *weights: Tensor) -> Tensor:
    """A layer around the course's nystrom_attention, without an output projection."""
    q, k, v = (heads(F.linear(x, w)) for w in weights)
    return _merged(course.nystrom_attention(q, k, v, LANDMARKS, ITERATIONS))


@lru_cache
def _nystrom_layer() -> nn.Module:
    from nystrom_attention import NystromAttention

    layer = NystromAttention(
        WIDTH, DIM, HEADS, LANDMARKS, pinv_iterations=ITERATIONS, residual=False
    )
    layer.to_out = nn.Identity()
    return layer


def lucidrains_nystrom(x: Tensor, *weights: Tensor) -> Tensor:
    """Call nystrom-attention's NystromAttention without residual and output projection."""
    return functional_call(_nystrom_layer(), {"to_qkv.weight": torch.cat(weights)}, (x,))


@lru_cache
def _nystromformer_layer(n: int) -> nn.Module:
    from transformers.models.nystromformer.configuration_nystromformer import NystromformerConfig
    from transformers.models.nystromformer.modeling_nystromformer import (
        NystromformerSelfAttention,
    )

    config = NystromformerConfig(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_landmarks=LANDMARKS,
        segment_means_seq_len=n,
        attention_probs_dropout_prob=0.0,
    )
    layer = NystromformerSelfAttention(config)
    layer.conv_kernel_size = None
    del layer.conv
    for linear in (layer.query, layer.key, layer.value):
        nn.init.zeros_(linear.bias)
    return layer


def transformers_nystrom(x: Tensor, *weights: Tensor) -> Tensor:
    """Call transformers' NystromformerSelfAttention without its convolution."""
    names = ("query.weight", "key.weight", "value.weight")
    named = dict(zip(names, weights, strict=True))
    return functional_call(_nystromformer_layer(x.shape[1]), named, (x,))[0]


def softmax_core(x: Tensor, *weights: Tensor) -> Tensor:
    """A layer around torch's fused softmax attention, without an output projection."""
    q, k, v = (heads(F.linear(x, w)) for w in weights)
    return _merged(F.scaled_dot_product_attention(q, k, v))


def ours_pinv(a: Tensor) -> Tensor:
    """Call the course's iterative_pinv."""
    return course.iterative_pinv(a, ITERATIONS)


def lucidrains_pinv(a: Tensor) -> Tensor:
    """Call nystrom-attention's moore_penrose_iter_pinv."""
    from nystrom_attention.nystrom_attention import moore_penrose_iter_pinv

    return moore_penrose_iter_pinv(a, ITERATIONS)


def transformers_pinv(a: Tensor) -> Tensor:
    """Call iterative_inv of transformers' NystromformerSelfAttention."""
    return _nystromformer_layer(LANDMARKS * 2).iterative_inv(a, ITERATIONS)


def torch_pinv(a: Tensor) -> Tensor:
    """Call torch.linalg.pinv, by singular values."""
    return torch.linalg.pinv(a)


ROWS = (
    Row(
        f"Linformer layer, k = {COLUMNS}",
        (
            Contender("course", ours_linformer),
            Contender("linformer LinformerSelfAttention", lucidrains_linformer, **LINFORMER),
            Contender("torch scaled_dot_product_attention", softmax_layer, differs=SOFTMAX),
        ),
        linformer_inputs,
        SIZES,
    ),
    Row(
        f"Nyström layer, m = {LANDMARKS}, {ITERATIONS} iterations",
        (
            Contender("course", ours_nystrom),
            Contender("nystrom-attention NystromAttention", lucidrains_nystrom, **NYSTROM),
            Contender(
                "transformers NystromformerSelfAttention", transformers_nystrom, **TRANSFORMERS
            ),
            Contender("torch scaled_dot_product_attention", softmax_core, differs=SOFTMAX),
        ),
        nystrom_inputs,
        SIZES,
        note="Without the convolution of the values that both peers can add, and without an output "
        "projection, which transformers keeps elsewhere.",
    ),
    Row(
        f"iterative_pinv, {ITERATIONS} iterations",
        (
            Contender("course", ours_pinv),
            Contender("nystrom-attention", lucidrains_pinv, **NYSTROM),
            Contender("transformers", transformers_pinv, **TRANSFORMERS),
            Contender("torch.linalg.pinv", torch_pinv, differs="exact, by singular values"),
        ),
        matrix_input,
        MATRIX_SIZES,
        size="m",
        note="One matrix: over a batch the peers share their start, and compute something else.",
    ),
)


def main() -> int:
    """Measure every row, print and save the report; 1 if an output was refused or failed."""
    return report.measure_and_report(TITLE, "low_rank_attention", ROWS)


if __name__ == "__main__":
    sys.exit(main())

"""Time the solutions of 01_sparse_attention beside other libraries: `make bench`.

Every contender gets the same float32 tensors, (1, 4, n, 64) as in a layer of four heads.
"""

import math
import sys
from collections.abc import Callable
from functools import lru_cache
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import report
from benchmarks.harness import Contender, Row, seeded
from solutions import sparse_attention as course

TITLE = "01_sparse_attention beside other libraries"
HEADS, DIM, WINDOW, BLOCK, CHUNK, ROUNDS = 4, 64, 64, 64, 64, 4
GLOBAL, RANDOM = 2, 3  # blocks of Big Bird
SIZES = (1024, 2048, 4096, 8192, 16384)
LOCAL = {"package": "local-attention", "module": "local_attention"}
REFORMER = {"package": "reformer-pytorch", "module": "reformer_pytorch"}
LONGFORMER = {
    "package": "transformers",
    "module": "transformers.models.longformer.modeling_longformer",
}
HF_REFORMER = {
    "package": "transformers",
    "module": "transformers.models.reformer.modeling_reformer",
}
BIGBIRD = {"package": "transformers", "module": "transformers.models.big_bird.modeling_big_bird"}
DENSE = "dense softmax attention, O(n²)"


def attention_inputs(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw q, k and v, each (1, heads, n, d)."""
    q, k, v = (seeded(1, HEADS, n, DIM, stream=i) for i in range(3))
    return q, k, v


def shared_inputs(n: int) -> tuple[Tensor, Tensor]:
    """Draw q and v, each (1, heads, n, d)."""
    return seeded(1, HEADS, n, DIM), seeded(1, HEADS, n, DIM, stream=2)


@lru_cache(maxsize=1)
def _window_mask(n: int) -> Tensor:
    return course.sliding_window_mask(n, WINDOW, causal=False)


@lru_cache(maxsize=1)
def _strided_mask(n: int) -> Tensor:
    return course.strided_mask(n, math.isqrt(n))


@lru_cache(maxsize=1)
def _bigbird_mask(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return course.bigbird_mask(n, BLOCK, GLOBAL, RANDOM, generator)


def ours_window(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call the course's sliding_window_attention."""
    return course.sliding_window_attention(q, k, v, WINDOW)


def local_window(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call local-attention's LocalAttention with an exact window on both sides."""
    return _local_attention()(q, k, v)


@lru_cache
def _local_attention() -> torch.nn.Module:
    from local_attention import LocalAttention

    return LocalAttention(
        window_size=WINDOW,
        look_backward=1,
        look_forward=1,
        exact_windowsize=True,
        use_rotary_pos_emb=False,
    )


def longformer_window(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call the two sliding-chunk products of transformers' Longformer, and softmax."""
    layer = _longformer_layer()
    q, k, v = (x.transpose(1, 2) for x in (q * DIM**-0.5, k, v))
    scores = layer._sliding_chunks_query_key_matmul(q, k, WINDOW)
    out = layer._sliding_chunks_matmul_attn_probs_value(scores.softmax(-1), v, WINDOW)
    return out.transpose(1, 2)


@lru_cache
def _longformer_layer() -> torch.nn.Module:
    from transformers.models.longformer.configuration_longformer import LongformerConfig
    from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

    config = LongformerConfig(hidden_size=HEADS * DIM, num_attention_heads=HEADS)
    config.attention_window = [2 * WINDOW]
    return LongformerSelfAttention(config, layer_id=0)


def masked_window(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call torch's softmax attention with the mask of the window, made beforehand."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=_window_mask(q.shape[-2]))


def ours_strided(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call the course's strided_attention with a stride of √n."""
    return course.strided_attention(q, k, v, math.isqrt(q.shape[-2]))


def masked_strided(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call torch's softmax attention with the strided mask, made beforehand."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=_strided_mask(q.shape[-2]))


def causal_softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call torch's fused causal softmax attention."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def ours_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call the course's block_sparse_attention with the blocks of Big Bird."""
    blocks = _bigbird_mask(q.shape[-2])[::BLOCK, ::BLOCK]
    return course.block_sparse_attention(q, k, v, blocks, BLOCK)


def masked_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call torch's softmax attention with the mask of Big Bird, made beforehand."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=_bigbird_mask(q.shape[-2]))


def transformers_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call the block-sparse attention of transformers' Big Bird, without a padding mask."""
    from transformers.models.big_bird.modeling_big_bird import BigBirdModel

    n = q.shape[-2]
    masks = BigBirdModel.create_masks_for_block_sparse_attn(torch.ones(1, n), BLOCK)
    blocked, band, from_mask, to_mask = masks
    out, _ = _bigbird_layer(n).bigbird_block_sparse_attention(
        q, k, v, band, from_mask, to_mask, blocked, blocked,
        HEADS, RANDOM, DIM, BLOCK, BLOCK, 1, n, n,
        seed=0, plan_from_length=None, plan_num_rand_blocks=None,
    )  # fmt: skip
    return out.transpose(1, 2)


@lru_cache(maxsize=1)
def _bigbird_layer(n: int) -> torch.nn.Module:
    from transformers.models.big_bird.configuration_big_bird import BigBirdConfig
    from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention

    config = BigBirdConfig(
        hidden_size=HEADS * DIM,
        num_attention_heads=HEADS,
        block_size=BLOCK,
        num_random_blocks=RANDOM,
        max_position_embeddings=n,
    )
    return BigBirdBlockSparseAttention(config, seed=0).eval()


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call torch's fused softmax attention."""
    return F.scaled_dot_product_attention(q, k, v)


def ours_lsh(q: Tensor, v: Tensor) -> Tensor:
    """Call the course's lsh_attention, with two buckets for each chunk."""
    buckets = 2 * (q.shape[-2] // (2 * CHUNK))
    generator = torch.Generator().manual_seed(0)
    return course.lsh_attention(q, v, buckets, ROUNDS, CHUNK, generator)


def reformer_lsh(qk: Tensor, v: Tensor) -> Tensor:
    """Call reformer-pytorch's LSHAttention: buckets and repeats masked, the course's rotations."""
    n, d = qk.shape[-2:]
    generator = torch.Generator().manual_seed(0)
    rotations = torch.randn(ROUNDS, d, n // CHUNK // 2, generator=generator).to(qk)
    rotations = rotations.transpose(0, 1).unsqueeze(0)  # (1, d, rounds, half the buckets)
    with mock.patch("torch.randn", return_value=rotations):
        out, _, _ = _reformer_attention()(qk.flatten(0, 1), v.flatten(0, 1))
    return out.view_as(v)


@lru_cache
def _reformer_attention() -> torch.nn.Module:
    from reformer_pytorch.reformer_pytorch import LSHAttention

    return LSHAttention(
        bucket_size=CHUNK,
        n_hashes=ROUNDS,
        attend_across_buckets=False,
        allow_duplicate_attention=False,
    )


def transformers_lsh(qk: Tensor, v: Tensor) -> Tensor:
    """Call transformers' Reformer attention, its projections left out."""
    layer = _transformers_reformer(qk.shape[-2])
    layer.value = lambda _: v.transpose(1, 2).flatten(-2)
    out = layer(qk.transpose(1, 2).flatten(-2)).hidden_states
    return out.unflatten(-1, (HEADS, DIM)).transpose(1, 2)


@lru_cache
def _transformers_reformer(n: int) -> torch.nn.Module:
    from transformers.models.reformer.configuration_reformer import ReformerConfig
    from transformers.models.reformer.modeling_reformer import LSHSelfAttention

    config = ReformerConfig(
        hidden_size=HEADS * DIM,
        num_attention_heads=HEADS,
        attention_head_size=DIM,
        lsh_attn_chunk_length=CHUNK,
        num_hashes=ROUNDS,
        num_buckets=n // CHUNK,
        lsh_attention_probs_dropout_prob=0.0,
        is_decoder=False,
    )
    layer = LSHSelfAttention(config).eval()
    layer.query_key = torch.nn.Identity()
    del layer.value  # a module, in whose place the values themselves come
    return layer


def shared_softmax_attention(q: Tensor, v: Tensor) -> Tensor:
    """Call torch's fused softmax attention, the keys being the queries at length 1."""
    return F.scaled_dot_product_attention(q, F.normalize(q, dim=-1), v)


def masked(run: Callable[..., Tensor], what: str) -> Contender:
    """Torch's attention with a mask of n × n entries."""
    return Contender(f"torch scaled_dot_product_attention, {what} mask", run)


ROWS = (
    Row(
        f"sliding_window_attention, {WINDOW} keys on each side",
        (
            Contender("course", ours_window),
            Contender("local-attention LocalAttention", local_window, **LOCAL),
            Contender("transformers Longformer", longformer_window, **LONGFORMER),
            masked(masked_window, "window"),
            Contender("torch scaled_dot_product_attention", softmax_attention, differs=DENSE),
        ),
        attention_inputs,
        SIZES,
    ),
    Row(
        "strided_attention, stride √n",
        (
            Contender("course", ours_strided),
            masked(masked_strided, "strided"),
            Contender(
                "torch scaled_dot_product_attention", causal_softmax_attention, differs=DENSE
            ),
        ),
        attention_inputs,
        SIZES,
        note="No package offers the joint pattern on a CPU.",
    ),
    Row(
        f"block_sparse_attention, Big Bird with blocks of {BLOCK}",
        (
            Contender("course", ours_blocks),
            masked(masked_blocks, "Big Bird"),
            Contender(
                "transformers Big Bird",
                transformers_blocks,
                differs="its own random blocks; the first and the last block are global",
                **BIGBIRD,
            ),
            Contender("torch scaled_dot_product_attention", softmax_attention, differs=DENSE),
        ),
        attention_inputs,
        SIZES,
    ),
    Row(
        f"lsh_attention, chunks of {CHUNK}, {ROUNDS} rounds",
        (
            Contender("course", ours_lsh),
            Contender(
                "reformer-pytorch LSHAttention",
                reformer_lsh,
                **REFORMER,
            ),
            Contender(
                "transformers Reformer",
                transformers_lsh,
                differs="sees other buckets of its two chunks too, counts repeats, own rotations",
                **HF_REFORMER,
            ),
            Contender(
                "torch scaled_dot_product_attention", shared_softmax_attention, differs=DENSE
            ),
        ),
        shared_inputs,
        SIZES,
    ),
)


def main() -> int:
    """Measure every row, print and save the report; 1 if an output was refused or failed."""
    return report.measure_and_report(TITLE, "sparse_attention", ROWS)


if __name__ == "__main__":
    sys.exit(main())

"""Time the solutions of 02_linear_attention beside other libraries: `make bench`.

Every contender gets the same float32 tensors, (1, 4, n, 64) as in a layer of four heads, and the
features the row names. Where a library takes features rather than queries and keys, the features
are part of its time, as they are of ours.
"""

import sys
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import report
from benchmarks.harness import Contender, Row, seeded
from solutions import linear_attention as course

TITLE = "02_linear_attention beside other libraries"
HEADS, DIM, FEATURES, CHANNELS = 4, 64, 256, 256
SIZES = (512, 1024, 2048, 4096, 8192, 16384)
FEATURE_COUNTS = (64, 128, 256, 512, 1024, 2048)
PERFORMER = {"package": "performer-pytorch", "module": "performer_pytorch"}
LUCIDRAINS = {"package": "linear-attention-transformer", "module": "linear_attention_transformer"}
FLA = {"package": "fla-core", "module": "fla.ops.linear_attn.naive"}
FNET = {"package": "transformers", "module": "transformers.models.fnet.modeling_fnet"}
SOFTMAX = "exact softmax attention, O(n²)"


def attention_inputs(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw q, k and v, each (1, heads, n, d)."""
    q, k, v = (seeded(1, HEADS, n, DIM, stream=i) for i in range(3))
    return q, k, v


def sequence_input(n: int) -> tuple[Tensor]:
    """Draw x, (1, n, channels)."""
    return (seeded(1, n, CHANNELS),)


def filter_inputs(n: int) -> tuple[Tensor, Tensor]:
    """Draw x, (1, n, channels), and a complex filter, (n // 2 + 1, channels)."""
    return seeded(1, n, CHANNELS), seeded(n // 2 + 1, CHANNELS, dtype=torch.complex64, stream=1)


def feature_count(m: int) -> tuple[int]:
    """Return the number of rows to draw, as a row's inputs."""
    return (m,)


@lru_cache
def _projection(dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return course.orthogonal_random_features(FEATURES, DIM, generator).to(dtype)


def _identity(x: Tensor) -> Tensor:
    return x


def ours_linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call the course's linear_attention with elu + 1."""
    return course.linear_attention(q, k, v, course.elu_feature_map)


def performer_linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call performer-pytorch's linear_attention with elu + 1."""
    from performer_pytorch.performer_pytorch import linear_attention

    return linear_attention(F.elu(q) + 1, F.elu(k) + 1, v)


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call torch's fused softmax attention."""
    return F.scaled_dot_product_attention(q, k, v)


def ours_softmax_features(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call the course's linear_attention with a softmax over each query and over all keys."""
    # The peer scales by d^-½, which our normaliser would take out of the queries.
    return course.linear_attention(q.softmax(-1), k.softmax(-2), v, _identity) * DIM**-0.5


def lucidrains_linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call linear-attention-transformer's linear_attn."""
    from linear_attention_transformer.linear_attention_transformer import linear_attn

    return linear_attn(q, k, v)


def ours_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call the course's causal_linear_attention with elu + 1, in chunks of 64."""
    return course.causal_linear_attention(q, k, v, course.elu_feature_map, chunk_size=64)


def performer_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call performer-pytorch's causal attention for a CPU with elu + 1, without its epsilon."""
    from performer_pytorch.performer_pytorch import causal_linear_attention_noncuda

    return causal_linear_attention_noncuda(F.elu(q) + 1, F.elu(k) + 1, v, eps=0.0)


def fla_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call flash-linear-attention's chunked reference with elu + 1, unscaled and normalised."""
    from fla.ops.linear_attn.naive import naive_chunk_linear_attn

    # It wants (batch, n, heads, d), and goes back to heads first itself: the views cost nothing.
    q, k, v = ((F.elu(q) + 1).transpose(1, 2), (F.elu(k) + 1).transpose(1, 2), v.transpose(1, 2))
    return naive_chunk_linear_attn(q, k, v, scale=1.0, normalize=True).transpose(1, 2)


def causal_softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call torch's fused causal softmax attention."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def ours_causal_exponential(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call the course's causal_linear_attention with softmax queries and exponential keys."""
    return course.causal_linear_attention(q.softmax(-1), k.exp(), v, _identity, chunk_size=64)


def lucidrains_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call linear-attention-transformer's causal_linear_attn token by token."""
    from linear_attention_transformer.linear_attention_transformer import causal_linear_attn

    return causal_linear_attn(q, k, v, bucket_size=1)


def lucidrains_buckets(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call linear-attention-transformer's causal_linear_attn with its own buckets of 64."""
    from linear_attention_transformer.linear_attention_transformer import causal_linear_attn

    return causal_linear_attn(q, k, v, bucket_size=64)


def ours_performer(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call the course's performer_attention."""
    return course.performer_attention(q, k, v, _projection(q.dtype))


def ours_performer_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call the course's performer_attention, causal."""
    return course.performer_attention(q, k, v, _projection(q.dtype), causal=True)


def _performer_features(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    from performer_pytorch.performer_pytorch import softmax_kernel

    projection = _projection(q.dtype)
    return (
        softmax_kernel(q, projection_matrix=projection, is_query=True, eps=0.0),
        softmax_kernel(k, projection_matrix=projection, is_query=False, eps=0.0),
    )


def performer_performer(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call performer-pytorch's softmax_kernel and linear_attention, without their epsilon."""
    from performer_pytorch.performer_pytorch import linear_attention

    return linear_attention(*_performer_features(q, k), v)


def performer_performer_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Call performer-pytorch's softmax_kernel and causal attention, without their epsilon."""
    from performer_pytorch.performer_pytorch import causal_linear_attention_noncuda

    return causal_linear_attention_noncuda(*_performer_features(q, k), v, eps=0.0)


def ours_orthogonal(m: int) -> Tensor:
    """Draw m features with the course's orthogonal_random_features."""
    return course.orthogonal_random_features(m, DIM, torch.Generator().manual_seed(0))


def performer_orthogonal(m: int) -> Tensor:
    """Draw m features with performer-pytorch's gaussian_orthogonal_random_matrix."""
    from performer_pytorch.performer_pytorch import gaussian_orthogonal_random_matrix

    return gaussian_orthogonal_random_matrix(m, DIM)


def largest_cosine(projection: Tensor) -> float:
    """Return the largest |cosine| between two rows of a block of d rows; infinite if not (m, d)."""
    if projection.shape[-1] != DIM:
        return float("inf")
    directions = F.normalize(projection.double(), dim=-1)
    blocks = directions.split(DIM)
    return max((b @ b.mT - torch.eye(len(b))).abs().max().item() for b in blocks)


def ours_fourier(x: Tensor) -> Tensor:
    """Call the course's fourier_mixing."""
    return course.fourier_mixing(x)


def fnet_fourier(x: Tensor) -> Tensor:
    """Call the mixing layer of transformers' FNet."""
    return _fnet_layer()(x)[0]


@lru_cache
def _fnet_layer() -> torch.nn.Module:
    from transformers.models.fnet.configuration_fnet import FNetConfig
    from transformers.models.fnet.modeling_fnet import FNetBasicFourierTransform

    return FNetBasicFourierTransform(FNetConfig())


def ours_filter(x: Tensor, weights: Tensor) -> Tensor:
    """Call the course's global_filter."""
    return course.global_filter(x, weights)


def plain_filter(x: Tensor, weights: Tensor) -> Tensor:
    """Filter as GFNet's layer does, in torch.fft with orthonormal transforms."""
    spectrum = torch.fft.rfft(x, dim=1, norm="ortho") * weights
    return torch.fft.irfft(spectrum, n=x.shape[1], dim=1, norm="ortho")


SDPA = Contender("torch scaled_dot_product_attention", softmax_attention, differs=SOFTMAX)
ROWS = (
    Row(
        "linear_attention, φ = elu + 1",
        (
            Contender("course", ours_linear),
            Contender("performer-pytorch linear_attention", performer_linear, **PERFORMER),
            SDPA,
        ),
        attention_inputs,
        SIZES,
    ),
    Row(
        "linear_attention, softmax features",
        (
            Contender("course", ours_softmax_features),
            Contender("linear-attention-transformer linear_attn", lucidrains_linear, **LUCIDRAINS),
        ),
        attention_inputs,
        SIZES,
        note="Each query and each key feature sums to 1, so the peer needs no normaliser. "
        "The course's function, which takes any features, computes one.",
    ),
    Row(
        "causal_linear_attention, φ = elu + 1",
        (
            Contender("course", ours_causal),
            Contender("performer-pytorch noncuda", performer_causal, **PERFORMER),
            Contender("flash-linear-attention naive_chunk", fla_causal, **FLA),
            Contender(
                "torch scaled_dot_product_attention", causal_softmax_attention, differs=SOFTMAX
            ),
        ),
        attention_inputs,
        SIZES,
        note="flash-linear-attention's Triton kernels need a GPU; its plain torch reference, "
        "chunked by 64 as ours, runs anywhere.",
    ),
    Row(
        "causal_linear_attention, exponential features",
        (
            Contender("course", ours_causal_exponential),
            Contender("linear-attention-transformer, bucket 1", lucidrains_causal, **LUCIDRAINS),
            Contender(
                "linear-attention-transformer, bucket 64",
                lucidrains_buckets,
                differs="a token sees whole earlier buckets only, none of its own",
                **LUCIDRAINS,
            ),
        ),
        attention_inputs,
        SIZES,
    ),
    Row(
        f"performer_attention, m = {FEATURES}",
        (
            Contender("course", ours_performer),
            Contender("performer-pytorch softmax_kernel", performer_performer, **PERFORMER),
            SDPA,
        ),
        attention_inputs,
        SIZES,
    ),
    Row(
        f"performer_attention, causal, m = {FEATURES}",
        (
            Contender("course", ours_performer_causal),
            Contender("performer-pytorch noncuda", performer_performer_causal, **PERFORMER),
        ),
        attention_inputs,
        SIZES,
    ),
    Row(
        f"orthogonal_random_features, d = {DIM}",
        (
            Contender("course", ours_orthogonal),
            Contender("performer-pytorch", performer_orthogonal, **PERFORMER),
        ),
        feature_count,
        FEATURE_COUNTS,
        size="m",
        backward=False,
        error=largest_cosine,
        note="The draws are random: the error is the largest cosine between rows of one block. "
        "performer-pytorch leaves out the sign fix, so its rotations are not uniform.",
    ),
    Row(
        f"fourier_mixing, {CHANNELS} channels",
        (
            Contender("course", ours_fourier),
            Contender("transformers FNetBasicFourierTransform", fnet_fourier, **FNET),
        ),
        sequence_input,
        SIZES,
    ),
    Row(
        f"global_filter, {CHANNELS} channels",
        (
            Contender("course", ours_filter),
            Contender("GFNet's form in torch.fft", plain_filter),
        ),
        filter_inputs,
        SIZES,
        note="No package offers this layer; the baseline is the paper's form over one axis.",
    ),
)


def main() -> int:
    """Measure every row, print and save the report; 1 if an output was refused or failed."""
    return report.measure_and_report(TITLE, "linear_attention", ROWS)


if __name__ == "__main__":
    sys.exit(main())

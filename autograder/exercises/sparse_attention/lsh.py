"""The exercises of 01_sparse_attention on hashing."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.cases import COUNTED_DIM, in_float64, normal
from autograder.cost import NO_MATRIX, cost
from autograder.exercise import Answer, AnswerError, Exercise, Inputs, Part, Property
from autograder.probes import as_tensor, with_gradients
from autograder.properties import matches

LONG_LSH = 2**16


def _bucket(x: Tensor, rotations: Tensor) -> Tensor:
    rotated = x @ rotations
    negated = rotated.amin(dim=-1).neg() > rotated.amax(dim=-1)
    return torch.where(
        negated, rotated.argmin(dim=-1) + rotations.shape[-1], rotated.argmax(dim=-1)
    )


def _undecided(x: Tensor, rotations: Tensor) -> Tensor:
    """Where two buckets are so near that rounding could choose between them, in any round."""
    rotated = x.double().unsqueeze(-3) @ rotations.double()  # (..., rounds, n, half)
    numbers = torch.cat([rotated, -rotated], dim=-1)
    largest = numbers.topk(2, dim=-1).values
    near = largest[..., 0] - largest[..., 1] < 1e-4 * x.double().norm(dim=-1).unsqueeze(-2)
    return near.any(dim=-2)


def _decided(draw: Callable[[], Tensor], rotations: Tensor) -> Tensor:
    """What `draw` gives, drawn again where a bucket hangs on rounding; rotations (rounds, d, _)."""
    x = draw()
    while (undecided := _undecided(x, rotations)).any():
        x = torch.where(undecided.unsqueeze(-1), draw(), x)
    return x


# --- lsh_bucket ----------------------------------------------------------------------------------


def _bucket_cases(generator: Generator) -> dict[str, Inputs]:
    def case(*shape: int, half: int, scale: float = 1.0) -> Inputs:
        rotations = normal(generator, shape[-1], half)
        x = _decided(lambda: normal(generator, *shape, scale=scale), rotations.unsqueeze(0))
        return {"x": x, "rotations": rotations}

    by_columns = case(2, 9, 4, half=3)
    return {
        "short": case(2, 3, 25, 4, half=4),
        "two buckets": case(2, 9, 4, half=1),
        "more buckets than dimensions": case(2, 40, 3, half=8),
        "far from zero": case(2, 9, 4, half=3, scale=100.0),
        "near zero": case(2, 9, 4, half=3, scale=1e-4),
        "one vector": case(1, 5, half=3),
        "not contiguous": {name: x.mT.contiguous().mT for name, x in by_columns.items()},
        "float64": in_float64(case(2, 9, 4, half=2)),
    }


def _bucket_probe(function: Callable, x: Tensor, rotations: Tensor) -> Answer:
    buckets = as_tensor(function(x, rotations))
    if buckets.is_floating_point() or buckets.is_complex() or buckets.dtype == torch.bool:
        raise AnswerError(f"the buckets are {buckets.dtype}, expected whole numbers: argmax")
    # Tensors are compared in the type of the inputs.
    return {"bucket": buckets.to(x.dtype)}


def _out_of_range(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    buckets, count = answer["bucket"], 2 * inputs["rotations"].shape[-1]
    if ((buckets >= 0) & (buckets < count)).all():
        return None
    return f"there are buckets 0 to {count - 1}, but one is {int(buckets.max())}"


def _half_is_empty(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    buckets, half = answer["bucket"], inputs["rotations"].shape[-1]
    if (buckets >= half).any():
        return None
    return f"no bucket from {half} on is used: those of −xR"


LSH_BUCKET = Exercise(
    "lsh_bucket",
    "sparse_attention",
    (
        Part(
            "numbers",
            _bucket_cases,
            _bucket_probe,
            (
                Property("numbers 0 to 2·half_buckets − 1, of both halves", 1, _out_of_range),
                Property("the negated half is used", 1, _half_is_empty, ("short",)),
                matches(
                    "bucket",
                    title="equals the place of the largest of xR and −xR",
                    points=2,
                    cases=("short", "two buckets", "more buckets than dimensions", "one vector"),
                ),
                matches(
                    "bucket",
                    title="vectors of any length and layout",
                    points=1,
                    cases=("far from zero", "near zero", "not contiguous", "float64"),
                ),
            ),
        ),
    ),
)


# --- lsh_attention -------------------------------------------------------------------------------


def _rotations(num_rounds: int, d: int, num_buckets: int, seed: int) -> Tensor:
    generator = Generator().manual_seed(seed)
    return torch.randn(num_rounds, d, num_buckets // 2, generator=generator)


def _lsh_cases(generator: Generator) -> dict[str, Inputs]:
    def case(
        n: int,
        num_buckets: int,
        num_rounds: int,
        chunk_size: int,
        scale: float = 1.0,
        apart: float = 1.0,
        batch: tuple[int, ...] = (2, 2),
    ) -> Inputs:
        """`apart` 0 puts all queries in one direction, and so in one bucket."""
        seed = int(torch.randint(2**31, (), generator=generator))
        rotations = _rotations(num_rounds, 4, num_buckets, seed)
        middle = (1 - apart) * 3 * normal(generator, 4)
        while _undecided(middle.unsqueeze(0), rotations).any():
            middle = (1 - apart) * 3 * normal(generator, 4)

        def draw() -> Tensor:
            spread = apart if apart else 1e-3
            return scale * (middle + spread * normal(generator, *batch, n, 4))

        return {
            "q": _decided(draw, rotations),
            "v": normal(generator, *batch, n, 3),
            "cotangent": normal(generator, *batch, n, 3),
            "num_buckets": num_buckets,
            "num_rounds": num_rounds,
            "chunk_size": chunk_size,
            "seed": seed,
        }

    constant = case(13, 4, 2, 4)
    return {
        "one bucket, one chunk": case(9, 2, 1, 16, apart=0.0),
        "one round": case(24, 4, 1, 4),
        "constant values": constant | {"v": torch.full_like(constant["v"], 2.5)},
        "two rounds": case(20, 4, 2, 4),
        "four rounds": case(21, 6, 4, 5),
        "lonely tokens": case(7, 16, 1, 4),
        "lonely tokens, two rounds": case(7, 16, 2, 4),
        "one bucket, several chunks": case(14, 4, 2, 4, apart=0.0, batch=(1, 1)),
        "one token": case(1, 2, 2, 3),
        "chunks of one token": case(9, 2, 2, 1),
        "large numbers": case(17, 4, 3, 4, scale=30.0, batch=(1, 1)),
        "float64": in_float64(case(15, 4, 2, 4, batch=(1, 1))),
    }


def _attend(
    function: Callable,
    q: Tensor,
    v: Tensor,
    num_buckets: int,
    num_rounds: int,
    chunk_size: int,
    seed: int,
) -> Tensor:
    generator = Generator().manual_seed(seed)
    return function(q, v, num_buckets, num_rounds, chunk_size, generator)


def _lsh_probe(
    function: Callable, q: Tensor, v: Tensor, cotangent: Tensor, **settings: int
) -> Answer:
    return with_gradients(
        lambda q, v: _attend(function, q, v, **settings), {"q": q, "v": v}, cotangent
    )


def _queries(generator: Generator, n: int) -> Inputs:
    q, v = normal(generator, 2, 1, 1, n, COUNTED_DIM)
    return {"q": q, "v": v, "num_buckets": 8, "num_rounds": 2, "chunk_size": 8, "seed": 0}


def _many_queries(generator: Generator) -> Inputs:
    settings = {"num_buckets": 16, "num_rounds": 1, "chunk_size": 16, "seed": 1}
    rotations = _rotations(1, COUNTED_DIM, 16, 1)
    q = _decided(lambda: normal(generator, 1, 1, LONG_LSH, COUNTED_DIM), rotations)
    return {"q": q, "v": normal(generator, 1, 1, LONG_LSH, COUNTED_DIM), **settings}


BUILT_ON = {"lsh_bucket": _bucket}
LSH = Exercise(
    "lsh_attention",
    "sparse_attention",
    (
        Part(
            "numbers",
            _lsh_cases,
            _lsh_probe,
            (
                matches(
                    "output",
                    title="the weights of a query sum to 1: constant values come back unchanged",
                    points=1,
                    cases=("constant values",),
                ),
                matches(
                    "output",
                    title="exact where every key is found, own position only as a last resort",
                    points=2,
                    cases=("one bucket, one chunk", "lonely tokens", "one token"),
                ),
                matches(
                    "output",
                    title="one round: sorted by bucket, in chunks, one chunk back, and unsorted",
                    points=2,
                    cases=("one round",),
                ),
                matches(
                    "output",
                    title="several rounds: one softmax over all keys found, each once",
                    points=3,
                    cases=(
                        "two rounds",
                        "four rounds",
                        "lonely tokens, two rounds",
                        "one bucket, several chunks",
                    ),
                ),
                matches(
                    "output",
                    title="chunks of one token, large numbers, float64",
                    points=1,
                    cases=("chunks of one token", "large numbers", "float64"),
                ),
                matches(
                    "grad_q",
                    "grad_v",
                    title="gradients are right",
                    points=1,
                    cases=("one round", "two rounds", "four rounds"),
                ),
            ),
            supplies=BUILT_ON,
        ),
        *cost(
            _queries,
            _attend,
            exponent=1.2,
            largest=lambda n: 160 * n,
            words=NO_MATRIX,
            title="O(n log n): nothing n × n is computed",
            points=2,
            long={"long": _many_queries},
            supplies=BUILT_ON,
        ),
    ),
)

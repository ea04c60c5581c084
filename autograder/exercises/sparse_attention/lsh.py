"""The exercises of 01_sparse_attention on hashing."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from autograder.cases import COUNTED_DIM, in_float64, normal
from autograder.cost import NO_MATRIX, cost
from autograder.exercise import Answer, AnswerError, Exercise, Inputs, Part, Property
from autograder.exercises.sparse_attention.shared import COUNTED, ELEMENTS_PER_TOKEN, LEADING_AXES
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

    by_columns = case(1, 2, 9, 4, half=3)
    # Two axes that float32 cannot tell apart: the second is longer, and no other is as near.
    narrow = in_float64(case(1, 1, 12, 4, half=2))
    axis = narrow["rotations"][:, :1]
    narrow["rotations"] = torch.cat([axis, axis * (1 + 1e-9)], dim=-1)
    return {
        "short": case(2, 3, 25, 4, half=4),
        "two buckets": case(1, 2, 9, 4, half=1),
        "more buckets than dimensions": case(1, 2, 40, 3, half=8),
        "far from zero": case(1, 2, 9, 4, half=3, scale=100.0),
        "near zero": case(1, 2, 9, 4, half=3, scale=1e-4),
        "one vector": case(1, 1, 1, 5, half=3),
        "not contiguous": {name: x.mT.contiguous().mT for name, x in by_columns.items()},
        "float64": in_float64(case(1, 2, 9, 4, half=2)),
        "closer than float32 tells": narrow,
        **{name: case(*lead, 7, 4, half=3) for name, lead in LEADING_AXES.items()},
    }


def _bucket_probe(function: Callable, x: Tensor, rotations: Tensor) -> Answer:
    buckets = as_tensor(function(x, rotations))
    if buckets.is_floating_point() or buckets.is_complex() or buckets.dtype == torch.bool:
        raise AnswerError(f"the buckets are {buckets.dtype}, expected whole numbers: argmax")
    # Tensors are compared in the type of the inputs.
    return {"bucket": buckets.to(x.dtype)}


def _out_of_range(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    buckets, count = answer["bucket"], 2 * inputs["rotations"].shape[-1]
    if buckets.shape != inputs["x"].shape[:-1]:
        return f"the buckets have shape {tuple(buckets.shape)}, expected one for each vector of x"
    if ((buckets >= 0) & (buckets < count)).all():
        return None
    outside = buckets[(buckets < 0) | (buckets >= count)]
    return f"there are buckets 0 to {count - 1}, but one is {int(outside[0])}"


def _half_is_empty(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    buckets, half = answer["bucket"], inputs["rotations"].shape[-1]
    if buckets.numel() != inputs["x"][..., 0].numel():
        return "there is not one bucket for each vector of x"
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
                    cases=(
                        "far from zero",
                        "near zero",
                        "not contiguous",
                        "float64",
                        "closer than float32 tells",
                    ),
                ),
                matches(
                    "bucket", title="any leading axes, or none", points=1, cases=tuple(LEADING_AXES)
                ),
            ),
        ),
    ),
)


# --- lsh_attention -------------------------------------------------------------------------------


def _rotations(num_rounds: int, d: int, num_buckets: int, seed: int) -> Tensor:
    generator = Generator().manual_seed(seed)
    return torch.randn(num_rounds, d, num_buckets // 2, generator=generator)


def _found(q: Tensor, rotations: Tensor, chunk_size: int) -> tuple[Tensor, Tensor]:
    """Which other keys a query finds in its chunk and in the one before, (rounds, ..., n, n)."""
    buckets = torch.stack([_bucket(q, rotation) for rotation in rotations])
    chunk = buckets.argsort(dim=-1, stable=True).argsort(dim=-1) // chunk_size
    gap = chunk.unsqueeze(-1) - chunk.unsqueeze(-2)
    alike = buckets.unsqueeze(-1) == buckets.unsqueeze(-2)
    alike &= ~torch.eye(q.shape[-2], dtype=torch.bool)
    return alike & (gap == 0), alike & (gap == 1)


def _tells_all(own: Tensor, before: Tensor) -> bool:
    """Whether some token finds nothing, some only in the chunk before, or in a later round."""
    found = own | before
    lonely = ~found.any(dim=-1).any(dim=0)
    only_before = before.any(dim=-1) & ~own.any(dim=-1)
    several = len(found) == 1 or bool(
        (found.sum(dim=0) > 1).any() and (found[-1] & ~found[:-1].any(dim=0)).any()
    )
    return bool(lonely.any() and only_before.any()) and several


def _tells_of_lonely(own: Tensor, before: Tensor) -> bool:
    """Whether some token finds nothing, some one key, and none anything in the chunk before."""
    found = own.any(dim=0).any(dim=-1)
    return not before.any() and bool(found.any()) and not found.all()


def _lsh_cases(generator: Generator) -> dict[str, Inputs]:
    def case(
        n: int,
        num_buckets: int,
        num_rounds: int,
        chunk_size: int,
        scale: float = 1.0,
        apart: float = 1.0,
        batch: tuple[int, ...] = (1, 2),
        tells: Callable[[Tensor, Tensor], bool] = lambda own, before: True,
    ) -> Inputs:
        """Drawn until it `tells`; `apart` 0 puts all queries in one direction, and one bucket."""
        seed = int(torch.randint(2**31, (), generator=generator))
        rotations = _rotations(num_rounds, 4, num_buckets, seed)
        middle = (1 - apart) * 3 * normal(generator, 4)
        while _undecided(middle.unsqueeze(0), rotations).any():
            middle = (1 - apart) * 3 * normal(generator, 4)

        def draw() -> Tensor:
            spread = apart if apart else 1e-3
            return scale * (middle + spread * normal(generator, *batch, n, 4))

        q = _decided(draw, rotations)
        while not tells(*_found(q, rotations, chunk_size)):
            q = _decided(draw, rotations)
        return {
            "q": q,
            "v": normal(generator, *batch, n, 3),
            "cotangent": normal(generator, *batch, n, 3),
            "num_buckets": num_buckets,
            "num_rounds": num_rounds,
            "chunk_size": chunk_size,
            "seed": seed,
        }

    constant = case(13, 4, 2, 4, tells=_tells_all)
    return {
        "one bucket, one chunk": case(9, 2, 1, 16, apart=0.0),
        "one round": case(24, 4, 1, 4, tells=_tells_all),
        "constant values": constant | {"v": torch.full_like(constant["v"], 2.5)},
        "two rounds": case(20, 4, 2, 4, tells=_tells_all),
        "four rounds": case(21, 6, 4, 5, tells=_tells_all),
        "lonely tokens": case(7, 16, 1, 4, tells=_tells_of_lonely),
        "lonely tokens, two rounds": case(7, 16, 2, 4),
        "one bucket, several chunks": case(14, 4, 2, 4, apart=0.0, batch=(1, 1)),
        "one token": case(1, 2, 2, 3),
        "chunks of one token": case(9, 2, 2, 1),
        # Scores of some hundreds: e^89 is infinite in float32.
        "large numbers": case(17, 4, 3, 4, scale=300.0, batch=(1, 1)),
        "the only other key is far below 0": _opposite(generator),
        "float64": in_float64(case(15, 4, 2, 4, batch=(1, 1))),
        **{name: case(11, 4, 2, 3, batch=lead) for name, lead in LEADING_AXES.items()},
    }


def _opposite(generator: Generator) -> Inputs:
    """Two tokens that share a bucket, and whose queries point nearly opposite ways."""
    seed = int(torch.randint(2**31, (), generator=generator))
    axis = F.normalize(_rotations(1, 4, 2, seed)[0, :, 0], dim=0)
    aside = F.normalize(axis.roll(1) - axis.roll(1) @ axis * axis, dim=0)
    return {
        "q": 300 * torch.stack([0.2 * axis + aside, 0.2 * axis - aside]).expand(1, 1, 2, 4).clone(),
        "v": normal(generator, 1, 1, 2, 3),
        "cotangent": None,
        "num_buckets": 2,
        "num_rounds": 1,
        "chunk_size": 4,
        "seed": seed,
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
    function: Callable, q: Tensor, v: Tensor, cotangent: Tensor | None, **settings: int
) -> Answer:
    return with_gradients(
        lambda q, v: _attend(function, q, v, **settings), {"q": q, "v": v}, cotangent
    )


def _queries(generator: Generator, n: int) -> Inputs:
    q, v = normal(generator, 2, 1, 1, n, COUNTED_DIM)
    return {"q": q, "v": v, "num_buckets": 8, "num_rounds": 2, "chunk_size": 16, "seed": 0}


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
                    cases=(
                        "chunks of one token",
                        "large numbers",
                        "the only other key is far below 0",
                        "float64",
                    ),
                ),
                matches(
                    "output",
                    "grad_q",
                    "grad_v",
                    title="any leading axes, or none",
                    points=1,
                    cases=tuple(LEADING_AXES),
                ),
                matches(
                    "grad_q",
                    "grad_v",
                    title="gradients are right",
                    points=1,
                    cases=("one round", "two rounds", "four rounds", "float64"),
                ),
            ),
            supplies=BUILT_ON,
        ),
        *cost(
            _queries,
            _attend,
            exponent=1.2,
            largest=lambda n: ELEMENTS_PER_TOKEN * n,
            words=NO_MATRIX,
            title="O(n log n): nothing n × n is computed, and no token alone",
            points=2,
            # A loop over the chunks of both rounds has fewer, one over the tokens has more.
            calls=lambda n: 3 * n + 1000,
            sizes=COUNTED,
            long={"long": _many_queries},
            supplies=BUILT_ON,
        ),
    ),
)

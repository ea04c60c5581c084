"""The exercise of 02_linear_attention that draws orthogonal random features."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autograder.exercise import Answer, Complaint, Exercise, Inputs, Part, Property, Sign
from autograder.probes import as_tensor

# Five standard errors: a right version fails a test of this kind about once in a million.
STANDARD_ERRORS = 5


def _few_rows(generator: Generator) -> dict[str, Inputs]:
    seed = int(torch.randint(2**31, (), generator=generator))
    return {
        "one block": {"num_features": 8, "dim": 8, "seed": seed},
        "fewer rows than columns": {"num_features": 5, "dim": 8, "seed": seed + 1},
        "several blocks": {"num_features": 21, "dim": 8, "seed": seed + 2},
    }


def _few_rows_probe(function: Callable, num_features: int, dim: int, seed: int) -> Answer:
    def draw(seed: int) -> Tensor:
        return as_tensor(function(num_features, dim, Generator().manual_seed(seed)))

    answer = {"rows": draw(seed)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # another state of torch's own generator must change nothing
        return answer | {"again": draw(seed), "other": draw(seed + 1)}


def _many_rows(generator: Generator) -> dict[str, Inputs]:
    seed = int(torch.randint(2**31, (), generator=generator))
    return {"many rows": {"num_features": 800, "dim": 4, "seed": seed, "draws": 20}}


def _many_rows_probe(
    function: Callable, num_features: int, dim: int, seed: int, draws: int
) -> Answer:
    generator = Generator().manual_seed(seed)
    drawn = [as_tensor(function(num_features, dim, generator)) for _ in range(draws)]
    return {"rows": torch.stack(drawn)}


# --- What the rows of a few blocks are -----------------------------------------------------------


def _wrong_shape(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    shape, right = tuple(answer["rows"].shape), (inputs["num_features"], inputs["dim"])
    if shape != right:
        return f"the result has shape {shape}, expected {right}"
    return None if answer["rows"].is_floating_point() else "the result holds no real numbers"


def _cosine_in(block: Tensor) -> float:
    """The largest cosine between two rows of it; infinite where it is not a number."""
    directions = torch.nn.functional.normalize(block.double(), dim=-1)
    cosines = (directions @ directions.mT - torch.eye(len(block))).abs()
    return cosines.nan_to_num(torch.inf).max().item()


def _not_orthogonal(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    if text := _wrong_shape(inputs, answer, expected):
        return text
    start = 0
    for block in answer["rows"].split(inputs["dim"]):
        if not (cosine := _cosine_in(block)) < 1e-4:
            return (
                f"rows {start} to {start + len(block) - 1} are one block, but two of them have a "
                f"cosine of {cosine:.2f}, not 0"
            )
        start += len(block)
    return None


def _other_randomness(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
    rows, again, other = (answer[name] for name in ("rows", "again", "other"))
    if not _same(rows, again):
        return "an equal generator gave other rows: draw everything from `generator`"
    if rows.shape != other.shape:
        return "another generator gave rows of another shape"
    lengths, others = rows.norm(dim=-1, keepdim=True), other.norm(dim=-1, keepdim=True)
    # Where all rows have one length, that is what is wrong.
    if torch.allclose(lengths, others) and not torch.allclose(lengths, lengths[:1]):
        return "another generator gave the same lengths: draw everything from `generator`"
    if torch.allclose(rows / lengths, other / others):
        return "another generator gave the same directions: draw everything from `generator`"
    return None


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


# --- How many of them are distributed ------------------------------------------------------------


def _in_blocks(inputs: Inputs, answer: Answer) -> Tensor:
    """The rows as (blocks, dim, dim). Raises ValueError if their shape is another."""
    rows, dim = answer["rows"], inputs["dim"]
    right = (inputs["draws"], inputs["num_features"], dim)
    if rows.shape != right or not rows.isfinite().all():
        raise ValueError(
            f"{right[1]} rows of {dim} finite numbers are expected, in each of {right[0]} draws"
        )
    return rows.double().reshape(-1, dim, dim)


def _of_blocks(wrong: Callable[[Tensor, int], str | None]) -> Complaint:
    def complain(inputs: Inputs, answer: Answer, expected: Answer) -> str | None:
        try:
            blocks = _in_blocks(inputs, answer)
        except ValueError as error:
            return str(error)
        return wrong(blocks, inputs["dim"])

    return complain


def _wrong_lengths(blocks: Tensor, dim: int) -> str | None:
    """‖ω‖² of a normal row of 4 numbers is at most s with probability 1 − exp(−s/2)(1 + s/2)."""
    squares = blocks.square().sum(dim=-1).flatten().sort().values
    probability = 1 - (-squares / 2).exp() * (1 + squares / 2)
    steps = torch.arange(len(squares) + 1) / len(squares)
    away = torch.maximum((probability - steps[:-1]).abs(), (probability - steps[1:]).abs()).max()
    # Kolmogorov and Smirnov: beyond this in one of 250,000 draws.
    if away <= STANDARD_ERRORS / 2 / math.sqrt(len(squares)):
        return None
    return (
        f"over {len(squares)} rows, ‖ω‖² has mean {squares.mean():.2f} and variance "
        f"{squares.var():.2f}; for normal rows of {dim} numbers these are {dim} and {2 * dim}, and "
        f"half of the rows have less than 3.36, of yours {(squares < 3.36).double().mean():.0%}"
    )


def _dependent_lengths(blocks: Tensor, dim: int) -> str | None:
    lengths = blocks.norm(dim=-1).reshape(-1, 2 * dim)  # of two blocks each
    if not (lengths.std(dim=0) > 1e-3 * lengths.mean(dim=0)).all():
        return f"over {len(lengths)} pairs of blocks, the length of a row is always the same"
    correlation = torch.corrcoef(lengths.mT).fill_diagonal_(0)
    # A coefficient that comes back in each block correlates by chance as often as two in one.
    if (correlation.abs() <= STANDARD_ERRORS / math.sqrt(len(lengths))).all():
        return None
    first, second = divmod(int(correlation.abs().argmax()), len(correlation))
    return (
        f"over {len(lengths)} pairs of blocks, the lengths of rows {first} and {second} have a "
        f"correlation of {correlation[first, second]:.2f}, not 0"
    )


def _likelier_direction(blocks: Tensor, dim: int) -> str | None:
    mean = torch.nn.functional.normalize(blocks, dim=-1).mean(dim=0)  # (dim, dim)
    if mean.abs().max() <= STANDARD_ERRORS / math.sqrt(dim * len(blocks)):
        return None
    row, column = divmod(int(mean.abs().argmax()), dim)
    return (
        f"over {len(blocks)} blocks, coordinate {column} of row {row}'s direction has mean "
        f"{mean[row, column]:.2f}, not 0: some directions are likelier than others"
    )


def _longer_axis(blocks: Tensor, dim: int) -> str | None:
    # Relative to the mean of all: their common length is another property's business.
    squares = blocks.square().mean(dim=0) / blocks.square().mean()  # (dim, dim)
    away = (squares - 1).abs()
    if away.max() <= STANDARD_ERRORS * math.sqrt(2 / len(blocks)):
        return None
    row, column = divmod(int(away.argmax()), dim)
    return (
        f"over {len(blocks)} blocks, ω² of coordinate {column} of row {row} is "
        f"{squares[row, column]:.2f} times the mean of all coordinates: the length of a row and "
        "its direction depend on each other, or directions are not uniform"
    )


def _dependent_blocks(blocks: Tensor, dim: int) -> str | None:
    directions = torch.nn.functional.normalize(blocks, dim=-1)
    squares = (directions[::2] @ directions[1::2].mT).square().mean(dim=0)
    # The squared cosine of independent directions: mean 1/d, variance 2 (d - 1) / (d² (d + 2)).
    error = math.sqrt(2 * (dim - 1) / (dim**2 * (dim + 2)) / len(directions[::2]))
    away = (squares - 1 / dim).abs()
    if away.max() <= STANDARD_ERRORS * error:
        return None
    row, other = divmod(int(away.argmax()), dim)
    return (
        f"over {len(directions[::2])} pairs of blocks, row {row} and row {dim + other} of the next "
        f"block have a squared cosine of {squares[row, other]:.2f} on average, not "
        f"1/d = {1 / dim:.2f}: draw each block for itself"
    )


# --- What shows a mistake, whose numbers are random ----------------------------------------------


def _sign(shown: Callable[[Tensor, int], bool]) -> Sign:
    return lambda inputs, answer, expected: shown(_in_blocks(inputs, answer), inputs["dim"])


def _equal_to(x: Tensor, value: Tensor | float) -> bool:
    return bool(((x - value).abs() <= 1e-4 * x.abs().max()).all())


def _all_rows_cross(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    return all(_cosine_in(block) > 1e-3 for block in answer["rows"].split(inputs["dim"]))


def _as_independent_rows(blocks: Tensor, dim: int) -> bool:
    directions = torch.nn.functional.normalize(blocks, dim=-1)
    cosines = (directions @ directions.mT).square().mean(dim=0) * (1 - torch.eye(dim))
    expected = (1 - torch.eye(dim)) / dim
    # Five standard errors, as for rows of different blocks.
    error = math.sqrt(2 * (dim - 1) / (dim**2 * (dim + 2)) / len(blocks))
    return bool(((cosines - expected).abs() <= STANDARD_ERRORS * error).all())


def _last_rows_cross(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    if _wrong_shape(inputs, answer, expected):
        return False
    blocks = answer["rows"].split(inputs["dim"])
    whole = [block for block in blocks if len(block) == inputs["dim"]]
    rest = [block for block in blocks if len(block) < inputs["dim"]]
    return all(_cosine_in(block) < 1e-4 for block in whole) and all(
        _cosine_in(block) > 1e-3 for block in rest
    )


def _columns_are_scaled(blocks: Tensor, dim: int) -> bool:
    """Columns are orthogonal, rows are not: what a rotation with other lengths of columns is."""
    columns = blocks.mT @ blocks
    diagonal = torch.diag_embed(columns.diagonal(dim1=-2, dim2=-1))
    return _equal_to(columns, diagonal) and not _equal_to(blocks @ blocks.mT, diagonal)


def _lengths_are_squares(blocks: Tensor, dim: int) -> bool:
    lengths = blocks.norm(dim=-1).flatten()
    error = math.sqrt(2 * dim / len(lengths))
    return bool(
        (lengths.mean() - dim).abs() < STANDARD_ERRORS * error and 1.6 < lengths.var() / dim < 2.4
    )


def _lengths_depend(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    """One for a block, the same in every block, or sorted; not one for all rows."""
    lengths = _in_blocks(inputs, answer).norm(dim=-1)
    by_draw = lengths.reshape(inputs["draws"], -1, inputs["dim"])
    within, across = lengths - lengths[:, :1], (by_draw - by_draw[:, :1]).reshape(lengths.shape)
    per_block, repeated = _equal_to(lengths, lengths - within), _equal_to(lengths, lengths - across)
    steps = lengths.reshape(inputs["draws"], -1).diff(dim=-1)
    is_sorted = bool((steps > -1e-4).all() or (steps < 1e-4).all())
    fixed = _equal_to(lengths, lengths[0, 0])
    return (per_block or repeated or is_sorted) and not fixed


def _blocks_repeat(blocks: Tensor, dim: int) -> bool:
    """The same directions, or their opposites, in two blocks one after the other."""
    directions = torch.nn.functional.normalize(blocks, dim=-1)
    return _equal_to(directions[::2].abs(), directions[1::2].abs())


def _first_sign_is_fixed(blocks: Tensor, dim: int) -> bool:
    """A Householder reflection makes the first entry of Q negative."""
    rows = blocks @ blocks.mT
    orthogonal = _equal_to(rows, torch.diag_embed(rows.diagonal(dim1=-2, dim2=-1)))
    return orthogonal and bool((blocks[:, 0, 0] <= 0).all())


def _lengths_of_directions(blocks: Tensor, dim: int) -> bool:
    """Lengths and directions are each right, and depend on each other."""
    directions = torch.nn.functional.normalize(blocks, dim=-1)
    each = (_wrong_lengths(blocks, dim), _likelier_direction(blocks, dim))
    return not any((*each, _longer_axis(directions, dim))) and bool(_longer_axis(blocks, dim))


def _lengths_of_r(blocks: Tensor, dim: int) -> bool:
    """The diagonal of R: ‖ω‖² of row j has d − j degrees of freedom."""
    squares, freedom = blocks.square().sum(dim=-1).mean(dim=0), torch.arange(dim, 0, -1)
    error = (2 * freedom / len(blocks)).sqrt()
    return bool(((squares - freedom).abs() <= STANDARD_ERRORS * error).all())


def _lengths_of_m_numbers(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    lengths, m = _in_blocks(inputs, answer).norm(dim=-1), inputs["num_features"]
    # The norm of m normal numbers is √m ± 0.7.
    return bool((lengths - m**0.5).abs().max() < 5)


def _divided_by_root_m(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    squares = _in_blocks(inputs, answer).square().sum(dim=-1).flatten() * inputs["num_features"]
    dim = inputs["dim"]
    return bool(
        (squares.mean() - dim).abs() < STANDARD_ERRORS * math.sqrt(2 * dim / len(squares))
        and 1.6 < squares.var() / dim < 2.4
    )


def _not_cut(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    dim = inputs["dim"]
    return answer["rows"].shape == (-(-inputs["num_features"] // dim) * dim, dim)


def _turned(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    if answer["rows"].shape != (inputs["dim"], inputs["num_features"]):
        return False
    return all(_cosine_in(block) < 1e-4 for block in answer["rows"].mT.split(inputs["dim"]))


FEW_SIGNS: dict[str, Sign] = {
    "independent rows": _all_rows_cross,
    "last block not orthogonal": _last_rows_cross,
    "drawn from the generator of torch": lambda inputs, answer, expected: (
        not _same(answer["rows"], answer["again"])
    ),
    "drawn from a generator of its own": lambda inputs, answer, expected: _same(
        answer["rows"], answer["other"]
    ),
    "rows not cut": _not_cut,
    "rows as columns": _turned,
}
MANY_SIGNS: dict[str, Sign] = {
    "independent rows": _sign(_as_independent_rows),
    "rows of length 1": _sign(lambda blocks, dim: _equal_to(blocks.norm(dim=-1), 1.0)),
    "rows of length root d": _sign(lambda blocks, dim: _equal_to(blocks.norm(dim=-1), dim**0.5)),
    "rows of length d": _sign(lambda blocks, dim: _equal_to(blocks.norm(dim=-1), dim)),
    "squares as lengths": _sign(_lengths_are_squares),
    "columns scaled instead of rows": _sign(_columns_are_scaled),
    "lengths that are not independent": _lengths_depend,
    "blocks that are not independent": _sign(_blocks_repeat),
    "sign of qr not fixed": _sign(_first_sign_is_fixed),
    "divided by root m": _divided_by_root_m,
    "lengths that depend on directions": _sign(_lengths_of_directions),
    "diagonal of r as lengths": _sign(_lengths_of_r),
    "lengths of vectors of m numbers": _lengths_of_m_numbers,
}

ORTHOGONAL = Exercise(
    "orthogonal_random_features",
    "linear_attention",
    (
        Part(
            "few rows",
            _few_rows,
            _few_rows_probe,
            (
                Property("num_features rows of dim numbers", 1, _wrong_shape),
                Property("rows of a block are orthogonal", 2, _not_orthogonal),
                Property("all randomness comes from the generator", 1, _other_randomness),
            ),
            signs=FEW_SIGNS,
        ),
        Part(
            "many rows",
            _many_rows,
            _many_rows_probe,
            (
                Property(
                    "‖ω‖² is distributed as that of a normal row", 2, _of_blocks(_wrong_lengths)
                ),
                Property("lengths of rows are independent", 1, _of_blocks(_dependent_lengths)),
                Property("every direction is as likely", 1, _of_blocks(_likelier_direction)),
                Property(
                    "lengths and directions are independent: every axis gets the same",
                    1,
                    _of_blocks(_longer_axis),
                ),
                Property("blocks are independent", 1, _of_blocks(_dependent_blocks)),
            ),
            signs=MANY_SIGNS,
        ),
    ),
)

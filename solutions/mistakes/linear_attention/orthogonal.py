"""Wrong versions of the exercises of 02_linear_attention on orthogonal features."""

import torch

from solutions import linear_attention as right
from solutions.mistakes import mistake


@mistake(
    right.orthogonal_random_features,
    "The rows are independent normal vectors: unbiased, but not orthogonal, so two rows can point "
    "the same way and measure the same thing twice.",
)
def independent_rows(num_features, dim, generator):
    return torch.randn(num_features, dim, generator=generator)


def _rotations(num_features, dim, generator, fix_sign=True):
    num_blocks = -(-num_features // dim)
    q, r = torch.linalg.qr(torch.randn(num_blocks, dim, dim, generator=generator))
    if fix_sign:
        q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return q.mT.flatten(0, 1)[:num_features]


@mistake(
    right.orthogonal_random_features,
    "Every row has length 1. ωᵀx then is too short: give each row the length of an independent "
    "normal vector of `dim` entries.",
)
def rows_of_length_1(num_features, dim, generator):
    return _rotations(num_features, dim, generator)


@mistake(
    right.orthogonal_random_features,
    "Every row has length √d, the root of the mean of ‖ω‖². A normal vector's length varies; "
    "with a fixed one the estimate of exp(xᵀy) is biased.",
)
def rows_of_length_root_d(num_features, dim, generator):
    return _rotations(num_features, dim, generator) * dim**0.5


@mistake(
    right.orthogonal_random_features,
    "The lengths of rows depend on each other, as when one is drawn for a whole block, or they are "
    "repeated in every block, or sorted. Each row needs a length of its own, drawn for itself.",
)
def lengths_that_are_not_independent(num_features, dim, generator):
    num_blocks = -(-num_features // dim)
    lengths = torch.randn(num_blocks, dim, generator=generator).norm(dim=1, keepdim=True)
    return (
        _rotations(num_features, dim, generator) * lengths.repeat_interleave(dim, 0)[:num_features]
    )


@mistake(
    right.orthogonal_random_features,
    "One rotation, or its mirror image, serves several blocks, so features beyond the first `dim` "
    "say what was said before. Draw a rotation for each block.",
)
def blocks_that_are_not_independent(num_features, dim, generator):
    num_blocks = -(-num_features // dim)
    lengths = torch.randn(num_features, dim, generator=generator).norm(dim=1, keepdim=True)
    return lengths * _rotations(dim, dim, generator).repeat(num_blocks, 1)[:num_features]


@mistake(
    right.orthogonal_random_features,
    "Q of a QR decomposition is not uniform over rotations: the algorithm fixes signs in its own "
    "way. Multiply each column of Q by the sign of R's diagonal entry.",
)
def sign_of_qr_not_fixed(num_features, dim, generator):
    lengths = torch.randn(num_features, dim, generator=generator).norm(dim=1, keepdim=True)
    return lengths * _rotations(num_features, dim, generator, fix_sign=False)


@mistake(
    right.orthogonal_random_features,
    "The last block, which is not full, is drawn in another way and is not orthogonal. Draw whole "
    "blocks, and cut them to num_features rows.",
)
def last_block_not_orthogonal(num_features, dim, generator):
    whole = num_features // dim * dim
    rest = torch.randn(num_features - whole, dim, generator=generator)
    rows = torch.cat([_rotations(whole, dim, generator), rest]) if whole else rest
    lengths = torch.randn(num_features, dim, generator=generator).norm(dim=1, keepdim=True)
    return lengths * torch.nn.functional.normalize(rows, dim=1)


@mistake(
    right.orthogonal_random_features,
    "Every row has length d. The mean of ‖ω‖² is d, so lengths are about √d, and they vary.",
)
def rows_of_length_d(num_features, dim, generator):
    return _rotations(num_features, dim, generator) * dim


@mistake(
    right.orthogonal_random_features,
    "Rows are given ‖ω‖², a sum of squares, as their length. Take its root, the norm.",
)
def squares_as_lengths(num_features, dim, generator):
    squares = torch.randn(num_features, dim, generator=generator).square().sum(dim=1, keepdim=True)
    return squares * _rotations(num_features, dim, generator)


@mistake(
    right.orthogonal_random_features,
    "The columns get lengths, and the rows should. Lengths of columns destroy the angles between "
    "rows. norm(dim=1, keepdim=True) is one length for each row.",
)
def columns_scaled_instead_of_rows(num_features, dim, generator):
    lengths = torch.randn(num_features, dim, generator=generator).norm(dim=0, keepdim=True)
    return lengths * _rotations(num_features, dim, generator)


@mistake(
    right.orthogonal_random_features,
    "An equal generator gives other rows: some of the randomness is that of torch itself. Give "
    "generator=generator to every call that draws.",
)
def drawn_from_the_generator_of_torch(num_features, dim, generator):
    lengths = torch.randn(num_features, dim).norm(dim=1, keepdim=True)
    return lengths * _rotations(num_features, dim, generator)


@mistake(
    right.orthogonal_random_features,
    "Another generator gives the same rows: a generator is made inside, always with one seed. Use "
    "the one that is given, or all layers of a model get the same features.",
)
def drawn_from_a_generator_of_its_own(num_features, dim, generator):
    return right.orthogonal_random_features(num_features, dim, torch.Generator().manual_seed(0))


@mistake(
    right.orthogonal_random_features,
    "Whole blocks are returned, more than num_features rows. Cut them: [:num_features].",
)
def rows_not_cut(num_features, dim, generator):
    return right.orthogonal_random_features(-(-num_features // dim) * dim, dim, generator)


@mistake(
    right.orthogonal_random_features,
    "The result is the transpose of what is asked for: (dim, num_features). Each ω is a row.",
)
def rows_as_columns(num_features, dim, generator):
    return right.orthogonal_random_features(num_features, dim, generator).mT


@mistake(
    right.orthogonal_random_features,
    "The rows are divided by √m. That factor belongs to the features, outside of the exponential; "
    "the rows themselves are as long as normal vectors.",
)
def divided_by_root_m(num_features, dim, generator):
    rows = right.orthogonal_random_features(num_features, dim, generator)
    return rows * num_features**-0.5


@mistake(
    right.orthogonal_random_features,
    "The length of a row and its direction depend on each other. That happens where the lengths "
    "are those of the rows of the matrix that went into the QR decomposition: they know its "
    "directions, and the estimate of exp(xᵀy) is biased. Draw the lengths from another matrix.",
)
def lengths_that_depend_on_directions(num_features, dim, generator):
    num_blocks = -(-num_features // dim)
    normal = torch.randn(num_blocks, dim, dim, generator=generator)
    q, r = torch.linalg.qr(normal)
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return (normal.norm(dim=-1, keepdim=True) * q.mT).flatten(0, 1)[:num_features]


@mistake(
    right.orthogonal_random_features,
    "The diagonal of R gives the lengths. Its entries are those of shorter and shorter vectors, of "
    "d, d − 1, … numbers. Every row needs the length of a vector of d.",
)
def diagonal_of_r_as_lengths(num_features, dim, generator):
    num_blocks = -(-num_features // dim)
    q, r = torch.linalg.qr(torch.randn(num_blocks, dim, dim, generator=generator))
    return (q * r.diagonal(dim1=-2, dim2=-1).unsqueeze(-2)).mT.flatten(0, 1)[:num_features]


@mistake(
    right.orthogonal_random_features,
    "Rows are as long as vectors of num_features numbers. ω has `dim` numbers: draw the lengths "
    "from a matrix num_features × dim, and take the norm of its rows.",
)
def lengths_of_vectors_of_m_numbers(num_features, dim, generator):
    lengths = torch.randn(num_features, num_features, generator=generator).norm(dim=1, keepdim=True)
    return lengths * _rotations(num_features, dim, generator)

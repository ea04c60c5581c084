"""Wrong versions of low_rank_approximation, an exercise of 00_foundations."""

import torch

from solutions import foundations as right
from solutions.mistakes import mistake


def _factors(matrix):
    return torch.linalg.svd(matrix, full_matrices=False)


@mistake(
    right.low_rank_approximation,
    "It uses eigenvalues and eigenvectors. A matrix that is not symmetric has no orthogonal "
    "eigenvectors, one that is not square has none: use the singular value decomposition.",
)
def eigenvalues_for_singular_values(matrix, rank):
    values, vectors = torch.linalg.eigh(matrix)
    largest = values.abs().argsort(dim=-1, descending=True)[..., :rank]
    values = values.gather(-1, largest)
    vectors = vectors.gather(-1, largest.unsqueeze(-2).expand(*vectors.shape[:-1], rank))
    return (vectors * values.unsqueeze(-2)) @ vectors.mT


@mistake(
    right.low_rank_approximation,
    "V is not transposed as it should be. torch.linalg.svd returns vh, which is Vᵀ already: its "
    "rows are the right singular vectors. Take the first `rank` rows, and do not transpose them.",
)
def v_transposed_twice(matrix, rank):
    u, s, vh = _factors(matrix)
    return (u[..., :rank] * s[..., None, :rank]) @ vh.mT[..., :rank, :]


@mistake(
    right.low_rank_approximation,
    "The singular values are missing: u vᵀ gives every direction the weight 1. Multiply the "
    "columns of u by them.",
)
def singular_values_dropped(matrix, rank):
    u, _, vh = _factors(matrix)
    return u[..., :rank] @ vh[..., :rank, :]


@mistake(
    right.low_rank_approximation,
    "The singular values are squared. The eigenvalues of AᵀA are the squares of A's singular "
    "values: take the root.",
)
def singular_values_squared(matrix, rank):
    u, s, vh = _factors(matrix)
    return (u[..., :rank] * s[..., None, :rank].square()) @ vh[..., :rank, :]


@mistake(
    right.low_rank_approximation,
    "The smallest singular values are kept, not the largest. torch.linalg.svd sorts them from "
    "large to small; torch.linalg.eigh sorts the other way round.",
)
def smallest_values_kept(matrix, rank):
    u, s, vh = _factors(matrix)
    return (u[..., -rank:] * s[..., None, -rank:]) @ vh[..., -rank:, :]


@mistake(
    right.low_rank_approximation,
    "One singular value too many is kept. The slice :rank holds `rank` of them.",
)
def one_value_too_many(matrix, rank):
    return right.low_rank_approximation(matrix, rank + 1)


@mistake(
    right.low_rank_approximation,
    "The mean of each column is subtracted first and added at the end, as in principal component "
    "analysis. That is another problem: the closest matrix of a given rank comes from the matrix "
    "as it is.",
)
def columns_centred_as_for_principal_components(matrix, rank):
    mean = matrix.mean(dim=-2, keepdim=True)
    return right.low_rank_approximation(matrix - mean, rank) + mean


@mistake(
    right.low_rank_approximation,
    "The result is right, but the full matrices of singular vectors are computed: rows × rows for "
    "u, which is a terabyte for half a million rows. Ask for full_matrices=False.",
)
def full_matrices(matrix, rank):
    u, s, vh = torch.linalg.svd(matrix)
    return (u[..., :rank] * s[..., None, :rank]) @ vh[..., :rank, :]


@mistake(
    right.low_rank_approximation,
    "The roots of the singular values are taken. torch.linalg.svd returns the singular values "
    "themselves; only the eigenvalues of AᵀA are squares.",
)
def roots_of_the_singular_values(matrix, rank):
    u, s, vh = _factors(matrix)
    return (u[..., :rank] * s[..., None, :rank].sqrt()) @ vh[..., :rank, :]


@mistake(
    right.low_rank_approximation,
    "Only singular value number `rank` is kept. Keep the first `rank` of them.",
)
def one_singular_value_alone(matrix, rank):
    u, s, vh = _factors(matrix)
    return (u[..., rank - 1 : rank] * s[..., None, rank - 1 : rank]) @ vh[..., rank - 1 : rank, :]


@mistake(
    right.low_rank_approximation,
    "One singular value too few is kept. The slice :rank holds `rank` of them.",
)
def one_value_too_few(matrix, rank):
    u, s, vh = _factors(matrix)
    return (u[..., : rank - 1] * s[..., None, : rank - 1]) @ vh[..., : rank - 1, :]


@mistake(
    right.low_rank_approximation,
    "All singular values are kept: it is the matrix itself. Keep the first `rank` of them.",
)
def nothing_left_out(matrix, rank):
    u, s, vh = _factors(matrix)
    return (u * s[..., None, :]) @ vh


@mistake(
    right.low_rank_approximation,
    "These are the first columns of U times σ: a factor. Multiply by the first rows of Vᵀ.",
)
def columns_of_u_alone(matrix, rank):
    u, s, _ = _factors(matrix)
    return u[..., :rank] * s[..., None, :rank]


@mistake(
    right.low_rank_approximation,
    "The first rows of U are taken. Singular vectors are its columns: u[..., :rank].",
)
def rows_of_u_for_columns(matrix, rank):
    u, s, vh = _factors(matrix)
    return (u[..., :rank, :] * s[..., None, :]) @ vh


@mistake(
    right.low_rank_approximation,
    "The slices count from the front, u[:, :rank] and vh[:rank]. With a batch, the first "
    "dimensions are the batch: u[..., :rank], s[..., :rank], vh[..., :rank, :].",
)
def batch_dimensions_sliced(matrix, rank):
    u, s, vh = _factors(matrix)
    return u[:, :rank] @ torch.diag_embed(s[..., :rank]) @ vh[:rank]


@mistake(
    right.low_rank_approximation,
    "The first rows are kept, and the others set to 0. The closest matrix of this rank keeps the "
    "directions in which the matrix is large, which are seldom rows.",
)
def first_rows_kept(matrix, rank):
    kept = torch.arange(matrix.shape[-2])[:, None] < rank
    return matrix * kept


@mistake(
    right.low_rank_approximation,
    "The first columns of the matrix are kept exactly, and the others approximated by them, as by "
    "a QR decomposition that is cut off. The closest matrix of this rank keeps the directions in "
    "which the matrix is large: use the singular value decomposition.",
)
def spanned_by_the_first_columns(matrix, rank):
    u, _, _ = _factors(matrix[..., :rank])
    return u @ (u.mT @ matrix)

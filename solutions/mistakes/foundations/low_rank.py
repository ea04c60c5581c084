"""Wrong versions of the exercises of 00_foundations on low rank."""

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


# --- relative_error ------------------------------------------------------------------------------


@mistake(
    right.relative_error,
    "The error is not divided by anything: it grows with the matrix. Divide by the norm of the "
    "matrix.",
)
def absolute_error(approximation, matrix):
    return torch.linalg.matrix_norm(approximation - matrix)


@mistake(
    right.relative_error,
    "It is the square of the relative error: a sum of squares divided by a sum of squares. Take "
    "the root.",
)
def root_forgotten(approximation, matrix):
    return right.relative_error(approximation, matrix).square()


@mistake(
    right.relative_error,
    "The error is divided by the norm of the approximation. The measure is the truth: divide by "
    "the norm of the matrix.",
)
def divided_by_the_norm_of_the_approximation(approximation, matrix):
    return right.relative_error(matrix, approximation)


@mistake(
    right.relative_error,
    "One norm is taken over the whole batch. Each matrix has its own error: sum over the last two "
    "dimensions only.",
)
def one_norm_for_the_whole_batch(approximation, matrix):
    return (approximation - matrix).norm() / matrix.norm()


@mistake(
    right.relative_error,
    "Each entry's error is divided by that entry, and the mean taken. An entry near 0 then decides "
    "everything. Divide one norm by another.",
)
def mean_of_the_entries_relative_errors(approximation, matrix):
    return ((approximation - matrix) / matrix).abs().mean(dim=(-2, -1))


@mistake(
    right.relative_error,
    "It is the spectral norm, the largest singular value. The Frobenius norm is the root of the "
    "sum of all squares.",
)
def spectral_norm(approximation, matrix):
    error = torch.linalg.matrix_norm(approximation - matrix, ord=2)
    return error / torch.linalg.matrix_norm(matrix, ord=2)

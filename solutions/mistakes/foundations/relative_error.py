"""Wrong versions of relative_error, an exercise of 00_foundations."""

import torch

from solutions import foundations as right
from solutions.mistakes import mistake


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


@mistake(
    right.relative_error,
    "One number comes back for the whole batch: the mean. Each matrix has an error of its own.",
)
def mean_over_the_batch(approximation, matrix):
    return right.relative_error(approximation, matrix).mean()


@mistake(
    right.relative_error,
    "Each error is divided by the norm of the whole batch. Each matrix has a norm of its own: take "
    "it over the last two dimensions.",
)
def divided_by_the_norm_of_the_whole_batch(approximation, matrix):
    return torch.linalg.matrix_norm(approximation - matrix) / matrix.norm()


@mistake(
    right.relative_error,
    "The norms are taken of the rows. A matrix has one Frobenius norm: sum over its last two "
    "dimensions.",
)
def norms_of_rows(approximation, matrix):
    return (approximation - matrix).norm(dim=-1) / matrix.norm(dim=-1)


@mistake(
    right.relative_error,
    "The norms are taken of the rows, and the mean of the quotients. A matrix has one Frobenius "
    "norm: sum over its last two dimensions.",
)
def mean_over_the_rows(approximation, matrix):
    return norms_of_rows.function(approximation, matrix).mean(dim=-1)


@mistake(
    right.relative_error,
    "Absolute values are summed, not squares. The Frobenius norm is the root of the sum of all "
    "squares.",
)
def absolute_values_summed(approximation, matrix):
    return (approximation - matrix).abs().sum(dim=(-2, -1)) / matrix.abs().sum(dim=(-2, -1))


@mistake(
    right.relative_error,
    "It is the largest entry of the difference over the largest of the matrix. The Frobenius norm "
    "is the root of the sum of all squares.",
)
def largest_entries(approximation, matrix):
    return (approximation - matrix).abs().amax(dim=(-2, -1)) / matrix.abs().amax(dim=(-2, -1))


@mistake(
    right.relative_error,
    "It is the nuclear norm, the sum of the singular values. The Frobenius norm is the root of the "
    "sum of their squares.",
)
def nuclear_norm(approximation, matrix):
    error = torch.linalg.matrix_norm(approximation - matrix, ord="nuc")
    return error / torch.linalg.matrix_norm(matrix, ord="nuc")


@mistake(
    right.relative_error,
    "The norms are compared, not the matrices: ‖M̂‖ − ‖M‖ can be 0 for matrices that differ. "
    "Subtract first, then take the norm.",
)
def difference_of_the_norms(approximation, matrix):
    norm = torch.linalg.matrix_norm
    return (norm(approximation) - norm(matrix)).abs() / norm(matrix)


@mistake(right.relative_error, "It is in per cent. 1 is the error of a matrix of zeros.")
def per_cent(approximation, matrix):
    return 100 * right.relative_error(approximation, matrix)


@mistake(
    right.relative_error,
    "It is the root of the mean square of the entries, which is not relative to anything. Divide "
    "the norm of the difference by the norm of the matrix.",
)
def root_mean_square(approximation, matrix):
    return (approximation - matrix).square().mean(dim=(-2, -1)).sqrt()


@mistake(
    right.relative_error,
    "The error is divided by the norms of both. The measure is the truth: divide by the norm of "
    "the matrix.",
)
def divided_by_the_mean_of_both_norms(approximation, matrix):
    norm = torch.linalg.matrix_norm
    return 2 * norm(approximation - matrix) / (norm(approximation) + norm(matrix))

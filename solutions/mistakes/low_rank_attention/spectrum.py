"""Wrong versions of attention_spectrum, an exercise of 03_low_rank_attention."""

import torch

from solutions import low_rank_attention as right
from solutions.mistakes import mistake


@mistake(
    right.attention_spectrum,
    "These are the absolute values of the eigenvalues. An attention matrix is not symmetric, and "
    "its eigenvalues do not say how well a matrix of low rank can come close to it: take singular "
    "values. A matrix that is not square has no eigenvalues at all.",
)
def eigenvalues_instead_of_singular_values(attention):
    return torch.linalg.eigvals(attention).abs().sort(dim=-1, descending=True).values


@mistake(
    right.attention_spectrum,
    "The smallest comes first. A rank counts from the largest: flip the order.",
)
def smallest_first(attention):
    return torch.linalg.svdvals(attention).flip(-1)


@mistake(
    right.attention_spectrum,
    "These are the squares of the singular values, the eigenvalues of AᵀA: take the square root.",
)
def squares_of_singular_values(attention):
    return torch.linalg.svdvals(attention).square()


@mistake(
    right.attention_spectrum,
    "The square roots of the eigenvalues of AᵀA are the singular values, but not in floating "
    "point: squaring loses half of the digits, and a singular value below √ε · σ₁, which is σ₁ / "
    "3000 in float32, is rounding or NaN. Use a decomposition of A itself.",
)
def roots_of_the_eigenvalues_of_the_product(attention):
    wide = attention.shape[-2] < attention.shape[-1]
    product = attention @ attention.mT if wide else attention.mT @ attention
    return torch.linalg.eigvalsh(product).clamp(min=0).sqrt().flip(-1)


@mistake(
    right.attention_spectrum,
    "The values are divided by their sum. The spectrum is the singular values as they are.",
)
def divided_by_the_sum(attention):
    values = torch.linalg.svdvals(attention)
    return values / values.sum(dim=-1, keepdim=True)


@mistake(
    right.attention_spectrum,
    "These are running sums of the singular values, as a share of their total. It is what the "
    "Linformer paper draws; the spectrum is the values themselves.",
)
def cumulative_share(attention):
    values = torch.linalg.svdvals(attention).cumsum(dim=-1)
    return values / values[..., -1:]


@mistake(
    right.attention_spectrum,
    "The values are divided by the largest. The spectrum is the singular values as they are.",
)
def divided_by_the_largest(attention):
    values = torch.linalg.svdvals(attention)
    return values / values[..., :1]


@mistake(
    right.attention_spectrum,
    "These are the shares of the squares, what each singular value holds of ‖A‖². The spectrum is "
    "the singular values as they are.",
)
def shares_of_the_squares(attention):
    squares = torch.linalg.svdvals(attention).square()
    return squares / squares.sum(dim=-1, keepdim=True)


@mistake(
    right.attention_spectrum,
    "These are running sums of the squares, as a share of their total: what effective_rank needs, "
    "which comes next. The spectrum is the singular values as they are.",
)
def cumulative_share_of_the_squares(attention):
    kept = torch.linalg.svdvals(attention).square().cumsum(dim=-1)
    return kept / kept[..., -1:]


@mistake(
    right.attention_spectrum,
    "These are logarithms. The spectrum is the singular values as they are.",
)
def logarithms(attention):
    return torch.linalg.svdvals(attention).log()


@mistake(
    right.attention_spectrum,
    "torch.linalg.svd returns three things: U, the singular values, and Vᵀ. Return the second.",
)
def whole_decomposition(attention):
    return tuple(torch.linalg.svd(attention))


@mistake(
    right.attention_spectrum,
    "These are the lengths of the rows, sorted: the diagonal of AAᵀ. Singular values are the roots "
    "of its eigenvalues.",
)
def lengths_of_the_rows(attention):
    return attention.norm(dim=-1).sort(dim=-1, descending=True).values


@mistake(
    right.attention_spectrum,
    "The mean of each column is subtracted first, as in principal component analysis. The spectrum "
    "is that of the matrix as it is.",
)
def columns_centred(attention):
    return torch.linalg.svdvals(attention - attention.mean(dim=-2, keepdim=True))


@mistake(
    right.attention_spectrum,
    "A softmax is taken first. What is given are attention weights already: their rows sum to 1.",
)
def softmax_taken_again(attention):
    return torch.linalg.svdvals(attention.softmax(dim=-1))


@mistake(
    right.attention_spectrum,
    "All rows of the batch are stacked to one matrix. Each matrix has a spectrum of its own.",
)
def batch_as_one_matrix(attention):
    return torch.linalg.svdvals(attention.flatten(0, -2))


@mistake(
    right.attention_spectrum,
    "The square roots of the eigenvalues of AᵀA are the singular values, but not in floating "
    "point: squaring loses half of the digits. And where A is wide, AᵀA has more eigenvalues than "
    "A has singular values. Use a decomposition of A itself.",
)
def roots_of_the_eigenvalues_of_the_larger_product(attention):
    return torch.linalg.eigvalsh(attention.mT @ attention).clamp(min=0).sqrt().flip(-1)


@mistake(
    right.attention_spectrum,
    "These are running sums of the singular values. The spectrum is the values themselves.",
)
def values_summed_up_on_the_way(attention):
    return torch.linalg.svdvals(attention).cumsum(dim=-1)


@mistake(
    right.attention_spectrum,
    "These are eigenvalues by a function for symmetric matrices, which reads one half of them and "
    "takes the other for its mirror. An attention matrix is not symmetric: take singular values.",
)
def eigenvalues_as_if_symmetric(attention):
    return torch.linalg.eigvalsh(attention)


@mistake(
    right.attention_spectrum,
    "These are the real parts of the eigenvalues. An attention matrix is not symmetric: take "
    "singular values.",
)
def real_parts_of_eigenvalues(attention):
    return torch.linalg.eigvals(attention).real


@mistake(
    right.attention_spectrum,
    "These are the singular vectors U. torch.linalg.svd returns U, the values, and Vᵀ.",
)
def singular_vectors(attention):
    return torch.linalg.svd(attention).U


@mistake(
    right.attention_spectrum,
    "The values are on the diagonal of a matrix. Return them as they come, in the last dimension.",
)
def values_on_a_diagonal(attention):
    return torch.diag_embed(torch.linalg.svdvals(attention))


@mistake(
    right.attention_spectrum,
    "Zeros are appended where there are more keys than queries, or fewer. There are r = min(n_q, "
    "n_k) singular values.",
)
def filled_up_with_zeros(attention):
    missing = max(attention.shape[-2:]) - min(attention.shape[-2:])
    return torch.nn.functional.pad(torch.linalg.svdvals(attention), (0, missing))


@mistake(
    right.attention_spectrum,
    "The largest is left out. It says that rows have much in common; it belongs to the spectrum.",
)
def without_the_largest(attention):
    return torch.linalg.svdvals(attention)[..., 1:]

"""Wrong versions of the exercises of 03_low_rank_attention on singular values."""

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


def _rank(kept, energy):
    return (kept < energy * kept[..., -1:]).sum(dim=-1) + 1


@mistake(
    right.effective_rank,
    "The singular values are added up, not their squares. ‖A‖² is the sum of the squares, and what "
    "an approximation misses is measured in it.",
)
def singular_values_not_squared(attention, energy):
    return _rank(right.attention_spectrum(attention).cumsum(dim=-1), energy)


@mistake(
    right.effective_rank,
    "The sum begins with the smallest values, so it counts how many of them are needed. The best "
    "approximation keeps the largest ones.",
)
def summed_from_the_smallest(attention, energy):
    return _rank(right.attention_spectrum(attention).flip(-1).square().cumsum(dim=-1), energy)


@mistake(
    right.effective_rank,
    "One too few: this counts the ranks that keep less than the share. The next one is the first "
    "that keeps enough.",
)
def one_too_few(attention, energy):
    return right.effective_rank(attention, energy) - 1


@mistake(
    right.effective_rank,
    "Each value is compared with the largest. Many small ones together can hold a large share: "
    "add the squares up, and compare the sum with the total.",
)
def values_compared_with_the_largest(attention, energy):
    values = right.attention_spectrum(attention)
    return (values >= (1 - energy) * values[..., :1]).sum(dim=-1)


@mistake(
    right.effective_rank,
    "The total is taken over all matrices of the batch. Each matrix has a total of its own.",
)
def total_of_the_whole_batch(attention, energy):
    kept = right.attention_spectrum(attention).square().cumsum(dim=-1)
    return (kept < energy * kept[..., -1].mean()).sum(dim=-1) + 1


@mistake(
    right.effective_rank,
    "This is the rank up to rounding: it counts every singular value that is not 0, however small, "
    "and does not look at `energy`.",
)
def numerical_rank(attention, energy):
    return torch.linalg.matrix_rank(attention)


@mistake(
    right.effective_rank,
    "The total is summed apart from the running sums. Rounding makes the two differ, so with an "
    "energy of 1 even all values can seem too few, and the rank is one more than there are. Take "
    "the last of the running sums as the total.",
)
def total_summed_apart(attention, energy):
    squares = right.attention_spectrum(attention).square()
    shares = squares.cumsum(dim=-1) / squares.sum(dim=-1, keepdim=True)
    return (shares < energy).sum(dim=-1) + 1


@mistake(
    right.effective_rank,
    "Sums that are equal to the share are counted as too small. `energy` is enough: with an energy "
    "of 1 the last sum is, and no further rank exists.",
)
def equal_is_too_little(attention, energy):
    kept = right.attention_spectrum(attention).square().cumsum(dim=-1)
    return (kept <= energy * kept[..., -1:]).sum(dim=-1) + 1


@mistake(
    right.effective_rank,
    "The sums are compared with `energy` itself. It is a share: multiply it by the total, or "
    "divide the sums by the total.",
)
def compared_with_the_share_itself(attention, energy):
    return (right.attention_spectrum(attention).square().cumsum(dim=-1) < energy).sum(dim=-1) + 1


@mistake(
    right.effective_rank,
    "The ranks that keep enough are counted. Count those that keep too little: the next one is the "
    "smallest that keeps enough.",
)
def those_that_keep_enough_counted(attention, energy):
    kept = right.attention_spectrum(attention).square().cumsum(dim=-1)
    return (kept >= energy * kept[..., -1:]).sum(dim=-1)


@mistake(
    right.effective_rank,
    "The values are compared with 1 − energy: the rank that keeps this share is found, the rank "
    "that leaves it out is asked for.",
)
def share_left_out(attention, energy):
    return right.effective_rank(attention, 1 - energy)


@mistake(
    right.effective_rank,
    "The fourth powers are summed: the squares are squared again, or the squares are taken of "
    "eigenvalues of AᵀA, which are squares already.",
)
def squared_twice(attention, energy):
    return _rank(right.attention_spectrum(attention).pow(4).cumsum(dim=-1), energy)


@mistake(
    right.effective_rank,
    "`energy` is taken for a share of the norm, and squared. It is a share of ‖A‖², the sum of the "
    "squares.",
)
def energy_squared(attention, energy):
    return right.effective_rank(attention, energy**2)


@mistake(
    right.effective_rank,
    "One number comes back for the whole batch. Each matrix has a rank: sum over the last "
    "dimension only.",
)
def summed_over_the_batch(attention, energy):
    kept = right.attention_spectrum(attention).square().cumsum(dim=-1)
    return (kept < energy * kept[..., -1:]).sum() + 1


@mistake(
    right.effective_rank,
    "This is the exponential of the entropy of the spectrum, Roy and Vetterli's effective rank. "
    "Here it is the smallest rank that keeps the share `energy`.",
)
def exponential_of_the_entropy(attention, energy):
    values = right.attention_spectrum(attention)
    shares = values / values.sum(dim=-1, keepdim=True)
    return torch.special.entr(shares).sum(dim=-1).exp()


@mistake(
    right.effective_rank,
    "Values are counted that are at least `energy` times the largest. Add the squares up, and "
    "compare the sums with the total.",
)
def values_near_the_largest(attention, energy):
    values = right.attention_spectrum(attention)
    return (values >= energy * values[..., :1]).sum(dim=-1)

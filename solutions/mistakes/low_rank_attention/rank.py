"""Wrong versions of effective_rank, an exercise of 03_low_rank_attention."""

import torch

from solutions import low_rank_attention as right
from solutions.mistakes import mistake


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


@mistake(
    right.effective_rank,
    "One number comes back for the whole batch: the largest. Each matrix has a rank of its own.",
)
def largest_of_the_batch(attention, energy):
    return right.effective_rank(attention, energy).max()


@mistake(
    right.effective_rank,
    "One number comes back for the whole batch: the mean. Each matrix has a rank of its own.",
)
def mean_of_the_batch(attention, energy):
    return right.effective_rank(attention, energy).double().mean()


@mistake(
    right.effective_rank,
    "The rank is divided by the number of keys. Return the rank itself.",
)
def share_of_all_ranks(attention, energy):
    return right.effective_rank(attention, energy) / attention.shape[-1]


@mistake(
    right.effective_rank,
    "The first sum is looked for that is more than the share. `energy` is enough, and with an "
    "energy of 1 none is more: argmax of nothing is 0.",
)
def equal_is_too_little_for_argmax(attention, energy):
    kept = right.attention_spectrum(attention).square().cumsum(dim=-1)
    return (kept > energy * kept[..., -1:]).int().argmax(dim=-1) + 1


@mistake(
    right.effective_rank,
    "The sums are compared with a share of the number of rows. ‖A‖² is the sum of all σ², and "
    "it is the number of rows only where each row is a single 1.",
)
def total_taken_for_the_number_of_rows(attention, energy):
    kept = right.attention_spectrum(attention).square().cumsum(dim=-1)
    return (kept < energy * attention.shape[-2]).sum(dim=-1) + 1


@mistake(
    right.effective_rank,
    "This is ‖A‖² over the largest σ², the stable rank. Here it is the smallest rank that keeps "
    "the share `energy`.",
)
def stable_rank(attention, energy):
    kept = right.attention_spectrum(attention).square().cumsum(dim=-1)
    return kept[..., -1] / kept[..., 0]


@mistake(
    right.effective_rank,
    "The rank is at most one less than there are singular values. All of them can be needed.",
)
def last_rank_left_out(attention, energy):
    most = min(attention.shape[-2:]) - 1
    return right.effective_rank(attention, energy).clamp(max=most)


@mistake(
    right.effective_rank,
    "One rank comes back for the whole batch, from the mean of all spectra. Each matrix has its "
    "own.",
)
def one_rank_for_the_whole_batch(attention, energy):
    squares = right.attention_spectrum(attention).square()
    kept = squares.flatten(0, -2).mean(dim=0).cumsum(dim=-1)
    return (kept < energy * kept[-1]).sum() + 1


@mistake(
    right.effective_rank,
    "`energy` is taken for the share of the norm. The error that a rank leaves, relative to the "
    "norm, is √(1 − energy), since σ² are summed: compare squares with 1 − energy.",
)
def error_compared_without_its_square(attention, energy):
    squares = right.attention_spectrum(attention).square()
    left = (squares.flip(-1).cumsum(dim=-1).flip(-1) / squares.sum(dim=-1, keepdim=True)).sqrt()
    return (left[..., 1:] > 1 - energy).sum(dim=-1) + 1

"""Wrong versions of the exercises of 03_low_rank_attention."""

import torch
import torch.nn.functional as F

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
    right.linformer_attention,
    "The features are mixed, not the tokens: KE is (n × d)(n × k), which conforms only where n = "
    "d, and leaves as many tokens as before. The tokens are the rows of K: EᵀK.",
)
def features_projected_instead_of_tokens(q, k, v, e, f):
    return F.scaled_dot_product_attention(q, k @ e, v @ f)


@mistake(
    right.linformer_attention,
    "The values are projected with E as well, and F is not used. The paper allows to share them, "
    "but here F is given.",
)
def values_projected_with_e(q, k, v, e, f):
    return right.linformer_attention(q, k, v, e, e)


@mistake(
    right.linformer_attention,
    "The scores are divided by √k, the root of the number of mixtures. A score is a sum over d "
    "features, and grows like √d: divide by √d.",
)
def scaled_by_the_number_of_mixtures(q, k, v, e, f):
    return F.scaled_dot_product_attention(q, e.mT @ k, f.mT @ v, scale=e.shape[-1] ** -0.5)


@mistake(right.linformer_attention, "The scores are not divided by √d.")
def not_scaled(q, k, v, e, f):
    return F.scaled_dot_product_attention(q, e.mT @ k, f.mT @ v, scale=1.0)


@mistake(
    right.linformer_attention,
    "The n × n weights of all tokens are computed, and then projected. It costs what Linformer "
    "avoids, and the projected weights are no longer an average. Project the keys, then take the "
    "softmax over the k mixtures.",
)
def projected_after_the_softmax(q, k, v, e, f):
    weights = (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1)
    return (weights @ e) @ (f.mT @ v)


@mistake(
    right.linformer_attention,
    "The result is right, but all n × n scores are computed before they are projected. Products "
    "are associative: Q(KᵀE) is (QKᵀ)E. Project the keys first.",
)
def scores_of_all_tokens_first(q, k, v, e, f):
    scores = (q @ k.mT) @ e * q.shape[-1] ** -0.5
    return scores.softmax(dim=-1) @ (f.mT @ v)


@mistake(
    right.linformer_attention,
    "The softmax runs over the queries. Each query's weights over the k mixtures must sum to 1.",
)
def softmax_over_the_queries(q, k, v, e, f):
    scores = q @ (e.mT @ k).mT * q.shape[-1] ** -0.5
    return scores.softmax(dim=-2) @ (f.mT @ v)


@mistake(
    right.johnson_lindenstrauss_projection,
    "The entries have variance 1. ‖Eᵀx‖² then sums k numbers that are each as large as ‖x‖²: it is "
    "k times too large. Divide by √k.",
)
def variance_left_at_1(n, k, generator):
    return torch.randn(n, k, generator=generator)


@mistake(
    right.johnson_lindenstrauss_projection,
    "The entries are divided by k: their variance is 1/k². Lengths are squared, so divide by √k.",
)
def divided_by_k(n, k, generator):
    return torch.randn(n, k, generator=generator) / k


@mistake(
    right.johnson_lindenstrauss_projection,
    "The entries are divided by √n, as weights of a layer with n inputs are. That keeps the size "
    "of each number, not the length of the vector, which then has k numbers and not n: divide by "
    "√k.",
)
def divided_by_root_n(n, k, generator):
    return torch.randn(n, k, generator=generator) / n**0.5


@mistake(
    right.johnson_lindenstrauss_projection,
    "torch.rand draws from [0, 1): no entry is negative, so the direction (1, 1, … 1) is stretched "
    "and the others shrink. Draw normal numbers, whose mean is 0.",
)
def uniform_between_0_and_1(n, k, generator):
    return torch.rand(n, k, generator=generator) / k**0.5


@mistake(
    right.johnson_lindenstrauss_projection,
    "The columns are orthogonal with length 1, a projection in the sense of geometry: it keeps "
    "k/n of the squared length on average. Multiply by √(n/k).",
)
def orthonormal_columns(n, k, generator):
    return torch.linalg.qr(torch.randn(n, k, generator=generator)).Q


@mistake(
    right.johnson_lindenstrauss_projection,
    "All columns are the same. They then all measure the same thing, and more of them do not make "
    "the length more exact. Draw each for itself.",
)
def one_column_repeated(n, k, generator):
    return torch.randn(n, 1, generator=generator).expand(n, k) / k**0.5


@mistake(
    right.johnson_lindenstrauss_projection,
    "`generator` is not used, so an equal generator gives another projection.",
)
def generator_ignored(n, k, generator):
    return torch.randn(n, k) / k**0.5


def _pairs(points):
    i, j = torch.triu_indices(len(points), len(points), offset=1)
    return points[i] - points[j]


def _ratios(points, projection):
    x = _pairs(points)
    return (x @ projection).square().sum(dim=-1) / x.square().sum(dim=-1)


@mistake(
    right.distortion,
    "The lengths are compared, not their squares. ‖Eᵀx‖² is a sum over the columns of E, and the "
    "lemma is about it.",
)
def lengths_not_squared(points, projection):
    return (_ratios(points, projection).sqrt() - 1).abs().max()


@mistake(
    right.distortion,
    "This looks at the points, not at pairs of them. What must survive is the distance of each two "
    "points: take differences.",
)
def points_instead_of_pairs(points, projection):
    ratio = (points @ projection).square().sum(dim=-1) / points.square().sum(dim=-1)
    return (ratio - 1).abs().max()


@mistake(
    right.distortion,
    "This is the mean over the pairs. The lemma promises something for every pair: take the "
    "largest.",
)
def mean_over_the_pairs(points, projection):
    return (_ratios(points, projection) - 1).abs().mean()


@mistake(
    right.distortion,
    "Without the absolute value only pairs that moved apart count. A pair that came together is "
    "distorted as well.",
)
def only_pairs_that_moved_apart(points, projection):
    return (_ratios(points, projection) - 1).max()


@mistake(
    right.distortion,
    "The ratio is upside down: the squared length before is divided by that after.",
)
def before_divided_by_after(points, projection):
    return (1 / _ratios(points, projection) - 1).abs().max()


@mistake(
    right.distortion,
    "Squared distances are not divided by those before, so pairs that are far apart count more.",
)
def difference_not_relative(points, projection):
    x = _pairs(points)
    return ((x @ projection).square().sum(dim=-1) - x.square().sum(dim=-1)).abs().max()


@mistake(
    right.distortion,
    "‖a‖² + ‖b‖² − 2aᵀb is ‖a − b‖² on paper. Where the points are far from 0 and near to each "
    "other, it subtracts large numbers that are nearly equal, and rounding is what remains. "
    "Subtract the points, or at least their mean, first.",
)
def distances_from_inner_products(points, projection):
    def squared_distances(x):
        squares = x.square().sum(dim=-1)
        return squares[:, None] + squares - 2 * x @ x.mT

    i, j = torch.triu_indices(len(points), len(points), offset=1)
    before, after = squared_distances(points), squared_distances(points @ projection)
    return (after[i, j] / before[i, j] - 1).abs().max()

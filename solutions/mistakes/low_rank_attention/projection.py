"""Wrong versions of the exercises of 03_low_rank_attention on random projections."""

import torch
import torch.nn.functional as F

from solutions import low_rank_attention as right
from solutions.mistakes import mistake


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
    "Every column has length 1. It sums n squares, so the entries have variance 1/n, and of the "
    "squared length of a vector k/n is left: divide normal numbers by √k only.",
)
def columns_of_length_1(n, k, generator):
    return F.normalize(torch.randn(n, k, generator=generator), dim=0)


@mistake(
    right.johnson_lindenstrauss_projection,
    "The columns are orthogonal with length 1, a projection in the sense of geometry: it keeps "
    "k/n of the squared length on average. Multiply by √(n/k).",
)
def orthonormal_columns(n, k, generator):
    return torch.linalg.qr(torch.randn(n, k, generator=generator)).Q


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
    "No entry is negative, as with torch.rand, which draws from [0, 1): the direction (1, 1, … 1) "
    "is stretched more than the others. Draw normal numbers, whose mean is 0.",
)
def no_negative_entry(n, k, generator):
    return torch.rand(n, k, generator=generator) / k**0.5


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


@mistake(
    right.johnson_lindenstrauss_projection,
    "The entries are multiplied by √k. A variance of 1/k is a standard deviation of 1/√k: divide.",
)
def multiplied_by_root_k(n, k, generator):
    return torch.randn(n, k, generator=generator) * k**0.5


@mistake(
    right.johnson_lindenstrauss_projection,
    "The entries are divided by n. ‖Eᵀx‖² sums k numbers of size ‖x‖²: divide by √k.",
)
def divided_by_n(n, k, generator):
    return torch.randn(n, k, generator=generator) / n


@mistake(
    right.johnson_lindenstrauss_projection,
    "The entries are divided by √(nk). ‖Eᵀx‖² sums k numbers of size ‖x‖², whatever n is: divide "
    "by √k.",
)
def divided_by_root_n_and_root_k(n, k, generator):
    return torch.randn(n, k, generator=generator) / (n * k) ** 0.5


@mistake(
    right.johnson_lindenstrauss_projection,
    "The entries have a third of the variance that they should. Numbers uniform between −1 and 1 "
    "have variance 1/3: draw normal numbers, or multiply by √3.",
)
def uniform_between_minus_1_and_1(n, k, generator):
    return (2 * torch.rand(n, k, generator=generator) - 1) / k**0.5


@mistake(
    right.johnson_lindenstrauss_projection,
    "The entries have a twelfth of the variance that they should. Numbers uniform between −½ and ½ "
    "have variance 1/12: draw normal numbers, or multiply by √12.",
)
def uniform_around_0_with_width_1(n, k, generator):
    return (torch.rand(n, k, generator=generator) - 0.5) / k**0.5


@mistake(
    right.johnson_lindenstrauss_projection,
    "All rows are the same. E then sees of a vector nothing but the sum of its numbers. Draw each "
    "row for itself.",
)
def one_row_repeated(n, k, generator):
    return torch.randn(1, k, generator=generator).repeat(n, 1) / k**0.5


@mistake(
    right.johnson_lindenstrauss_projection,
    "Every call gives the same numbers, whatever state the generator is in: nothing is drawn from "
    "it, or it is given the same seed each time. Hand it to torch.randn as it comes.",
)
def the_same_numbers_at_each_call(n, k, generator):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(0)) / k**0.5


@mistake(
    right.johnson_lindenstrauss_projection,
    "Rows and columns are exchanged: E has a row for each of the n numbers, (n, k).",
)
def rows_and_columns_exchanged(n, k, generator):
    return torch.randn(k, n, generator=generator) / k**0.5


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


@mistake(
    right.distortion,
    "Without the absolute value, and from 1, only pairs that came together count. A pair that "
    "moved apart is distorted as well.",
)
def only_pairs_that_came_together(points, projection):
    return (1 - _ratios(points, projection)).max()


@mistake(
    right.distortion,
    "This is the largest ratio. The distortion is how far a ratio is from 1: subtract 1, and take "
    "the absolute value.",
)
def largest_ratio(points, projection):
    return _ratios(points, projection).max()


@mistake(
    right.distortion,
    "This is the distortion of each pair. Return the largest of them, one number.",
)
def a_number_for_each_pair(points, projection):
    return (_ratios(points, projection) - 1).abs()


@mistake(
    right.distortion,
    "This is the smallest distortion. The lemma promises something for every pair: take the "
    "largest.",
)
def smallest_for_largest(points, projection):
    return (_ratios(points, projection) - 1).abs().min()


@mistake(right.distortion, "The distortions are added up. The lemma is about the worst pair.")
def sum_over_the_pairs(points, projection):
    return (_ratios(points, projection) - 1).abs().sum()


@mistake(
    right.distortion,
    "The result is NaN: where a point is paired with itself, its distance is 0 before and after, "
    "and 0/0 is NaN. Take pairs of two different points.",
)
def points_paired_with_themselves(points, projection):
    x = points[:, None] - points
    return ((x @ projection).square().sum(dim=-1) / x.square().sum(dim=-1) - 1).abs().max()


@mistake(
    right.distortion,
    "The lengths are compared, and the difference squared. The square comes first: "
    "‖Eᵀx‖²/‖x‖² − 1.",
)
def squared_too_late(points, projection):
    return (_ratios(points, projection).sqrt() - 1).square().max()


@mistake(
    right.distortion,
    "Only neighbours in the list are compared. The lemma is about each two of the points.",
)
def neighbours_only(points, projection):
    x = points.diff(dim=0)
    return ((x @ projection).square().sum(dim=-1) / x.square().sum(dim=-1) - 1).abs().max()


@mistake(
    right.distortion,
    "Each point is compared with their mean. What must survive is the distance of each two points.",
)
def distances_from_the_mean(points, projection):
    x = points - points.mean(dim=0)
    return ((x @ projection).square().sum(dim=-1) / x.square().sum(dim=-1) - 1).abs().max()


@mistake(
    right.distortion,
    "The squared lengths are summed over all pairs before they are compared: long and short cancel "
    "out. Each pair has a ratio of its own.",
)
def one_ratio_for_all_pairs(points, projection):
    x = _pairs(points)
    return ((x @ projection).square().sum() / x.square().sum() - 1).abs()


@mistake(
    right.distortion,
    "This is the median over the pairs. The lemma promises something for every pair: take the "
    "largest.",
)
def median_over_the_pairs(points, projection):
    return (_ratios(points, projection) - 1).abs().median()


@mistake(
    right.distortion,
    "This is the root of the mean square over the pairs. The lemma promises something for every "
    "pair: take the largest.",
)
def root_mean_square_over_the_pairs(points, projection):
    return (_ratios(points, projection) - 1).square().mean().sqrt()


@mistake(
    right.distortion,
    "A number of Python comes back. Return a tensor without dimensions: leave .item() away.",
)
def number_and_no_tensor(points, projection):
    return right.distortion(points, projection).item()


@mistake(
    right.distortion,
    "Only pairs with the first point are compared. The lemma is about each two of the points.",
)
def pairs_with_the_first_point_only(points, projection):
    x = points[1:] - points[0]
    return ((x @ projection).square().sum(dim=-1) / x.square().sum(dim=-1) - 1).abs().max()


@mistake(
    right.distortion,
    "The distance of the ratio from 1 is taken in the logarithm. What is asked is the absolute "
    "value of ratio − 1.",
)
def logarithm_of_the_ratio(points, projection):
    return _ratios(points, projection).log().abs().max()


@mistake(
    right.distortion,
    "Lengths are sums of absolute values. ‖x‖² is the sum of squares.",
)
def sums_of_absolute_values(points, projection):
    x = _pairs(points)
    return ((x @ projection).abs().sum(dim=-1) / x.abs().sum(dim=-1) - 1).abs().max()


@mistake(
    right.distortion,
    "This is the largest ratio less the smallest. The distortion is how far a ratio is from 1.",
)
def largest_less_the_smallest(points, projection):
    ratios = _ratios(points, projection)
    return ratios.max() - ratios.min()


@mistake(
    right.distortion,
    "The squared lengths are divided by k. The projection has that factor already: its entries "
    "have variance 1/k.",
)
def divided_by_k_again(points, projection):
    return (_ratios(points, projection) / projection.shape[-1] - 1).abs().max()

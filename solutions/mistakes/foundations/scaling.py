"""Wrong versions of scaling_exponent, an exercise of 00_foundations."""

import math

import torch

from solutions import foundations as right
from solutions.mistakes import mistake


def _logarithms(sizes, costs):
    return tuple(torch.tensor(values, dtype=torch.float64).log() for values in (sizes, costs))


def _slope(x, y):
    x, y = x - x.mean(), y - y.mean()
    return ((x @ y) / (x @ x)).item()


@mistake(
    right.scaling_exponent,
    "It is the slope of the cost itself, without logarithms: how much is added for one more token, "
    "in the units of the cost. A power c·nᵖ becomes a line with slope p in log–log.",
)
def slope_without_log(sizes, costs):
    return _slope(*(torch.tensor(values, dtype=torch.float64) for values in (sizes, costs)))


@mistake(
    right.scaling_exponent,
    "The logarithm is taken of the costs only. That fits an exponential, cost = c·eᵖⁿ; for a power "
    "of n take the logarithm of the sizes too.",
)
def log_of_the_costs_only(sizes, costs):
    _, y = _logarithms(sizes, costs)
    return _slope(torch.tensor(sizes, dtype=torch.float64), y)


@mistake(
    right.scaling_exponent,
    "Only the first and the last measurement are used. If one of them is off, so is the exponent; "
    "least squares lets all of them speak.",
)
def ratio_of_the_two_ends(sizes, costs):
    return math.log(costs[-1] / costs[0]) / math.log(sizes[-1] / sizes[0])


@mistake(
    right.scaling_exponent,
    "The axes are swapped: it is the slope of log(size) over log(cost). For O(n²) that gives ½.",
)
def axes_swapped(sizes, costs):
    x, y = _logarithms(sizes, costs)
    return _slope(y, x)


@mistake(
    right.scaling_exponent,
    "The line is forced through the origin, as if a size of 1 had to cost 1. The constant c is "
    "free: subtract the mean of each logarithm, or fit an intercept.",
)
def line_through_the_origin(sizes, costs):
    x, y = _logarithms(sizes, costs)
    return ((x @ y) / (x @ x)).item()


@mistake(
    right.scaling_exponent,
    "It is the correlation of the two logarithms, which is near 1 for every power. Divide the "
    "covariance by the variance of log(size), not by both standard deviations.",
)
def correlation_for_the_slope(sizes, costs):
    x, y = _logarithms(sizes, costs)
    return torch.corrcoef(torch.stack([x, y]))[0, 1].item()


@mistake(
    right.scaling_exponent,
    "Sizes and costs are sorted, each by itself. A cost belongs to its size: where a larger size "
    "was measured cheaper, the pairs are torn. Sort pairs, or do not sort: a slope needs no order.",
)
def each_list_sorted_by_itself(sizes, costs):
    return right.scaling_exponent(sorted(sizes), sorted(costs))


@mistake(
    right.scaling_exponent,
    "The sizes are sorted, the costs are not. A cost belongs to its size: a slope needs no order.",
)
def sizes_sorted_alone(sizes, costs):
    return right.scaling_exponent(sorted(sizes), costs)


@mistake(
    right.scaling_exponent,
    "Only the first two measurements are used. Least squares lets all of them speak.",
)
def first_two_only(sizes, costs):
    return math.log(costs[1] / costs[0]) / math.log(sizes[1] / sizes[0])


@mistake(
    right.scaling_exponent,
    "Only the largest and the smallest are used, of costs and of sizes. Least squares lets all of "
    "them speak.",
)
def ratio_of_largest_and_smallest(sizes, costs):
    return math.log(max(costs) / min(costs)) / math.log(max(sizes) / min(sizes))


@mistake(
    right.scaling_exponent,
    "It is the mean of the slopes between neighbours. That weighs near neighbours, whose slope is "
    "mostly noise, as much as far ones. Least squares over all points does not.",
)
def mean_slope_between_neighbours(sizes, costs):
    x, y = _logarithms(sizes, costs)
    return (y.diff() / x.diff()).mean().item()


@mistake(
    right.scaling_exponent,
    "It is the median of the slopes of all pairs, the estimate of Theil and Sen. It is robust, and "
    "another one: what is asked is the slope by least squares.",
)
def median_of_all_slopes(sizes, costs):
    x, y = _logarithms(sizes, costs)
    i, j = torch.triu_indices(len(x), len(x), offset=1)
    return ((y[i] - y[j]) / (x[i] - x[j])).quantile(0.5).item()


@mistake(
    right.scaling_exponent,
    "Each log(cost) is divided by its log(size), and the mean taken. That forgets the constant c: "
    "the slope is a ratio of differences.",
)
def mean_ratio_of_the_logarithms(sizes, costs):
    x, y = _logarithms(sizes, costs)
    return (y / x).mean().item()


@mistake(
    right.scaling_exponent,
    "It is the intercept, log(c). polyfit returns the slope first, then the intercept.",
)
def intercept_for_the_slope(sizes, costs):
    x, y = _logarithms(sizes, costs)
    return (y.mean() - _slope(x, y) * x.mean()).item()


@mistake(
    right.scaling_exponent,
    "The covariance is divided by n − 1 and the variance by n, or the other way round. Divide both "
    "by the same number, or neither: it cancels.",
)
def covariance_and_variance_of_different_kinds(sizes, costs):
    x, y = _logarithms(sizes, costs)
    return torch.cov(torch.stack([x, y]))[0, 1].item() / x.var(correction=0).item()


@mistake(
    right.scaling_exponent,
    "It is the spread of log(cost) over the spread of log(size). Noise adds to the first; the "
    "slope is the covariance over the variance of log(size).",
)
def ratio_of_the_spreads(sizes, costs):
    x, y = _logarithms(sizes, costs)
    return (y.std() / x.std()).item()


@mistake(
    right.scaling_exponent,
    "The two logarithms have different bases. Any base does, if it is the same for both.",
)
def logarithms_of_different_bases(sizes, costs):
    return right.scaling_exponent(sizes, costs) * math.log(2) / math.log(10)


@mistake(
    right.scaling_exponent,
    "1 is added before the logarithm, as log1p does. Sizes and costs are positive, and costs in "
    "seconds are far below 1: take log.",
)
def one_added_before_the_logarithm(sizes, costs):
    return right.scaling_exponent([1 + x for x in sizes], [1 + x for x in costs])


@mistake(
    right.scaling_exponent,
    "The logarithm is taken of the sizes only. For a power of n take that of the costs, too.",
)
def log_of_the_sizes_only(sizes, costs):
    x, _ = _logarithms(sizes, costs)
    return _slope(x, torch.tensor(costs, dtype=torch.float64))


@mistake(
    right.scaling_exponent,
    "It is rounded to a whole number. Measured exponents are not whole: return it as it is.",
)
def rounded(sizes, costs):
    return round(right.scaling_exponent(sizes, costs))

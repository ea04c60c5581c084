"""Wrong versions of the exercises of 00_foundations on cost and its growth."""

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
    right.attention_cost,
    "The FLOPs are half of what they should be. Either a multiply and an add are counted as one "
    "operation, where papers and hardware's peak rates count 2, or one of the two matrix products "
    "is missing: q kᵀ and weights times v cost 2·n²·d each, a head.",
)
def one_flop_a_multiply_add(n, d, num_heads, bytes_per_element):
    flops, *memory = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops // 2, *memory


@mistake(
    right.attention_cost,
    "One score matrix is counted. Every head has an n × n matrix of its own.",
)
def heads_forgotten_in_the_score_matrix(n, d, num_heads, bytes_per_element):
    flops, _, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops, n * n * bytes_per_element, inputs


@mistake(
    right.attention_cost,
    "d is taken for the width of the whole model, shared among the heads. Here d is the width of "
    "one head, as in (batch, heads, n, d): heads·d numbers a token.",
)
def d_taken_for_the_model_width(n, d, num_heads, bytes_per_element):
    scores = num_heads * n * n * bytes_per_element
    return 4 * n * n * d, scores, 3 * n * d * bytes_per_element


@mistake(
    right.attention_cost,
    "The projections of queries, keys, values and output are counted too. They cost 8·n·(heads·d)² "
    "more, which grows with n and not with n²; what is asked is the attention itself.",
)
def projections_counted(n, d, num_heads, bytes_per_element):
    flops, *memory = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops + 8 * n * (num_heads * d) ** 2, *memory


@mistake(
    right.attention_cost,
    "The exponentials, sums and divisions of the softmax are counted as FLOPs. What is asked is "
    "the two matrix products.",
)
def softmax_counted(n, d, num_heads, bytes_per_element):
    flops, *memory = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops + 3 * num_heads * n * n, *memory


@mistake(
    right.attention_cost,
    "The output is counted among the inputs. Those are q, k and v: three tensors, not four.",
)
def output_counted_as_an_input(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops, scores, inputs * 4 // 3


@mistake(
    right.attention_cost,
    "Elements are counted, not bytes. Multiply by `bytes_per_element`: 4 in float32, 2 in float16.",
)
def elements_for_bytes(n, d, num_heads, bytes_per_element):
    return right.attention_cost(n, d, num_heads, 1)


# --- scaling_exponent ----------------------------------------------------------------------------


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

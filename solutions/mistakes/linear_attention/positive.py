"""Wrong versions of the exercise of 02_linear_attention on positive features."""

import torch

from solutions import linear_attention as right
from solutions.mistakes import mistake


@mistake(
    right.positive_random_features,
    "Without −‖x‖²/2 the estimate is of exp(‖x + y‖²/2). In attention the query's factor cancels "
    "in the normaliser, the key's does not: long keys get too much weight.",
)
def norm_left_out(x, projection):
    return (x @ projection.mT).exp() * len(projection) ** -0.5


@mistake(
    right.positive_random_features,
    "Without 1/√m the sum over features is m times the mean. The estimate of exp(xᵀy) must not "
    "grow with the number of features.",
)
def no_division_by_root_m(x, projection):
    return right.positive_random_features(x, projection) * len(projection) ** 0.5


@mistake(
    right.positive_random_features,
    "x is scaled by d^-¼ here. This function estimates exp(xᵀy) as it is given; "
    "performer_attention scales queries and keys, and scaling twice gives exp(qᵀk / d).",
)
def scaled_inside(x, projection):
    return right.positive_random_features(x * x.shape[-1] ** -0.25, projection)


@mistake(
    right.positive_random_features,
    "The largest exponent of each row is subtracted. For a query that cancels in the normaliser; "
    "for a key it does not: every key gets a weight scaled by its own factor.",
)
def maximum_subtracted_per_row(x, projection):
    exponent = x @ projection.mT - x.square().sum(dim=-1, keepdim=True) / 2
    return (exponent - exponent.amax(dim=-1, keepdim=True)).exp() * len(projection) ** -0.5


@mistake(
    right.positive_random_features,
    "The largest exponent of all rows is subtracted. In attention that common factor cancels, but "
    "then φ(x)ᵀφ(y) no longer estimates exp(xᵀy). The exponent of φ needs no such help: it is at "
    "most ‖ω‖²/2.",
)
def maximum_of_all_rows_subtracted(x, projection):
    exponent = x @ projection.mT - x.square().sum(dim=-1, keepdim=True) / 2
    return (exponent - exponent.amax()).exp() * len(projection) ** -0.5


@mistake(
    right.positive_random_features,
    "exp(ωᵀx) and exp(−‖x‖²/2) are computed apart and then multiplied. For long x the first "
    "overflows and the second is 0, and ∞ · 0 is NaN. Subtract in the exponent.",
)
def two_exponentials(x, projection):
    half_norm = x.square().sum(dim=-1, keepdim=True) / 2
    return (x @ projection.mT).exp() * (-half_norm).exp() * len(projection) ** -0.5


@mistake(
    right.positive_random_features,
    "‖x‖² is subtracted, not half of it.",
)
def whole_norm_subtracted(x, projection):
    return (x @ projection.mT - x.square().sum(dim=-1, keepdim=True)).exp() * len(
        projection
    ) ** -0.5


@mistake(
    right.positive_random_features,
    "‖x‖²/2 is added. It must be subtracted: the mean of exp(ωᵀx) is exp(‖x‖²/2), and is to go.",
)
def norm_added(x, projection):
    half_norm = x.square().sum(dim=-1, keepdim=True) / 2
    return (x @ projection.mT + half_norm).exp() * len(projection) ** -0.5


@mistake(
    right.positive_random_features,
    "‖x‖/2 is subtracted: the norm was not squared.",
)
def norm_not_squared(x, projection):
    norm = x.norm(dim=-1, keepdim=True)
    return (x @ projection.mT - norm / 2).exp() * len(projection) ** -0.5


@mistake(
    right.positive_random_features,
    "The mean of the squares is taken in place of their sum. ‖x‖² is a sum.",
)
def mean_of_squares(x, projection):
    mean = x.square().mean(dim=-1, keepdim=True)
    return (x @ projection.mT - mean / 2).exp() * len(projection) ** -0.5


@mistake(
    right.positive_random_features,
    "‖ω‖²/2 is subtracted, that of the projection's rows. It must be ‖x‖²/2.",
)
def norm_of_the_projection(x, projection):
    return (x @ projection.mT - projection.square().sum(-1) / 2).exp() * len(projection) ** -0.5


@mistake(
    right.positive_random_features,
    "The features are divided by m. φ enters twice in φ(x)ᵀφ(y), so each takes 1/√m.",
)
def features_divided_by_m(x, projection):
    return right.positive_random_features(x, projection) * len(projection) ** -0.5


@mistake(
    right.positive_random_features,
    "The features are divided by √d. The mean is over m draws, the rows of `projection`.",
)
def divided_by_root_d(x, projection):
    factor = (len(projection) / x.shape[-1]) ** 0.5
    return right.positive_random_features(x, projection) * factor


@mistake(
    right.positive_random_features,
    "1/√m stands inside of the exponential, as a factor of ωᵀx. It belongs outside.",
)
def root_m_inside_of_the_exponential(x, projection):
    half_norm = x.square().sum(dim=-1, keepdim=True) / 2
    return (x @ projection.mT * len(projection) ** -0.5 - half_norm).exp()


@mistake(
    right.positive_random_features,
    "x is scaled by 1/√d here. This function estimates exp(xᵀy) as it is given; "
    "performer_attention scales queries and keys.",
)
def scaled_inside_by_root_d(x, projection):
    return right.positive_random_features(x * x.shape[-1] ** -0.5, projection)


@mistake(
    right.positive_random_features,
    "The squares of all tokens are summed. Each row has a norm of its own: sum over the last "
    "dimension, with keepdim=True.",
)
def norm_of_all_rows(x, projection):
    norm = x.square().sum(dim=(-2, -1), keepdim=True)
    return (x @ projection.mT - norm / 2).exp() * len(projection) ** -0.5


@mistake(
    right.positive_random_features,
    "The norm is detached. The numbers are right, the gradient leaves −x out.",
)
def norm_detached(x, projection):
    norm = x.detach().square().sum(dim=-1, keepdim=True)
    return (x @ projection.mT - norm / 2).exp() * len(projection) ** -0.5


@mistake(
    right.positive_random_features,
    "The largest exponent of each sequence is subtracted. In attention that factor cancels, but "
    "then φ(x)ᵀφ(y) no longer estimates exp(xᵀy). The exponent of φ needs no such help: it is at "
    "most ‖ω‖²/2.",
)
def maximum_of_each_sequence_subtracted(x, projection):
    exponent = x @ projection.mT - x.square().sum(dim=-1, keepdim=True) / 2
    return (exponent - exponent.amax(dim=(-2, -1), keepdim=True)).exp() * len(projection) ** -0.5


@mistake(
    right.positive_random_features,
    "Both exp(ωᵀx) and exp(−ωᵀx) are features here. That is a better estimator, of 2m features; "
    "this exercise asks for the m of exp(ωᵀx).",
)
def both_signs(x, projection):
    both = torch.cat([projection, -projection])
    return right.positive_random_features(x, both)


@mistake(
    right.positive_random_features,
    "Something is added to the features, or they are kept above a bound. exp is never 0, and "
    "where x is long all features are small: what is added then counts more than they do.",
)
def something_added_to_the_features(x, projection):
    return right.positive_random_features(x, projection) + 1e-6


@mistake(
    right.positive_random_features,
    "The sign of ωᵀx is wrong. exp(−ωᵀx − ‖x‖²/2) estimates exp(xᵀy) as well, but is not what is "
    "asked for.",
)
def sign_of_the_projection(x, projection):
    return right.positive_random_features(x, -projection)


@mistake(
    right.positive_random_features,
    "The features of a row are divided by their sum. Attention divides by the sum of the weights; "
    "the features are not divided.",
)
def features_sum_to_1(x, projection):
    return (x @ projection.mT).softmax(dim=-1)

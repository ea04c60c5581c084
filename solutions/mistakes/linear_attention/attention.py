"""Wrong versions of the exercises of 02_linear_attention."""

import torch
import torch.nn.functional as F

from solutions import linear_attention as right
from solutions.mistakes import mistake


@mistake(
    right.elu_feature_map,
    "relu is zero for every negative number. A query and a key without a positive feature in "
    "common get weight 0, their gradient is 0, and a query whose features are all 0 divides 0 by "
    "0.",
)
def relu_instead_of_elu_plus_1(x):
    return F.relu(x)


@mistake(
    right.elu_feature_map,
    "elu alone goes down to −1. Weights must be positive: add 1, or the normaliser crosses zero.",
)
def elu_without_plus_1(x):
    return F.elu(x)


@mistake(
    right.elu_feature_map,
    "exp is positive, and equals elu + 1 for negative x, but for positive x it grows "
    "exponentially where elu(x) + 1 = x + 1 grows linearly.",
)
def exp_instead_of_elu_plus_1(x):
    return x.exp()


@mistake(
    right.elu_feature_map,
    "relu(x) + 1 equals elu(x) + 1 for positive x only. For negative x it is always 1, with no "
    "gradient; elu(x) + 1 goes down to 0 there, as exp(x).",
)
def relu_plus_1(x):
    return F.relu(x) + 1


@mistake(
    right.elu_feature_map,
    "softplus, log(1 + exp(x)), is smooth and positive too, but another feature map: elu(x) + 1 is "
    "x + 1 for positive x.",
)
def softplus_instead_of_elu_plus_1(x):
    return F.softplus(x)


@mistake(
    right.elu_feature_map,
    "The 1 is added to x, before elu. It belongs to the result: elu(x) + 1.",
)
def plus_1_before_elu(x):
    return F.elu(x + 1)


@mistake(
    right.elu_feature_map,
    "1 is subtracted. elu goes down to −1, so 1 must be added to make it positive.",
)
def minus_1(x):
    return F.elu(x) - 1


@mistake(
    right.elu_feature_map,
    "The sigmoid is positive, but never more than 1. elu(x) + 1 is x + 1 for positive x.",
)
def sigmoid_instead_of_elu_plus_1(x):
    return x.sigmoid()


@mistake(
    right.elu_feature_map,
    "selu is elu times 1.05, and 1.76 times as deep below 0. Plain elu is asked for, with its "
    "alpha of 1.",
)
def selu_plus_1(x):
    return F.selu(x) + 1


@mistake(
    right.elu_feature_map,
    "The numbers are right, and the gradient of large x is NaN. torch.where computes both sides: "
    "exp(x) overflows from 89 on, and the gradient of the side that is not taken is 0 · ∞. Clamp "
    "what goes into exp, x.clamp(max=0), or use elu.",
)
def exp_overflows_under_where(x):
    return torch.where(x > 0, x + 1, x.exp())


@mistake(
    right.linear_attention,
    "The result is right, but φ(Q)φ(K)ᵀ is computed first and costs n². Matrix products are "
    "associative: multiply φ(K)ᵀ with V first.",
)
def quadratic_order(q, k, v, feature_map):
    weights = feature_map(q) @ feature_map(k).mT
    return (weights / weights.sum(dim=-1, keepdim=True)) @ v


@mistake(
    right.linear_attention,
    "Nothing divides by the sum of a query's weights, so outputs grow with the number of keys. "
    "Divide by φ(q)ᵀ Σ φ(k).",
)
def normaliser_forgotten(q, k, v, feature_map):
    return feature_map(q) @ (feature_map(k).mT @ v)


@mistake(
    right.linear_attention,
    "The weights are normalised over the queries: each key's weights sum to 1. Attention is an "
    "average over keys: each query's weights must sum to 1.",
)
def normalised_over_queries(q, k, v, feature_map):
    phi_q, phi_k = feature_map(q), feature_map(k)
    phi_k = phi_k / (phi_k @ phi_q.sum(dim=-2).unsqueeze(-1))
    return phi_q @ (phi_k.mT @ v)


@mistake(
    right.linear_attention,
    "The feature map is applied to the queries only. The weights are φ(q)ᵀφ(k): keys need it too, "
    "or weights can be negative.",
)
def feature_map_on_queries_only(q, k, v, feature_map):
    phi_q = feature_map(q)
    k = torch.cat([k, k], dim=-1)[..., : phi_q.shape[-1]]
    return phi_q @ (k.mT @ v) / (phi_q @ k.sum(dim=-2).unsqueeze(-1))


@mistake(
    right.linear_attention,
    "Queries are scaled by 1/√d before the feature map, as in softmax attention. Here the feature "
    "map decides the scale; the weights are φ(q)ᵀφ(k) and nothing else.",
)
def scale_of_softmax_kept(q, k, v, feature_map):
    return right.linear_attention(q * q.shape[-1] ** -0.5, k, v, feature_map)


@mistake(
    right.linear_attention,
    "The sum is divided by the number of keys. Weights differ: divide by their sum, φ(q)ᵀ Σ φ(k).",
)
def divided_by_the_number_of_keys(q, k, v, feature_map):
    return feature_map(q) @ (feature_map(k).mT @ v) / k.shape[-2]


@mistake(
    right.linear_attention,
    "The feature map is applied to the keys only. The weights are φ(q)ᵀφ(k): queries need it too, "
    "or weights can be negative.",
)
def feature_map_on_keys_only(q, k, v, feature_map):
    phi_k = feature_map(k)
    q = torch.cat([q, q], dim=-1)[..., : phi_k.shape[-1]]
    return q @ (phi_k.mT @ v) / (q @ phi_k.sum(dim=-2).unsqueeze(-1))


@mistake(
    right.linear_attention,
    "No feature map is applied. Without one the weights qᵀk can be negative, and their sum 0.",
)
def feature_map_not_used(q, k, v, feature_map):
    return right.linear_attention(q, k, v, lambda x: x)


@mistake(
    right.linear_attention,
    "The feature map is applied to the values too. Values are what is averaged: they stay as they "
    "are.",
)
def feature_map_on_values_too(q, k, v, feature_map):
    return right.linear_attention(q, k, feature_map(v), feature_map)


@mistake(
    right.linear_attention,
    "Queries and keys are scaled by d^-¼ before the feature map, as for softmax attention. Here "
    "the feature map decides the scale.",
)
def queries_and_keys_scaled(q, k, v, feature_map):
    scale = q.shape[-1] ** -0.25
    return right.linear_attention(q * scale, k * scale, v, feature_map)


@mistake(
    right.linear_attention,
    "The normaliser sums the features of the queries: φ(q)ᵀ Σ φ(q). It is the sum of the weights, "
    "and those are of the keys: φ(q)ᵀ Σ φ(k).",
)
def normaliser_of_queries(q, k, v, feature_map):
    phi_q = feature_map(q)
    return phi_q @ (feature_map(k).mT @ v) / (phi_q @ phi_q.sum(dim=-2).unsqueeze(-1))


@mistake(
    right.linear_attention,
    "Each row is divided by the sum of its own features, Σ φ(q). The sum of the weights is "
    "φ(q)ᵀ Σ φ(k): the keys are in it.",
)
def divided_by_the_sum_of_features(q, k, v, feature_map):
    phi_q = feature_map(q)
    return phi_q @ (feature_map(k).mT @ v) / phi_q.sum(dim=-1, keepdim=True)


@mistake(
    right.linear_attention,
    "The normaliser is detached: the outputs are right, and gradients leave out that the weights "
    "of a query always sum to 1.",
)
def normaliser_detached(q, k, v, feature_map):
    phi_q, phi_k = feature_map(q), feature_map(k)
    normaliser = phi_q @ phi_k.sum(dim=-2).unsqueeze(-1)
    return phi_q @ (phi_k.mT @ v) / normaliser.detach()


@mistake(
    right.linear_attention,
    "A query sees only the keys up to its own position. This exercise is not causal: every query "
    "sees all keys.",
)
def causal_although_not_asked(q, k, v, feature_map):
    weights = (feature_map(q) @ feature_map(k).mT).tril()
    return weights @ v / weights.sum(dim=-1, keepdim=True)


@mistake(
    right.linear_attention,
    "elu(x) + 1 is used, whatever `feature_map` is. Call the one that is given.",
)
def always_elu_plus_1(q, k, v, feature_map):
    return right.linear_attention(q, k, v, right.elu_feature_map)


@mistake(
    right.linear_attention,
    "The normaliser is not the sum of the weights: something is added to it, or it is kept above a "
    "bound. Features are positive, so it is never 0, and where they are small what you add counts "
    "more than they do. Divide by φ(q)ᵀ Σ φ(k) alone.",
)
def something_added_to_the_normaliser(q, k, v, feature_map):
    phi_q, phi_k = feature_map(q), feature_map(k)
    return phi_q @ (phi_k.mT @ v) / (phi_q @ phi_k.sum(dim=-2).unsqueeze(-1) + 1e-6)


@mistake(
    right.elu_feature_map,
    "leaky relu is a straight line below 0, where elu(x) + 1 is exp(x).",
)
def leaky_relu_plus_1(x):
    return F.leaky_relu(x) + 1


@mistake(
    right.elu_feature_map,
    "|x| + 1 grows on both sides. elu(x) + 1 goes down to 0 for negative x.",
)
def absolute_value_plus_1(x):
    return x.abs() + 1


@mistake(
    right.elu_feature_map,
    "gelu is another function: it has a dip below 0. elu(x) + 1 grows everywhere.",
)
def gelu_plus_1(x):
    return F.gelu(x) + 1


@mistake(
    right.elu_feature_map,
    "softmax makes features that sum to 1 over a token. φ takes each number on its own.",
)
def softmax_of_the_features(x):
    return x.softmax(dim=-1)


@mistake(
    right.elu_feature_map,
    "The two sides are exchanged: x + 1 belongs to positive x, exp(x) to negative.",
)
def sides_exchanged(x):
    return torch.where(x > 0, x.clamp(max=80).exp(), x + 1)


@mistake(
    right.elu_feature_map,
    "Features are kept above a bound. elu(x) + 1 goes on down to 0: exp(x).",
)
def kept_above_a_bound(x):
    return (F.elu(x) + 1).clamp(min=1e-3)


@mistake(
    right.linear_attention,
    "The numerator is scaled by 1/√d and the normaliser is not, so a query's weights sum to 1/√d.",
)
def numerator_scaled(q, k, v, feature_map):
    return right.linear_attention(q, k, v, feature_map) * q.shape[-1] ** -0.5


@mistake(
    right.linear_attention,
    "The feature map is applied twice.",
)
def feature_map_applied_twice(q, k, v, feature_map):
    return right.linear_attention(q, k, v, lambda x: feature_map(feature_map(x)))


@mistake(
    right.linear_attention,
    "Only as many keys are seen as there are queries. n_q and n_k may differ: every query sees all "
    "keys.",
)
def as_many_keys_as_queries(q, k, v, feature_map):
    n = q.shape[-2]
    return right.linear_attention(q, k[..., :n, :], v[..., :n, :], feature_map)

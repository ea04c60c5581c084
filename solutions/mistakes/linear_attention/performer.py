"""Wrong versions of the exercises of 02_linear_attention on the Performer."""

import torch

from solutions import linear_attention as right
from solutions.mistakes import mistake


def _features(x, projection):
    return right.positive_random_features(x * x.shape[-1] ** -0.25, projection)


def _attention(phi_q, phi_k, v, causal):
    if causal:
        return right.causal_linear_attention(phi_q, phi_k, v, lambda x: x, 128)
    return right.linear_attention(phi_q, phi_k, v, lambda x: x)


def _performer(q, k, v, projection, causal, scale_q, scale_k):
    phi_q = right.positive_random_features(q * scale_q, projection)
    phi_k = right.positive_random_features(k * scale_k, projection)
    return _attention(phi_q, phi_k, v, causal)


@mistake(
    right.performer_attention,
    "The keys' −‖k‖²/2 is missing. The query's factor cancels in the normaliser, the key's does "
    "not: attention leans to long keys.",
)
def norm_of_keys_left_out(q, k, v, projection, causal=False):
    phi_q, phi_k = _features(q, projection), _features(k, projection)
    half_norm = k.square().sum(dim=-1, keepdim=True) / k.shape[-1] ** 0.5 / 2
    return _attention(phi_q, phi_k * half_norm.exp(), v, causal)


@mistake(
    right.performer_attention,
    "Queries and keys are scaled by d^-½ each, so the estimate is of exp(qᵀk / d). Scale each by "
    "d^-¼: their product then has d^-½.",
)
def scaled_twice(q, k, v, projection, causal=False):
    scale = q.shape[-1] ** -0.5
    return _performer(q, k, v, projection, causal, scale, scale)


@mistake(
    right.performer_attention,
    "The whole scale 1/√d is put on the queries. exp(qᵀk / √d) is estimated without bias that way "
    "too, but by another estimate, of larger variance where keys are long. Scale both alike.",
)
def scale_on_queries_only(q, k, v, projection, causal=False):
    return _performer(q, k, v, projection, causal, q.shape[-1] ** -0.5, 1.0)


@mistake(
    right.performer_attention,
    "Queries and keys are not scaled, so the estimate is of exp(qᵀk), a much sharper attention "
    "than softmax's exp(qᵀk / √d), and much harder to estimate.",
)
def not_scaled(q, k, v, projection, causal=False):
    return _performer(q, k, v, projection, causal, 1.0, 1.0)


@mistake(
    right.performer_attention,
    "A new projection is drawn in each call and the given one ignored: equal inputs give different "
    "outputs, and queries and keys could even see different features.",
)
def projection_drawn_again(q, k, v, projection, causal=False):
    return right.performer_attention(q, k, v, torch.randn_like(projection), causal)


@mistake(
    right.performer_attention,
    "`causal` is not looked at: later tokens take part in the output of earlier ones.",
)
def causal_ignored(q, k, v, projection, causal=False):
    return right.performer_attention(q, k, v, projection)


@mistake(
    right.performer_attention,
    "Nothing divides by the sum of the weights. linear_attention does it.",
)
def normaliser_forgotten(q, k, v, projection, causal=False):
    phi_q, phi_k = _features(q, projection), _features(k, projection)
    weights = phi_q @ phi_k.mT
    return (weights.tril() if causal else weights) @ v


@mistake(
    right.performer_attention,
    "This is softmax attention itself, which costs n². It is what the features estimate.",
)
def softmax_attention_itself(q, k, v, projection, causal=False):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)


@mistake(
    right.performer_attention,
    "The scale is made from the width of the values. In "
    "exp(qᵀk / √d), d counts the numbers of a query.",
)
def scaled_by_the_width_of_values(q, k, v, projection, causal=False):
    scale = v.shape[-1] ** -0.25
    return _performer(q, k, v, projection, causal, scale, scale)


@mistake(
    right.performer_attention,
    "The scale is m^-¼, with m the number of features. In exp(qᵀk / √d), d counts the numbers of a "
    "query.",
)
def scaled_by_the_number_of_features(q, k, v, projection, causal=False):
    scale = len(projection) ** -0.25
    return _performer(q, k, v, projection, causal, scale, scale)


@mistake(
    right.performer_attention,
    "Only the queries are scaled by d^-¼, so the estimate is of exp(qᵀk / d^¼). Keys need the same "
    "factor.",
)
def half_of_the_scale_missing(q, k, v, projection, causal=False):
    return _performer(q, k, v, projection, causal, q.shape[-1] ** -0.25, 1.0)


@mistake(
    right.performer_attention,
    "The largest exponent of each key is subtracted. For a query that cancels in the normaliser; "
    "a key then gets a weight scaled by its own factor.",
)
def maximum_subtracted_per_key(q, k, v, projection, causal=False):
    phi_q, phi_k = _features(q, projection), _features(k, projection)
    phi_k = phi_k / phi_k.amax(dim=-1, keepdim=True)
    return _attention(phi_q, phi_k, v, causal)


@mistake(
    right.performer_attention,
    "ωᵀx is scaled and ‖x‖²/2 is not. Scale x first, then make features of it.",
)
def norm_not_scaled(q, k, v, projection, causal=False):
    scale = q.shape[-1] ** -0.25

    phi_q, phi_k = (
        (scale * x @ projection.mT - x.square().sum(-1, keepdim=True) / 2).exp() for x in (q, k)
    )
    return _attention(phi_q, phi_k, v, causal)


@mistake(
    right.performer_attention,
    "The normaliser is not the sum of the weights: something is added to it, or it is kept above a "
    "bound. Features are positive, so it is never 0, and where queries and keys point away from "
    "each other what you add counts more than they do.",
)
def something_added_to_the_normaliser(q, k, v, projection, causal=False):
    phi_q, phi_k = _features(q, projection), _features(k, projection)
    weights = phi_q @ phi_k.mT
    weights = weights.tril() if causal else weights
    return weights @ v / (weights.sum(dim=-1, keepdim=True) + 1e-6)


@mistake(
    right.performer_attention,
    "1e-4 is added to the features, as published code does. Where a query and a key point away "
    "from each other, what is added counts more than the features do.",
)
def something_added_to_the_features(q, k, v, projection, causal=False):
    phi_q, phi_k = (_features(x, projection) + 1e-4 for x in (q, k))
    return _attention(phi_q, phi_k, v, causal)

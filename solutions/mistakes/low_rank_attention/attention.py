"""Wrong versions of linformer_attention, an exercise of 03_low_rank_attention."""

import torch.nn.functional as F

from solutions import low_rank_attention as right
from solutions.mistakes import mistake


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
    right.linformer_attention,
    "The queries are projected as well. Each token keeps a query of its own: only keys and values "
    "are mixed.",
)
def queries_projected_too(q, k, v, e, f):
    return F.scaled_dot_product_attention(e.mT @ q, e.mT @ k, f.mT @ v)


@mistake(
    right.linformer_attention,
    "The values are not projected: there are k mixtures of keys, and still n values. FᵀV has a row "
    "for each mixture.",
)
def values_not_projected(q, k, v, e, f):
    return (q @ (e.mT @ k).mT * q.shape[-1] ** -0.5).softmax(dim=-1) @ v


@mistake(
    right.linformer_attention,
    "E and F are exchanged: E is for the keys, F for the values.",
)
def e_and_f_exchanged(q, k, v, e, f):
    return right.linformer_attention(q, k, v, f, e)


@mistake(
    right.linformer_attention,
    "The keys are projected with F as well, and E is not used. E is for the keys.",
)
def keys_projected_with_f(q, k, v, e, f):
    return right.linformer_attention(q, k, v, f, f)


@mistake(
    right.linformer_attention,
    "The scores are divided by d. A sum of d products grows like √d: divide by √d.",
)
def scaled_by_d(q, k, v, e, f):
    return F.scaled_dot_product_attention(q, e.mT @ k, f.mT @ v, scale=1 / q.shape[-1])


@mistake(
    right.linformer_attention,
    "The scores are divided by √n, the root of the number of tokens. A score is a sum over d "
    "features: divide by √d.",
)
def scaled_by_the_number_of_tokens(q, k, v, e, f):
    return F.scaled_dot_product_attention(q, e.mT @ k, f.mT @ v, scale=k.shape[-2] ** -0.5)


@mistake(
    right.linformer_attention,
    "There is no softmax: the output is Q(EᵀK)ᵀFᵀV. Each query's weights over the mixtures must be "
    "positive and sum to 1.",
)
def no_softmax(q, k, v, e, f):
    return (q @ (e.mT @ k).mT * q.shape[-1] ** -0.5) @ (f.mT @ v)


@mistake(
    right.linformer_attention,
    "The columns of E and F are made averages by a softmax. Mix by the numbers as they are given.",
)
def softmax_of_the_projections(q, k, v, e, f):
    return right.linformer_attention(q, k, v, e.softmax(dim=0), f.softmax(dim=0))


@mistake(
    right.linformer_attention,
    "The mixtures are divided by the number of tokens. EᵀK is a sum: E has the size that it needs.",
)
def mixtures_divided_by_n(q, k, v, e, f):
    n = k.shape[-2]
    return right.linformer_attention(q, k, v, e / n, f / n)


@mistake(
    right.linformer_attention,
    "This is softmax attention itself: E and F are not used, and every token meets every other.",
)
def not_projected_at_all(q, k, v, e, f):
    return F.scaled_dot_product_attention(q, k, v)


@mistake(
    right.linformer_attention,
    "E and F are not transposed: E K is (n × k)(n × d), and does not conform. Multiply by Eᵀ.",
)
def projections_not_transposed(q, k, v, e, f):
    return F.scaled_dot_product_attention(q, e @ k, f @ v)


@mistake(
    right.linformer_attention,
    "A causal mask is used. A mixture is of all tokens, earlier and later, and the k mixtures have "
    "no order: there is nothing to hide.",
)
def causal_over_the_mixtures(q, k, v, e, f):
    return F.scaled_dot_product_attention(q, e.mT @ k, f.mT @ v, is_causal=True)


@mistake(
    right.linformer_attention,
    "The exponentials overflow: exp(89) is more than float32 can hold, and ∞/∞ is NaN. Subtract "
    "each row's largest score first; torch.softmax does.",
)
def largest_score_not_subtracted(q, k, v, e, f):
    weights = (q @ (e.mT @ k).mT * q.shape[-1] ** -0.5).exp()
    return weights / weights.sum(dim=-1, keepdim=True) @ (f.mT @ v)


@mistake(
    right.linformer_attention,
    "The mixtures are turned: KᵀE is (d × k), and the softmax attention asks for (k × d). Use EᵀK.",
)
def features_of_keys_turned(q, k, v, e, f):
    return F.scaled_dot_product_attention(q, k.mT @ e, v.mT @ f)


@mistake(
    right.linformer_attention,
    "The scores are divided by the root of the width of the values. A score is a sum over the d "
    "features of a query: divide by √d.",
)
def scaled_by_the_width_of_the_values(q, k, v, e, f):
    scale = v.shape[-1] ** -0.5
    return F.scaled_dot_product_attention(q, e.mT @ k, f.mT @ v, scale=scale)


@mistake(
    right.linformer_attention,
    "A softmax is taken of the mixtures of keys. It belongs to the scores.",
)
def softmax_of_the_mixtures(q, k, v, e, f):
    return F.scaled_dot_product_attention(q, (e.mT @ k).softmax(dim=-1), f.mT @ v)

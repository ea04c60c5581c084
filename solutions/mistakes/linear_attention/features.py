"""Wrong versions of the exercises of 02_linear_attention on random features."""

import torch

from solutions import linear_attention as right
from solutions.mistakes import mistake


@mistake(
    right.trigonometric_random_features,
    "Cosines alone estimate E[cos ωᵀx · cos ωᵀy], which is half of E[cos ωᵀ(x − y)] plus half of "
    "E[cos ωᵀ(x + y)]. The sines remove the second part.",
)
def cosines_without_sines(x, projection):
    half_norm = x.square().sum(dim=-1, keepdim=True) / 2
    return (x @ projection.mT).cos() * half_norm.exp() * len(projection) ** -0.5


@mistake(
    right.trigonometric_random_features,
    "Without exp(‖x‖²/2) the estimate is of the Gaussian kernel exp(−‖x − y‖²/2). The factor turns "
    "it into exp(xᵀy).",
)
def gaussian_kernel_instead(x, projection):
    angles = x @ projection.mT
    return torch.cat([angles.cos(), angles.sin()], dim=-1) * len(projection) ** -0.5


@mistake(
    right.trigonometric_random_features,
    "The features are divided by m. φ enters twice in φ(x)ᵀφ(y), so each takes 1/√m.",
)
def divided_by_m(x, projection):
    return right.trigonometric_random_features(x, projection) * len(projection) ** -0.5


@mistake(
    right.trigonometric_random_features,
    "1/√(2m) is used: there are 2m entries, but a cosine and a sine belong to one draw of ω. "
    "The mean is over m draws.",
)
def divided_by_both_halves(x, projection):
    return right.trigonometric_random_features(x, projection) * 0.5**0.5


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
    right.orthogonal_random_features,
    "The rows are independent normal vectors: unbiased, but not orthogonal, so two rows can point "
    "the same way and measure the same thing twice.",
)
def independent_rows(num_features, dim, generator):
    return torch.randn(num_features, dim, generator=generator)


def _rotations(num_features, dim, generator, fix_sign=True):
    num_blocks = -(-num_features // dim)
    q, r = torch.linalg.qr(torch.randn(num_blocks, dim, dim, generator=generator))
    if fix_sign:
        q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return q.mT.flatten(0, 1)[:num_features]


@mistake(
    right.orthogonal_random_features,
    "Every row has length 1. ωᵀx then is too short: give each row the length of an independent "
    "normal vector of `dim` entries.",
)
def rows_of_length_1(num_features, dim, generator):
    return _rotations(num_features, dim, generator)


@mistake(
    right.orthogonal_random_features,
    "Every row has length √d, the root of the mean of ‖ω‖². A normal vector's length varies; "
    "with a fixed one the estimate of exp(xᵀy) is biased.",
)
def rows_of_length_root_d(num_features, dim, generator):
    return _rotations(num_features, dim, generator) * dim**0.5


@mistake(
    right.orthogonal_random_features,
    "The lengths of rows depend on each other, as when one is drawn for a whole block, or they are "
    "repeated in every block, or sorted. Each row needs a length of its own, drawn for itself.",
)
def lengths_that_are_not_independent(num_features, dim, generator):
    num_blocks = -(-num_features // dim)
    lengths = torch.randn(num_blocks, dim, generator=generator).norm(dim=1, keepdim=True)
    return (
        _rotations(num_features, dim, generator) * lengths.repeat_interleave(dim, 0)[:num_features]
    )


@mistake(
    right.orthogonal_random_features,
    "One rotation, or its mirror image, serves several blocks, so features beyond the first `dim` "
    "say what was said before. Draw a rotation for each block.",
)
def blocks_that_are_not_independent(num_features, dim, generator):
    num_blocks = -(-num_features // dim)
    lengths = torch.randn(num_features, dim, generator=generator).norm(dim=1, keepdim=True)
    return lengths * _rotations(dim, dim, generator).repeat(num_blocks, 1)[:num_features]


@mistake(
    right.orthogonal_random_features,
    "Q of a QR decomposition is not uniform over rotations: the algorithm fixes signs in its own "
    "way. Multiply each column of Q by the sign of R's diagonal entry.",
)
def sign_of_qr_not_fixed(num_features, dim, generator):
    lengths = torch.randn(num_features, dim, generator=generator).norm(dim=1, keepdim=True)
    return lengths * _rotations(num_features, dim, generator, fix_sign=False)


def _performer(q, k, v, projection, causal, scale_q, scale_k, key_norm=True):
    def feature_map(x, scale, keep_norm):
        features = right.positive_random_features(x * scale, projection)
        return (
            features
            if keep_norm
            else features * ((x * scale) ** 2).sum(-1, keepdim=True).div(2).exp()
        )

    phi_q = feature_map(q, scale_q, True)
    phi_k = feature_map(k, scale_k, key_norm)
    if causal:
        return right.causal_linear_attention(phi_q, phi_k, v, lambda x: x, 128)
    return right.linear_attention(phi_q, phi_k, v, lambda x: x)


@mistake(
    right.performer_attention,
    "The keys' −‖k‖²/2 is missing. The query's factor cancels in the normaliser, the key's does "
    "not: attention leans to long keys.",
)
def norm_of_keys_left_out(q, k, v, projection, causal=False):
    scale = q.shape[-1] ** -0.25
    return _performer(q, k, v, projection, causal, scale, scale, key_norm=False)


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

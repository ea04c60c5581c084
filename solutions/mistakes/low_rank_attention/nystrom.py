"""Wrong versions of the exercises of 03_low_rank_attention on Nyström's method."""

import torch

from solutions import low_rank_attention as right
from solutions.mistakes import mistake


def _start(a):
    norms = a.abs().sum(dim=-2).amax(dim=-1) * a.abs().sum(dim=-1).amax(dim=-1)
    return a.mT / norms[..., None, None]


def _iterate(a, z, num_iterations):
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        az = a @ z
        z = z @ (13 * identity - az @ (15 * identity - az @ (7 * identity - az))) / 4
    return z


@mistake(
    right.iterative_pinv,
    "Z₀ is Aᵀ divided by the largest row sum only. That is 1 for a softmax matrix, so Z₀ = Aᵀ: "
    "with a column sum above 3 the iteration can run away. Divide by ‖A‖₁ ‖A‖_∞, both.",
)
def start_scaled_by_row_sums_only(a, num_iterations):
    norm = a.abs().sum(dim=-1).amax(dim=-1)
    return _iterate(a, a.mT / norm[..., None, None], num_iterations)


@mistake(
    right.iterative_pinv,
    "Z₀ is Aᵀ divided by the largest column sum only. For softmax matrices that is enough, since "
    "their rows sum to 1; for others the iteration can run away. Divide by ‖A‖₁ ‖A‖_∞, both.",
)
def start_scaled_by_column_sums_only(a, num_iterations):
    norm = a.abs().sum(dim=-2).amax(dim=-1)
    return _iterate(a, a.mT / norm[..., None, None], num_iterations)


@mistake(
    right.iterative_pinv,
    "Z₀ is Aᵀ as it is. Where A is large the iteration runs away: divide by ‖A‖₁ ‖A‖_∞.",
)
def start_not_scaled(a, num_iterations):
    return _iterate(a, a.mT, num_iterations)


@mistake(
    right.iterative_pinv,
    "Z₀ is built from A, not from Aᵀ. AZ₀ must be symmetric with eigenvalues between 0 and 1, "
    "which AAᵀ is when scaled, and AA is not.",
)
def start_not_transposed(a, num_iterations):
    return _iterate(a, _start(a).mT, num_iterations)


@mistake(
    right.iterative_pinv,
    "The norms of Z₀ are the largest of the whole batch. One large matrix then slows down all the "
    "others, and a sequence's result depends on what else is in its batch. Libraries do this too. "
    "Take the norms of each matrix: amax over its own dimension.",
)
def one_scale_for_the_whole_batch(a, num_iterations):
    norms = a.abs().sum(dim=-2).max() * a.abs().sum(dim=-1).max()
    return _iterate(a, a.mT / norms, num_iterations)


@mistake(
    right.iterative_pinv,
    "The row and column sums are of A, not of |A|: negative entries take away from them, and Z₀ is "
    "too large.",
)
def norms_without_absolute_values(a, num_iterations):
    norms = a.sum(dim=-2).amax(dim=-1) * a.sum(dim=-1).amax(dim=-1)
    return _iterate(a, a.mT / norms[..., None, None], num_iterations)


@mistake(
    right.iterative_pinv,
    "This is Newton and Schulz's iteration Z(2I − AZ), of second order. It doubles what is small "
    "in AZ each time where the paper's multiplies it by 13/4, and needs about 1.7 times as many "
    "iterations.",
)
def newton_schulz(a, num_iterations):
    z = _start(a)
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        z = z @ (2 * identity - a @ z)
    return z


@mistake(
    right.iterative_pinv,
    "This is the inverse. A softmax matrix with two equal rows has none, and one with nearly equal "
    "rows has one of huge entries. It also is no iteration.",
)
def inverse_by_elimination(a, num_iterations):
    return torch.linalg.inv(a)


@mistake(
    right.iterative_pinv,
    "This is the exact pseudo-inverse, by a singular value decomposition: what the iteration is "
    "there to avoid, and not what few iterations give, which leave small singular values small.",
)
def pseudo_inverse_by_decomposition(a, num_iterations):
    return torch.linalg.pinv(a)


@mistake(
    right.iterative_pinv,
    "The factor ¼ is missing. Near the solution the bracket is 13 − 15 + 7 − 1 = 4 times the "
    "identity.",
)
def quarter_left_out(a, num_iterations):
    z = _start(a)
    for _ in range(num_iterations):
        z = 4 * _iterate(a, z, 1)
    return z


@mistake(
    right.iterative_pinv,
    "13, 15 and 7 are added to every entry. They stand before the identity: 13I has 13 on the "
    "diagonal and 0 elsewhere.",
)
def numbers_instead_of_multiples_of_the_identity(a, num_iterations):
    z = _start(a)
    for _ in range(num_iterations):
        az = a @ z
        z = z @ (13 - az @ (15 - az @ (7 - az))) / 4
    return z


@mistake(
    right.iterative_pinv,
    "The products are taken entry by entry. Between matrices * multiplies entries; the matrix "
    "product is @.",
)
def entries_multiplied(a, num_iterations):
    z = _start(a)
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        az = a * z
        z = z * (13 * identity - az * (15 * identity - az * (7 * identity - az))) / 4
    return z


@mistake(
    right.iterative_pinv,
    "Z is computed without gradients, or detached. The middle factor depends on queries and keys, "
    "and they must learn through it.",
)
def inverse_detached(a, num_iterations):
    # Zero times a keeps the output in the graph.
    return right.iterative_pinv(a, num_iterations).detach() + 0 * a


def _weights(queries, keys):
    return (queries @ keys.mT * queries.shape[-1] ** -0.5).softmax(dim=-1)


def _landmarks(q, k, num_landmarks):
    return right.segment_means(q, num_landmarks), right.segment_means(k, num_landmarks)


@mistake(
    right.nystrom_attention,
    "The scores are approximated, and the softmax is taken of the n × n product. That is quadratic "
    "again, and QKᵀ needs no approximation: its rank is at most d. The softmax is taken of each of "
    "the three small matrices.",
)
def softmax_after_the_product(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(q_landmarks @ k_landmarks.mT, num_iterations)
    scores = (q @ k_landmarks.mT) @ inverse @ (q_landmarks @ k.mT)
    return (scores * q.shape[-1] ** -0.5).softmax(dim=-1) @ v


@mistake(
    right.nystrom_attention,
    "The pseudo-inverse is transposed. A⁺ has a row for each key landmark, as the first factor has "
    "columns, and a column for each query landmark, as the last factor has rows. The other way "
    "round it conforms only because there are as many of both.",
)
def pseudo_inverse_transposed(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(_weights(q_landmarks, k_landmarks), num_iterations)
    return _weights(q, k_landmarks) @ (inverse.mT @ (_weights(q_landmarks, k) @ v))


@mistake(
    right.nystrom_attention,
    "Only the queries are scaled by d^-¼. Scale queries and keys by d^-¼ each, or one of them by "
    "d^-½.",
)
def fourth_root_on_queries_only(q, k, v, num_landmarks, num_iterations):
    scale = q.shape[-1] ** 0.25  # of the d^-½ that follows, d^-¼ is left
    return right.nystrom_attention(q * scale, k, v, num_landmarks, num_iterations)


@mistake(right.nystrom_attention, "The scores are not divided by √d.")
def not_scaled(q, k, v, num_landmarks, num_iterations):
    return right.nystrom_attention(q * q.shape[-1] ** 0.5, k, v, num_landmarks, num_iterations)


@mistake(
    right.nystrom_attention,
    "The scores between landmarks are not divided by √d, those of the outer two factors are. All "
    "three are parts of the same matrix.",
)
def middle_factor_not_scaled(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    middle = (q_landmarks @ k_landmarks.mT).softmax(dim=-1)
    inverse = right.iterative_pinv(middle, num_iterations)
    return _weights(q, k_landmarks) @ (inverse @ (_weights(q_landmarks, k) @ v))


@mistake(
    right.nystrom_attention,
    "The middle factor is inverted exactly, and `num_iterations` is not used. Where rows of it "
    "nearly coincide, the exact inverse is huge; few iterations leave those directions alone.",
)
def pseudo_inverse_without_iterations(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = torch.linalg.pinv(_weights(q_landmarks, k_landmarks))
    return _weights(q, k_landmarks) @ (inverse @ (_weights(q_landmarks, k) @ v))


@mistake(
    right.nystrom_attention,
    "The middle factor is not inverted. Were every token a landmark, all three factors would be "
    "the same matrix S: SS⁺S is S, and SSS is not.",
)
def middle_factor_not_inverted(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    middle = _weights(q_landmarks, k_landmarks)
    return _weights(q, k_landmarks) @ (middle @ (_weights(q_landmarks, k) @ v))


@mistake(
    right.nystrom_attention,
    "The middle factor is the pseudo-inverse of the scores. Softmax first, then invert.",
)
def scores_inverted_without_softmax(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    scores = q_landmarks @ k_landmarks.mT * q.shape[-1] ** -0.5
    inverse = right.iterative_pinv(scores, num_iterations)
    return _weights(q, k_landmarks) @ (inverse @ (_weights(q_landmarks, k) @ v))


@mistake(
    right.nystrom_attention,
    "The middle factor has queries and keys the wrong way round: softmax(K̃Q̃ᵀ). Its rows are the "
    "query landmarks.",
)
def landmarks_the_wrong_way_round(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(_weights(k_landmarks, q_landmarks), num_iterations)
    return _weights(q, k_landmarks) @ (inverse @ (_weights(q_landmarks, k) @ v))


@mistake(
    right.nystrom_attention,
    "The key landmarks are means of queries. Keys have landmarks of their own.",
)
def landmarks_of_queries_for_both(q, k, v, num_landmarks, num_iterations):
    landmarks, _ = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(_weights(landmarks, landmarks), num_iterations)
    return _weights(q, landmarks) @ (inverse @ (_weights(landmarks, k) @ v))


@mistake(
    right.nystrom_attention,
    "The rows are divided by their sums once more. The product of the three factors is the "
    "approximation; its rows sum to 1 by themselves once the pseudo-inverse has converged.",
)
def rows_normalised_again(q, k, v, num_landmarks, num_iterations):
    both = torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)
    out = right.nystrom_attention(q, k, both, num_landmarks, num_iterations)
    return out[..., :-1] / out[..., -1:]


@mistake(
    right.nystrom_attention,
    "The result is right, but the three factors are multiplied from the left, and their product is "
    "n × n. Multiply from the right: first with V.",
)
def multiplied_from_the_left(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(_weights(q_landmarks, k_landmarks), num_iterations)
    return (_weights(q, k_landmarks) @ inverse @ _weights(q_landmarks, k)) @ v

"""Wrong versions of nystrom_attention, an exercise of 03_low_rank_attention."""

import torch

from solutions import low_rank_attention as right
from solutions.mistakes import mistake


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


@mistake(
    right.nystrom_attention,
    "The middle factor is inverted by elimination, and `num_iterations` is not used. Where rows of "
    "it nearly coincide, the inverse is huge; where they coincide, there is none.",
)
def inverse_by_elimination(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = torch.linalg.inv(_weights(q_landmarks, k_landmarks))
    return _weights(q, k_landmarks) @ (inverse @ (_weights(q_landmarks, k) @ v))


@mistake(
    right.nystrom_attention,
    "The middle factor is left out: the first and the last meet without its pseudo-inverse. Were "
    "every token a landmark, SS would come out for S.",
)
def middle_factor_left_out(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    return _weights(q, k_landmarks) @ (_weights(q_landmarks, k) @ v)


@mistake(
    right.nystrom_attention,
    "The query landmarks are means of keys. Queries have landmarks of their own.",
)
def landmarks_of_keys_for_both(q, k, v, num_landmarks, num_iterations):
    _, landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(_weights(landmarks, landmarks), num_iterations)
    return _weights(q, landmarks) @ (inverse @ (_weights(landmarks, k) @ v))


@mistake(
    right.nystrom_attention,
    "There are always six iterations. Their number is given: `num_iterations`.",
)
def always_six_iterations(q, k, v, num_landmarks, num_iterations):
    return right.nystrom_attention(q, k, v, num_landmarks, 6)


@mistake(
    right.nystrom_attention,
    "The scores are divided by √d twice, or by d: queries are scaled, and scaled again, or queries "
    "and keys by √d each. Divide once by √d in all.",
)
def scaled_twice(q, k, v, num_landmarks, num_iterations):
    return right.nystrom_attention(q * q.shape[-1] ** -0.5, k, v, num_landmarks, num_iterations)


@mistake(
    right.nystrom_attention,
    "The scores of the first and the last factor are not divided by √d, those between landmarks "
    "are. All three are parts of the same matrix.",
)
def outer_factors_not_scaled(q, k, v, num_landmarks, num_iterations):
    scale = q.shape[-1] ** 0.5
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(_weights(q_landmarks, k_landmarks), num_iterations)
    return _weights(q * scale, k_landmarks) @ (inverse @ (_weights(q_landmarks * scale, k) @ v))


@mistake(
    right.nystrom_attention,
    "The scores are divided by √m, the root of the number of landmarks. A score is a sum over d "
    "features: divide by √d.",
)
def scaled_by_the_number_of_landmarks(q, k, v, num_landmarks, num_iterations):
    scale = (q.shape[-1] / num_landmarks) ** 0.5
    return right.nystrom_attention(q * scale, k, v, num_landmarks, num_iterations)


@mistake(
    right.nystrom_attention,
    "The numbers are right, but the pseudo-inverse is detached. Queries and keys must learn "
    "through the middle factor, too.",
)
def pseudo_inverse_detached(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(_weights(q_landmarks, k_landmarks), num_iterations).detach()
    return _weights(q, k_landmarks) @ (inverse @ (_weights(q_landmarks, k) @ v))


@mistake(
    right.nystrom_attention,
    "The three softmaxes run over the queries, or their landmarks. Every row of the three matrices "
    "must sum to 1: take the softmax over the last dimension.",
)
def softmax_over_the_queries(q, k, v, num_landmarks, num_iterations):
    def weights(queries, keys):
        return (queries @ keys.mT * queries.shape[-1] ** -0.5).softmax(dim=-2)

    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(weights(q_landmarks, k_landmarks), num_iterations)
    return weights(q, k_landmarks) @ (inverse @ (weights(q_landmarks, k) @ v))


@mistake(
    right.nystrom_attention,
    "The values are averaged over segments, too, and the last factor is not used. It asks all "
    "tokens for their values: softmax(Q̃Kᵀ/√d) V.",
)
def means_of_values(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(_weights(q_landmarks, k_landmarks), num_iterations)
    return _weights(q, k_landmarks) @ (inverse @ right.segment_means(v, num_landmarks))


@mistake(
    right.nystrom_attention,
    "This is softmax attention over the landmarks alone: means of keys and means of values. "
    "Nyström's method is three factors.",
)
def attention_to_landmarks_alone(q, k, v, num_landmarks, num_iterations):
    return _weights(q, right.segment_means(k, num_landmarks)) @ right.segment_means(
        v, num_landmarks
    )


@mistake(
    right.nystrom_attention,
    "This is softmax attention itself, in O(n²): no landmarks are used.",
)
def no_landmarks(q, k, v, num_landmarks, num_iterations):
    return _weights(q, k) @ v


@mistake(
    right.nystrom_attention,
    "The scores of the first factor are not divided by √d, the others are. All three are parts of "
    "the same matrix.",
)
def first_factor_not_scaled(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(_weights(q_landmarks, k_landmarks), num_iterations)
    first = _weights(q * q.shape[-1] ** 0.5, k_landmarks)
    return first @ (inverse @ (_weights(q_landmarks, k) @ v))


@mistake(
    right.nystrom_attention,
    "The scores of the last factor are not divided by √d, the others are. All three are parts of "
    "the same matrix.",
)
def last_factor_not_scaled(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(_weights(q_landmarks, k_landmarks), num_iterations)
    last = _weights(q_landmarks * q.shape[-1] ** 0.5, k)
    return _weights(q, k_landmarks) @ (inverse @ (last @ v))


@mistake(
    right.nystrom_attention,
    "Exponentials are taken, and the rows of the product divided by their sums at the end. Each of "
    "the three factors is a softmax of its own.",
)
def exponentials_for_softmax(q, k, v, num_landmarks, num_iterations):
    def weights(queries, keys):
        return (queries @ keys.mT * queries.shape[-1] ** -0.5).exp()

    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(weights(q_landmarks, k_landmarks), num_iterations)
    both = torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)
    out = weights(q, k_landmarks) @ (inverse @ (weights(q_landmarks, k) @ both))
    return out[..., :-1] / out[..., -1:]


@mistake(
    right.nystrom_attention,
    "With as many landmarks as tokens it is softmax attention itself. It comes close after many "
    "iterations; after few, the formula gives something else, which is asked for.",
)
def softmax_attention_where_every_token_is_a_landmark(q, k, v, num_landmarks, num_iterations):
    if num_landmarks == q.shape[-2] == k.shape[-2]:
        return _weights(q, k) @ v
    return right.nystrom_attention(q, k, v, num_landmarks, num_iterations)


@mistake(
    right.nystrom_attention,
    "The last factor is normalised over the landmarks. Its rows are the landmarks' attention to "
    "all tokens: each sums to 1 over the keys.",
)
def last_factor_normalised_over_landmarks(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(_weights(q_landmarks, k_landmarks), num_iterations)
    scores = q_landmarks @ k.mT * q.shape[-1] ** -0.5
    return _weights(q, k_landmarks) @ (inverse @ (scores.softmax(dim=-2) @ v))


@mistake(
    right.nystrom_attention,
    "The landmarks are the first tokens of the segments. They are the means of whole segments: "
    "call segment_means.",
)
def first_tokens_for_landmarks(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = (
        torch.stack([part[..., 0, :] for part in x.tensor_split(num_landmarks, dim=-2)], dim=-2)
        for x in (q, k)
    )
    inverse = right.iterative_pinv(_weights(q_landmarks, k_landmarks), num_iterations)
    return _weights(q, k_landmarks) @ (inverse @ (_weights(q_landmarks, k) @ v))


@mistake(
    right.nystrom_attention,
    "The landmarks of queries and keys are exchanged in the outer factors. All queries ask the "
    "landmarks of the keys; the landmarks of the queries ask all keys.",
)
def landmarks_of_queries_and_keys_exchanged(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = _landmarks(q, k, num_landmarks)
    inverse = right.iterative_pinv(_weights(q_landmarks, k_landmarks), num_iterations)
    return _weights(q, q_landmarks) @ (inverse @ (_weights(k_landmarks, k) @ v))

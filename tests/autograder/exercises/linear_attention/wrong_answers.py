"""Wrong versions of the exercises of 02_linear_attention that look right at first sight."""

import torch

from solutions import linear_attention as right


def _rotations(num_features, dim, generator):
    num_blocks = -(-num_features // dim)
    normal = torch.randn(num_blocks, dim, dim, generator=generator)
    q, r = torch.linalg.qr(normal)
    return normal, q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)


def _lengths(count, dim, generator):
    return torch.randn(count, dim, generator=generator).norm(dim=-1, keepdim=True)


def lengths_of_the_matrix_that_was_decomposed(num_features, dim, generator):
    normal, rotations = _rotations(num_features, dim, generator)
    return (rotations * normal.norm(dim=-1, keepdim=True)).flatten(0, 1)[:num_features]


def every_other_block_mirrored(num_features, dim, generator):
    _, rotations = _rotations(num_features, dim, generator)
    rotations[1::2] = -rotations[0::2][: len(rotations[1::2])]
    rows = rotations.flatten(0, 1)[:num_features]
    return rows * _lengths(num_features, dim, generator)


def one_length_for_everything(num_features, dim, generator):
    _, rotations = _rotations(num_features, dim, generator)
    return rotations.flatten(0, 1)[:num_features] * _lengths(1, dim, generator)


def the_same_lengths_in_every_block(num_features, dim, generator):
    _, rotations = _rotations(num_features, dim, generator)
    return (rotations * _lengths(dim, dim, generator)).flatten(0, 1)[:num_features]


def lengths_sorted(num_features, dim, generator):
    _, rotations = _rotations(num_features, dim, generator)
    lengths = _lengths(num_features, dim, generator).sort(dim=0).values
    return rotations.flatten(0, 1)[:num_features] * lengths


def lengths_of_one_dimension_less(num_features, dim, generator):
    _, rotations = _rotations(num_features, dim, generator)
    return rotations.flatten(0, 1)[:num_features] * _lengths(num_features, dim - 1, generator)


def rotation_from_a_generator_of_its_own(num_features, dim, generator):
    _, rotations = _rotations(num_features, dim, torch.Generator().manual_seed(0))
    return rotations.flatten(0, 1)[:num_features] * _lengths(num_features, dim, generator)


def chunk_of_8_whatever_is_asked(q, k, v, feature_map, chunk_size):
    phi_q, phi_k = feature_map(q), feature_map(k)
    key_values, key_sum, outputs = 0, 0, []
    for a in range(0, q.shape[-2], 8):
        queries, keys, values = (x[..., a : a + 8, :] for x in (phi_q, phi_k, v))
        weights = (queries @ keys.mT).tril()
        numerator, normaliser = weights @ values, weights.sum(-1, keepdim=True)
        if a:
            numerator, normaliser = numerator + queries @ key_values, normaliser + queries @ key_sum
        outputs.append(numerator / normaliser)
        key_values = key_values + keys.mT @ values
        key_sum = key_sum + keys.sum(-2).unsqueeze(-1)
    return torch.cat(outputs, dim=-2)


def own_chunk_subtracted_from_the_running_sum(q, k, v, feature_map, chunk_size):
    n = q.shape[-2]
    pad = (0, 0, 0, -n % chunk_size)
    q, k, v = (torch.nn.functional.pad(x, pad) for x in (q, k, v))
    q, k, v = (x.unflatten(-2, (-1, chunk_size)) for x in (feature_map(q), feature_map(k), v))
    summed, key_sum = k.mT @ v, k.sum(-2)
    summed, key_sum = summed.cumsum(-3) - summed, key_sum.cumsum(-2) - key_sum
    weights = (q @ k.mT).tril()
    out = (q @ summed + weights @ v) / (q @ key_sum.unsqueeze(-1) + weights.sum(-1, keepdim=True))
    return out.flatten(-3, -2)[..., :n, :]


def causal_as_one_chunk(q, k, v, projection, causal=False):
    scale = q.shape[-1] ** -0.25

    def feature_map(x):
        return right.positive_random_features(x * scale, projection)

    if causal:
        return right.causal_linear_attention(q, k, v, feature_map, q.shape[-2])
    return right.linear_attention(q, k, v, feature_map)


def normaliser_with_a_floor(q, k, v, feature_map):
    q, k = feature_map(q), feature_map(k)
    return q @ (k.mT @ v) / (q @ k.sum(-2).unsqueeze(-1)).clamp(min=1.0)


def normaliser_plus_a_thousandth(q, k, v, feature_map):
    q, k = feature_map(q), feature_map(k)
    return q @ (k.mT @ v) / (q @ k.sum(-2).unsqueeze(-1) + 1e-3)


def always_float32(q, k, v, feature_map):
    return right.linear_attention(q.float(), k.float(), v.float(), feature_map)


def step_with_a_floor(state, q_t, k_t, v_t, feature_map):
    key_values, key_sum = state
    q, k = feature_map(q_t), feature_map(k_t)
    key_values = key_values + k.unsqueeze(-1) * v_t.unsqueeze(-2)
    key_sum = key_sum + k
    normaliser = (q * key_sum).sum(-1, keepdim=True).clamp(min=1.0)
    return (key_values, key_sum), (q.unsqueeze(-2) @ key_values).squeeze(-2) / normaliser


def output_before_state(state, q_t, k_t, v_t, feature_map):
    return right.recurrent_step(state, q_t, k_t, v_t, feature_map)[::-1]


def exponent_clamped(x, projection):
    exponent = x @ projection.mT - x.square().sum(-1, keepdim=True) / 2
    return exponent.clamp(max=10).exp() * len(projection) ** -0.5


LENGTHS = "lengths that are not independent"

# Exercise -> wrong version -> the mistake that its report names, if it names one.
WRONG = {
    "linear_attention": {
        normaliser_with_a_floor: "",
        normaliser_plus_a_thousandth: "",
        always_float32: "",
    },
    "causal_linear_attention": {
        chunk_of_8_whatever_is_asked: "steps smaller than a chunk",
        own_chunk_subtracted_from_the_running_sum: "",
    },
    "recurrent_step": {step_with_a_floor: "", output_before_state: ""},
    "positive_random_features": {exponent_clamped: ""},
    "orthogonal_random_features": {
        lengths_of_the_matrix_that_was_decomposed: "",
        every_other_block_mirrored: "blocks that are not independent",
        one_length_for_everything: LENGTHS,
        the_same_lengths_in_every_block: LENGTHS,
        lengths_sorted: LENGTHS,
        lengths_of_one_dimension_less: "",
        rotation_from_a_generator_of_its_own: "",
    },
    "performer_attention": {causal_as_one_chunk: ""},
}

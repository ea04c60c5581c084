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


def exponent_clamped(x, projection):
    exponent = x @ projection.mT - x.square().sum(-1, keepdim=True) / 2
    return exponent.clamp(max=10).exp() * len(projection) ** -0.5


def orthogonal_with_row_norms_across(num_features, dim, generator):
    normal, rotations = _rotations(num_features, dim, generator)
    return (rotations.mT * normal.norm(dim=-1, keepdim=True)).flatten(0, 1)[:num_features]


def lengths_uniform(num_features, dim, generator):
    _, rotations = _rotations(num_features, dim, generator)
    lengths = dim**0.5 * (0.5 + torch.rand(num_features, 1, generator=generator))
    return rotations.flatten(0, 1)[:num_features] * lengths


def norm_over_the_wrong_axis(num_features, dim, generator):
    _, rotations = _rotations(num_features, dim, generator)
    lengths = torch.randn(num_features, dim, generator=generator).norm(dim=0, keepdim=True)
    return rotations.flatten(0, 1)[:num_features] * lengths


def elu_for_four_axes(x):
    _, _, _, _ = x.shape
    return right.elu_feature_map(x)


def elu_of_erased_input(x):
    result = right.elu_feature_map(x)
    x.data.zero_()
    return result


def linear_for_four_axes(q, k, v, feature_map):
    q, k = feature_map(q), feature_map(k)
    summed, key_sum = torch.einsum("bhnm,bhne->bhme", k, v), k.sum(dim=2)
    return q @ summed / torch.einsum("bhnm,bhm->bhn", q, key_sum).unsqueeze(-1)


def linear_that_returns_float32(q, k, v, feature_map):
    return right.linear_attention(q.float(), k.float(), v.float(), feature_map)


def linear_token_by_token(q, k, v, feature_map):
    q, k = feature_map(q), feature_map(k)
    summed, key_sum = 0, 0
    for t in range(k.shape[-2]):
        summed = summed + k[..., t, :, None] * v[..., t, None, :]
        key_sum = key_sum + k[..., t, :]
    return q @ summed / (q @ key_sum.unsqueeze(-1))


def causal_with_sums_changed_in_place(q, k, v, feature_map, chunk_size):
    q, k = feature_map(q), feature_map(k)
    summed = v.new_zeros(*v.shape[:-2], k.shape[-1], v.shape[-1])
    key_sum = v.new_zeros(*v.shape[:-2], k.shape[-1], 1)
    outputs = []
    for qs, ks, vs in zip(*(x.split(chunk_size, dim=-2) for x in (q, k, v)), strict=True):
        weights = (qs @ ks.mT).tril()
        normaliser = weights.sum(-1, keepdim=True) + qs @ key_sum
        outputs.append((weights @ vs + qs @ summed) / normaliser)
        summed += ks.mT @ vs
        key_sum += ks.sum(-2).unsqueeze(-1)
    return torch.cat(outputs, dim=-2)


def causal_in_four_times_the_chunk(q, k, v, feature_map, chunk_size):
    return right.causal_linear_attention(q, k, v, feature_map, 4 * chunk_size)


def step_for_three_axes(state, q_t, k_t, v_t, feature_map):
    _, _, _ = q_t.shape
    return right.recurrent_step(state, q_t, k_t, v_t, feature_map)


def step_in_float32(state, q_t, k_t, v_t, feature_map):
    given = (x.float() for x in (q_t, k_t, v_t))
    state, output = right.recurrent_step([x.float() for x in state], *given, feature_map)
    return [x.to(v_t.dtype) for x in state], output.to(v_t.dtype)


def features_with_a_floor(x, projection):
    return right.positive_random_features(x, projection) + 1e-4 / len(projection) ** 0.5


def features_without_gradients(x, projection):
    with torch.no_grad():
        return right.positive_random_features(x, projection)


def waves_of_a_changed_projection(x, projection):
    result = right.trigonometric_random_features(x, projection)
    projection.data.mul_(2)
    return result


def performer_for_four_axes(q, k, v, projection, causal=False):
    _, _, _, _ = q.shape
    return right.performer_attention(q, k, v, projection, causal)


def performer_that_scales_in_place(q, k, v, projection, causal=False):
    q /= q.shape[-1] ** 0.25
    k /= k.shape[-1] ** 0.25
    wide = [x * x.shape[-1] ** 0.25 for x in (q, k)]
    return right.performer_attention(*wide, v, projection, causal)


def real_part_of_a_detached_transform(x):
    return torch.fft.fft2(x.detach()).real


def filter_that_erases_its_weights(x, weights):
    result = right.global_filter(x, weights)
    weights.data.zero_()
    return result


def filter_of_axis_1(x, weights):
    return torch.fft.irfft(torch.fft.rfft(x, dim=1) * weights, n=x.shape[1], dim=1)


LENGTHS = "lengths that are not independent"
DEPENDENT = "lengths that depend on directions"
ONE_RANK = "for one number of axes only"
OVERWRITES = "it overwrites what it is given"
SHORT = "fewer digits than it was given"
EPSILON = "something added to the normaliser"

# Exercise -> wrong version -> the mistake that its report names, if it names one.
WRONG = {
    "elu_feature_map": {elu_for_four_axes: ONE_RANK, elu_of_erased_input: OVERWRITES},
    "linear_attention": {
        normaliser_with_a_floor: "rows that are off by a factor",
        normaliser_plus_a_thousandth: EPSILON,
        always_float32: SHORT,
        linear_for_four_axes: ONE_RANK,
        linear_that_returns_float32: SHORT,
        linear_token_by_token: "token after token",
    },
    "causal_linear_attention": {
        chunk_of_8_whatever_is_asked: "token after token",
        causal_with_sums_changed_in_place: OVERWRITES,
        causal_in_four_times_the_chunk: "",
    },
    "recurrent_step": {
        step_with_a_floor: "rows that are off by a factor",
        step_for_three_axes: ONE_RANK,
        step_in_float32: SHORT,
    },
    "trigonometric_random_features": {waves_of_a_changed_projection: OVERWRITES},
    "positive_random_features": {
        exponent_clamped: "",
        features_with_a_floor: "something added to the features",
        features_without_gradients: "no gradients",
    },
    "orthogonal_random_features": {
        lengths_of_the_matrix_that_was_decomposed: DEPENDENT,
        orthogonal_with_row_norms_across: DEPENDENT,
        every_other_block_mirrored: "blocks that are not independent",
        one_length_for_everything: LENGTHS,
        the_same_lengths_in_every_block: LENGTHS,
        lengths_sorted: LENGTHS,
        lengths_of_one_dimension_less: "",
        lengths_uniform: "",
        norm_over_the_wrong_axis: "columns scaled instead of rows",
        rotation_from_a_generator_of_its_own: "",
    },
    "performer_attention": {
        causal_as_one_chunk: "a number for every pair of tokens",
        performer_for_four_axes: ONE_RANK,
        performer_that_scales_in_place: OVERWRITES,
    },
    "fourier_mixing": {real_part_of_a_detached_transform: "no gradients"},
    "global_filter": {filter_that_erases_its_weights: OVERWRITES, filter_of_axis_1: ""},
}

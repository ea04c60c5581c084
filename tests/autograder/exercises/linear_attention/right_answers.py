"""Right versions of the exercises of 02_linear_attention: loops, einsum, other formulas."""

import math

import torch


def elu_by_cases(x):
    return torch.where(x > 0, x + 1, x.clamp(max=0).exp())


def elu_by_expm1(x):
    return torch.relu(x) + torch.special.expm1(-torch.relu(-x)) + 1


def elu_of_both_sides(x):
    return x.clamp(min=0) + x.clamp(max=0).exp()


def linear_einsum(q, k, v, feature_map):
    q, k = feature_map(q), feature_map(k)
    summed = torch.einsum("...nm,...ne->...me", k, v)
    normaliser = torch.einsum("...nm,...m->...n", q, k.sum(-2))
    return torch.einsum("...nm,...me,...n->...ne", q, summed, 1 / normaliser)


def linear_by_blocks_in_float64(q, k, v, feature_map):
    summed, key_sum = 0, 0
    for keys, values in zip(k.double().split(128, -2), v.double().split(128, -2), strict=True):
        phi = feature_map(keys)
        summed, key_sum = summed + phi.mT @ values, key_sum + phi.sum(-2, keepdim=True)
    q = feature_map(q.double())
    return (q @ summed / (q * key_sum).sum(-1, keepdim=True)).to(v.dtype)


def linear_ones_column(q, k, v, feature_map):
    extended = torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)
    both = feature_map(q) @ (feature_map(k).transpose(-2, -1) @ extended)
    return both[..., :-1] / both[..., -1:]


def linear_outer_products(q, k, v, feature_map):
    q, k = feature_map(q), feature_map(k)
    summed = (k[..., :, None] * v[..., None, :]).sum(dim=-3)
    return (q @ summed) / (q * k.sum(dim=-2, keepdim=True)).sum(dim=-1, keepdim=True)


def causal_by_padding_the_inputs(q, k, v, feature_map, chunk_size):
    # A padded key comes after every real token, so the mask hides it.
    n = q.shape[-2]
    q, k, v = (torch.nn.functional.pad(x, (0, 0, 0, -n % chunk_size)) for x in (q, k, v))
    q, k, v = (x.unflatten(-2, (-1, chunk_size)) for x in (feature_map(q), feature_map(k), v))
    sums, key_sums = k.mT @ v, k.sum(-2)
    summed = torch.cat([torch.zeros_like(sums[..., :1, :, :]), sums[..., :-1, :, :]], -3).cumsum(-3)
    key_sum = torch.cat([torch.zeros_like(key_sums[..., :1, :]), key_sums[..., :-1, :]], -2)
    key_sum = key_sum.cumsum(-2)
    weights = (q @ k.mT).tril()
    out = (q @ summed + weights @ v) / (q @ key_sum.unsqueeze(-1) + weights.sum(-1, keepdim=True))
    return out.flatten(-3, -2)[..., :n, :]


def causal_with_a_normaliser_of_its_own(q, k, v, feature_map, chunk_size):
    q, k = feature_map(q), feature_map(k)
    normaliser = (q * k.cumsum(-2)).sum(-1, keepdim=True)
    out, state = v.new_empty(v.shape), None
    for start in range(0, q.shape[-2], chunk_size):
        chunk = slice(start, start + chunk_size)
        keys, values = k[..., chunk, :], v[..., chunk, :]
        numerator = torch.tril(q[..., chunk, :] @ keys.mT) @ values
        if state is not None:
            numerator = numerator + q[..., chunk, :] @ state
        out[..., chunk, :] = numerator / normaliser[..., chunk, :]
        state = keys.mT @ values + (0 if state is None else state)
    return out


def causal_loop_over_chunks(q, k, v, feature_map, chunk_size):
    v = torch.cat([v, v.new_ones(*v.shape[:-1], 1)], dim=-1)
    state = v.new_zeros(*v.shape[:-2], feature_map(k).shape[-1], v.shape[-1])
    outputs = []
    for qs, ks, vs in zip(*(x.split(chunk_size, dim=-2) for x in (q, k, v)), strict=True):
        fq, fk = feature_map(qs), feature_map(ks)
        mask = torch.ones(fq.shape[-2], fq.shape[-2], dtype=torch.bool).tril()
        both = fq @ state + (fq @ fk.mT).masked_fill(~mask, 0) @ vs
        outputs.append(both[..., :-1] / both[..., -1:])
        state = state + torch.einsum("...nm,...ne->...me", fk, vs)
    return torch.cat(outputs, dim=-2)


def recurrent_einsum(state, q_t, k_t, v_t, feature_map):
    S, z = state
    q, k = feature_map(q_t), feature_map(k_t)
    S, z = S + torch.einsum("...m,...e->...me", k, v_t), z + k
    return (S, z), (q[..., None, :] @ S)[..., 0, :] / torch.einsum("...m,...m->...", q, z)[
        ..., None
    ]


def recurrent_of_cloned_state(state, q_t, k_t, v_t, feature_map):
    S, z = state[0].clone(), state[1].clone()
    q, k = feature_map(q_t), feature_map(k_t)
    S += k[..., None] * v_t[..., None, :]
    z += k
    return [S, z], (q[..., None] * S).sum(-2) / (q * z).sum(-1, keepdim=True)


def trigonometric_alternating(x, projection):
    angles = x @ projection.T
    pairs = torch.stack([torch.cos(angles), torch.sin(angles)], dim=-1).flatten(-2)
    return torch.exp(x.norm(dim=-1, keepdim=True) ** 2 / 2) / math.sqrt(projection.shape[0]) * pairs


def trigonometric_of_complex_exponential(x, projection):
    wave = torch.exp(1j * torch.einsum("...d,md->...m", x, projection))
    scale = torch.exp((x * x).sum(-1, keepdim=True) / 2) / len(projection) ** 0.5
    return torch.cat([wave.imag, wave.real], dim=-1) * scale


def positive_by_completed_square(x, projection):
    distance = (projection - x.unsqueeze(-2)).square().sum(-1)
    exponent = (projection.square().sum(-1) - distance) / 2
    return torch.exp(exponent) / math.sqrt(projection.shape[0])


def positive_in_the_exponent(x, projection):
    m = projection.shape[0]
    exponent = torch.einsum("...d,md->...m", x, projection) - 0.5 * (x**2).sum(-1)[..., None]
    return torch.exp(exponent - 0.5 * math.log(m))


def orthogonal_block_by_block(num_features, dim, generator):
    rows = []
    while len(rows) < num_features:
        q, r = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
        rows.extend((q * torch.diag(r).sign()).T)
    lengths = torch.randn(num_features, dim, generator=generator, dtype=torch.float64).norm(dim=-1)
    return (torch.stack(rows[:num_features]) * lengths[:, None]).float()


def orthogonal_by_gram_schmidt(num_features, dim, generator):
    rows = torch.randn(num_features, dim, generator=generator, dtype=torch.float64)
    lengths = torch.randn(num_features, dim, generator=generator, dtype=torch.float64).norm(dim=-1)
    result = []
    for i in range(num_features):
        row = rows[i]
        for earlier in result[i - i % dim : i]:
            row = row - (row @ earlier) * earlier
        result.append(row / row.norm())
    return (torch.stack(result) * lengths[:, None]).float()


def orthogonal_with_lengths_of_the_columns(num_features, dim, generator):
    # In A = QR the length of a column of A is that of R's, which is independent of Q.
    rows = []
    for _ in range(0, num_features, dim):
        normal = torch.randn(dim, dim, generator=generator)
        q, r = torch.linalg.qr(normal)
        rows.append((q * r.diagonal().sign() * normal.norm(dim=0)).T)
    return torch.cat(rows)[:num_features]


def orthogonal_by_singular_vectors(num_features, dim, generator):
    blocks = -(-num_features // dim)
    u, _, v = torch.linalg.svd(torch.randn(blocks, dim, dim, generator=generator))
    lengths = torch.randn(num_features, dim, generator=generator).square().sum(1, keepdim=True)
    return lengths.sqrt() * (u @ v).flatten(0, 1)[:num_features]


def performer_written_out(q, k, v, projection, causal=False):
    d, m = q.shape[-1], projection.shape[0]

    def features(x):
        x = x / d**0.25
        return torch.exp(x @ projection.T - (x**2).sum(-1, keepdim=True) / 2) / m**0.5

    q, k = features(q), features(k)
    if not causal:
        return q @ (k.mT @ v) / (q @ k.sum(-2)[..., None])
    numerator = torch.einsum("...nm,...nme->...ne", q, (k[..., None] * v[..., None, :]).cumsum(-3))
    return numerator / (q * k.cumsum(-2)).sum(-1, keepdim=True)


def performer_with_stabilisers(q, k, v, projection, causal=False):
    # A constant common to all keys, or to one query's features, cancels in the normaliser.
    scale = q.shape[-1] ** -0.25
    exponents = [
        x @ projection.mT - x.square().sum(-1, keepdim=True) / 2 for x in (q * scale, k * scale)
    ]
    q = (exponents[0] - exponents[0].amax(-1, keepdim=True)).exp()
    k = (exponents[1] - exponents[1].amax((-2, -1), keepdim=True)).exp()
    if causal:
        return causal_loop_over_chunks(q, k, v, lambda x: x, 64)
    return q @ (k.mT @ v) / (q @ k.sum(-2).unsqueeze(-1))


def fourier_by_one_axis_then_the_other(x):
    return torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real


def fourier_by_cosines_and_sines(x):
    # Re((a + ib)) over both axes, with the hidden axis as small matrices.
    d = x.shape[-1]
    angle = 2 * math.pi * torch.outer(torch.arange(d), torch.arange(d)).double() / d
    real = torch.fft.fft(x @ angle.cos().to(x), dim=-2)
    imaginary = torch.fft.fft(x @ angle.sin().to(x), dim=-2)
    return real.real + imaginary.imag


def filter_with_the_full_transform(x, weights):
    n = x.shape[-2]
    first = weights[:1].real + 0j
    middle = weights[1 : (n + 1) // 2]
    nyquist = weights[n // 2 : n // 2 + 1].real + 0j if n % 2 == 0 else weights[:0]
    full = torch.cat([first, middle, nyquist, middle.flip(0).conj()])
    return torch.fft.ifft(torch.fft.fft(x, dim=-2) * full, dim=-2).real


def filter_channels_last(x, weights):
    spectrum = torch.fft.rfft(x.transpose(-1, -2), norm="ortho")
    result = torch.fft.irfft(spectrum * weights.T, x.shape[-2], norm="ortho")
    return result.transpose(-1, -2)


RIGHT = {
    "elu_feature_map": [elu_by_cases, elu_by_expm1, elu_of_both_sides],
    "linear_attention": [
        linear_einsum,
        linear_ones_column,
        linear_outer_products,
        linear_by_blocks_in_float64,
    ],
    "causal_linear_attention": [
        causal_by_padding_the_inputs,
        causal_with_a_normaliser_of_its_own,
        causal_loop_over_chunks,
    ],
    "recurrent_step": [recurrent_einsum, recurrent_of_cloned_state],
    "trigonometric_random_features": [
        trigonometric_alternating,
        trigonometric_of_complex_exponential,
    ],
    "positive_random_features": [positive_by_completed_square, positive_in_the_exponent],
    "orthogonal_random_features": [
        orthogonal_block_by_block,
        orthogonal_by_gram_schmidt,
        orthogonal_with_lengths_of_the_columns,
        orthogonal_by_singular_vectors,
    ],
    "performer_attention": [performer_written_out, performer_with_stabilisers],
    "fourier_mixing": [fourier_by_one_axis_then_the_other, fourier_by_cosines_and_sines],
    "global_filter": [filter_with_the_full_transform, filter_channels_last],
}

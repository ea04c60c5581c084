"""Right versions of the exercises of 03_low_rank_attention: loops, einsum, a library's."""

import itertools
import math

import torch
import torch.nn.functional as F


def spectrum_by_full_decomposition(attention):
    return torch.linalg.svd(attention, full_matrices=False).S


def spectrum_by_symmetric_embedding(attention):
    # [[0, A], [Aᵀ, 0]] is symmetric, and its largest eigenvalues are A's singular values.
    n_q, n_k = attention.shape[-2:]
    rows = attention.new_zeros(*attention.shape[:-2], n_q, n_q)
    columns = attention.new_zeros(*attention.shape[:-2], n_k, n_k)
    embedded = torch.cat(
        [torch.cat([rows, attention], -1), torch.cat([attention.mT, columns], -1)], -2
    )
    return torch.linalg.eigvalsh(embedded).flip(-1)[..., : min(n_q, n_k)]


def rank_by_what_is_left_out(attention, energy):
    squares = torch.linalg.svdvals(attention) ** 2
    left_out = squares.flip(-1).cumsum(-1).flip(-1) - squares  # after each value
    return (left_out > (1 - energy) * squares.sum(-1, keepdim=True)).int().sum(-1) + 1


def rank_by_loops(attention, energy):
    ranks = []
    for matrix in attention.reshape(-1, *attention.shape[-2:]):
        squares = torch.linalg.svdvals(matrix).square()
        share, rank = squares[0] / squares.sum(), 1
        while share < energy and rank < len(squares):
            share, rank = share + squares[rank] / squares.sum(), rank + 1
        ranks.append(rank)
    return torch.tensor(ranks).reshape(attention.shape[:-2])


def rank_by_a_search(attention, energy):
    kept = torch.linalg.svdvals(attention).square().cumsum(-1)
    wanted = (energy * kept[..., -1:]).contiguous()
    return torch.searchsorted(kept, wanted).squeeze(-1) + 1


def linformer_einsum(q, k, v, e, f):
    keys = torch.einsum("...nd,nk->...kd", k, e)
    values = torch.einsum("...nd,nk->...kd", v, f)
    scores = torch.einsum("...nd,...kd->...nk", q, keys) / math.sqrt(q.shape[-1])
    return torch.einsum("...nk,...kd->...nd", torch.softmax(scores, -1), values)


def linformer_by_linear_layers(q, k, v, e, f):
    keys, values = F.linear(k.mT, e.T), F.linear(v.mT, f.T)  # (..., d, k)
    scores = (q * q.shape[-1] ** -0.5) @ keys
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    return weights @ values.mT / weights.sum(-1, keepdim=True)


def projection_by_columns(n, k, generator):
    columns = [torch.normal(0.0, k**-0.5, (n,), generator=generator) for _ in range(k)]
    return torch.stack(columns, dim=1)


def projection_of_signs(n, k, generator):
    # Achlioptas 2003: signs do as well as normal numbers.
    return (2 * torch.randint(2, (n, k), generator=generator) - 1) / math.sqrt(k)


def distortion_by_pairs(points, projection):
    worst = points.new_zeros(())
    for a, b in itertools.combinations(points, 2):
        x = a - b
        ratio = (projection.T @ x).dot(projection.T @ x) / x.dot(x)
        worst = torch.maximum(worst, (ratio - 1).abs())
    return worst


def distortion_of_all_differences(points, projection):
    x = points[:, None] - points
    before = x.square().sum(-1)
    after = (x @ projection).square().sum(-1)
    relative = (after - before).abs() / before.where(before > 0, 1.0)
    return relative.max()


def means_by_adding_up(x, num_landmarks):
    n = x.shape[-2]
    lengths = torch.full((num_landmarks,), n // num_landmarks)
    lengths[: n % num_landmarks] += 1
    segment = torch.arange(num_landmarks).repeat_interleave(lengths)
    sums = x.new_zeros(*x.shape[:-2], num_landmarks, x.shape[-1]).index_add(-2, segment, x)
    return sums / lengths[:, None].to(x.dtype)


def means_with_padding_not_counted(x, num_landmarks):
    # Each segment of the shorter length gets one row of zeros, which its divisor leaves out.
    length, longer = divmod(x.shape[-2], num_landmarks)
    first, rest = x[..., : longer * (length + 1), :], x[..., longer * (length + 1) :, :]
    rest = F.pad(rest.unflatten(-2, (num_landmarks - longer, length)), (0, 0, 0, 1))
    segments = torch.cat([first.unflatten(-2, (longer, length + 1)), rest], dim=-3)
    divisor = x.new_full((num_landmarks, 1), length)
    divisor[:longer] += 1
    return segments.sum(-2) / divisor


def pinv_by_the_formula(a, num_iterations):
    one, inf = (a.abs().sum(dim).max(-1).values for dim in (-2, -1))
    z = a.transpose(-1, -2) / (one * inf)[..., None, None]
    identity = torch.eye(a.shape[-1]).to(a)
    for _ in range(num_iterations):
        az = a @ z
        z = 0.25 * z @ (13 * identity - az @ (15 * identity - az @ (7 * identity - az)))
    return z


def pinv_by_powers(a, num_iterations):
    norms = torch.linalg.matrix_norm(a, 1) * torch.linalg.matrix_norm(a, torch.inf)
    z = torch.einsum("...ij->...ji", a) / norms.unsqueeze(-1).unsqueeze(-1)
    for _ in range(num_iterations):
        za = torch.einsum("...ij,...jk->...ik", z, a)
        terms = [z]
        for _ in range(3):
            terms.append(za @ terms[-1])
        z = (13 * terms[0] - 15 * terms[1] + 7 * terms[2] - terms[3]) / 4
    return z


def nystrom_factors(q, k, v, num_landmarks, num_iterations):
    q, k = q / q.shape[-1] ** 0.25, k / k.shape[-1] ** 0.25
    q_landmarks, k_landmarks = (means_by_adding_up(x, num_landmarks) for x in (q, k))
    first, middle, last = (
        torch.softmax(queries @ keys.transpose(-1, -2), dim=-1)
        for queries, keys in ((q, k_landmarks), (q_landmarks, k_landmarks), (q_landmarks, k))
    )
    return (first @ pinv_by_the_formula(middle, num_iterations)) @ (last @ v)


def nystrom_einsum(q, k, v, num_landmarks, num_iterations):
    q = q * q.shape[-1] ** -0.5
    q_landmarks = means_with_padding_not_counted(q, num_landmarks)
    k_landmarks = means_with_padding_not_counted(k, num_landmarks)
    middle = torch.einsum("...id,...jd->...ij", q_landmarks, k_landmarks).softmax(-1)
    last = torch.einsum("...id,...nd->...in", q_landmarks, k).softmax(-1)
    first = torch.einsum("...nd,...jd->...nj", q, k_landmarks).softmax(-1)
    read = torch.einsum("...in,...ne->...ie", last, v)
    read = torch.einsum("...ji,...ie->...je", pinv_by_powers(middle, num_iterations), read)
    return torch.einsum("...nj,...je->...ne", first, read)


RIGHT = {
    "attention_spectrum": [spectrum_by_full_decomposition, spectrum_by_symmetric_embedding],
    "effective_rank": [
        rank_by_what_is_left_out,
        rank_by_loops,
        rank_by_a_search,
    ],
    "linformer_attention": [linformer_einsum, linformer_by_linear_layers],
    "johnson_lindenstrauss_projection": [projection_by_columns, projection_of_signs],
    "distortion": [distortion_by_pairs, distortion_of_all_differences],
    "segment_means": [means_by_adding_up, means_with_padding_not_counted],
    "iterative_pinv": [pinv_by_the_formula, pinv_by_powers],
    "nystrom_attention": [nystrom_factors, nystrom_einsum],
}

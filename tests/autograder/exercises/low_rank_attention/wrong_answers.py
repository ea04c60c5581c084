"""Wrong versions of the exercises of 03_low_rank_attention that look right at first sight."""

import torch
import torch.nn.functional as F

from solutions import low_rank_attention as right


def spectrum_of_the_mean_over_the_batch(attention):
    values = torch.linalg.svdvals(attention)
    return values.mean(dim=0, keepdim=True).expand_as(values)


def spectrum_of_centred_columns(attention):
    return torch.linalg.svdvals(attention - attention.mean(dim=-2, keepdim=True))


def rank_as_in_roy_and_vetterli(attention, energy):
    shares = F.normalize(torch.linalg.svdvals(attention), p=1, dim=-1)
    return (-(shares * shares.log()).nansum(-1)).exp()


def rank_with_a_margin(attention, energy):
    return right.effective_rank(attention, energy + 0.005)


def keys_and_values_change_projections(q, k, v, e, f):
    return right.linformer_attention(q, k, v, f, e)


def projections_normalised(q, k, v, e, f):
    return right.linformer_attention(q, k, v, e / e.norm(dim=0), f / f.norm(dim=0))


def always_float32(q, k, v, e, f):
    return right.linformer_attention(*(x.float() for x in (q, k, v, e, f)))


def projections_without_gradients(q, k, v, e, f):
    return right.linformer_attention(q, k, v, e.detach(), f.detach())


def generator_of_its_own(n, k, generator):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(0)) / k**0.5


def rows_and_columns_exchanged(n, k, generator):
    return torch.randn(k, n, generator=generator) / k**0.5


def every_row_the_same(n, k, generator):
    return torch.randn(1, k, generator=generator).expand(n, k) / k**0.5


def neighbours_only(points, projection):
    x = points.diff(dim=0)
    return ((x @ projection).square().sum(-1) / x.square().sum(-1) - 1).abs().max()


def ratio_of_the_worst_to_the_best(points, projection):
    ratio = torch.pdist(points @ projection) / torch.pdist(points)
    return ratio.max().square() / ratio.min().square() - 1


def segments_of_the_rounded_up_length(x, num_landmarks):
    length = -(-x.shape[-2] // num_landmarks)
    segments = x.split(length, dim=-2)
    means = torch.stack([segment.mean(dim=-2) for segment in segments], dim=-2)
    return F.pad(means, (0, 0, 0, num_landmarks - len(segments)))


def medians(x, num_landmarks):
    return torch.stack([s.median(dim=-2).values for s in x.tensor_split(num_landmarks, -2)], -2)


def means_without_gradients(x, num_landmarks):
    return right.segment_means(x.detach(), num_landmarks) + 0 * x.sum()


def one_iteration_more(a, num_iterations):
    return right.iterative_pinv(a, num_iterations + 1)


def start_with_the_frobenius_norm(a, num_iterations):
    z = a.mT / a.square().sum(dim=(-2, -1), keepdim=True)
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        residual = identity - a @ z
        z = z @ (identity + residual @ (identity + residual @ (identity + residual / 4)))
    return z


def third_order_without_the_last_term(a, num_iterations):
    norms = a.abs().sum(dim=-2).amax(dim=-1) * a.abs().sum(dim=-1).amax(dim=-1)
    z, identity = a.mT / norms[..., None, None], torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        residual = identity - a @ z
        z = z @ (identity + residual + residual @ residual)
    return z


def iterations_fixed_at_six(q, k, v, num_landmarks, num_iterations):
    return right.nystrom_attention(q, k, v, num_landmarks, 6)


def softmax_of_landmarks_alone(q, k, v, num_landmarks, num_iterations):
    k_landmarks, v_landmarks = (right.segment_means(x, num_landmarks) for x in (k, v))
    return F.scaled_dot_product_attention(q, k_landmarks, v_landmarks)


def softmax_attention_itself(q, k, v, num_landmarks, num_iterations):
    return F.scaled_dot_product_attention(q, k, v)


def inverse_with_a_ridge(q, k, v, num_landmarks, num_iterations):
    q_landmarks, k_landmarks = (right.segment_means(x, num_landmarks) for x in (q, k))
    middle = (q_landmarks @ k_landmarks.mT * q.shape[-1] ** -0.5).softmax(dim=-1)
    ridge = 1e-3 * torch.eye(num_landmarks, dtype=q.dtype)
    inverse = right.iterative_pinv(middle + ridge, num_iterations)
    answers = F.scaled_dot_product_attention(q_landmarks, k, v)
    return F.scaled_dot_product_attention(q, k_landmarks, inverse @ answers)


def small_values_dropped(attention):
    values = torch.linalg.svdvals(attention)
    return values.where(values > 2e-3, 0.0)


def shares_of_a_sum(attention, energy):
    squares = torch.linalg.svdvals(attention).square()
    shares = (squares / squares.sum(-1, keepdim=True)).cumsum(-1)
    return (shares < energy).sum(-1) + 1


def values_left_as_they_are(q, k, v, e, f):
    return F.scaled_dot_product_attention(q, e.mT @ k, v)


def transposed_on_the_way(q, k, v, e, f):
    return right.linformer_attention(q, k, v, e, f).mT


def columns_drawn_with_variance_1(n, k, generator):
    return torch.stack([torch.randn(n, generator=generator) for _ in range(k)], dim=1)


def signs_divided_by_root_n(n, k, generator):
    return (2 * torch.randint(2, (k, n), generator=generator) - 1).T / n**0.5


def coin_flips(n, k, generator):
    return torch.randint(2, (n, k), generator=generator) / k**0.5


def variance_of_xavier(n, k, generator):
    return torch.randn(n, k, generator=generator) * (2 / (n + k)) ** 0.5


def coordinates_picked(n, k, generator):
    picked = torch.randint(n, (k,), generator=generator)
    return F.one_hot(picked, n).T * (n / k) ** 0.5


def nobodys_generator(n, k, generator):
    return torch.normal(0.0, k**-0.5, (n, k))


def worst_ratio(points, projection):
    ratio = torch.pdist(points @ projection).square() / torch.pdist(points).square()
    return ratio.max()


def all_pairs_with_themselves(points, projection):
    x = points.unsqueeze(0) - points.unsqueeze(1)
    ratio = torch.linalg.norm(x @ projection, dim=-1) ** 2 / torch.linalg.norm(x, dim=-1) ** 2
    return (ratio - 1).abs().max()


def borders_by_linspace(x, num_landmarks):
    borders = torch.linspace(0, x.shape[-2], num_landmarks + 1).round().long().tolist()[1:-1]
    return torch.stack([s.mean(-2) for s in x.tensor_split(borders, -2)], -2)


def first_tokens(x, num_landmarks):
    return torch.stack([s[..., 0, :] for s in x.tensor_split(num_landmarks, -2)], -2)


def until_nothing_changes(a, num_iterations):
    return right.iterative_pinv(a, 40)


def mean_of_the_norms(a, num_iterations):
    rows, columns = a.abs().sum(-1).amax(-1), a.abs().sum(-2).amax(-1)
    z = a.mT / ((rows + columns) / 2)[..., None, None].square()
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        r = identity - a @ z
        z = z @ (identity + r @ (identity + r @ (identity + r / 4)))
    return z


def both_divided_by_root_d(q, k, v, num_landmarks, num_iterations):
    q, k = (x / x.shape[-1] ** 0.5 for x in (q, k))
    q_landmarks, k_landmarks = (right.segment_means(x, num_landmarks) for x in (q, k))
    inverse = right.iterative_pinv((q_landmarks @ k_landmarks.mT).softmax(-1), num_iterations)
    answers = (q_landmarks @ k.mT).softmax(-1) @ v
    return (q @ k_landmarks.mT).softmax(-1) @ (inverse @ answers)


def exact_where_it_can_be(q, k, v, num_landmarks, num_iterations):
    if num_landmarks == q.shape[-2] == k.shape[-2]:
        return F.scaled_dot_product_attention(q, k, v)
    return right.nystrom_attention(q, k, v, num_landmarks, num_iterations)


# Exercise -> wrong version -> the mistake that its report names, if it names one.
WRONG = {
    "attention_spectrum": {
        small_values_dropped: "",
        spectrum_of_the_mean_over_the_batch: "",
        spectrum_of_centred_columns: "columns centred",
    },
    "effective_rank": {
        shares_of_a_sum: "",
        rank_as_in_roy_and_vetterli: "exponential of the entropy",
        rank_with_a_margin: "",
    },
    "linformer_attention": {
        values_left_as_they_are: "values not projected",
        transposed_on_the_way: "",
        keys_and_values_change_projections: "e and f exchanged",
        projections_normalised: "",
        always_float32: "fewer digits than it was given",
        projections_without_gradients: "gradients cut off on the way",
    },
    "johnson_lindenstrauss_projection": {
        columns_drawn_with_variance_1: "variance left at 1",
        signs_divided_by_root_n: "columns of length 1",
        coin_flips: "no negative entry",
        variance_of_xavier: "",
        coordinates_picked: "",
        nobodys_generator: "generator ignored",
        generator_of_its_own: "the same numbers at each call",
        rows_and_columns_exchanged: "rows and columns exchanged",
        every_row_the_same: "one row repeated",
    },
    "distortion": {
        worst_ratio: "largest ratio",
        all_pairs_with_themselves: "points paired with themselves",
        neighbours_only: "neighbours only",
        ratio_of_the_worst_to_the_best: "",
    },
    "segment_means": {
        borders_by_linspace: "",
        first_tokens: "first token of each segment",
        segments_of_the_rounded_up_length: "",
        medians: "medians instead of means",
        means_without_gradients: "gradients cut off on the way",
    },
    "iterative_pinv": {
        until_nothing_changes: "exact pseudo inverse",
        mean_of_the_norms: "",
        one_iteration_more: "one iteration too many",
        start_with_the_frobenius_norm: "start scaled by the frobenius norm",
        third_order_without_the_last_term: "without the last term",
    },
    "nystrom_attention": {
        both_divided_by_root_d: "scaled twice",
        exact_where_it_can_be: "softmax attention where every token is a landmark",
        iterations_fixed_at_six: "always six iterations",
        softmax_of_landmarks_alone: "attention to landmarks alone",
        softmax_attention_itself: "no landmarks",
        inverse_with_a_ridge: "",
    },
}

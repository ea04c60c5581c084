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


# Exercise -> wrong version -> the mistake that its report names, if it names one.
WRONG = {
    "attention_spectrum": {
        spectrum_of_the_mean_over_the_batch: "",
        spectrum_of_centred_columns: "",
    },
    "effective_rank": {rank_as_in_roy_and_vetterli: "", rank_with_a_margin: ""},
    "linformer_attention": {
        keys_and_values_change_projections: "",
        projections_normalised: "",
        always_float32: "",
        projections_without_gradients: "",
    },
    "johnson_lindenstrauss_projection": {
        generator_of_its_own: "",
        rows_and_columns_exchanged: "",
        every_row_the_same: "",
    },
    "distortion": {neighbours_only: "", ratio_of_the_worst_to_the_best: ""},
    "segment_means": {
        segments_of_the_rounded_up_length: "",
        medians: "",
        means_without_gradients: "",
    },
    "iterative_pinv": {
        one_iteration_more: "",
        start_with_the_frobenius_norm: "",
        third_order_without_the_last_term: "",
    },
    "nystrom_attention": {
        iterations_fixed_at_six: "",
        softmax_of_landmarks_alone: "",
        softmax_attention_itself: "",
        inverse_with_a_ridge: "",
    },
}

"""Wrong versions of the exercise of 02_linear_attention on the global filter."""

import torch

from solutions import linear_attention as right
from solutions.mistakes import mistake


@mistake(
    right.global_filter,
    "irfft is not told the length. It then assumes 2 · (frequencies − 1), which is one too few "
    "when n is odd.",
)
def length_not_given(x, weights):
    return torch.fft.irfft(torch.fft.rfft(x, dim=-2) * weights, dim=-2)


@mistake(
    right.global_filter,
    "There is no transform back: the result is the filtered spectrum, not a sequence.",
)
def not_transformed_back(x, weights):
    spectrum = torch.fft.fft(x, dim=-2)
    n = x.shape[-2]
    mirrored = weights[1 : (n + 1) // 2].flip(0).conj()
    return (spectrum * torch.cat([weights, mirrored])).real


@mistake(
    right.global_filter,
    "Only the real part of the weights takes effect: it was taken, or the weights were mirrored to "
    "all n frequencies without conjugating them (rfft and irfft do that for you). Their phase "
    "is what shifts a frequency in time; without it every filter is symmetric.",
)
def phase_of_weights_dropped(x, weights):
    return right.global_filter(x, weights.real + 0j)


@mistake(
    right.global_filter,
    "The two transforms scale differently: one divides by √n, the other by n. Use the same `norm` "
    "for both.",
)
def transforms_scaled_differently(x, weights):
    spectrum = torch.fft.rfft(x, dim=-2, norm="ortho") * weights
    return torch.fft.irfft(spectrum, n=x.shape[-2], dim=-2)


@mistake(
    right.global_filter,
    "The weights are conjugated, which turns the kernel round in time: y_t = Σ h_s x_{t+s}.",
)
def weights_conjugated(x, weights):
    return right.global_filter(x, weights.conj())


@mistake(
    right.global_filter,
    "Only the absolute value of the weights is used. Their phase is what shifts a frequency in "
    "time.",
)
def absolute_value_of_weights(x, weights):
    return right.global_filter(x, weights.abs() + 0j)


@mistake(
    right.global_filter,
    "Half of the frequencies are set to 0. The rows of `weights` are those from 0 to n/2; of the "
    "others, in a full transform, the weights are the conjugates. rfft and irfft do it for you.",
)
def other_half_left_out(x, weights):
    spectrum = torch.fft.fft(x, dim=-2)[..., : len(weights), :] * weights
    return torch.fft.ifft(spectrum, n=x.shape[-2], dim=-2).real


@mistake(
    right.global_filter,
    "The convolution does not wrap around: the sequence was padded with zeros. A product of "
    "spectra of length n is a circular convolution, which is what is asked for.",
)
def no_wrap_around(x, weights):
    n = x.shape[-2]
    kernel = torch.fft.irfft(weights, n=n, dim=-2)
    spectrum = torch.fft.rfft(x, n=2 * n, dim=-2) * torch.fft.rfft(kernel, n=2 * n, dim=-2)
    return torch.fft.irfft(spectrum, n=2 * n, dim=-2)[..., :n, :]


@mistake(
    right.global_filter,
    "The input is added to the result. A residual connection belongs to the layer around it.",
)
def input_added(x, weights):
    return x + right.global_filter(x, weights)


@mistake(
    right.global_filter,
    "The weights are added to the spectrum. They multiply it, each its frequency.",
)
def weights_added(x, weights):
    return torch.fft.irfft(torch.fft.rfft(x, dim=-2) + weights, n=x.shape[-2], dim=-2)


@mistake(
    right.global_filter,
    "No gradient reaches the weights: they are detached, or only their data is used. They are "
    "what is learned.",
)
def weights_detached(x, weights):
    return right.global_filter(x, weights.detach())


@mistake(
    right.global_filter,
    "No gradient reaches the input: it is detached, and so are all layers before this one.",
)
def input_detached(x, weights):
    return right.global_filter(x.detach(), weights)


@mistake(
    right.global_filter,
    "The result is complex. irfft gives real numbers; of ifft take the real part.",
)
def complex_result(x, weights):
    return torch.fft.ifft(torch.fft.fft(x, dim=-2), dim=-2)


@mistake(
    right.global_filter,
    "There is no transform back: the filtered spectrum comes back, half as long as the sequence.",
)
def spectrum_returned(x, weights):
    return (torch.fft.rfft(x, dim=-2) * weights).real


@mistake(
    right.global_filter,
    "The result always has an odd length, 2 · (frequencies) − 1. Give irfft the length of x.",
)
def always_an_odd_length(x, weights):
    return torch.fft.irfft(torch.fft.rfft(x, dim=-2) * weights, n=2 * len(weights) - 1, dim=-2)


@mistake(
    right.global_filter,
    "The spectrum of the input is conjugated: the sequence runs backwards.",
)
def input_conjugated(x, weights):
    spectrum = torch.fft.rfft(x, dim=-2).conj() * weights
    return torch.fft.irfft(spectrum, n=x.shape[-2], dim=-2)


@mistake(
    right.global_filter,
    "Frequency 0, the mean of the sequence, is lost. Its weight is the first row.",
)
def mean_lost(x, weights):
    return right.global_filter(x - x.mean(dim=-2, keepdim=True), weights)

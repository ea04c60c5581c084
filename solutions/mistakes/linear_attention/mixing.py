"""Wrong versions of the exercises of 02_linear_attention on Fourier mixing."""

import torch

from solutions import linear_attention as right
from solutions.mistakes import mistake


@mistake(
    right.fourier_mixing,
    "The absolute value of the transform is returned. FNet keeps the real part: the absolute value "
    "forgets signs and has no gradient at 0.",
)
def absolute_value_instead_of_real_part(x):
    return torch.fft.fft2(x).abs()


@mistake(
    right.fourier_mixing,
    "The result is complex: the imaginary part was kept. FNet keeps the real part.",
)
def imaginary_part_kept(x):
    return torch.fft.fft2(x)


@mistake(
    right.fourier_mixing,
    "Only the tokens are transformed. FNet transforms over tokens and over channels.",
)
def only_over_tokens(x):
    return torch.fft.fft(x, dim=-2).real


@mistake(
    right.fourier_mixing,
    "Only the channels are transformed, so tokens do not mix at all. FNet transforms both axes.",
)
def only_over_channels(x):
    return torch.fft.fft(x, dim=-1).real


@mistake(
    right.fourier_mixing,
    "fftshift moves frequency 0 to the middle. FNet leaves the order of the transform as it is.",
)
def frequencies_shifted(x):
    return torch.fft.fftshift(torch.fft.fft2(x), dim=(-2, -1)).real


@mistake(
    right.fourier_mixing,
    "The real part is taken after each transform. What the first leaves in its imaginary part is "
    "needed by the second: take the real part once, at the end.",
)
def real_part_taken_twice(x):
    return torch.fft.fft(torch.fft.fft(x, dim=-1).real, dim=-2).real


@mistake(
    right.fourier_mixing,
    "The transform runs over the batch as well, and mixes sequences that have nothing to do with "
    "each other. Only the last two dimensions are tokens and channels.",
)
def transformed_over_the_batch(x):
    return torch.fft.fftn(x).real


@mistake(
    right.fourier_mixing,
    "The transform is scaled by 1/√(n·d). FNet's is the plain sum, without a factor.",
)
def transform_scaled(x):
    return torch.fft.fft2(x, norm="ortho").real


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
    "Only the real part of the weights is used. Their phase is what shifts a frequency in time; "
    "without it every filter is symmetric.",
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

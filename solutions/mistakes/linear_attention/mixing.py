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
    right.fourier_mixing,
    "The imaginary part is returned. FNet keeps the real part.",
)
def imaginary_part_instead(x):
    return torch.fft.fft2(x).imag


@mistake(
    right.fourier_mixing,
    "The result is divided by n·d: it is the inverse transform, or scaled as that. FNet's is the "
    "plain sum, without a factor.",
)
def divided_by_n_d(x):
    return torch.fft.fft2(x, norm="forward").real


@mistake(
    right.fourier_mixing,
    "rfft2 returns half of the channels' frequencies. The result must be as large as x: use fft2.",
)
def half_of_the_frequencies(x):
    return torch.fft.rfft2(x).real


@mistake(
    right.fourier_mixing,
    "The other half of the frequencies is the first one mirrored over channels only. The tokens' "
    "frequencies are mirrored too: X[j, k] is the conjugate of X[−j, −k].",
)
def mirrored_over_channels_only(x):
    half = torch.fft.rfft2(x).real
    return torch.cat([half, half[..., 1 : (x.shape[-1] + 1) // 2].flip(-1)], dim=-1)


@mistake(
    right.fourier_mixing,
    "fftshift without dim moves frequency 0 to the middle, and batches and heads to other places. "
    "FNet leaves the order of the transform as it is.",
)
def all_axes_shifted(x):
    return torch.fft.fftshift(torch.fft.fft2(x)).real


@mistake(
    right.fourier_mixing,
    "x is added to the result. The residual connection belongs to the layer around it.",
)
def input_added(x):
    return x + torch.fft.fft2(x).real


@mistake(
    right.fourier_mixing,
    "The channels are transformed twice and the tokens not at all. One transform has dim=-1, the "
    "other dim=-2.",
)
def channels_transformed_twice(x):
    return torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-1).real


@mistake(
    right.fourier_mixing,
    "The second transform runs over the first axis, the batch, and mixes sequences that have "
    "nothing to do with each other. Count from the end: tokens are dim=-2.",
)
def first_axis_for_tokens(x):
    return torch.fft.fft(torch.fft.fft(x, dim=-1), dim=0).real


@mistake(
    right.fourier_mixing,
    "The transform is undone: transformed forward and back, x returns.",
)
def transformed_forward_and_back(x):
    return torch.fft.irfft2(torch.fft.rfft2(x), s=x.shape[-2:])

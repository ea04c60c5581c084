"""Wrong versions of the exercise of 02_linear_attention on trigonometric features."""

import torch

from solutions import linear_attention as right
from solutions.mistakes import mistake


def _waves(x, projection, exponent):
    angles = x @ projection.mT
    return (
        torch.cat([angles.cos(), angles.sin()], dim=-1) * exponent.exp() * len(projection) ** -0.5
    )


@mistake(
    right.trigonometric_random_features,
    "Cosines alone estimate E[cos ωᵀx · cos ωᵀy], which is half of E[cos ωᵀ(x − y)] plus half of "
    "E[cos ωᵀ(x + y)]. The sines remove the second part.",
)
def cosines_without_sines(x, projection):
    half_norm = x.square().sum(dim=-1, keepdim=True) / 2
    return (x @ projection.mT).cos() * half_norm.exp() * len(projection) ** -0.5


@mistake(
    right.trigonometric_random_features,
    "Without exp(‖x‖²/2) the estimate is of the Gaussian kernel exp(−‖x − y‖²/2). The factor turns "
    "it into exp(xᵀy).",
)
def gaussian_kernel_instead(x, projection):
    angles = x @ projection.mT
    return torch.cat([angles.cos(), angles.sin()], dim=-1) * len(projection) ** -0.5


@mistake(
    right.trigonometric_random_features,
    "The features are divided by m. φ enters twice in φ(x)ᵀφ(y), so each takes 1/√m.",
)
def divided_by_m(x, projection):
    return right.trigonometric_random_features(x, projection) * len(projection) ** -0.5


@mistake(
    right.trigonometric_random_features,
    "1/√(2m) is used: there are 2m entries, but a cosine and a sine belong to one draw of ω. "
    "The mean is over m draws.",
)
def divided_by_both_halves(x, projection):
    return right.trigonometric_random_features(x, projection) * 0.5**0.5


@mistake(
    right.trigonometric_random_features,
    "The features are not divided by √m, so φ(x)ᵀφ(y) is the sum over m draws, not their mean.",
)
def not_divided_by_root_m(x, projection):
    return right.trigonometric_random_features(x, projection) * len(projection) ** 0.5


@mistake(
    right.trigonometric_random_features,
    "The features are divided by √d. The mean is over m draws, the rows of `projection`.",
)
def waves_divided_by_root_d(x, projection):
    factor = (len(projection) / x.shape[-1]) ** 0.5
    return right.trigonometric_random_features(x, projection) * factor


@mistake(
    right.trigonometric_random_features,
    "The factor is exp(−‖x‖²/2). The mean of cos ωᵀ(x − y) is exp(−‖x − y‖²/2), so the squares "
    "must be added back: exp(+‖x‖²/2).",
)
def norm_subtracted(x, projection):
    return _waves(x, projection, -x.square().sum(dim=-1, keepdim=True) / 2)


@mistake(
    right.trigonometric_random_features,
    "The factor is exp(‖x‖²). Half of ‖x‖² is to be added back.",
)
def whole_norm_added(x, projection):
    return _waves(x, projection, x.square().sum(dim=-1, keepdim=True))


@mistake(
    right.trigonometric_random_features,
    "The factor is exp(‖x‖/2): the norm was not squared.",
)
def norm_of_waves_not_squared(x, projection):
    return _waves(x, projection, x.norm(dim=-1, keepdim=True) / 2)


@mistake(
    right.trigonometric_random_features,
    "x is scaled by d^-¼ here. This function estimates exp(xᵀy) as it is given; scaling is the "
    "business of attention.",
)
def waves_scaled_inside(x, projection):
    return right.trigonometric_random_features(x * x.shape[-1] ** -0.25, projection)


@mistake(
    right.trigonometric_random_features,
    "√2 · cos alone estimates E[2 cos ωᵀx · cos ωᵀy], the mean of cos ωᵀ(x − y) plus that of "
    "cos ωᵀ(x + y). The sines remove the second part.",
)
def cosines_times_root_2(x, projection):
    half = _waves(x, projection, x.square().sum(dim=-1, keepdim=True) / 2)
    return 2**0.5 * half[..., : len(projection)]


@mistake(
    right.trigonometric_random_features,
    "The angles are multiplied by 2π. ωᵀx is the angle as it is.",
)
def angles_times_two_pi(x, projection):
    norm = x.square().sum(dim=-1, keepdim=True)
    return _waves(2 * torch.pi * x, projection, norm / 2)


@mistake(
    right.trigonometric_random_features,
    "The norm is detached. The numbers are right, the gradient leaves x out.",
)
def norm_of_waves_detached(x, projection):
    return _waves(x, projection, x.detach().square().sum(dim=-1, keepdim=True) / 2)


@mistake(
    right.trigonometric_random_features,
    "exp(‖x‖²) is computed and its root taken. For long x it overflows where exp(‖x‖²/2) does not: "
    "halve the exponent.",
)
def root_after_the_exponential(x, projection):
    squares = x.square().sum(dim=-1, keepdim=True)
    return _waves(x, projection, torch.zeros_like(squares)) * squares.exp().sqrt()


@mistake(
    right.trigonometric_random_features,
    "Sines stand where the cosines should. cos ωᵀ(x − y) = cos ωᵀx cos ωᵀy + sin ωᵀx sin ωᵀy.",
)
def sines_twice(x, projection):
    sines = _waves(x, projection, x.square().sum(dim=-1, keepdim=True) / 2)[..., len(projection) :]
    return torch.cat([sines, sines], dim=-1)

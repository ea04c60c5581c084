"""Wrong versions of the exercises of 03_low_rank_attention on the pseudo-inverse."""

import torch

from solutions import low_rank_attention as right
from solutions.mistakes import mistake


def _start(a):
    norms = a.abs().sum(dim=-2).amax(dim=-1) * a.abs().sum(dim=-1).amax(dim=-1)
    return a.mT / norms[..., None, None]


def _iterate(a, z, num_iterations):
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        az = a @ z
        z = z @ (13 * identity - az @ (15 * identity - az @ (7 * identity - az))) / 4
    return z


@mistake(
    right.iterative_pinv,
    "Z₀ is Aᵀ divided by the largest row sum only. That is 1 for a softmax matrix, so Z₀ = Aᵀ: "
    "with a column sum above 3 the iteration can run away. Divide by ‖A‖₁ ‖A‖_∞, both.",
)
def start_scaled_by_row_sums_only(a, num_iterations):
    norm = a.abs().sum(dim=-1).amax(dim=-1)
    return _iterate(a, a.mT / norm[..., None, None], num_iterations)


@mistake(
    right.iterative_pinv,
    "Z₀ is Aᵀ divided by the largest column sum only. For softmax matrices that is enough, since "
    "their rows sum to 1; for others the iteration can run away. Divide by ‖A‖₁ ‖A‖_∞, both.",
)
def start_scaled_by_column_sums_only(a, num_iterations):
    norm = a.abs().sum(dim=-2).amax(dim=-1)
    return _iterate(a, a.mT / norm[..., None, None], num_iterations)


@mistake(
    right.iterative_pinv,
    "Z₀ is Aᵀ as it is. Where A is large the iteration runs away: divide by ‖A‖₁ ‖A‖_∞.",
)
def start_not_scaled(a, num_iterations):
    return _iterate(a, a.mT, num_iterations)


@mistake(
    right.iterative_pinv,
    "Z₀ is built from A, not from Aᵀ. AZ₀ must be symmetric with eigenvalues between 0 and 1, "
    "which AAᵀ is when scaled, and AA is not.",
)
def start_not_transposed(a, num_iterations):
    return _iterate(a, _start(a).mT, num_iterations)


@mistake(
    right.iterative_pinv,
    "The norms of Z₀ are the largest of the whole batch. One large matrix then slows down all the "
    "others, and a sequence's result depends on what else is in its batch. Libraries do this too. "
    "Take the norms of each matrix: amax over its own dimension.",
)
def one_scale_for_the_whole_batch(a, num_iterations):
    norms = a.abs().sum(dim=-2).max() * a.abs().sum(dim=-1).max()
    return _iterate(a, a.mT / norms, num_iterations)


@mistake(
    right.iterative_pinv,
    "The row and column sums are of A, not of |A|: negative entries take away from them, and Z₀ is "
    "too large.",
)
def norms_without_absolute_values(a, num_iterations):
    norms = a.sum(dim=-2).amax(dim=-1) * a.sum(dim=-1).amax(dim=-1)
    return _iterate(a, a.mT / norms[..., None, None], num_iterations)


@mistake(
    right.iterative_pinv,
    "This is Newton and Schulz's iteration Z(2I − AZ), of second order. It doubles what is small "
    "in AZ each time where the paper's multiplies it by 13/4, and needs about 1.7 times as many "
    "iterations.",
)
def newton_schulz(a, num_iterations):
    z = _start(a)
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        z = z @ (2 * identity - a @ z)
    return z


@mistake(
    right.iterative_pinv,
    "This is the inverse. A softmax matrix with two equal rows has none, and one with nearly equal "
    "rows has one of huge entries. It also is no iteration.",
)
def inverse_by_elimination(a, num_iterations):
    return torch.linalg.inv(a)


@mistake(
    right.iterative_pinv,
    "This is the pseudo-inverse itself, by a decomposition or by more iterations than asked for. "
    "Few iterations leave small singular values small, and their number is given.",
)
def exact_pseudo_inverse(a, num_iterations):
    return torch.linalg.pinv(a)


@mistake(
    right.iterative_pinv,
    "The factor ¼ is missing. Near the solution the bracket is 13 − 15 + 7 − 1 = 4 times the "
    "identity.",
)
def quarter_left_out(a, num_iterations):
    z = _start(a)
    for _ in range(num_iterations):
        z = 4 * _iterate(a, z, 1)
    return z


@mistake(
    right.iterative_pinv,
    "13, 15 and 7 are added to every entry. They stand before the identity: 13I has 13 on the "
    "diagonal and 0 elsewhere.",
)
def numbers_instead_of_multiples_of_the_identity(a, num_iterations):
    z = _start(a)
    for _ in range(num_iterations):
        az = a @ z
        z = z @ (13 - az @ (15 - az @ (7 - az))) / 4
    return z


@mistake(
    right.iterative_pinv,
    "The products are taken entry by entry. Between matrices * multiplies entries; the matrix "
    "product is @.",
)
def entries_multiplied(a, num_iterations):
    z = _start(a)
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        az = a * z
        z = z * (13 * identity - az * (15 * identity - az * (7 * identity - az))) / 4
    return z


@mistake(
    right.iterative_pinv,
    "Z is computed without gradients, or detached. The middle factor depends on queries and keys, "
    "and they must learn through it.",
)
def inverse_detached(a, num_iterations):
    # Zero times a keeps the output in the graph.
    return right.iterative_pinv(a, num_iterations).detach() + 0 * a


@mistake(
    right.iterative_pinv,
    "There is one iteration too few: `num_iterations` of them come after Z₀.",
)
def one_iteration_too_few(a, num_iterations):
    return right.iterative_pinv(a, max(num_iterations - 1, 0))


@mistake(
    right.iterative_pinv,
    "There is one iteration too many: with `num_iterations` of 0 the result is Z₀.",
)
def one_iteration_too_many(a, num_iterations):
    return right.iterative_pinv(a, num_iterations + 1)


@mistake(
    right.iterative_pinv,
    "There are always six iterations, as many as the paper takes. Their number is given.",
)
def always_six_iterations(a, num_iterations):
    return right.iterative_pinv(a, 6)


@mistake(
    right.iterative_pinv,
    "The product is ZA where it should be AZ. The bracket is a polynomial in AZ, and Z stands to "
    "its left.",
)
def za_for_az(a, num_iterations):
    z = _start(a)
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        za = z @ a
        z = z @ (13 * identity - za @ (15 * identity - za @ (7 * identity - za))) / 4
    return z


@mistake(
    right.iterative_pinv,
    "Z stands to the right of the bracket. With AZ inside it stands to the left: Z(13I − …).",
)
def z_on_the_wrong_side(a, num_iterations):
    z = _start(a)
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        az = a @ z
        z = (13 * identity - az @ (15 * identity - az @ (7 * identity - az))) @ z / 4
    return z


@mistake(
    right.iterative_pinv,
    "This is the iteration of third order Z(3I − AZ(3I − AZ)), Z(I + R + R²). The paper's has a "
    "fourth term, R³/4.",
)
def without_the_last_term(a, num_iterations):
    z = _start(a)
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        az = a @ z
        z = z @ (3 * identity - az @ (3 * identity - az))
    return z


@mistake(
    right.iterative_pinv,
    "13 and 7 have changed places: it is 13I − AZ(15I − AZ(7I − AZ)), from the outside.",
)
def numbers_from_the_inside(a, num_iterations):
    z = _start(a)
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        az = a @ z
        z = z @ (7 * identity - az @ (15 * identity - az @ (13 * identity - az))) / 4
    return z


@mistake(
    right.iterative_pinv,
    "Z₀ is divided by the sum of all entries of |A|. ‖A‖₁ is the largest column sum, ‖A‖_∞ the "
    "largest row sum: divide by their product.",
)
def start_scaled_by_the_sum_of_all_entries(a, num_iterations):
    return _iterate(a, a.mT / a.abs().sum(dim=(-2, -1), keepdim=True), num_iterations)


@mistake(
    right.iterative_pinv,
    "Z₀ is divided by the square of the largest row sum. One norm is of the rows, ‖A‖_∞, the other "
    "of the columns, ‖A‖₁.",
)
def row_sums_for_both_norms(a, num_iterations):
    norm = a.abs().sum(dim=-1).amax(dim=-1)
    return _iterate(a, a.mT / norm.square()[..., None, None], num_iterations)


@mistake(
    right.iterative_pinv,
    "Z₀ is divided by the square of the Frobenius norm, the sum of all squares. It would do, but "
    "here Z₀ is Aᵀ / (‖A‖₁ ‖A‖_∞).",
)
def start_scaled_by_the_frobenius_norm(a, num_iterations):
    return _iterate(a, a.mT / a.square().sum(dim=(-2, -1), keepdim=True), num_iterations)


@mistake(
    right.iterative_pinv,
    "Z₀ is divided by the square of the spectral norm, the largest singular value. To know that "
    "takes a decomposition: ‖A‖₁ ‖A‖_∞ is never smaller, and takes two sums.",
)
def start_scaled_by_the_spectral_norm(a, num_iterations):
    norm = torch.linalg.matrix_norm(a, ord=2)
    return _iterate(a, a.mT / norm.square()[..., None, None], num_iterations)


@mistake(
    right.iterative_pinv,
    "Z₀ is the identity. The iteration converges from Aᵀ / (‖A‖₁ ‖A‖_∞) whatever A is, and from "
    "the identity only for few.",
)
def start_with_the_identity(a, num_iterations):
    identity = torch.eye(a.shape[-1], dtype=a.dtype).expand(a.shape)
    return _iterate(a, identity, num_iterations)


@mistake(
    right.iterative_pinv,
    "The numbers are right, but Z₀ is detached. Its gradient is a part of A's.",
)
def start_detached(a, num_iterations):
    return _iterate(a, _start(a).detach(), num_iterations)


@mistake(
    right.iterative_pinv,
    "The numbers are right, but the norms by which Z₀ is divided are detached. They depend on A, "
    "and their gradient is a part of A's.",
)
def norms_detached(a, num_iterations):
    norms = a.abs().sum(dim=-2).amax(dim=-1) * a.abs().sum(dim=-1).amax(dim=-1)
    return _iterate(a, a.mT / norms.detach()[..., None, None], num_iterations)


@mistake(
    right.iterative_pinv,
    "Z₀ is divided by the mean column sum and the mean row sum. ‖A‖₁ and ‖A‖_∞ are the largest.",
)
def start_scaled_by_mean_sums(a, num_iterations):
    norms = a.abs().sum(dim=-2).mean(dim=-1) * a.abs().sum(dim=-1).mean(dim=-1)
    return _iterate(a, a.mT / norms[..., None, None], num_iterations)


@mistake(
    right.iterative_pinv,
    "Z₀ is divided by the smallest column sum and the smallest row sum. ‖A‖₁ and ‖A‖_∞ are the "
    "largest.",
)
def start_scaled_by_the_smallest_sums(a, num_iterations):
    norms = a.abs().sum(dim=-2).amin(dim=-1) * a.abs().sum(dim=-1).amin(dim=-1)
    return _iterate(a, a.mT / norms[..., None, None], num_iterations)


@mistake(
    right.iterative_pinv,
    "Z₀ is divided by the square of the largest entry. ‖A‖₁ and ‖A‖_∞ are the largest column sum "
    "and row sum of |A|.",
)
def start_scaled_by_the_largest_entry(a, num_iterations):
    return _iterate(a, a.mT / a.abs().amax(dim=(-2, -1), keepdim=True).square(), num_iterations)


@mistake(
    right.iterative_pinv,
    "A sign is wrong: the brackets are 13I − AZ(15I − AZ(7I − AZ)), with a minus everywhere.",
)
def a_sign_turned(a, num_iterations):
    z = _start(a)
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(num_iterations):
        az = a @ z
        z = z @ (13 * identity - az @ (15 * identity + az @ (7 * identity - az))) / 4
    return z


@mistake(
    right.iterative_pinv,
    "The result is transposed: Z₀ is Aᵀ over the two norms, and nothing else is turned.",
)
def result_transposed(a, num_iterations):
    return right.iterative_pinv(a, num_iterations).mT


@mistake(
    right.iterative_pinv,
    "The start is divided by the square of one norm. It is the product of two: the largest column "
    "sum and the largest row sum.",
)
def largest_column_sum_squared(a, num_iterations):
    norm = a.abs().sum(dim=-2).amax(dim=-1)
    return _iterate(a, a.mT / norm[..., None, None].square(), num_iterations)


@mistake(
    right.iterative_pinv,
    "An iteration is Z(I + R + R² + R³). In the paper's the last term is a quarter: "
    "Z(I + R + R² + ¼R³) for R = I − AZ.",
)
def last_term_without_its_quarter(a, num_iterations):
    identity, z = torch.eye(a.shape[-1], dtype=a.dtype), _start(a)
    for _ in range(num_iterations):
        residual = identity - a @ z
        z = z @ (identity + residual @ (identity + residual @ (identity + residual)))
    return z

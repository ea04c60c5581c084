"""What the functions of 03_low_rank_attention compute, with no care for cost."""

import torch
from torch import Tensor


def rank_that_keeps(singular_values: list[float], energy: float) -> int:
    """How many of the largest singular values hold the share `energy` of the sum of squares."""
    squares = sorted((value**2 for value in singular_values), reverse=True)
    kept = 0.0
    for rank, square in enumerate(squares, start=1):
        kept += square
        if kept >= energy * sum(squares):
            return rank
    return len(squares)


def attention_over_mixtures(q: Tensor, k: Tensor, v: Tensor, e: Tensor, f: Tensor) -> Tensor:
    """Linformer, one mixture of tokens and one query at a time; all but e and f are (..., n, d)."""
    keys, values = [], []
    for j in range(e.shape[1]):
        keys.append(sum(e[i, j] * k[..., i, :] for i in range(e.shape[0])))
        values.append(sum(f[i, j] * v[..., i, :] for i in range(f.shape[0])))
    rows = []
    for t in range(q.shape[-2]):
        scores = torch.stack([(q[..., t, :] * key).sum(dim=-1) for key in keys], dim=-1)
        weights = (scores / q.shape[-1] ** 0.5).softmax(dim=-1)  # (..., k)
        rows.append(sum(weights[..., j, None] * value for j, value in enumerate(values)))
    return torch.stack(rows, dim=-2)


def distortions(points: Tensor, projection: Tensor) -> Tensor:
    """|‖Eᵀx‖²/‖x‖² − 1| for the difference x of each two of the points (p, n), a pair at a time."""
    found = []
    for i in range(len(points)):
        for j in range(i):
            x = points[i] - points[j]
            found.append(((x @ projection).square().sum() / x.square().sum() - 1).abs())
    return torch.stack(found)


def means_of_segments(x: Tensor, num_landmarks: int) -> Tensor:
    """Average (..., n, d) over segments, one at a time: (..., num_landmarks, d)."""
    length, longer = divmod(x.shape[-2], num_landmarks)
    means, start = [], 0
    for j in range(num_landmarks):
        end = start + length + (1 if j < longer else 0)
        means.append(x[..., start:end, :].mean(dim=-2))
        start = end
    return torch.stack(means, dim=-2)


def iterated_on_a_number(sigma: float, norms: float, num_iterations: int) -> float:
    """What `num_iterations` make of one singular value: near 1/σ where it is large enough.

    norms is ‖A‖₁ ‖A‖_∞ of the matrix A that σ belongs to.
    """
    z = sigma / norms
    for _ in range(num_iterations):
        z = z * (13 - sigma * z * (15 - sigma * z * (7 - sigma * z))) / 4
    return z


def nystrom_matrix(q: Tensor, k: Tensor, q_landmarks: Tensor, k_landmarks: Tensor) -> Tensor:
    """The n × n matrix that stands for softmax attention, its middle factor inverted exactly."""

    def weights(queries: Tensor, keys: Tensor) -> Tensor:
        return (queries @ keys.mT / q.shape[-1] ** 0.5).softmax(dim=-1)

    inverse = torch.linalg.pinv(weights(q_landmarks, k_landmarks))
    return weights(q, k_landmarks) @ inverse @ weights(q_landmarks, k)

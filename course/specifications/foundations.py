"""What the functions of 00_foundations compute, with no care for cost."""

import math

import torch
from torch import Tensor

from course.measure import count_cost, one_thread


def attention_query_by_query(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """Softmax attention, one query at a time, with the exponentials written out.

    q, k, v are (..., n, d); mask is True where a query sees a key, and broadcasts to
    (..., n_q, n_k). Returns (..., n_q, d_v); zeros for a query that sees no key.
    """
    n_q, n_k, d = q.shape[-2], k.shape[-2], q.shape[-1]
    visible = torch.ones(n_q, n_k, dtype=torch.bool)
    if mask is not None:
        visible = visible & mask
    rows = []
    for i in range(n_q):
        seen = visible[..., i, :]
        if causal:
            seen = seen & (torch.arange(n_k) <= i)
        logits = (q[..., i : i + 1, :] * k).sum(dim=-1) / d**0.5  # (..., n_k)
        # Any number may be subtracted; with the largest, no exponential is above 1.
        logits = logits - logits.where(seen, -1e30).amax(dim=-1, keepdim=True).detach()
        weights = logits.where(seen, -torch.inf).exp()
        total = weights.sum(dim=-1, keepdim=True)
        weights = weights / total.where(total > 0, 1.0)
        rows.append((weights.unsqueeze(-1) * v).sum(dim=-2))
    return torch.stack(rows, dim=-2)


def heads_one_by_one(
    x: Tensor,
    w_q: Tensor,
    w_k: Tensor,
    w_v: Tensor,
    w_o: Tensor,
    num_heads: int,
    causal: bool = False,
) -> Tensor:
    """Multi-head attention, one head at a time: each has its own rows of the weights.

    x is (..., n, d_model), a weight (outputs, inputs). Returns (..., n, rows of w_o).
    """
    heads = [
        attention_query_by_query(x @ rows_q.T, x @ rows_k.T, x @ rows_v.T, causal=causal)
        for rows_q, rows_k, rows_v in zip(
            *(w.chunk(num_heads) for w in (w_q, w_k, w_v)), strict=True
        )
    ]
    return torch.cat(heads, dim=-1) @ w_o.T


@one_thread()
def count_attention(n: int, d: int, num_heads: int, bytes_per_element: int) -> tuple[int, int, int]:
    """Run softmax attention and count: (FLOPs, bytes of the score matrices, bytes of the inputs).

    Counted are the two matrix products, q kᵀ and weights times v, with 2 FLOPs for a multiply and
    an add, and no projection; the scores of all heads; and q, k and v, each (num_heads, n, d), of
    numbers with 2, 4 or 8 bytes.
    """
    dtype = {2: torch.bfloat16, 4: torch.float32, 8: torch.float64}[bytes_per_element]
    q, k, v = torch.ones(3, num_heads, n, d, dtype=dtype)
    weights = (torch.bmm(q, k.mT) / d**0.5).softmax(dim=-1)
    scoring = count_cost(lambda: torch.bmm(q, k.mT))
    averaging = count_cost(lambda: torch.bmm(weights, v))
    score_bytes = scoring.largest_tensor * bytes_per_element
    return scoring.work + averaging.work, score_bytes, sum(x.nbytes for x in (q, k, v))


def misfit(sizes: list[float], costs: list[float], exponent: float) -> float:
    """How badly c·size^exponent fits the costs, with the best c: squared differences of logarithms.

    The exponent that makes it smallest is the slope of log(cost) over log(size).
    """
    gaps = [
        math.log(cost) - exponent * math.log(size) for size, cost in zip(sizes, costs, strict=True)
    ]
    best = sum(gaps) / len(gaps)  # log c
    return sum((gap - best) ** 2 for gap in gaps)


def best_error(matrix: Tensor, rank: int) -> Tensor:
    """The smallest Frobenius norm of `matrix` minus any matrix of that rank, by Eckart and Young.

    matrix is (..., rows, columns). Returns (...): √(Σσ²) over the singular values left out.
    """
    return torch.linalg.svdvals(matrix)[..., rank:].square().sum(dim=-1).sqrt()


def frobenius_norm(matrix: Tensor) -> float:
    """The root of the sum of squares of one matrix, entry by entry."""
    return sum(entry**2 for row in matrix.tolist() for entry in row) ** 0.5

"""What the functions of 05_hardware_aware_attention compute, with no care for cost."""
# ruff: noqa: E741  (l is the papers' letter)

import math

import torch
from torch import Tensor

from course.measure import one_thread


def attained_flops(flops: float, bytes: float, peak_flops: float, bandwidth: float) -> float:
    """The FLOP/s of a run that computes and moves at the same time: the slower one takes longer.

    `peak_flops` is in FLOP/s, `bandwidth` in bytes per second.
    """
    seconds = max(flops / peak_flops, bytes / bandwidth)
    return flops / seconds


def softmax_number_by_number(row: list[float]) -> list[float]:
    """The softmax of one row; zeros if it holds nothing but −∞."""
    largest = max(row)
    if largest == -math.inf:
        return [0.0] * len(row)
    weights = [math.exp(x - largest) for x in row]
    return [weight / sum(weights) for weight in weights]


def attention_and_logsumexp(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    """Softmax attention, one query at a time, and the logsumexp of each query's scores.

    q, k, v are (..., n, d). Returns (..., n_q, d_v) and (..., n_q). With `causal`, query i sees
    keys 0 to i.
    """
    outputs, logsumexps = [], []
    for i in range(q.shape[-2]):
        seen = i + 1 if causal else k.shape[-2]
        scores = (q[..., i : i + 1, :] * k[..., :seen, :]).sum(dim=-1) / q.shape[-1] ** 0.5
        lse = torch.logsumexp(scores, dim=-1)
        weights = torch.exp(scores - lse.unsqueeze(-1))  # they sum to 1
        outputs.append((weights.unsqueeze(-1) * v[..., :seen, :]).sum(dim=-2))
        logsumexps.append(lse)
    return torch.stack(outputs, dim=-2), torch.stack(logsumexps, dim=-1)


def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, grad_out: Tensor, causal: bool
) -> tuple[Tensor, ...]:
    """The gradients (grad_q, grad_k, grad_v) of ⟨output, grad_out⟩, by autograd."""
    q, k, v = (x.detach().clone().requires_grad_() for x in (q, k, v))
    output, _ = attention_and_logsumexp(q, k, v, causal)
    return torch.autograd.grad((output * grad_out).sum(), (q, k, v))


@one_thread()
def attention_with_counted_traffic(
    q: Tensor, k: Tensor, v: Tensor, sram_elements: int, algorithm: str
) -> tuple[Tensor, int]:
    """Run attention of one head, (n, d), and count what goes between HBM and SRAM, in elements.

    q, k and v lie in HBM. What is computed with was loaded, what must outlive a kernel is stored,
    and both are counted. Returns the output, and the count.
    """
    n, d = q.shape
    moved = 0

    def load(tensor: Tensor) -> Tensor:
        nonlocal moved
        moved += tensor.numel()
        return tensor.clone()

    store = load  # the other way, and as many

    if algorithm == "standard":
        scores = store(load(q) @ load(k).T * d**-0.5)
        weights = store(load(scores).softmax(dim=-1))
        return store(load(weights) @ load(v)), moved

    block = min(n, sram_elements // (4 * d))  # rows of q, k, v and the accumulator
    outputs, logsumexps = [], []
    for tile_q in q.split(block):
        q_i = load(tile_q)
        m, l = torch.full((len(q_i), 1), -math.inf, dtype=q.dtype), 0
        acc = torch.zeros_like(q_i)
        for tile_k, tile_v in zip(k.split(block), v.split(block), strict=True):
            k_j, v_j = load(tile_k), load(tile_v)
            s = q_i @ k_j.T * d**-0.5
            m_new = torch.maximum(m, s.amax(dim=-1, keepdim=True))
            p, alpha = torch.exp(s - m_new), torch.exp(m - m_new)
            l, acc, m = alpha * l + p.sum(dim=-1, keepdim=True), alpha * acc + p @ v_j, m_new
        outputs.append(store(acc / l))
        logsumexps.append(store(m + l.log()))
    return torch.cat(outputs), moved

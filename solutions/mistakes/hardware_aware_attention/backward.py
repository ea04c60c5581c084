"""Wrong versions of flash_backward in 05_hardware_aware_attention."""

import math

import torch

from solutions import hardware_aware_attention as right
from solutions.mistakes import mistake


def backward_of(
    q,
    k,
    v,
    out,
    lse,
    grad_out,
    block_q,
    block_k,
    causal,
    scale_s=True,
    scale_q=True,
    scale_k=True,
    delta=None,
    weights=lambda s, lse: torch.exp(s - lse),
    grad_s=lambda p, grad_p, delta: p * (grad_p - delta),
    keep_q=True,
    keep_kv=True,
    skip=True,
    first_hidden=1,
    hidden=-math.inf,
    in_the_tile=False,
):
    # The solution, with one thing in it left out or done otherwise.
    n_q, n_k, scale = q.shape[-2], k.shape[-2], q.shape[-1] ** -0.5
    grad_q, grad_k, grad_v = (torch.zeros_like(x) for x in (q, k, v))
    delta = (grad_out * out).sum(dim=-1, keepdim=True) if delta is None else delta
    for start_q in range(0, n_q, block_q):
        i = slice(start_q, start_q + block_q)
        q_i, grad_out_i = q[..., i, :], grad_out[..., i, :]
        end_k = min(n_k, start_q + block_q) if causal and skip else n_k
        for start_k in range(0, end_k, block_k):
            j = slice(start_k, start_k + block_k)
            k_j, v_j = k[..., j, :], v[..., j, :]
            s = (scale if scale_s else 1) * (q_i @ k_j.mT)
            if causal:
                ahead = first_hidden + (0 if in_the_tile else start_q - start_k)
                above = torch.ones(s.shape[-2:], dtype=torch.bool).triu(ahead)
                s = s.masked_fill(above, hidden)
            p = weights(s, lse[..., i].unsqueeze(-1))
            d_s = grad_s(p, grad_out_i @ v_j.mT, delta[..., i, :])
            if not keep_q:
                grad_q[..., i, :] = 0
            if not keep_kv:
                grad_k[..., j, :] = 0
                grad_v[..., j, :] = 0
            grad_q[..., i, :] += (scale if scale_q else 1) * (d_s @ k_j)
            grad_k[..., j, :] += (scale if scale_k else 1) * (d_s.mT @ q_i)
            grad_v[..., j, :] += p.mT @ grad_out_i
    return grad_q, grad_k, grad_v


@mistake(
    right.flash_backward,
    "D = rowsum(dO ∘ O) is missing. A softmax turns dP into dS = P ∘ (dP − D): raising one score "
    "lowers the other weights of its row.",
)
def d_missing(*args):
    return backward_of(*args, grad_s=lambda p, grad_p, delta: p * grad_p)


@mistake(
    right.flash_backward,
    "The brackets are missing: dS = P ∘ dP − D. It is P ∘ (dP − D).",
)
def d_outside_of_the_brackets(*args):
    return backward_of(*args, grad_s=lambda p, grad_p, delta: p * grad_p - delta)


@mistake(
    right.flash_backward,
    "D is added. A softmax turns dP into dS = P ∘ (dP − D).",
)
def d_added(*args):
    return backward_of(*args, grad_s=lambda p, grad_p, delta: p * (grad_p + delta))


@mistake(
    right.flash_backward,
    "D is computed in each tile, as the sum of P ∘ dP over its keys alone. It is a sum over all "
    "keys of a row, which rowsum(dO ∘ O) gives before the loops.",
)
def d_of_each_tile(*args):
    return backward_of(
        *args, grad_s=lambda p, grad_p, _: p * (grad_p - (p * grad_p).sum(-1, keepdim=True))
    )


@mistake(
    right.flash_backward,
    "D is a mean over the columns of dO ∘ O. It is their sum.",
)
def d_as_a_mean(q, k, v, out, lse, grad_out, *rest):
    delta = (grad_out * out).mean(dim=-1, keepdim=True)
    return backward_of(q, k, v, out, lse, grad_out, *rest, delta=delta)


@mistake(
    right.flash_backward,
    "The scale is missing in dQ. The scores are s = q kᵀ / √d, so dQ = dS K / √d.",
)
def scale_missing_in_dq(*args):
    return backward_of(*args, scale_q=False)


@mistake(
    right.flash_backward,
    "The scale is missing in dK. The scores are s = q kᵀ / √d, so dK = dSᵀ Q / √d.",
)
def scale_missing_in_dk(*args):
    return backward_of(*args, scale_k=False)


@mistake(
    right.flash_backward,
    "The scale is missing in both dQ and dK. The scores are s = q kᵀ / √d: 1/√d goes with dS into "
    "both.",
)
def scale_missing_in_dq_and_dk(*args):
    return backward_of(*args, scale_q=False, scale_k=False)


@mistake(
    right.flash_backward,
    "The scores are computed again without their scale, so the weights are not those of the "
    "forward pass: s = q kᵀ / √d, p = exp(s − lse).",
)
def scale_missing_in_the_scores(*args):
    return backward_of(*args, scale_s=False)


@mistake(
    right.flash_backward,
    "The softmax is computed again within each tile, so the weights of every tile sum to 1. The "
    "logsumexp of the whole row is there: p = exp(s − lse).",
)
def softmax_of_each_tile(*args):
    return backward_of(*args, weights=lambda s, lse: s.softmax(dim=-1).nan_to_num(0.0))


@mistake(
    right.flash_backward,
    "The weights are exp(s), not normalised. With the logsumexp of the row, p = exp(s − lse) is.",
)
def lse_not_subtracted(*args):
    return backward_of(*args, weights=lambda s, lse: torch.exp(s))


@mistake(
    right.flash_backward,
    "The weights are exp(s) / lse. The logsumexp is the logarithm of the sum: p = exp(s − lse).",
)
def divided_by_the_logarithm(*args):
    return backward_of(*args, weights=lambda s, lse: torch.exp(s) / lse)


@mistake(
    right.flash_backward,
    "Each tile of keys overwrites dQ, which holds the last one's part alone. Every key that a "
    "query saw adds to its gradient: += for =.",
)
def dq_overwritten(*args):
    return backward_of(*args, keep_q=False)


@mistake(
    right.flash_backward,
    "Each tile of queries overwrites dK and dV, which hold the last one's part alone. Every query "
    "that saw a key adds to its gradient: += for =.",
)
def dk_and_dv_overwritten(*args):
    return backward_of(*args, keep_kv=False)


@mistake(
    right.flash_backward,
    "`causal` is not used, so a query gives gradient to keys that it did not see. Hide the same "
    "scores as in the forward pass.",
)
def causal_forgotten(*args):
    *others, _ = args
    return backward_of(*others, False)


@mistake(
    right.flash_backward,
    "The result is right, but tiles above the diagonal are computed too, where all weights are 0. "
    "End the loop over the keys at the last query of the tile: half of the work.",
)
def tiles_above_the_diagonal_computed(*args):
    return backward_of(*args, skip=False)


@mistake(
    right.flash_backward,
    "Each tile of queries is scored against all keys at once: block_q × n "
    "numbers, which outgrow SRAM with n. Take the keys tile by tile, too.",
)
def all_keys_at_once(q, k, v, out, lse, grad_out, block_q, block_k, causal):
    return backward_of(q, k, v, out, lse, grad_out, block_q, k.shape[-2], causal)


@mistake(
    right.flash_backward,
    "All weights, n × n, are there at once. The point of computing them "
    "again is that a tile of them is enough.",
)
def all_weights_at_once(q, k, v, out, lse, grad_out, block_q, block_k, causal):
    return backward_of(q, k, v, out, lse, grad_out, q.shape[-2], k.shape[-2], causal)


@mistake(
    right.flash_backward,
    "The sign of dS is turned: it is P ∘ (dP − D), and not P ∘ (D − dP).",
)
def d_less_dp(*args):
    return backward_of(*args, grad_s=lambda p, grad_p, delta: p * (delta - grad_p))


@mistake(
    right.flash_backward,
    "1/√d is in dQ and dK twice, perhaps once in dS and once at the end. Once is enough.",
)
def gradients_scaled_twice(*args):
    scale = args[0].shape[-1] ** -0.5
    return backward_of(*args, grad_s=lambda p, grad_p, delta: scale * p * (grad_p - delta))


@mistake(
    right.flash_backward,
    "The exponent has the wrong sign: the weights are exp(s − lse).",
)
def lse_less_the_scores(*args):
    return backward_of(*args, weights=lambda s, lse: torch.exp(lse - s).nan_to_num(posinf=0.0))


@mistake(
    right.flash_backward,
    "The weights are exp(s) / exp(lse). Both overflow where scores are large, and are 0 where they "
    "are far below 0: subtract first, exp(s − lse).",
)
def divided_after_the_exponential(*args):
    return backward_of(*args, weights=lambda s, lse: torch.exp(s) / torch.exp(lse))


@mistake(
    right.flash_backward,
    "dP is weighted, but dS = P ∘ (dP − D) is not: dP − D alone goes on. Multiply it by P.",
)
def weights_missing_in_ds(*args):
    return backward_of(*args, grad_s=lambda p, grad_p, delta: grad_p - delta)


@mistake(
    right.flash_backward,
    "A query gets gradient from the key after it. Query i sees keys 0 to i: hide the same scores "
    "as in the forward pass.",
)
def causal_mask_shows_the_next_token(*args):
    return backward_of(*args, first_hidden=2, skip=False)


@mistake(
    right.flash_backward,
    "A query gives no gradient to its own key. Query i sees keys 0 to i: hide what is strictly "
    "above the diagonal.",
)
def causal_mask_hides_the_query_itself(*args):
    return backward_of(*args, first_hidden=0)


@mistake(
    right.flash_backward,
    "The triangle is counted from the corner of the tile. Compare positions in the sequence, "
    "start_q + row and start_k + column.",
)
def mask_inside_each_tile(*args):
    return backward_of(*args, in_the_tile=True)


@mistake(
    right.flash_backward,
    "Scores that are hidden are set to 0, whose weight is exp(0 − lse). Set them to −∞.",
)
def hidden_scores_set_to_0(*args):
    return backward_of(*args, hidden=0.0)


@mistake(
    right.flash_backward,
    "block_q and block_k have changed places: a tile has block_q queries and block_k keys.",
)
def block_q_and_block_k_exchanged(*args):
    *tensors, block_q, block_k, causal = args
    return right.flash_backward(*tensors, block_k, block_q, causal)


@mistake(
    right.flash_backward,
    "Tiles have a size of their own, whatever block_q and block_k say. How large a tile may be "
    "depends on the machine: use what is handed in.",
)
def tiles_of_a_size_of_its_own(*args):
    *tensors, _, _, causal = args
    return right.flash_backward(*tensors, 16, 16, causal)


@mistake(
    right.flash_backward,
    "Queries or keys are taken one at a time. Take a whole tile in one product, block_q queries "
    "with block_k keys.",
)
def tiles_of_one_row_each(*args):
    *tensors, _, block_k, causal = args
    return right.flash_backward(*tensors, 1, block_k, causal)


@mistake(
    right.flash_backward,
    "All queries are scored against a tile of keys at once: n × block_k numbers, which outgrow "
    "SRAM with n. Take the queries tile by tile, too.",
)
def all_queries_at_once(*args):
    *tensors, _, block_k, causal = args
    return backward_of(*tensors, args[0].shape[-2], block_k, causal)


@mistake(
    right.flash_backward,
    "The weights are those of s less the maximum of the tile. They are exp(s − lse): the "
    "logsumexp of the whole row is handed in.",
)
def maximum_of_the_tile_for_lse(*args):
    return backward_of(*args, weights=lambda s, lse: torch.exp(s - s.amax(dim=-1, keepdim=True)))


@mistake(
    right.flash_backward,
    "The gradients come back in another order: return grad_q, grad_k, grad_v.",
)
def gradients_of_keys_and_values_exchanged(*args):
    grad_q, grad_k, grad_v = backward_of(*args)
    return grad_q, grad_v, grad_k

"""Wrong versions of tiled_attention in 05_hardware_aware_attention."""
# ruff: noqa: E741  (l is the papers' letter)

import math

import torch
import torch.nn.functional as F

from solutions import hardware_aware_attention as right
from solutions.mistakes import mistake


def visible_pairs(start_q, start_k, rows, columns):
    i = torch.arange(start_q, start_q + rows).unsqueeze(-1)
    return i >= torch.arange(start_k, start_k + columns)


def tiled(
    q,
    k,
    v,
    block_q,
    block_k,
    causal,
    scale=None,
    start=-math.inf,
    rescale_sum=True,
    rescale_acc=True,
    running_max=True,
    divide_in_the_loop=False,
    visible=visible_pairs,
    hidden=-math.inf,
    skip=True,
    beyond=0,
    logsumexp=lambda m, l, scale: m + l.log(),
    alpha_of=lambda m, m_new: torch.exp(m - m_new),
    total_of=lambda l: l,
):
    # The solution, with one thing in it left out or done otherwise.
    n_q, n_k = q.shape[-2], k.shape[-2]
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    outputs, logsumexps = [], []
    for start_q in range(0, n_q, block_q):
        q_i = q[..., start_q : start_q + block_q, :] * scale
        m = q.new_full((*q_i.shape[:-1], 1), start)
        l, acc = torch.zeros_like(m), q.new_zeros(*q_i.shape[:-1], v.shape[-1])
        end_k = min(n_k, start_q + block_q + beyond) if causal and skip else n_k
        for start_k in range(0, end_k, block_k):
            k_j, v_j = (x[..., start_k : start_k + block_k, :] for x in (k, v))
            s = q_i @ k_j.mT
            if causal:
                s = s.masked_fill(~visible(start_q, start_k, *s.shape[-2:]), hidden)
            largest = s.amax(dim=-1, keepdim=True)
            m_new = torch.maximum(m, largest) if running_max else largest
            p, alpha = torch.exp(s - m_new), alpha_of(m, m_new)
            l = (alpha if rescale_sum else 1) * l + p.sum(dim=-1, keepdim=True)
            acc = (alpha if rescale_acc else 1) * acc + p @ v_j
            if divide_in_the_loop:
                acc = acc / l
            m = m_new
        outputs.append(acc if divide_in_the_loop else acc / total_of(l))
        logsumexps.append(logsumexp(m, l, scale).squeeze(-1))
    return torch.cat(outputs, dim=-2), torch.cat(logsumexps, dim=-1)


@mistake(
    right.tiled_attention,
    "The accumulator is not rescaled. What it holds is relative to the old maximum: when that "
    "grows, multiply it by alpha = exp(m_old − m_new), as the running sum.",
)
def accumulator_not_rescaled(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, causal, rescale_acc=False)


@mistake(
    right.tiled_attention,
    "The running sum is not rescaled. When the maximum grows, multiply it by alpha = "
    "exp(m_old − m_new), as the accumulator.",
)
def running_sum_not_rescaled(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, causal, rescale_sum=False)


@mistake(
    right.tiled_attention,
    "Neither the running sum nor the accumulator is rescaled. Each tile is then relative to "
    "another maximum. Multiply both by alpha = exp(m_old − m_new).",
)
def nothing_rescaled(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, causal, rescale_sum=False, rescale_acc=False)


@mistake(
    right.tiled_attention,
    "The accumulator is divided by the running sum in the loop, after each tile, so what came "
    "earlier is divided again and again. Divide once, after the last tile.",
)
def normalised_per_tile(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, causal, divide_in_the_loop=True)


@mistake(
    right.tiled_attention,
    "Each tile has a softmax of its own, and the results are averaged. A tile with high scores "
    "weighs more than one with low scores: one sum goes over all tiles.",
)
def mean_of_the_tiles(q, k, v, block_q, block_k, causal):
    _, logsumexp = right.tiled_attention(q, k, v, block_q, block_k, causal)
    scale, outputs = q.shape[-1] ** -0.5, []
    for start_q in range(0, q.shape[-2], block_q):
        q_i = q[..., start_q : start_q + block_q, :] * scale
        end_k = min(k.shape[-2], start_q + block_q) if causal else k.shape[-2]
        means = []
        for start_k in range(0, end_k, block_k):
            k_j, v_j = (x[..., start_k : start_k + block_k, :] for x in (k, v))
            s = q_i @ k_j.mT
            if causal:
                s = s.masked_fill(~visible_pairs(start_q, start_k, *s.shape[-2:]), -math.inf)
            means.append(s.softmax(dim=-1).nan_to_num(0.0) @ v_j)
        outputs.append(sum(means) / len(means))
    return torch.cat(outputs, dim=-2), logsumexp


@mistake(
    right.tiled_attention,
    "The maximum of the tile takes the place of the running maximum. Where it is lower than an "
    "earlier one, exp(m_old − m_new) overflows. Take the larger of the two.",
)
def max_of_the_tile_for_the_running_max(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, causal, running_max=False)


@mistake(
    right.tiled_attention,
    "The running maximum starts at a number like 0. Where all scores are far below it, each "
    "exp(s − 0) is 0, and the output is 0/0. Start at −∞.",
)
def running_max_that_begins_too_high(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, causal, start=0.0)


@mistake(
    right.tiled_attention,
    "The logsumexp is that of s − m: the running maximum is missing. log Σ exp(s) = m + log l, "
    "since l sums exp(s − m).",
)
def logsumexp_without_the_max(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, causal, logsumexp=lambda m, l, scale: l.log())


@mistake(
    right.tiled_attention,
    "The running sum comes back in place of its logarithm. The logsumexp is m + log l.",
)
def logsumexp_without_the_log(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, causal, logsumexp=lambda m, l, scale: m + l)


@mistake(
    right.tiled_attention,
    "The maximum in the logsumexp is that of the scores before they were scaled. It is the "
    "logsumexp of s = q kᵀ / √d: m and l must both be of these.",
)
def max_in_the_logsumexp_not_scaled(q, k, v, block_q, block_k, causal):
    return tiled(
        q, k, v, block_q, block_k, causal, logsumexp=lambda m, l, scale: m / scale + l.log()
    )


@mistake(
    right.tiled_attention,
    "The scores are not divided by √d. A dot product of d numbers spreads like √d, so the softmax "
    "leans to one key the more, the wider the heads.",
)
def no_scale(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, causal, scale=1.0)


@mistake(
    right.tiled_attention,
    "The scores are divided by d: √d twice, perhaps once on q and once on s. Once is enough.",
)
def scaled_twice(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, causal, scale=1 / q.shape[-1])


@mistake(
    right.tiled_attention,
    "The causal mask compares tiles: query tile i sees key tiles 0 to i, and all of them. Compare "
    "the positions of query and key in the sequence, start_q + row and start_k + column.",
)
def mask_on_tile_index(q, k, v, block_q, block_k, causal):
    def visible(start_q, start_k, rows, columns):
        return torch.tensor(start_q // block_q >= start_k // block_k)

    return tiled(q, k, v, block_q, block_k, causal, start=-1e30, visible=visible, skip=False)


@mistake(
    right.tiled_attention,
    "The triangle is counted from the corner of the tile: row and column inside of it are "
    "compared. Compare the positions in the sequence, start_q + row and start_k + column.",
)
def mask_inside_each_tile(q, k, v, block_q, block_k, causal):
    def visible(start_q, start_k, rows, columns):
        return visible_pairs(0, 0, rows, columns)

    return tiled(q, k, v, block_q, block_k, causal, visible=visible)


@mistake(
    right.tiled_attention,
    "A query sees the key after it. Query i sees keys 0 to i: hide what is strictly above the "
    "diagonal, and nothing less.",
)
def causal_mask_shows_the_next_token(q, k, v, block_q, block_k, causal):
    def visible(start_q, start_k, rows, columns):
        return visible_pairs(start_q + 1, start_k, rows, columns)

    return tiled(q, k, v, block_q, block_k, causal, visible=visible, skip=False)


@mistake(
    right.tiled_attention,
    "With fewer or more keys than queries, the triangle is aligned at the last key. Here query i "
    "sees keys 0 to i, as with is_causal in scaled_dot_product_attention.",
)
def causal_mask_aligned_at_the_last_key(q, k, v, block_q, block_k, causal):
    def visible(start_q, start_k, rows, columns):
        return visible_pairs(start_q + k.shape[-2] - q.shape[-2], start_k, rows, columns)

    return tiled(q, k, v, block_q, block_k, causal, visible=visible, skip=False)


@mistake(
    right.tiled_attention,
    "`causal` is not used: every query sees every key.",
)
def causal_forgotten(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, False)


@mistake(
    right.tiled_attention,
    "The result is right, but tiles above the diagonal are computed too, only to be hidden. End "
    "the loop over the keys at the last query of the tile: half of the work.",
)
def tiles_above_the_diagonal_computed(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, causal, skip=False)


@mistake(
    right.tiled_attention,
    "The keys are padded with zeros to whole tiles, and the padding takes weight: a score of 0 is "
    "exp(0 − m). Hide it by −∞, or make the last tile smaller.",
)
def padded_keys_take_weight(q, k, v, block_q, block_k, causal):
    padding = (0, 0, 0, -k.shape[-2] % block_k)
    return tiled(q, F.pad(k, padding), F.pad(v, padding), block_q, block_k, causal)


@mistake(
    right.tiled_attention,
    "The last rows are left out where n is not a multiple of the tiles: n // block rounds down. "
    "The last tile may be smaller.",
)
def ragged_end_left_out(q, k, v, block_q, block_k, causal):
    n_q, n_k = q.shape[-2], k.shape[-2]
    whole_q, whole_k = n_q // block_q * block_q, n_k // block_k * block_k
    out, lse = tiled(
        q[..., :whole_q, :], k[..., :whole_k, :], v[..., :whole_k, :], block_q, block_k, causal
    )
    return F.pad(out, (0, 0, 0, n_q - whole_q)), F.pad(lse, (0, n_q - whole_q))


@mistake(
    right.tiled_attention,
    "Each tile of queries is scored against all keys at once: block_q × n "
    "numbers, which outgrow SRAM with n. Take the keys tile by tile, too.",
)
def all_keys_at_once(q, k, v, block_q, block_k, causal):
    scale, outputs, logsumexps = q.shape[-1] ** -0.5, [], []
    for start_q in range(0, q.shape[-2], block_q):
        end_k = start_q + block_q if causal else k.shape[-2]
        s = q[..., start_q : start_q + block_q, :] * scale @ k[..., :end_k, :].mT
        if causal:
            s = s.masked_fill(~visible_pairs(start_q, 0, *s.shape[-2:]), -math.inf)
        outputs.append(s.softmax(dim=-1) @ v[..., :end_k, :])
        logsumexps.append(s.logsumexp(dim=-1))
    return torch.cat(outputs, dim=-2), torch.cat(logsumexps, dim=-1)


@mistake(
    right.tiled_attention,
    "All queries are scored against a tile of keys at once: n × block_k "
    "numbers, which outgrow SRAM with n. Take the queries tile by tile, too.",
)
def all_queries_at_once(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, q.shape[-2], block_k, causal)


@mistake(
    right.tiled_attention,
    "The n × n scores are all there at once. That is the attention which "
    "tiles avoid: take block_q queries and block_k keys at a time.",
)
def all_scores_at_once(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, q.shape[-2], k.shape[-2], causal)

"""More wrong versions of tiled_attention: what tiles add up to, hide, and how large they are."""
# ruff: noqa: E741  (l is the papers' letter)

import math

import torch

from solutions import hardware_aware_attention as right
from solutions.mistakes import mistake
from solutions.mistakes.hardware_aware_attention.tiles import tiled, visible_pairs


@mistake(
    right.tiled_attention,
    "What was computed before is multiplied by exp(m_new − m_old): the exponent has the wrong "
    "sign. What is relative to the old maximum becomes smaller: alpha = exp(m_old − m_new).",
)
def rescaled_the_wrong_way(*args):
    return tiled(*args, alpha_of=lambda m, m_new: torch.exp(m_new - m))


@mistake(
    right.tiled_attention,
    "The accumulator is not divided by the running sum: its weights do not sum to 1. Divide once, "
    "after the last tile.",
)
def not_divided_by_the_sum(*args):
    return tiled(*args, total_of=torch.ones_like)


@mistake(
    right.tiled_attention,
    "A small number is added to the sum. Every query sees a key, and the one with the largest "
    "score adds 1: nothing needs protection.",
)
def a_small_number_added_to_the_sum(*args):
    return tiled(*args, total_of=lambda l: l + 1e-6)


@mistake(
    right.tiled_attention,
    "The logsumexp is m − log l. It is the logarithm of exp(m) · l: the two are added.",
)
def logarithm_subtracted_in_the_logsumexp(*args):
    return tiled(*args, logsumexp=lambda m, l, scale: m - l.log())


@mistake(
    right.tiled_attention,
    "The logsumexp is in powers of two: log2 for log. The backward pass needs the natural one.",
)
def logarithm_to_the_base_2(*args):
    return tiled(*args, logsumexp=lambda m, l, scale: (m + l.log()) / math.log(2))


@mistake(
    right.tiled_attention,
    "The running maximum comes back as the logsumexp. The logarithm of the sum is missing: "
    "m + log l.",
)
def maximum_for_the_logsumexp(*args):
    return tiled(*args, logsumexp=lambda m, l, scale: m)


@mistake(
    right.tiled_attention,
    "The scores are divided by √d_v, the width of the values. They are products over the d "
    "columns of queries and keys: √d.",
)
def scaled_by_the_width_of_the_values(q, k, v, *rest):
    return tiled(q, k, v, *rest, scale=v.shape[-1] ** -0.5)


@mistake(
    right.tiled_attention,
    "A query does not see its own key, and the first query sees none: its output is NaN. Query i "
    "sees keys 0 to i: hide what is strictly above the diagonal.",
)
def causal_mask_hides_the_query_itself(*args):
    def visible(start_q, start_k, rows, columns):
        return visible_pairs(start_q - 1, start_k, rows, columns)

    return tiled(*args, visible=visible)


@mistake(
    right.tiled_attention,
    "The triangle is the wrong way round: query i sees the keys from i on. It sees keys 0 to i.",
)
def causal_mask_the_wrong_way_round(*args):
    def visible(start_q, start_k, rows, columns):
        return ~visible_pairs(start_q - 1, start_k, rows, columns)

    return tiled(*args, visible=visible, skip=False)


@mistake(
    right.tiled_attention,
    "Scores that are hidden are set to 0, and a score of 0 is a weight like any other. Set them to "
    "−∞ before the maximum is taken.",
)
def hidden_scores_set_to_0(*args):
    return tiled(*args, hidden=0.0)


@mistake(
    right.tiled_attention,
    "block_q and block_k have changed places: a tile has block_q queries and block_k keys.",
)
def block_q_and_block_k_exchanged(q, k, v, block_q, block_k, causal):
    return right.tiled_attention(q, k, v, block_k, block_q, causal)


@mistake(
    right.tiled_attention,
    "Tiles have a size of their own, whatever block_q and block_k say. How large a tile may be "
    "depends on the machine: use what is handed in.",
)
def tiles_of_a_size_of_its_own(q, k, v, block_q, block_k, causal):
    return right.tiled_attention(q, k, v, 16, 16, causal)


@mistake(
    right.tiled_attention,
    "Queries or keys are taken one at a time. Take a whole tile in one product, block_q queries "
    "with block_k keys.",
)
def tiles_of_one_row_each(q, k, v, block_q, block_k, causal):
    return right.tiled_attention(q, k, v, 1, block_k, causal)


@mistake(
    right.tiled_attention,
    "Output and logsumexp have changed places: the output comes first.",
)
def output_and_logsumexp_exchanged(*args):
    return right.tiled_attention(*args)[::-1]


@mistake(
    right.tiled_attention,
    "It is the sum of the exponentials. The logsumexp is its logarithm.",
)
def exponential_of_the_logsumexp(*args):
    return tiled(*args, logsumexp=lambda m, l, scale: torch.exp(m) * l)


@mistake(
    right.tiled_attention,
    "The scores are divided by the root of the number of queries. They are products of d numbers: "
    "√d.",
)
def scaled_by_the_number_of_queries(q, *rest):
    return tiled(q, *rest, scale=q.shape[-2] ** -0.5)


@mistake(
    right.tiled_attention,
    "A query sees the key after it, where that is in a tile which is computed. Query i sees keys "
    "0 to i: hide what is strictly above the diagonal, and nothing less.",
)
def next_token_shown_in_the_tile_of_the_query(*args):
    def visible(start_q, start_k, rows, columns):
        return visible_pairs(start_q + 1, start_k, rows, columns)

    return tiled(*args, visible=visible)


@mistake(
    right.tiled_attention,
    "The triangle is aligned at the last key where there are fewer or more keys than queries, and "
    "tiles are skipped as if it were not. Query i sees keys 0 to i.",
)
def mask_aligned_at_the_last_key_loop_at_the_first(q, k, *rest):
    def visible(start_q, start_k, rows, columns):
        return visible_pairs(start_q + k.shape[-2] - q.shape[-2], start_k, rows, columns)

    return tiled(q, k, *rest, visible=visible)


@mistake(
    right.tiled_attention,
    "Tiles that begin after the first query of a tile are skipped, but its later queries see some "
    "of their keys. Go on to the last query: start_q + block_q.",
)
def loop_ended_at_the_first_query_of_the_tile(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, causal, beyond=1 - block_q)

"""Wrong versions of the Triton kernels of 05_hardware_aware_attention: the solution, changed.

Each names what it replaces, and by what: the rest of a kernel is as in the solution.
"""

import inspect
import linecache
from typing import Any

from course.triton_here import tl, triton
from solutions.hardware_aware_attention.kernels import (
    flash_attention_kernel,
    flash_dk_dv_kernel,
    flash_dq_kernel,
    softmax_kernel,
)
from solutions.mistakes import Mistake, mistake


def _wrong(kernel: Any, name: str, explanation: str, changes: dict[str, str]) -> Mistake:
    """The kernel with each key of `changes`, which must be there, replaced by its value."""
    source = inspect.getsource(kernel.fn)
    for old, new in changes.items():
        if old not in source:
            raise ValueError(f"{kernel.__name__} has no {old!r} for the mistake {name!r}")
        source = source.replace(old, new)
    source = source.replace(kernel.__name__, name, 1)
    # Triton reads a kernel's source from its file.
    file = f"<{kernel.__name__}, {name}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    namespace = {"tl": tl, "triton": triton, "__name__": __name__}
    exec(compile(source, file, "exec"), namespace)
    return mistake(kernel, explanation)(namespace[name])


# --- softmax_kernel ------------------------------------------------------------------------------

no_mask_on_ragged_rows = _wrong(
    softmax_kernel,
    "no_mask_on_ragged_rows",
    "BLOCK is a power of two, and a row mostly is not. Without a mask, the load takes the numbers "
    "after the row's end into its maximum and sum, and the store overwrites what lies there. Give "
    "tl.load and tl.store the mask columns < num_columns.",
    {', mask=inside, other=-float("inf")': "", ", mask=inside": ""},
)

zero_beyond_the_row = _wrong(
    softmax_kernel,
    "zero_beyond_the_row",
    "What lies beyond the row is loaded as 0, and 0 is a number like any other: its exponential "
    "is added to the sum, and where all of the row is below it, it is the maximum too. Load −∞ "
    'there (other=-float("inf")): its exponential is 0.',
    {'other=-float("inf")': "other=0.0"},
)

maximum_not_subtracted = _wrong(
    softmax_kernel,
    "maximum_not_subtracted",
    "exp(x) is infinite in float32 from x = 89 on, and 0 below −104. Subtract the row's maximum "
    "first: it cancels in the quotient.",
    {"x - tl.max(x, axis=0)": "x"},
)

row_stride_of_another_matrix = _wrong(
    softmax_kernel,
    "row_stride_of_another_matrix",
    "Row r of x begins r · x_row elements on, row r of the output r · out_row. Neither is always "
    "the number of columns, nor are the two equal: each may be a part of a wider matrix.",
    {"row * x_row": "row * num_columns", "row * out_row": "row * num_columns"},
)


# --- flash_attention_kernel ----------------------------------------------------------------------

accumulator_not_rescaled = _wrong(
    flash_attention_kernel,
    "accumulator_not_rescaled",
    "What the accumulator holds was weighted with the old maximum. When a tile brings a larger "
    "one, the accumulator must be multiplied by exp(old − new), as the row sum is.",
    {"accumulator * rescale[:, None] + product": "accumulator + product"},
)

row_sum_not_rescaled = _wrong(
    flash_attention_kernel,
    "row_sum_not_rescaled",
    "The row sum was taken with the old maximum. When a tile brings a larger one, it must be "
    "multiplied by exp(old − new) before the tile's weights are added, as the accumulator is.",
    {"row_sum * rescale + tl.sum": "row_sum + tl.sum"},
)

weights_not_cast = _wrong(
    flash_attention_kernel,
    "weights_not_cast",
    "The weights are float32, the values may be float16 or bfloat16, and tl.dot multiplies two "
    "tiles of one type: cast the weights, weights.to(v.dtype). The product is still added in "
    "float32.",
    {"weights.to(v.dtype)": "weights"},
)

accumulated_in_the_type_of_the_values = _wrong(
    flash_attention_kernel,
    "accumulated_in_the_type_of_the_values",
    "The accumulator is added to in every tile. In float16 or bfloat16 each addition rounds to 11 "
    "or 8 bits: keep it in float32, and cast once, when it is stored.",
    {
        "row_max = new_max": "accumulator = accumulator.to(v.dtype).to(tl.float32)\n"
        "            row_max = new_max"
    },
)

last_tile_of_keys_not_masked = _wrong(
    flash_attention_kernel,
    "last_tile_of_keys_not_masked",
    "The last tile reaches beyond the last key where n_k is no multiple of BLOCK_K. What is "
    "loaded there as 0 has the score 0, and not the weight 0: set these scores to −∞.",
    {"seen = keys[None, :] < n_k": "seen = keys[None, :] >= 0"},
)

keys_loaded_without_a_mask = _wrong(
    flash_attention_kernel,
    "keys_loaded_without_a_mask",
    "The last tile reaches beyond the last key. What lies there in memory is loaded, and 0 times "
    "NaN or infinity is NaN, even where the weight is 0: give tl.load a mask, and other=0.0.",
    {", mask=keys[:, None] < n_k, other=0.0": ""},
)

minus_infinity_from_minus_infinity = _wrong(
    flash_attention_kernel,
    "minus_infinity_from_minus_infinity",
    "NaN is exp(−∞ − (−∞)): a query's first tile of keys was hidden from it altogether, so that "
    "its maximum was still −∞. Go through the keys from the first on, which every query sees, and "
    "not from the last.",
    {
        "keys = first_key + in_tile": "first_key = end - end % BLOCK_K - first_key if masked == 2 "
        "else first_key\n            keys = first_key + in_tile",
        "tl.static_range(2)": "tl.static_range(1, 3)",
        "range(whole if masked else 0, end if masked else whole, BLOCK_K)": "range(0 if masked == "
        "2 else end, end, BLOCK_K)",
    },
)

strides_assumed_contiguous = _wrong(
    flash_attention_kernel,
    "strides_assumed_contiguous",
    "The next key is k_row elements on, not D: that holds for contiguous tensors only, and keys "
    "are often a view of a larger tensor.",
    {"first_key * k_row": "first_key * D", "first_key * v_row": "first_key * D"},
)

values_walked_with_the_stride_of_the_keys = _wrong(
    flash_attention_kernel,
    "values_walked_with_the_stride_of_the_keys",
    "The next value is v_row elements on, and the next key k_row. The two differ where keys and "
    "values are views of different tensors.",
    {"first_key * v_row": "first_key * k_row"},
)

keys_not_advanced = _wrong(
    flash_attention_kernel,
    "keys_not_advanced",
    "The loop loads the first tile of keys again and again: the one that begins at first_key is "
    "at k_tile + first_key * k_row.",
    {"k_tile + first_key * k_row": "k_tile"},
)

hidden_scores_set_to_0 = _wrong(
    flash_attention_kernel,
    "hidden_scores_set_to_0",
    "A score of 0 is not a weight of 0: exp(0) is 1. Set the scores that are hidden to −∞.",
    {'tl.where(seen, scores, -float("inf"))': "tl.where(seen, scores, 0.0)"},
)

scale_inside_the_exponential_twice = _wrong(
    flash_attention_kernel,
    "scale_inside_the_exponential_twice",
    "The scores are scaled when they are computed, and again inside of the exponential: the "
    "weights are those of scores divided by d, not by √d.",
    {
        "scores - new_max[:, None])": "(scores - new_max[:, None]) * scale)",
        "row_max - new_max)": "(row_max - new_max) * scale)",
    },
)

no_scale = _wrong(
    flash_attention_kernel,
    "no_scale",
    "The scores are multiplied by `scale`, 1/√d, before the softmax. Here they are not.",
    {"(scale * 1.4426950408889634)": "1.4426950408889634"},
)

powers_of_two_of_unscaled_scores = _wrong(
    flash_attention_kernel,
    "powers_of_two_of_unscaled_scores",
    "exp2(x) is 2ˣ, and exp(x) is 2^(x · log₂ e): multiply the scores by log₂ e = 1.4427 before "
    "exp2, or use exp.",
    {"(scale * 1.4426950408889634)": "scale"},
)

causal_by_tiles = _wrong(
    flash_attention_kernel,
    "causal_by_tiles",
    "Whole tiles are seen or hidden here, by the number of the tile. In the tiles on the diagonal "
    "some pairs are hidden and some are not: compare the positions, keys[None, :] <= "
    "queries[:, None].",
    {
        "(keys[None, :] <= queries[:, None])": "(keys[None, :] // BLOCK_K * BLOCK_K <= "
        "queries[:, None])"
    },
)

causal_hides_the_query_itself = _wrong(
    flash_attention_kernel,
    "causal_hides_the_query_itself",
    "A query sees the key at its own position: the comparison is <=, not <.",
    {
        "(keys[None, :] <= queries[:, None])": "(keys[None, :] < queries[:, None])",
        "(first_query + 1) // BLOCK_K": "first_query // BLOCK_K",
    },
)

later_tiles_are_multiplied = _wrong(
    flash_attention_kernel,
    "later_tiles_are_multiplied",
    "The numbers are right, but twice the work is done: in a causal program, tiles of keys that "
    "begin after the last query are hidden altogether. End the loop before them.",
    {"end = min(n_k, first_query + BLOCK_Q)": "end = n_k"},
)

logsumexp_without_the_maximum = _wrong(
    flash_attention_kernel,
    "logsumexp_without_the_maximum",
    "The row sum is that of exp(s − max). Its logarithm lacks the maximum: add it.",
    {"(row_max + tl.log2(row_sum))": "tl.log2(row_sum)"},
)

logsumexp_in_powers_of_two = _wrong(
    flash_attention_kernel,
    "logsumexp_in_powers_of_two",
    "The scores were multiplied by log₂ e, so that maximum and logarithm are those of powers of "
    "two. The backward kernels need the natural logarithm: multiply by log 2 = 0.6931.",
    {" * 0.6931471805599453": ""},
)

output_not_normalised = _wrong(
    flash_attention_kernel,
    "output_not_normalised",
    "The accumulator is the sum of values with weights that are not normalised: divide it by the "
    "row sum after the last tile.",
    {"accumulator / row_sum[:, None]": "accumulator"},
)


# --- The backward kernels ------------------------------------------------------------------------

delta_forgotten = _wrong(
    flash_dq_kernel,
    "delta_forgotten",
    "The derivative of softmax is dS = P ∘ (dP − D), where D is the row sum of dO ∘ O: a weight "
    "that grows takes from the others of its row. Here D is missing.",
    {"(grad_weights - delta[:, None])": "grad_weights"},
)

scale_missing_in_dq = _wrong(
    flash_dq_kernel,
    "scale_missing_in_dq",
    "S = scale · QKᵀ, so dQ = scale · dS K. The factor is missing at the end.",
    {"grad_q = grad_q * scale": "grad_q = grad_q"},
)

weights_not_normalised_in_dq = _wrong(
    flash_dq_kernel,
    "weights_not_normalised_in_dq",
    "The weights are exp(S − lse): the stored logsumexp holds the maximum and the sum of the whole "
    "row. A tile's own maximum and sum know nothing of the other tiles.",
    {
        "tl.exp(scores - lse[:, None])": "tl.exp(scores - tl.max(scores, axis=1)[:, None]) / "
        "tl.sum(tl.exp(scores - tl.max(scores, axis=1)[:, None]), axis=1)[:, None]"
    },
)

keys_past_the_end_keep_weight_in_dq = _wrong(
    flash_dq_kernel,
    "keys_past_the_end_keep_weight_in_dq",
    "A key past the end scores 0, and its weight is exp(0 − lse). Where all true scores are far "
    "below 0 that overflows, and infinity times 0 is NaN: set the weights of what is not seen to "
    "0, after the exponential.",
    {"seen = keys[None, :] < n_k": "seen = keys[None, :] >= 0"},
)

gradients_of_scores_not_cast = _wrong(
    flash_dq_kernel,
    "gradients_of_scores_not_cast",
    "The gradients of the scores are float32, the keys may be float16 or bfloat16, and tl.dot "
    "multiplies two tiles of one type: cast them, grad_scores.to(k.dtype).",
    {"grad_scores.to(k.dtype)": "grad_scores"},
)

hidden_keys_keep_weight_in_dq = _wrong(
    flash_dq_kernel,
    "hidden_keys_keep_weight_in_dq",
    "In a causal program later keys weigh nothing, in the gradients too: mask the weights by "
    "position.",
    {"(keys[None, :] <= queries[:, None])": "(keys[None, :] >= 0)"},
)

dq_of_every_tile = _wrong(
    flash_dq_kernel,
    "dq_of_every_tile",
    "The numbers are right, but tiles of keys after the last query are multiplied, though they "
    "weigh nothing: end the loop before them.",
    {"min(n_k, first_query + BLOCK_Q) if CAUSAL else n_k": "n_k"},
)

delta_forgotten_in_dk = _wrong(
    flash_dk_dv_kernel,
    "delta_forgotten_in_dk",
    "The derivative of softmax is dS = P ∘ (dP − D), where D is the row sum of dO ∘ O: a weight "
    "that grows takes from the others of its row. Here D is missing.",
    {"(grad_weights - delta[:, None])": "grad_weights"},
)

scale_missing_in_dk = _wrong(
    flash_dk_dv_kernel,
    "scale_missing_in_dk",
    "S = scale · QKᵀ, so dK = scale · dSᵀ Q. The factor is missing at the end.",
    {"grad_k = grad_k * scale": "grad_k = grad_k"},
)

weights_not_transposed = _wrong(
    flash_dk_dv_kernel,
    "weights_not_transposed",
    "Row j of dV collects from all queries what key j gave them: dV = Pᵀ dO. Without the "
    "transpose, the gradients of queries and keys change places.",
    {
        "tl.trans(weights.to(grad_out.dtype))": "weights.to(grad_out.dtype)",
        "tl.trans(grad_scores.to(q.dtype))": "grad_scores.to(q.dtype)",
    },
)

hidden_keys_keep_weight_in_dk = _wrong(
    flash_dk_dv_kernel,
    "hidden_keys_keep_weight_in_dk",
    "In a causal program later keys weigh nothing, in the gradients too: mask the weights by "
    "position.",
    {"(keys[None, :] <= queries[:, None])": "(keys[None, :] >= 0)"},
)

dk_of_every_tile = _wrong(
    flash_dk_dv_kernel,
    "dk_of_every_tile",
    "The numbers are right, but tiles of queries before the first key are multiplied, though none "
    "of them sees it: begin the loop after them.",
    {"first_key // BLOCK_Q * BLOCK_Q if CAUSAL else 0": "0"},
)

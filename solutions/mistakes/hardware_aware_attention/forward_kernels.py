"""Wrong versions of softmax_kernel and flash_attention_kernel: the solution, changed."""

from solutions.hardware_aware_attention.kernels import flash_attention_kernel, softmax_kernel
from solutions.mistakes.hardware_aware_attention.changed_kernel import changed

# --- softmax_kernel ------------------------------------------------------------------------------

no_mask_on_ragged_rows = changed(
    softmax_kernel,
    "no_mask_on_ragged_rows",
    "BLOCK is a power of two, and a row mostly is not. Without a mask, the load takes the numbers "
    "after the row's end into its maximum and sum, and the store overwrites what lies there. Give "
    "tl.load and tl.store the mask columns < num_columns.",
    {', mask=inside, other=-float("inf")': "", ", mask=inside": ""},
)

zero_beyond_the_row = changed(
    softmax_kernel,
    "zero_beyond_the_row",
    "What lies beyond the row is loaded as 0, and 0 is a number like any other: its exponential "
    "is added to the sum, and where all of the row is below it, it is the maximum too. Load −∞ "
    'there (other=-float("inf")): its exponential is 0.',
    {'other=-float("inf")': "other=0.0"},
)

maximum_not_subtracted = changed(
    softmax_kernel,
    "maximum_not_subtracted",
    "exp(x) is infinite in float32 from x = 89 on, and 0 below −104. Subtract the row's maximum "
    "first: it cancels in the quotient.",
    {"x - tl.max(x, axis=0)": "x"},
)

row_stride_of_another_matrix = changed(
    softmax_kernel,
    "row_stride_of_another_matrix",
    "Row r of x begins r · x_row elements on, row r of the output r · out_row. Neither is always "
    "the number of columns, nor are the two equal: each may be a part of a wider matrix.",
    {"row * x_row": "row * num_columns", "row * out_row": "row * num_columns"},
)


no_mask_on_the_load = changed(
    softmax_kernel,
    "no_mask_on_the_load",
    "BLOCK is a power of two, and a row mostly is not. Without a mask, tl.load takes the numbers "
    "after the row's end into its maximum and sum. Give it the mask columns < num_columns, and "
    'other=-float("inf").',
    {', mask=inside, other=-float("inf")': ""},
)

no_mask_on_the_store = changed(
    softmax_kernel,
    "no_mask_on_the_store",
    "BLOCK is a power of two, and a row mostly is not. Without a mask, tl.store overwrites what "
    "lies after the row's end. Give it the mask columns < num_columns.",
    {"/ tl.sum(weights, axis=0), mask=inside)": "/ tl.sum(weights, axis=0))"},
)

not_a_number_beyond_the_row = changed(
    softmax_kernel,
    "not_a_number_beyond_the_row",
    "Where its mask is false, tl.load gives `other`; without one, nothing is defined, which the "
    "interpreter here makes NaN. What lies beyond the row must not spoil it: load −∞ there, "
    'other=-float("inf"), whose exponential is 0.',
    {', other=-float("inf")': ""},
)

minimum_for_maximum = changed(
    softmax_kernel,
    "minimum_for_maximum",
    "The smallest number is subtracted, not the largest: exponentials overflow, and beyond the "
    "row −∞ − (−∞) is not a number. tl.max, not tl.min.",
    {"tl.max(": "tl.min("},
)

row_loaded_again = changed(
    softmax_kernel,
    "row_loaded_again",
    "The row is loaded more than once. What tl.load gives stays on chip for as long as a variable "
    "holds it: load it once, and take maximum, exponentials and sum from that.",
    {
        "    weights = tl.exp(x - tl.max(x": "    again = tl.load(x_ptr + row * x_row + columns, "
        'mask=inside, other=-float("inf"))\n    weights = tl.exp(x - tl.max(again.to(tl.float32)'
    },
)

weights_not_normalised = changed(
    softmax_kernel,
    "weights_not_normalised",
    "The exponentials are stored as they are. Divide them by their sum.",
    {"weights / tl.sum(weights, axis=0)": "weights"},
)

normalised_by_the_number_of_columns = changed(
    softmax_kernel,
    "normalised_by_the_number_of_columns",
    "The exponentials are divided by the number of columns. Divide them by their sum.",
    {"weights / tl.sum(weights, axis=0)": "weights / num_columns"},
)

logarithm_of_the_softmax = changed(
    softmax_kernel,
    "logarithm_of_the_softmax",
    "It is the logarithm of the softmax: x less the logsumexp. Take its exponential.",
    {
        "weights / tl.sum(weights, axis=0)": "x - tl.max(x, axis=0) - "
        "tl.log(tl.sum(weights, axis=0))"
    },
)

rows_of_the_output_elsewhere = changed(
    softmax_kernel,
    "rows_of_the_output_elsewhere",
    "The rows of the output are written to another place. Row r begins at out_ptr + r · out_row: "
    "not r · x_row, since each may be a part of a matrix of its own width.",
    {"row * out_row": "row * x_row"},
)


# --- flash_attention_kernel ----------------------------------------------------------------------

accumulator_not_rescaled = changed(
    flash_attention_kernel,
    "accumulator_not_rescaled",
    "What the accumulator holds was weighted with the old maximum. When a tile brings a larger "
    "one, the accumulator must be multiplied by exp(old − new), as the row sum is.",
    {"accumulator * rescale[:, None] + product": "accumulator + product"},
)

row_sum_not_rescaled = changed(
    flash_attention_kernel,
    "row_sum_not_rescaled",
    "The row sum was taken with the old maximum. When a tile brings a larger one, it must be "
    "multiplied by exp(old − new) before the tile's weights are added, as the accumulator is.",
    {"row_sum * rescale + tl.sum": "row_sum + tl.sum"},
)

two_types_in_one_product = changed(
    flash_attention_kernel,
    "two_types_in_one_product",
    "tl.dot multiplies two tiles of one type, and one of yours is float32 where the inputs are "
    "float16: the weights are, until they are cast, weights.to(v.dtype). The product is still "
    "added in float32.",
    {"weights.to(v.dtype)": "weights"},
)

accumulated_in_the_type_of_the_values = changed(
    flash_attention_kernel,
    "accumulated_in_the_type_of_the_values",
    "The accumulator is added to in every tile. In float16 or bfloat16 each addition rounds to 11 "
    "or 8 bits: keep it in float32, and cast once, when it is stored.",
    {
        "row_max = new_max": "accumulator = accumulator.to(v.dtype).to(tl.float32)\n"
        "            row_max = new_max"
    },
)

last_tile_of_keys_not_masked = changed(
    flash_attention_kernel,
    "last_tile_of_keys_not_masked",
    "The last tile reaches beyond the last key where n_k is no multiple of BLOCK_K. What is "
    "loaded there as 0 has the score 0, and not the weight 0: set these scores to −∞.",
    {"seen = keys[None, :] < n_k": "seen = keys[None, :] >= 0"},
)

keys_loaded_without_a_mask = changed(
    flash_attention_kernel,
    "keys_loaded_without_a_mask",
    "The last tile reaches beyond the last key. What lies there in memory is loaded, and 0 times "
    "NaN or infinity is NaN, even where the weight is 0: give tl.load a mask, and other=0.0.",
    {", mask=keys[:, None] < n_k, other=0.0": ""},
)

minus_infinity_from_minus_infinity = changed(
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

strides_assumed_contiguous = changed(
    flash_attention_kernel,
    "strides_assumed_contiguous",
    "The next key is k_row elements on, not D: that holds for contiguous tensors only, and keys "
    "are often a view of a larger tensor.",
    {"first_key * k_row": "first_key * D", "first_key * v_row": "first_key * D"},
)

values_walked_with_the_stride_of_the_keys = changed(
    flash_attention_kernel,
    "values_walked_with_the_stride_of_the_keys",
    "The next value is v_row elements on, and the next key k_row. The two differ where keys and "
    "values are views of different tensors.",
    {"first_key * v_row": "first_key * k_row"},
)

keys_not_advanced = changed(
    flash_attention_kernel,
    "keys_not_advanced",
    "The loop loads the first tile of keys again and again: the one that begins at first_key is "
    "at k_tile + first_key * k_row.",
    {"k_tile + first_key * k_row": "k_tile"},
)

hidden_scores_set_to_0 = changed(
    flash_attention_kernel,
    "hidden_scores_set_to_0",
    "A score of 0 is not a weight of 0: exp(0) is 1. Set the scores that are hidden to −∞.",
    {'tl.where(seen, scores, -float("inf"))': "tl.where(seen, scores, 0.0)"},
)

scale_inside_the_exponential_twice = changed(
    flash_attention_kernel,
    "scale_inside_the_exponential_twice",
    "The scores are scaled when they are computed, and again inside of the exponential: the "
    "weights are those of scores divided by d, not by √d.",
    {
        "scores - new_max[:, None])": "(scores - new_max[:, None]) * scale)",
        "row_max - new_max)": "(row_max - new_max) * scale)",
    },
)

no_scale = changed(
    flash_attention_kernel,
    "no_scale",
    "The scores are multiplied by `scale`, 1/√d, before the softmax. Here they are not.",
    {"(scale * 1.4426950408889634)": "1.4426950408889634"},
)

powers_of_two_of_unscaled_scores = changed(
    flash_attention_kernel,
    "powers_of_two_of_unscaled_scores",
    "exp2(x) is 2ˣ, and exp(x) is 2^(x · log₂ e): multiply the scores by log₂ e = 1.4427 before "
    "exp2, or use exp.",
    {"(scale * 1.4426950408889634)": "scale"},
)

causal_by_tiles = changed(
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

causal_hides_the_query_itself = changed(
    flash_attention_kernel,
    "causal_hides_the_query_itself",
    "A query sees the key at its own position: the comparison is <=, not <.",
    {
        "(keys[None, :] <= queries[:, None])": "(keys[None, :] < queries[:, None])",
        "(first_query + 1) // BLOCK_K": "first_query // BLOCK_K",
    },
)

later_tiles_are_multiplied = changed(
    flash_attention_kernel,
    "later_tiles_are_multiplied",
    "The numbers are right, but twice the work is done: in a causal program, tiles of keys that "
    "begin after the last query are hidden altogether. End the loop before them.",
    {"end = min(n_k, first_query + BLOCK_Q)": "end = n_k"},
)

logsumexp_without_the_maximum = changed(
    flash_attention_kernel,
    "logsumexp_without_the_maximum",
    "The row sum is that of exp(s − max). Its logarithm lacks the maximum: add it.",
    {"(row_max + tl.log2(row_sum))": "tl.log2(row_sum)"},
)

logsumexp_in_powers_of_two = changed(
    flash_attention_kernel,
    "logsumexp_in_powers_of_two",
    "The scores were multiplied by log₂ e, so that maximum and logarithm are those of powers of "
    "two. The backward kernels need the natural logarithm: multiply by log 2 = 0.6931.",
    {" * 0.6931471805599453": ""},
)

output_not_normalised = changed(
    flash_attention_kernel,
    "output_not_normalised",
    "The accumulator is the sum of values with weights that are not normalised: divide it by the "
    "row sum after the last tile.",
    {"accumulator / row_sum[:, None]": "accumulator"},
)

maximum_that_begins_too_high = changed(
    flash_attention_kernel,
    "maximum_that_begins_too_high",
    "The running maximum begins at a number like 0. Where all scores are far below it, the "
    "exponential of each less 0 is 0, and the output is 0/0. Begin at −∞.",
    {'row_max = tl.full((BLOCK_Q,), -float("inf")': "row_max = tl.full((BLOCK_Q,), 0.0"},
)

maximum_of_the_tile_alone = changed(
    flash_attention_kernel,
    "maximum_of_the_tile_alone",
    "The maximum of the tile takes the place of the running maximum. Where it is lower than an "
    "earlier one, exp(old − new) overflows. Take the larger of the two, tl.maximum.",
    {"tl.maximum(row_max, tl.max(scores, axis=1))": "tl.max(scores, axis=1)"},
)

nothing_rescaled = changed(
    flash_attention_kernel,
    "nothing_rescaled",
    "Neither the row sum nor the accumulator is rescaled when a tile brings a larger maximum: "
    "each tile is relative to another one. Multiply both by exp(old − new).",
    {"rescale = tl.exp2(row_max - new_max)": "rescale = tl.full((BLOCK_Q,), 1.0, tl.float32)"},
)

causal_forgotten = changed(
    flash_attention_kernel,
    "causal_forgotten",
    "CAUSAL is not used: every query sees every key.",
    {
        "if CAUSAL:\n        whole": "if False:\n        whole",
        "seen = seen & (keys[None, :] <= queries[:, None])": "seen = seen",
    },
)

causal_shows_the_next_key = changed(
    flash_attention_kernel,
    "causal_shows_the_next_key",
    "A query sees the key after it. Query i sees keys 0 to i: keys[None, :] <= queries[:, None].",
    {
        "(keys[None, :] <= queries[:, None])": "(keys[None, :] <= queries[:, None] + 1)",
        "end = min(n_k, first_query + BLOCK_Q)": "end = min(n_k, first_query + BLOCK_Q + 1)",
    },
)

causal_shows_the_next_key_of_its_tiles = changed(
    flash_attention_kernel,
    "causal_shows_the_next_key_of_its_tiles",
    "A query sees the key after it, where that is in a tile which is multiplied. Query i sees keys "
    "0 to i: keys[None, :] <= queries[:, None].",
    {"(keys[None, :] <= queries[:, None])": "(keys[None, :] <= queries[:, None] + 1)"},
)

last_keys_left_out = changed(
    flash_attention_kernel,
    "last_keys_left_out",
    "The last keys are left out where n_k is no multiple of BLOCK_K. The last tile of keys has "
    "fewer of them: go on to n_k, and mask what lies beyond.",
    {"n_k // BLOCK_K * BLOCK_K, n_k": "n_k // BLOCK_K * BLOCK_K, n_k // BLOCK_K * BLOCK_K"},
)

running_sum_of_the_last_tile = changed(
    flash_attention_kernel,
    "running_sum_of_the_last_tile",
    "The row sum holds the last tile's weights alone. It goes over all tiles: what it held, "
    "rescaled, plus the sum of the tile.",
    {"row_sum * rescale + tl.sum(weights, axis=1)": "tl.sum(weights, axis=1)"},
)

divided_in_the_loop = changed(
    flash_attention_kernel,
    "divided_in_the_loop",
    "The accumulator is divided by the row sum in the loop, after each tile, so what came earlier "
    "is divided again and again. Divide once, after the last tile.",
    {
        "row_max = new_max": "accumulator = accumulator / row_sum[:, None]\n"
        "            row_max = new_max",
        "accumulator / row_sum[:, None]\n    lse": "accumulator\n    lse",
    },
)

logsumexp_without_the_logarithm = changed(
    flash_attention_kernel,
    "logsumexp_without_the_logarithm",
    "The row sum is added in place of its logarithm: logsumexp = maximum + log(row sum).",
    {"tl.log2(row_sum)": "row_sum"},
)

masked_loads_without_other = changed(
    flash_attention_kernel,
    "masked_loads_without_other",
    "tl.load has a mask and no `other`: what it gives past the last key is not defined, and may "
    "be NaN, which 0 does not hide. Say what it is: other=0.0.",
    {"mask=keys[:, None] < n_k, other=0.0": "mask=keys[:, None] < n_k"},
)

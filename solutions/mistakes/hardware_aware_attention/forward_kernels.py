"""Wrong versions of flash_attention_kernel: the solution, changed."""

from solutions.hardware_aware_attention.kernels import flash_attention_kernel
from solutions.mistakes.hardware_aware_attention.changed_kernel import changed

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

keys_loaded_without_a_mask_and_hidden = changed(
    flash_attention_kernel,
    "keys_loaded_without_a_mask_and_hidden",
    "The numbers are right, since the scores beyond the last key are hidden, but the keys are read "
    "from there: on a GPU that may be another's memory, or none. Give that tl.load a mask as well.",
    {
        "k_tile + first_key * k_row, mask=keys[:, None] < n_k, other=0.0": "k_tile + first_key * "
        "k_row"
    },
)

as_many_keys_as_queries = changed(
    flash_attention_kernel,
    "as_many_keys_as_queries",
    "The number of queries is taken for that of the keys. There are n_k keys: the loop ends there, "
    "and so do the masks.",
    {
        "BLOCK_K * BLOCK_K, n_k": "BLOCK_K * BLOCK_K, n_q",
        "end = n_k //": "end = n_q //",
        "min(n_k,": "min(n_q,",
        "< n_k": "< n_q",
    },
)

key_positions_in_their_tile = changed(
    flash_attention_kernel,
    "key_positions_in_their_tile",
    "The place of a key in its tile is compared with the place of a query in the sequence. The "
    "first key of a tile is at first_key: compare first_key + tl.arange(0, BLOCK_K).",
    {"(keys[None, :] <= queries[:, None])": "(in_tile[None, :] <= queries[:, None])"},
)

"""Wrong versions of the backward kernels of 05_hardware_aware_attention: the solution, changed."""

from solutions.hardware_aware_attention.kernels import flash_dk_dv_kernel, flash_dq_kernel
from solutions.mistakes import Mistake
from solutions.mistakes.hardware_aware_attention.changed_kernel import changed

# --- The backward kernels ------------------------------------------------------------------------

delta_forgotten = changed(
    flash_dq_kernel,
    "delta_forgotten",
    "The derivative of softmax is dS = P ∘ (dP − D), where D is the row sum of dO ∘ O: a weight "
    "that grows takes from the others of its row. Here D is missing.",
    {"(grad_weights - delta[:, None])": "grad_weights"},
)

scale_missing_in_dq = changed(
    flash_dq_kernel,
    "scale_missing_in_dq",
    "S = scale · QKᵀ, so dQ = scale · dS K. The factor is missing at the end.",
    {"grad_q = grad_q * scale": "grad_q = grad_q"},
)

weights_not_normalised_in_dq = changed(
    flash_dq_kernel,
    "weights_not_normalised_in_dq",
    "The weights are exp(S − lse): the stored logsumexp holds the maximum and the sum of the whole "
    "row. A tile's own maximum and sum know nothing of the other tiles.",
    {
        "tl.exp(scores - lse[:, None])": "tl.exp(scores - tl.max(scores, axis=1)[:, None]) / "
        "tl.sum(tl.exp(scores - tl.max(scores, axis=1)[:, None]), axis=1)[:, None]"
    },
)

keys_past_the_end_keep_weight_in_dq = changed(
    flash_dq_kernel,
    "keys_past_the_end_keep_weight_in_dq",
    "A key past the end scores 0, and its weight is exp(0 − lse). Where all true scores are far "
    "below 0 that overflows, and infinity times 0 is NaN: set the weights of what is not seen to "
    "0, after the exponential.",
    {"seen = keys[None, :] < n_k": "seen = keys[None, :] >= 0"},
)

two_types_in_one_product_of_dq = changed(
    flash_dq_kernel,
    "two_types_in_one_product_of_dq",
    "tl.dot multiplies two tiles of one type, and one of yours is float32 where the inputs are "
    "float16: the gradients of the scores are, until they are cast, grad_scores.to(k.dtype).",
    {"grad_scores.to(k.dtype)": "grad_scores"},
)

hidden_keys_keep_weight_in_dq = changed(
    flash_dq_kernel,
    "hidden_keys_keep_weight_in_dq",
    "In a causal program later keys weigh nothing, in the gradients too: mask the weights by "
    "position.",
    {"(keys[None, :] <= queries[:, None])": "(keys[None, :] >= 0)"},
)

dq_of_every_tile = changed(
    flash_dq_kernel,
    "dq_of_every_tile",
    "The numbers are right, but tiles of keys after the last query are multiplied, though they "
    "weigh nothing: end the loop before them.",
    {"min(n_k, first_query + BLOCK_Q) if CAUSAL else n_k": "n_k"},
)

delta_forgotten_in_dk = changed(
    flash_dk_dv_kernel,
    "delta_forgotten_in_dk",
    "The derivative of softmax is dS = P ∘ (dP − D), where D is the row sum of dO ∘ O: a weight "
    "that grows takes from the others of its row. Here D is missing.",
    {"(grad_weights - delta[:, None])": "grad_weights"},
)

scale_missing_in_dk = changed(
    flash_dk_dv_kernel,
    "scale_missing_in_dk",
    "S = scale · QKᵀ, so dK = scale · dSᵀ Q. The factor is missing at the end.",
    {"grad_k = grad_k * scale": "grad_k = grad_k"},
)

tiles_that_do_not_fit_in_a_product = changed(
    flash_dk_dv_kernel,
    "tiles_that_do_not_fit_in_a_product",
    "In a product, the columns of the first tile must be as many as the rows of the second. Row j "
    "of dV collects from all queries what key j gave them, dV = Pᵀ dO, and so does dK = dSᵀ Q: "
    "both begin with a transpose.",
    {
        "tl.trans(weights.to(grad_out.dtype))": "weights.to(grad_out.dtype)",
        "tl.trans(grad_scores.to(q.dtype))": "grad_scores.to(q.dtype)",
    },
)

hidden_keys_keep_weight_in_dk = changed(
    flash_dk_dv_kernel,
    "hidden_keys_keep_weight_in_dk",
    "In a causal program later keys weigh nothing, in the gradients too: mask the weights by "
    "position.",
    {"(keys[None, :] <= queries[:, None])": "(keys[None, :] >= 0)"},
)

dk_of_every_tile = changed(
    flash_dk_dv_kernel,
    "dk_of_every_tile",
    "The numbers are right, but tiles of queries before the first key are multiplied, though none "
    "of them sees it: begin the loop after them.",
    {"first_key // BLOCK_Q * BLOCK_Q if CAUSAL else 0": "0"},
)


def _in_both(
    name: str, explanation: str, of_dq: dict[str, str], of_dk: dict[str, str] | None = None
) -> tuple[Mistake, Mistake]:
    """The same mistake in both kernels."""
    return (
        changed(flash_dq_kernel, name, explanation, of_dq),
        changed(flash_dk_dv_kernel, name, explanation, of_dk or of_dq),
    )


delta_added, delta_added_in_dk = _in_both(
    "delta_added",
    "D is added. The derivative of softmax is dS = P ∘ (dP − D).",
    {"(grad_weights - delta[:, None])": "(grad_weights + delta[:, None])"},
)

delta_outside_of_the_brackets, delta_outside_of_the_brackets_in_dk = _in_both(
    "delta_outside_of_the_brackets",
    "The brackets are missing: dS = P ∘ dP − D. It is P ∘ (dP − D).",
    {"weights * (grad_weights - delta[:, None])": "weights * grad_weights - delta[:, None]"},
)

opposite_sign, opposite_sign_in_dk = _in_both(
    "d_less_dp",
    "The sign of dS is turned: it is P ∘ (dP − D), and not P ∘ (D − dP).",
    {"(grad_weights - delta[:, None])": "(delta[:, None] - grad_weights)"},
)

scores_not_scaled, scores_not_scaled_in_dk = _in_both(
    "scores_not_scaled",
    "The scores are computed again without `scale`, so that the weights are not those of the "
    "forward pass: P = exp(scale · QKᵀ − lse).",
    {
        'tl.dot(q, tl.trans(k), input_precision="ieee") * scale': "tl.dot(q, tl.trans(k), "
        'input_precision="ieee")'
    },
)

lse_not_subtracted, lse_not_subtracted_in_dk = _in_both(
    "lse_not_subtracted",
    "The weights are exp(s), which do not sum to 1. With the row's logsumexp, exp(s − lse) do.",
    {"tl.exp(scores - lse[:, None])": "tl.exp(scores)"},
)

powers_of_two_for_exponentials, powers_of_two_in_dk = _in_both(
    "powers_of_two_for_exponentials",
    "exp2(x) is 2ˣ, and exp(x) is 2^(x · log₂ e): multiply by log₂ e = 1.4427 before exp2, or use "
    "exp.",
    {"tl.exp(scores": "tl.exp2(scores"},
)

scaled_twice, scaled_twice_in_dk = _in_both(
    "gradient_scaled_twice",
    "The factor `scale` is in the gradient twice, once with the gradients of the scores and once "
    "at the end. Once is enough.",
    {
        "weights * (grad_weights - delta[:, None])": "scale * weights * (grad_weights - "
        "delta[:, None])"
    },
)

causal_hides_the_query_itself, causal_hides_the_query_itself_in_dk = _in_both(
    "causal_hides_the_query_itself",
    "A query sees the key at its own position: the comparison is <=, not <.",
    {"(keys[None, :] <= queries[:, None])": "(keys[None, :] < queries[:, None])"},
)

last_rows_left_out, last_rows_left_out_in_dk = _in_both(
    "last_tile_left_out",
    "The last tile is left out where it is not a whole one. It has fewer rows: go on to the end, "
    "and mask what lies beyond.",
    {"else n_k\n": "else n_k\n    end = end // BLOCK_K * BLOCK_K\n"},
    {"range(start, n_q, BLOCK_Q)": "range(start, n_q // BLOCK_Q * BLOCK_Q, BLOCK_Q)"},
)

only_the_last_tile, only_the_last_tile_in_dk = _in_both(
    "only_the_last_tile",
    "Each tile overwrites the gradient, which then holds the last one's part alone. Every tile "
    "adds to it: += for =.",
    {"grad_q += tl.dot": "grad_q = tl.dot"},
    {"grad_v += tl.dot": "grad_v = tl.dot", "grad_k += tl.dot": "grad_k = tl.dot"},
)

the_first_tile_again_and_again, the_first_tile_again_and_again_in_dk = _in_both(
    "the_first_tile_again_and_again",
    "The loop loads the same first tile again and again: move the pointers on, by first_key * D "
    "or first_query * D.",
    {" + first_key * D": ""},
    {" + first_query * D": ""},
)

values_for_keys = changed(
    flash_dq_kernel,
    "values_for_keys",
    "dS is multiplied by the values. Scores are made of queries and keys, so dQ = scale · dS K.",
    {"tl.dot(grad_scores.to(k.dtype), k,": "tl.dot(grad_scores.to(k.dtype), v,"},
)

dv_scaled = changed(
    flash_dk_dv_kernel,
    "dv_scaled",
    "dV is multiplied by `scale`, too. The scale belongs to the scores, and so to dQ and dK: "
    "dV = Pᵀ dO.",
    {"grad_k = grad_k * scale": "grad_k = grad_k * scale\n    grad_v = grad_v * scale"},
)

first_tiles_left_out = changed(
    flash_dk_dv_kernel,
    "first_tiles_left_out",
    "The loop over queries starts after the keys of this tile, so that those on the diagonal are "
    "left out. Query i sees key i: start with the tile in which the first key's position is.",
    {"first_key // BLOCK_Q": "(first_key + BLOCK_K) // BLOCK_Q"},
)

statistics_of_the_first_tile = changed(
    flash_dk_dv_kernel,
    "statistics_of_the_first_tile",
    "lse and delta are those of the first tile of queries, in every tile. They belong to the "
    "queries: move their pointers on by first_query as well.",
    {
        "lse_ptr + rows + first_query": "lse_ptr + rows",
        "delta_ptr + rows + first_query": "delta_ptr + rows",
    },
)

as_many_queries_as_keys = changed(
    flash_dk_dv_kernel,
    "as_many_queries_as_keys",
    "The number of keys is taken for that of the queries. There are n_q queries: the loop ends "
    "there, and so do the masks.",
    {"range(start, n_q,": "range(start, n_k,", "queries < n_q": "queries < n_k"},
)

hidden_weights_times_0 = changed(
    flash_dk_dv_kernel,
    "hidden_weights_times_0",
    "Hidden weights are multiplied by 0. Where a hidden score is far above the row's logsumexp its "
    "exponential is infinite, and infinity times 0 is NaN: choose 0 there, with tl.where.",
    {"tl.where(seen, tl.exp(scores - lse[:, None]), 0.0)": "tl.exp(scores - lse[:, None]) * seen"},
)

loaded_without_a_mask_and_hidden, loaded_without_a_mask_and_hidden_in_dk = _in_both(
    "loaded_without_a_mask_and_hidden",
    "The numbers are right, since what is beyond the end is hidden later, but it is read: on a GPU "
    "that may be another's memory, or none. Give every tl.load a mask.",
    {
        "v = tl.load(v_ptr + k_place + first_key * D, mask=keys[:, None] < n_k, other=0.0)": "v = "
        "tl.load(v_ptr + k_place + first_key * D)",
        "weights * (grad_weights - delta[:, None])": "tl.where(seen, weights * (grad_weights - "
        "delta[:, None]), 0.0)",
    },
    {"lse_ptr + rows + first_query, mask=inside, other=0.0": "lse_ptr + rows + first_query"},
)

"""Wrong Triton kernels for 05_hardware_aware_attention that look right at first sight."""

from solutions.hardware_aware_attention import kernels as right
from tests.autograder.exercises.hardware_aware_attention.variants import variant

SOFTMAX, FLASH, DQ, DK_DV = (
    right.softmax_kernel,
    right.flash_attention_kernel,
    right.flash_dq_kernel,
    right.flash_dk_dv_kernel,
)
KEYS_WITHOUT_MASK = {
    "tl.load(k_tile + first_key * k_row, mask=keys[:, None] < n_k, other=0.0)": "tl.load(k_tile + "
    "first_key * k_row)"
}

# Exercise -> wrong version -> the mistake that its report names, if it names one.
WRONG = {
    "softmax_kernel": {
        variant(SOFTMAX, "hidden_after_a_load_without_mask", {
            ', mask=inside, other=-float("inf")).to(tl.float32)': ").to(tl.float32)\n"
            '    x = tl.where(inside, x, -float("inf"))',
        }): "no mask on the load",
        variant(SOFTMAX, "a_negative_offset", {
            "out_ptr + row * out_row": "out_ptr - row * out_row",
        }): "rows of the output elsewhere",
        variant(SOFTMAX, "infinity_beyond_the_row", {
            '-float("inf")': 'float("inf")',
        }): "not a number beyond the row",
    },
    "flash_attention_kernel": {
        # Its result is hidden, by −∞; on a GPU it may lie anywhere.
        variant(FLASH, "keys_read_beyond_the_last", KEYS_WITHOUT_MASK): (
            "keys loaded without a mask and hidden"
        ),
        variant(FLASH, "maximum_from_minus_100_on", {
            'tl.full((BLOCK_Q,), -float("inf"), tl.float32)': "tl.full((BLOCK_Q,), -100.0, "
            "tl.float32)",
        }): "maximum that begins too high",
        variant(FLASH, "one_tile_too_many", {
            "end = min(n_k, first_query + BLOCK_Q)": "end = min(n_k, first_query + BLOCK_Q + 1)",
        }): "",
        variant(FLASH, "a_wild_pointer", {
            "    row_max = tl.full": "    tl.store(q_ptr - 2000000000 * num_heads, 0.0)\n"
            "    row_max = tl.full",
        }): "",
    },
    "flash_dq_kernel": {
        variant(DQ, "queries_written_over", {
            "    grad_q = grad_q * scale": "    tl.store(q_ptr + q_place, q, mask=there[:, None])\n"
            "    grad_q = grad_q * scale",
        }): "",
    },
    "flash_dk_dv_kernel": {
        variant(DK_DV, "later_queries_hidden", {
            "keys[None, :] <= queries": "keys[None, :] >= queries",
        }): "",
    },
}  # fmt: skip

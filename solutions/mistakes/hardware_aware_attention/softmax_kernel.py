"""Wrong versions of softmax_kernel in 05_hardware_aware_attention: the solution, changed."""

from solutions.hardware_aware_attention.kernels import softmax_kernel
from solutions.mistakes.hardware_aware_attention.changed_kernel import changed

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

rows_of_the_input_elsewhere = changed(
    softmax_kernel,
    "rows_of_the_input_elsewhere",
    "The rows are read from another place. Row r begins at x_ptr + r · x_row: x may be a part of a "
    "wider matrix, and x_row is then more than the number of columns.",
    {"row * x_row": "row * num_columns"},
)

zero_beyond_the_row_in_the_maximum = changed(
    softmax_kernel,
    "zero_beyond_the_row_in_the_maximum",
    "What lies beyond the row is left out of the sum, and not out of the maximum, where it is 0. "
    "All of a row far below 0 then becomes 0, and 0/0 is not a number. Load −∞ there, "
    'other=-float("inf").',
    {
        'other=-float("inf")': "other=0.0",
        "tl.exp(x - tl.max(x, axis=0))": "tl.where(inside, tl.exp(x - tl.max(x, axis=0)), 0.0)",
    },
)

"""Wrong versions of online_softmax in 05_hardware_aware_attention."""
# ruff: noqa: E741  (l is the papers' letter)

import math

import torch

from solutions import hardware_aware_attention as right
from solutions.mistakes import mistake


def _blockwise(
    x,
    block_size,
    start=None,
    rescale_sum=True,
    rescale_weights=True,
    running_max=True,
    narrow=False,
    alpha=lambda m, m_new: torch.exp(m - m_new),
    largest_of=lambda block: block.amax(dim=-1, keepdim=True),
    total_of=lambda l: l.where(l != 0, 1.0),
):
    # The solution, with one thing in it left out or done otherwise.
    dtype = x.dtype if narrow else torch.promote_types(x.dtype, torch.float32)
    start = torch.finfo(dtype).min if start is None else start
    m = torch.full((*x.shape[:-1], 1), start, dtype=dtype)
    l, seen = torch.zeros_like(m), []
    for block in x.split(block_size, dim=-1):
        block = block.to(dtype)
        largest = largest_of(block)
        m_new = torch.maximum(m, largest) if running_max else largest
        p = torch.exp(block - m_new)
        l = (alpha(m, m_new) if rescale_sum else 1) * l + p.sum(dim=-1, keepdim=True)
        m = m_new
        seen.append((p, m))
    total = total_of(l)
    weights = [p * (alpha(m_then, m) if rescale_weights else 1) / total for p, m_then in seen]
    return torch.cat(weights, dim=-1).to(x.dtype)


def _max_and_sum(x, block_size):
    m = x.new_full((*x.shape[:-1], 1), torch.finfo(x.dtype).min, dtype=torch.float64)
    l = torch.zeros_like(m)
    for block in x.split(block_size, dim=-1):
        m_new = torch.maximum(m, block.amax(dim=-1, keepdim=True))
        p = torch.exp(block - m_new)
        l, m = torch.exp(m - m_new) * l + p.sum(dim=-1, keepdim=True), m_new
    return m, l.clamp(min=1)


@mistake(
    right.online_softmax,
    "The running sum is not rescaled. What it holds is relative to the old maximum: when that "
    "grows, multiply the sum by exp(m_old − m_new) before the new weights are added.",
)
def running_sum_not_rescaled(x, block_size):
    return _blockwise(x, block_size, rescale_sum=False)


@mistake(
    right.online_softmax,
    "The weights of earlier blocks keep the maximum of their time. When it grows, what was "
    "computed before is too large by exp(m_new − m_old): rescale it, then or at the end.",
)
def earlier_weights_not_rescaled(x, block_size):
    return _blockwise(x, block_size, rescale_weights=False)


@mistake(
    right.online_softmax,
    "Neither the running sum nor the earlier weights are rescaled when the maximum grows. Each "
    "block is then relative to another maximum. Multiply both by exp(m_old − m_new).",
)
def nothing_rescaled(x, block_size):
    return _blockwise(x, block_size, rescale_sum=False, rescale_weights=False)


@mistake(
    right.online_softmax,
    "Every block is normalised on its own, so the weights of a row sum to the number of its "
    "blocks. There is one sum for the whole row.",
)
def softmax_of_each_block(x, block_size):
    blocks = x.split(block_size, dim=-1)
    return torch.cat([b.softmax(dim=-1).nan_to_num(0.0) for b in blocks], dim=-1)


@mistake(
    right.online_softmax,
    "The running maximum starts at a number like 0. Where all of x is far below it, exp(x − 0) is "
    "0 for each, and nothing is left to normalise. Start at −∞, or at the lowest number there is.",
)
def running_max_that_begins_too_high(x, block_size):
    return _blockwise(x, block_size, start=0.0)


@mistake(
    right.online_softmax,
    "The maximum of the block takes the place of the running maximum. Where it is lower than an "
    "earlier one, exp(m_old − m_new) overflows. Take the larger of the two.",
)
def max_of_the_block_for_the_running_max(x, block_size):
    return _blockwise(x, block_size, running_max=False)


@mistake(
    right.online_softmax,
    "No maximum is subtracted: exp(89) is more than float32 can hold, and ∞/∞ is NaN. Far below 0 "
    "all weights vanish. Subtract the running maximum; it changes no weight.",
)
def max_not_subtracted(x, block_size):
    l, seen = 0, []
    for block in x.split(block_size, dim=-1):
        p = torch.exp(block.to(torch.promote_types(x.dtype, torch.float32)))
        l = l + p.sum(dim=-1, keepdim=True)
        seen.append(p)
    return (torch.cat(seen, dim=-1) / l.where(l != 0, 1.0)).to(x.dtype)


@mistake(
    right.online_softmax,
    "A block of only −∞ at the start of a row gives NaN: its maximum is −∞ too, and −∞ − (−∞) is "
    "not a number. Start the running maximum at the lowest finite number, or subtract 0 while it "
    "is −∞.",
)
def minus_infinity_subtracted_from_itself(x, block_size):
    return _blockwise(x, block_size, start=-math.inf)


@mistake(
    right.online_softmax,
    "A row of only −∞ gives NaN: its sum is 0, and 0/0 is not a number. It has no weight to give: "
    "return zeros.",
)
def nan_for_a_row_of_minus_infinity(x, block_size):
    output = right.online_softmax(x, block_size)
    return output.where(output.sum(dim=-1, keepdim=True) > 0, torch.nan)


@mistake(
    right.online_softmax,
    "The running sum is kept in the half precision of x. 256 + 1 is 256 in bfloat16, so it stops "
    "growing in long rows. Keep maximum and sum in float32.",
)
def running_sum_in_half_precision(x, block_size):
    return _blockwise(x, block_size, narrow=True)


@mistake(
    right.online_softmax,
    "The last columns are left out where n is not a multiple of the block: n // block_size rounds "
    "down. The last block may be shorter.",
)
def ragged_end_left_out(x, block_size):
    whole = x.shape[-1] // block_size * block_size
    output = torch.zeros_like(x)
    output[..., :whole] = right.online_softmax(x[..., :whole], block_size) if whole else 0
    return output


@mistake(
    right.online_softmax,
    "The numbers are right, but after the last block all of x is read again, as for "
    "exp(x − m) / l. Keep what each block gave, and rescale that.",
)
def final_pass_over_the_input(x, block_size):
    m, l = _max_and_sum(x, block_size)
    return (torch.exp(x - m) / l).to(x.dtype)


@mistake(
    right.online_softmax,
    "The numbers are right, but the blocks of x are read once more, for the weights, when all of "
    "them have been seen. Keep what each block gave, and rescale that.",
)
def second_pass_over_the_blocks(x, block_size):
    m, l = _max_and_sum(x, block_size)
    weights = [torch.exp(block - m) / l for block in x.split(block_size, dim=-1)]
    return torch.cat(weights, dim=-1).to(x.dtype)


@mistake(
    right.online_softmax,
    "The numbers are right, but an operation reads more of x than a block: a softmax or a maximum "
    "of the whole row, or a copy of x by clone, pad, or a change of its type. Take each block as "
    "a slice of x.",
)
def more_than_a_block_read_at_once(x, block_size):
    return right.online_softmax(x.clone(), block_size)


@mistake(
    right.online_softmax,
    "The numbers are right, but x is taken in smaller steps than `block_size` says, perhaps number "
    "by number. Take a whole block in one operation.",
)
def steps_smaller_than_a_block(x, block_size):
    return right.online_softmax(x, 1)


@mistake(
    right.online_softmax,
    "What was computed before is multiplied by exp(m_new − m_old): the exponent has the wrong "
    "sign. What is relative to the old maximum becomes smaller: exp(m_old − m_new).",
)
def rescaled_the_wrong_way(x, block_size):
    return _blockwise(x, block_size, alpha=lambda m, m_new: torch.exp(m_new - m))


@mistake(
    right.online_softmax,
    "The weights are not normalised: divide them by the sum of the whole row.",
)
def not_divided_by_the_sum(x, block_size):
    return _blockwise(x, block_size, total_of=torch.ones_like)


@mistake(
    right.online_softmax,
    "The weights are divided by the length of the row. Divide them by their sum.",
)
def divided_by_the_number_of_columns(x, block_size):
    return _blockwise(x, block_size, total_of=lambda l: torch.full_like(l, x.shape[-1]))


@mistake(
    right.online_softmax,
    "All rows have the same maximum: amax without a dimension. In a row that is far below the "
    "others every exponential is 0. Each row has its own, amax(dim=-1, keepdim=True).",
)
def one_maximum_for_all_rows(x, block_size):
    return _blockwise(x, block_size, largest_of=lambda block: block.amax().expand(*x.shape[:-1], 1))


@mistake(
    right.online_softmax,
    "The weights of a block are divided by the sum of its time, which lacks what came later. "
    "Divide at the end, by the sum of the whole row.",
)
def divided_by_the_sum_of_its_time(x, block_size):
    m = x.new_full((*x.shape[:-1], 1), torch.finfo(x.dtype).min).to(
        torch.promote_types(x.dtype, torch.float32)
    )
    l, weights = torch.zeros_like(m), []
    for block in x.split(block_size, dim=-1):
        block = block.to(m.dtype)
        m_new = torch.maximum(m, block.amax(dim=-1, keepdim=True))
        p = torch.exp(block - m_new)
        l, m = torch.exp(m - m_new) * l + p.sum(dim=-1, keepdim=True), m_new
        weights.append(p / l.clamp(min=1))
    return torch.cat(weights, dim=-1).to(x.dtype)


@mistake(
    right.online_softmax,
    "A small number is added to the sum. The largest number of a row adds 1 to it, so nothing "
    "needs protection but a row of only −∞: clamp(min=1), or a sum of 1 where it is 0.",
)
def a_small_number_added_to_the_sum(x, block_size):
    return _blockwise(x, block_size, total_of=lambda l: l + 1e-6)


@mistake(
    right.online_softmax,
    "A row of only −∞ gets equal weights: its −∞ were replaced by the lowest number, and that less "
    "itself is 0. It has no weight to give: return zeros.",
)
def equal_weights_for_a_row_of_minus_infinity(x, block_size):
    return right.online_softmax(x.clamp(min=torch.finfo(x.dtype).min), block_size)

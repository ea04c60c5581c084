"""Wrong versions of the exercises of 01_sparse_attention on masks and their reach."""

import math

import torch

from solutions import sparse_attention as right
from solutions.mistakes import mistake


def _distance(n):
    return torch.arange(n).unsqueeze(-1) - torch.arange(n)


def _window(n, before, after, causal):
    distance = _distance(n)
    near = (distance <= before) & (distance >= -after)
    return near & (distance >= 0) if causal else near


@mistake(
    right.sliding_window_mask,
    "The window is one too wide: query i sees window + 1 keys on a side. |i − j| may be equal to "
    "`window`, and no more.",
)
def one_too_wide(n, window, causal):
    return _window(n, window + 1, window + 1, causal)


@mistake(
    right.sliding_window_mask,
    "The window is one too narrow: |i − j| < window leaves window − 1 keys on each side, beside "
    "the own position. Use ≤.",
)
def one_too_narrow(n, window, causal):
    return _window(n, window - 1, window - 1, causal)


@mistake(
    right.sliding_window_mask,
    "`window` is shared between both sides here, as in the Longformer paper, whose w counts both. "
    "In this course `window` is the number of keys on each side.",
)
def window_shared_by_both_sides(n, window, causal):
    return _window(n, window // 2, window // 2, causal)


@mistake(
    right.sliding_window_mask,
    "`causal` changes nothing: a query sees keys that come after it.",
)
def later_keys_seen_although_causal(n, window, causal):
    return _window(n, window, window, causal=False)


@mistake(
    right.sliding_window_mask,
    "With `causal`, a query sees what comes after it and not what came before: rows and columns "
    "are exchanged. Row i is the query: i − j must be 0 or more.",
)
def causal_the_wrong_way(n, window, causal):
    return _window(n, window, window, causal).mT


@mistake(
    right.sliding_window_mask,
    "The diagonal is missing: a query does not see its own position. The window has `window` keys "
    "on each side, and the query's own.",
)
def own_position_missing(n, window, causal):
    return _window(n, window, window, causal) & (_distance(n) != 0)


def _strided(n, stride, near=None, column=None, causal=True):
    distance = _distance(n)
    near = distance.abs() <= stride if near is None else near
    column = distance % stride == 0 if column is None else column
    return (near | column) & (distance >= 0 if causal else torch.tensor(True))


@mistake(
    right.strided_mask,
    "The pattern is not causal: a query sees keys after it. The Sparse Transformer generates: "
    "j ≤ i.",
)
def later_keys_seen_too(n, stride):
    return _strided(n, stride, causal=False)


@mistake(
    right.strided_mask,
    "Nothing hides the keys after a query: i − j ≤ stride holds for all of them, since i − j is "
    "negative there. Ask for j ≤ i as well.",
)
def all_later_keys_are_near(n, stride):
    return _strided(n, stride, near=_distance(n) <= stride, causal=False)


@mistake(
    right.strided_mask,
    "The near keys are causal, and the columns are not. Ask for j ≤ i of both sets.",
)
def columns_that_run_on_after_the_query(n, stride):
    distance = _distance(n)
    return _strided(n, stride, near=(distance >= 0) & (distance <= stride), causal=False)


@mistake(
    right.strided_mask,
    "A query does not see itself. Distance 0 is near, and it is a whole number of strides.",
)
def diagonal_missing(n, stride):
    return right.strided_mask(n, stride) & (_distance(n) != 0)


@mistake(
    right.strided_mask,
    "The columns are fixed: every query sees the keys 0, stride, 2·stride … In the strided "
    "pattern they move with the query: (i − j) mod stride = 0.",
)
def columns_that_do_not_move(n, stride):
    return _strided(n, stride, column=(torch.arange(n) % stride == 0).expand(n, n))


@mistake(
    right.strided_mask,
    "The near keys are those of the query's own row of `stride` tokens, which is the fixed "
    "pattern. Here they are the last ones before the query: i − j ≤ stride.",
)
def own_row_instead_of_the_last_keys(n, stride):
    row = torch.arange(n) // stride
    return _strided(n, stride, near=row.unsqueeze(-1) == row)


@mistake(
    right.strided_mask,
    "Only the keys whole strides away are seen. The strided pattern is two sets: those, and the "
    "nearest `stride`.",
)
def near_keys_missing(n, stride):
    return _strided(n, stride, near=torch.zeros(n, n, dtype=torch.bool))


@mistake(
    right.strided_mask,
    "Only the near keys are seen: a sliding window. The second set, whole strides away, is what "
    "reaches far.",
)
def columns_missing(n, stride):
    return _strided(n, stride, column=torch.zeros(n, n, dtype=torch.bool))


@mistake(
    right.strided_mask,
    "Both sets are intersected: this leaves distance 0 and distance `stride`. A query sees a key "
    "of either set.",
)
def both_sets_intersected(n, stride):
    distance = _distance(n)
    return (distance >= 0) & (distance <= stride) & (distance % stride == 0)


def _fixed(n, stride, is_summary, same_block=None):
    block = torch.arange(n) // stride
    same_block = block.unsqueeze(-1) == block if same_block is None else same_block
    return same_block | is_summary


@mistake(right.fixed_mask, "The pattern is not causal: a query sees keys after it. Keep j ≤ i.")
def fixed_but_not_causal(n, stride, num_summary):
    return _fixed(n, stride, torch.arange(n) % stride >= stride - num_summary)


@mistake(
    right.fixed_mask,
    "The summaries are the first keys of each block. They must be the last: those have seen the "
    "whole block, and can pass it on.",
)
def summaries_at_the_beginning(n, stride, num_summary):
    return _fixed(n, stride, torch.arange(n) % stride < num_summary).tril()


@mistake(
    right.fixed_mask,
    "One summary too many in each block: j mod stride ≥ stride − num_summary are exactly "
    "`num_summary` keys.",
)
def one_summary_too_many(n, stride, num_summary):
    return _fixed(n, stride, torch.arange(n) % stride >= stride - num_summary - 1).tril()


@mistake(
    right.fixed_mask,
    "One summary too few in each block: j mod stride may be equal to stride − num_summary. Use ≥.",
)
def one_summary_too_few(n, stride, num_summary):
    return _fixed(n, stride, torch.arange(n) % stride > stride - num_summary).tril()


@mistake(
    right.fixed_mask,
    "A query sees its own block and no summaries: nothing passes from one block to the next.",
)
def summaries_missing(n, stride, num_summary):
    return _fixed(n, stride, torch.zeros(n, dtype=torch.bool)).tril()


@mistake(
    right.fixed_mask,
    "The last queries of each block see all before them; it must be the last keys of each block "
    "that all later queries see. Whether a key is a summary depends on j, the column.",
)
def queries_instead_of_keys(n, stride, num_summary):
    is_summary = torch.arange(n) % stride >= stride - num_summary
    return _fixed(n, stride, is_summary.unsqueeze(-1)).tril()


@mistake(
    right.fixed_mask,
    "The near keys are a window that moves with the query. In the fixed pattern they are those of "
    "the query's own block: ⌊i/stride⌋ = ⌊j/stride⌋.",
)
def window_instead_of_block(n, stride, num_summary):
    is_summary = torch.arange(n) % stride >= stride - num_summary
    return _fixed(n, stride, is_summary, same_block=_distance(n).abs() < stride).tril()


@mistake(
    right.fixed_mask,
    "Only the summaries of the block before are seen. Those of every earlier block are.",
)
def summaries_of_one_block_only(n, stride, num_summary):
    is_summary = torch.arange(n) % stride >= stride - num_summary
    block = torch.arange(n) // stride
    return _fixed(n, stride, is_summary & (block.unsqueeze(-1) - block == 1)).tril()


@mistake(
    right.fixed_mask,
    "A query does not see itself: the triangle leaves out its diagonal. Keep j ≤ i, not j < i.",
)
def own_position_hidden(n, stride, num_summary):
    return right.fixed_mask(n, stride, num_summary).tril(-1)


def _bigbird(
    n,
    block_size,
    num_global_blocks,
    num_random_blocks,
    generator,
    width=1,
    rows=True,
    columns=True,
    avoid=True,
    shared=False,
):
    num_blocks = math.ceil(n / block_size)
    block = torch.arange(num_blocks)
    is_global = block < num_global_blocks
    seen = (block.unsqueeze(-1) - block).abs() <= width
    always = (block.unsqueeze(-1) - block).abs() <= 1
    always = always | is_global | is_global.unsqueeze(-1)
    seen = seen | (is_global if columns else False)
    seen = seen | (is_global.unsqueeze(-1) if rows else False)
    lot = torch.rand(1 if shared else num_blocks, num_blocks, generator=generator)
    lot = lot.expand(num_blocks, num_blocks)
    lot = lot.masked_fill(always, -1) if avoid else lot
    chosen = lot.topk(min(num_random_blocks, num_blocks), dim=-1)
    picked = torch.zeros_like(seen).scatter(-1, chosen.indices, chosen.values >= 0)
    of_token = torch.arange(n) // block_size
    return (seen | picked)[of_token][:, of_token]


@mistake(
    right.bigbird_mask,
    "The global blocks see every block, but nobody sees them: rows without columns. What they "
    "gather must reach the others, so every block sees them too.",
)
def global_rows_without_global_columns(*settings):
    return _bigbird(*settings, columns=False)


@mistake(
    right.bigbird_mask,
    "Every block sees the global blocks, but these see only their neighbours: columns without "
    "rows. A global block sees every block.",
)
def global_columns_without_global_rows(*settings):
    return _bigbird(*settings, rows=False)


@mistake(
    right.bigbird_mask,
    "Some of the random blocks are in the window or global, where they add nothing. Draw only "
    "from the blocks that are not seen yet.",
)
def random_blocks_that_hit_the_window(*settings):
    return _bigbird(*settings, avoid=False)


@mistake(
    right.bigbird_mask,
    "A block sees itself, and not its two neighbours: the window of Big Bird is three blocks.",
)
def window_of_one_block(*settings):
    return _bigbird(*settings, width=0)


@mistake(
    right.bigbird_mask,
    "One choice of random blocks serves every query block, so the same few blocks are seen by all "
    "and the others by none. Draw for each query block on its own: that is what makes the graph "
    "random, and short paths likely.",
)
def one_choice_for_every_row(*settings):
    return _bigbird(*settings, shared=True)


@mistake(
    right.bigbird_mask,
    "`generator` is not used, so an equal generator gives another mask.",
)
def generator_ignored(*settings):
    return _bigbird(*settings[:-1], None)


@mistake(
    right.bigbird_mask,
    "The random keys are drawn for each token, not for each block. Then no whole block is skipped, "
    "and nothing is saved: all tokens of a block see alike.",
)
def random_tokens_instead_of_blocks(n, block_size, num_global_blocks, num_random_blocks, generator):
    seen = _bigbird(n, block_size, num_global_blocks, 0, generator)
    count = min(n, num_random_blocks * block_size)
    lot = torch.rand(n, n, generator=generator).masked_fill(seen, -1)
    return seen.scatter(-1, lot.topk(count, dim=-1).indices, True)


@mistake(
    right.reachability,
    "The masks of the layers are added up, or united, and that is the mask again. A second layer "
    "sees what the tokens that it sees have seen: multiply the matrices.",
)
def sum_instead_of_product(mask, num_layers):
    return sum(mask.int() for _ in range(num_layers)) > 0


@mistake(
    right.reachability,
    "The direction is reversed: entry (i, j) says whether i reaches j. It must say whether the "
    "output of i depends on the input of j: row i is the query, as in the mask.",
)
def direction_reversed(mask, num_layers):
    return right.reachability(mask, num_layers).mT


@mistake(
    right.reachability,
    "One layer too many. With one layer the answer is the mask itself.",
)
def one_layer_too_many(mask, num_layers):
    return right.reachability(mask, num_layers + 1)


@mistake(
    right.reachability,
    "Everything that fewer layers reach is counted too, or every token is taken to see itself. "
    "Through attention alone, a token that the mask does not let see itself is not passed on.",
)
def reached_by_fewer_layers_as_well(mask, num_layers):
    return right.reachability(mask | torch.eye(len(mask), dtype=torch.bool), num_layers)


@mistake(
    right.reachability,
    "The number of walks is computed, and only then compared with 0. It grows exponentially with "
    "the layers: whole numbers wrap around, to 0 among others, and floating-point ones become "
    "infinite, and infinity times 0 is NaN. Compare after every layer.",
)
def walks_counted_until_they_overflow(mask, num_layers):
    return torch.linalg.matrix_power(mask.long(), num_layers) > 0


@mistake(
    right.reachability,
    "It squares: layer after layer the reach is multiplied with itself, and after L layers that is "
    "2^(L − 1) steps. Multiply with the mask.",
)
def reach_times_itself(mask, num_layers):
    for _ in range(num_layers - 1):
        mask = mask.float() @ mask.float() > 0
    return mask

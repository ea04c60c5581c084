"""Wrong versions of `bigbird_mask`."""

import math

import torch

from solutions import sparse_attention as right
from solutions.mistakes import mistake
from solutions.mistakes.sparse_attention.pairs import NUMBERS


def _bigbird(n, block_size, num_global_blocks, num_random_blocks, generator, fixed=None, draw=None):
    """Big Bird with other fixed blocks or another draw, of which it knows what goes wrong.

    fixed: (gap between blocks, global, blocks) -> what is always seen, (blocks, blocks).
    draw: (free blocks, number, generator) -> the random blocks, (blocks, blocks).
    """
    block = torch.arange(math.ceil(n / block_size))
    gap, is_global = block.unsqueeze(-1) - block, block < num_global_blocks
    seen = (fixed or _right_blocks)(gap, is_global, len(block))
    blocks = seen | (draw or _drawn)(~seen, num_random_blocks, generator)
    of_token = torch.arange(n) // block_size
    return blocks[of_token][:, of_token]


def _right_blocks(gap, is_global, blocks):
    return (gap.abs() <= 1) | is_global | is_global.unsqueeze(-1)


def _drawn(free, number, generator):
    lot = torch.rand(free.shape, generator=generator).masked_fill(~free, -1)
    return _largest(lot, number) & free


def _largest(lot, number):
    number = min(number, lot.shape[-1])
    return torch.zeros_like(lot).bool().scatter(-1, lot.topk(number, dim=-1).indices, True)


@mistake(
    right.bigbird_mask,
    "The global blocks see every block, but nobody sees them: rows without columns. What they "
    "gather must reach the others, so every block sees them too.",
)
def global_rows_without_global_columns(*settings):
    return _bigbird(*settings, lambda gap, g, n: (gap.abs() <= 1) | g.unsqueeze(-1))


@mistake(
    right.bigbird_mask,
    "Every block sees the global blocks, but these see only their neighbours: columns without "
    "rows. A global block sees every block.",
)
def global_columns_without_global_rows(*settings):
    return _bigbird(*settings, lambda gap, g, n: (gap.abs() <= 1) | g)


@mistake(
    right.bigbird_mask,
    "A block sees itself, and not its two neighbours: the window of Big Bird is three blocks.",
)
def window_of_one_block(*settings):
    return _bigbird(*settings, lambda gap, g, n: (gap == 0) | g | g.unsqueeze(-1))


@mistake(
    right.bigbird_mask,
    "The window is two blocks on each side. It is one: a block sees itself and its neighbours.",
)
def window_of_five_blocks(*settings):
    return _bigbird(*settings, lambda gap, g, n: (gap.abs() <= 2) | g | g.unsqueeze(-1))


@mistake(
    right.bigbird_mask,
    "A block sees itself and the block before, and not the one after. Big Bird is not causal.",
)
def block_after_missing(*settings):
    return _bigbird(*settings, lambda gap, g, n: (gap == 0) | (gap == 1) | g | g.unsqueeze(-1))


@mistake(
    right.bigbird_mask,
    "A block sees itself and the block after, and not the one before.",
)
def block_before_missing(*settings):
    return _bigbird(*settings, lambda gap, g, n: (gap == 0) | (gap == -1) | g | g.unsqueeze(-1))


@mistake(
    right.bigbird_mask,
    "The window wraps around: the first block sees the last, and the last the first. At the ends a "
    "block has one neighbour.",
)
def window_wraps_around(*settings):
    def fixed(gap, g, n):
        return (gap % n <= 1) | (gap % n == n - 1) | g | g.unsqueeze(-1)

    return _bigbird(*settings, fixed)


@mistake(
    right.bigbird_mask,
    "The first block does not even see itself: a slice that begins at −1 begins at the end. Begin "
    "at max(0, i − 1).",
)
def slice_from_before_the_first_block(*settings):
    def fixed(gap, g, n):
        window = gap.abs() <= 1
        window[0] = n <= 2  # of two blocks −1 is the second, of one the first
        if n == 2:
            window[0, 0] = False
        return window | g | g.unsqueeze(-1)

    return _bigbird(*settings, fixed)


@mistake(
    right.bigbird_mask,
    "The global blocks are the last ones. They are the first `num_global_blocks`.",
)
def last_blocks_global(*settings):
    def fixed(gap, g, n):
        g = g.flip(0)
        return (gap.abs() <= 1) | g | g.unsqueeze(-1)

    return _bigbird(*settings, fixed)


@mistake(
    right.bigbird_mask,
    "`num_global_blocks` is taken for a number of tokens. Whole blocks are global: compare it with "
    "the block of a token, i // block_size.",
)
def global_tokens_instead_of_blocks(n, block_size, num_global_blocks, *more):
    is_global = torch.arange(n) < num_global_blocks
    mask = right.bigbird_mask(n, block_size, 0, *more)
    return mask | is_global | is_global.unsqueeze(-1)


@mistake(
    right.bigbird_mask,
    "The window is measured in tokens, |i − j| ≤ block_size. All tokens of a block see alike: "
    "compare the blocks of both, i // block_size.",
)
def window_of_tokens(n, block_size, num_global_blocks, num_random_blocks, generator):
    token = torch.arange(n)
    near = (token.unsqueeze(-1) - token).abs() <= block_size
    settings = (n, block_size, num_global_blocks, num_random_blocks, generator)
    return near | _bigbird(*settings, lambda gap, g, n: g | g.unsqueeze(-1))


@mistake(
    right.bigbird_mask,
    "The blocks are counted from the end: the first one is shorter. Token i is in block "
    "i // block_size, and the last one is shorter.",
)
def shorter_block_at_the_beginning(n, block_size, *more):
    padding = -n % block_size
    return right.bigbird_mask(n + padding, block_size, *more)[padding:, padding:]


@mistake(
    right.bigbird_mask,
    "Block follows block in turn, token by token: i % blocks is taken for the block of token i. It "
    "is i // block_size; repeat_interleave widens a mask of blocks, repeat does not.",
)
def tokens_dealt_out_in_turn(n, block_size, *more):
    blocks = math.ceil(n / block_size)
    of_token = torch.arange(n) % blocks
    seen = right.bigbird_mask(n, block_size, *more)[::block_size, ::block_size]
    return seen[of_token][:, of_token]


@mistake(right.bigbird_mask, NUMBERS)
def numbers_instead_of_truth_values(*settings):
    return right.bigbird_mask(*settings).float()


# --- Random blocks, which the signs of the exercise tell -----------------------------------------


@mistake(
    right.bigbird_mask,
    "The random blocks are drawn with replacement: where one is drawn twice, there is one fewer. "
    "Draw different ones: randperm, or the largest of random numbers.",
)
def drawn_with_replacement(*settings):
    def draw(free, number, generator):
        drawn = torch.zeros_like(free)
        for row, may in zip(drawn, free, strict=True):
            chosen = may.nonzero().flatten()
            if len(chosen):
                picks = torch.randint(len(chosen), (number,), generator=generator)
                row[chosen[picks]] = True
        return drawn

    return _bigbird(*settings, draw=draw)


@mistake(
    right.bigbird_mask,
    "Some of the random blocks are in the window or global, where they add nothing. Draw only "
    "from the blocks that are not seen yet.",
)
def random_blocks_that_hit_the_window(*settings):
    def draw(free, number, generator):
        return _largest(torch.rand(free.shape, generator=generator), number)

    return _bigbird(*settings, draw=draw)


@mistake(
    right.bigbird_mask,
    "There is one random block more than asked for in each row.",
)
def one_random_block_too_many(*settings):
    return _bigbird(*settings, draw=lambda free, r, generator: _drawn(free, r + 1, generator))


@mistake(
    right.bigbird_mask,
    "There is one random block fewer than asked for in each row.",
)
def one_random_block_too_few(*settings):
    return _bigbird(*settings, draw=lambda free, r, generator: _drawn(free, r - 1, generator))


@mistake(
    right.bigbird_mask,
    "The random blocks go both ways: where i sees j, j sees i, and rows have more of them than "
    "asked for. Each row has its own draw, and the mask is not symmetric.",
)
def random_blocks_both_ways(*settings):
    def draw(free, number, generator):
        drawn = _drawn(free, number, generator)
        return drawn | drawn.mT

    return _bigbird(*settings, draw=draw)


@mistake(
    right.bigbird_mask,
    "The random blocks are drawn for the keys: each key block is seen by `num_random_blocks` query "
    "blocks, and queries see now more and now fewer. Rows are queries, and each draws its own.",
)
def rows_and_columns_of_random_blocks_exchanged(*settings):
    return right.bigbird_mask(*settings).mT


@mistake(right.bigbird_mask, "There are no random blocks.")
def no_random_blocks(*settings):
    return right.bigbird_mask(*settings[:3], 0, settings[4])


@mistake(
    right.bigbird_mask,
    "Each block is drawn by chance on its own, so that rows have now more and now fewer. Draw "
    "exactly `num_random_blocks` of the free ones.",
)
def each_block_by_chance(*settings):
    def draw(free, number, generator):
        return free & (torch.rand(free.shape, generator=generator) * free.sum(-1, True) < number)

    return _bigbird(*settings, draw=draw)


@mistake(
    right.bigbird_mask,
    "Where fewer blocks are free than asked for, none is taken. Take all of them there.",
)
def no_random_blocks_where_few_are_free(*settings):
    def draw(free, number, generator):
        return _drawn(free, number, generator) & (free.sum(-1, keepdim=True) >= number)

    return _bigbird(*settings, draw=draw)


@mistake(
    right.bigbird_mask,
    "The random blocks are all after the query's own. Draw among all that are not seen yet.",
)
def random_blocks_after_the_query_only(*settings):
    def draw(free, number, generator):
        return _drawn(free.triu(), number, generator)

    return _bigbird(*settings, draw=draw)


@mistake(
    right.bigbird_mask,
    "The random blocks are all before the query's own. Draw among all that are not seen yet.",
)
def random_blocks_before_the_query_only(*settings):
    def draw(free, number, generator):
        return _drawn(free.tril(), number, generator)

    return _bigbird(*settings, draw=draw)


@mistake(
    right.bigbird_mask,
    "The same blocks come out however often it is called with the same generator: nothing is "
    "drawn, or from a generator that is made anew at each call. Draw from `generator`, which goes "
    "on.",
)
def the_same_blocks_every_time(*settings):
    return _bigbird(*settings[:-1], torch.Generator().manual_seed(0))


@mistake(
    right.bigbird_mask,
    "Some blocks are never drawn, however often one tries, where there are many. Draw among all "
    "blocks that are not seen yet, up to the last.",
)
def blocks_that_are_never_drawn(*settings):
    def draw(free, number, generator):
        free[:, 9:] = False
        return _drawn(free, number, generator)

    return _bigbird(*settings, draw=draw)


@mistake(
    right.bigbird_mask,
    "One choice of random blocks serves every query block, so the same few blocks are seen by all "
    "and the others by none. Draw for each query block on its own: that is what makes the graph "
    "random, and short paths likely.",
)
def one_choice_for_every_row(*settings):
    def draw(free, number, generator):
        lot = torch.rand(len(free), generator=generator).expand(free.shape)
        return _largest(lot.masked_fill(~free, -1), number) & free

    return _bigbird(*settings, draw=draw)


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
    seen = right.bigbird_mask(n, block_size, num_global_blocks, 0, generator)
    return seen | _drawn(~seen, num_random_blocks * block_size, generator)


@mistake(
    right.bigbird_mask,
    "Each token draws blocks of its own. One draw serves all queries of a block: all tokens of a "
    "block see alike.",
)
def each_token_draws_for_itself(n, block_size, num_global_blocks, num_random_blocks, generator):
    seen = right.bigbird_mask(n, block_size, num_global_blocks, 0, generator)
    drawn = _drawn(~seen[:, ::block_size], num_random_blocks, generator)
    return seen | drawn[:, torch.arange(n) // block_size]

"""Wrong versions of attention_hbm_traffic in 05_hardware_aware_attention."""

import math

from solutions import hardware_aware_attention as right
from solutions.mistakes import mistake


def _instead(of, wrong, n, d, sram_elements, algorithm):
    # The right count, and `wrong` for the algorithm `of`.
    traffic = right.attention_hbm_traffic(n, d, sram_elements, algorithm)
    return wrong if algorithm == of else traffic


def _rows(d, sram_elements, tensors=4):
    return max(1, sram_elements // (tensors * d))


@mistake(
    right.attention_hbm_traffic,
    "K and V are read once. SRAM holds one tile of each: for every tile of Q, all of K and V come "
    "from HBM again. That is where the n² in the traffic is.",
)
def k_and_v_read_once(n, d, sram_elements, algorithm):
    return _instead("flash", 4 * n * d + n, n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "`sram_elements` is taken for bytes, and divided by 4. It counts elements already, so tiles "
    "are four times as high.",
)
def sram_in_bytes(n, d, sram_elements, algorithm):
    return right.attention_hbm_traffic(n, d, sram_elements // 4, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "It is the traffic in bytes of float32. What is asked is elements.",
)
def traffic_in_bytes(n, d, sram_elements, algorithm):
    return 4 * right.attention_hbm_traffic(n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "The logsumexp of each row is forgotten. It is written, too: n elements, which the backward "
    "pass needs.",
)
def logsumexp_forgotten(n, d, sram_elements, algorithm):
    traffic = right.attention_hbm_traffic(n, d, sram_elements, algorithm)
    return traffic - n if algorithm == "flash" else traffic


@mistake(
    right.attention_hbm_traffic,
    "The tile of the accumulator is forgotten: SRAM is shared among three tiles of d columns. Q, "
    "K, V and the accumulator make four.",
)
def three_tiles_in_sram(n, d, sram_elements, algorithm):
    tiles = math.ceil(n / _rows(d, sram_elements, tensors=3))
    wrong = tiles * 2 * n * d + 2 * n * d + n
    return _instead("flash", wrong, n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "The height of a tile is rounded up. Four tiles of ⌈M/4d⌉ rows need more than SRAM holds: "
    "round down.",
)
def tile_height_rounded_up(n, d, sram_elements, algorithm):
    tiles = math.ceil(n / math.ceil(sram_elements / (4 * d)))
    wrong = tiles * 2 * n * d + 2 * n * d + n
    return _instead("flash", wrong, n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "A tile of queries has at most d rows, as in the paper of the first FlashAttention, which "
    "leaves room for the tile of scores. Here that tile is not counted, and tiles are square.",
)
def tile_height_of_at_most_d(n, d, sram_elements, algorithm):
    tiles = math.ceil(n / min(d, _rows(d, sram_elements)))
    wrong = tiles * 2 * n * d + 2 * n * d + n
    return _instead("flash", wrong, n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "The number of query tiles is rounded down. A last tile with fewer rows reads "
    "all of K and V like any other: ⌈n/B⌉.",
)
def tiles_not_rounded_up(n, d, sram_elements, algorithm):
    tiles = max(1, n // _rows(d, sram_elements))
    wrong = tiles * 2 * n * d + 2 * n * d + n
    return _instead("flash", wrong, n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "The number of query tiles is a fraction, n/B. Tiles have whole "
    "rows, and a last one with fewer of them reads all of K and V like any other: ⌈n/B⌉.",
)
def a_fraction_of_a_tile(n, d, sram_elements, algorithm):
    tiles = max(1, n / _rows(d, sram_elements))
    wrong = tiles * 2 * n * d + 2 * n * d + n
    return _instead("flash", wrong, n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "It is the order of growth, n²·d²/M, and not the count. Count what each tile of queries reads "
    "and writes.",
)
def order_of_growth_only(n, d, sram_elements, algorithm):
    wrong = n * n * d * d / sram_elements
    return _instead("flash", wrong, n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "It is the other loop order, that of the first FlashAttention: keys outside, queries inside. "
    "There K and V are read once, and for each tile of them Q is read, and the output read and "
    "written. Here the queries are outside, so the accumulator stays in SRAM.",
)
def keys_in_the_outer_loop(n, d, sram_elements, algorithm):
    tiles = math.ceil(n / _rows(d, sram_elements))
    wrong = 2 * n * d + tiles * 3 * n * d + n
    return _instead("flash", wrong, n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "The accumulator is written to HBM after each tile of keys, and read again. It stays in SRAM "
    "until its row of tiles is done: the output is written once.",
)
def output_written_after_each_tile(n, d, sram_elements, algorithm):
    tiles = math.ceil(n / _rows(d, sram_elements))
    wrong = n * d + tiles * 2 * n * d + tiles * 2 * n * d + n
    return _instead("flash", wrong, n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "In the standard algorithm the scores and the weights are moved once each. One kernel writes "
    "them and the next one reads them: 2·n² for S and 2·n² for P.",
)
def scores_and_weights_moved_once(n, d, sram_elements, algorithm):
    wrong = 2 * n * n + 4 * n * d
    return _instead("standard", wrong, n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "The standard algorithm has Q, K, V and the output to move, too, 4·n·d elements beside its "
    "matrices.",
)
def only_the_matrices(n, d, sram_elements, algorithm):
    return _instead("standard", 4 * n * n, n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "An algorithm with any other name is taken for flash. Raise a ValueError: a wrong name should "
    "not give a number.",
)
def any_other_name_taken_for_flash(n, d, sram_elements, algorithm):
    known = algorithm if algorithm == "standard" else "flash"
    return right.attention_hbm_traffic(n, d, sram_elements, known)


@mistake(
    right.attention_hbm_traffic,
    "Where SRAM holds not even a row of each tile, a number comes out all the same. No such run is "
    "possible: raise a ValueError.",
)
def a_tile_of_at_least_one_row(n, d, sram_elements, algorithm):
    return right.attention_hbm_traffic(n, d, max(sram_elements, 4 * d), algorithm)


def _of_tiles(n, d, sram_elements, algorithm, count):
    # The right count, and count(tiles, rows of a tile) for "flash".
    right.attention_hbm_traffic(n, d, sram_elements, algorithm)  # raises what it has to
    block = min(n, _rows(d, sram_elements))
    return _instead("flash", count(math.ceil(n / block), block), n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "For each tile of queries n·d elements are read. K and V are both read: 2·n·d.",
)
def only_one_of_k_and_v(n, d, sram_elements, algorithm):
    return _of_tiles(n, d, sram_elements, algorithm, lambda tiles, _: tiles * n * d + 2 * n * d + n)


@mistake(
    right.attention_hbm_traffic,
    "What a tile reads of Q, or what it writes of the output, is missing: both are moved once, "
    "n·d elements each.",
)
def queries_or_output_forgotten(n, d, sram_elements, algorithm):
    return _of_tiles(n, d, sram_elements, algorithm, lambda tiles, _: tiles * 2 * n * d + n * d + n)


@mistake(
    right.attention_hbm_traffic,
    "Every tile is counted as a whole one. The last one may be smaller, and moves only what is "
    "there: n rows in all, not ⌈n/B⌉·B.",
)
def last_tile_counted_as_a_whole_one(n, d, sram_elements, algorithm):
    def count(tiles, block):
        rows = tiles * block
        return tiles * 2 * rows * d + 2 * rows * d + rows

    return _of_tiles(n, d, sram_elements, algorithm, count)


@mistake(
    right.attention_hbm_traffic,
    "The logsumexp of a row is counted once for each tile of keys. It is written once, when the "
    "row is done: n elements in all.",
)
def logsumexp_written_after_each_tile(n, d, sram_elements, algorithm):
    return _of_tiles(
        n, d, sram_elements, algorithm, lambda tiles, _: tiles * (2 * n * d + n) + 2 * n * d
    )


@mistake(
    right.attention_hbm_traffic,
    "One of the four matrices of n·d elements is missing in the standard algorithm: Q, K and V "
    "are read, and the output is written.",
)
def one_of_four_forgotten(n, d, sram_elements, algorithm):
    return _instead("standard", 4 * n * n + 3 * n * d, n, d, sram_elements, algorithm)


@mistake(
    right.attention_hbm_traffic,
    "Neither case that cannot be is refused. Raise a ValueError for an unknown algorithm, and "
    "where SRAM has no room for a row of each tile.",
)
def nothing_refused(n, d, sram_elements, algorithm):
    known = algorithm if algorithm == "standard" else "flash"
    return right.attention_hbm_traffic(n, d, max(sram_elements, 4 * d), known)


@mistake(
    right.attention_hbm_traffic,
    "The tile of scores, B × B, takes room in SRAM here. It is not counted: B is the largest with "
    "4·B·d elements or fewer.",
)
def scores_in_sram(n, d, sram_elements, algorithm):
    block = max((b for b in range(1, n + 1) if 4 * b * d + b * b <= sram_elements), default=1)
    flash = math.ceil(n / block) * 2 * n * d + 2 * n * d + n
    return _instead("flash", flash, n, d, sram_elements, algorithm)

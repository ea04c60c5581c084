"""Wrong versions of the exercises of 05_hardware_aware_attention on what is moved, and its cost."""

import math

import torch
from torch import Tensor

from solutions import hardware_aware_attention as right
from solutions.mistakes import mistake


@mistake(
    right.arithmetic_intensity,
    "It is the other way round: bytes for each FLOP. An intensity is high where much is computed "
    "with little that is moved: FLOPs divided by bytes.",
)
def bytes_for_each_flop(flops, bytes):
    return bytes / flops


@mistake(
    right.arithmetic_intensity,
    "The division drops what is behind the point: // for /. Many operations have an intensity "
    "below 1.",
)
def whole_numbers_only(flops, bytes):
    return flops // bytes


@mistake(
    right.arithmetic_intensity,
    "FLOPs are multiplied by bytes. An intensity is FLOPs for each byte: a quotient.",
)
def product_for_quotient(flops, bytes):
    return flops * bytes


@mistake(
    right.arithmetic_intensity,
    "It is FLOPs for each gigabyte. The bytes that come in are bytes: divide by them as they are.",
)
def flops_for_each_gigabyte(flops, bytes):
    return flops / (bytes / 1e9)


@mistake(
    right.arithmetic_intensity,
    "It is FLOPs for each float32 number, four bytes. The intensity is by the byte.",
)
def flops_for_each_element(flops, bytes):
    return flops / (bytes / 4)


# --- roofline ------------------------------------------------------------------------------------


def _clamped(value, **bounds):
    return torch.as_tensor(value, dtype=torch.float64).clamp(**bounds).to(_type_of(value))


def _type_of(value):
    return value.dtype if isinstance(value, Tensor) else torch.float64


@mistake(
    right.roofline,
    "It is the larger of the two limits. A machine can do neither more than its processor nor more "
    "than its memory allows: the smaller one.",
)
def max_for_min(intensity, peak_flops, bandwidth):
    return _clamped(intensity * bandwidth, min=peak_flops)


@mistake(
    right.roofline,
    "The bandwidth is not multiplied by the intensity: bytes per second are compared with FLOPs "
    "per second. Memory allows intensity · bandwidth FLOP/s.",
)
def bandwidth_not_multiplied_by_the_intensity(intensity, peak_flops, bandwidth):
    return _clamped(0 * intensity + bandwidth, max=peak_flops)


@mistake(
    right.roofline,
    "The bandwidth is divided by the intensity. With I FLOPs for each byte, bandwidth bytes a "
    "second feed I · bandwidth FLOPs a second.",
)
def bandwidth_divided_by_the_intensity(intensity, peak_flops, bandwidth):
    return _clamped(bandwidth / intensity, max=peak_flops)


@mistake(
    right.roofline,
    "The slope of the memory has no roof: no machine does more than `peak_flops`.",
)
def no_roof(intensity, peak_flops, bandwidth):
    return intensity * bandwidth


@mistake(
    right.roofline,
    "It is the peak, whatever the intensity. Below the ridge, at peak_flops / bandwidth FLOPs per "
    "byte, memory cannot feed it.",
)
def always_the_peak(intensity, peak_flops, bandwidth):
    return 0 * intensity + peak_flops


@mistake(
    right.roofline,
    "The time to compute and the time to move are added, as if one waited for the other. The "
    "roofline is a bound: both go on at the same time, and the longer one counts.",
)
def computing_and_moving_one_after_the_other(intensity, peak_flops, bandwidth):
    return 1 / (1 / peak_flops + 1 / (intensity * bandwidth))


@mistake(
    right.roofline,
    "The bandwidth is turned into gigabytes per second, and the peak is not. Both come by the "
    "second, in bytes and in FLOPs: leave them as they are.",
)
def bandwidth_in_gigabytes(intensity, peak_flops, bandwidth):
    return right.roofline(intensity, peak_flops, bandwidth / 1e9)


@mistake(
    right.roofline,
    "Python's min cannot compare a tensor of many intensities with a number. Take the smaller one "
    "of each pair: clamp, or torch.minimum.",
)
def pythons_min_of_a_tensor(intensity, peak_flops, bandwidth):
    return min(intensity * bandwidth, peak_flops)


@mistake(
    right.roofline,
    "For many intensities it gives one number, the smallest. Each intensity has its own bound.",
)
def one_number_for_many_intensities(intensity, peak_flops, bandwidth):
    bound = right.roofline(intensity, peak_flops, bandwidth)
    return bound.min() if isinstance(bound, Tensor) else bound


# --- attention_hbm_traffic -----------------------------------------------------------------------


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

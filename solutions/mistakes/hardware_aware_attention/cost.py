"""Wrong versions of arithmetic_intensity and roofline in 05_hardware_aware_attention."""

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


@mistake(
    right.arithmetic_intensity,
    "It is FLOPs for each bit. A byte is divided by as it is.",
)
def flops_for_each_bit(flops, bytes):
    return flops / (8 * bytes)


@mistake(
    right.arithmetic_intensity,
    "For many runs it gives one number, all FLOPs for all bytes. Each run has its own intensity: "
    "divide entry by entry, without a sum.",
)
def one_number_for_many_runs(flops, bytes):
    intensity = flops / bytes
    return flops.sum() / bytes.sum() if isinstance(intensity, Tensor) else intensity


@mistake(
    right.arithmetic_intensity,
    "float() takes one number, and a tensor may hold many. Tensors divide as numbers do: leave "
    "them as they are.",
)
def float_of_many_numbers(flops, bytes):
    return float(flops) / float(bytes)


@mistake(
    right.arithmetic_intensity,
    "It is FLOPs as a share of FLOPs and bytes together. They are of different kinds, and do not "
    "add: divide one by the other.",
)
def share_of_flops_and_bytes(flops, bytes):
    return flops / (flops + bytes)


@mistake(
    right.arithmetic_intensity,
    "The bytes are multiplied by the 4 of a float32 number, which they count already.",
)
def bytes_taken_for_numbers(flops, bytes):
    return flops / (4 * bytes)


@mistake(
    right.arithmetic_intensity,
    "The FLOPs are doubled, as if they were pairs of a multiply and an add. They count both "
    "already.",
)
def flops_counted_twice(flops, bytes):
    return 2 * flops / bytes


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


@mistake(
    right.roofline,
    "float() takes one number, and a tensor may hold many. Multiply the tensor as it is, and take "
    "the smaller one of each pair with clamp or torch.minimum.",
)
def float_of_many_intensities(intensity, peak_flops, bandwidth):
    return min(float(intensity) * bandwidth, peak_flops)


@mistake(
    right.roofline,
    "It is an intensity, cut off at the ridge, in FLOPs per byte. Times the bandwidth it is the "
    "FLOP/s that are asked for.",
)
def intensity_cut_off_at_the_ridge(intensity, peak_flops, bandwidth):
    return _clamped(intensity, max=peak_flops / bandwidth)


@mistake(
    right.roofline,
    "It is the time that one FLOP takes, in seconds. FLOPs per second are its reciprocal.",
)
def seconds_for_a_flop(intensity, peak_flops, bandwidth):
    return 1 / right.roofline(intensity, peak_flops, bandwidth)


@mistake(
    right.roofline,
    "The two limits are added. A machine does not more than the lower one allows.",
)
def both_limits_added(intensity, peak_flops, bandwidth):
    return intensity * bandwidth + peak_flops


@mistake(
    right.roofline,
    "A plain number has no clamp. Take Python's min for numbers, and clamp for tensors: "
    "isinstance(x, torch.Tensor) tells them apart.",
)
def clamp_of_a_plain_number(intensity, peak_flops, bandwidth):
    return (intensity * bandwidth).clamp(max=peak_flops)


@mistake(
    right.roofline,
    "It is the share of the peak, a number up to 1. What is asked is in FLOP/s: "
    "min(peak_flops, intensity · bandwidth).",
)
def share_of_the_peak(intensity, peak_flops, bandwidth):
    return _clamped(intensity * bandwidth / peak_flops, max=1.0)

"""Wrong versions of `lsh_bucket`."""

import torch

from solutions import sparse_attention as right
from solutions.mistakes import mistake


@mistake(
    right.lsh_bucket,
    "The argmax is taken of xR alone, without its negative: half of the buckets are never used. "
    "Join xR and −xR first.",
)
def argmax_without_the_negated_half(x, rotations):
    return (x @ rotations).argmax(dim=-1)


@mistake(
    right.lsh_bucket,
    "The argmax is taken of |xR|, so x and −x, which point in opposite directions, share a bucket. "
    "Join xR and −xR instead.",
)
def argmax_of_the_absolute_value(x, rotations):
    return (x @ rotations).abs().argmax(dim=-1)


@mistake(
    right.lsh_bucket,
    "The two halves are exchanged: first comes xR, then −xR. (Taking the smallest number instead "
    "of the largest does the same.)",
)
def negated_half_first(x, rotations):
    rotated = x @ rotations
    return torch.cat([-rotated, rotated], dim=-1).argmax(dim=-1)


@mistake(
    right.lsh_bucket,
    "This reads the signs of xR as the digits of a number: 2^half_buckets buckets, the older "
    "hyperplane hashing. The Reformer takes the largest of xR and −xR.",
)
def signs_as_digits(x, rotations):
    bits = (x @ rotations > 0).long()
    return (bits * 2 ** torch.arange(bits.shape[-1])).sum(dim=-1)


@mistake(
    right.lsh_bucket,
    "The two halves are interleaved: bucket 2b is (xR)_b and 2b + 1 its negative. First come all "
    "of xR, then all of −xR: join them with cat along the last axis.",
)
def halves_interleaved(x, rotations):
    rotated = x @ rotations
    return torch.stack([rotated, -rotated], dim=-1).flatten(-2).argmax(dim=-1)


@mistake(right.lsh_bucket, "The buckets are counted from 1. The first is 0, as argmax gives it.")
def counted_from_1(x, rotations):
    return right.lsh_bucket(x, rotations) + 1


@mistake(
    right.lsh_bucket,
    "The axes are made length 1 first. R is random and used as it is: a longer axis has a larger "
    "bucket.",
)
def axes_of_length_1(x, rotations):
    return right.lsh_bucket(x, rotations / rotations.norm(dim=0))


@mistake(
    right.lsh_bucket,
    "The nearest axis by distance is taken. Lengths must not matter, h(cx) = h(x): take the "
    "largest product.",
)
def nearest_by_distance(x, rotations):
    axes = torch.cat([rotations, -rotations], dim=-1)
    return (x.unsqueeze(-1) - axes).square().sum(dim=-2).argmin(dim=-1)


@mistake(
    right.lsh_bucket,
    "The argmax is taken over the tokens, not over the buckets: use dim=-1.",
)
def argmax_over_the_tokens(x, rotations):
    rotated = x @ rotations
    return torch.cat([rotated, -rotated], dim=-1).argmax(dim=-2)


@mistake(
    right.lsh_bucket,
    "One argmax is taken over all numbers. Each vector has its own bucket: argmax(dim=-1).",
)
def one_argmax_for_all(x, rotations):
    rotated = x @ rotations
    return torch.cat([rotated, -rotated], dim=-1).argmax()


@mistake(
    right.lsh_bucket,
    "This gives the largest number itself. The bucket is its place: argmax, or "
    "max(dim=-1).indices.",
)
def largest_number_instead_of_its_place(x, rotations):
    rotated = x @ rotations
    return torch.cat([rotated, -rotated], dim=-1).amax(dim=-1)


@mistake(
    right.lsh_bucket,
    "The buckets of −xR are moved by d. They follow the half_buckets of xR: add "
    "rotations.shape[-1].",
)
def moved_by_d(x, rotations):
    buckets, half = right.lsh_bucket(x, rotations), rotations.shape[-1]
    return torch.where(buckets >= half, buckets - half + x.shape[-1], buckets)


@mistake(
    right.lsh_bucket,
    "Negative numbers are set to 0 before the largest is taken, in x or in xR: whatever points "
    "there is lost.",
)
def negative_numbers_lost(x, rotations):
    return right.lsh_bucket(x.relu(), rotations)

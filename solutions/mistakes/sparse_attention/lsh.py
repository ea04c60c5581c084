"""Wrong versions of the exercises of 01_sparse_attention on hashing."""

import torch
import torch.nn.functional as F

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


def _lsh(
    q,
    v,
    num_buckets,
    num_rounds,
    chunk_size,
    generator,
    back=1,
    buckets_matter=True,
    own_last=True,
    normalise=True,
    scale=1.0,
    rounds=None,
    repeats=False,
    average=False,
    unsort=True,
    wrap=False,
):
    """Reformer attention through n × n masks, with everything that goes wrong to choose from."""
    n, d = q.shape[-2:]
    rotations = torch.randn(num_rounds, d, num_buckets // 2, generator=generator).to(q)
    k = F.normalize(q, dim=-1) if normalise else q
    scores = q @ k.mT * d**-0.5 * scale
    own = torch.eye(n, dtype=torch.bool)
    times = 0
    outputs = []
    for rotation in rotations[:rounds]:
        bucket = right.lsh_bucket(q, rotation)
        order = bucket.argsort(dim=-1, stable=True)
        chunk = order.argsort(dim=-1) // chunk_size
        gap = chunk.unsqueeze(-1) - chunk.unsqueeze(-2)
        found = (gap >= 0) & (gap <= back)
        if wrap:
            found = found | (gap == -chunk.amax(dim=-1)[..., None, None])
        if buckets_matter:
            found = found & (bucket.unsqueeze(-1) == bucket.unsqueeze(-2))
        outputs.append(_softmax_of(scores, found.to(q.dtype), own, own_last, v))
        times = times + found.to(q.dtype)
        if not unsort:
            index = order.unsqueeze(-1).expand(*order.shape, v.shape[-1])
            outputs[-1] = outputs[-1].gather(-2, index)
    if average or not unsort:
        return torch.stack(outputs).mean(dim=0)
    return _softmax_of(scores, times if repeats else times.clamp(max=1), own, own_last, v)


def _softmax_of(scores, times, own, own_last, v):
    scores = scores + times.log()
    if own_last:
        scores = scores.masked_fill(own, -1e5)
    return scores.softmax(dim=-1) @ v


@mistake(
    right.lsh_attention,
    "The result is right, but all n × n scores are computed, and a mask hides most of them. Sort "
    "the tokens by bucket, cut them into chunks, and compute the scores of a chunk with itself and "
    "the one before.",
)
def dense_scores_and_a_mask(*arguments):
    return _lsh(*arguments)


@mistake(
    right.lsh_attention,
    "The outputs are left in the order of the buckets: output i belongs to the token that was "
    "sorted to place i. Undo the sort: gather with the inverse permutation.",
)
def unsort_forgotten(*arguments):
    return _lsh(*arguments, unsort=False)


@mistake(
    right.lsh_attention,
    "The rounds are averaged. A round that found nothing of weight counts as much as one that "
    "found all. Weight each by the sum of its exponentials: exp(its logsumexp − that of all).",
)
def rounds_averaged_without_logsumexp(*arguments):
    return _lsh(*arguments, average=True)


@mistake(
    right.lsh_attention,
    "A token attends to itself first. Since k = q/‖q‖, its own score is the largest of all, and "
    "hides the others. Own positions are for tokens that find no other key.",
)
def attends_to_itself_first(*arguments):
    return _lsh(*arguments, own_last=False)


@mistake(
    right.lsh_attention,
    "The keys are the queries themselves. They must have length 1, k = q/‖q‖, or the longest "
    "queries draw all attention.",
)
def keys_not_normalised(*arguments):
    return _lsh(*arguments, normalise=False)


@mistake(right.lsh_attention, "The scores are not divided by √d.")
def lsh_not_scaled(*arguments):
    return _lsh(*arguments, scale=arguments[0].shape[-1] ** 0.5)


@mistake(
    right.lsh_attention,
    "The scores are divided by √d twice. The keys `k` that the cell gives you are divided already.",
)
def lsh_scaled_twice(q, *arguments):
    return _lsh(q, *arguments, scale=q.shape[-1] ** -0.5)


@mistake(
    right.lsh_attention,
    "One round is right, and the others are missing: all keys come from the first rotation. Do the "
    "same with each of `rotations`, and join the results.",
)
def first_round_only(q, v, num_buckets, num_rounds, chunk_size, generator):
    return _lsh(q, v, num_buckets, num_rounds, chunk_size, generator, rounds=1)


@mistake(
    right.lsh_attention,
    "A chunk sees itself only. A bucket that crosses the border of a chunk is cut in two: let each "
    "chunk see the one before, too.",
)
def no_look_at_the_chunk_before(*arguments):
    return _lsh(*arguments, back=0)


@mistake(
    right.lsh_attention,
    "The first chunk sees the last one: `roll` brings it round. There is no chunk before the "
    "first.",
)
def first_chunk_sees_the_last(*arguments):
    return _lsh(*arguments, wrap=True)


@mistake(
    right.lsh_attention,
    "A token sees all of its chunk and of the one before, whatever the buckets. Chunks are only "
    "how the work is cut: keys of another bucket must be hidden.",
)
def buckets_ignored_within_a_chunk(*arguments):
    return _lsh(*arguments, buckets_matter=False)


@mistake(
    right.lsh_attention,
    "A key that is found in several rounds counts once for each of them. It is one key: leave it "
    "out of the rounds after the first that finds it, or divide by how often it is found (the "
    "paper's log N).",
)
def repeated_keys_counted_each_time(*arguments):
    return _lsh(*arguments, repeats=True)


@mistake(
    right.lsh_attention,
    "A token sees all of its bucket, in one long softmax, however full the bucket is. Only its "
    "chunk and the one before are in reach: with full buckets this costs n².",
)
def whole_buckets(*arguments):
    return _lsh(*arguments[:4], arguments[0].shape[-2], arguments[5])

"""Wrong versions of `lsh_attention`."""

import torch
import torch.nn.functional as F

from solutions import sparse_attention as right
from solutions.mistakes import mistake


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
    join=None,
    unsort=None,
    wrap=False,
    ahead=False,
    sort=True,
):
    """Reformer attention through n × n masks, with everything that goes wrong to choose from."""
    n, d = q.shape[-2:]
    rotations = torch.randn(num_rounds, d, num_buckets // 2, generator=generator).to(q)
    k = F.normalize(q, dim=-1) if normalise else q
    scores = q @ k.mT * d**-0.5 * scale
    own = torch.eye(n, dtype=torch.bool)
    times = 0
    outputs, totals = [], []
    for rotation in rotations[:rounds]:
        bucket = right.lsh_bucket(q, rotation)
        order = bucket.argsort(dim=-1, stable=True) if sort else torch.arange(n).expand_as(bucket)
        chunk = order.argsort(dim=-1) // chunk_size
        gap = chunk.unsqueeze(-1) - chunk.unsqueeze(-2)
        gap = -gap if ahead else gap
        found = (gap >= 0) & (gap <= back)
        if wrap:
            found = found | (gap == -chunk.amax(dim=-1)[..., None, None])
        if buckets_matter:
            found = found & (bucket.unsqueeze(-1) == bucket.unsqueeze(-2))
        new = found if repeats or isinstance(times, int) else found & (times == 0)
        of_round = _hidden(scores, new.to(q.dtype), own, own_last)
        outputs.append(of_round.softmax(dim=-1) @ v)
        totals.append(of_round.logsumexp(dim=-1, keepdim=True))
        times = times + found.to(q.dtype)
        if unsort:
            index = unsort(order).unsqueeze(-1).expand(*order.shape, v.shape[-1])
            outputs[-1] = outputs[-1].gather(-2, index)
            totals[-1] = totals[-1].gather(-2, index[..., :1])
    if unsort and not join:
        join = _joined
    if join:
        return join(torch.stack(outputs), torch.stack(totals))
    return _softmax_of(scores, times if repeats else times.clamp(max=1), own, own_last, v)


def _hidden(scores, times, own, own_last):
    scores = scores + times.log()
    return scores.masked_fill(own, -1e5) if own_last else scores


def _softmax_of(scores, times, own, own_last, v):
    return _hidden(scores, times, own, own_last).softmax(dim=-1) @ v


def _joined(outputs, totals):
    return (outputs * totals.softmax(dim=0)).sum(dim=0)


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
    return _lsh(*arguments, unsort=lambda order: order)


@mistake(
    right.lsh_attention,
    "The rounds are averaged. A round that found nothing of weight counts as much as one that "
    "found all. Weight each by the sum of its exponentials: exp(its logsumexp − that of all).",
)
def rounds_averaged_without_logsumexp(*arguments):
    return _lsh(*arguments, join=lambda outputs, totals: outputs.mean(dim=0))


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


@mistake(
    right.lsh_attention,
    "The sort is undone with the order itself. It takes the inverse permutation: order.argsort() "
    "says where each token went.",
)
def unsorted_with_the_order(*arguments):
    # Sorted outputs gathered by the order: sorted twice.
    def twice(order):
        return order.gather(-1, order)

    return _lsh(*arguments, unsort=twice)


@mistake(
    right.lsh_attention,
    "The results of the rounds are added up, so that the weights of a query sum to the number of "
    "rounds. Weight each by its share of the exponentials.",
)
def rounds_added_up(*arguments):
    return _lsh(*arguments, join=lambda outputs, totals: outputs.sum(dim=0))


@mistake(
    right.lsh_attention,
    "Of the rounds only the one with the largest sum of exponentials counts. All keys found in any "
    "round take part, in one softmax.",
)
def best_round_only(*arguments):
    def best(outputs, totals):
        return outputs.take_along_dim(totals.argmax(dim=0, keepdim=True), dim=0)[0]

    return _lsh(*arguments, join=best)


@mistake(
    right.lsh_attention,
    "A chunk sees the one after it. It must see the one before.",
)
def chunk_after_instead_of_before(*arguments):
    return _lsh(*arguments, ahead=True)


@mistake(
    right.lsh_attention,
    "The tokens are cut into chunks without sorting them by bucket: those of a bucket are "
    "scattered over all chunks, and not found.",
)
def not_sorted_by_bucket(*arguments):
    return _lsh(*arguments, sort=False)


@mistake(
    right.lsh_attention,
    "The queries are made length 1 as well. Only the keys are, k = q/‖q‖.",
)
def queries_normalised_too(q, *arguments):
    return _lsh(F.normalize(q, dim=-1), *arguments)


@mistake(
    right.lsh_attention,
    "The rotations are not those of the generator that was given: use `rotations` as it is.",
)
def rotations_of_another_generator(*arguments):
    return _lsh(*arguments[:-1], torch.Generator().manual_seed(0))


@mistake(
    right.lsh_attention,
    "All keys are seen, whatever their bucket.",
)
def every_key_found(q, v, *arguments):
    own = torch.eye(q.shape[-2], dtype=torch.bool)
    scores = q @ F.normalize(q, dim=-1).mT * q.shape[-1] ** -0.5
    return _softmax_of(scores, torch.ones_like(scores), own, True, v)

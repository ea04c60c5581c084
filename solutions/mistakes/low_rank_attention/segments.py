"""Wrong versions of segment_means, an exercise of 03_low_rank_attention."""

import torch
import torch.nn.functional as F

from solutions import low_rank_attention as right
from solutions.mistakes import mistake


@mistake(
    right.segment_means,
    "One token of each segment is picked, the others are not looked at. A landmark is the mean of "
    "its whole segment.",
)
def one_token_picked_from_each_segment(x, num_landmarks):
    length = x.shape[-2] // num_landmarks
    return x[..., : length * num_landmarks : length, :]


@mistake(
    right.segment_means,
    "The sequence is filled up with zeros, and the last segment's mean counts them: it is too "
    "small, and a segment of nothing but filling is 0. Divide by the tokens that are really there.",
)
def last_segment_averaged_with_padding(x, num_landmarks):
    x = F.pad(x, (0, 0, 0, -x.shape[-2] % num_landmarks))
    return x.unflatten(-2, (num_landmarks, -1)).mean(dim=-2)


@mistake(
    right.segment_means,
    "The sequence is filled up with zeros at its start, and the first segment's mean counts them. "
    "Divide by the tokens that are really there.",
)
def first_segment_averaged_with_padding(x, num_landmarks):
    x = F.pad(x, (0, 0, -x.shape[-2] % num_landmarks, 0))
    return x.unflatten(-2, (num_landmarks, -1)).mean(dim=-2)


@mistake(
    right.segment_means,
    "The tokens that are left over when n is no multiple belong to no segment. Every token counts: "
    "make the first segments longer by one.",
)
def remainder_dropped(x, num_landmarks):
    length = x.shape[-2] // num_landmarks
    whole = x[..., : length * num_landmarks, :]
    return whole.unflatten(-2, (num_landmarks, length)).mean(dim=-2)


@mistake(
    right.segment_means,
    "All tokens that are left over go to the last segment, which can be much longer than the "
    "others. Give one each to the first segments.",
)
def remainder_in_the_last_segment(x, num_landmarks):
    length = x.shape[-2] // num_landmarks
    start = length * (num_landmarks - 1)
    first = x[..., :start, :].unflatten(-2, (num_landmarks - 1, length)).mean(dim=-2)
    return torch.cat([first, x[..., start:, :].mean(dim=-2, keepdim=True)], dim=-2)


@mistake(
    right.segment_means,
    "The longer segments come last. Many implementations do that, and it works as well; here the "
    "first segments are the longer ones, as in torch.tensor_split.",
)
def longer_segments_last(x, num_landmarks):
    return right.segment_means(x.flip(-2), num_landmarks).flip(-2)


@mistake(
    right.segment_means,
    "adaptive_avg_pool1d lets neighbouring segments overlap where n is no multiple: a token at the "
    "border is counted in both.",
)
def segments_that_overlap(x, num_landmarks):
    channels = x.flatten(0, -3).mT
    return F.adaptive_avg_pool1d(channels, num_landmarks).mT.unflatten(0, x.shape[:-2])


@mistake(
    right.segment_means,
    "Token i goes to landmark i mod num_landmarks, so each landmark is a mean over the whole "
    "sequence. Segments are runs of neighbours: the landmark is the first of the two new "
    "dimensions, the place in its segment the second.",
)
def tokens_dealt_in_turn(x, num_landmarks):
    return torch.stack(
        [x[..., j::num_landmarks, :].mean(dim=-2) for j in range(num_landmarks)], dim=-2
    )


@mistake(
    right.segment_means,
    "Each segment is divided by the number of landmarks m, as in the paper's equation 16. It holds "
    "n/m tokens: divide by as many.",
)
def divided_by_the_number_of_landmarks(x, num_landmarks):
    segments = x.tensor_split(num_landmarks, dim=-2)
    return torch.stack([segment.sum(dim=-2) for segment in segments], dim=-2) / num_landmarks


@mistake(right.segment_means, "The tokens of a segment are summed and not divided by their number.")
def sums_instead_of_means(x, num_landmarks):
    segments = x.tensor_split(num_landmarks, dim=-2)
    return torch.stack([segment.sum(dim=-2) for segment in segments], dim=-2)


@mistake(
    right.segment_means,
    "The result is right, but the segments are averaged one after another, a few operations for "
    "each. Give them a dimension of their own and take all means at once.",
)
def one_segment_after_another(x, num_landmarks):
    segments = x.tensor_split(num_landmarks, dim=-2)
    return torch.stack([segment.mean(dim=-2) for segment in segments], dim=-2)


@mistake(
    right.segment_means,
    "The result is right, but it is a product with a matrix that has a row for each landmark and a "
    "column for each token, nearly all of them 0.",
)
def product_with_a_matrix_of_averages(x, num_landmarks):
    n = x.shape[-2]
    length, longer = divmod(n, num_landmarks)
    token = torch.arange(n, device=x.device)
    segment = torch.where(
        token < longer * (length + 1), token // (length + 1), (token - longer) // length
    )
    belongs = (segment == torch.arange(num_landmarks, device=x.device)[:, None]).to(x.dtype)
    return belongs @ x / belongs.sum(dim=-1, keepdim=True)


def _of_segments(x, num_landmarks, reduced):
    return torch.stack([reduced(s) for s in x.tensor_split(num_landmarks, dim=-2)], dim=-2)


@mistake(
    right.segment_means,
    "Borders are rounded: i·n/m for landmark i. The longer segments are then spread over the "
    "sequence; here they come first, as in torch.tensor_split.",
)
def borders_rounded(x, num_landmarks):
    n = x.shape[-2]
    borders = [i * n // num_landmarks for i in range(1, num_landmarks)]
    return torch.stack([s.mean(dim=-2) for s in x.tensor_split(borders, dim=-2)], dim=-2)


@mistake(
    right.segment_means,
    "Segments have the length n/m rounded up, so the last one is shorter, or missing. Lengths "
    "differ by one at most: the first n mod m segments are the longer ones.",
)
def segments_of_the_rounded_up_length(x, num_landmarks):
    return torch.stack([s.mean(dim=-2) for s in x.chunk(num_landmarks, dim=-2)], dim=-2)


@mistake(
    right.segment_means,
    "Segments have the length n/m rounded down, so there are more of them than landmarks where n "
    "is no multiple. The first n mod m segments hold one token more.",
)
def segments_of_the_rounded_down_length(x, num_landmarks):
    segments = x.split(x.shape[-2] // num_landmarks, dim=-2)
    return torch.stack([segment.mean(dim=-2) for segment in segments], dim=-2)


@mistake(
    right.segment_means,
    "It works only where n is a multiple of num_landmarks. Split where the longer segments end, "
    "and average both parts.",
)
def whole_segments_only(x, num_landmarks):
    return x.unflatten(-2, (num_landmarks, -1)).mean(dim=-2)


@mistake(
    right.segment_means,
    "Every sum is divided by n // num_landmarks. The longer segments hold one token more: divide "
    "by as many as there are.",
)
def all_divided_by_the_shorter_length(x, num_landmarks):
    return _of_segments(x, num_landmarks, lambda s: s.sum(dim=-2)) / (x.shape[-2] // num_landmarks)


@mistake(
    right.segment_means,
    "Every sum is divided by n / num_landmarks, which is no whole number where n is no multiple. "
    "Divide by the tokens that are really in the segment.",
)
def all_divided_by_the_mean_length(x, num_landmarks):
    return _of_segments(x, num_landmarks, lambda s: s.sum(dim=-2)) * num_landmarks / x.shape[-2]


@mistake(right.segment_means, "The largest numbers are taken. A landmark is the mean.")
def largest_instead_of_means(x, num_landmarks):
    return _of_segments(x, num_landmarks, lambda s: s.amax(dim=-2))


@mistake(right.segment_means, "The medians are taken. A landmark is the mean.")
def medians_instead_of_means(x, num_landmarks):
    return _of_segments(x, num_landmarks, lambda s: s.median(dim=-2).values)


@mistake(
    right.segment_means,
    "The features are cut into runs, not the tokens. Tokens are the second last dimension.",
)
def features_instead_of_tokens(x, num_landmarks):
    return torch.stack([s.mean(dim=-1) for s in x.tensor_split(num_landmarks, dim=-1)], dim=-1)


@mistake(
    right.segment_means,
    "The first token of each segment is taken. A landmark is the mean of its whole segment.",
)
def first_token_of_each_segment(x, num_landmarks):
    return _of_segments(x, num_landmarks, lambda s: s[..., 0, :])


@mistake(
    right.segment_means,
    "The middle token of each segment is taken. A landmark is the mean of its whole segment.",
)
def middle_token_of_each_segment(x, num_landmarks):
    return _of_segments(x, num_landmarks, lambda s: s[..., s.shape[-2] // 2, :])


@mistake(
    right.segment_means,
    "The last token of each segment is taken. A landmark is the mean of its whole segment.",
)
def last_token_of_each_segment(x, num_landmarks):
    return _of_segments(x, num_landmarks, lambda s: s[..., -1, :])


@mistake(
    right.segment_means,
    "Every sum is divided by n / num_landmarks, rounded up. The shorter segments hold one token "
    "less: divide by as many as there are.",
)
def all_divided_by_the_longer_length(x, num_landmarks):
    longest = -(-x.shape[-2] // num_landmarks)
    return _of_segments(x, num_landmarks, lambda s: s.sum(dim=-2)) / longest


@mistake(
    right.segment_means,
    "The two new dimensions are the wrong way round: (length, num_landmarks) puts neighbours into "
    "different landmarks. The landmark comes first, the place in its segment second.",
)
def landmarks_and_places_swapped(x, num_landmarks):
    return x.unflatten(-2, (-1, num_landmarks)).mean(dim=-3)


@mistake(
    right.segment_means,
    "The mean is taken over the landmarks. It is the place in the segment, the second of the two "
    "new dimensions, that disappears.",
)
def mean_over_the_landmarks(x, num_landmarks):
    return x.unflatten(-2, (num_landmarks, -1)).mean(dim=-3)


@mistake(
    right.segment_means,
    "The sequence is filled up with copies of its last token, which then counts several times. "
    "Every token counts once.",
)
def last_token_repeated(x, num_landmarks):
    missing = -x.shape[-2] % num_landmarks
    x = torch.cat([x, x[..., -1:, :].expand(*x.shape[:-2], missing, x.shape[-1])], dim=-2)
    return x.unflatten(-2, (num_landmarks, -1)).mean(dim=-2)


@mistake(
    right.segment_means,
    "Adaptive pooling lets segments overlap where n is no multiple: a token at an end counts in "
    "two of them. Here each token belongs to one segment, as in torch.tensor_split.",
)
def adaptive_pooling(x, num_landmarks):
    flat = x.reshape(-1, *x.shape[-2:]).mT
    means = F.adaptive_avg_pool1d(flat, num_landmarks).mT
    return means.reshape(*x.shape[:-2], num_landmarks, x.shape[-1])

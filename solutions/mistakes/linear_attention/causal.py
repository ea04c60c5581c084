"""Wrong versions of the causal exercises of 02_linear_attention."""

import torch
import torch.nn.functional as F

from solutions import linear_attention as right
from solutions.mistakes import mistake


def _chunked(q, k, v, feature_map, chunk_size, read=None, update=None, mask=torch.tril, late=False):
    """The right form, with what a chunk reads, how the state goes on, and its mask to be changed.

    read: (weights, values, queries, key_values, key_sum) -> output; update: (old, new) -> state.
    """
    phi_q, phi_k = feature_map(q), feature_map(k)
    key_values = v.new_zeros(*v.shape[:-2], phi_k.shape[-1], v.shape[-1])
    key_sum = v.new_zeros(*v.shape[:-2], phi_k.shape[-1], 1)
    outputs = []
    for start in range(0, phi_k.shape[-2], chunk_size):
        chunk = slice(start, start + chunk_size)
        queries, keys, values = phi_q[..., chunk, :], phi_k[..., chunk, :], v[..., chunk, :]
        weights = mask(queries @ keys.mT)
        new = (keys.mT @ values, keys.sum(-2).unsqueeze(-1))
        before = (key_values, key_sum)
        key_values, key_sum = (
            update(old, add) if update else old + add for old, add in zip(before, new, strict=True)
        )
        state = (key_values, key_sum) if late else before
        outputs.append((read or _read)(weights, values, queries, *state))
    return torch.cat(outputs, dim=-2)


def _read(weights, values, queries, key_values, key_sum):
    numerator = weights @ values + queries @ key_values
    return numerator / (weights.sum(dim=-1, keepdim=True) + queries @ key_sum)


@mistake(
    right.causal_linear_attention,
    "A token does not see itself: inside a chunk the triangle leaves out its diagonal. Token t "
    "sees tokens 0 to t, itself included.",
)
def off_by_one_token(q, k, v, feature_map, chunk_size):
    return _chunked(q, k, v, feature_map, chunk_size, mask=lambda x: x.tril(-1))


@mistake(
    right.causal_linear_attention,
    "The chunk's own keys are added to the running sums before its queries read them, so a query "
    "sees its whole chunk, and its past twice. Read the state first, then update it.",
)
def state_updated_before_use(q, k, v, feature_map, chunk_size):
    return _chunked(q, k, v, feature_map, chunk_size, late=True)


@mistake(
    right.causal_linear_attention,
    "The numerator is causal, the normaliser is not: it sums φ(k) over all keys, later ones too. "
    "Both need the same prefix sum.",
)
def normaliser_not_causal(q, k, v, feature_map, chunk_size):
    everything = feature_map(k).sum(dim=-2).unsqueeze(-1)

    def read(weights, values, queries, key_values, key_sum):
        return (weights @ values + queries @ key_values) / (queries @ everything)

    return _chunked(q, k, v, feature_map, chunk_size, read)


@mistake(
    right.causal_linear_attention,
    "The result is right, but the outer product φ(k)vᵀ of every token is kept, an n × d × d "
    "tensor. Only one sum for each chunk is needed; inside a chunk use the chunk × chunk weights.",
)
def outer_product_of_every_token(q, k, v, feature_map, chunk_size):
    phi_q, phi_k = feature_map(q), feature_map(k)
    key_values = (phi_k.unsqueeze(-1) * v.unsqueeze(-2)).cumsum(dim=-3)
    numerator = (phi_q.unsqueeze(-2) @ key_values).squeeze(-2)
    return numerator / (phi_q * phi_k.cumsum(dim=-2)).sum(dim=-1, keepdim=True)


@mistake(
    right.causal_linear_attention,
    "The result is right, but the whole n × n triangle of weights is computed. Only the squares "
    "on the diagonal, chunk × chunk, are needed; the rest is read from prefix sums.",
)
def masked_quadratic_form(q, k, v, feature_map, chunk_size):
    weights = (feature_map(q) @ feature_map(k).mT).tril()
    return (weights / weights.sum(dim=-1, keepdim=True)) @ v


@mistake(
    right.causal_linear_attention,
    "The outputs are right, the gradients NaN where n is not a multiple of the chunk. A padded "
    "query with features 0 gives 0/0; cutting that row off does not take its NaN out of the "
    "backward pass. Cut numerator and normaliser to n tokens first, then divide.",
)
def divided_before_the_padding_is_cut_off(q, k, v, feature_map, chunk_size):
    n = q.shape[-2]
    padding = -n % chunk_size
    phi_q, phi_k = (F.pad(feature_map(x), (0, 0, 0, padding)) for x in (q, k))
    values = F.pad(v, (0, 0, 0, padding))
    return _chunked(phi_q, phi_k, values, lambda x: x, chunk_size)[..., :n, :]


@mistake(
    right.causal_linear_attention,
    "The tokens are taken one by one, or a few at a time, whatever `chunk_size` says: many small "
    "steps in a row. Take a chunk at once: its own part by chunk × chunk weights, everything "
    "before it from the running sums.",
)
def steps_smaller_than_a_chunk(q, k, v, feature_map, chunk_size):
    return _chunked(q, k, v, feature_map, 1)


@mistake(
    right.causal_linear_attention,
    "Nothing divides by the sum of a query's weights. Numerator and normaliser have the same two "
    "parts, own chunk and earlier chunks.",
)
def normaliser_forgotten(q, k, v, feature_map, chunk_size):
    def read(weights, values, queries, key_values, key_sum):
        return weights @ values + queries @ key_values

    return _chunked(q, k, v, feature_map, chunk_size, read)


@mistake(
    right.causal_linear_attention,
    "Every query sees all keys, later ones too: this is linear_attention. Token t sees tokens 0 to "
    "t.",
)
def not_causal(q, k, v, feature_map, chunk_size):
    return right.linear_attention(q, k, v, feature_map)


@mistake(
    right.causal_linear_attention,
    "A query sees its own chunk only. Add what the running sums hold of the chunks before.",
)
def own_chunk_only(q, k, v, feature_map, chunk_size):
    def read(weights, values, queries, key_values, key_sum):
        return weights @ values / weights.sum(dim=-1, keepdim=True)

    return _chunked(q, k, v, feature_map, chunk_size, read)


@mistake(
    right.causal_linear_attention,
    "A query sees all of its own chunk, later tokens too. Inside a chunk the weights need tril.",
)
def whole_chunk_seen(q, k, v, feature_map, chunk_size):
    return _chunked(q, k, v, feature_map, chunk_size, mask=lambda x: x)


@mistake(
    right.causal_linear_attention,
    "The mask is the wrong way round: inside its chunk a token sees itself and later ones. tril "
    "keeps the earlier ones, triu the later.",
)
def triangle_the_wrong_way_round(q, k, v, feature_map, chunk_size):
    return _chunked(q, k, v, feature_map, chunk_size, mask=torch.triu)


@mistake(
    right.causal_linear_attention,
    "Of the earlier chunks only the one just before is seen: the running sums are replaced where "
    "they should be added to.",
)
def running_sum_replaced(q, k, v, feature_map, chunk_size):
    return _chunked(q, k, v, feature_map, chunk_size, update=lambda old, new: new)


@mistake(
    right.causal_linear_attention,
    "The normaliser holds the weights of the own chunk only, the numerator those of earlier chunks "
    "too. Both need both parts.",
)
def normaliser_of_the_own_chunk(q, k, v, feature_map, chunk_size):
    def read(weights, values, queries, key_values, key_sum):
        return (weights @ values + queries @ key_values) / weights.sum(dim=-1, keepdim=True)

    return _chunked(q, k, v, feature_map, chunk_size, read)


@mistake(
    right.causal_linear_attention,
    "Own chunk and earlier chunks are each divided by their own normaliser, and then added, so a "
    "query's weights sum to 2. Add the two numerators and the two normalisers, then divide once.",
)
def two_parts_normalised_apart(q, k, v, feature_map, chunk_size):
    def read(weights, values, queries, key_values, key_sum):
        own = weights @ values / weights.sum(dim=-1, keepdim=True)
        earlier = queries @ key_sum
        return own + queries @ key_values / torch.where(earlier > 0, earlier, 1)

    return _chunked(q, k, v, feature_map, chunk_size, read)


@mistake(
    right.causal_linear_attention,
    "The running sums are detached, so no gradient reaches earlier chunks.",
)
def running_sums_detached(q, k, v, feature_map, chunk_size):
    return _chunked(q, k, v, feature_map, chunk_size, update=lambda old, new: (old + new).detach())


@mistake(
    right.causal_linear_attention,
    "Queries are scaled by 1/√d before the feature map, as in softmax attention. Here the feature "
    "map decides the scale.",
)
def scale_of_softmax_kept(q, k, v, feature_map, chunk_size):
    scale = q.shape[-1] ** -0.5
    return right.causal_linear_attention(q * scale, k, v, feature_map, chunk_size)


@mistake(
    right.causal_linear_attention,
    "elu(x) + 1 is used, whatever `feature_map` is. Call the one that is given.",
)
def always_elu_plus_1(q, k, v, feature_map, chunk_size):
    return right.causal_linear_attention(q, k, v, right.elu_feature_map, chunk_size)


@mistake(
    right.causal_linear_attention,
    "The outputs are right, but a trace of later tokens stays in them. The running sum contains "
    "the chunk itself and the chunk is subtracted again: in floating point that does not give "
    "back what was there before. Move the sums by one chunk, with zeros for the first.",
)
def own_chunk_subtracted_from_the_running_sum(q, k, v, feature_map, chunk_size):
    n, padding = q.shape[-2], -q.shape[-2] % chunk_size
    phi_q, phi_k, v = (
        F.pad(x, (0, 0, 0, padding)).unflatten(-2, (-1, chunk_size))
        for x in (feature_map(q), feature_map(k), F.pad(v, (0, 1), value=1.0))
    )
    sums = phi_k.mT @ v
    both = (phi_q @ phi_k.mT).tril() @ v + phi_q @ (sums.cumsum(dim=-3) - sums)
    both = both.flatten(-3, -2)[..., :n, :]
    return both[..., :-1] / both[..., -1:]


@mistake(
    right.causal_linear_attention,
    "The result is right, but chunks always have one length, whatever `chunk_size` says.",
)
def chunks_of_one_length(q, k, v, feature_map, chunk_size):
    return _chunked(q, k, v, feature_map, 32)


@mistake(
    right.causal_linear_attention,
    "The normaliser is not the sum of the weights: something is added to it, or it is kept above a "
    "bound. Features are positive, and every token sees itself, so it is never 0; where features "
    "are small, what you add counts more than they do.",
)
def something_added_to_the_normaliser(q, k, v, feature_map, chunk_size):
    def read(weights, values, queries, key_values, key_sum):
        normaliser = weights.sum(dim=-1, keepdim=True) + queries @ key_sum
        return (weights @ values + queries @ key_values) / (normaliser + 1e-6)

    return _chunked(q, k, v, feature_map, chunk_size, read)

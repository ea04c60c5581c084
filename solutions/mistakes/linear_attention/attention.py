"""Wrong versions of the exercises of 02_linear_attention."""

import torch
import torch.nn.functional as F

from solutions import linear_attention as right
from solutions.mistakes import mistake


@mistake(
    right.elu_feature_map,
    "relu is zero for every negative number. A query and a key without a positive feature in "
    "common get weight 0, their gradient is 0, and a query whose features are all 0 divides 0 by "
    "0.",
)
def relu_instead_of_elu_plus_1(x):
    return F.relu(x)


@mistake(
    right.elu_feature_map,
    "elu alone goes down to −1. Weights must be positive: add 1, or the normaliser crosses zero.",
)
def elu_without_plus_1(x):
    return F.elu(x)


@mistake(
    right.elu_feature_map,
    "exp is positive, and equals elu + 1 for negative x, but for positive x it grows "
    "exponentially where elu(x) + 1 = x + 1 grows linearly.",
)
def exp_instead_of_elu_plus_1(x):
    return x.exp()


@mistake(
    right.linear_attention,
    "The result is right, but φ(Q)φ(K)ᵀ is computed first and costs n². Matrix products are "
    "associative: multiply φ(K)ᵀ with V first.",
)
def quadratic_order(q, k, v, feature_map):
    weights = feature_map(q) @ feature_map(k).mT
    return (weights / weights.sum(dim=-1, keepdim=True)) @ v


@mistake(
    right.linear_attention,
    "Nothing divides by the sum of a query's weights, so outputs grow with the number of keys. "
    "Divide by φ(q)ᵀ Σ φ(k).",
)
def normaliser_forgotten(q, k, v, feature_map):
    return feature_map(q) @ (feature_map(k).mT @ v)


@mistake(
    right.linear_attention,
    "The weights are normalised over the queries: each key's weights sum to 1. Attention is an "
    "average over keys: each query's weights must sum to 1.",
)
def normalised_over_queries(q, k, v, feature_map):
    phi_q, phi_k = feature_map(q), feature_map(k)
    phi_k = phi_k / (phi_k @ phi_q.sum(dim=-2).unsqueeze(-1))
    return phi_q @ (phi_k.mT @ v)


@mistake(
    right.linear_attention,
    "The feature map is applied to the queries only. The weights are φ(q)ᵀφ(k): keys need it too, "
    "or weights can be negative.",
)
def feature_map_on_queries_only(q, k, v, feature_map):
    phi_q = feature_map(q)
    k = torch.cat([k, k], dim=-1)[..., : phi_q.shape[-1]]
    return phi_q @ (k.mT @ v) / (phi_q @ k.sum(dim=-2).unsqueeze(-1))


@mistake(
    right.linear_attention,
    "Queries are scaled by 1/√d before the feature map, as in softmax attention. Here the feature "
    "map decides the scale; the weights are φ(q)ᵀφ(k) and nothing else.",
)
def scale_of_softmax_kept(q, k, v, feature_map):
    return right.linear_attention(q * q.shape[-1] ** -0.5, k, v, feature_map)


def _chunked(q, k, v, feature_map, chunk_size, causal_normaliser=True, offset=0, late=False):
    phi_q, phi_k = feature_map(q), feature_map(k)
    n, m = phi_k.shape[-2:]
    key_values = v.new_zeros(*v.shape[:-2], m, v.shape[-1])
    key_sum = v.new_zeros(*v.shape[:-2], m, 1)
    everything = phi_k.sum(dim=-2).unsqueeze(-1)
    outputs = []
    for start in range(0, n, chunk_size):
        chunk = slice(start, start + chunk_size)
        queries, keys, values = phi_q[..., chunk, :], phi_k[..., chunk, :], v[..., chunk, :]
        weights = (queries @ keys.mT).tril(offset)
        if late:
            key_values, key_sum = (
                key_values + keys.mT @ values,
                key_sum + keys.sum(-2).unsqueeze(-1),
            )
        numerator = weights @ values + queries @ key_values
        normaliser = weights.sum(dim=-1, keepdim=True) + queries @ key_sum
        if not causal_normaliser:
            normaliser = queries @ everything
        outputs.append(numerator / normaliser)
        if not late:
            key_values = key_values + keys.mT @ values
            key_sum = key_sum + keys.sum(-2).unsqueeze(-1)
    return torch.cat(outputs, dim=-2)


@mistake(
    right.causal_linear_attention,
    "A token does not see itself: inside a chunk the triangle leaves out its diagonal. Token t "
    "sees tokens 0 to t, itself included.",
)
def off_by_one_token(q, k, v, feature_map, chunk_size):
    return _chunked(q, k, v, feature_map, chunk_size, offset=-1)


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
    return _chunked(q, k, v, feature_map, chunk_size, causal_normaliser=False)


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
    right.recurrent_step,
    "The output is read before the token is added, so a token does not see itself, and the first "
    "divides 0 by 0. Add φ(k)vᵀ and φ(k) first.",
)
def read_before_update(state, q_t, k_t, v_t, feature_map):
    key_values, key_sum = state
    phi_q, phi_k = feature_map(q_t), feature_map(k_t)
    output = (phi_q.unsqueeze(-2) @ key_values).squeeze(-2)
    output = output / (phi_q * key_sum).sum(dim=-1, keepdim=True)
    key_values = key_values + phi_k.unsqueeze(-1) * v_t.unsqueeze(-2)
    return (key_values, key_sum + phi_k), output


@mistake(
    right.recurrent_step,
    "The state is overwritten in place. Autograd still needs its old value for the backward pass, "
    "and the caller's copy changes under its feet. Make a new tensor: state = state + …",
)
def state_changed_in_place(state, q_t, k_t, v_t, feature_map):
    key_values, key_sum = state
    phi_q, phi_k = feature_map(q_t), feature_map(k_t)
    key_values += phi_k.unsqueeze(-1) * v_t.unsqueeze(-2)
    key_sum += phi_k
    numerator = torch.einsum("...m,...me->...e", phi_q, key_values)
    return (key_values, key_sum), numerator / (phi_q * key_sum).sum(dim=-1, keepdim=True)


@mistake(
    right.recurrent_step,
    "The state is detached, so no gradient reaches the tokens before. It is cheaper, and it does "
    "not train what to remember.",
)
def state_detached(state, q_t, k_t, v_t, feature_map):
    state = tuple(part.detach() for part in state)
    return right.recurrent_step(state, q_t, k_t, v_t, feature_map)

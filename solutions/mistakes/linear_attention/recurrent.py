"""Wrong versions of the recurrent exercise of 02_linear_attention."""

import torch

from solutions import linear_attention as right
from solutions.mistakes import mistake


def _step(state, q_t, k_t, v_t, feature_map):
    """The new state, and what a query reads from it: numerator and normaliser."""
    phi_q, phi_k = feature_map(q_t), feature_map(k_t)
    key_values = state[0] + phi_k.unsqueeze(-1) * v_t.unsqueeze(-2)
    key_sum = state[1] + phi_k
    numerator = (phi_q.unsqueeze(-2) @ key_values).squeeze(-2)
    return (key_values, key_sum), numerator, (phi_q * key_sum).sum(dim=-1, keepdim=True)


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


@mistake(
    right.recurrent_step,
    "Nothing divides by the sum of the weights, φ(q)ᵀz, so outputs grow from token to token.",
)
def normaliser_forgotten(state, q_t, k_t, v_t, feature_map):
    return _step(state, q_t, k_t, v_t, feature_map)[:2]


@mistake(
    right.recurrent_step,
    "z is not updated: the new state holds the old Σ φ(k). Add φ(k) to it, as φ(k)vᵀ to S.",
)
def key_sum_not_updated(state, q_t, k_t, v_t, feature_map):
    new, numerator, _ = _step(state, q_t, k_t, v_t, feature_map)
    normaliser = (feature_map(q_t) * state[1]).sum(dim=-1, keepdim=True)
    return (new[0], state[1]), numerator / normaliser


@mistake(
    right.recurrent_step,
    "The numerator is read from the new state, the normaliser from the old z, which does not hold "
    "this token's φ(k). Read both after the update.",
)
def normaliser_before_update(state, q_t, k_t, v_t, feature_map):
    new, numerator, _ = _step(state, q_t, k_t, v_t, feature_map)
    return new, numerator / (feature_map(q_t) * state[1]).sum(dim=-1, keepdim=True)


@mistake(
    right.recurrent_step,
    "The old state is returned, so the next token knows nothing of this one. Return the new one.",
)
def old_state_returned(state, q_t, k_t, v_t, feature_map):
    _, numerator, normaliser = _step(state, q_t, k_t, v_t, feature_map)
    return state, numerator / normaliser


@mistake(
    right.recurrent_step,
    "The feature map is not applied to the query. The weights are φ(q)ᵀφ(k).",
)
def feature_map_on_keys_only(state, q_t, k_t, v_t, feature_map):
    (key_values, key_sum), _, _ = _step(state, q_t, k_t, v_t, feature_map)
    numerator = torch.einsum("...m,...me->...e", q_t, key_values)
    return (key_values, key_sum), numerator / (q_t * key_sum).sum(dim=-1, keepdim=True)


@mistake(
    right.recurrent_step,
    "The feature map is not applied to the key. The weights are φ(q)ᵀφ(k), and the state is made "
    "of φ(k).",
)
def feature_map_on_queries_only(state, q_t, k_t, v_t, feature_map):
    key_values, key_sum = state[0] + k_t.unsqueeze(-1) * v_t.unsqueeze(-2), state[1] + k_t
    phi_q = feature_map(q_t)
    numerator = torch.einsum("...m,...me->...e", phi_q, key_values)
    return (key_values, key_sum), numerator / (phi_q * key_sum).sum(dim=-1, keepdim=True)


@mistake(
    right.recurrent_step,
    "The output is divided by the sum of z. The sum of the weights is φ(q)ᵀz: the query is in it.",
)
def divided_by_the_sum_of_z(state, q_t, k_t, v_t, feature_map):
    new, numerator, _ = _step(state, q_t, k_t, v_t, feature_map)
    return new, numerator / new[1].sum(dim=-1, keepdim=True)


@mistake(
    right.recurrent_step,
    "elu(x) + 1 is used, whatever `feature_map` is. Call the one that is given.",
)
def always_elu_plus_1(state, q_t, k_t, v_t, feature_map):
    return right.recurrent_step(state, q_t, k_t, v_t, right.elu_feature_map)


@mistake(
    right.recurrent_step,
    "The query is scaled by 1/√d before the feature map, as in softmax attention. Here the feature "
    "map decides the scale.",
)
def scale_of_softmax_kept(state, q_t, k_t, v_t, feature_map):
    return right.recurrent_step(state, q_t * q_t.shape[-1] ** -0.5, k_t, v_t, feature_map)


@mistake(
    right.recurrent_step,
    "The normaliser is not φ(q)ᵀz: something is added to it, or it is kept above a bound. Features "
    "are positive, so it is never 0, and where they are small what you add counts more than they "
    "do.",
)
def something_added_to_the_normaliser(state, q_t, k_t, v_t, feature_map):
    new, numerator, normaliser = _step(state, q_t, k_t, v_t, feature_map)
    return new, numerator / (normaliser + 1e-6)


@mistake(
    right.recurrent_step,
    "The output is returned first. The new state comes first: return (S, z), output.",
)
def output_before_state(state, q_t, k_t, v_t, feature_map):
    return right.recurrent_step(state, q_t, k_t, v_t, feature_map)[::-1]


@mistake(
    right.recurrent_step,
    "S, z and the output come back side by side. The state is a pair: return (S, z), output.",
)
def state_not_in_a_pair(state, q_t, k_t, v_t, feature_map):
    new, output = right.recurrent_step(state, q_t, k_t, v_t, feature_map)
    return (*new, output)


@mistake(
    right.recurrent_step,
    "Only the output comes back. The next token needs the new state: return (S, z), output.",
)
def state_not_returned(state, q_t, k_t, v_t, feature_map):
    return right.recurrent_step(state, q_t, k_t, v_t, feature_map)[1]


@mistake(
    right.recurrent_step,
    "S is divided by z before it is returned, so the sum goes on from another number. The state "
    "holds sums; only what is read is divided, by φ(q)ᵀz.",
)
def state_divided_by_z(state, q_t, k_t, v_t, feature_map):
    new, numerator, normaliser = _step(state, q_t, k_t, v_t, feature_map)
    return (new[0] / new[1].unsqueeze(-1), new[1]), numerator / normaliser

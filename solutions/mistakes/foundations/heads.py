"""Wrong versions of multi_head_attention, an exercise of 00_foundations."""

from solutions import foundations as right
from solutions.mistakes import mistake


def _split(projected, num_heads):
    return projected.unflatten(-1, (num_heads, -1)).transpose(-3, -2)


def _merge(heads):
    return heads.transpose(-3, -2).flatten(-2)


def _heads(x, w_q, w_k, w_v, num_heads, causal):
    q, k, v = (_split(x @ w.mT, num_heads) for w in (w_q, w_k, w_v))
    return right.softmax_attention(q, k, v, causal=causal)


@mistake(
    right.multi_head_attention,
    "(n, heads·d) is viewed as (heads, n, d) without a transpose: a head gets some tokens with all "
    "their columns. Unflatten the last dimension into (heads, d), then swap tokens and heads.",
)
def heads_split_without_transpose(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    n = x.shape[-2]
    q, k, v = ((x @ w.mT).reshape(*x.shape[:-2], num_heads, n, -1) for w in (w_q, w_k, w_v))
    return _merge(right.softmax_attention(q, k, v, causal=causal)) @ w_o.mT


@mistake(
    right.multi_head_attention,
    "The last dimension is split into (heads, d), and heads and tokens are not swapped. Attention "
    "then runs over the heads of one token, and the tokens never meet: swap the two before it.",
)
def heads_attend_to_heads(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    q, k, v = ((x @ w.mT).unflatten(-1, (num_heads, -1)) for w in (w_q, w_k, w_v))
    return right.softmax_attention(q, k, v, causal=causal).flatten(-2) @ w_o.mT


@mistake(
    right.multi_head_attention,
    "The heads are joined without a transpose: (heads, n, d) is reshaped to (n, heads·d), which "
    "mixes tokens. Swap heads and tokens back first, then flatten the last two dimensions.",
)
def heads_joined_without_transpose(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    heads = _heads(x, w_q, w_k, w_v, num_heads, causal)
    return heads.reshape(*x.shape[:-1], -1) @ w_o.mT


@mistake(
    right.multi_head_attention,
    "The heads are joined in the wrong order: their columns alternate, (d, heads) for (heads, d). "
    "The output projection expects all columns of head 0, then all of head 1.",
)
def heads_joined_in_alternation(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    heads = _heads(x, w_q, w_k, w_v, num_heads, causal)
    return heads.movedim(-3, -1).flatten(-2) @ w_o.mT


@mistake(
    right.multi_head_attention,
    "A head takes every num_heads-th column: the last dimension is unflattened into (d, heads). A "
    "head owns d neighbouring columns: unflatten it into (heads, d).",
)
def heads_split_in_alternation(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    q, k, v = ((x @ w.mT).unflatten(-1, (-1, num_heads)).movedim(-1, -3) for w in (w_q, w_k, w_v))
    return _merge(right.softmax_attention(q, k, v, causal=causal)) @ w_o.mT


@mistake(
    right.multi_head_attention,
    "The scores are divided by the root of the model's width. A head's dot product has d terms, "
    "its own width: divide by √d.",
)
def scale_by_model_width(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    d = w_q.shape[0] // num_heads
    w_q = w_q * (d / x.shape[-1]) ** 0.5
    return right.multi_head_attention(x, w_q, w_k, w_v, w_o, num_heads, causal)


@mistake(
    right.multi_head_attention,
    "The output projection is missing. Without it the heads' results lie side by side and never "
    "meet: multiply what was joined by w_oᵀ.",
)
def no_output_projection(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return _merge(_heads(x, w_q, w_k, w_v, num_heads, causal))


@mistake(
    right.multi_head_attention,
    "The weights are not transposed. They are laid out as in torch.nn.Linear, (outputs, inputs): a "
    "projection is x wᵀ.",
)
def weights_not_transposed(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    weights = (w.mT for w in (w_q, w_k, w_v, w_o))
    return right.multi_head_attention(x, *weights, num_heads, causal)


@mistake(
    right.multi_head_attention,
    "There is one head of the whole width: `num_heads` is not used. Each head has a softmax of its "
    "own, over scores from its own columns.",
)
def one_head_of_the_whole_width(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return right.multi_head_attention(x, w_q, w_k, w_v, w_o, 1, causal)


@mistake(
    right.multi_head_attention,
    "The values are projected with the weights of the keys, as happens when a line is copied. "
    "Queries, keys and values each have a projection of their own.",
)
def keys_used_as_values(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return right.multi_head_attention(x, w_q, w_k, w_k, w_o, num_heads, causal)


@mistake(
    right.multi_head_attention,
    "`causal` is not handed on, so every token sees the later ones. Give it to softmax_attention.",
)
def causal_not_handed_on(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return right.multi_head_attention(x, w_q, w_k, w_v, w_o, num_heads)


@mistake(
    right.multi_head_attention,
    "The output weights are not transposed. They are laid out as in torch.nn.Linear, (outputs, "
    "inputs): multiply by w_oᵀ.",
)
def output_weights_not_transposed(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return _merge(_heads(x, w_q, w_k, w_v, num_heads, causal)) @ w_o


@mistake(
    right.multi_head_attention,
    "The weights of queries, keys and values are not transposed. They are laid out as in "
    "torch.nn.Linear, (outputs, inputs): a projection is x wᵀ.",
)
def input_weights_not_transposed(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    weights = (w.mT for w in (w_q, w_k, w_v))
    return right.multi_head_attention(x, *weights, w_o, num_heads, causal)


@mistake(
    right.multi_head_attention,
    "The width of a head is taken from the model, d_model / num_heads. It need not be: w_q has "
    "num_heads·d rows, and w_v num_heads·d_v. Let unflatten find the width, with -1.",
)
def head_width_from_the_model(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    d = x.shape[-1] // num_heads
    q, k, v = (
        (x @ w.mT).reshape(*x.shape[:-1], num_heads, d).transpose(-3, -2) for w in (w_q, w_k, w_v)
    )
    return _merge(right.softmax_attention(q, k, v, causal=causal)) @ w_o.mT


@mistake(
    right.multi_head_attention,
    "The output is given the shape of x. The output projection can have another width: w_o has "
    "d_out rows.",
)
def output_shaped_like_the_input(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    output = right.multi_head_attention(x, w_q, w_k, w_v, w_o, num_heads, causal)
    return output.reshape(x.shape)


@mistake(
    right.multi_head_attention,
    "Queries and keys are exchanged: queries are x w_qᵀ, keys x w_kᵀ, and the softmax runs over "
    "the keys.",
)
def queries_and_keys_exchanged(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return right.multi_head_attention(x, w_k, w_q, w_v, w_o, num_heads, causal)


@mistake(
    right.multi_head_attention,
    "The keys are projected with the weights of the queries, as happens when a line is copied. "
    "Queries, keys and values each have a projection of their own.",
)
def queries_used_as_keys(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return right.multi_head_attention(x, w_q, w_q, w_v, w_o, num_heads, causal)


@mistake(
    right.multi_head_attention,
    "The scores are not divided by √d. softmax_attention does that: use it, or divide yourself.",
)
def not_scaled(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    d = w_q.shape[0] // num_heads
    return right.multi_head_attention(x, w_q * d**0.5, w_k, w_v, w_o, num_heads, causal)


@mistake(
    right.multi_head_attention,
    "The scores are divided by √d twice. softmax_attention divides already.",
)
def scaled_twice(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    d = w_q.shape[0] // num_heads
    return right.multi_head_attention(x, w_q / d**0.5, w_k, w_v, w_o, num_heads, causal)


@mistake(
    right.multi_head_attention,
    "The causal mask is always used. Use it only where `causal` is True.",
)
def always_causal(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return right.multi_head_attention(x, w_q, w_k, w_v, w_o, num_heads, True)


@mistake(
    right.multi_head_attention,
    "x is added to the result. A layer of a transformer does that around attention; attention "
    "itself is what is asked for.",
)
def input_added(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return x + right.multi_head_attention(x, w_q, w_k, w_v, w_o, num_heads, causal)


@mistake(
    right.multi_head_attention,
    "The result is divided by the number of heads. The output projection adds up what the heads "
    "give; nothing is averaged.",
)
def heads_averaged(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    return right.multi_head_attention(x, w_q, w_k, w_v, w_o, num_heads, causal) / num_heads


@mistake(
    right.multi_head_attention,
    "The values are not projected: x is split into heads as it is. Multiply by w_vᵀ first.",
)
def values_not_projected(x, w_q, w_k, w_v, w_o, num_heads, causal=False):
    q, k = (_split(x @ w.mT, num_heads) for w in (w_q, w_k))
    heads = right.softmax_attention(q, k, _split(x, num_heads), causal=causal)
    return _merge(heads) @ w_o.mT

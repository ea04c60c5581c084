"""Wrong versions of attention_cost, an exercise of 00_foundations."""

from solutions import foundations as right
from solutions.mistakes import mistake


@mistake(
    right.attention_cost,
    "The FLOPs are half of what they should be. Either a multiply and an add are counted as one "
    "operation, where papers and hardware's peak rates count 2, or one of the two matrix products "
    "is missing: q kᵀ and weights times v cost 2·n²·d each, a head.",
)
def one_flop_a_multiply_add(n, d, num_heads, bytes_per_element):
    flops, *memory = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops // 2, *memory


@mistake(
    right.attention_cost,
    "One score matrix is counted. Every head has an n × n matrix of its own.",
)
def heads_forgotten_in_the_score_matrix(n, d, num_heads, bytes_per_element):
    flops, _, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops, n * n * bytes_per_element, inputs


@mistake(
    right.attention_cost,
    "d is taken for the width of the whole model, shared among the heads. Here d is the width of "
    "one head, as in (batch, heads, n, d): heads·d numbers a token.",
)
def d_taken_for_the_model_width(n, d, num_heads, bytes_per_element):
    scores = num_heads * n * n * bytes_per_element
    return 4 * n * n * d, scores, 3 * n * d * bytes_per_element


@mistake(
    right.attention_cost,
    "The projections of queries, keys, values and output are counted too. They cost 8·n·(heads·d)² "
    "more, which grows with n and not with n²; what is asked is the attention itself.",
)
def projections_counted(n, d, num_heads, bytes_per_element):
    flops, *memory = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops + 8 * n * (num_heads * d) ** 2, *memory


@mistake(
    right.attention_cost,
    "The exponentials, sums and divisions of the softmax are counted as FLOPs. What is asked is "
    "the two matrix products.",
)
def softmax_counted(n, d, num_heads, bytes_per_element):
    flops, *memory = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops + 3 * num_heads * n * n, *memory


@mistake(
    right.attention_cost,
    "The output is counted among the inputs. Those are q, k and v: three tensors, not four.",
)
def output_counted_as_an_input(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops, scores, inputs * 4 // 3


@mistake(
    right.attention_cost,
    "Elements are counted, not bytes. Multiply by `bytes_per_element`: 4 in float32, 2 in float16.",
)
def elements_for_bytes(n, d, num_heads, bytes_per_element):
    return right.attention_cost(n, d, num_heads, 1)


@mistake(
    right.attention_cost,
    "One head is counted. Every head multiplies its own queries, keys and values, and has a score "
    "matrix of its own: all three numbers grow with the number of heads.",
)
def heads_forgotten(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops // num_heads, scores // num_heads, inputs // num_heads


@mistake(
    right.attention_cost,
    "The FLOPs are those of one head. Each head has two matrix products of its own.",
)
def heads_forgotten_in_the_flops(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops // num_heads, scores, inputs


@mistake(
    right.attention_cost,
    "The inputs are those of one head. Each head has queries, keys and values of its own.",
)
def heads_forgotten_in_the_inputs(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops, scores, inputs // num_heads


@mistake(
    right.attention_cost,
    "One input is counted. There are three: q, k and v.",
)
def one_of_three_inputs(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops, scores, inputs // 3


@mistake(
    right.attention_cost,
    "Two inputs are counted. There are three: q, k and v.",
)
def two_of_three_inputs(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops, scores, inputs * 2 // 3


@mistake(
    right.attention_cost,
    "The score matrix is counted twice, as scores and as weights. One n × n matrix a head is asked "
    "for.",
)
def scores_and_weights_counted(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops, 2 * scores, inputs


@mistake(
    right.attention_cost,
    "A number is always counted as four bytes, those of float32. `bytes_per_element` says how many "
    "there are.",
)
def always_four_bytes(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops, scores * 4 // bytes_per_element, inputs * 4 // bytes_per_element


@mistake(
    right.attention_cost,
    "Bits are counted. `bytes_per_element` counts bytes already: do not multiply by 8.",
)
def bits_for_bytes(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops, 8 * scores, 8 * inputs


@mistake(
    right.attention_cost,
    "The FLOPs are multiplied by `bytes_per_element`. They count operations, not bytes.",
)
def bytes_in_the_flops(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops * bytes_per_element, scores, inputs


@mistake(
    right.attention_cost,
    "The two numbers of bytes have changed places: score matrices first, then inputs.",
)
def inputs_before_scores(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops, inputs, scores


@mistake(
    right.attention_cost,
    "The FLOPs grow with n, not with n². A product of (n × d) and (d × n) has n·n entries, each a "
    "sum of d products: 2·n²·d.",
)
def linear_in_n(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops * d // n, scores, inputs


@mistake(
    right.attention_cost,
    "A sum of d products has d − 1 additions, and so it is counted here. It is usual to count d, "
    "as a counter does: 2·n²·d a product.",
)
def one_addition_less(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops - num_heads * n * (n + d), scores, inputs


@mistake(
    right.attention_cost,
    "Only the pairs that a causal mask leaves are counted. Here every query meets every key.",
)
def causal_half(n, d, num_heads, bytes_per_element):
    _, *memory = right.attention_cost(n, d, num_heads, bytes_per_element)
    return 2 * num_heads * n * (n + 1) * d, *memory


@mistake(
    right.attention_cost,
    "The softmax is counted too, with 5 operations an entry. What is asked is the two matrix "
    "products.",
)
def five_flops_a_softmax_entry(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops + 5 * num_heads * n * n, scores, inputs


@mistake(
    right.attention_cost,
    "The score matrices are counted in elements. Multiply by `bytes_per_element`.",
)
def scores_without_bytes(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops, scores // bytes_per_element, inputs


@mistake(
    right.attention_cost,
    "Bytes are divided by 1024². Bytes are asked for, whole numbers.",
)
def multiples_of_a_mebibyte(n, d, num_heads, bytes_per_element):
    flops, scores, inputs = right.attention_cost(n, d, num_heads, bytes_per_element)
    return flops, scores / 2**20, inputs / 2**20

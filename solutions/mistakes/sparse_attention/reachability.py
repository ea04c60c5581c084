"""Wrong versions of `reachability`."""

import torch

from solutions import sparse_attention as right
from solutions.mistakes import mistake
from solutions.mistakes.sparse_attention.pairs import NUMBERS


@mistake(
    right.reachability,
    "The masks of the layers are added up, or united, and that is the mask again. A second layer "
    "sees what the tokens that it sees have seen: multiply the matrices.",
)
def sum_instead_of_product(mask, num_layers):
    return sum(mask.int() for _ in range(num_layers)) > 0


@mistake(
    right.reachability,
    "The direction is reversed: entry (i, j) says whether i reaches j. It must say whether the "
    "output of i depends on the input of j: row i is the query, as in the mask.",
)
def direction_reversed(mask, num_layers):
    return right.reachability(mask, num_layers).mT


@mistake(
    right.reachability,
    "One layer too many. With one layer the answer is the mask itself.",
)
def one_layer_too_many(mask, num_layers):
    return right.reachability(mask, num_layers + 1)


@mistake(
    right.reachability,
    "Everything that fewer layers reach is counted too, or every token is taken to see itself. "
    "Through attention alone, a token that the mask does not let see itself is not passed on.",
)
def reached_by_fewer_layers_as_well(mask, num_layers):
    return right.reachability(mask | torch.eye(len(mask), dtype=torch.bool), num_layers)


@mistake(
    right.reachability,
    "The number of walks is computed, and only then compared with 0. It grows exponentially with "
    "the layers: whole numbers wrap around, to 0 among others, and floating-point ones become "
    "infinite, and infinity times 0 is NaN; made smaller each time they become 0. Compare after "
    "every layer.",
)
def walks_counted_beyond_what_numbers_hold(mask, num_layers):
    return torch.linalg.matrix_power(mask.long(), num_layers) > 0


@mistake(
    right.reachability,
    "It squares: layer after layer the reach is multiplied with itself, and after L layers that is "
    "2^(L − 1) steps. Multiply with the mask.",
)
def reach_times_itself(mask, num_layers):
    for _ in range(num_layers - 1):
        mask = mask.float() @ mask.float() > 0
    return mask


@mistake(
    right.reachability,
    "One layer too few. With one layer the answer is the mask itself, with two its product with "
    "itself.",
)
def one_layer_too_few(mask, num_layers):
    return right.reachability(mask, max(num_layers - 1, 1))


@mistake(
    right.reachability,
    "What fewer layers reach is counted too: the layers' reach is united. Entry (i, j) asks for "
    "walks of exactly `num_layers` steps.",
)
def reach_of_all_layers_united(mask, num_layers):
    return torch.stack([right.reachability(mask, n + 1) for n in range(min(num_layers, 20))]).any(0)


@mistake(
    right.reachability,
    "Every token reaches itself here. Through attention alone that is so only where a walk leads "
    "back to it.",
)
def tokens_that_always_reach_themselves(mask, num_layers):
    return right.reachability(mask, num_layers) | torch.eye(len(mask), dtype=torch.bool)


@mistake(
    right.reachability,
    "It goes on until nothing new is reached, whatever `num_layers` says.",
)
def as_many_layers_as_tokens(mask, num_layers):
    return right.reachability(mask, len(mask))


@mistake(
    right.reachability,
    "It computes two layers, whatever `num_layers` says: multiply once for each further layer.",
)
def always_two_layers(mask, num_layers):
    return right.reachability(mask, 2)


@mistake(
    right.reachability,
    "One of the two factors is transposed: row i of the first must meet column j of the second.",
)
def a_factor_transposed(mask, num_layers):
    step = reach = mask.float()
    for _ in range(num_layers - 1):
        reach = (step.mT @ reach > 0).float()
    return reach.bool()


@mistake(
    right.reachability,
    "One of the two factors is transposed: row i of the first must meet column j of the second.",
)
def the_other_factor_transposed(mask, num_layers):
    step = reach = mask.float()
    for _ in range(num_layers - 1):
        reach = (step @ reach.mT > 0).float()
    return reach.bool()


@mistake(
    right.reachability,
    "A pair counts only where more than one walk leads from one to the other. One is enough: > 0.",
)
def more_than_one_walk(mask, num_layers):
    step = reach = mask.float()
    for _ in range(num_layers - 1):
        reach = (reach @ step > 1).float()
    return reach.bool()


@mistake(right.reachability, NUMBERS)
def numbers_instead_of_truth_values(mask, num_layers):
    return right.reachability(mask, num_layers).float()

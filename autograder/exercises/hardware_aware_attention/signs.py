"""What shows mistakes whose numbers are right in all but a few digits."""

import torch

from autograder.exercise import Answer, Inputs, difference


def shows_a_small_number_in_the_sum(inputs: Inputs, answer: Answer, expected: Answer) -> bool:
    """Each row of the output is the right one times a number that is a little less than 1.

    That shows in float64; with fewer digits the output only has to be right.
    """
    output, truth = answer["output"], expected["output"]
    (given, *_) = (x.dtype for x in inputs.values() if isinstance(x, torch.Tensor))
    if output.dtype != given:
        return False
    if given != torch.float64:
        return difference("output", output, truth) is None
    share = (output * truth).sum(-1, keepdim=True) / (truth * truth).sum(-1, keepdim=True)
    missing = 1 - share
    in_share = difference("output", output / share, truth) is None
    return in_share and bool(((missing > 1e-10) & (missing < 1e-3)).all())

"""Wrong versions of the exercises of 05_hardware_aware_attention that look right at first sight."""

import torch

from solutions import hardware_aware_attention as right
from solutions.mistakes.hardware_aware_attention.backward import backward_of
from solutions.mistakes.hardware_aware_attention.tiles import tiled
from tests.autograder.exercises.hardware_aware_attention.wrong_kernels import WRONG as KERNELS


def ridge_for_the_roof(intensity, peak_flops, bandwidth):
    return 0 * intensity + peak_flops / bandwidth


def softmax_by_python_numbers(x, block_size):
    # Reads x where no operation of torch is seen.
    copy = torch.tensor(x.tolist(), dtype=x.dtype)
    return right.online_softmax(copy, block_size)


def blocks_of_one_whatever_is_asked(x, block_size):
    return right.online_softmax(x, 1)


def blocks_twice_as_wide(x, block_size):
    return right.online_softmax(x, 2 * block_size)


def padded_to_whole_blocks(x, block_size):
    padded = torch.nn.functional.pad(x, (0, -x.shape[-1] % block_size), value=-torch.inf)
    return right.online_softmax(padded, block_size)[..., : x.shape[-1]]


def looks_for_infinities_first(x, block_size):
    output = right.online_softmax(x, block_size)
    return output.where(~x.isinf().all(dim=-1, keepdim=True), 0.0)


def sum_of_the_weights_a_little_too_large(x, block_size):
    output = right.online_softmax(x, block_size)
    return output / (output + 1e-3).sum(dim=-1, keepdim=True)


def always_float32(x, block_size):
    return right.online_softmax(x.float(), block_size)


def lowest_number_of_minus_100(x, block_size):
    return right.online_softmax(x.clamp(min=-100), block_size)


def query_by_query(q, k, v, block_q, block_k, causal):
    return right.tiled_attention(q, k, v, 1, block_k, causal)


def key_by_key(q, k, v, block_q, block_k, causal):
    return right.tiled_attention(q, k, v, block_q, 1, causal)


def output_alone(q, k, v, block_q, block_k, causal):
    return right.tiled_attention(q, k, v, block_q, block_k, causal)[0]


def logsumexp_with_a_last_dimension(q, k, v, block_q, block_k, causal):
    output, logsumexp = right.tiled_attention(q, k, v, block_q, block_k, causal)
    return output, logsumexp.unsqueeze(-1)


def logsumexp_to_the_base_2(q, k, v, block_q, block_k, causal):
    output, logsumexp = right.tiled_attention(q, k, v, block_q, block_k, causal)
    return output, logsumexp / torch.log(torch.tensor(2.0)).to(logsumexp)


def a_thousandth_in_the_denominator(q, k, v, block_q, block_k, causal):
    output, logsumexp = right.tiled_attention(q, k, v, block_q, block_k, causal)
    return output / (1 + 1e-3), logsumexp


def skips_the_tiles_on_the_diagonal(q, k, v, block_q, block_k, causal):
    if not causal:
        return right.tiled_attention(q, k, v, block_q, block_k, causal)
    outputs, logsumexps = [], []
    for start in range(0, q.shape[-2], block_q):
        seen = slice(0, max(start, 1))
        out, lse = right.tiled_attention(
            q[..., start : start + block_q, :],
            k[..., seen, :],
            v[..., seen, :],
            block_q,
            block_k,
            False,
        )
        outputs.append(out)
        logsumexps.append(lse)
    return torch.cat(outputs, dim=-2), torch.cat(logsumexps, dim=-1)


def n_and_d_swapped(n, d, sram_elements, algorithm):
    if algorithm == "standard":
        return 4 * d * d + 4 * n * d
    return right.attention_hbm_traffic(n, d, sram_elements, algorithm)


def refuses_everything(n, d, sram_elements, algorithm):
    raise ValueError


def gradients_in_another_order(q, k, v, out, lse, grad_out, block_q, block_k, causal):
    args = q, k, v, out, lse, grad_out, block_q, block_k, causal
    grad_q, grad_k, grad_v = right.flash_backward(*args)
    return grad_v, grad_k, grad_q


def lse_of_at_least_0(q, k, v, out, lse, grad_out, block_q, block_k, causal):
    lse = lse.clamp(min=0)
    return right.flash_backward(q, k, v, out, lse, grad_out, block_q, block_k, causal)


def backward_query_by_query(q, k, v, out, lse, grad_out, block_q, block_k, causal):
    return right.flash_backward(q, k, v, out, lse, grad_out, 1, block_k, causal)


def dense_backward(q, k, v, out, lse, grad_out, block_q, block_k, causal):
    scale = q.shape[-1] ** -0.5
    p = torch.exp(q @ k.mT * scale - lse.unsqueeze(-1))
    p = p.tril() if causal else p
    grad_s = p * (grad_out @ v.mT - (grad_out * out).sum(-1, keepdim=True)) * scale
    return grad_s @ k, grad_s.mT @ q, p.mT @ grad_out


def queries_overwritten(q, k, v, block_q, block_k, causal):
    scaled = q.clone()
    q *= q.shape[-1] ** -0.5
    return right.tiled_attention(scaled, k, v, block_q, block_k, causal)


def four_axes_alone(q, k, v, block_q, block_k, causal):
    _, _, _, _ = q.shape
    return right.tiled_attention(q, k, v, block_q, block_k, causal)


def batch_of_one_squeezed(*args):
    return tuple(x.squeeze(0) for x in right.tiled_attention(*args))


def hidden_by_minus_1000(*args):
    return tiled(*args, hidden=-1e3)


def a_tenth_of_a_millionth_in_the_sum(*args):
    return tiled(*args, total_of=lambda total: total + 1e-7)


def tiles_of_32_queries(q, k, v, block_q, block_k, causal):
    return right.tiled_attention(q, k, v, 32, block_k, causal)


def one_tile_too_many_above_the_diagonal(q, k, v, block_q, block_k, causal):
    return tiled(q, k, v, block_q, block_k, causal, beyond=1)


def grad_out_overwritten(q, k, v, out, lse, grad_out, *rest):
    gradients = right.flash_backward(q, k, v, out, lse, grad_out, *rest)
    grad_out *= 0
    return gradients


def backward_for_four_axes_alone(q, *rest):
    _, _, _, _ = q.shape
    return right.flash_backward(q, *rest)


def hidden_by_minus_100(*args):
    return backward_of(*args, hidden=-1e2)


def every_gradient_turned(*args):
    return tuple(-x for x in right.flash_backward(*args))


def intensities_overwritten(intensity, peak_flops, bandwidth):
    if not isinstance(intensity, torch.Tensor):
        return min(intensity * bandwidth, peak_flops)
    return intensity.mul_(bandwidth).clamp_(max=peak_flops)


def tile_height_rounded_to_the_nearest(n, d, sram_elements, algorithm):
    right.attention_hbm_traffic(n, d, sram_elements, algorithm)
    rounded = 4 * d * round(sram_elements / (4 * d))
    return right.attention_hbm_traffic(n, d, rounded, algorithm)


# Exercise -> wrong version -> the mistake that its report names, if it names one.
WRONG = KERNELS | {
    "roofline": {
        ridge_for_the_roof: "",
        intensities_overwritten: "it overwrites what it is given",
    },
    "online_softmax": {
        softmax_by_python_numbers: "",
        blocks_of_one_whatever_is_asked: "steps smaller than a block",
        blocks_twice_as_wide: "more than a block read at once",
        padded_to_whole_blocks: "more than a block read at once",
        looks_for_infinities_first: "final pass over the input",
        sum_of_the_weights_a_little_too_large: "",
        always_float32: "another type of numbers",
        lowest_number_of_minus_100: "",
    },
    "tiled_attention": {
        query_by_query: "tiles of one row each",
        key_by_key: "tiles of one row each",
        output_alone: "",
        logsumexp_with_a_last_dimension: "axes of length 1",
        logsumexp_to_the_base_2: "",
        a_thousandth_in_the_denominator: "rows that are off by a factor",
        skips_the_tiles_on_the_diagonal: "",
        queries_overwritten: "it overwrites what it is given",
        four_axes_alone: "for one number of axes only",
        batch_of_one_squeezed: "axes of length 1",
        hidden_by_minus_1000: "",
        a_tenth_of_a_millionth_in_the_sum: "a small number added to the sum",
        tiles_of_32_queries: "",
        one_tile_too_many_above_the_diagonal: "",
    },
    "attention_hbm_traffic": {
        n_and_d_swapped: "",
        refuses_everything: "",
        tile_height_rounded_to_the_nearest: "tile height rounded up",
    },
    "flash_backward": {
        gradients_in_another_order: "",
        lse_of_at_least_0: "",
        backward_query_by_query: "tiles of one row each",
        dense_backward: "all weights at once",
        grad_out_overwritten: "it overwrites what it is given",
        backward_for_four_axes_alone: "for one number of axes only",
        hidden_by_minus_100: "",
        every_gradient_turned: "the opposite sign",
    },
}

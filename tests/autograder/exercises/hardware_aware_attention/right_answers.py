"""Right versions of the exercises of 05_hardware_aware_attention: other loops, other formulas."""
# ruff: noqa: E741  (l is the papers' letter)

import math

import torch

from tests.autograder.exercises.hardware_aware_attention.right_kernels import RIGHT as KERNELS


def intensity_by_the_reciprocal(flops, bytes):
    return flops * (1 / bytes)


def intensity_as_a_tensor(flops, bytes):
    return torch.div(torch.as_tensor(flops), torch.as_tensor(bytes))


def roofline_by_minimum(intensity, peak_flops, bandwidth):
    return torch.minimum(torch.as_tensor(intensity * bandwidth), torch.tensor(peak_flops))


def roofline_by_the_time_of_a_flop(intensity, peak_flops, bandwidth):
    seconds_to_move = 1 / (torch.as_tensor(intensity, dtype=torch.float64) * bandwidth)
    seconds = seconds_to_move.clamp(min=1 / peak_flops)
    return (1 / seconds).to(getattr(intensity, "dtype", torch.float64))


def roofline_by_the_ridge(intensity, peak_flops, bandwidth):
    ridge = peak_flops / bandwidth
    if not isinstance(intensity, torch.Tensor):
        return bandwidth * intensity if intensity < ridge else peak_flops
    return torch.where(intensity < ridge, bandwidth * intensity, peak_flops)


def softmax_rescaled_as_it_goes(x, block_size):
    n = x.shape[-1]
    output = torch.empty_like(x, dtype=torch.float32 if x.element_size() < 8 else x.dtype)
    m = torch.full_like(output[..., :1], -math.inf)
    l = torch.zeros_like(m)
    for start in range(0, n, block_size):
        end = min(start + block_size, n)
        block = x[..., start:end].to(output.dtype)
        m_new = torch.maximum(m, block.max(dim=-1, keepdim=True).values)
        shift = torch.where(m_new == -math.inf, 0.0, m_new)
        alpha = torch.exp(m - shift)
        output[..., :start] *= alpha
        output[..., start:end] = torch.exp(block - shift)
        l = l * alpha + output[..., start:end].sum(dim=-1, keepdim=True)
        m = m_new
    return (output / torch.where(l == 0, 1.0, l)).to(x.dtype)


def softmax_by_logaddexp(x, block_size):
    total, parts = None, []
    for block in torch.split(x, block_size, dim=-1):
        block = block.double()
        lse = block.logsumexp(dim=-1, keepdim=True)
        parts.append((block.softmax(dim=-1), lse))
        total = lse if total is None else torch.logaddexp(total, lse)
    shares = [(part * torch.exp(lse - total)).nan_to_num(0.0) for part, lse in parts]
    return torch.cat(shares, dim=-1).to(x.dtype)


def softmax_by_recursion(x, block_size):
    # Milakov and Gimelshein's pairs (m, l) joined by their operation, which is associative.
    def part(columns):
        columns = columns.to(torch.promote_types(x.dtype, torch.float32))
        m = columns.amax(dim=-1, keepdim=True).clamp(min=-1e30)
        p = torch.exp(columns - m)
        return [p], m, p.sum(dim=-1, keepdim=True)

    def join(first, second):
        (p, m, l), (p_next, m_next, l_next) = first, second
        larger = torch.maximum(m, m_next)
        a, b = torch.exp(m - larger), torch.exp(m_next - larger)
        return [y * a for y in p] + [y * b for y in p_next], larger, l * a + l_next * b

    whole = None
    for start in range(0, x.shape[-1], block_size):
        here = part(x.narrow(-1, start, min(block_size, x.shape[-1] - start)))
        whole = here if whole is None else join(whole, here)
    p, _, l = whole
    return (torch.cat(p, dim=-1) / l.where(l > 0, 1)).to(x.dtype)


def tiled_with_keys_outside(q, k, v, block_q, block_k, causal):
    n_q, n_k, d = q.shape[-2], k.shape[-2], q.shape[-1]
    m = torch.full_like(q[..., 0], -math.inf)
    l, acc = torch.zeros_like(m), torch.zeros(*q.shape[:-1], v.shape[-1], dtype=q.dtype)
    for b in range(0, n_k, block_k):
        for a in range(0, n_q, block_q):
            if causal and b >= a + block_q:
                continue
            i = slice(a, a + block_q)
            s = torch.einsum("...id,...jd->...ij", q[..., i, :], k[..., b : b + block_k, :])
            s = s / math.sqrt(d)
            if causal:
                hidden = torch.ones(s.shape[-2:], dtype=torch.bool).triu(1 + a - b)
                s = torch.where(hidden, -math.inf, s)
            m_new = torch.maximum(m[..., i], s.amax(dim=-1))
            p = torch.exp(s - m_new[..., None])
            alpha = torch.exp(m[..., i] - m_new)
            l[..., i] = l[..., i] * alpha + p.sum(dim=-1)
            acc[..., i, :] = acc[..., i, :] * alpha[..., None] + p @ v[..., b : b + block_k, :]
            m[..., i] = m_new
    return acc / l[..., None], m + torch.log(l)


def tiled_by_joining_softmaxes(q, k, v, block_q, block_k, causal):
    # Each tile has an output of its own, and its logsumexp says what that weighs.
    outputs, logsumexps, first_q = [], [], 0
    for q_i in q.split(block_q, dim=-2):
        out, lse, first_k = 0, None, 0
        for k_j, v_j in zip(k.split(block_k, dim=-2), v.split(block_k, dim=-2), strict=True):
            if causal and first_k > first_q + q_i.shape[-2] - 1:
                break
            s = (q_i @ k_j.mT) * q.shape[-1] ** -0.5
            if causal:
                shape = s.shape[-2:]
                s = s + torch.full(shape, -math.inf).triu(1 + first_q - first_k).to(s.dtype)
            tile_lse = s.logsumexp(dim=-1, keepdim=True)
            tile_out = s.softmax(dim=-1).nan_to_num(0.0) @ v_j
            new = tile_lse if lse is None else torch.logaddexp(lse, tile_lse)
            kept = 0 if lse is None else torch.exp(lse - new)
            out, lse = out * kept + tile_out * torch.exp(tile_lse - new), new
            first_k += block_k
        outputs.append(out)
        logsumexps.append(lse.squeeze(-1))
        first_q += block_q
    return [torch.cat(outputs, dim=-2), torch.cat(logsumexps, dim=-1)]


def traffic_counted_tile_by_tile(n, d, sram_elements, algorithm):
    if algorithm == "standard":
        return (2 * n * d + n * n) + 2 * n * n + (n * n + n * d + n * d)
    block = sram_elements // (4 * d)
    if algorithm != "flash" or block == 0:
        raise ValueError(algorithm)
    moved = 0
    for start_q in range(0, n, block):
        rows = min(block, n - start_q)
        moved += rows * d
        for start_k in range(0, n, block):
            moved += 2 * min(block, n - start_k) * d
        moved += rows * d + rows
    return moved


def traffic_as_a_float(n, d, sram_elements, algorithm):
    if algorithm not in ("standard", "flash"):
        raise ValueError("unknown")
    if algorithm == "standard":
        return 4.0 * n * (n + d)
    if sram_elements < 4 * d:
        raise ValueError("too little SRAM")
    query_tiles = -(-n // (sram_elements // (4 * d)))
    return torch.tensor(n * (2.0 * d * (1 + query_tiles) + 1))


def backward_with_keys_outside(q, k, v, out, lse, grad_out, block_q, block_k, causal):
    # Algorithm 2 as it is in the paper.
    scale = 1 / math.sqrt(q.shape[-1])
    delta = torch.einsum("...id,...id->...i", grad_out, out)
    grad_q, grads_k, grads_v = torch.zeros_like(q), [], []
    for b in range(0, k.shape[-2], block_k):
        k_j, v_j = k[..., b : b + block_k, :], v[..., b : b + block_k, :]
        grad_k, grad_v = torch.zeros_like(k_j), torch.zeros_like(v_j)
        for a in range(0, q.shape[-2], block_q):
            if causal and b >= a + block_q:
                continue
            i = slice(a, a + block_q)
            p = torch.exp((q[..., i, :] @ k_j.mT) * scale - lse[..., i, None])
            if causal:
                p = p * torch.ones(p.shape[-2:], dtype=p.dtype).tril(a - b)
            grad_v = grad_v + torch.einsum("...ij,...ie->...je", p, grad_out[..., i, :])
            grad_p = torch.einsum("...ie,...je->...ij", grad_out[..., i, :], v_j)
            grad_s = scale * p * (grad_p - delta[..., i, None])
            grad_q[..., i, :] += grad_s @ k_j
            grad_k = grad_k + grad_s.mT @ q[..., i, :]
        grads_k.append(grad_k)
        grads_v.append(grad_v)
    return grad_q, torch.cat(grads_k, dim=-2), torch.cat(grads_v, dim=-2)


def backward_by_autograd_in_each_tile(q, k, v, out, lse, grad_out, block_q, block_k, causal):
    grads = [torch.zeros_like(x) for x in (q, k, v)]
    for a in range(0, q.shape[-2], block_q):
        i = slice(a, a + block_q)
        delta = (grad_out[..., i, :] * out[..., i, :]).sum(-1, keepdim=True)
        for b in range(0, min(k.shape[-2], a + block_q) if causal else k.shape[-2], block_k):
            j = slice(b, b + block_k)
            with torch.enable_grad():
                tiles = [x.detach().requires_grad_() for x in (q[..., i, :], k[..., j, :])]
                s = tiles[0] @ tiles[1].mT / q.shape[-1] ** 0.5
                if causal:
                    mask = torch.ones(s.shape[-2:], dtype=torch.bool).triu(1 + a - b)
                    s = s.masked_fill(mask, -math.inf)
                p = torch.exp(s - lse[..., i].unsqueeze(-1))
                gain = grad_out[..., i, :] @ v[..., j, :].mT - delta
                grad_q, grad_k = torch.autograd.grad((p * gain).sum(), tiles)
            grads[0][..., i, :] += grad_q
            grads[1][..., j, :] += grad_k
            grads[2][..., j, :] += p.detach().mT @ grad_out[..., i, :]
    return tuple(grads)


def softmax_in_float64(x, block_size):
    parts, m, l = [], None, 0
    for i in range(math.ceil(x.shape[-1] / block_size)):
        block = x[..., i * block_size : (i + 1) * block_size].double()
        top = block.amax(-1, keepdim=True).clamp(min=-1e300)
        new = top if m is None else torch.maximum(m, top)
        factor = 1 if m is None else torch.exp(m - new)
        parts = [part * factor for part in parts] + [torch.exp(block - new)]
        l, m = l * factor + parts[-1].sum(-1, keepdim=True), new
    return (torch.cat(parts, -1) / l.where(l > 0, 1)).to(x.dtype)


def tiled_in_float64(q, k, v, block_q, block_k, causal):
    output, lse = tiled_with_keys_outside(
        *(x.double() for x in (q, k, v)), block_q, block_k, causal
    )
    return output.to(q.dtype), lse.to(q.dtype)


def tiled_with_tiles_cut_at_the_diagonal(q, k, v, block_q, block_k, causal):
    output, lse = q.new_empty(*q.shape[:-1], v.shape[-1]), q.new_empty(q.shape[:-1])
    for a in range(0, q.shape[-2], block_q):
        i = slice(a, min(a + block_q, q.shape[-2]))
        end = min(i.stop, k.shape[-2]) if causal else k.shape[-2]
        m = torch.full_like(lse[..., i], -1e30)
        l, acc = torch.zeros_like(m), torch.zeros_like(output[..., i, :])
        for b in range(0, end, block_k):
            j = slice(b, min(b + block_k, end))
            s = q[..., i, :] @ k[..., j, :].transpose(-1, -2) / q.shape[-1] ** 0.5
            if causal:
                above = torch.ones(s.shape[-2:], dtype=torch.bool).triu(a - b + 1)
                s = s.masked_fill(above, -math.inf)
            new = torch.maximum(m, s.amax(-1))
            p, alpha = torch.exp(s - new[..., None]), torch.exp(m - new)
            l = l * alpha + p.sum(-1)
            acc = acc * alpha[..., None] + p @ v[..., j, :]
            m = new
        output[..., i, :], lse[..., i] = acc / l[..., None], m + l.log()
    return output, lse


RIGHT = KERNELS | {
    "arithmetic_intensity": [intensity_by_the_reciprocal, intensity_as_a_tensor],
    "roofline": [roofline_by_minimum, roofline_by_the_time_of_a_flop, roofline_by_the_ridge],
    "online_softmax": [
        softmax_rescaled_as_it_goes,
        softmax_by_logaddexp,
        softmax_by_recursion,
        softmax_in_float64,
    ],
    "tiled_attention": [
        tiled_with_keys_outside,
        tiled_by_joining_softmaxes,
        tiled_in_float64,
        tiled_with_tiles_cut_at_the_diagonal,
    ],
    "attention_hbm_traffic": [traffic_counted_tile_by_tile, traffic_as_a_float],
    "flash_backward": [backward_with_keys_outside, backward_by_autograd_in_each_tile],
}

"""Right versions of the exercises of 01_sparse_attention: loops, gathers, other formulas."""

import math

import torch
import torch.nn.functional as F


def window_by_loops(n, window, causal):
    mask = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        mask[i, max(0, i - window) : i + 1 if causal else i + window + 1] = True
    return mask


def window_by_triangles(n, window, causal):
    return torch.ones(n, n, dtype=torch.bool).tril(0 if causal else window).triu(-window)


def strided_by_loops(n, stride):
    mask = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        mask[i, max(0, i - stride) : i + 1] = True
        mask[i, i % stride : i + 1 : stride] = True
    return mask


def strided_by_rows_and_columns(n, stride):
    column = torch.arange(n) % stride
    everything = torch.ones(n, n, dtype=torch.bool)
    near = everything.triu(-stride + 1)
    return ((column[:, None] == column[None]) | near) & everything.tril()


def fixed_by_loops(n, stride, num_summary):
    mask = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        for j in range(i + 1):
            mask[i, j] = i // stride == j // stride or j % stride + num_summary >= stride
    return mask


def fixed_by_blocks(n, stride, num_summary):
    blocks = math.ceil(n / stride)
    block = torch.block_diag(*[torch.ones(stride, stride)] * blocks)[:n, :n] > 0
    summary = torch.zeros(blocks, stride, dtype=torch.bool)
    summary[:, -num_summary:] = True
    return (block | summary.flatten()[:n]) & torch.ones(n, n, dtype=torch.bool).tril()


def bigbird_by_loops(n, block_size, num_global_blocks, num_random_blocks, generator):
    blocks = math.ceil(n / block_size)
    seen = []
    for i in range(blocks):
        if i < num_global_blocks:
            seen.append(set(range(blocks)))
            continue
        fixed = {i - 1, i, i + 1, *range(num_global_blocks)} & set(range(blocks))
        free = [j for j in range(blocks) if j not in fixed]
        order = torch.randperm(len(free), generator=generator).tolist()
        seen.append(fixed | {free[o] for o in order[:num_random_blocks]})
    return torch.tensor(
        [[j // block_size in seen[i // block_size] for j in range(n)] for i in range(n)]
    )


def bigbird_by_kronecker(n, block_size, num_global_blocks, num_random_blocks, generator):
    blocks = math.ceil(n / block_size)
    seen = torch.ones(blocks, blocks).tril(1).triu(-1)
    seen[:num_global_blocks] = 1
    seen[:, :num_global_blocks] = 1
    for i in range(blocks):
        free = (seen[i] == 0).nonzero().flatten()
        if len(free) and num_random_blocks:
            count = min(num_random_blocks, len(free))
            picks = torch.multinomial(torch.ones(len(free)), count, generator=generator)
            seen[i, free[picks]] = 1
    return torch.kron(seen, torch.ones(block_size, block_size))[:n, :n].bool()


def reach_by_sets(mask, num_layers):
    reach = [set(row.nonzero().flatten().tolist()) for row in mask]
    edges = list(reach)
    for _ in range(num_layers - 1):
        reach = [set().union(*(reach[j] for j in row)) for row in edges]
    return torch.tensor([[j in row for j in range(len(mask))] for row in reach])


def reach_by_squaring(mask, num_layers):
    result, power = torch.eye(len(mask)), mask.float()
    while num_layers:
        if num_layers % 2:
            result = (result @ power).clamp(max=1)
        power, num_layers = (power @ power).clamp(max=1), num_layers // 2
    return result.bool()


def window_by_one_strip_for_each_query(q, k, v, window):
    n, d = q.shape[-2:]
    k, v = (F.pad(x, (0, 0, window, window)).unfold(-2, 2 * window + 1, 1) for x in (k, v))
    scores = torch.einsum("...nd,...ndw->...nw", q, k) / math.sqrt(d)
    j = torch.arange(n)[:, None] + torch.arange(-window, window + 1)
    weights = scores.masked_fill((j < 0) | (j >= n), -torch.inf).softmax(-1)
    return torch.einsum("...nw,...new->...ne", weights, v)


def window_by_a_loop_over_offsets(q, k, v, window):
    n, d = q.shape[-2:]
    near = range(-min(window, n - 1), min(window, n - 1) + 1)

    def moved(x, offset):  # row i is row i + offset
        return F.pad(x, (0, 0, max(-offset, 0), max(offset, 0)))[
            ..., max(offset, 0) : max(offset, 0) + n, :
        ]

    i = torch.arange(n)
    scores = torch.stack(
        [
            ((q * moved(k, o)).sum(-1) * d**-0.5).masked_fill((i + o < 0) | (i + o >= n), -1e30)
            for o in near
        ]
    )
    weights = scores.softmax(0)
    return sum(w[..., None] * moved(v, o) for w, o in zip(weights, near, strict=True))


def window_by_chunks_at_once(q, k, v, window):
    n, d = q.shape[-2:]
    chunk = max(window, 8)
    padding = -n % chunk

    def near(x):
        chunks = F.pad(x, (0, 0, chunk, chunk + padding)).unflatten(-2, (-1, chunk))
        before, own, after = (chunks[..., i : i - 2 or None, :, :] for i in range(3))
        return torch.cat([before, own, after], dim=-2)

    scores = F.pad(q * d**-0.5, (0, 0, 0, padding)).unflatten(-2, (-1, chunk)) @ near(k).mT
    i = torch.arange(n + padding).view(-1, chunk, 1)
    j = torch.arange(0, n, chunk).view(-1, 1, 1) + torch.arange(-chunk, 2 * chunk)
    seen = ((i - j).abs() <= window) & (j >= 0) & (j < n) | (i >= n)
    scores = scores.masked_fill(~seen, float("-inf"))
    return (scores.softmax(dim=-1) @ near(v)).flatten(-3, -2)[..., :n, :]


def strided_by_one_index_table(q, k, v, stride):
    n, d = q.shape[-2:]
    i = torch.arange(n)[:, None]
    j = torch.cat([i - torch.arange(stride), i - stride * torch.arange(1, -(-n // stride))], dim=-1)
    near, there = j.clamp(min=0), j >= 0
    scores = torch.einsum("...nd,...nwd->...nw", q, k[..., near, :]) * d**-0.5
    weights = scores.masked_fill(~there, -torch.inf).softmax(-1)
    return torch.einsum("...nw,...nwe->...ne", weights, v[..., near, :])


def strided_token_by_token(q, k, v, stride):
    outputs = []
    for i in range(q.shape[-2]):
        far = torch.arange(i)[i % stride : max(i - stride, 0) : stride]
        keys = torch.cat([far, torch.arange(max(i - stride, 0), i + 1)])
        scores = q[..., i : i + 1, :] @ k[..., keys, :].mT / math.sqrt(q.shape[-1])
        outputs.append(scores.softmax(dim=-1) @ v[..., keys, :])
    return torch.cat(outputs, dim=-2)


def strided_by_exponentials(q, k, v, stride):
    """The column by itself and the near keys by themselves, joined by their normalisers."""
    n, d = q.shape[-2:]
    pad = -n % stride
    q, k, v = (F.pad(x, (0, 0, 0, pad)).unflatten(-2, (-1, stride)) for x in (q * d**-0.5, k, v))
    column = torch.einsum("...rcd,...scd->...crs", q, k)
    r = torch.arange(column.shape[-1])
    column = column.masked_fill(r[:, None] < r, -torch.inf)
    before_k, before_v = (F.pad(x, (0, 0, 0, 0, 1, 0))[..., :-1, :, :] for x in (k, v))
    near = torch.einsum("...rcd,...red->...rce", q, torch.cat([before_k, k], dim=-2))
    c = torch.arange(stride)[:, None]
    hidden = torch.cat([c >= torch.arange(stride), c <= torch.arange(stride)], dim=-1)
    hidden = hidden.expand(len(r), -1, -1).clone()
    hidden[0, :, :stride] = True
    near = near.masked_fill(hidden, -torch.inf)
    top = torch.maximum(near.amax(-1), column.amax(-1).mT).detach()
    near, column = (near - top[..., None]).exp(), (column - top.mT[..., None]).exp()
    total = near.sum(-1) + column.sum(-1).mT
    out = near @ torch.cat([before_v, v], dim=-2) + torch.einsum("...crs,...sce->...rce", column, v)
    return (out / total[..., None]).flatten(-3, -2)[..., :n, :]


def blocks_by_index(q, k, v, block_mask, block_size):
    n, d = q.shape[-2:]
    position = torch.arange(n)
    rows = []
    for i, live in enumerate(block_mask):
        keys = position[live.repeat_interleave(block_size)[:n]]
        scores = q[..., i * block_size : (i + 1) * block_size, :] @ k[..., keys, :].mT / d**0.5
        rows.append(scores.softmax(-1) @ v[..., keys, :])
    return torch.cat(rows, dim=-2)


def blocks_gathered_at_once(q, k, v, block_mask, block_size):
    n, d = q.shape[-2:]
    blocks = len(block_mask)
    pad = blocks * block_size - n
    most = int(block_mask.sum(-1).max())
    live, chosen = block_mask.int().topk(most, dim=-1)  # dead blocks come last
    q, k, v = (F.pad(x, (0, 0, 0, pad)).unflatten(-2, (blocks, block_size)) for x in (q, k, v))
    keys, values = k[..., chosen, :, :].flatten(-3, -2), v[..., chosen, :, :].flatten(-3, -2)
    position = chosen[..., None] * block_size + torch.arange(block_size)
    seen = ((live[..., None] > 0) & (position < n)).flatten(-2)
    scores = (q @ keys.mT * d**-0.5).masked_fill(~seen[:, None], -1e30)
    return (scores.softmax(-1) @ values).flatten(-3, -2)[..., :n, :]


def blocks_pair_by_pair(q, k, v, block_mask, block_size):
    """One live pair after another, with a running maximum and normaliser."""
    q = q * q.shape[-1] ** -0.5
    qs, ks, vs = (x.split(block_size, dim=-2) for x in (q, k, v))
    outputs = []
    for i, query in enumerate(qs):
        top = torch.full_like(query[..., :1], -1e30)
        total, out = torch.zeros_like(top), 0.0
        for j in block_mask[i].nonzero().flatten().tolist():
            scores = query @ ks[j].mT
            new = torch.maximum(top, scores.amax(-1, keepdim=True))
            weights, old = (scores - new).exp(), (top - new).exp()
            total = total * old + weights.sum(-1, keepdim=True)
            out, top = out * old + weights @ vs[j], new
        outputs.append(out / total)
    return torch.cat(outputs, dim=-2)


def bucket_by_einsum(x, rotations):
    rotated = torch.einsum("...nd,dh->...nh", x, rotations)
    return torch.argmax(torch.cat((rotated, rotated.neg()), -1), -1)


def bucket_by_the_largest_magnitude(x, rotations):
    rotated = x @ rotations
    place = rotated.abs().argmax(-1, keepdim=True)
    negative = rotated.gather(-1, place) < 0
    return (place + negative * rotations.shape[1])[..., 0]


def lsh_with_logs_of_counts(q, v, num_buckets, num_rounds, chunk_size, generator):
    """The paper's form: every round sees all that it finds, less log N."""
    n, d = q.shape[-2:]
    rotations = torch.randn(num_rounds, d, num_buckets // 2, generator=generator).to(q.dtype)
    shape, q = v.shape, q.reshape(-1, n, d)
    v = v.reshape(-1, n, v.shape[-1])
    buckets = torch.stack([lsh_bucket(q, r) for r in rotations])  # (rounds, batch, n)
    order = (buckets * n + torch.arange(n)).argsort(-1)
    chunk = order.argsort(-1) // chunk_size
    chunks = -(-n // chunk_size)
    row = torch.arange(len(q))[:, None]
    results, totals = [], []
    for r in range(num_rounds):
        padded = F.pad(order[r], (0, chunks * chunk_size - n), value=-1).view(len(q), chunks, -1)
        before = torch.cat([torch.full_like(padded[:, :1], -1), padded[:, :-1]], 1)
        keys = torch.cat([before, padded], -1)  # (batch, chunks, 2·chunk_size)
        i, j = padded.flatten(1), keys.flatten(1)
        times = 0
        for b, c in zip(buckets, chunk, strict=True):
            bi, ci = (x[row, i].view_as(padded)[..., None] for x in (b, c))
            bj, cj = (x[row, j].view_as(keys)[:, :, None] for x in (b, c))
            times = times + ((bi == bj) & ((ci == cj) | (ci == cj + 1)))
        bi, bj = buckets[r][row, i].view_as(padded), buckets[r][row, j].view_as(keys)
        hidden = (bi[..., None] != bj[:, :, None]) | (keys < 0)[:, :, None]
        query, key = (q[row, x].unflatten(1, (chunks, -1)) for x in (i, j))
        scores = query @ (key / key.norm(dim=-1, keepdim=True)).mT / d**0.5
        scores = scores - times.clamp(min=1).log()
        scores = scores.masked_fill(hidden, -1e9)
        scores = scores.masked_fill(padded[..., None] == keys[:, :, None], -1e5)
        total = scores.logsumexp(-1, keepdim=True)
        out = (scores - total).exp() @ v[row, j].unflatten(1, (chunks, -1))
        undo = order[r].argsort(-1)
        results.append(out.flatten(1, 2)[row, undo])
        totals.append(total.flatten(1)[row, undo])
    # Beside −10⁵ float32 has two digits left: a softmax, whose shares sum to 1 all the same.
    share = torch.stack(totals).softmax(0)
    return (share[..., None] * torch.stack(results)).sum(0).view(shape)


def lsh_by_sums_of_exponentials(q, v, num_buckets, num_rounds, chunk_size, generator):
    """Numerators and normalisers below a bound on the score, ‖q‖/√d, summed over the rounds.

    In float64: a score can be so far below the bound that float32 has no exponential of it.
    """
    n, d = q.shape[-2:]
    dtype, q, v = q.dtype, q.double(), v.double()
    rotations = torch.randn(num_rounds, d, num_buckets // 2, generator=generator).to(q.dtype)
    bound = q.norm(dim=-1) / d**0.5
    k = q / q.norm(dim=-1, keepdim=True)
    buckets = [lsh_bucket(q, r) for r in rotations]
    orders = [b.sort(dim=-1, stable=True).indices for b in buckets]
    places = [o.argsort(-1) for o in orders]
    numerator, normaliser = torch.zeros_like(v), torch.zeros_like(bound)
    place = torch.arange(n)
    window = torch.arange(2 * chunk_size) - chunk_size
    there = (place // chunk_size * chunk_size)[:, None] + window  # places that place i may see
    real = (there >= 0) & (there < n)
    there = there.clamp(0, n - 1)
    for r, order in enumerate(orders):

        def take(x, order=order):
            return x.take_along_dim(
                order if x.ndim == order.ndim else order[..., None], -1 - (x.ndim > order.ndim)
            )

        new = real & (there != place[:, None])
        for s in range(r + 1):
            bucket, chunk = take(buckets[s]), take(places[s]) // chunk_size
            gap = chunk[..., :, None] - chunk[..., there]
            found = (bucket[..., :, None] == bucket[..., there]) & ((gap == 0) | (gap == 1))
            new = new & (found if s == r else ~found)
        scores = torch.einsum("...nd,...nwd->...nw", take(q), take(k)[..., there, :]) * d**-0.5
        weights = (scores - take(bound)[..., None]).exp() * new
        summed = torch.einsum("...nw,...nwe->...ne", weights, take(v)[..., there, :])
        numerator = numerator + summed.take_along_dim(places[r][..., None], -2)
        normaliser = normaliser + weights.sum(-1).take_along_dim(places[r], -1)
    alone = (normaliser == 0)[..., None]
    return torch.where(alone, v, numerator / normaliser[..., None].masked_fill(alone, 1)).to(dtype)


def lsh_bucket(x, rotations):
    return bucket_by_einsum(x, rotations)


RIGHT = {
    "sliding_window_mask": [window_by_loops, window_by_triangles],
    "strided_mask": [strided_by_loops, strided_by_rows_and_columns],
    "fixed_mask": [fixed_by_loops, fixed_by_blocks],
    "bigbird_mask": [bigbird_by_loops, bigbird_by_kronecker],
    "reachability": [reach_by_sets, reach_by_squaring],
    "sliding_window_attention": [
        window_by_one_strip_for_each_query,
        window_by_a_loop_over_offsets,
        window_by_chunks_at_once,
    ],
    "strided_attention": [
        strided_by_one_index_table,
        strided_by_exponentials,
        strided_token_by_token,
    ],
    "block_sparse_attention": [blocks_by_index, blocks_gathered_at_once, blocks_pair_by_pair],
    "lsh_bucket": [bucket_by_einsum, bucket_by_the_largest_magnitude],
    "lsh_attention": [lsh_with_logs_of_counts, lsh_by_sums_of_exponentials],
}

"""Mutants that compute the same, or what an exercise leaves free, and why."""

_A_SHIFT = "softmax does not see a number that is added to all scores of a query"
_CENTRED = "x has the mean 0: what is added to every y does not change the slope"
_EACH_ROW = "signs of rows, not columns: each is as uniform, and orthogonal to the others"
_A_CHUNK = "how long a chunk is, is free"
_SMALLER_NUMBERS = "it makes points far from 0 more exact than is asked for"

# Exercise -> (what was changed, why that is no mistake).
EQUIVALENT: dict[str, dict[str, str]] = {
    "softmax_attention": {
        "torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device) → "
        "torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)": "all cases are on the CPU",
        "0.0 → 1.0": _A_SHIFT,
        "0.0 → -1.0": _A_SHIFT,
    },
    "scaling_exponent": {
        "y - y.mean() → y + y.mean()": _CENTRED,
        "y.mean → y.sum": _CENTRED,
        "torch.tensor(values, dtype=torch.float64) → torch.tensor(values)": (
            "an exponent of float32 numbers is precise enough"
        ),
    },
    "orthogonal_random_features": {
        "num_features / dim → num_features * dim": "more blocks are drawn, and cut off",
        "q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2) → "
        "q / r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)": "signs are their own inverses",
        "-2 → 2": _EACH_ROW,
        "2 → 1": _EACH_ROW,
        "rotations.mT → rotations": "columns of a rotation are as good as its rows",
    },
    "distortion": {
        "points - points.mean(dim=0) → points + points.mean(dim=0)": _SMALLER_NUMBERS,
        "points.mean(dim=0) → points.mean()": _SMALLER_NUMBERS,
        "points.mean → points.sum": _SMALLER_NUMBERS,
    },
    "iterative_pinv": {
        "torch.eye(a.shape[-1], dtype=a.dtype, device=a.device) → "
        "torch.eye(a.shape[-1], device=a.device)": "its product with float64 numbers is float64",
        "torch.eye(a.shape[-1], dtype=a.dtype, device=a.device) → "
        "torch.eye(a.shape[-1], dtype=a.dtype)": "all cases are on the CPU",
        "1 → 2": "the sides of A are equal",
    },
    "performer_attention": {"128 → 129": _A_CHUNK, "128 → 127": _A_CHUNK},
}

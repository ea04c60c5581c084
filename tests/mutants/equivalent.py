"""Mutants that compute the same, or what an exercise leaves free, and why."""

_A_SHIFT = "softmax does not see a number that is added to all scores of a query"
_CENTRED = "x has the mean 0: what is added to every y does not change the slope"

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
}

"""Mutants that compute the same, or what an exercise leaves free, and why."""

# Exercise -> (what was changed, why that is no mistake).
EQUIVALENT: dict[str, dict[str, str]] = {}

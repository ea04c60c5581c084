"""Slow executable definitions: shown in the notebooks, and used as an independent truth."""

"""Kernels that differ from the solutions in a few places."""

from solutions.mistakes.hardware_aware_attention.changed_kernel import changed


def variant(kernel, name, changes):
    """The kernel with each key of `changes` replaced by its value."""
    return changed(kernel, name, "", changes).function

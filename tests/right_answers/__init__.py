"""Right versions of the exercises, written differently from solutions/."""

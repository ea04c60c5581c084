"""Wrong versions of the exercises beside the listed mistakes: they must not earn full points."""

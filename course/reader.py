"""Small things that a notebook says to its reader."""

import contextlib
from collections.abc import Iterator, Sequence

from IPython.display import Markdown


@contextlib.contextmanager
def after_solving(*exercises: str) -> Iterator[None]:
    """Run the block; where it meets an unsolved exercise, say which ones it needs."""
    try:
        yield
    except NotImplementedError:
        print(f"This cell needs your {', '.join(exercises)}. Solve that, then run it again.")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> Markdown:
    """A table for the notebook; floats are shown with three digits."""

    def line(cells: Sequence[object]) -> str:
        shown = (f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells)
        return "| " + " | ".join(shown) + " |"

    return Markdown("\n".join([line(headers), line(["---"] * len(headers)), *map(line, rows)]))

"""Small things that a notebook says to its reader."""

import contextlib
import traceback
from collections.abc import Iterator, Sequence

from IPython.display import Markdown

_COMPREHENSIONS = {"<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"}


class NotHereError(RuntimeError):
    """This machine lacks what a cell needs; the text says what, and what to do."""


@contextlib.contextmanager
def after_solving(*exercises: str) -> Iterator[None]:
    """Run the block; where it meets an unsolved exercise, say which ones it needs.

    Likewise where it uses a name that a cell above has not made yet, or something that this machine
    does not have.
    """
    needs = f"needs your {', '.join(exercises)}"
    try:
        yield
    except NameError as error:
        # Below the block, a comprehension of its own has a frame too (up to Python 3.11).
        inner = [frame.name for frame in traceback.extract_tb(error.__traceback__)[2:]]
        if not set(inner) <= _COMPREHENSIONS:
            raise
        print(f"Run the cells above first: they make {error.name}. (This cell {needs}.)")
    except NotHereError as error:
        print(error)
    except Exception as error:
        if not is_unsolved(error):
            raise
        print(f"This cell {needs}. Solve that, then run it again.")


def is_unsolved(error: Exception) -> bool:
    """Whether an exercise is still to be written; of a kernel, Triton tells in its own words."""
    return isinstance(error, NotImplementedError) or "NotImplementedError()" in str(error)


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> Markdown:
    """A table for the notebook; floats are shown with three digits."""

    def line(cells: Sequence[object]) -> str:
        shown = (f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells)
        return "| " + " | ".join(shown) + " |"

    return Markdown("\n".join([line(headers), line(["---"] * len(headers)), *map(line, rows)]))

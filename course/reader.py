"""Small things that a notebook says to its reader."""

import contextlib
from collections.abc import Iterator, Sequence

from IPython.display import Markdown


class NotHereError(RuntimeError):
    """This machine lacks what a cell needs; the text says what, and what to do."""


@contextlib.contextmanager
def after_solving(*exercises: str) -> Iterator[None]:
    """Run the block; where it meets an unsolved exercise, say which ones it needs.

    Likewise where it uses a name that a cell above has not made yet, or something that this machine
    does not have.
    """
    needs = f"This cell needs your {', '.join(exercises)}. Solve that, then run it again."
    try:
        yield
    except NotImplementedError:
        print(needs)
    except NameError as error:
        in_the_block_itself = error.__traceback__.tb_next.tb_next is None
        if not in_the_block_itself:
            raise
        print(f"{needs} (Run the cells above first: they make {error.name}.)")
    except NotHereError as error:
        print(error)
    except Exception as error:
        if not is_unsolved(error):
            raise
        print(needs)


def is_unsolved(error: Exception) -> bool:
    """Whether an exercise is still to be written; of a kernel, Triton tells in its own words."""
    return isinstance(error, NotImplementedError) or "NotImplementedError()" in str(error)


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> Markdown:
    """A table for the notebook; floats are shown with three digits."""

    def line(cells: Sequence[object]) -> str:
        shown = (f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells)
        return "| " + " | ".join(shown) + " |"

    return Markdown("\n".join([line(headers), line(["---"] * len(headers)), *map(line, rows)]))

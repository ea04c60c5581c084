"""Take the answers from a notebook, and everything else that is graded from its originals."""

import ast
import re
import warnings
from collections.abc import Collection, Iterable, Iterator

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from autograder.cells import grade_id
from autograder.grading import is_notice, notice

Originals = dict[str, NotebookNode]
"""The cells that nbgrader knows, by grade_id and in the notebook's order."""

_LONGEST_TEXT = 20_000
_IPYTHONS_OWN = re.compile(r"^[ \t]*([%!?].*|[\w.]+\?+)$", re.MULTILINE)
"""Lines that only IPython understands."""

_COPIES = {
    "test": "This copy is not the one that is graded.",
    "code": "Each copy is run.",
    "text": "Whoever grades it reads this copy too.",
}


def restore(
    submitted: Iterable[NotebookNode], originals: Originals, released: Collection[str] = ()
) -> list[NotebookNode]:
    """The submitted cells with the originals among them, and a notice above what was changed.

    Of the submission stay the text of its solution cells, and the cells that are the student's
    own. Of several copies the last counts; of several answers the last that says something. A cell
    that is missing is put back, but for the place of an answer in code: what the student wrote
    elsewhere must not be defined anew as it was released. released: the texts of all cells as they
    were handed out, by which the student's own are known.
    """
    released = {plain(text) for text in released}
    submitted = list(submitted)
    names = _names(submitted, originals)
    counting = _counting_copies(submitted, names, originals)
    cells = []
    for index, (cell, name) in enumerate(zip(submitted, names, strict=True)):
        cell.metadata.pop("nbgrader", None)
        if plain(cell.source) not in released:
            cell.metadata.pop("tags", None)  # such as one that keeps a cell from being run
        if name is None:
            cells.append(cell)
        elif counting[name] == index:
            cells += _take(cell, name, originals[name])
        else:
            cells += _copy(cell, name, originals[name], submitted[counting[name]])
    _put_back(cells, originals)
    for name in originals:
        if _is_written(originals[name]):
            _show_what_is_near(cells, name, originals[name], released)
    return cells


def plain(text: str) -> str:
    """A text without the white space that editors and tools add and remove."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _same(cell: NotebookNode, original: NotebookNode) -> bool:
    return plain(cell.source) == plain(original.source)


def _is_written(original: NotebookNode) -> bool:
    return original.cell_type == "markdown" and original.metadata.nbgrader.solution


def _is_test(original: NotebookNode) -> bool:
    marks = original.metadata.nbgrader
    return marks.grade and not marks.solution


def _names(cells: list[NotebookNode], originals: Originals) -> list[str | None]:
    """Which original each cell is: as its metadata say, or, where they are lost, its text."""
    names = [name if (name := grade_id(cell)) in originals else None for cell in cells]
    texts = [(cell.cell_type, plain(cell.source)) for cell in cells]
    for name, original in originals.items():
        wanted = original.cell_type, plain(original.source)
        alike = (i for i, text in enumerate(texts) if names[i] is None and text == wanted)
        if name not in names and (index := next(alike, None)) is not None:
            names[index] = name
    return names


def _counting_copies(
    cells: list[NotebookNode], names: list[str | None], originals: Originals
) -> dict[str, int]:
    ranks: dict[str, tuple[bool, int]] = {}
    for index, (cell, name) in enumerate(zip(cells, names, strict=True)):
        if name is not None:
            original = originals[name]
            answered = not original.metadata.nbgrader.locked and not _same(cell, original)
            ranks[name] = max(ranks.get(name, (False, -1)), (answered, index))
    return {name: index for name, (_, index) in ranks.items()}


def _take(cell: NotebookNode, name: str, original: NotebookNode) -> Iterator[NotebookNode]:
    """The submitted cell as the original is, but for its answer, and what has to be said of it."""
    marks, handed_in = original.metadata.nbgrader, cell.source
    if cell.cell_type != original.cell_type:
        cell = _new_cell(original.cell_type, cell.source)
        yield notice(
            f"The cell `{name}` had become another type of cell. "
            f"It is a {original.cell_type} cell again."
        )
    if marks.grade:
        cell.metadata.pop("tags", None)
    changed = not _same(cell, original)
    if marks.locked or not changed:
        cell.source = original.source
    cell.metadata.nbgrader = marks
    if not marks.locked or not changed:
        yield cell
    elif marks.grade or cell.cell_type != "code":
        yield notice(f"The cell `{name}` had been changed. It was put back as it was released.")
        yield cell
    else:
        yield notice(
            f"The cell `{name}` had been changed. It was put back as it was released; yours is run "
            "after it."
        )
        yield cell
        yield new_code_cell(handed_in)


def _copy(
    cell: NotebookNode, name: str, original: NotebookNode, counts: NotebookNode
) -> Iterator[NotebookNode]:
    kind = "test" if original.metadata.nbgrader.locked else "code"
    if _is_written(original):
        kind = "text"
    yield notice(f"The cell `{name}` is there more than once. {_COPIES[kind]}")
    # A stub beside an answer says nothing, and would take its place.
    if kind == "test" or not _same(cell, original) or _same(counts, original):
        yield cell


def _put_back(cells: list[NotebookNode], originals: Originals) -> None:
    place = 0
    for name, original in originals.items():
        present = _index_of(name, cells)
        if present is not None:
            place = present + 1
            continue
        marks = original.metadata.nbgrader
        text = f"The cell `{name}` was missing. "
        if marks.solution and not marks.grade:
            cells.insert(place, notice(text + "What your other cells define is graded."))
            place += 1
            continue
        if _is_test(original):
            place = _place_of_test(name, cells, originals)
        text += "It was put back as it was released."
        cells[place:place] = [notice(text), original]
        place += 2


def _place_of_test(name: str, cells: list[NotebookNode], originals: Originals) -> int:
    """Before the next of the known cells, so that it is behind all that it could be about."""
    following = list(originals)[list(originals).index(name) + 1 :]
    places = (_index_of(other, cells) for other in following)
    return next((place for place in places if place is not None), len(cells))


def _index_of(name: str, cells: list[NotebookNode]) -> int | None:
    return next((i for i, cell in enumerate(cells) if grade_id(cell) == name), None)


def _show_what_is_near(
    cells: list[NotebookNode], name: str, original: NotebookNode, released: set[str]
) -> None:
    """Where nothing is written in its cell, show there what the student wrote in others.

    The cell then differs from the original, so that nbgrader lets a person grade it.
    """
    place = _index_of(name, cells)
    if place is None or not _same(cells[place], original):
        return
    known = [i for i, cell in enumerate(cells) if grade_id(cell) is not None]
    first = max((i for i in known if i < place), default=-1)
    last = min((i for i in known if i > place), default=len(cells))
    own = [
        i
        for i, cell in enumerate(cells)
        if grade_id(cell) is None and plain(cell.source) not in released and _is_text(cell)
    ]
    near = [cells[i] for i in own if first < i < last]
    if not own:
        return
    cell = new_markdown_cell(metadata=cells[place].metadata)
    if near:
        text = (
            "Nothing is written in this cell. What you wrote near it follows; a person grades it."
        )
        cell.source = "\n\n* * *\n\n".join([notice(text).source, *map(_as_markdown, near)])
        pasted = {k: v for other in near for k, v in other.get("attachments", {}).items()}
        if pasted:
            cell.attachments = pasted
    else:
        text = (
            "Nothing is written in this cell, nor near it. Elsewhere in the notebook stands text "
            "of yours; a person looks whether it is the answer."
        )
        cell.source = notice(text).source
    cells[place] = cell


def _is_text(cell: NotebookNode) -> bool:
    """Whether a cell holds text, which may also stand in a code cell, and is no notice."""
    if not cell.source.strip() or is_notice(cell):
        return False
    if cell.cell_type != "code":
        return True
    if len(cell.source) > _LONGEST_TEXT or cell.source.startswith("%%"):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            statements = ast.parse(_IPYTHONS_OWN.sub("pass", cell.source)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True
    return all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) for s in statements)


def _as_markdown(cell: NotebookNode) -> str:
    return cell.source if cell.cell_type == "markdown" else f"~~~~\n{cell.source}\n~~~~"


def _new_cell(cell_type: str, source: str) -> NotebookNode:
    return new_code_cell(source) if cell_type == "code" else new_markdown_cell(source)

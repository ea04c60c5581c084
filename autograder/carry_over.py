"""Carry a reader's answers, and all else that is theirs, over into a new version of a notebook.

A notebook says itself what of it is the course's: nbgrader's metadata hold the checksum of a cell
as it was released, every other cell of the course has an id made from its text, and the metadata
of the notebook list the cells that its release had, by which a cell that the reader took out is
told from one that the course has added.
"""

from copy import deepcopy

from nbformat import NotebookNode
from nbformat.corpus.words import generate_corpus_id as random_cell_id
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from nbgrader.utils import compute_checksum

from autograder.cells import RELEASED, cells_of_the_course, grade_id, id_by_contents

# What the course decides of a cell's metadata; the rest is the reader's, such as what is folded.
_OURS = ("nbgrader", "tags", "deletable", "editable")
_CHANGED = (
    "The course has changed the cell `{name}` above. **The cell below is what you wrote before.** "
    "Nothing runs it. Move into the cell above what still holds, then delete these two."
)
_GONE = "The course no longer has the cell `{name}`. **The cell below is what you wrote in it.**"
_REPLACED = "The course has changed or removed this place. **The cell below is as you had it.**"


def carried_over(work: NotebookNode, release: NotebookNode) -> NotebookNode:
    """The release, with the answers, changes and own cells of `work`.

    work: a copy of an earlier release, in which somebody has worked. An answer stays where its
    exercise is unchanged, with its outputs; otherwise it is kept under the new exercise, with a
    note. What the reader has taken out stays out.
    """
    return _CarryOver(work, release).notebook()


def is_untouched(work: NotebookNode) -> bool:
    """Whether a notebook holds nothing of a reader's: every cell is as the course made it."""
    return all(
        _is_as_released(cell) and not cell.get("outputs") and not cell.get("attachments")
        for cell in work.cells
    )


def _is_as_released(cell: NotebookNode) -> bool:
    if grade_id(cell) is None:
        return cell.id == id_by_contents(cell)
    try:
        return cell.metadata.nbgrader.checksum == compute_checksum(cell)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False  # damaged metadata: what is not known to be the course's is the reader's


class _CarryOver:
    def __init__(self, work: NotebookNode, release: NotebookNode) -> None:
        self._work = work
        self._new = dict(zip(cells_of_the_course(release), release.cells, strict=True))
        released = work.metadata.get(RELEASED)
        listed = released.get("cells") if isinstance(released, dict) else None
        self._before = set(listed) if isinstance(listed, list) else set()
        self._keys = [self._key(cell) for cell in work.cells]
        # Of several copies of a cell the last that was touched is the one that the reader uses.
        ranks: dict[str, tuple[bool, int]] = {}
        for index, (key, cell) in enumerate(zip(self._keys, work.cells, strict=True)):
            if key is not None:
                rank = (not _is_as_released(cell), index)
                ranks[key] = max(rank, ranks.get(key, rank))
        self._place = {key: index for key, (_, index) in ranks.items()}

    def _key(self, cell: NotebookNode) -> str | None:
        """What the course knows the cell by: its grade_id or its id; None if it is the reader's."""
        if name := grade_id(cell):
            return name
        # Where a tool has dropped the ids, the text tells.
        known = (self._new.keys() | self._before) & {cell.id, id_by_contents(cell)}
        if known:
            return cell.id if cell.id in known else known.pop()
        return cell.id if cell.id == id_by_contents(cell) else None

    def notebook(self) -> NotebookNode:
        following = self._readers_cells()
        cells = following.pop(None, [])
        for key, cell in self._new.items():
            if key in self._place:
                cells += _carried(self._work.cells[self._place[key]], cell)
            elif key not in self._before:
                cells.append(deepcopy(cell))
            cells += following.pop(key, [])
        taken: set[str] = set()
        for cell in cells:
            if cell.id in taken:
                cell.id = random_cell_id()
            taken.add(cell.id)
        return new_notebook(cells=cells, metadata=deepcopy(self._work.metadata))

    def _readers_cells(self) -> dict[str | None, list[NotebookNode]]:
        """What stays beside the release's cells, by the cell that it follows; None: the first."""
        found: dict[str | None, list[NotebookNode]] = {}
        for index, (key, cell) in enumerate(zip(self._keys, self._work.cells, strict=True)):
            if key in self._new and self._place[key] == index:
                continue
            if key is None or (key in self._place and self._place[key] != index):
                kept = [_as_own(cell)]
            elif _is_as_released(cell):
                continue
            else:
                kept = [_note(key, cell), _as_own(cell)]
            found.setdefault(self._cell_before(index), []).extend(kept)
        return found

    def _cell_before(self, index: int) -> str | None:
        """The cell of the new release that the reader's cell is to follow.

        It is the one that it followed before. If the course has replaced that, the new text goes
        first, which may define what the reader's cell needs.
        """
        course = [
            i for i, key in enumerate(self._keys) if key is not None and self._place[key] == i
        ]
        above = [i for i in course if i < index]
        if not above or self._keys[above[-1]] in self._new:
            return self._keys[above[-1]] if above else None
        order = list(self._new)
        for i in course:
            key = self._keys[i]
            if i > index and key is not None and key in self._new:
                place = order.index(key)
                return order[place - 1] if place else None
        return order[-1] if order else None


def _carried(old: NotebookNode, new: NotebookNode) -> list[NotebookNode]:
    cell = deepcopy(new)
    cell.metadata.update({k: v for k, v in old.metadata.items() if k not in _OURS})
    same_type = old.cell_type == new.cell_type
    if same_type and old.source == new.source:
        return [_with_results(cell, old)]
    if _is_as_released(old):
        return [cell]
    marks = new.metadata.get("nbgrader")
    if same_type and (marks is None or _fits(old, new)):
        cell.source = old.source
        return [_with_results(cell, old)]
    name = grade_id(new) or "above"
    return [cell, new_markdown_cell(_quoted(_CHANGED.format(name=name))), _at_rest(old)]


def _fits(old: NotebookNode, new: NotebookNode) -> bool:
    """Whether the answer in `old` is to the exercise that `new` states."""
    if new.metadata.nbgrader.locked:
        return False
    # A written answer replaces the whole cell; what is asked stands in others.
    same = old.metadata.nbgrader.get("checksum") == new.metadata.nbgrader.get("checksum")
    return new.cell_type == "markdown" or same


def _with_results(cell: NotebookNode, old: NotebookNode) -> NotebookNode:
    for field in ("outputs", "execution_count", "attachments"):
        if field in old:
            cell[field] = deepcopy(old[field])
    return cell


def _at_rest(old: NotebookNode) -> NotebookNode:
    """What somebody wrote, to be read and copied, and not to be run."""
    if old.cell_type == "markdown":
        return _as_own(old)
    return new_raw_cell(old.source)


def _as_own(old: NotebookNode) -> NotebookNode:
    """The cell as one of the reader's own, which no later version takes for the course's."""
    make = {"code": new_code_cell, "markdown": new_markdown_cell}.get(old.cell_type, new_raw_cell)
    cell = make(old.source, metadata={k: v for k, v in old.metadata.items() if k not in _OURS})
    if old.id != id_by_contents(old) and grade_id(old) is None:
        cell.id = old.id
    return _with_results(cell, old)


def _note(key: str, old: NotebookNode) -> NotebookNode:
    text = _GONE.format(name=key) if grade_id(old) else _REPLACED
    return new_markdown_cell(_quoted(text))


def _quoted(text: str) -> str:
    return f"> {text}"

"""Take out of a submission what could act in the browser of whoever reads it."""

from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.filters import ansi2html, strip_ansi
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution

from autograder.grading.execute import RECORD
from autograder.grading.pictures import Picture, PictureError, decoded_picture, picture
from autograder.grading.plain_files import plain_files
from autograder.grading.writing import Writing, as_block, without_acting_tex

Resources = dict[str, Any]

_LONGEST, _ALL, _LEAST = 20_000, 200_000, 1_000
"""Characters of one text, and of all of a submission's, that are rendered; the least of one.

What renders Markdown and code takes a time that is quadratic in the length of some texts.
"""
_LONGEST_PLAIN = 200_000
"""Characters of one text that is shown as it is."""

_COLOURS = 1000
"""Changes of colour in one text: each takes a time that is linear in its length."""

_CUT = "The rest is too long to be shown here."
_WIDGET = "application/vnd.jupyter.widget-view+json"
_PICTURES = ("image/png", "image/jpeg", "image/gif")
_PLAIN = ("text/plain", "text/latex")
_TEXTS = ("text/markdown", "text/html")


class DisarmHtml(NbGraderPreprocessor):
    """Keeps of a notebook what is known to be harmless: text, tables, formulas and pictures.

    Formgrader shows a submission in the instructor's browser, where a script could set grades. It
    and the feedback make HTML of a notebook's every part, with no regard to who wrote it. So no
    part stays that is not named here. Students' Markdown becomes HTML, because what a text does
    can be seen only in what is made of it. Reports, which the judge wrote, and the release's own
    text stay as they are.
    """

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        """Disarm the notebook and every cell."""
        key, course = resources["nbgrader"], self.parent.parent.coursedir
        release = Path(course.format_path(course.release_directory, ".", key["assignment"]))
        released = nbformat.read(release / f"{key['notebook']}.ipynb", as_version=4)
        self._released = {cell.source: cell.get("attachments") for cell in released.cells}
        self._handed_in = Path(
            course.format_path(course.submitted_directory, key["student"], key["assignment"])
        )
        self.__dict__.pop("_files", None)
        self._rendered = 0
        _keep(nb.metadata, "kernelspec", RECORD)
        return super().preprocess(nb, resources)

    def preprocess_cell(
        self, cell: NotebookNode, resources: Resources, index: int
    ) -> tuple[NotebookNode, Resources]:
        """Disarm one cell."""
        attached = cell.get("attachments", {})
        _keep(cell, "cell_type", "execution_count", "id", "metadata", "outputs", "source")
        _keep(cell.metadata, "nbgrader")
        if cell.cell_type == "code":
            if cell.source not in self._released:
                cell.source = self._cut(cell.source, f"\n# ({_CUT})")
            if not isinstance(cell.execution_count, int):
                cell.execution_count = None
            by_the_judge = is_grade(cell) and not is_solution(cell)
            for output in cell.outputs:
                if by_the_judge:
                    output.data["text/html"] = without_acting_tex(output.data["text/html"])
                else:
                    self._disarm(output)
        elif cell.source in self._released:
            if self._released[cell.source]:
                cell.attachments = self._released[cell.source]
        elif cell.cell_type == "markdown":
            cell.source = self._block(cell.source, attached)
        else:
            cell.cell_type = "markdown"
            cell.source = _as_it_is(cell.source)
        return cell, resources

    # --- Text ------------------------------------------------------------------------------------

    def _block(self, markdown: str, attached: dict[str, Any]) -> str:
        """Markdown that shows the same, and does nothing."""
        try:
            return as_block(self._html(markdown, attached, is_markdown=True))
        except ValueError:
            return _as_it_is(markdown)

    def _html(self, text: str, attached: dict[str, Any], *, is_markdown: bool) -> str:
        writing = Writing(text, attached, self._beside)
        whole = writing.text
        writing.text = self._cut(whole, " …")
        if writing.text != whole:
            writing.notes.append(_CUT)
        try:
            return writing.markdown_as_html() if is_markdown else writing.html()
        except RecursionError:
            return f"<pre>{escape(writing.text)}</pre>"

    def _cut(self, text: str, end: str) -> str:
        """As much of a text as is rendered, with an end if that is not all."""
        left = max(_LEAST, min(_LONGEST, _ALL - self._rendered))
        self._rendered += min(left, len(text))
        return text if len(text) <= left else text[:left] + end

    def _beside(self, name: str) -> Picture:
        if name not in self._files:
            raise PictureError(f"there is no file “{name}” beside the notebook")
        return picture(self._files[name])

    @cached_property
    def _files(self) -> dict[str, bytes]:
        limit = 1000 * self.parent.parent.coursedir.max_dir_size
        try:
            return {str(path): data for path, data in plain_files(self._handed_in, limit)}
        except OSError:
            return {}

    # --- Outputs ---------------------------------------------------------------------------------

    def _disarm(self, output: NotebookNode) -> None:
        if output.output_type == "stream":
            _keep(output, "name", "output_type", "text")
            output.text = _plain(output.text)
        elif output.output_type == "error":
            _keep(output, "ename", "evalue", "output_type", "traceback")
            output.traceback = [_plain(line) for line in output.traceback]
        else:
            _keep(output, "data", "execution_count", "metadata", "output_type")
            output.metadata = {kind: _sizes(output.metadata.get(kind)) for kind in _PICTURES}
            output.data = self._shown(output.data)

    def _shown(self, sent: dict[str, Any]) -> dict[str, str]:
        """What is shown of what was sent, by its type."""
        if _WIDGET in sent:
            return {"text/plain": "(a widget, which works in the notebook)"}
        # A text is one, or a list of its lines.
        sent = {
            kind: "".join(sent[kind]) for kind in (*_PLAIN, *_PICTURES, *_TEXTS) if kind in sent
        }
        shown = {"text/plain": _plain(sent.get("text/plain", "(an output that is not shown here)"))}
        if "text/latex" in sent:
            shown["text/latex"] = without_acting_tex(_plain(sent["text/latex"]))
        for kind in _PICTURES:
            if kind in sent:
                try:
                    found = decoded_picture(sent[kind])
                except PictureError as error:
                    shown["text/plain"] = f"(A picture is left out here: {error}.)"
                    continue
                shown[found.mimetype] = found.base64
                if found.mimetype == "image/gif":  # which no page shows as an output
                    shown["text/html"] = f'<img src="{found.uri}">'
        for kind in _TEXTS:
            if kind in sent:
                is_markdown = kind == "text/markdown"
                shown["text/html"] = self._html(sent[kind], {}, is_markdown=is_markdown)
        return shown


def _keep(parts: dict[str, Any], *names: str) -> None:
    for name in set(parts).difference(names):
        del parts[name]


def _sizes(given: Any) -> dict[str, int]:
    """The width and height of a picture, in pixels, as far as they are given."""
    sides = ("width", "height") if isinstance(given, dict) else ()
    return {side: given[side] for side in sides if type(given.get(side)) is int}


def _plain(text: str) -> str:
    """A text that is shown as it is, with its colours if they are sound, and not too many."""
    if len(text) > _LONGEST_PLAIN:
        text = f"{text[:_LONGEST_PLAIN]}\n({_CUT})"
    try:
        if text.count("\x1b") <= _COLOURS:
            ansi2html(text)
            return text
    except Exception:
        # nbconvert's reader of colours raises what comes of some.
        pass
    return strip_ansi(text).replace("\x1b", "")


def _as_it_is(text: str) -> str:
    """Markdown that shows a text as it is."""
    try:
        return as_block(f"<pre>{escape(_plain(text))}</pre>")
    except ValueError:
        return "(A text that cannot be shown here.)"

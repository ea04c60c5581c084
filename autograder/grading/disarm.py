"""Take out of a submission what could act in the browser of whoever reads it."""

from pathlib import Path
from typing import Any

import nbformat
from bleach.css_sanitizer import ALLOWED_CSS_PROPERTIES
from nbconvert.preprocessors.sanitize import SanitizeHTML
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution

Resources = dict[str, Any]

_WIDGET = "application/vnd.jupyter.widget-view+json"
_RENDERED = ("text/html", "text/markdown", "text/latex", "image/svg+xml")
_LONGEST, _ALL = 20_000, 200_000
"""Characters of one text, and of all of a submission's, that are rendered.

What renders Markdown and HTML takes a time that is quadratic in the length of some texts.
"""
_KEPT = 2000
_TAGS = (
    "a abbr b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img kbd li ol "
    "p pre s small span strong sub summary sup table tbody td tfoot th thead tr tt u ul"
)
_ATTRIBUTES = {"*": ["class", "style", "title"], "a": ["href"], "img": ["alt", "src"]}


class DisarmHtml(NbGraderPreprocessor, SanitizeHTML):
    """Keeps of a student's HTML what formats text, and of what was shown text and pictures.

    Formgrader shows a submission in the instructor's browser, where a script could set grades.
    Reports, which the judge wrote, and the release's own text stay as they are.
    """

    def __init__(self, **kw: Any) -> None:
        """Allow the tags of ordinary text and tables."""
        super().__init__(
            tags=_TAGS.split(),
            attributes=_ATTRIBUTES,
            styles=[*ALLOWED_CSS_PROPERTIES, "border-left", "margin", "max-width", "padding"],
            **kw,
        )

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        """Disarm every cell, and drop what widgets sent."""
        key, course = resources["nbgrader"], self.parent.parent.coursedir
        folder = course.format_path(course.release_directory, ".", key["assignment"])
        release = nbformat.read(Path(folder) / f"{key['notebook']}.ipynb", as_version=4)
        self._released = {cell.source for cell in release.cells}
        nb.metadata.pop("widgets", None)
        self._shown = 0
        return super().preprocess(nb, resources)

    def preprocess_cell(
        self, cell: NotebookNode, resources: Resources, index: int
    ) -> tuple[NotebookNode, Resources]:
        """Disarm one cell."""
        if cell.cell_type == "code":
            if not is_grade(cell) or is_solution(cell):
                for output in cell.outputs:
                    data = output.get("data", {})
                    if _WIDGET in data:
                        output.data = {"text/plain": "(a widget, which works in the notebook)"}
                    elif any(self._is_too_long("".join(data.get(k, ""))) for k in _RENDERED):
                        output.data = {"text/plain": "(too long to be shown here)"}
                cell.outputs = self.sanitize_code_outputs(cell.outputs)
        elif cell.source not in self._released:
            if self._is_too_long(cell.source):
                cell.source = (
                    f"{cell.source[:_KEPT]} […]\n\n(The rest is too long to be shown here.)"
                )
            # Of the characters of Markdown only < can begin a tag.
            text = self.sanitize_html_tags(cell.source)
            cell.source = text.replace("&gt;", ">").replace("&amp;", "&")
        return cell, resources

    def _is_too_long(self, text: str) -> bool:
        self._shown += len(text)
        return len(text) > _LONGEST or self._shown > _ALL

"""Make HTML of what a student wrote: text, tables, formulas and pictures, and nothing that acts."""

import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any
from urllib.parse import unquote

import nh3
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.token import STANDARD_TYPES

from autograder.grading.pictures import Picture, PictureError, decoded_picture

_TAGS = (
    "a abbr b blockquote br caption code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img "
    "input ins kbd li mark ol p pre s small span strong sub summary sup table tbody td tfoot th "
    "thead tr tt u ul"
)
_STYLES = (
    "background-color border border-bottom border-left border-right border-top color font-style "
    "font-weight text-align text-decoration vertical-align white-space"
)
_ALLOWED: dict[str, Any] = {
    "tags": set(_TAGS.split()),
    "attributes": {
        "*": {"style", "title"},
        "a": {"href"},
        "img": {"alt", "height", "src", "width"},
        "input": {"checked"},
        "ol": {"start"},
        "td": {"colspan", "rowspan"},
        "th": {"colspan", "rowspan"},
    },
    # Formgrader's own scripts go by classes and identifiers: a student has none but Pygments'.
    "allowed_classes": {"div": {"highlight"}, "span": set(STANDARD_TYPES.values()) - {""}},
    # JupyterLab obeys whatever page is in formgrader's frame: a link must not lead it elsewhere.
    "set_tag_attribute_values": {
        "a": {"target": "_blank"},
        "input": {"type": "checkbox", "disabled": ""},  # the items of a list of tasks
    },
    "filter_style_properties": set(_STYLES.split()),
    "url_schemes": {"attachment", "data", "http", "https", "mailto", "picture"},
}
_LENGTHS = {"colspan", "height", "rowspan", "start", "width"}
_LENGTH = re.compile(r"\d{1,3}(px|%)?")
_LINK = re.compile(r"(https?://([\w-]+\.)+[a-z]{2,}(:\d+)?([/?#].*)?|mailto:[^?]*)", re.IGNORECASE)
"""What has a public name: not the server that shows this, nor a file that was handed in with it."""

_BASE64 = r"[A-Za-z0-9+/=]"
_WRITTEN_OUT = re.compile(rf"data:image/[\w.+-]+;base64,({_BASE64}{{100,}}(\r?\n{_BASE64}+)*)")
_ACTING_TEX = re.compile(r"\\(?=(class|cssId|href|mmlToken|require|style)(?![A-Za-z]))")
_BLANK_LINE = re.compile(r"\n(?=[ \t\v\f]*\n)")


class _Renderer(IPythonRenderer):
    """nbconvert's, which makes the pages, but that leaves it to `Writing` to find pictures."""

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return super(IPythonRenderer, self).image(text, url, title)


class Writing:
    """A text in Markdown or HTML. Its pictures are no part of `text`, whose length counts.

    attached: the cell's attachments, as it has them. beside: finds a file that was handed in with
    the notebook; raises PictureError if it is no picture. notes: what is said under the text.
    """

    def __init__(
        self, text: str, attached: Mapping[str, Any], beside: Callable[[str], Picture]
    ) -> None:
        self._attached, self._beside = attached, beside
        self._written_out: dict[str, str] = {}
        self.notes: list[str] = []
        self.text = _WRITTEN_OUT.sub(self._take_out, text)

    def markdown_as_html(self) -> str:
        """What the text shows that is Markdown. Raises RecursionError if it nests too much."""
        renderer = _Renderer(escape=False, exclude_anchor_links=True)
        return self._harmless(MarkdownWithMath(renderer=renderer).render(self.text))

    def html(self) -> str:
        """What the text shows that is HTML."""
        return self._harmless(self.text)

    def _harmless(self, html: str) -> str:
        html = nh3.clean(html, attribute_filter=self._keep, **_ALLOWED)
        notes = "".join(f"<p><em>({escape(note)})</em></p>" for note in self.notes)
        return without_acting_tex(html) + notes

    def _keep(self, tag: str, name: str, value: str) -> str | None:
        if name == "href":
            return value if _LINK.fullmatch(value) else None
        if name == "src":
            return self._picture(value)
        if name in _LENGTHS:
            return value if _LENGTH.fullmatch(value) else None
        return value

    def _take_out(self, uri: re.Match[str]) -> str:
        name = f"picture:{len(self._written_out)}"
        self._written_out[name] = uri[1]
        return name

    def _picture(self, source: str) -> str | None:
        try:
            return self._find(source).uri
        except PictureError as error:
            note = f"A picture is left out here: {error}."
            if note not in self.notes:
                self.notes.append(note)
            return None

    def _find(self, source: str) -> Picture:
        scheme, _, rest = source.partition(":")
        if source in self._written_out:
            return decoded_picture(self._written_out[source])
        if scheme == "data":
            return decoded_picture(rest.partition(",")[2])
        if scheme == "attachment":
            return self._attachment(unquote(rest))
        if re.match(r"[\w.+-]+:|[/\\]", source):
            raise PictureError("it is not in the notebook, but elsewhere")
        return self._beside(unquote(source))

    def _attachment(self, name: str) -> Picture:
        kinds = self._attached.get(name)
        for data in kinds.values() if isinstance(kinds, dict) else ():
            return decoded_picture("".join(data))
        raise PictureError(f"the cell has no attachment “{name}”")


def is_harmless_name(student: str) -> bool:
    """Whether formgrader, which puts names into its pages as they are, shows it as a name."""
    return not set(student).intersection('<>"\\')


def without_acting_tex(text: str) -> str:
    """The text, where no formula makes a link, or takes a class, a style or an identifier."""
    return _ACTING_TEX.sub("\\\\\N{ZERO WIDTH SPACE}", text)


def as_block(html: str) -> str:
    """Markdown that is rendered as exactly this. Raises ValueError if there is none."""
    source = f"<div>{html}</div>".replace("\r", "")
    source = _BLANK_LINE.sub("&#10;", source)
    # nbconvert looks behind each bracket for the end of a link, up to the end of the line.
    source = source.replace("[", "&#91;")
    rendered = MarkdownWithMath(renderer=IPythonRenderer(escape=False)).render(source)
    if rendered.strip("\n") != source:
        raise ValueError("it is rendered as something else")
    return source

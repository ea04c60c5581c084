"""What a student reads after a check: HTML for the notebook, the points as plain text."""

import hashlib
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

MIMETYPE = "application/vnd.efficient-transformers.report+json"
_PRINTED_LIMIT = 1000


def fingerprint(code: str) -> str:
    """A short digest of a cell's code, the same after it is saved."""
    return hashlib.sha256(code.strip().encode(errors="replace")).hexdigest()[:16]


@dataclass(frozen=True)
class Line:
    """One property: its points are earned if there is no complaint."""

    title: str
    points: int
    complaint: str

    @property
    def earned(self) -> int:
        """All of the points or none."""
        return 0 if self.complaint else self.points


@dataclass(frozen=True)
class Report:
    """The result of one exercise. Its plain text is the points, which nbgrader reads.

    note: why there is nothing to judge. mistake, explanation: a recognised mistake.
    checked: the fingerprint of the cell whose function was checked, empty where it is not known.
    """

    exercise: str
    lines: tuple[Line, ...] = ()
    mistake: str = ""
    explanation: str = ""
    printed: str = ""
    note: str = ""
    checked: str = ""

    @property
    def points(self) -> int:
        """What was earned."""
        return 0 if self.note else sum(line.earned for line in self.lines)

    @property
    def max_points(self) -> int:
        """What could be earned."""
        return sum(line.points for line in self.lines)

    def __repr__(self) -> str:
        return str(self.points)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        data = asdict(self) | {"points": self.points, "max_points": self.max_points}
        return {"text/plain": repr(self), "text/html": self.to_html(), MIMETYPE: data}

    def to_html(self) -> str:
        """A table of properties, and under it the recognised mistake and what was printed."""
        full = self.points == self.max_points and self.lines
        colour = "#0072B2" if full else "#D55E00"
        head = (
            f"<strong>{escape(self.exercise)}</strong>: {self.points} of {self.max_points} points"
        )
        parts = [f'<p style="margin:0 0 .5em">{head}</p>']
        if self.note:
            parts.append(f"<p>{escape(self.note)}</p>")
        else:
            parts.append(_table(self.lines))
        if self.mistake:
            parts.append(
                f"<p><strong>This looks like: {escape(self.mistake)}.</strong> "
                f"{escape(self.explanation)}</p>"
            )
        if self.printed:
            cut = self.printed[:_PRINTED_LIMIT]
            more = " (cut)" if len(self.printed) > _PRINTED_LIMIT else ""
            parts.append(f"<p>Your code printed{more}:</p><pre>{escape(cut)}</pre>")
        style = f"border-left:4px solid {colour};padding:.3em 0 .3em 1em;max-width:60em"
        return f'<div style="{style}">{"".join(parts)}</div>'


def _table(lines: tuple[Line, ...]) -> str:
    def row(tag: str, *cells: str) -> str:
        style = "text-align:left;vertical-align:top;padding:.2em 1em .2em 0"
        first, *others = (f'<{tag} style="{style}">{escape(cell)}</{tag}>' for cell in cells)
        return f"<tr>{first.replace(style, f'{style};white-space:nowrap')}{''.join(others)}</tr>"

    head = row("th", "", "property", "points", "what is wrong")
    body = "".join(
        row(
            "td",
            "✗ failed" if line.complaint else "✓ passed",
            line.title,
            f"{line.earned}/{line.points}",
            line.complaint,
        )
        for line in lines
    )
    return f'<table style="margin:0"><thead>{head}</thead><tbody>{body}</tbody></table>'

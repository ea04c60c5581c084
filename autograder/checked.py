"""What `autograder check` found, kept beside the notebook for `autograder progress`.

The notebook itself is its reader's, and may be open in JupyterLab: it is not written to.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any


def _place(notebook: Path) -> Path:
    # Where Jupyter keeps what is no notebook of a folder's: neither git nor nbgrader takes it.
    return notebook.parent / ".ipynb_checkpoints" / f"{notebook.stem}-checked.json"


def keep_reports(notebook: Path, reports: Iterable[dict[str, Any]]) -> None:
    """Keep the reports that say which code they are about; not in a folder that is read-only."""
    kept = [report for report in reports if report.get("checked")]
    with suppress(OSError):
        _place(notebook).parent.mkdir(exist_ok=True)
        _place(notebook).write_text(json.dumps(kept), encoding="utf-8")


def kept_reports(notebook: Path) -> dict[str, dict[str, Any]]:
    """The kept reports by exercise; none where there is no file, or one that is damaged."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        kept = {report["exercise"]: report for report in json.loads(_place(notebook).read_bytes())}
        if all(type(report["points"]) is int and report["points"] >= 0 for report in kept.values()):
            return kept
    return {}

"""What one student does to stop the class: each is handed in beside an honest submission.

They are in no class with the others, which they would stop where they succeed.
"""

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from autograder.classroom import Classroom
from tests.hostile import vectors
from tests.hostile.corpus import FILE, NOTEBOOK
from tests.hostile.small_class import hand_in, inbound, notebook_with, put

Stop = Callable[[Classroom], None]

STOPPERS: list[Stop] = []
TIME = "2026-01-01 00:00:00.000000 UTC"


def stopper(function: Stop) -> Stop:
    STOPPERS.append(function)
    return function


def put_inbound(classroom: Classroom, name: str) -> Path:
    """Hand in under another name than nbgrader gives."""
    put(classroom, inbound(classroom) / name)
    return inbound(classroom) / name


def hand_in_cell(classroom: Classroom, student: str, cell: nbformat.NotebookNode) -> None:
    """Hand in the release with another cell."""

    def write(folder: Path, notebook: nbformat.NotebookNode) -> None:
        release = notebook_with(classroom)
        release.cells.append(cell)
        nbformat.write(release, folder / FILE)

    hand_in(classroom, student, write)


# --- In the exchange -----------------------------------------------------------------------------


@stopper
def hands_in_under_no_name(classroom: Classroom) -> None:
    """Two folders without a student, one of them without a time."""
    put_inbound(classroom, f"+{NOTEBOOK}+{TIME}+0")
    put_inbound(classroom, f"mallory+{NOTEBOOK}+yesterday+0")
    put_inbound(classroom, "++")


@stopper
def hands_in_under_a_name_of_two_lines(classroom: Classroom) -> None:
    """A student with a line break."""
    put_inbound(classroom, f"mal\nlory+{NOTEBOOK}+{TIME}+0")


@stopper
def hands_in_under_a_wild_card(classroom: Classroom) -> None:
    """A student called *, which stands for everybody's folders."""
    put_inbound(classroom, f"*+{NOTEBOOK}+{TIME}+0")


@stopper
def hands_in_under_a_name_that_is_no_text(classroom: Classroom) -> None:
    """A student whose name cannot be written."""
    put_inbound(classroom, f"\udcff\udcfe+{NOTEBOOK}+{TIME}+0")


@stopper
def hands_in_under_a_folders_name(classroom: Classroom) -> None:
    """Students called as the folders above theirs, and as options."""
    for name in ("..", ".", "--force", "-h"):
        put_inbound(classroom, f"{name}+{NOTEBOOK}+{TIME}+0")


@stopper
def hands_in_under_a_name_that_acts(classroom: Classroom) -> None:
    """Students whose names are HTML, and end an attribute and a text in a script."""
    for name in vectors.NAMES:
        put_inbound(classroom, f"{name}+{NOTEBOOK}+{TIME}+0")


@stopper
def hands_in_no_folder(classroom: Classroom) -> None:
    """A file, a link and a pipe where folders are expected."""
    place = inbound(classroom)
    (place / f"file+{NOTEBOOK}+{TIME}+0").write_text("6")
    (place / f"link+{NOTEBOOK}+{TIME}+0").symlink_to("/etc")
    os.mkfifo(place / f"pipe+{NOTEBOOK}+{TIME}+0")


@stopper
def hands_in_a_time_that_is_none(classroom: Classroom) -> None:
    """A time that cannot be read, which `collect` compares when it comes again."""
    place = put_inbound(classroom, f"mallory+{NOTEBOOK}+{TIME}+0")
    (place / "timestamp.txt").write_bytes(b"\xff\0yesterday")


@stopper
def hands_in_an_endless_time(classroom: Classroom) -> None:
    """A time of five million digits."""
    place = put_inbound(classroom, f"malcolm+{NOTEBOOK}+{TIME}+0")
    (place / "timestamp.txt").write_text("2026-01-01 " + "1" * 5_000_000)


@stopper
def hands_in_a_secret_that_is_no_text(classroom: Classroom) -> None:
    """A secret that cannot be read when feedback is released."""
    place = put_inbound(classroom, f"malory+{NOTEBOOK}+{TIME}+0")
    (place / "submission_secret.txt").write_bytes(b"\xff\xfe")


# --- In the notebook -----------------------------------------------------------------------------


@stopper
def writes_what_takes_for_ever_to_render(classroom: Classroom) -> None:
    """Markdown for which every bracket is looked at again at each bracket."""
    hand_in_cell(classroom, "marcus", new_markdown_cell("[" * 1_000_000))


@stopper
def writes_what_takes_for_ever_to_disarm(classroom: Classroom) -> None:
    """HTML of a million tags that never end."""
    hand_in_cell(classroom, "maria", new_markdown_cell("<a " * 1_000_000))


@stopper
def shows_what_takes_for_ever_to_disarm(classroom: Classroom) -> None:
    """The same as an output."""
    show = "from IPython.display import HTML, display\ndisplay(HTML('<a ' * 500_000))"
    hand_in_cell(classroom, "mark", new_code_cell(show))


@stopper
def hands_in_many_cells(classroom: Classroom) -> None:
    """Thousands of cells, which are looked at one by one."""

    def write(folder: Path, notebook: nbformat.NotebookNode) -> None:
        release = notebook_with(classroom)
        release.cells += [new_markdown_cell("6", id=f"{number}") for number in range(3_000)]
        nbformat.write(release, folder / FILE)

    hand_in(classroom, "matthew", write)


# --- Archives ------------------------------------------------------------------------------------


def put_archives(folder: Path, notebook: bytes, target: Path) -> None:
    """Archives, as a learning platform gives them: honest, and with members that lead elsewhere."""
    with zipfile.ZipFile(folder / "zoe.zip", "w") as archive:
        archive.writestr(FILE, notebook)
    with zipfile.ZipFile(folder / "mallory.zip", "w") as archive:
        archive.writestr(FILE, notebook)
        archive.writestr("../../../../gradebook.db", "6")
        archive.writestr(str(target), "6")
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, str(target))
    with tarfile.open(folder / "trudy.tar.gz", "w:gz") as archive:
        for name, kind, leads in (
            (FILE, tarfile.REGTYPE, ""),
            ("out", tarfile.SYMTYPE, str(target.parent)),
            (f"out/{target.name}", tarfile.REGTYPE, ""),
            ("hard", tarfile.LNKTYPE, str(target)),
            ("../../../../gradebook.db", tarfile.REGTYPE, ""),
            (str(target), tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, leads
            member.size = len(notebook) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(notebook))

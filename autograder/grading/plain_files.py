"""Read the plain files of a folder that somebody else may have filled, or still changes."""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from logging import Logger
from pathlib import Path

from nbgrader.utils import parse_utc

_TIME_LIMIT = 100
_REPLACED = "It was no file that was handed in here, but"


def plain_files(folder: Path, limit: int) -> Iterator[tuple[Path, bytes]]:
    """Each plain file below a folder: its path in it, and what it holds.

    Links are not followed, wherever they are, and pipes and devices are not read. Raises OSError
    if `folder` is no folder, or the files have more than `limit` bytes together.
    """
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield from _plain_files_in(top, limit)
    finally:
        os.close(top)


def _plain_files_in(top: int, limit: int) -> Iterator[tuple[Path, bytes]]:
    for place, _, names, descriptor in os.fwalk(".", dir_fd=top):
        for name in names:
            # Opened before it is looked at: it cannot become something else between the two.
            try:
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
            except OSError:
                continue
            with os.fdopen(file, "rb") as stream:
                if stat.S_ISREG(os.fstat(file).st_mode):
                    data = stream.read(limit + 1)
                    limit -= len(data)
                    if limit < 0:
                        raise OSError(errno.EFBIG, "it is too large")
                    yield Path(place, name), data


def replace_what_is_no_file(folder: Path, notebooks: Sequence[str] = ()) -> None:
    """Put a text file in the place of each link, pipe, socket or device of a submission.

    nbgrader copies what it finds there, and follows links. Where one of the notebooks is a folder,
    or the submission itself is a link, the text stands for the notebooks.
    """
    if folder.is_symlink():
        target = os.readlink(folder)
        folder.unlink()
        folder.mkdir()
        for name in notebooks:
            _replace(folder / name, f"a link to {target!r}")
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                target = os.readlink(path)
                path.unlink()
                _replace(path, f"a link to {target!r}")
            elif not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                path.unlink()
                _replace(path, "a special file")
    for name in notebooks:
        if (folder / name).is_dir():
            (folder / name).rename(folder / f"{name}.folder")
            _replace(folder / name, "a folder")


def set_aside_no_time(submission: Path, log: Logger) -> None:
    """Rename a timestamp.txt that holds no time: nbgrader could not go on."""
    path = submission / "timestamp.txt"
    if not path.exists():
        return
    try:
        with path.open() as file:
            text = file.read(_TIME_LIMIT + 1)
        if len(text) > _TIME_LIMIT:
            raise ValueError("it is too long")
        parse_utc(text.strip())
    except Exception as error:
        # Whatever stands there, the parser of times raises what comes of it.
        log.warning("The time in %s cannot be read: %s", path, error)
        path.rename(f"{path}.unreadable")


def _replace(path: Path, what: str) -> None:
    path.write_text(f"{_REPLACED} {what}. Only files are graded.\n")


def was_no_file(text: str) -> bool:
    """Whether this is what `replace_what_is_no_file` wrote."""
    return text.startswith(_REPLACED)

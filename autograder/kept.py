"""Write files so that nothing which somebody wrote is lost."""

import os
import shutil
from datetime import datetime
from itertools import count
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, whenever the process ends or the disk is full.

    Raises OSError with the name of the file.
    """
    path = Path(os.path.realpath(path))
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        beside.unlink(missing_ok=True)


def keep(course: Path, name: str, content: bytes) -> Path:
    """Keep a copy in course/kept, unless the same is there already; return its path."""
    folder = course / "kept"
    for unfinished in folder.glob(f".{name}-*.new"):
        unfinished.unlink()
    for path in sorted(folder.glob(f"{name}-*.ipynb")):
        if path.read_bytes() == content:
            return path
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    names = (folder / f"{stem}{f'-{n}' if n else ''}.ipynb" for n in count())
    path = next(each for each in names if not each.exists())
    replace(path, content)
    return path

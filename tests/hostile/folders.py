"""Put links, special files and misleading names beside the notebook."""

import os
import shutil
from pathlib import Path

from tests.hostile.corpus import FILE, KNOWN, NOTHING, UNREADABLE, folder

A_LINK = UNREADABLE + "it was a link"


def copy_of(name: str) -> str:
    """Code of a module called `name` that would give itself all points."""
    return f"def __getattr__(name):\n    return lambda *a, **k: 6\nprint({name!r})\n"


def put_links(place: Path) -> None:
    (place / "helper.py").symlink_to("/etc/passwd")
    (place / "secret").symlink_to(KNOWN["canary"])
    (place / "endless").symlink_to("/dev/zero")
    (place / "nowhere").symlink_to("/nowhere")
    (place / "machine").symlink_to("/")
    (place / "above").symlink_to("..")
    os.mkfifo(place / "pipe")


# --- Links ---------------------------------------------------------------------------------------


@folder()
def hands_in_links(place: Path) -> None:
    """Hands in links to files and folders of the machine, and a pipe."""
    put_links(place)


@folder(directly=True)
def brings_links(place: Path) -> None:
    """The same, where nothing collects it."""
    put_links(place)


@folder(earns=None)
def hands_in_a_link_to_another_notebook(place: Path) -> None:
    """Hands in a link to what another student has handed in."""
    (place / FILE).unlink()
    (place / FILE).symlink_to(KNOWN["other"])


@folder(A_LINK, NOTHING, directly=True)
def brings_a_link_to_another_notebook(place: Path) -> None:
    """The same, where nothing collects it."""
    (place / FILE).unlink()
    (place / FILE).symlink_to(KNOWN["other"])


@folder(A_LINK, NOTHING, directly=True)
def brings_an_endless_notebook(place: Path) -> None:
    """Has a link to /dev/zero in the place of the notebook."""
    (place / FILE).unlink()
    (place / FILE).symlink_to("/dev/zero")


@folder(A_LINK, NOTHING, directly=True)
def brings_a_pipe(place: Path) -> None:
    """Has a pipe in the place of the notebook."""
    (place / FILE).unlink()
    os.mkfifo(place / FILE)


@folder(A_LINK, NOTHING, directly=True)
def is_another_folder(place: Path) -> None:
    """Is a link to what another student has handed in."""
    shutil.rmtree(place)
    place.symlink_to(Path(KNOWN["other"]).parent)


@folder(UNREADABLE, NOTHING, directly=True)
def brings_a_folder_for_a_notebook(place: Path) -> None:
    """Has a folder in the place of the notebook."""
    (place / FILE).unlink()
    (place / FILE).mkdir()


# --- Names ---------------------------------------------------------------------------------------


@folder()
def shadows_torch(place: Path) -> None:
    """Hands in a module that is found in the place of torch."""
    (place / "torch.py").write_text(copy_of("torch"))


@folder()
def shadows_the_course(place: Path) -> None:
    """Hands in a module that is found in the place of the course's own."""
    (place / "autograder.py").write_text(copy_of("autograder"))


@folder()
def shadows_safetensors(place: Path) -> None:
    """Hands in modules that are found in the place of what carries the answers."""
    (place / "safetensors.py").write_text(copy_of("safetensors"))
    (place / "json.py").write_text(copy_of("json"))


@folder()
def brings_files_of_the_course(place: Path) -> None:
    """Hands in files called as nbgrader's own, and other notebooks."""
    (place / "nbgrader_config.py").write_text(f"open({KNOWN['canary']!r}, 'w').write('6')")
    (place / "sitecustomize.py").write_text(f"open({KNOWN['canary']!r}, 'w').write('6')")
    for name in ("gradebook.db", "feedback", "autograded", "another.ipynb", f"{FILE[:-6]}.html"):
        (place / name).write_text("[]")
    (place / "sub").mkdir()
    (place / "sub" / FILE).write_text("[]")


@folder()
def brings_a_folder_for_the_feedback(place: Path) -> None:
    """Hands in a folder that is called as the page with the feedback will be."""
    (place / f"{FILE[:-6]}.html").mkdir()
    (place / f"{FILE[:-6]}.html" / "file").write_text("6")


@folder()
def names_its_files_badly(place: Path) -> None:
    """Hands in files whose names are no text, and have line breaks, wild cards and no end."""
    for name in (b"\xff\xfe.py", b"new\nline", b"*", b"[a", b"-rf", b"n" * 255, b"a\x1b[2J"):
        with open(os.fsencode(place) + b"/" + name, "w") as file:
            file.write("6")


@folder()
def nests_its_folders(place: Path) -> None:
    """Hands in four hundred folders in each other."""
    (place / "/".join("a" * 400)).mkdir(parents=True)


# --- Size ----------------------------------------------------------------------------------------


@folder(earns=None)
def hands_in_too_much(place: Path) -> None:
    """Hands in a file that is larger than a submission may be."""
    with open(place / "data", "wb") as file:
        file.truncate(101_000_000)


@folder()
def hands_in_many_files(place: Path) -> None:
    """Hands in two thousand small files."""
    for number in range(2000):
        (place / f"{number}.txt").write_text("6")


# --- nbgrader's own files ------------------------------------------------------------------------


@folder()
def has_no_time(place: Path) -> None:
    """Hands in without the time at which it was handed in."""
    (place / "timestamp.txt").unlink()


@folder()
def has_no_secret(place: Path) -> None:
    """Hands in without the secret under which feedback is released."""
    (place / "submission_secret.txt").unlink()


@folder()
def has_folders_for_nbgraders_files(place: Path) -> None:
    """Hands in folders in the place of nbgrader's own files."""
    for name in ("timestamp.txt", "submission_secret.txt"):
        (place / name).unlink()
        (place / name).mkdir()


@folder()
def has_a_time_that_is_none(place: Path) -> None:
    """Hands in a time that cannot be read."""
    (place / "timestamp.txt").write_text("yesterday, I think")


@folder(directly=True)
def brings_a_link_to_a_time(place: Path) -> None:
    """Has a link in the place of its time."""
    (place / "timestamp.txt").unlink()
    (place / "timestamp.txt").symlink_to("/etc/hostname")

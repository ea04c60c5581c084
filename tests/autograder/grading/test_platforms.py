"""What Moodle and Canvas hand out is collected under the student's name, the newest of each."""

import zipfile
from pathlib import Path

import pytest

from autograder.grading.platforms import found_in, newest
from tests.hostile.corpus import NOTEBOOK
from tests.hostile.small_class import small_class

FILE = f"{NOTEBOOK}.ipynb"
MOODLE, CANVAS = "_assignsubmission_file_", "turingalan_12_345_"


def collected(*paths: str) -> dict[str, str]:
    """What becomes of files: by student and notebook the path that is taken."""
    files = [Path("extracted", path) for path in paths]
    found = newest(found_in(Path("extracted"), files, {NOTEBOOK}))
    return {f"{e.student}/{e.notebook}": str(e.file.relative_to("extracted")) for e in found}


@pytest.mark.parametrize(
    ("path", "student"),
    [
        (f"Ada Lovelace_12{MOODLE}/{FILE}", "Ada Lovelace"),
        (f"Ada Lovelace_12{MOODLE[:-1]}/{FILE}", "Ada Lovelace"),
        (f"Zoë O'Neil-Ø_12{MOODLE}{FILE}", "Zoë O'Neil-Ø"),
        (f"all/Ada_B Lovelace_12{MOODLE}/work/{FILE}", "Ada_B Lovelace"),
        (f"{CANVAS}{FILE}", "turingalan"),
        (f"turingalan_LATE_12_345_{FILE}", "turingalan"),
        (f"submissions/{CANVAS}work/{FILE}", "turingalan"),
        (f"{CANVAS}{NOTEBOOK}-3.ipynb", "turingalan"),
        (f"{CANVAS}{NOTEBOOK}-Copy1.ipynb", "turingalan"),
        (f"{CANVAS}{NOTEBOOK} (1).ipynb", "turingalan"),
        (f"{CANVAS}{NOTEBOOK}-Copy1-2.ipynb", "turingalan"),
    ],
)
def test_a_file_belongs_to_the_student_whom_the_platform_names(path, student):
    assert collected(path) == {f"{student}/{NOTEBOOK}": path}


def test_of_several_attempts_the_newest_is_taken():
    attempts = [f"{CANVAS}{NOTEBOOK}{end}.ipynb" for end in ("-2", "", "-10", "-1")]
    assert collected(*attempts) == {f"turingalan/{NOTEBOOK}": f"{CANVAS}{NOTEBOOK}-10.ipynb"}


def test_an_archive_that_was_handed_in_again_is_newer():
    paths = [f"{CANVAS}work/{FILE}", f"{CANVAS}work-1/{FILE}"]
    assert collected(*paths) == {f"turingalan/{NOTEBOOK}": paths[1]}


def test_a_copy_stays_beside_the_original():
    paths = [f"{CANVAS}{NOTEBOOK}-Copy1.ipynb", f"{CANVAS}{FILE}"]
    assert collected(*paths) == {
        f"turingalan/{NOTEBOOK}": paths[1],
        f"turingalan/{NOTEBOOK}-Copy": paths[0],
    }


def test_two_students_of_one_name_are_kept_apart():
    paths = [f"Ada Lovelace_{number}{MOODLE}/{FILE}" for number in (1, 2)]
    assert collected(*paths) == {
        f"Ada Lovelace_{number}/{NOTEBOOK}": path
        for number, path in zip((1, 2), paths, strict=True)
    }


@pytest.mark.parametrize(
    "path",
    [
        FILE,
        f"mine/{FILE}",
        f"../.._1{MOODLE}/{FILE}",
        f"*_1{MOODLE}/{FILE}",
        f"-rf_1{MOODLE}/{FILE}",
        f"Ada_1{MOODLE}/__MACOSX/{FILE}",
        f"Ada_1{MOODLE}/._{FILE}",
    ],
)
def test_what_names_no_student_is_not_collected(path):
    assert collected(path) == {}


def test_nobody_can_hand_in_under_the_name_of_another():
    inside = f"Ada_1{MOODLE}/Bob_2{MOODLE}/{FILE}"
    flat = f"Ada_1{MOODLE}Bob_2{MOODLE}{FILE}"
    canvas = f"{CANVAS}grace_9_9_{FILE}"
    students = {name.partition("/")[0] for name in collected(inside, flat, canvas)}
    assert students == {"Ada", "turingalan"}


def test_the_archives_of_both_are_collected_as_configured(tmp_path):
    classroom = small_class(tmp_path / "class")
    archives = classroom.course / "downloaded" / NOTEBOOK / "archive"
    archives.mkdir(parents=True)
    texts = {
        "moodle.zip": {f"Ada Lovelace_1{MOODLE}/{FILE}": "ada", f"Bo_2{MOODLE}/{FILE}": "bo"},
        "canvas.zip": {f"{CANVAS}{FILE}": "old", f"{CANVAS}{NOTEBOOK}-1.ipynb": "new"},
    }
    for archive, files in texts.items():
        with zipfile.ZipFile(archives / archive, "w") as file:
            for name, text in files.items():
                file.writestr(name, text)
    (archives / "unknown.ipynb").write_text("{}")
    log = classroom._instruct("zip_collect")
    submitted = classroom.course / "submitted"
    assert {p.parts[-3]: p.read_text() for p in submitted.rglob("*.ipynb")} == {
        "Ada Lovelace": "ada",
        "Bo": "bo",
        "turingalan": "new",
    }
    assert "unknown.ipynb is not collected" in log

"""Only plain files of a folder that somebody else has filled are read."""

import io
import os
from pathlib import Path

import pytest

from autograder.grading.plain_files import plain_files, replace_what_is_no_file
from autograder.grading.reading import UnreadableError, read_notebook


@pytest.fixture
def folder_with_links(tmp_path: Path) -> Path:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "grades").write_text("everybody's")
    folder = tmp_path / "submission"
    (folder / "more").mkdir(parents=True)
    (folder / "mine.py").write_text("x = 1")
    (folder / "more" / "data.txt").write_text("1 2 3")
    (folder / "grades").symlink_to(secret / "grades")
    (folder / "secret").symlink_to(secret)
    (folder / "nowhere").symlink_to(tmp_path / "nowhere")
    (folder / "endless").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    return folder


def test_only_plain_files_are_read(folder_with_links):
    read = dict(plain_files(folder_with_links, 1000))
    assert read == {Path("mine.py"): b"x = 1", Path("more/data.txt"): b"1 2 3"}


def test_more_than_is_allowed_is_not_read(folder_with_links):
    with pytest.raises(OSError, match="too large"):
        list(plain_files(folder_with_links, 9))


def test_what_is_no_file_is_replaced_by_a_text_that_says_so(folder_with_links):
    replace_what_is_no_file(folder_with_links)
    for name in ("grades", "secret", "nowhere", "endless", "pipe"):
        text = (folder_with_links / name).read_text()
        assert "Only files are graded" in text
        with pytest.raises(UnreadableError, match="it was a link"):
            read_notebook(io.BytesIO(text.encode()))
    assert (folder_with_links / "mine.py").read_text() == "x = 1"
    assert (folder_with_links.parent / "secret" / "grades").read_text() == "everybody's"


def test_a_folder_in_the_place_of_a_notebook_is_kept_beside_a_text(folder_with_links):
    replace_what_is_no_file(folder_with_links, ["more"])
    assert "a folder" in (folder_with_links / "more").read_text()
    assert (folder_with_links / "more.folder" / "data.txt").read_text() == "1 2 3"


def test_a_submission_that_is_a_link_to_another_is_not_followed(folder_with_links, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(folder_with_links)
    replace_what_is_no_file(link, ["mine.py"])
    assert "a link to" in (link / "mine.py").read_text()
    assert (folder_with_links / "mine.py").read_text() == "x = 1"

"""nbgrader's exchange, where one student's folder can neither mislead nor stop the others."""

import glob
import os
import re
import shutil
import stat
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from nbgrader.exchange.default import ExchangeCollect, ExchangeReleaseFeedback
from nbgrader.plugins import ExtractorPlugin

from autograder.grading.plain_files import plain_files, set_aside_no_time
from autograder.grading.writing import is_harmless_name

_NO_NAME = re.compile(r"[.-]|.*[*?\[\]/]")
"""What a path, a pattern or an option could be made of."""


def can_be_a_student(name: str) -> bool:
    """Whether nothing else can be meant by a student's name: no path, pattern, option or markup."""
    usable = bool(name) and name.isprintable() and not _NO_NAME.match(name)
    return usable and is_harmless_name(name)


class CollectPlainFiles(ExchangeCollect):
    """Collects files only: a link in what a student handed in could lead to the instructor's own.

    What cannot be collected is logged, and the others are.
    """

    def init_src(self) -> None:
        """Find the submissions. Raises ExchangeError if there is no such course."""
        super().init_src()
        self.src_records = [record for record in self.src_records if record["username"]]

    def _path_to_record(self, path: str) -> dict[str, Any]:
        try:
            record = super()._path_to_record(path)
            if not can_be_a_student(record["username"]):
                raise ValueError(record["username"])
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise NotADirectoryError(path)
        except Exception:
            # The parser of times raises what comes of it.
            self.log.error("%r is no submission: a folder named by a student and a time.", path)
            return {"username": "", "timestamp": datetime.min}
        return record

    def copy_files(self) -> None:
        """Copy the submissions one by one; where there are none, that is logged."""
        if not self.src_records:
            super().copy_files()
        for record in self.src_records:
            self.src_records = [record]
            try:
                super().copy_files()
            except (OSError, RuntimeError, ValueError) as error:
                self.log.error("%s is not collected: %s", record["filename"], error)

    def do_copy(self, src: str, dest: str, log: Any = None) -> None:
        """Copy one submission. Raises OSError if it cannot be."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "submission")
            copy.mkdir()
            for path, data in plain_files(Path(src), 1000 * self.coursedir.max_dir_size):
                (copy / path).parent.mkdir(parents=True, exist_ok=True)
                (copy / path).write_bytes(data)
            set_aside_no_time(copy, self.log)
            super().do_copy(str(copy), dest, log)


class ReleaseFeedbackToEach(ExchangeReleaseFeedback):
    """Releases feedback student by student: one that cannot be released is logged."""

    def copy_files(self) -> None:
        """Copy the feedback of every student into the exchange."""
        for folder in sorted(glob.glob(self.src_path)):
            self.src_path = glob.escape(folder)
            try:
                super().copy_files()
            except (OSError, ValueError) as error:
                self.log.error("The feedback in %s is not released: %s", folder, error)


class ExtractEach(ExtractorPlugin):
    """Unpacks archives for `nbgrader zip_collect` one by one: one that cannot be is logged.

    nbgrader refuses those whose files would come to lie elsewhere.
    """

    def extract(self, archive_path: str, extracted_path: str) -> None:
        """Unpack what lies in a folder into another one."""
        for archive in sorted(path for path in Path(archive_path).rglob("*") if path.is_file()):
            with tempfile.TemporaryDirectory() as folder:
                alone = Path(folder, "archive", archive.relative_to(archive_path))
                alone.parent.mkdir(parents=True)
                shutil.copy(archive, alone)
                extracted = Path(folder, "extracted")
                extracted.mkdir()
                try:
                    super().extract(str(Path(folder, "archive")), str(extracted))
                except Exception as error:
                    # Whatever an archive holds, the libraries that read it raise what comes of it.
                    self.log.error("%s is not unpacked: %s", archive, error)
                else:
                    shutil.copytree(extracted, extracted_path, dirs_exist_ok=True)

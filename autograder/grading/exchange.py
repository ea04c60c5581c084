"""nbgrader's exchange, where one student's folder can neither mislead nor stop the others."""

import glob
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbgrader.exchange import ExchangeError
from nbgrader.exchange.default import ExchangeCollect, ExchangeReleaseFeedback

from autograder.grading.plain_files import plain_files


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
            return super()._path_to_record(path)
        except (ExchangeError, ValueError):
            self.log.error("%s is no submission: its name has no student and time.", path)
            return {"username": "", "timestamp": datetime.min.replace(tzinfo=UTC)}

    def do_copy(self, src: str, dest: str, log: Any = None) -> None:
        """Copy one submission."""
        if Path(src).is_symlink():
            self.log.error("%s is a link, and not collected.", src)
            return
        try:
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder, "submission")
                copy.mkdir()
                for path, data in plain_files(Path(src), 1000 * self.coursedir.max_dir_size):
                    (copy / path).parent.mkdir(parents=True, exist_ok=True)
                    (copy / path).write_bytes(data)
                super().do_copy(str(copy), dest, log)
        except (OSError, RuntimeError) as error:
            self.log.error("%s is not collected: %s", src, error)


class ReleaseFeedbackToEach(ExchangeReleaseFeedback):
    """Releases feedback student by student: one that cannot be released is logged."""

    def copy_files(self) -> None:
        """Copy the feedback of every student into the exchange."""
        for folder in sorted(glob.glob(self.src_path)):
            self.src_path = glob.escape(folder)
            try:
                super().copy_files()
            except OSError as error:
                self.log.error("The feedback in %s is not released: %s", folder, error)

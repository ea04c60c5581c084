"""What the sandbox and the judge outside cost: `make bench-grading`.

Twenty solved and twenty faulty submissions, each autograded by nbgrader as it comes, which runs
the checks in the student's own kernel, and by the course's configuration. The two take turns, in
changing order, and share one core.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from autograder.build import COURSE, source_notebook
from autograder.classroom import Classroom
from autograder.example_submissions import mistake_source, solutions_in, with_answers
from autograder.exercises import NOTEBOOKS
from autograder.grading.execute import RECORD
from benchmarks.report import RESULTS, describe_machine
from solutions.mistakes import mistakes_of

TOPIC = "linear_attention"
NOTEBOOK = NOTEBOOKS[TOPIC]
COUNT = 20
# nbgrader's defaults, but for what decides how much of the notebook is run.
STOCK = """
c = get_config()
c.Execute.timeout = 60
c.Execute.skip_cells_with_tag = "measurement"
c.Execute.extra_arguments = ["--IPKernelApp.log_level=ERROR"]
"""


def submissions(classroom: Classroom) -> dict[str, str]:
    """The files of the students: solved ones, and ones with a mistake in every exercise."""
    source = source_notebook(COURSE / "source" / NOTEBOOK / f"{NOTEBOOK}.md", TOPIC)
    solutions = solutions_in(source)
    files = {}
    for i in range(COUNT):
        files[f"solved{i:02}"] = with_answers(classroom.release, solutions)
        wrong = {
            name: mistake_source(mistakes[i % len(mistakes)])
            for name in solutions
            if (mistakes := mistakes_of(TOPIC, name))
        }
        files[f"faulty{i:02}"] = with_answers(classroom.release, wrong)
    return {student: nbformat.writes(notebook) for student, notebook in files.items()}


def make_class(folder: Path, config: str | None = None) -> Classroom:
    """A class with everybody's submission collected."""
    source = source_notebook(COURSE / "source" / NOTEBOOK / f"{NOTEBOOK}.md", TOPIC)
    classroom = Classroom(folder, NOTEBOOK, source)
    if config:
        (classroom.course / "nbgrader_config.py").write_text(config)
    classroom.generate_assignment()
    for student, text in submissions(classroom).items():
        place = classroom.course / "submitted" / student / NOTEBOOK
        place.mkdir(parents=True)
        (place / f"{NOTEBOOK}.ipynb").write_text(text, encoding="utf-8")
    return classroom


def measure(stock: Classroom, ours: Classroom, console: Console) -> dict[str, list[float]]:
    """Seconds of each submission under both, the two one right after the other."""
    classes = {"stock": stock, "ours": ours}
    students = sorted(os.listdir(ours.course / "submitted"))
    for classroom in classes.values():
        classroom.autograde(f"--student={students[0]}")  # imports and caches, untimed
    seconds: dict[str, list[float]] = {}
    for turn, student in enumerate(track(students, console=console)):
        for name in sorted(classes, reverse=turn % 2 == 0):
            start = time.perf_counter()
            classes[name].autograde(f"--student={student}", "--force")
            seconds.setdefault(f"{name} {student[:6]}", []).append(time.perf_counter() - start)
    return seconds


def parts(classroom: Classroom) -> dict[str, float]:
    """The median seconds of the parts of a solved submission, as each grading recorded them."""
    records = []
    for path in classroom.course.glob(f"autograded/solved*/{NOTEBOOK}/*.ipynb"):
        seconds = json.loads(path.read_text())["metadata"][RECORD]["seconds"]
        records.append(seconds | {"exercises": sum(seconds["exercises"].values())})
    return {part: statistics.median(record[part] for record in records) for part in records[0]}


def write_results(seconds: dict[str, list[float]], ours: Classroom, console: Console) -> None:
    """Print the tables, and write them to results/grading.md and .json."""
    table = Table(box=box.MARKDOWN)
    for heading in ("submissions", "nbgrader", "the course's", "median ratio", "worst ratio"):
        table.add_column(heading)
    for kind in ("solved", "faulty"):
        stock, mine = seconds[f"stock {kind}"], seconds[f"ours {kind}"]
        ratios = [b / a for a, b in zip(stock, mine, strict=True)]
        table.add_row(
            f"{COUNT} {kind}",
            f"{statistics.median(stock):.2f} s",
            f"{statistics.median(mine):.2f} s",
            f"{statistics.median(ratios):.2f}",
            f"{max(ratios):.2f}",
        )
    spent = parts(ours)
    whole = statistics.median(seconds["ours solved"])
    where = Table(box=box.MARKDOWN)
    for heading in ("of a solved submission", "seconds"):
        where.add_column(heading)
    where.add_row("start of the sandbox and the kernel", f"{spent['start']:.2f}")
    where.add_row("cells, importing torch among them", f"{spent['cells']:.2f}")
    where.add_row("cases, answers and the judge", f"{spent['exercises']:.2f}")
    where.add_row(
        "nbgrader: files, gradebook, end of the kernel", f"{whole - sum(spent.values()):.2f}"
    )
    machine = ", ".join(f"{key} {value}" for key, value in describe_machine([]).items())
    with (RESULTS / "grading.md").open("w") as file:
        for out in (console, Console(file=file, width=120)):
            out.print("# What the sandbox and the judge outside cost\n")
            out.print("Seconds of `nbgrader autograde` for one submission on one core, median.\n")
            out.print(table)
            out.print()
            out.print(where)
            out.print(f"\n{machine}")
    results = {"machine": describe_machine([]), "seconds": seconds, "parts": spent}
    (RESULTS / "grading.json").write_text(json.dumps(results, indent=1))


def main() -> None:
    """Measure and report."""
    # nbgrader starts alembic by its name, which is beside this Python.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        stock, ours = make_class(Path(folder, "stock"), STOCK), make_class(Path(folder, "ours"))
        write_results(measure(stock, ours, console), ours, console)


if __name__ == "__main__":
    main()

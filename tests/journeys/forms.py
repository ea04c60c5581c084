"""The forms in which honest work comes: what people and tools make of a notebook's cells."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from autograder.build import COURSE, source_notebook
from autograder.example_submissions import cell_of
from autograder.exercises import NOTEBOOKS, exercises_of

TOPIC, FIRST, SECOND, WRITTEN = (
    "linear_attention",
    "elu_feature_map",
    "fourier_mixing",
    "written_associativity",
)
NAME = NOTEBOOKS[TOPIC]
POINTS = {name: e.points for name, e in exercises_of(TOPIC).items() if name in (FIRST, SECOND)}
SETUP = "import torch\nimport torch.nn.functional as F\nfrom autograder.check import check"
QUESTION = "*Graded by a person.* What does associativity buy?"
ANSWER = "Sums can be regrouped."

ELU = "def elu_feature_map(x):\n    return F.elu(x) + 1"
FOURIER = "def fourier_mixing(x):\n    return torch.fft.fft2(x).real"
WRONG = "def elu_feature_map(x):\n    return x"


def short_source() -> NotebookNode:
    """Two quick exercises with their checks, a measurement, and a written question."""
    notebook = source_notebook(COURSE / "source" / NAME / f"{NAME}.md", TOPIC)
    checks = [cell_of(notebook, f"check_{name}") for name in (FIRST, SECOND)]
    answers = [cell_of(notebook, name) for name in (FIRST, SECOND)]
    setup = cell_of(notebook, "setup")
    setup.source = SETUP
    measured = new_code_cell("1 + 1", metadata={"tags": ["measurement"]})
    question, written = new_markdown_cell(QUESTION), cell_of(notebook, WRITTEN)
    exercises = [answers[0], checks[0], answers[1], checks[1]]
    notebook.cells = [setup, *exercises, measured, question, written]
    return notebook


@dataclass(frozen=True)
class Form:
    """What was handed in, and what should come of it.

    checked: the points of FIRST that `autograder check` shows, SECOND has all. graded: those in
    the gradebook. validates: whether nbgrader's Validate says "Success".
    """

    make: Callable[[NotebookNode], bytes | None]
    checked: int
    graded: int
    validates: bool
    files: dict[str, str]

    def content(self, release: NotebookNode) -> bytes:
        """The file that is handed in: the solved notebook in this form."""
        notebook = deepcopy(release)
        cell_of(notebook, FIRST).source = ELU
        cell_of(notebook, SECOND).source = FOURIER
        cell_of(notebook, WRITTEN).source = ANSWER
        return self.make(notebook) or json.dumps(notebook).encode()


FORMS: dict[str, Form] = {}


def form(
    checked: int = POINTS[FIRST],
    graded: int | None = None,
    validates: bool = True,
    files: dict[str, str] | None = None,
) -> Callable:
    """Register a function that changes the solved notebook, or returns a file's bytes."""

    def register(function: Callable) -> Callable:
        points = checked if graded is None else graded
        FORMS[function.__name__] = Form(function, checked, points, validates, files or {})
        return function

    return register


def put(notebook: NotebookNode, place: int, *sources: str) -> None:
    """Insert code cells of the student's own."""
    notebook.cells[place:place] = [new_code_cell(source) for source in sources]


def remove(notebook: NotebookNode, *names: str) -> None:
    for name in names:
        notebook.cells.remove(cell_of(notebook, name))


def stub(notebook: NotebookNode) -> None:
    """Leave the first answer as it was released."""
    text = "def elu_feature_map(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    cell_of(notebook, FIRST).source = text


# --- Where the code stands -----------------------------------------------------------------------


@form()
def as_it_is_meant(notebook):
    pass


@form()
def answers_merged(notebook):
    cell_of(notebook, FIRST).source = f"{ELU}\n\n\n{FOURIER}"
    remove(notebook, SECOND)


@form()
def all_in_one_cell_on_top(notebook):
    remove(notebook, FIRST, SECOND, WRITTEN)
    put(notebook, 0, f"{SETUP}\n\n{ELU}\n\n\n{FOURIER}")
    notebook.cells.append(new_markdown_cell(ANSWER))


@form(validates=False)  # nbgrader does not accept two cells of one name
def cell_split(notebook):
    cell = cell_of(notebook, FIRST)
    half = deepcopy(cell)
    cell.source, half.source = "one = 1", ELU.replace("+ 1", "+ one")
    notebook.cells.insert(notebook.cells.index(cell) + 1, half)


@form()
def in_a_cell_above_the_answer_deleted(notebook):
    remove(notebook, FIRST)
    put(notebook, 1, ELU)


@form()
def stub_left_above(notebook):
    stub(notebook)
    put(notebook, 2, ELU)


@form(checked=0, validates=False)
def stub_left_below(notebook):
    stub(notebook)
    put(notebook, 1, ELU)


@form(checked=0, graded=POINTS[FIRST], validates=False)
def below_the_check(notebook):
    stub(notebook)
    put(notebook, 3, ELU)


@form(validates=False)
def cell_copied(notebook):
    notebook.cells.insert(2, deepcopy(cell_of(notebook, FIRST)))


@form(validates=False)
def stub_copied_to_the_end(notebook):
    copy = deepcopy(cell_of(notebook, FIRST))
    notebook.cells.append(copy)
    solved, copy.source = copy.source, ""
    stub(notebook)
    copy.source = cell_of(notebook, FIRST).source
    cell_of(notebook, FIRST).source = solved


@form()
def cells_moved(notebook):
    cell = cell_of(notebook, SECOND)
    notebook.cells.remove(cell)
    notebook.cells.insert(1, cell)


@form()
def check_deleted(notebook):
    remove(notebook, f"check_{FIRST}")


# --- How it is defined ---------------------------------------------------------------------------


@form()
def defined_again_for_a_try(notebook):
    put(notebook, len(notebook.cells), WRONG)


@form(checked=0, graded=POINTS[FIRST], validates=False)
def corrected_below_the_check(notebook):
    cell_of(notebook, FIRST).source = WRONG
    put(notebook, 3, ELU)


@form()
def helper_in_a_cell_of_its_own_and_defined_again(notebook):
    cell_of(notebook, FIRST).source = ELU.replace("F.elu(x)", "bent(x)")
    put(notebook, 1, "def bent(x):\n    return F.elu(x)")
    put(notebook, len(notebook.cells), "def bent(x):\n    return x")


@form()
def deleted_when_done(notebook):
    put(notebook, 3, "del elu_feature_map")


@form()
def defined_in_a_branch(notebook):
    indented = ELU.replace("\n", "\n    ")
    cell_of(notebook, FIRST).source = f"if torch.__version__:\n    {indented}"


@form()
def a_lambda(notebook):
    cell_of(notebook, FIRST).source = "elu_feature_map = lambda x: F.elu(x) + 1"


@form()
def magics(notebook):
    cell_of(notebook, FIRST).source = f"%%time\n{ELU}"
    cell_of(notebook, SECOND).source = f"%matplotlib inline\n!echo x\n{FOURIER}"


@form(files={"mine.py": f"import torch.nn.functional as F\n\n\n{ELU}\n"})
def in_a_file_beside_it(notebook):
    remove(notebook, FIRST)
    put(notebook, 1, "from mine import *")


@form()
def imports_in_a_cell_of_their_own(notebook):
    cell_of(notebook, FIRST).source = ELU.replace("F.elu", "functional.elu")
    put(notebook, 1, "from torch.nn import functional")


@form(validates=False)  # nbgrader says that the set-up has changed
def imports_in_the_set_up(notebook):
    cell_of(notebook, FIRST).source = ELU.replace("F.elu", "functional.elu")
    cell_of(notebook, "setup").source += "\nfrom torch.nn import functional"


@form()
def in_a_cell_that_only_measures(notebook):
    remove(notebook, FIRST)
    cell = notebook.cells.pop(4)
    assert cell.metadata.tags == ["measurement"]
    cell.source = ELU
    notebook.cells.insert(1, cell)


@form(validates=False)  # nothing stands in its cell
def written_answer_in_a_cell_of_its_own(notebook):
    cell_of(notebook, WRITTEN).source = "YOUR ANSWER HERE"
    notebook.cells.append(new_markdown_cell(ANSWER))


# --- What tools do -------------------------------------------------------------------------------


@form()
def metadata_lost(notebook):
    for cell in notebook.cells:
        cell.metadata = {}


@form(validates=False)  # to nbgrader every line of the set-up has changed
def other_ends_of_lines(notebook):
    for cell in notebook.cells:
        cell.source = cell.source.replace("\n", "\r\n") + "\r\n"


@form()
def an_older_format(notebook):
    notebook.nbformat_minor = 2


@form()
def outputs_and_counts_lost(notebook):
    for cell in notebook.cells:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)


@form()
def empty_ids(notebook):
    for cell in notebook.cells:
        cell.id = ""


@form(validates=False)
def written_by_an_editor(notebook):
    return b"\xef\xbb\xbf" + nbformat.writes(notebook).encode()

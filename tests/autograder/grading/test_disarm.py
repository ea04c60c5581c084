"""What a student wrote and showed cannot act in the browser of whoever reads it."""

from html.parser import HTMLParser

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter, NotebookExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory

from autograder.grading.disarm import DisarmHtml
from autograder.report import MIMETYPE, Line, Report

RELEASED = "<details><summary>Hint</summary>Sum first.</details>\n\n$a<b$ & <u>more</u>"


@pytest.fixture
def disarm(tmp_path):
    (tmp_path / "release" / "hello").mkdir(parents=True)
    release = new_notebook(cells=[new_markdown_cell(RELEASED)])
    nbformat.write(release, tmp_path / "release" / "hello" / "hello.ipynb")
    converter = Autograde(coursedir=CourseDirectory(root=str(tmp_path), assignment_id="hello"))
    preprocessor = DisarmHtml(parent=NotebookExporter(parent=converter))

    def run(*cells: NotebookNode) -> NotebookNode:
        key = {"student": "ada", "assignment": "hello", "notebook": "hello"}
        notebook = new_notebook(cells=list(cells), metadata={"widgets": {"x": {}}})
        return preprocessor.preprocess(notebook, {"nbgrader": key})[0]

    return run


def shown(**data: object) -> NotebookNode:
    bundle = {name.replace("_", "/"): value for name, value in data.items()}
    return new_code_cell("1", outputs=[new_output("display_data", bundle)])


ATTACKS = {
    "a script in text": new_markdown_cell("fine <script>alert(1)</script>"),
    "a handler in text": new_markdown_cell("<img src=x onerror='alert(1)'>"),
    "a frame in text": new_markdown_cell("<iframe src='/formgrader'></iframe>"),
    "a link that acts": new_markdown_cell("<a href='javascript:alert(1)'>see</a>"),
    "a raw cell": new_raw_cell("<script>alert(1)</script>", metadata={"raw_mimetype": "text/html"}),
    "a script shown": shown(text_html="<script>alert(1)</script>"),
    "a handler shown": shown(text_html="<b onclick='alert(1)'>x</b>"),
    "a script as Markdown": shown(text_markdown="<script>alert(1)</script>"),
    "JavaScript": shown(application_javascript="alert(1)"),
    "SVG": new_code_cell(
        "1", outputs=[new_output("display_data", {"image/svg+xml": "<svg onload='alert(1)'/>"})]
    ),
    "a widget": new_code_cell(
        "1",
        outputs=[new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}})],
    ),
}


def active_parts(page: str) -> list[str]:
    found = []

    class Look(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            if tag in ("script", "iframe", "object", "embed", "svg", "style", "form"):
                found.append(tag)
            found.extend(name for name, _ in attributes if name.startswith("on"))
            found.extend(v for _, v in attributes if v and v.lower().startswith("javascript"))

    Look().feed(page)
    return found


def test_the_attacks_would_act_if_they_were_left_as_they_are():
    for name in ("a script in text", "a handler in text", "a frame in text", "a script shown"):
        page, _ = HTMLExporter(template_name="basic").from_notebook_node(
            new_notebook(cells=[ATTACKS[name]])
        )
        assert active_parts(page)


@pytest.mark.parametrize("cell", ATTACKS.values(), ids=ATTACKS)
def test_nothing_acts_in_the_page_that_is_made_of_it(disarm, cell):
    notebook = disarm(cell)
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    assert active_parts(page) == []
    assert "widgets" not in notebook.metadata


def test_the_text_of_the_release_stays_as_it_is(disarm):
    assert disarm(new_markdown_cell(RELEASED)).cells[0].source == RELEASED


def test_ordinary_markdown_stays_readable(disarm):
    text = "> quoted\n\n**bold** & $x > y$, `a & b`\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    assert disarm(new_markdown_cell(text)).cells[0].source == text


def test_pictures_and_tables_that_were_shown_stay(disarm):
    table = "<table><tbody><tr><td>1</td></tr></tbody></table>"
    picture = new_output("display_data", {"image/png": "aGVsbG8=", "text/html": table})
    (cell,) = disarm(new_code_cell("1", outputs=[picture])).cells
    assert cell.outputs[0].data == {"image/png": "aGVsbG8=", "text/html": table}


def test_the_judges_report_stays_as_it_is(disarm):
    bundle = Report("one", (Line("is right", 2, "it is <wrong>"),))._repr_mimebundle_()
    cell = new_code_cell("check(one)", outputs=[new_output("execute_result", bundle)])
    cell.metadata.nbgrader = {"grade": True, "solution": False, "grade_id": "check_one"}
    data = disarm(cell).cells[0].outputs[0].data
    assert data["text/html"] == bundle["text/html"]
    assert data[MIMETYPE]["points"] == 0

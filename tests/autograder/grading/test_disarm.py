"""What a student wrote and showed cannot act in the browser of whoever reads it."""

import base64
import io
import json
from html.parser import HTMLParser

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter, NotebookExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from PIL import Image

from autograder.grading.disarm import DisarmHtml
from autograder.report import MIMETYPE, Line, Report
from tests.hostile.vectors import CANARY_HOST, CELLS

RELEASED = "<details><summary>Hint</summary>Sum first.</details>\n\n$a<b$ & <u>more</u>"
ACTS = (
    "a script",
    "a handler",
    "a link",
    "a link that a filter shortens",
    "a picture from elsewhere",
    "shown: a width",
    "shown: a frame",
)


@pytest.fixture
def disarm(tmp_path):
    (tmp_path / "release" / "hello").mkdir(parents=True)
    release = new_notebook(cells=[new_markdown_cell(RELEASED)])
    nbformat.write(release, tmp_path / "release" / "hello" / "hello.ipynb")
    converter = Autograde(coursedir=CourseDirectory(root=str(tmp_path), assignment_id="hello"))
    preprocessor = DisarmHtml(parent=NotebookExporter(parent=converter))

    def run(*cells: NotebookNode) -> NotebookNode:
        key = {"student": "ada", "assignment": "hello", "notebook": "hello"}
        notebook = new_notebook(metadata={"widgets": {"x": {}}})
        notebook.cells = list(cells)
        return preprocessor.preprocess(notebook, {"nbgrader": key})[0]

    return run


PAGES = HTMLExporter(template_name="basic")


def page_of(notebook: NotebookNode) -> str:
    return PAGES.from_notebook_node(notebook)[0]


def shown_by(disarm, text: str) -> str:
    """The page that is made of a student's Markdown."""
    return page_of(disarm(new_markdown_cell(text)))


def output_of(disarm, data: dict[str, object], **metadata: object) -> NotebookNode:
    shown = new_output("display_data", data, metadata=metadata)
    return disarm(new_code_cell("1", outputs=[shown])).cells[0].outputs[0]


def picture(kind: str = "PNG", size: tuple[int, int] = (2, 3)) -> str:
    file = io.BytesIO()
    Image.new("1", size).convert("L").save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def active_parts(page: str) -> list[str]:
    """What of a page could act, ask somebody, or be taken for a part of formgrader."""
    found = []

    class Look(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            if tag in (
                "script",
                "iframe",
                "object",
                "embed",
                "svg",
                "math",
                "style",
                "form",
                "base",
            ):
                found.append(tag)
            for name, value in attributes:
                value = (value or "").lower()
                opens = name == "href" and not value.startswith(("https://example.org", "mailto:"))
                asks = name in ("src", "srcset") and not value.startswith("data:image/")
                refers = name in ("id", "name", "for") and not value.startswith("cell-id=")
                takes = name == "class" and {"score", "nbgrader_cell"}.intersection(value.split())
                if name.startswith("on") or name == "ping" or opens or asks or refers or takes:
                    found.append(f"{tag} {name}={value}")
                if name == "style" and ("url" in value or "position" in value):
                    found.append(f"{tag} {name}={value}")

    Look().feed(page)
    return found


@pytest.mark.parametrize("name", ACTS)
def test_the_attacks_would_act_if_they_were_left_as_they_are(name):
    assert active_parts(page_of(new_notebook(cells=[CELLS[name]])))


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_nothing_acts_in_the_page_that_is_made_of_it(disarm, cell):
    notebook = disarm(nbformat.from_dict(json.loads(json.dumps(cell))))
    nbformat.validate(notebook)
    assert active_parts(page_of(notebook)) == []
    assert "widgets" not in notebook.metadata


@pytest.mark.parametrize("command", ["href", "class", "style", "cssId", "mmlToken", "require"])
def test_a_formula_makes_no_link_and_takes_no_style(disarm, command):
    acting = f"$\\{command}{{https://{CANARY_HOST}}}{{x}}$"
    assert f"\\{command}" not in shown_by(disarm, acting)
    assert f"\\{command}s" in shown_by(disarm, f"\\{command}s")
    assert f"\\{command}" not in output_of(disarm, {"text/latex": acting}).data["text/latex"]


def test_a_report_that_quotes_a_student_has_no_formula_that_makes_a_link(disarm):
    report = Report("one", (Line("is right", 2, r"raised ValueError: $\href{https://x.org}{x}$"),))
    shown = new_output("execute_result", report._repr_mimebundle_())
    cell = new_code_cell("check(one)", outputs=[shown])
    cell.metadata.nbgrader = {"grade": True, "solution": False, "grade_id": "check_one"}
    assert r"\href" not in disarm(cell).cells[0].outputs[0].data["text/html"]


def test_only_what_is_known_of_a_notebook_and_its_cells_stays(disarm):
    cell = new_code_cell("1", metadata={"tags": ["x"], "transient": {"remove_source": True}})
    cell.execution_count = "<b>"
    cell.unknown = "x"
    notebook = disarm(cell)
    assert set(notebook.metadata) == set()
    assert set(notebook.cells[0]) == {
        "cell_type",
        "execution_count",
        "id",
        "metadata",
        "outputs",
        "source",
    }
    assert notebook.cells[0].metadata == {}
    assert notebook.cells[0].execution_count is None


# What is harmless stays


def test_the_text_of_the_release_stays_as_it_is(disarm):
    assert disarm(new_markdown_cell(RELEASED)).cells[0].source == RELEASED


def test_the_release_has_its_own_attachments_and_no_others(disarm):
    forged = new_markdown_cell(RELEASED, attachments={"a.png": {"image/png": picture()}})
    assert "attachments" not in disarm(forged).cells[0]


def test_ordinary_markdown_is_shown(disarm):
    text = (
        "> quoted\n\n**bold** & $x < y$, `a & b`\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n"
        "```python\nx = 1\n\n\ny = [2]\n```\n\n- [x] done\n\n[here](https://example.org/a?b=1&c=2#d)"
        " and <https://example.org>\n\n$$\na[1] &= b\n$$"
    )
    page = shown_by(disarm, text)
    for part in (
        "<blockquote>",
        "<strong>bold</strong> &amp; $x &lt; y$, <code>a &amp; b</code>",
        '<td style="text-align:right">2</td>',
        '<span class="mi">1</span>',
        'type="checkbox"',
        'checked=""',
        '<a href="https://example.org/a?b=1&amp;c=2#d"',
        '<a href="https://example.org"',
        "$$\na[1] &amp;= b\n$$",
    ):
        assert part in page
    assert page.count('target="_blank"') == page.count('rel="noopener noreferrer"') == 2


def test_a_table_that_was_shown_stays(disarm):
    table = '<table border="1"><tbody><tr><td style="color:red">1</td></tr></tbody></table>'
    shown = output_of(disarm, {"text/html": table, "text/plain": "1"})
    assert shown.data["text/html"] == table.replace(' border="1"', "")


def test_the_judges_report_stays_as_it_is(disarm):
    bundle = Report("one", (Line("is right", 2, "it is <wrong>"),))._repr_mimebundle_()
    cell = new_code_cell("check(one)", outputs=[new_output("execute_result", bundle)])
    cell.metadata.nbgrader = {"grade": True, "solution": False, "grade_id": "check_one"}
    data = disarm(cell).cells[0].outputs[0].data
    assert data["text/html"] == bundle["text/html"]
    assert data[MIMETYPE]["points"] == 0


# Pictures


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_a_picture_is_shown_however_it_is_kept(disarm, tmp_path, kind):
    data, mimetype = picture(kind, (50, 50)), f"image/{kind.lower()}"
    uri = f"data:{mimetype};base64,{data}"
    folder = tmp_path / "submitted" / "ada" / "hello"
    folder.mkdir(parents=True)
    (folder / "my plot").write_bytes(base64.b64decode(data))
    cell = new_markdown_cell(
        f'![a]({uri}) <img width="10" src="{uri}"> ![a][r] ![b](attachment:my%20plot) '
        f"![c](my%20plot)\n\n[r]: {uri}",
        attachments={"my plot": {mimetype: data}},
    )
    assert page_of(disarm(cell)).count(f'src="{uri}"') == 5
    shown = new_code_cell("1", outputs=[new_output("display_data", {mimetype: f"{data}\n"})])
    assert f'src="{uri}"' in page_of(disarm(shown))


def test_a_picture_keeps_its_size(disarm):
    size = {"image/png": {"width": 20, "height": 30, "alt": "x"}}
    shown = output_of(disarm, {"image/png": picture()}, **size)
    assert shown.metadata["image/png"] == {"width": 20, "height": 30}


def test_pictures_do_not_count_as_text(disarm):
    large = base64.b64encode(base64.b64decode(picture()) + bytes(200_000)).decode()
    text = "".join(
        f"before {n} ![x](data:image/png;base64,{large}) after {n}\n\n" for n in range(5)
    )
    page = shown_by(disarm, text)
    assert page.count(large) == 5
    assert "after 4" in page


TOO_LARGE = "it has more than 10 MB or 50 million pixels"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (f"data:image/png;base64,{picture(size=(10_000, 5_001))}", TOO_LARGE),
        (f"data:image/png;base64,{'A' * 14_000_000}", TOO_LARGE),
        (f"data:image/png;base64,{'A' * 200}", "it is not a PNG, JPEG or GIF"),
        ("data:image/svg+xml;base64,PHN2Zy8+", "it is not a PNG, JPEG or GIF"),
        ("attachment:a.png", "the cell has no attachment “a.png”"),
        ("a.png", "there is no file “a.png” beside the notebook"),
        ("https://example.org/a.png", "it is not in the notebook, but elsewhere"),
        ("//example.org/a.png", "it is not in the notebook, but elsewhere"),
    ],
    ids=["pixels", "bytes", "no picture", "SVG", "attachment", "file", "elsewhere", "no scheme"],
)
def test_a_picture_that_is_not_shown_is_left_out_alone_and_it_is_said(disarm, source, why):
    good = f"data:image/png;base64,{picture()}"
    page = shown_by(disarm, f"before ![x]({source}) between ![y]({good}) after")
    assert f"A picture is left out here: {why}" in page
    assert good in page
    assert "after" in page
    assert f'"{source}"' not in page


def test_a_picture_that_is_too_large_is_left_out_of_an_output(disarm):
    shown = output_of(
        disarm, {"image/png": picture(size=(10_000, 5_001)), "text/plain": "<Figure>"}
    )
    assert set(shown.data) == {"text/plain"}
    assert TOO_LARGE in shown.data["text/plain"]


# What takes for ever, or cannot be rendered


def test_what_is_too_long_is_cut_and_it_is_said(disarm):
    page = shown_by(disarm, "a " * 10_001)
    assert page.count("a ") >= 10_000
    assert "The rest is too long to be shown here." in page


def test_after_many_long_texts_little_of_each_is_rendered(disarm):
    notebook = disarm(*(new_markdown_cell("[" * 20_000) for _ in range(12)))
    lengths = [cell.source.count("&#91;") for cell in notebook.cells]
    assert lengths == [20_000] * 10 + [1_000] * 2


@pytest.mark.parametrize(
    "text", ["\x1b[38m", "\x1b\x1b[0m[48mx", "\x1b[31mx" * 2000, "x" * 300_000]
)
def test_what_cannot_be_rendered_in_colours_is_shown_without(disarm, text):
    stream = new_output("stream", name="stdout", text=text)
    error = new_output("error", ename="x", evalue="x", traceback=[text])
    for output in (stream, error):
        page = page_of(disarm(new_code_cell("1", outputs=[output])))
        assert "ansi-red-fg" not in page
        assert len(page) < 250_000


def test_colours_stay(disarm):
    stream = new_output("stream", name="stdout", text="\x1b[31mred\x1b[0m")
    page = page_of(disarm(new_code_cell("1", outputs=[stream])))
    assert '<span class="ansi-red-fg">red</span>' in page

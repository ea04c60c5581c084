"""Cut one function out of a module: as it stands, or as the cell of an exercise."""

import ast
import inspect
from types import ModuleType

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


class ExtractError(Exception):
    """The function cannot stand in a notebook on its own; the text says why."""


def function_source(module: ModuleType, name: str) -> str:
    """The source of a function, with the imports of its module that it uses above it."""
    source, tree, function = _find(module, name)
    start = min([function.lineno, *(d.lineno for d in function.decorator_list)])
    lines, end = source.splitlines(), _last_line(function)
    if lines[end : end + 1] and lines[end].strip() == END:
        end += 1  # a comment, which the syntax tree does not hold
    body = "\n".join(lines[start - 1 : end])
    imports = _imports_used_by(function, tree)
    return f"{imports}\n\n\n{body}" if imports else body


def exercise_source(module: ModuleType, name: str, exercises: set[str]) -> str:
    """The same with the body, but not the docstring, between nbgrader's solution markers.

    Markers that are already in the body stay where they are: what is outside them is the
    scaffold. Raises ExtractError if the function uses something of its module that the notebook
    does not have.
    """
    _, tree, function = _find(module, name)
    defined = {
        target
        for node in tree.body
        for target in _names_bound_by(node)
        if not isinstance(node, ast.Import | ast.ImportFrom)
    }
    if missing := (_names_used_by(function) & defined) - exercises - {name}:
        raise ExtractError(
            f"{name} uses {', '.join(sorted(missing))} of {module.__name__}, "
            "which the notebook does not have: move it into the function"
        )
    if ast.get_docstring(function) is None or len(function.body) < 2:
        raise ExtractError(f"{name} needs a docstring and a body")
    text = function_source(module, name)
    if BEGIN in text:
        return text
    lines = text.splitlines()
    body_lines = _last_line(function) - _last_line(function.body[0])
    indent = " " * function.body[1].col_offset
    head, body = lines[:-body_lines], lines[-body_lines:]
    return "\n".join([*head, indent + BEGIN, *body, indent + END])


def _last_line(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _find(module: ModuleType, name: str) -> tuple[str, ast.Module, ast.FunctionDef]:
    source = inspect.getsource(module)
    tree = ast.parse(source)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return source, tree, node
    raise ExtractError(f"{module.__name__} has no function {name!r}")


def _names_used_by(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _names_bound_by(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return {
        n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }


def _imports_used_by(function: ast.FunctionDef, tree: ast.Module) -> str:
    used = _names_used_by(function)
    kept = []
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = [a for a in node.names if (a.asname or a.name.split(".")[0]) in used]
        if names:
            node.names = names
            kept.append(ast.unparse(node))
    return "\n".join(kept)

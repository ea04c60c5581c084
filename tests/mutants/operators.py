"""One small change at a time to a function's syntax tree."""

import ast
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Fields and indices that lead from the function to a node."""

_COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}  # fmt: skip
_OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}  # fmt: skip
_NAMES = {
    "max": "min", "min": "max", "amax": "amin", "amin": "amax", "maximum": "minimum",
    "minimum": "maximum", "argmax": "argmin", "sum": "mean", "mean": "sum", "tril": "triu",
    "triu": "tril", "exp": "expm1", "log": "log1p", "floor": "ceil", "ceil": "floor",
    "cummax": "cummin", "logaddexp": "maximum", "logsumexp": "amax", "randn": "rand",
    "zeros": "ones", "ones": "zeros", "new_zeros": "new_ones", "cos": "sin", "sin": "cos",
}  # fmt: skip
# Methods that can be left out.
_OPTIONAL = {
    "abs",
    "clone",
    "contiguous",
    "detach",
    "double",
    "float",
    "conj",
    "flip",
    "sqrt",
    "to",
}


@dataclass(frozen=True)
class Mutant:
    """A changed function, and what was changed in which line of it, counted from its first."""

    function: ast.FunctionDef
    line: int
    change: str


def mutants_of(function: ast.FunctionDef) -> Iterator[Mutant]:
    """Every mutant of a function; its signature, decorators and docstring stay."""
    first = 1 if ast.get_docstring(function) else 0
    for index in range(first, len(function.body)):
        for path, node in _nodes(function.body[index], ("body", index)):
            for new in _changes(node):
                mutated = deepcopy(function)
                _replace(mutated, path, new)
                text = f"{_line(node)} → {_line(new)}"
                line = getattr(node, "lineno", function.lineno) - function.lineno + 1
                yield Mutant(ast.fix_missing_locations(mutated), line, text)


def _line(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _nodes(node: ast.AST, path: Path) -> Iterator[tuple[Path, ast.AST]]:
    yield path, node
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            yield from _nodes(value, (*path, field))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield from _nodes(item, (*path, field, index))


def _replace(root: ast.AST, path: Path, new: ast.AST) -> None:
    at = root
    for step in path[:-1]:
        at = at[step] if isinstance(step, int) else getattr(at, step)
    if isinstance(path[-1], int):
        at[path[-1]] = new
    else:
        setattr(at, path[-1], new)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = deepcopy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that can stand in the place of one."""
    for kind, change in _CHANGES.items():
        if isinstance(node, kind):
            yield from change(node)


def _of_compare(node: ast.Compare) -> Iterator[ast.AST]:
    for index, op in enumerate(node.ops):
        if type(op) in _COMPARISONS:
            yield _with(
                node, ops=[*node.ops[:index], _COMPARISONS[type(op)](), *node.ops[index + 1 :]]
            )


def _of_operation(node: ast.BinOp | ast.AugAssign) -> Iterator[ast.AST]:
    if type(node.op) in _OPERATORS:
        yield _with(node, op=_OPERATORS[type(node.op)]())


def _of_unary(node: ast.UnaryOp) -> Iterator[ast.AST]:
    yield node.operand


def _of_boolean(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())


def _of_constant(node: ast.Constant) -> Iterator[ast.AST]:
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)


def _of_attribute(node: ast.Attribute) -> Iterator[ast.AST]:
    if node.attr in _NAMES:
        yield _with(node, attr=_NAMES[node.attr])
    if node.attr in ("mT", "T", "real"):
        yield node.value


def _of_call(node: ast.Call) -> Iterator[ast.AST]:
    if isinstance(node.func, ast.Name) and node.func.id in _NAMES:
        yield _with(node, func=ast.Name(_NAMES[node.func.id], ast.Load()))
    if isinstance(node.func, ast.Attribute) and node.func.attr in _OPTIONAL:
        yield node.func.value
    for index in range(len(node.keywords)):
        yield _with(node, keywords=[*node.keywords[:index], *node.keywords[index + 1 :]])


def _of_condition(node: ast.If | ast.IfExp) -> Iterator[ast.AST]:
    yield _with(node, test=ast.Constant(True))
    yield _with(node, test=ast.Constant(False))


def _left_out(node: ast.AST) -> Iterator[ast.AST]:
    yield ast.Pass()


_CHANGES: dict[type | tuple[type, ...], Callable[..., Iterator[ast.AST]]] = {
    ast.Compare: _of_compare,
    (ast.BinOp, ast.AugAssign): _of_operation,
    ast.UnaryOp: _of_unary,
    ast.BoolOp: _of_boolean,
    ast.Constant: _of_constant,
    ast.Attribute: _of_attribute,
    ast.Call: _of_call,
    (ast.If, ast.IfExp): _of_condition,
    (ast.AugAssign, ast.Expr, ast.Assign): _left_out,
}

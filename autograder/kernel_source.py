"""Read Triton kernels from a student's text, and accept only what Triton alone computes.

In Triton's interpreter a kernel is ordinary Python, which could compute with anything. What
passes here can only use its arguments, its own variables, and Triton.
"""

import ast
from collections.abc import Sequence

from autograder.exercise import AnswerError

HEADER = "from course.triton_here import tl, triton\n"

_BUILTINS = {"range", "min", "max", "abs", "float", "int", "bool", "len"}
_MODULES = {"tl", "triton"}
_OF_TRITON = ("cdiv", "next_power_of_2")
# What a tile of Triton offers; its other attributes lead to what the interpreter keeps inside.
_OF_A_TILE = {
    "T", "abs", "cast", "dtype", "element_ty", "exp", "exp2", "expand_dims", "log", "log2", "max",
    "min", "permute", "reshape", "shape", "sqrt", "sum", "to", "trans", "type", "value", "view",
}  # fmt: skip
_NODES = (
    ast.Return, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For, ast.While, ast.If, ast.Expr,
    ast.Pass, ast.Break, ast.Continue, ast.Assert, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp,
    ast.Compare, ast.Call, ast.keyword, ast.Constant, ast.Attribute, ast.Subscript, ast.Name,
    ast.Tuple, ast.List, ast.Slice, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
    ast.expr_context,
)  # fmt: skip


def kernel_source(texts: Sequence[str], name: str) -> str:
    """The last kernel `name` that a cell of `texts` defines, with the kernels that it calls.

    Raises NotImplementedError if its body is still to be written, and AnswerError, which the
    student reads, if there is none, or if it uses anything but Triton.
    """
    defined: dict[str, tuple[ast.FunctionDef, str]] = {}
    for text in map(_as_python, texts):
        for node in _statements(text):
            if isinstance(node, ast.FunctionDef):
                defined[node.name] = node, text
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
                # The same kernel under another name.
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
                if node.value.id in defined:
                    defined |= dict.fromkeys(names, defined[node.value.id])
    if name not in defined:
        raise AnswerError(
            f"there is no kernel {name}: is its cell there, and is it complete? %%time "
            "and its like hide what is below them"
        )
    wanted, sources = [name], []
    for each in wanted:
        function, text = defined[each]
        called = _look_through(function, set(defined))
        wanted += [other for other in called if other not in wanted]
        if function.name != each:
            sources.append(f"{each} = {function.name}")
        start = function.decorator_list[0].lineno - 1
        sources.append("\n".join(text.splitlines()[start : function.end_lineno]))
    return "\n\n\n".join([HEADER, *reversed(sources)]) + "\n"


def _as_python(text: str) -> str:
    """The text of a cell as IPython runs it: magics are calls."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        text = TransformerManager().transform_cell(text)
    except (SyntaxError, ValueError, RecursionError, RuntimeError):
        return text
    match _statements(text):
        case [
            ast.Expr(
                ast.Call(
                    ast.Attribute(attr="run_cell_magic"),
                    [ast.Constant("capture"), _, ast.Constant(str(cell))],
                )
            )
        ]:
            return _as_python(cell)
    return text


def _statements(text: str) -> list[ast.stmt]:
    try:
        return ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # not Python


def _look_through(function: ast.FunctionDef, kernels: set[str]) -> list[str]:
    """The other kernels that it calls. Raises as `kernel_source`."""
    name, arguments = function.name, function.args
    if [ast.unparse(decorator) for decorator in function.decorator_list] != ["triton.jit"]:
        raise AnswerError(
            f"{name} is no Triton kernel: @triton.jit stands above it, and nothing else"
        )
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    annotations = [parameter.annotation for parameter in parameters] + [function.returns]
    defaults = [*arguments.defaults, *arguments.kw_defaults]
    inside = [node for statement in function.body for node in ast.walk(statement)]
    stored = {
        node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    bound = stored | {parameter.arg for parameter in parameters}
    kernels = kernels - bound
    if any(isinstance(n, ast.Raise) and "NotImplementedError" in ast.unparse(n) for n in inside):
        raise NotImplementedError
    if (
        arguments.vararg
        or arguments.kwarg
        or any(a is not None and ast.unparse(a) != "tl.constexpr" for a in annotations)
        or any(d is not None and not isinstance(d, ast.Constant) for d in defaults)
        or bound & _MODULES
    ):
        raise AnswerError(f"the first lines of {name} are not those of the notebook: restore them")
    # A name that is not Triton's says more than what is done with it.
    names = [node for node in inside if isinstance(node, ast.Name)]
    names.sort(key=lambda node: (node.lineno, node.col_offset))
    for node in [*names, *inside]:
        if complaint := _complaint(node, bound | _MODULES | _BUILTINS | kernels):
            line = getattr(node, "lineno", function.lineno) - function.lineno + 1
            raise AnswerError(f"line {line} of {name} {complaint}")
    return [node.id for node in inside if isinstance(node, ast.Name) and node.id in kernels]


def _complaint(node: ast.AST, known: set[str]) -> str:
    if not isinstance(node, _NODES):
        return f"is something that Triton does not know ({type(node).__name__})"
    if isinstance(node, ast.Name) and node.id not in known:
        return (
            f"uses {node.id}, which is not Triton, and which no line of the kernel computes. A "
            "kernel computes with tl alone; what other libraries compute earns nothing here"
        )
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return f"writes to {ast.unparse(node)}: store with tl.store"
    if isinstance(node, ast.Attribute) and not _is_tritons(node):
        return f"uses .{node.attr}, which is no part of Triton's language"
    return ""


def _is_tritons(node: ast.Attribute) -> bool:
    of = ast.unparse(node.value)
    if of == "triton":
        return node.attr in _OF_TRITON
    if of in ("tl", "tl.math"):
        return not node.attr.startswith("_")
    return node.attr in _OF_A_TILE

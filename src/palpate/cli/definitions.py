"""Definitions read from the source files of palpate, without importing them.

The list of attacks and shell completion need names, docstrings and defaults. Importing the modules
that define them would load torch, which takes seconds; parsing them takes about 0.1 s.
"""

import ast
import operator
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

_PACKAGE = "palpate"
_ROOT = Path(__file__).parent.parent
_ARITHMETIC = {
    ast.Div: operator.truediv,
    ast.Mult: operator.mul,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Pow: operator.pow,
}


class Definition(NamedTuple):
    """The syntax tree of a definition, and the module in which its names are looked up."""

    module: str
    node: ast.AST


class Parameter(NamedTuple):
    """A parameter of a function or a field of a dataclass; a missing part is None.

    Names in its annotation and default are looked up in its module. ``about`` is the docstring of a
    field, on one line.
    """

    module: str
    name: str
    annotation: ast.expr | None
    default: ast.expr | None
    about: str = ""


def find(module: str, name: str) -> Definition | None:
    """Find the function, class or value that a name in a module refers to.

    Imports from other modules of palpate are followed.

    Args:
        module: Dotted name of a module of palpate.
        name: A name defined or imported at its top level.

    Returns:
        The definition; None if there is no such name, or it comes from another package.
    """
    for node in _parsed(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return Definition(module, node)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return Definition(module, node.value)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PACKAGE):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return find(str(node.module), alias.name)
    return None


def entries(module: str, name: str) -> dict[str, Definition]:
    """Read a dictionary of a module, such as a registry, with the dictionaries that it includes.

    Raises:
        LookupError: If the module has no such dictionary.
    """
    found = find(module, name)
    tree = found.node if found else None
    if found and isinstance(tree, ast.Call):  # a registry built from a named dictionary
        named = [argument.id for argument in tree.args if isinstance(argument, ast.Name)]
        return entries(found.module, named[0]) if named else {}
    if found is None or not isinstance(tree, ast.Dict):
        raise LookupError(f"There is no dictionary {name} in {module}.")
    read: dict[str, Definition] = {}
    for key, value in zip(tree.keys, tree.values, strict=True):
        if key is None and isinstance(value, ast.Name):  # **OTHER
            read |= entries(found.module, value.id)
        elif key is not None:
            read[str(constant(Definition(found.module, key)))] = Definition(found.module, value)
    return read


def parameters(function: Definition) -> list[Parameter]:
    """Parameters of a function in order, or fields of a dataclass.

    A function that passes its ``**options`` on to another one also has the parameters of that one,
    but for those that it sets itself.
    """
    node = function.node
    if isinstance(node, ast.ClassDef):
        return [
            Parameter(function.module, field.target.id, field.annotation, field.value, _text(after))
            for field, after in zip(node.body, [*node.body[1:], None], strict=True)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        ]
    if not isinstance(node, ast.FunctionDef):
        return []
    positional = [*node.args.posonlyargs, *node.args.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults))
    pairs = [
        *zip(positional, [*missing, *node.args.defaults], strict=True),
        *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
    ]
    module, options = function.module, node.args.kwarg
    own = [Parameter(module, each.arg, each.annotation, default) for each, default in pairs]
    return own + (_passed_on(module, node, options.arg) if options else [])


def _text(node: ast.stmt | None) -> str:
    """A docstring on one line; empty for any other statement."""
    value = node.value if isinstance(node, ast.Expr) else None
    is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
    return " ".join(str(value.value).split()) if is_text else ""  # type: ignore[union-attr]


def _passed_on(module: str, function: ast.FunctionDef, options: str) -> list[Parameter]:
    """Parameters of the function to which a function passes its ``**options``."""
    for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if isinstance(call.func, ast.Name) and given.get(None) == options:
            called = find(module, call.func.id)
            rest = parameters(called)[len(call.args) :] if called else []
            return [parameter for parameter in rest if parameter.name not in given]
    return []


def constant(value: Definition) -> bool | int | float | str | None:
    """Evaluate a literal, a name of a literal, or arithmetic with them; None for anything else."""
    node = value.node
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        return node.value
    if isinstance(node, ast.Name):
        named = find(value.module, node.id)
        return constant(named) if named else None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = constant(Definition(value.module, node.operand))
        return -inner if isinstance(inner, int | float) else None
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        left, right = (constant(Definition(value.module, n)) for n in (node.left, node.right))
        if isinstance(left, int | float) and isinstance(right, int | float):
            result: int | float = _ARITHMETIC[type(node.op)](left, right)
            return result
    return None


def summary(definition: Definition) -> str:
    """The first paragraph of the docstring of a function or class, see :func:`first_paragraph`."""
    node = definition.node
    text = ast.get_docstring(node) if isinstance(node, ast.FunctionDef | ast.ClassDef) else None
    return first_paragraph(text)


def first_paragraph(docstring: str | None) -> str:
    r"""The first paragraph of a docstring, on one line and without markup.

    >>> first_paragraph("See :func:`palpate.evaluate`,\nwhich attacks.\n\nArgs: ...")
    'See palpate.evaluate, which attacks.'
    """
    first = " ".join((docstring or "").partition("\n\n")[0].split())
    return re.sub(r":\w+:`~?\.?([^`]*)`", r"\1", first)


@cache
def _parsed(module: str) -> ast.Module:
    path = _ROOT.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))

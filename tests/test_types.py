"""Everything public is typed, and its docstring begins with one line."""

import ast
import importlib
from pathlib import Path

import pytest

import tf_recall

ROOT = Path(tf_recall.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")
}
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def public(body):
    """The public definitions among some statements."""
    return [
        node
        for node in body
        if isinstance(node, FUNCTION | ast.ClassDef) and not node.name.startswith("_")
    ]


def first_paragraph(node):
    return (ast.get_docstring(node) or "").partition("\n\n")[0]


def bare(function, is_method):
    """The arguments without a type, and `return` where the result has none."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    is_static = any(ast.unparse(each) == "staticmethod" for each in function.decorator_list)
    names = [arg.arg for arg in arguments[is_method and not is_static :] if arg.annotation is None]
    typed = function.returns is not None or function.name == "__init__"
    return names if typed else [*names, "return"]


def inherited(module, owner, name):
    """Whether a base of a class documents the method, and so tells its types."""
    try:
        kind = getattr(importlib.import_module(f"tf_recall.{module}"), owner)
    except ModuleNotFoundError as error:
        pytest.skip(f"needs {error.name}")
    return any(getattr(vars(base).get(name), "__doc__", None) for base in kind.__mro__[1:])


def functions(module):
    """`(owner or None, function)` of every public function, method and constructor."""
    for node in public(ast.parse(MODULES[module].read_text()).body):
        if isinstance(node, FUNCTION):
            yield None, node
            continue
        for method in node.body:
            if isinstance(method, FUNCTION) and (
                method.name == "__init__" or not method.name.startswith("_")
            ):
                yield node.name, method


@pytest.mark.parametrize("module", sorted(MODULES))
def test_public_functions_are_typed(module):
    wrong = {
        f"{owner}.{function.name}" if owner else function.name: missing
        for owner, function in functions(module)
        if (missing := bare(function, owner is not None))
        and not (owner and function.name != "__init__" and inherited(module, owner, function.name))
    }
    assert not wrong


@pytest.mark.parametrize("module", sorted(MODULES))
def test_first_lines_are_one_line(module):
    tree = ast.parse(MODULES[module].read_text())
    documented = {"the module": tree}
    for node in public(tree.body):
        documented[node.name] = node
        if isinstance(node, ast.ClassDef):
            documented |= {f"{node.name}.{each.name}": each for each in public(node.body)}
    wrong = [name for name, node in documented.items() if "\n" in first_paragraph(node)]
    assert not wrong

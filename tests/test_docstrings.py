"""Docstrings teach: every module and every public name has one, and the examples in them run."""

import ast
import doctest
import importlib

import pytest

from tests import ROOT

PACKAGES = ("minibert", "tokenizer", "train")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
Documented = ast.Module | ast.ClassDef | ast.FunctionDef


def name_of(path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


every_module = pytest.mark.parametrize("path", FILES, ids=name_of)


@every_module
def test_all_examples_of_a_module_are_run_and_give_what_they_show(path) -> None:
    results = doctest.testmod(importlib.import_module(name_of(path)))
    assert results.failed == 0
    assert results.attempted == path.read_text(encoding="utf-8").count(">>> ")


@every_module
def test_modules_classes_and_functions_open_with_a_sentence(path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    undocumented = [
        getattr(node, "name", path.name)
        for node in public_nodes(tree)
        if not (ast.get_docstring(node) or "").partition("\n\n")[0].strip()
    ]
    assert undocumented == []


def public_nodes(tree: ast.Module) -> list[Documented]:
    """The module, its public classes and functions, and the public methods of these classes."""
    found: list[Documented] = [tree]
    for node in tree.body:
        if isinstance(node, Documented) and not node.name.startswith("_"):
            found.append(node)
            if isinstance(node, ast.ClassDef):
                found += [
                    method
                    for method in node.body
                    if isinstance(method, ast.FunctionDef) and not method.name.startswith("_")
                ]
    return found

"""The layout: imports run one way, the references stay in the tests, functions stay short."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

from tests import ROOT

REFERENCES = ("transformers", "tokenizers", "accelerate", "tests")


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(nodes: list[ast.AST]) -> set[str]:
    """The dotted name of everything that the import statements among the nodes name."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_in(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize(
    ("package", "forbidden", "allowed"),
    [
        ("tokenizer", ("minibert", "train"), ()),
        ("minibert", ("tokenizer", "train"), ("tokenizer.hub",)),
        ("train", (), ()),
    ],
)
def test_imports_run_one_way_and_the_references_stay_in_the_tests(package, forbidden, allowed):
    """train knows both; minibert takes the finder of files from the tokenizer and nothing else."""
    wrong = {
        (path.name, name)
        for path in files(package)
        for name in imports(list(ast.walk(ast.parse(path.read_text(encoding="utf-8")))))
        if is_in(name, (*forbidden, *REFERENCES)) and not is_in(name, allowed)
    }
    assert wrong == set()


def test_the_tokenizer_needs_the_standard_library_alone():
    """Besides torch and numpy for tensors and the Hub for names, where they are asked for."""
    optional = ("torch", "numpy", "huggingface_hub")
    standard = ("tokenizer", *sys.stdlib_module_names)
    for path in files("tokenizer"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name in imports(list(ast.walk(tree))):
            assert is_in(name, standard + optional), path
        for name in imports(tree.body):
            assert is_in(name, standard), path


@pytest.mark.parametrize("package", ["minibert", "tokenizer", "train"])
def test_no_function_is_longer_than_50_lines(package):
    """From the first line below its signature."""
    long = {
        (path.name, node.name)
        for path in files(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.body[0].lineno >= 50
    }
    assert long == set()


def test_versions_have_no_upper_pins_and_the_tested_set_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert all("<" not in dependency for dependency in project["dependencies"])
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert all("==" in pin for pin in pins) and "torch==2.13.0" in pins

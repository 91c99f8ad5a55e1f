"""The house: imports run one way, and the oracles stay outside."""

import ast
import tomllib

import pytest

from tests import ROOT


def imports(room: str) -> set[tuple[str, str]]:
    """(file, top-level package) of every import in a room, wherever in the file it stands."""
    found = set()
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {(path.name, alias.name.split(".")[0]) for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                found.add((path.name, node.module.split(".")[0]))
    return found


@pytest.mark.parametrize(
    ("room", "strangers"),
    [
        ("tokenizer", {"minibert", "train"}),
        ("minibert", {"tokenizer", "train"}),
        ("train", set()),
    ],
)
def test_imports_run_one_way_and_the_oracles_stay_in_the_tests(room, strangers):
    strangers = strangers | {"transformers", "tokenizers", "accelerate", "tests"}
    assert {(file, package) for file, package in imports(room) if package in strangers} == set()


def test_the_tokenizer_needs_the_standard_library_alone():
    """Besides torch and numpy for tensors and the Hub for names, where they are asked for."""
    import sys

    allowed = set(sys.stdlib_module_names) | {"tokenizer", "torch", "numpy", "huggingface_hub"}
    foreign = {(file, package) for file, package in imports("tokenizer") if package not in allowed}
    assert foreign == set()
    at_the_top = set()
    for path in (ROOT / "tokenizer").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                at_the_top |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                at_the_top.add(node.module.split(".")[0])
    assert at_the_top.isdisjoint({"torch", "numpy", "huggingface_hub"})


def test_versions_have_no_upper_pins_and_the_tested_set_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert all("<" not in dependency for dependency in project["dependencies"])
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert all("==" in pin for pin in pins) and "torch==2.13.0" in pins

"""Docstrings teach: the examples in them are run, module by module."""

import doctest
import importlib

import pytest

from tests import ROOT

ROOMS = ("minibert", "tokenizer", "train")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if path.name != "__main__.py"
)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is_and_its_examples_run(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_examples(room):
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / room).rglob("*.py")]
    assert sum(text.count(">>> ") for text in texts) >= 5

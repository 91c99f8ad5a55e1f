"""README.md is true: its tables are the scripts' output, its code runs, its flags exist."""

import re
import shlex

import pytest
import torch

from tests.readme import MARKED, README, with_tables
from train.options import parse

TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [
    line.partition("#")[0].strip()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
    if line.strip()
]


def test_the_tables_are_the_saved_output_of_the_scripts():
    assert len(MARKED.findall(TEXT)) >= 5
    assert with_tables(TEXT) == TEXT, "run: python -m tests.readme"


def test_the_python_blocks_run_and_give_what_their_comments_say():
    blocks = [block for language, block in BLOCKS if language == "python"]
    assert blocks
    for block in blocks:
        names: dict = {}
        for line in block.splitlines():
            code, _, comment = (part.strip() for part in line.partition("  # "))
            if comment and not code.startswith(("import", "from")) and " = " not in code:
                with torch.no_grad():
                    assert repr(eval(code, names)) == comment
            else:
                exec(code, names)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python -m train ")])
def test_the_commands_have_only_flags_that_exist(command):
    name, _ = parse(shlex.split(command)[3:])
    assert name == shlex.split(command)[3]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_the_make_targets_exist(command):
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE)


def test_every_file_that_the_page_names_exists():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", TEXT)
    assert links
    rooms = re.findall(r"`((?:tokenizer|minibert|train)/[\w/.]+\.py)`", TEXT)
    missing = [name for name in links + rooms if not (README.parent / name).exists()]
    assert missing == []

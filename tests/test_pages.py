"""The pages are true: figures come from somewhere, quoted lines and named places are there."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from tests import ROOT
from tests.benchmarks.common import RESULTS
from tests.readme import FIRST, MARKED, PAGES, README
from tests.test_why import anchors
from tests.unicode_tables import SCALAR_VALUES
from train.folders import LARGE
from train.options import FinetuneOptions, TrainingDataOptions
from train.training.loop import LOG_BLOCK

DEFAULT = {
    field.name: field.default
    for options in (TrainingDataOptions, FinetuneOptions)
    for field in dataclasses.fields(options)
}
RATE = f"{DEFAULT['lr']:.0e}".replace("e-0", "e-")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHON = PROJECT["requires-python"].removeprefix(">=")
# Figures that no script has saved: the words around each, and where it comes from.
STATED = (
    (f"Python {PYTHON} or newer", "requires-python"),
    (f"every Python from {PYTHON} on", "requires-python"),
    (f"each of the {len(SCALAR_VALUES):,} code points", "test_tokenizer_exact goes through them"),
    (f"{DEFAULT['epochs']} epochs, batch {DEFAULT['batch_size']}, learning rate {RATE}", "options"),
    (f"A checkpoint is written every {DEFAULT['save_minutes']:g} minutes", "options"),
    (f"of at most {LOG_BLOCK} steps", "train/training/loop.py"),
    (f"From {LARGE:,} texts on", "train/folders.py"),
    (f"of fewer than {LARGE:,} texts", "train/folders.py"),
    ("in 8 bits", "int8"),
    ("labelled -100", "minibert.inputs.IGNORED"),
    ("4 x 2 is 1 x 8", "test_batches"),
    ("every token has type 0", "BERT's first token type"),
    ("small gradients become 0", "a number"),
    ("Status: 0 done, 2 the user's mistake", "test_command_line"),
    ("128 and the signal's number", "test_stop"),
    ("instead of status 2", "test_command_line"),
    ("chapter 2 of", "the tutorial's source"),
    ("Saravia et al. 2018", "a citation"),
    ("Schuster and Nakajima 2012", "a citation"),
)
NO_FIGURES = (
    MARKED,  # compared with what is saved by another test
    re.compile(r"```.*?```", re.DOTALL),  # run, or compared with the source, by another test
    re.compile(r"`(?!-?[\d.,e-]+x?`)[^`\n]+`"),  # code, unless it is a figure alone
    re.compile(r"\]\([^)]*\)"),  # addresses
    re.compile(r"arXiv \d{4}\.\d{5}|doi \S+"),
)
# Not what is part of a name: fp16, bf16, float32, UTF-8, Apache-2.0, L6-v2.
FIGURE = re.compile(r"(?<![\w./-])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?x?(?![\w-])")
# Pages whose figures other tests look after.
OTHERS = ("CHECKPOINTS.md", "EXERCISES.md", "OPTIONS.md", "WHY.md")
QUOTED = re.compile(r"\]\(\.\./([\w/]+\.py)\)|```py\n(.*?)```", re.DOTALL)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


OURS = [page for page in PAGES if page.name not in OTHERS]


def figures(page: str) -> list[str]:
    """The figures in a page's sentences that STATED does not explain."""
    for pattern in NO_FIGURES:
        page = pattern.sub(" ", page)
    for words, _ in STATED:
        page = page.replace(words, " ")
    return [found.strip(",") for found in FIGURE.findall(page)]


@pytest.mark.parametrize("page", OURS, ids=lambda page: page.name)
def test_every_figure_in_a_sentence_comes_from_a_saved_result_or_is_explained(page):
    saved = {f for file in RESULTS.glob("*.md") for f in FIGURE.findall(text(file))}
    saved = {figure.strip(",") for figure in saved}
    # One or two digits stand in some result by chance: they must be explained.
    from_nowhere = [
        figure
        for figure in figures(text(page))
        if len(re.sub(r"\D", "", figure)) < 3 or figure not in saved
    ]
    assert from_nowhere == [], f"{page.name}: from no saved result, and not in STATED"


def test_what_explains_a_figure_is_still_on_a_page():
    pages = "\n".join(map(text, OURS))
    assert [words for words, _ in STATED if words not in pages] == []


def test_the_lines_that_the_answers_quote_are_in_the_files_that_they_name():
    """In order, one below the other, whatever their indentation."""
    file, gone, n_quotes = "", [], 0
    for name, quote in QUOTED.findall(text(ROOT / "docs" / "READING.md")):
        if name:
            file = name
            continue
        lines = [line.strip() for line in text(ROOT / file).splitlines()]
        quoted = [line.strip() for line in quote.splitlines() if line.strip()]
        if not any(lines[i : i + len(quoted)] == quoted for i in range(len(lines))):
            gone.append((file, quote))
        n_quotes += 1
    assert gone == [] and n_quotes >= 40


def test_every_question_has_an_answer_and_every_answer_a_quote():
    questions = text(ROOT / "docs" / "READING.md").split("\n**[")[1:]
    assert len(questions) >= 40
    titles = [question.partition("\n")[0] for question in questions]
    assert [title.partition("** ")[2] for title in titles[: len(FIRST)]] == [*FIRST.values()]
    for question in questions:
        title = question.partition("\n")[0]
        assert title.endswith("?"), title
        assert question.count("<details><summary>Answer</summary>") == 1, title
        assert question.count("</details>") == 1 and "```py\n" in question, title


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page):
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text(page))
    missing = [name for name, _ in links if not (page.parent / name).exists()]
    for name, anchor in links:
        target = page.parent / name if name else page
        if anchor and anchor not in anchors(text(target)):
            missing.append(f"{name}#{anchor}")
    named = re.findall(r"`((?:tokenizer|minibert|train|tests)/[\w/.]+\.py)`", text(page))
    missing += [name for name in named if not (ROOT / name).exists() and "NAME" not in name]
    assert missing == []


def test_every_place_that_a_page_names_in_a_file_is_there():
    """`NAME` in `FILE` is a name at the beginning of a line (a definition) or of a field there."""
    places = re.findall(r"`(\w+)` in\s`([\w/]+\.py)`", "\n".join(map(text, PAGES)))
    assert len(places) >= 8
    for name, file in places:
        definition = rf"^ *(?:def |class )?{name}\b *[(:=]"
        assert re.search(definition, text(ROOT / file), re.MULTILINE), f"no {name} in {file}"


def test_the_readme_leads_to_every_page():
    linked = set(re.findall(r"\]\((docs/\w+\.(?:md|ipynb))\)", text(README)))
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages - linked == set()

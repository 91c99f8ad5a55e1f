"""Put what scripts have saved, and the tree of files, into the pages: python -m tests.readme.

So no figure on a page is typed by hand, and a test can tell where it is out of date.
"""

import ast
import re
from pathlib import Path

from tests import ROOT
from tests.benchmarks.common import RESULTS
from tests.exercise.catalogue import AFTERNOONS, EXERCISES

README = ROOT / "README.md"
PAGES = (README, *(ROOT / "docs" / name for name in ("BENCHMARKS.md", "EXERCISES.md")))
MARKED = re.compile(r"(<!-- saved: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
ROOMS = ("tokenizer", "minibert", "train", "train/data", "train/training", "train/report")


def filled(text: str) -> str:
    """The page with every marked place filled from results/NAME.md, or with the tree."""

    def fill(match: re.Match[str]) -> str:
        made = {"headline": headline, "tree": tree, "exercises": exercises}.get(match[2])
        return match[1] + (made() if made else saved(match[2])) + match[3]

    return MARKED.sub(fill, text)


def saved(name: str) -> str:
    return (RESULTS / f"{name}.md").read_text(encoding="utf-8")


def cell(name: str, start: str, column: int = -1) -> str:
    """A cell of the first row of a saved table that starts so."""
    for line in saved(name).splitlines():
        if line.startswith(f"| {start}"):
            return line.strip("| ").split(" | ")[column]
    raise KeyError(f"no row {start!r} in {name}.md")


def headline() -> str:
    """The results in one sentence, from the tables further down."""
    rows = ("encoder", "masked LM", "classifier")
    exact = max((cell("parity", row, 1) for row in rows), key=float)
    return (
        f"Largest difference from `transformers` in float64: {exact}. Validation accuracy "
        f"{cell('emotion', 'probe, [CLS]', 2)} by the probe, "
        f"{cell('emotion', 'fine-tuning with MiniBERT', 2)} fine-tuned. On two CPU cores: "
        f"tokenizing at {cell('tokenizer', 'tweets of the emotion set | ids | ours, cold')} the "
        f"speed of `tokenizers`, features at {cell('inference', 'transformers: shuffled')} that of "
        f"`transformers`, training at {cell('training', '8 ')} (batch 8) and "
        f"{cell('training', '32 ')} (batch 32) that of its Trainer.\n"
    )


def tree() -> str:
    """Every file of the source with the first line of its docstring."""
    lines = []
    for room in ROOMS:
        files = sorted((ROOT / room).glob("*.py"))
        lines.append(f"{room + '/':<20}{first_line(ROOT / room / '__init__.py')}")
        lines += [f"  {p.name:<18}{first_line(p)}" for p in files if p.name != "__init__.py"]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def exercises() -> str:
    """The exercises by afternoon, from their catalogue."""
    lines = ["| afternoon | exercise | | what you learn | what you write |", "| --- " * 5 + "|"]
    for number, topic in AFTERNOONS.items():
        title = f"{number}: {topic}"
        for exercise in (e for e in EXERCISES if e.afternoon == number):
            level = "\\*" * exercise.level
            lines.append(
                f"| {title} | `{exercise.name}` | {level} | {exercise.teaches} | {exercise.task} |"
            )
            title = ""
    return "\n".join(lines) + "\n"


def first_line(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")

"""Put what scripts have saved, and the tree of files, into README.md: python -m tests.readme."""

import ast
import re
from pathlib import Path

from tests import ROOT
from tests.benchmarks.common import RESULTS

README = ROOT / "README.md"
MARKED = re.compile(r"(<!-- saved: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
ROOMS = ("tokenizer", "minibert", "train", "train/engine", "train/report")


def filled(text: str) -> str:
    """The page with every marked place filled from results/NAME.md, or with the tree."""

    def fill(match: re.Match[str]) -> str:
        saved = RESULTS / f"{match[2]}.md"
        content = tree() if match[2] == "tree" else saved.read_text(encoding="utf-8")
        return match[1] + content + match[3]

    return MARKED.sub(fill, text)


def tree() -> str:
    """Every file of the source with the first line of its docstring."""
    lines = []
    for room in ROOMS:
        files = sorted((ROOT / room).glob("*.py"))
        lines.append(f"{room + '/':<20}{first_line(ROOT / room / '__init__.py')}")
        lines += [f"  {p.name:<18}{first_line(p)}" for p in files if p.name != "__init__.py"]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def first_line(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")

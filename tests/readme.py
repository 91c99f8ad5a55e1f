"""Put the saved tables into README.md: python -m tests.readme."""

import re

from tests import ROOT
from tests.benchmarks.common import RESULTS

README = ROOT / "README.md"
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """The page with every marked place filled from results/NAME.md."""

    def fill(match: re.Match[str]) -> str:
        saved = (RESULTS / f"{match[2]}.md").read_text(encoding="utf-8")
        return match[1] + saved + match[3]

    return MARKED.sub(fill, text)


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")

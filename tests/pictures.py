"""The README's pictures of the pages, taken from real runs: python -m tests.pictures RUN PROBE.

RUN and PROBE are folders of a fine-tuning run and of a probe. Written to docs/, 150 kB at most.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests import ROOT
from tests.browser import CHROMIUM, QUIET
from train.__main__ import main

DOCS = ROOT / "docs"
LARGEST = 150_000  # bytes
TEXT = "i feel strangely homesick but hopeful"


def take(page_file: Path, picture: str, height: int, act: str = "") -> None:
    """A screenshot of the top of a page, after a line of JavaScript."""
    with sync_playwright() as browsers, tempfile.TemporaryDirectory() as profile:
        browser = browsers.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            args=QUIET,
            viewport={"width": 1100, "height": height},
        )
        page = browser.new_page()
        page.goto(page_file.resolve().as_uri())
        if act:
            page.evaluate(act)
        page.screenshot(path=DOCS / picture)
        browser.close()
    size = (DOCS / picture).stat().st_size
    print(f"docs/{picture}: {size:,} bytes")
    if size > LARGEST:
        raise ValueError(f"docs/{picture} is over {LARGEST:,} bytes")


def pictures(run: str, probe: str) -> None:
    """A run's page, a comparison, and the inside of one text."""
    with tempfile.TemporaryDirectory() as folder:
        compared, inside = Path(folder, "compared"), Path(folder, "inside.html")
        main(["compare", probe, run, "--output-dir", str(compared)])
        main(["trace", "--model", run, "--page", str(inside), TEXT])
        main(["report", run])
        take(Path(run, "report.html"), "run.png", 800)
        take(compared / "report.html", "compare.png", 560)
        attention = "document.querySelector('[data-step=attention]').scrollIntoView()"
        pin = "document.querySelector('[data-token=\"3\"]').click()"
        take(inside, "inside.png", 760, f"{pin}; {attention}")


if __name__ == "__main__":
    pictures(*sys.argv[1:])

"""Debian's chromium, driven by the tests that look at a page."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [  # nothing of the browser's own: no network, no sandbox where the tests run as root
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]


@pytest.fixture
def browse(tmp_path) -> Iterator:
    """browse(file, width, scheme) -> an open page whose `troubles` list fills with whatever it
    complains of or asks the network for."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with playwright.sync_playwright() as browsers:
        contexts = []

        def open_page(file: Path, width: int = 1280, scheme: str = "light"):
            context = browsers.chromium.launch_persistent_context(
                tmp_path / f"profile-{len(contexts)}",
                executable_path=CHROMIUM,
                args=QUIET,
                viewport={"width": width, "height": 800},
                color_scheme=scheme,
            )
            contexts.append(context)
            page = context.new_page()
            page.troubles = []
            page.on("console", lambda message: page.troubles.append(message.text))
            page.on("pageerror", lambda error: page.troubles.append(str(error)))
            page.on(
                "request",
                lambda request: (
                    request.url.startswith(("file:", "data:")) or page.troubles.append(request.url)
                ),
            )
            page.goto(file.resolve().as_uri())
            return page

        yield open_page
        for context in contexts:
            context.close()

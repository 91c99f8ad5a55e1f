"""Output that a terminal can be given, whatever texts, labels and file names hold."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

# Control characters (Unicode category Cc) and what is printed for them. A terminal obeys them: a
# text could erase lines above it, change colours, or set the window's title.
ESCAPES = {code: f"\\x{code:02x}" for code in [*range(32), *range(127, 160)]}


class Shown:
    """A text stream that prints control characters as escapes, but for those in `kept`."""

    def __init__(self, stream: Any, kept: str):
        self.stream = stream
        self.escapes = {code: text for code, text in ESCAPES.items() if chr(code) not in kept}

    def write(self, text: str) -> int:
        """Write the text and return its length."""
        self.stream.write(text.translate(self.escapes))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)  # flush, isatty, encoding, buffer, ...


@contextlib.contextmanager
def control_characters_shown() -> Iterator[None]:
    """Inside, print() and error messages go through `Shown`."""
    with (
        contextlib.redirect_stdout(Shown(sys.stdout, kept="\n\t")),
        # A progress bar goes back to the start of its line.
        contextlib.redirect_stderr(Shown(sys.stderr, kept="\n\t\r")),
    ):
        yield

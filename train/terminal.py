"""Output that a terminal can be given, whatever texts, labels and file names hold."""

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any


class Shown:
    """A text stream that prints control characters (Unicode's Cc) as escapes, but for `kept`.

    A terminal obeys them: a text could erase lines above it, or set the window's title."""

    def __init__(self, stream: Any, kept: str):
        self.stream = stream
        codes = [code for code in [*range(32), *range(127, 160)] if chr(code) not in kept]
        self.control = re.compile("[" + "".join(re.escape(chr(code)) for code in codes) + "]")

    def write(self, text: str) -> int:
        """Write the text and return its length."""
        self.stream.write(self.control.sub(lambda found: f"\\x{ord(found[0]):02x}", text))
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

"""Output streams: safe for a terminal whatever a text holds, and for a run whose reader goes."""

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
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


class Patient:
    """An output stream that outlives its reader: after `| head` has ended, or the terminal is
    closed, what is written is dropped instead of raising BrokenPipeError in the middle of a run."""

    def __init__(self, stream: Any):
        self.stream = stream

    def write(self, text: str) -> int:
        """Write, or drop."""
        self.try_to(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        self.try_to(self.stream.flush)

    def try_to(self, action: Callable[..., Any], *arguments: str) -> None:
        """From the first failure on, the stream's file descriptor leads to /dev/null."""
        try:
            action(*arguments)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):  # EIO: the terminal is gone
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)  # isatty, encoding, ...


def open_closed_streams() -> None:
    """A program may be started with standard output closed (`>&-`): Python has None there."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115

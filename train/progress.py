"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from types import TracebackType

from tqdm import tqdm

LINE_SECONDS = 20.0  # between two lines where there is no terminal


class Progress:
    """Counts towards `total`; shows rate and time left on standard error. Of a stream that ends
    somewhere (total None) it can tell the rate only."""

    def __init__(
        self, title: str, total: int | None, unit: str, done: int = 0, quiet: bool = False
    ):
        self.title, self.total, self.unit, self.done = title, total, unit, done
        self.first, self.start = done, time.monotonic()
        self.next_line = self.start + LINE_SECONDS
        self.note = ""
        self.quiet, self.bar = quiet, None
        if not quiet and sys.stderr.isatty():
            self.bar = tqdm(desc=title, total=total, initial=done, unit=f" {unit}", leave=False)

    def advance(self, count: int) -> None:
        """`count` more are done: move the bar, or print a line if one is due."""
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
        elif not self.quiet and time.monotonic() >= self.next_line:
            self.next_line += LINE_SECONDS
            print(self.line(), file=sys.stderr, flush=True)

    def show(self, note: str) -> None:
        """A remark beside the count, such as the loss."""
        self.note = note
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)

    def say(self, text: str) -> None:
        """Print a line without tearing the bar."""
        if self.bar is not None:
            self.bar.clear()
        print(text, flush=True)

    def line(self) -> str:
        """'finetune: 120/1000 steps, 3.1/s, 284 s left, loss 0.412'."""
        rate = (self.done - self.first) / (time.monotonic() - self.start)
        count = self.done if self.total is None else f"{self.done}/{self.total}"
        parts = [f"{self.title}: {count} {self.unit}", f"{rate:.3g}/s"]
        if self.total is not None:
            parts.append(f"{(self.total - self.done) / rate:.0f} s left" if rate else "starting")
        return ", ".join(parts + [self.note] * bool(self.note))

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

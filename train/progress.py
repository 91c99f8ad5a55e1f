"""Progress of long work: tqdm's bar on a terminal, a plain line every 20 seconds elsewhere."""

import shutil
import sys
from typing import Any

from tqdm.auto import tqdm  # in a notebook, a bar of the notebook

LINE_SECONDS = 20.0  # between two lines where there is no terminal


class Lines:
    """tqdm's `file` where standard error is a log: a line per state instead of a redrawn bar.

    tqdm begins each state with a carriage return and ends a bar by overwriting it with blanks; in a
    log file both would stay as rubbish."""

    def write(self, text: str) -> None:
        """Print what is left without the carriage returns and blanks, if anything is."""
        if text.strip():
            print(text.strip(), file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Nothing to do: `write` has flushed."""


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel; that IPython is imported alone says nothing."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def progress(title: str, total: int | None, unit: str, done: int = 0, quiet: bool = False) -> tqdm:
    """A tqdm progress bar; off a terminal, lines such as
    'train: 120/1000 steps, 3.1 steps/s, 04:43 left, loss 0.412'.

    total: None for a stream whose end is not known. done: how much an earlier, interrupted run had
    done, which the rate leaves out."""
    # Units per second, also below 1: tqdm would turn to seconds per unit. 80 by 24 where a terminal
    # does not tell its size: tqdm would take it for 0 and draw nothing.
    count = "{n_fmt}" if total is None else "{n_fmt}/{total_fmt}"
    left = "" if total is None else ", {remaining} left"
    text = f"{count}{{unit}}, {{rate_noinv_fmt}}{left}{{postfix}}"
    columns, lines = shutil.get_terminal_size()
    shape: dict[str, Any] = {
        "bar_format": "{desc}: " + ("" if total is None else "{percentage:3.0f}%|{bar}| ") + text,
        "ncols": columns,
        "nrows": lines,
    }
    if not sys.stderr.isatty() and not in_notebook():
        shape = {
            "bar_format": "{desc}: " + text,
            "file": Lines(),
            "mininterval": LINE_SECONDS,
            "maxinterval": LINE_SECONDS,
            "delay": LINE_SECONDS,  # short work prints nothing
        }
    return tqdm(
        desc=title,
        total=total,
        unit=f" {unit}",
        initial=done,
        disable=quiet,
        leave=False,
        miniters=1,
        **shape,
    )

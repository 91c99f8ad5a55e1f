"""Signals that ask a command to stop.

Ctrl-C sends SIGINT; Slurm, Kubernetes and `docker stop` send SIGTERM; a terminal that is closed
sends SIGHUP. A command ends with status 128 + the signal's number. Fine-tuning saves first.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# Windows has no SIGHUP.
SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


class Stopped(KeyboardInterrupt):
    """Raised where a signal ends the command: its number, what to tell the user, and whether the
    weights are as they were between two steps, so that they can be saved."""

    def __init__(self, number: int, message: str = "interrupted", may_save: bool = False):
        super().__init__(message)
        self.number, self.may_save = number, may_save


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call handler(number, frame) on every signal of SIGNALS until the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread alone
        return
    # `nohup` starts a program with SIGHUP ignored, so that it outlives the terminal: that stays.
    ours = [n for n in SIGNALS if n == signal.SIGINT or signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in ours}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def leave(number: int, frame: FrameType | None) -> None:
    """The handler while modules are imported: it ends the process, for nothing is to be saved yet.

    An exception here would be lost: libraries catch all that happens while they import a module
    that they can do without, and a numpy that is half imported cannot be imported again."""
    with suppress(OSError):
        os.write(2, b"\ninterrupted\n")
    os._exit(128 + number)


class StopAtOnce:
    """The handler of commands that have nothing to save: it raises Stopped.

    number: of the signal that came, 0 for none; to be asked at the end, for a library may have
    caught the exception."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        raise Stopped(number)


class StopRequest:
    """The handler of training: the first signal is noted, so that the step can be finished and
    saved; the second raises Stopped at once.

    is_alone: False under torchrun, which passes on each signal that the processes have had from the
    terminal already. There a second one is no sign of impatience.
    """

    def __init__(self, is_alone: bool, is_main: bool):
        self.is_alone, self.is_main = is_alone, is_main
        self.number = 0  # of the signal that came first; 0 for none
        self.may_raise = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        is_first, self.number = self.number == 0, self.number or number
        if self.is_main and is_first:
            what = "saving" if self.may_raise else "finishing this step, then saving"
            again = "; once more: stop at once" if self.is_alone else ""
            # Not print: the signal may have come in the middle of another print, and Python's
            # streams cannot be entered twice.
            with suppress(OSError):
                os.write(2, f"\n{signal.Signals(number).name}: {what}{again}\n".encode())
        if self.may_raise or (self.is_alone and not is_first):
            raise Stopped(number, may_save=self.may_raise)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise Stopped in the middle of this block: for long work that leaves the state of the
        training as it is, such as an evaluation. One of several processes must not do that, for
        the others would wait for its share of the texts forever."""
        self.may_raise = self.is_alone
        try:
            if self.may_raise and self.number:
                raise Stopped(self.number, may_save=True)
            yield
        finally:
            self.may_raise = False

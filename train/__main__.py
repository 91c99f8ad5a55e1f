"""python -m train COMMAND: parse the command line, run the command, turn errors into messages."""

import contextlib
import importlib
import io
import os
import sys

import torch

from train.device import current_processes, start_processes, stop_processes
from train.options import parse

# Errors that a user's input can cause: shown as a line, not as a traceback (python -X dev has the
# traceback). Any other exception is a fault of this program and keeps its traceback.
MISTAKES = (ValueError, OSError, ArithmeticError)


def main(arguments: list[str]) -> int:
    """Run one command; its exit status: 0 done, 2 the user's mistake, 130 Ctrl-C."""
    command, options = parse(arguments)
    try:
        start_processes()
        with contextlib.ExitStack() as stack:
            if not current_processes().is_main:  # only rank 0 prints
                silence = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                stack.enter_context(contextlib.redirect_stdout(silence))
            importlib.import_module(f"train.{command}").run(options)
    except KeyboardInterrupt:
        hint = "; continue with --resume" if command == "finetune" else ""
        print(f"\ninterrupted{hint}", file=sys.stderr)
        return 130
    except torch.OutOfMemoryError as error:
        batch = getattr(options, "batch_size", None)
        hint = f"--batch-size {batch} is too large; halve it and double --grad-accum"
        print(f"out of memory: {hint if batch else str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        # Python flushes stdout at exit, which would raise the same error once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MISTAKES as error:
        if sys.flags.dev_mode:
            raise
        print(f"python -m train {command}: {error}", file=sys.stderr)
        return 2
    finally:
        stop_processes()
    return 0


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # UTF-8 in any locale; a line is seen when it is printed, also in a pipe or a log.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.exit(main(sys.argv[1:]))

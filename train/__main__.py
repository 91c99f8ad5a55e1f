"""python -m train COMMAND: parse the command line, run the command, turn errors into messages."""

import contextlib
import errno
import importlib
import io
import os
import signal
import sys

from train.command_line import parse
from train.folders import LARGE, cache_folder
from train.options import PROGRAM, Options
from train.stop import StopAtOnce, Stopped, handling, leave
from train.terminal import Patient, control_characters_shown, open_closed_streams

# Errors that a user's input can cause: shown as a line, not as a traceback (python -X dev has the
# traceback). Any other exception is a fault of this program and keeps its traceback.
MISTAKES = (ValueError, OSError, ArithmeticError)


def main(arguments: list[str]) -> int:
    """Run one command; its exit status: 0 done, 2 the user's mistake, 128 + n stopped by signal n
    (130: Ctrl-C)."""
    stop = StopAtOnce()
    with (
        control_characters_shown(),
        contextlib.redirect_stderr(Patient(sys.stderr)),
        handling(stop),
    ):
        try:
            command, options = parse(arguments)
            # All that predict makes is its output; the others have something to finish.
            out = sys.stdout if command == "predict" else Patient(sys.stdout)
            with contextlib.redirect_stdout(out):
                if os.environ.get("RANK", "0") == "0":  # only rank 0 prints
                    stream = sys.stderr if command == "predict" else out  # predict prints answers
                    print(loading(options), file=stream, flush=True)
                try:
                    return run_command(command, options)
                finally:
                    if stop.number:  # also where a library has caught or renamed the exception
                        raise Stopped(stop.number)
        except KeyboardInterrupt as error:
            stopped = error if isinstance(error, Stopped) else Stopped(signal.SIGINT)
            if str(stopped):  # of many processes one has something to say
                print(f"\n{stopped}", file=sys.stderr)
            return 128 + stopped.number
        except BrokenPipeError:  # the reader of our output has gone, as in `predict ... | head`
            # Python flushes stdout at exit, which would raise the same error once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except MISTAKES as error:
            if sys.flags.dev_mode:
                raise
            print(f"{PROGRAM} {command}: {message(error)}", file=sys.stderr)
            return 2


def run_command(command: str, options: Options) -> int:
    """Run a command whose options are checked: 0, or 2 where the memory does not suffice."""
    with handling(leave):
        import torch  # not at the top: it takes seconds, in which `loading` can be read

        from train.device import current_processes, start_processes, stop_processes

        module = importlib.import_module(f"train.{command}")
    try:
        start_processes()
        with contextlib.ExitStack() as stack:
            if not current_processes().is_main:
                silence = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                stack.enter_context(contextlib.redirect_stdout(silence))
            module.run(options)
            # Together: one that leaves while others are still connected can bring them down.
            current_processes().wait()
    except BrokenPipeError:  # a ConnectionError too, but the network has no part in it
        raise
    except ConnectionError as error:
        hint = "; --demo needs no network" if hasattr(options, "demo") else ""
        raise ConnectionError(f"{error}{hint}") from error
    except torch.OutOfMemoryError as error:
        batch = getattr(options, "batch_size", None)
        hint = f"--batch-size {batch} is too large; halve it and double --grad-accum"
        print(f"out of memory: {hint if batch else str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    finally:
        stop_processes()
    return 0


def loading(options: Options) -> str:
    """'loading model demo, data train.csv ...': what a command waits for first."""
    values = options.as_dict()
    if "model" not in values:  # compare and report read what is there
        return "reading " + ", ".join(values.get("runs") or [values["run"]]) + " ..."
    files = [values.get(f"{name}_file") for name in ("train", "eval", "test")]
    data = ", ".join(file for file in files if file) or values.get("dataset")
    text = f"loading model {values.get('model')}" + (f", data {data}" if data else "")
    if any(os.path.isfile(file) and os.path.getsize(file) > 20 * LARGE for file in files if file):
        cache = cache_folder(values["no_cache"])  # for large data: a tweet has over 20 bytes
        text += f", cache {cache}" if cache else ""
    text += " ..."
    return text.replace("\r", "\\r")


def message(error: BaseException) -> str:
    """The error in a line; a carriage return in a file's name does not hide its beginning."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (error.strerror or "") + (f": {error.filename}" if error.filename else "")
    return str(error).replace("\r", "\\r")


def console() -> int:
    """The entry of the console script `minibert`."""
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # UTF-8 in any locale; a line is seen when it is printed, also in a pipe or a log.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(console())

"""Run an exercise's checks on the student's folder, and say in words what is still wrong.

The student's copies of the packages are imported in place of the project's: their folder comes
first in sys.path, and whatever was imported of these packages before is forgotten.
"""

import contextlib
import importlib
import linecache
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tests import ROOT
from tests.exercise.catalogue import EXERCISES, PACKAGES, Exercise
from tests.exercise.cutting import MESSAGE
from tests.exercise.words import Wrong

# What the student's folder holds, as modules.
MINE = {*PACKAGES, *(e.new_file.removesuffix(".py") for e in EXERCISES if e.new_file)}
SECONDS = 12.0  # of the processor, for one check; none needs three
IMPORTS = 40.0  # the same, to import the student's files; transformers may be imported as well
Check = Callable[[], None]


class TooLong(BaseException):
    """A check does not come to an end: an endless loop, most likely. Not an Exception, so that a
    student's `except Exception` does not catch it."""


def grade(
    exercise: Exercise, folder: Path, seconds: float = SECONDS, imports: float = IMPORTS
) -> tuple[bool, str]:
    """Whether all checks pass, and what to tell the student."""
    forget()
    linecache.checkcache()
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        with limited(imports):
            checks = load_checks(exercise)
        results = run(checks, folder, seconds)
    except (Exception, SystemExit, TooLong) as error:  # they cannot even be imported
        return False, in_words(error, folder)
    finally:
        sys.path.remove(str(folder))
    return all(words == "" for _, words in results), report(exercise, results)


def forget() -> None:
    """Take out of memory what was imported of the packages, and of the tests that import them."""
    core = f"{__package__}."
    for name in list(sys.modules):
        is_core = name.startswith(core) and not name.startswith(f"{core}checks")
        if name.partition(".")[0] in MINE or (name.startswith("tests.") and not is_core):
            del sys.modules[name]


def load_checks(exercise: Exercise) -> list[Check]:
    """The functions check_... of checks/NAME.py, in the order in which they stand there."""
    module = importlib.import_module(f"{__package__}.checks.{exercise.module}")
    if transformers := sys.modules.get("transformers"):
        # It imports a model where it is first named, for seconds: here, not in a check's time.
        _ = transformers.DistilBertForMaskedLM, transformers.BertModel
    return [
        value
        for name, value in vars(module).items()
        if name.startswith("check_") and value.__module__ == module.__name__
    ]


def sentence(check: Check) -> str:
    """The first line of a check's docstring: what it asks for."""
    return (check.__doc__ or check.__name__).partition("\n")[0].strip()


def run(checks: list[Check], folder: Path, seconds: float) -> list[tuple[str, str]]:
    """What each check asks for, and what is wrong: "" where it passes. None is run after one that
    does not come to an end."""
    results, is_late = [], False
    for check in checks:
        if is_late:
            results.append(
                (sentence(check), "not run, since the one above does not come to an end")
            )
            continue
        words = ""
        try:
            with limited(seconds):
                check()
        except Wrong as wrong:
            words = str(wrong)
        except (
            Exception,
            SystemExit,
        ) as error:  # exit() would end the grader, as if all were right
            words = in_words(error, folder)
        except TooLong as error:
            words, is_late = in_words(error, folder), True
        results.append((sentence(check), words))
    return results


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooLong in code that computes for longer, where the system can do that (Windows
    cannot). Seconds of the processor, so that a student may stop at a breakpoint for an hour."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, stop)
    # Again every tenth of a second: a student's bare `except:` catches the first ones.
    signal.setitimer(signal.ITIMER_PROF, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def in_words(error: BaseException, folder: Path) -> str:
    """What an error in the student's code means, and the line that it comes from."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{place(error.filename, error.lineno, folder)} is not Python: {error.msg}."
    steps = list(traceback.walk_tb(error.__traceback__))
    mine = [step for step in steps if Path(step[0].f_code.co_filename).is_relative_to(folder)]
    frame, line = (mine or steps)[-1]
    file, function = frame.f_code.co_filename, frame.f_code.co_qualname
    where, text = place(file, line, folder), linecache.getline(file, line).strip()
    told = f"{type(error).__name__}: {error}"
    if not mine:
        return f"The check cannot use what your code gives. {told}\n    {text}"
    if isinstance(error, NotImplementedError) and str(error) == MESSAGE:
        return f"{function} is not written yet ({where})."
    if isinstance(error, TooLong):
        return f"{function} does not come to an end; it was stopped at {where}:\n    {text}"
    return f"{function} raises an error in {where}:\n    {text}\n{told}"


def place(file: str, line: int | None, folder: Path) -> str:
    """FILE:LINE, as editors and terminals open it."""
    inside = [root for root in (ROOT, folder) if Path(file).is_relative_to(root)]
    name = Path(file).relative_to(inside[0]).as_posix() if inside else file
    return f"{name}:{line}"


def report(exercise: Exercise, results: list[tuple[str, str]]) -> str:
    """A line per check; under each that fails, what is wrong, unless that was said before."""
    lines, said = [], set()
    for asked, words in results:
        lines.append(f"{'wrong' if words else 'right'}  {asked}")
        if words and words in said:
            lines.append("         (for the same reason)")
        else:
            lines += [f"         {line}" for line in words.splitlines()]
        said.add(words)
    n_right = sum(words == "" for _, words in results)
    if n_right == len(results):
        lines.append(f"\nAll {n_right} checks are right: {exercise.name} is solved.")
        lines.append(f"Compare your code with {exercise.answer}.")
    else:
        lines.append(
            f"\n{n_right} of {len(results)} checks are right. Begin with the first wrong one."
        )
    return "\n".join(lines)

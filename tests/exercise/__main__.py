"""python -m tests.exercise: list the exercises, make one, grade it."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from tests.exercise.catalogue import AFTERNOONS, EXERCISES, Exercise, find
from tests.exercise.making import EXERCISES_FOLDER, PAGE, make, places, shown

USAGE = """\
  python -m tests.exercise                 the exercises
  python -m tests.exercise NAME            make exercises/NAME/, with a page that says what to do
  python -m tests.exercise NAME --check    grade what you have written there"""


def main(arguments: Sequence[str] | None = None) -> int:
    """0: done, or the exercise is right; 1: not right yet; 2: the call itself is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.exercise",
        usage=f"\n{USAGE}",
        description="Write a part of MiniBERT yourself; the references grade it.",
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of the list")
    parser.add_argument("--check", action="store_true", help="grade exercises/NAME/")
    given = parser.parse_args(arguments)
    try:
        if given.name is None:
            if given.check:
                raise ValueError("--check needs the NAME of an exercise")
            list_exercises()
            return 0
        exercise = find(given.name)
        return check(exercise) if given.check else begin(exercise)
    except BrokenPipeError:  # the reader has gone, as in `python -m tests.exercise | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyError, ValueError, OSError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"{message}\nThe list: python -m tests.exercise", file=sys.stderr)
        return 2


def list_exercises() -> None:
    """A line per exercise on standard output; what the columns mean, on standard error."""
    for exercise in EXERCISES:
        topic = f"{exercise.afternoon} {'*' * exercise.level:<3}"
        print(f"{exercise.name:<16}{topic} {exercise.teaches}", flush=True)
    afternoons = "; ".join(f"{number} {topic}" for number, topic in AFTERNOONS.items())
    print(
        f"\nNAME, afternoon, difficulty (* to ***), what it teaches. Afternoons:\n{afternoons}.\n\n"
        f"{USAGE}",
        file=sys.stderr,
    )


def begin(exercise: Exercise) -> int:
    """Make the folder, and say what comes next."""
    try:
        folder = make(exercise)
    except FileExistsError as error:
        print(
            f"{error}: nothing was changed.\nGrade it: python -m tests.exercise {exercise.name} "
            "--check. To begin anew, rename or delete that folder.",
            file=sys.stderr,
        )
        return 2
    print(f"{shown(folder)} is made. Read {shown(folder)}{PAGE} first.")
    print("To be written there:" if exercise.gaps or exercise.new_file else "To be added there:")
    for line in places(exercise, folder) or [exercise.changes]:
        print(f"  {line}")
    print(f"Then grade it:\n  python -m tests.exercise {exercise.name} --check")
    return 0


def check(exercise: Exercise) -> int:
    """Grade the student's folder."""
    folder = EXERCISES_FOLDER / exercise.name
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{shown(folder)} does not exist; make it: python -m tests.exercise {exercise.name}"
        )
    for name in ("tokenizers", "transformers"):
        if find_spec(name) is None:
            raise OSError(f"{name} is not installed; the references come with `make test`")
    # Nothing is fetched from the Hub; and a tiny model is fastest on one thread.
    for name, value in {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}.items():
        os.environ.setdefault(name, value)
    from tests.exercise.grading import grade

    is_right, words = grade(exercise, folder)
    print(words)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())

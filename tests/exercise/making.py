"""Make the folder of an exercise: a copy of the packages with the gaps, and its page."""

import os
import shutil
from pathlib import Path

from tests import ROOT
from tests.exercise.catalogue import PACKAGES, Exercise
from tests.exercise.cutting import cut, find

HERE = Path(__file__).parent
EXERCISES_FOLDER = ROOT / "exercises"
PAGE = "EXERCISE.md"


def make(exercise: Exercise) -> Path:
    """exercises/NAME, whole or not at all. Raises FileExistsError where something is there."""
    folder = EXERCISES_FOLDER / exercise.name
    if folder.exists() or folder.is_symlink():
        raise FileExistsError(f"{shown(folder)} is there already, with your work")
    beside = folder.with_name(f".{exercise.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)  # left over from a run that was stopped
    try:
        write(exercise, beside)
        os.rename(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def write(exercise: Exercise, folder: Path) -> None:
    """Copy the packages into the folder, cut the gaps, add the page."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    for file, names in exercise.gaps.items():
        path = folder / file
        path.write_text(cut(path.read_text(encoding="utf-8"), names), encoding="utf-8")
    if exercise.new_file:
        solution = (HERE / "solutions" / exercise.new_file).read_text(encoding="utf-8")
        (folder / exercise.new_file).write_text(
            cut(solution, functions(solution)), encoding="utf-8"
        )
    (folder / PAGE).write_text(page(exercise, places(exercise, folder)), encoding="utf-8")


def functions(source: str) -> list[str]:
    """The names of the functions that a file defines at its top."""
    return [line[4:].partition("(")[0] for line in source.splitlines() if line.startswith("def ")]


def places(exercise: Exercise, folder: Path) -> list[str]:
    """FILE:LINE and name of every gap, as the folder has them."""
    gaps = dict(exercise.gaps)
    if exercise.new_file:
        source = (folder / exercise.new_file).read_text(encoding="utf-8")
        gaps[exercise.new_file] = functions(source)
    found = []
    for file, names in gaps.items():
        source = (folder / file).read_text(encoding="utf-8")
        found += [f"{file}:{find(source, name)[0].lineno}  {name}" for name in names]
    return found


def page(exercise: Exercise, gaps: list[str]) -> str:
    """The student's page: what to write, what to read first, hints that unfold, the command."""
    source = (HERE / "pages" / f"{exercise.name}.md").read_text(encoding="utf-8")
    text, _, hints = source.partition("\n## Hints\n")
    if gaps:
        listing = "\n".join(gaps)
        text += (
            f"\n## Where\n\nIn this folder (a copy of the project):\n\n```text\n{listing}\n```\n"
        )
    text += "\n## Hints\n"
    for number, hint in enumerate(hints.split("\n---\n"), start=1):
        text += f"\n<details>\n<summary>Hint {number}</summary>\n\n{hint.strip()}\n\n</details>\n"
    return (
        f"{text}\n## Grade it\n\nFrom the project's folder, as often as you like:\n\n"
        f"```sh\npython -m tests.exercise {exercise.name} --check\n```\n\n"
        "It says what is right and what is still wrong; a `print` or a `breakpoint()` in your code "
        f"works there, too. When all is right, compare with {exercise.answer}.\n"
    )


def shown(folder: Path) -> str:
    return f"{folder.relative_to(ROOT).as_posix()}/"

"""The exercises: made from the living source, solved by it, and wrong answers told in words."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests import ROOT
from tests.exercise import making
from tests.exercise.__main__ import main
from tests.exercise.catalogue import AFTERNOONS, BY_NAME, EXERCISES, PACKAGES, Exercise
from tests.exercise.cutting import MESSAGE, cut, find
from tests.exercise.grading import grade
from tests.exercise.planted import MODEL, PIECES, WRONG

every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
every_wrong_answer = pytest.mark.parametrize(
    ("exercise", "wrong"),
    [(BY_NAME[name], wrong) for name, answers in WRONG.items() for wrong in answers],
    ids=lambda value: value.name if isinstance(value, Exercise) else value[3][:30],
)
Grade = Callable[..., tuple[bool, str]]


@pytest.fixture(scope="module")
def graded() -> Iterator[Grade]:
    """graded(exercise, folder): as --check does it, in one process that imports torch once."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield lambda *arguments: pool.submit(grade, *arguments).result(timeout=300)


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Exercise], Path]:
    """solved(exercise): a folder with the real code in its gaps, made once for each exercise."""
    folders: dict[str, Path] = {}

    def make(exercise: Exercise) -> Path:
        if exercise.name not in folders:
            folders[exercise.name] = tmp_path_factory.mktemp("solved") / exercise.name
            making.write(exercise, folders[exercise.name])
            solve(exercise, folders[exercise.name])
        return folders[exercise.name]

    return make


def solve(exercise: Exercise, folder: Path) -> None:
    for file in exercise.gaps:
        write(folder / file, (ROOT / file).read_text(encoding="utf-8"))
    if exercise.new_file:
        solution = making.HERE / "solutions" / exercise.new_file
        write(folder / exercise.new_file, solution.read_text(encoding="utf-8"))
    if exercise.changes:
        for file, old, new in import_module(f"tests.exercise.solutions.{exercise.module}").EDITS:
            replace(folder / file, old, new)


written = 0


def write(path: Path, text: str) -> None:
    """With a time of its own: Python takes a file of the same second and size for unchanged."""
    global written
    path.write_text(text, encoding="utf-8")
    written += 1
    os.utime(path, (10**9 + written, 10**9 + written))


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path.name}"
    write(path, text.replace(old, new))


# Grading


@pytest.mark.slow
@every_exercise
def test_an_exercise_just_made_is_not_right_and_says_what_is_missing(exercise, graded, tmp_path):
    making.write(exercise, tmp_path / exercise.name)
    is_right, words = graded(exercise, tmp_path / exercise.name)
    assert not is_right and "Traceback" not in words
    if exercise.changes:
        assert "refused" in words or "fails" in words
    else:
        assert "is not written yet (" in words
        assert "error" not in words.lower()


@pytest.mark.slow
@every_exercise
def test_the_real_code_solves_an_exercise(exercise, graded, solved):
    is_right, words = graded(exercise, solved(exercise))
    assert is_right, words
    assert "wrong" not in words and "is solved" in words


@pytest.mark.slow
@every_wrong_answer
def test_a_wrong_answer_fails_and_the_words_name_the_fault(exercise, wrong, graded, solved):
    folder = solved(exercise)
    file, old, new, fault = wrong
    right = (folder / file).read_text(encoding="utf-8")
    replace(folder / file, old, new)
    try:
        is_right, words = graded(exercise, folder)
    finally:
        write(folder / file, right)
    assert not is_right
    assert fault in words, words
    assert "Traceback" not in words and len(words.splitlines()) < 60, words


def test_every_exercise_has_three_wrong_answers():
    assert WRONG.keys() == BY_NAME.keys()
    assert min(map(len, WRONG.values())) >= 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return 1 +", "is not Python: invalid syntax"),
        ("return word.unknown", "wordpiece raises an error in"),
        ("while True: pass", "wordpiece does not come to an end; it was stopped at"),
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("exit()", "SystemExit"),
        (
            "while True:\n        try:\n            [][0]\n        except:\n            pass",
            "wordpiece does not come to an end",
        ),
        ("pass", "should be ['un', '##aff', '##able'], and yours is None"),
    ],
)
def test_code_that_does_not_run_is_told_with_its_line(body, told, graded, tmp_path, monkeypatch):
    exercise = BY_NAME["wordpiece"]
    making.write(exercise, tmp_path)
    replace(tmp_path / PIECES, f'raise NotImplementedError("{MESSAGE}")', body)
    is_right, words = graded(exercise, tmp_path, 1.0)
    assert not is_right and told in words
    assert "Traceback" not in words


def test_a_file_that_cannot_be_imported_to_its_end_is_told(graded, tmp_path):
    exercise = BY_NAME["wordpiece"]
    making.write(exercise, tmp_path)
    path = tmp_path / PIECES
    write(path, path.read_text(encoding="utf-8") + "\n\nwhile True:\n    pass\n")
    is_right, words = graded(exercise, tmp_path, 1.0, 3.0)
    assert not is_right and "does not come to an end; it was stopped at" in words


# Making


@every_exercise
def test_making_cuts_the_gaps_and_changes_nothing_else(exercise, tmp_path):
    folder = tmp_path / exercise.name
    making.write(exercise, folder)
    made = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    living = {
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    new = {Path(making.PAGE)} | ({Path(exercise.new_file)} if exercise.new_file else set())
    assert made == living | new
    for path in living:
        if path.as_posix() not in exercise.gaps:
            assert (folder / path).read_bytes() == (ROOT / path).read_bytes(), path
    for file, names in exercise.gaps.items():
        source = (folder / file).read_text(encoding="utf-8")
        original = (ROOT / file).read_text(encoding="utf-8")
        check_cut(source, original, names)


def check_cut(source: str, original: str, names: list[str]) -> None:
    """Signatures and docstrings stay, bodies are the one statement, the rest is as it was."""
    mine, real = ast.parse(source), ast.parse(original)
    gaps = [gap for name in names for gap in find(source, name)]
    bodies = [body for name in names for body in find(original, name)]
    assert len(gaps) == len(bodies) > 0
    for gap, body in zip(gaps, bodies):
        assert ast.get_docstring(gap) == ast.get_docstring(body)
        assert ast.unparse(gap.args) == ast.unparse(body.args)
        (last,) = gap.body[bool(ast.get_docstring(gap)) :]
        assert ast.unparse(last) == f"raise NotImplementedError('{MESSAGE}')"
    spots = {(gap.name, gap.col_offset) for gap in gaps}
    for tree in (mine, real):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and (node.name, node.col_offset) in spots:
                node.body = [ast.Pass()]
    assert ast.dump(mine) == ast.dump(real)


@every_exercise
def test_the_page_says_what_to_write_with_three_hints_and_the_command(exercise, tmp_path):
    making.write(exercise, tmp_path / "made")
    page = (tmp_path / "made" / making.PAGE).read_text(encoding="utf-8")
    for part in (
        "## Write\n",
        "## Read first\n",
        f"python -m tests.exercise {exercise.name} --check",
    ):
        assert part in page
    assert page.count("<details>") == page.count("</details>") == page.count("<summary>") == 3
    for names in exercise.gaps.values():
        for name in names:
            assert f"`{name}`" in page or f"`{name.rpartition('.')[2]}`" in page, name
    for file in set(ast_paths(page)):
        assert (ROOT / file).exists() or (tmp_path / "made" / file).exists(), file


def ast_paths(page: str) -> list[str]:
    """Every path of the packages that a page names in backticks."""
    parts = [part.strip() for part in page.split("`")[1::2]]
    return [part for part in parts if part.startswith(tuple(f"{p}/" for p in PACKAGES))]


def test_what_is_not_in_the_source_cannot_be_cut():
    with pytest.raises(KeyError, match="no missing in this source"):
        cut("def there(): pass\n", ["missing"])


@pytest.fixture
def made_here(tmp_path, monkeypatch) -> Path:
    """The folder in which the command makes exercises, for this test."""
    monkeypatch.setattr(making, "ROOT", tmp_path)
    monkeypatch.setattr("tests.exercise.__main__.EXERCISES_FOLDER", tmp_path / "exercises")
    monkeypatch.setattr(making, "EXERCISES_FOLDER", tmp_path / "exercises")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    return tmp_path / "exercises"


def test_the_list_has_a_line_for_each_exercise_that_begins_with_its_name(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [exercise.name for exercise in EXERCISES]
    assert len(EXERCISES) >= 14
    assert sum(bool(exercise.gaps) for exercise in EXERCISES) >= 11
    afternoons = [exercise.afternoon for exercise in EXERCISES]
    assert afternoons == sorted(afternoons) and set(afternoons) == set(AFTERNOONS)


def test_an_exercise_is_made_and_never_written_over(made_here, capsys):
    assert main(["attention"]) == 0
    out = capsys.readouterr().out
    assert "exercises/attention/EXERCISE.md" in out and "explicit_attention" in out
    assert [path.name for path in made_here.iterdir()] == ["attention"]
    work = made_here / "attention" / MODEL
    work.write_text("my work", encoding="utf-8")
    assert main(["attention"]) == 2
    assert "is there already, with your work: nothing was changed" in capsys.readouterr().err
    assert work.read_text(encoding="utf-8") == "my work"


def test_making_stopped_half_way_leaves_nothing(made_here, monkeypatch):
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(making, "page", full)
    assert main(["block"]) == 2
    assert list(made_here.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["atention"], "did you mean attention"),
        (["word_piece"], "did you mean wordpiece"),
        (["zzz"], "there is no exercise 'zzz'"),
        (["../train"], "there is no exercise '../train'"),
        (["--check"], "--check needs the NAME"),
        (
            ["adamw", "--check"],
            "exercises/adamw/ does not exist; make it: python -m tests.exercise",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_wrong_call_says_what_would_be_right(arguments, told, made_here, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert told in captured.err and captured.out == ""
    assert not made_here.exists()


def test_grading_without_the_references_names_what_is_missing(made_here, monkeypatch, capsys):
    (made_here / "block").mkdir(parents=True)
    monkeypatch.setattr("tests.exercise.__main__.find_spec", lambda name: None)
    assert main(["block", "--check"]) == 2
    assert "tokenizers is not installed" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_mistake():
    """As in `python -m tests.exercise | head -1`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.exercise"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Broken pipe" not in err


@pytest.mark.slow
def test_the_commands_from_list_to_solution(tmp_path):
    """In a copy of the project, as a student types them; git sees nothing of it."""
    for package in (*PACKAGES, "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)

    def run(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "tests.exercise", *words]
        environment = os.environ | {"PYTHONPATH": ""}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout + done.stderr

    assert run()[0] == 0
    assert run("wordpiece")[0] == 0
    status, words = run("wordpiece", "--check")
    assert status == 1 and "wordpiece is not written yet (exercises/wordpiece/tokenizer" in words
    shutil.copy(ROOT / PIECES, tmp_path / "exercises" / "wordpiece" / PIECES)
    status, words = run("wordpiece", "--check")
    assert status == 0 and "All 5 checks are right" in words
    changed = ["git", "status", "--porcelain", "-uall"]
    seen = subprocess.run(changed, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert [line for line in seen.splitlines() if not line.startswith("A ")] == []

"""README.md and docs/USING.md are true: what they say to type is run, and does what they say."""

import re
import shlex
import shutil
import subprocess
import sys

import pytest
import torch

from minibert import DistilBertForSequenceClassification
from tests import ROOT
from tests.exercise.catalogue import EXERCISES
from tests.readme import MARKED, PAGES, README, filled, saved
from tokenizer import WordPieceTokenizer
from train.__main__ import main
from train.data import EMOTION_LABELS

TEXT = "".join(page.read_text(encoding="utf-8") for page in (README, ROOT / "docs" / "USING.md"))
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [
    line.partition("  #")[0].strip()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
    if line.strip()
]
STORY = [shlex.split(line)[3:] for line in COMMANDS if line.startswith("python -m train ")]


def test_what_scripts_have_saved_is_what_the_pages_show():
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    assert sum(len(MARKED.findall(page)) for page in pages) >= 10
    assert [filled(page) for page in pages] == pages, "run: python -m tests.readme"


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 220


def test_the_python_blocks_run_and_give_what_their_comments_say(tmp_path, monkeypatch, tiny_model):
    """Training alone is done with a smaller model than the demo's."""
    monkeypatch.chdir(tmp_path)
    blocks = [block for language, block in BLOCKS if language == "python"]
    assert len(blocks) >= 2
    for block in blocks:
        names: dict = {}
        for line in block.replace('model="demo"', f"model={str(tiny_model)!r}").splitlines():
            code, _, comment = (part.strip() for part in line.partition("  # "))
            is_result = comment and not code.startswith(("import", "from")) and " = " not in code
            with torch.set_grad_enabled(".fit(" in code):
                if is_result and not code.endswith('.save("runs/model")'):
                    assert repr(eval(code, names)) == comment
                else:
                    exec(code, names)
    assert main(["predict", "--model", "runs/model", "what a day"]) == 0  # as a comment says


def test_every_command_is_known_to_this_test():
    others = [line for line in COMMANDS if not line.startswith(("make ", "python -m train "))]
    assert len(STORY) >= 10
    exercises = {f"python -m tests.exercise {e.name}" for e in EXERCISES}
    assert others and {line.removesuffix(" --check") for line in others} <= exercises


@pytest.mark.slow
def test_the_commands_of_make_demo_run(tmp_path, monkeypatch, few_sentences):
    """Those of the Makefile, on few sentences; the script that saves what they print runs all."""
    recipe = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True)
    assert recipe.returncode == 0
    commands = [shlex.split(line) for line in recipe.stdout.splitlines() if " -m train " in line]
    assert [words[3] for words in commands] == ["finetune", "predict"]
    monkeypatch.chdir(tmp_path)
    for words in commands:
        few = ["--dataset", str(few_sentences), "--epochs", "1"] if words[3] == "finetune" else []
        assert main(words[3:] + few) == 0


@pytest.mark.slow
def test_the_commands_of_the_story_run_on_few_sentences(
    tmp_path, monkeypatch, few_sentences, tiny_model
):
    """As they are typed, but for the model and the data, which would come from the Hub."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(few_sentences / "train.csv", "train.csv")  # the reader's own files
    shutil.copy(few_sentences / "test.csv", "new.csv")
    for command in STORY:
        command = [str(tiny_model) if word == "demo" else word for word in command]
        if command[0] not in ("predict", "compare"):
            given = [] if "--model" in command else ["--model", str(tiny_model)]
            has_data = any(word.endswith("-file") for word in command)
            command += given + ([] if has_data else ["--dataset", str(few_sentences)])
        assert main(command) == 0, command


@pytest.mark.hub
@pytest.mark.gpu
def test_the_commands_of_the_story_run_as_they_are_typed(tmp_path, monkeypatch, few_sentences):
    monkeypatch.chdir(tmp_path)
    shutil.copy(few_sentences / "train.csv", "train.csv")  # the reader's own files
    shutil.copy(few_sentences / "test.csv", "new.csv")
    for command in STORY:
        assert main(command) == 0


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z-]+)", TEXT))))
def test_the_make_targets_exist(target):
    assert subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True).returncode == 0


def test_the_walk_shows_what_the_commands_print_today(tmp_path, capsys):
    tokenizer, trace, predict = re.findall(
        r"```text\n\$ python -m (.*?)\n(.*?)\n```", saved("walk"), re.DOTALL
    )
    run = [sys.executable, "-m", *shlex.split(tokenizer[0])]
    printed = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == tokenizer[1]
    # The others need the model that `make demo` trains. Untrained, it has the same pieces,
    # parameters and shapes, though not the same answer.
    names = dict(enumerate(EMOTION_LABELS))
    DistilBertForSequenceClassification.from_pretrained(
        "demo", num_labels=6, id2label=names, label2id={name: i for i, name in names.items()}
    ).save_pretrained(tmp_path)
    WordPieceTokenizer.from_pretrained("demo").save_pretrained(tmp_path)
    for shown, n_sections in ((trace, 3), (predict, 0)):
        words = shlex.split(shown[0])
        words[words.index("--model") + 1] = str(tmp_path)
        capsys.readouterr()
        assert main(words[1:]) == 0
        today, saved_then = (
            re.sub(r"\Aloading model .*\n+", "", text.strip()).split("\n\n")
            for text in (capsys.readouterr().out, shown[1])
        )
        assert today[:n_sections] == saved_then[:n_sections]
    assert all(name in predict[1] for name in EMOTION_LABELS)

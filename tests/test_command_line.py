"""The command line: mistakes cost one line, never a traceback."""

import dataclasses
import os
import re
import subprocess
import sys

import pytest

from tests import ROOT
from train.__main__ import main
from train.command_line import parse
from train.options import COMMANDS, PACKAGED, FinetuneOptions

USAGE = {
    "batch size 0": (["finetune", "--batch-size", "0"], "--batch-size: 0 is below 1"),
    "negative epochs": (["finetune", "--epochs", "-1"], "--epochs: -1 is below 1"),
    "epochs in words": (["finetune", "--epochs", "two"], "--epochs: invalid int value: 'two'"),
    "endless lr": (["finetune", "--lr", "inf"], "--lr: inf is not a finite number"),
    "negative lr": (["finetune", "--lr", "-0.5"], "--lr: -0.5 is below 0"),
    "no model to predict with": (["predict", "fine"], "--model is missing: name the folder of"),
    "no model to evaluate": (["evaluate", "--test-file", "x"], "--model is missing"),
    "a seed beyond numpy's": (["probe", "--seed", "4294967296"], "--seed: 4294967296 is above"),
    "max length 2": (["predict", "--max-length", "2"], "--max-length: 2 is below 3"),
    "abbreviation": (["finetune", "--batch", "8"], "unrecognized arguments: --batch"),
    "misspelling": (["finetune", "--lerning-rate", "1"], "unrecognized arguments"),
    "no such precision": (["finetune", "--precision", "fp8"], "invalid choice: 'fp8'"),
    "explore's device": (["explore", "--device", "cpu"], "unrecognized arguments: --device"),
    "explore's precision": (["explore", "--precision", "fp32"], "arguments: --precision"),
    "explore's seed": (["explore", "--seed", "7"], "unrecognized arguments: --seed"),
    "evaluate's seed": (["evaluate", "--seed", "7"], "unrecognized arguments: --seed"),
    "no such command": (["tune"], "invalid choice: 'tune'"),
    "no command": ([], "command"),
}


@pytest.mark.parametrize(("arguments", "message"), USAGE.values(), ids=USAGE)
def test_wrong_usage_is_one_line_that_names_the_flag(capsys, arguments, message):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    error = capsys.readouterr().err
    assert left.value.code == 2
    assert message in error and len(error.splitlines()) == 1


MISTAKES = {
    "no GPU": (["finetune", "--demo", "--device", "cuda"], "--device cuda"),
    "no such model": (["finetune", "--demo", "--model", "./gone"], "./gone"),
    "no training split": (["finetune", "--demo", "--test-file", "{test}"], "--train-file"),
    "no such folder": (["probe", "--model", "demo", "--dataset", "./gone"], "./gone"),
    "untrained model": (["predict", "--model", "demo", "hello"], "no trained classifier"),
    "no network": (["finetune", "--model", "demo"], "--demo"),
    "bad repository": (["predict", "--model", "../../etc/passwd", "hello"], "passwd"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_a_short_message_and_status_2(
    capsys, tmp_path, monkeypatch, few_sentences, arguments, message
):
    monkeypatch.chdir(tmp_path)
    status = main([word.format(test=few_sentences / "test.csv") for word in arguments])
    error = capsys.readouterr().err
    assert status == 2
    assert message in error and "Traceback" not in error and len(error.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("--lerning-rate", "--lr"),
        ("--learning-rate", "--lr"),
        ("--num-train-epochs", "--epochs"),
        ("--epoch", "--epochs"),
        ("--output", "--output-dir"),
    ],
)
def test_a_misspelt_flag_is_answered_with_the_one_that_was_meant(capsys, word, meant):
    with pytest.raises(SystemExit):
        parse(["finetune", word, "1"])
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_a_misspelt_command_is_answered_with_the_one_that_was_meant(capsys):
    with pytest.raises(SystemExit):
        parse(["fintune", "--demo"])
    error = capsys.readouterr().err
    assert "did you mean finetune?" in error and len(error.splitlines()) == 1


def test_help_shows_options_in_groups_with_defaults_and_an_example(capsys):
    for command, groups in {
        "finetune": ["data", "model", "training", "run"],
        "evaluate": ["data", "model", "evaluation", "run"],
        "explore": ["data", "model", "run"],
        "predict": ["model", "prediction"],
    }.items():
        with pytest.raises(SystemExit) as left:
            parse([command, "--help"])
        text = capsys.readouterr().out
        assert left.value.code == 0
        assert re.findall(r"^(\w+):$", text, re.MULTILINE)[1:] == groups
        assert f"example: python -m train {command} " in text
        for field in dataclasses.fields(COMMANDS[command]):
            assert field.name in text or "--" + field.name.replace("_", "-") in text
        if command == "finetune":
            assert "(default: 2e-05)" in " ".join(text.split())


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as left:
        parse(["--version"])
    assert left.value.code == 0
    assert re.fullmatch(r"minibert \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_help_takes_under_half_a_cpu_second_and_imports_no_torch():
    code = "import sys, time; from train.__main__ import main\n"
    code += "try: main(['finetune', '--help'])\nfinally: print(time.process_time(), 'torch' in "
    code += "sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    seconds, *heavy = done.stdout.splitlines()[-1].split()
    assert float(seconds) < 0.5 and heavy == ["False", "False"]


def test_what_is_loaded_is_named_before_torch_is_imported(tiny_model, few_sentences, tmp_path):
    """The first line of output, from a process in which torch cannot be imported."""
    code = "import sys; sys.modules['torch'] = None; from train.__main__ import main; "
    code += "main(sys.argv[1:])"
    words = ["explore", "--model", str(tiny_model), "--dataset", str(few_sentences)]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == f"loading model {tiny_model}, data {few_sentences} ...\n"


def test_control_characters_in_an_error_are_shown_and_not_obeyed(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "--model", "./a\x1b[2Jb\rc", "x"]) == 2
    error = capsys.readouterr().err
    assert r"a\x1b[2Jb\rc" in error and "\x1b" not in error and "\r" not in error


def test_ctrl_c_ends_with_130_and_one_line(capsys, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("train.predict.run", interrupted)
    assert main(["predict", "--model", "demo", "x"]) == 130
    error = capsys.readouterr().err
    assert "interrupted" in error and "Traceback" not in error


def test_the_defaults_are_the_tutorials():
    _, options = parse(["finetune"])
    assert options == FinetuneOptions(
        model="distilbert-base-uncased",
        dataset="dair-ai/emotion",
        epochs=2,
        lr=2e-5,
        batch_size=8,
        weight_decay=0.01,
    )


def test_demo_sets_its_own_defaults_and_explicit_flags_win():
    _, options = parse(["finetune", "--demo", "--lr", "1e-4", "--dataset", "./mine"])
    assert (options.model, options.epochs) == ("demo", PACKAGED["epochs"])
    assert (options.lr, options.dataset) == (1e-4, "./mine")
    assert parse(["probe", "--demo"])[1].model == "demo"


@pytest.mark.slow
def test_a_foreign_locale_and_a_pipe_change_nothing(tiny_model, tmp_path):
    """ASCII locale, labels in another script, no terminal: UTF-8 files, no drawn bars."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [("καλημέρα κόσμε", "χαρά"), ("κακός καιρός", "λύπη")] * 6
    for split in ("train", "val"):
        lines = ["text,label", *(f"{text},{label}" for text, label in rows)]
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "train", "finetune", "--model", str(tiny_model)]
    command += ["--dataset", str(folder), "--output-dir", str(tmp_path / "run")]
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, env=environment, timeout=300)
    assert finished.returncode == 0, finished.stderr.decode(errors="replace")
    assert b"\x1b" not in finished.stdout + finished.stderr
    assert (finished.stdout + finished.stderr).count(b"\r") < 20
    assert "χαρά" in (tmp_path / "run" / "final" / "config.json").read_text(encoding="utf-8")
    command = [sys.executable, "-m", "train", "predict", "καλημέρα"]
    command += ["--model", str(tmp_path / "run" / "final")]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, env=environment, timeout=300)
    label, _, text = finished.stdout.decode("utf-8").split()
    assert label in ("χαρά", "λύπη") and text == "καλημέρα", finished.stderr
    assert "κακός" in (tmp_path / "run" / "predictions.csv").read_text(encoding="utf-8")

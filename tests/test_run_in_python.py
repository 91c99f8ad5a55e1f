"""train.run: every command from Python, with the command line's own checks, and results."""

import shlex
import threading
import tomllib
from importlib import import_module
from typing import Any

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

import train
from tests import ROOT
from train.options import COMMANDS, FinetuneOptions, PredictOptions


@pytest.fixture
def usual(usual_flags, monkeypatch):
    """The usual flags of a command as keywords; no report is drawn."""
    monkeypatch.setattr("train.report.write_report", lambda folder: None)

    def options(name: str) -> dict:
        words = usual_flags(name)
        return {
            flag.removeprefix("--"): float(value) if flag == "--lr" else value
            for flag, value in zip(words[::2], words[1::2])
        }

    return options


def test_fine_tuning_gives_back_folder_metrics_predictions_and_a_model_to_use(usual, tmp_path):
    result = train.run("finetune", **usual("finetune"), epochs=1, output_dir=tmp_path / "run")
    assert result.folder == tmp_path / "run" and (result.folder / "final").is_dir()
    assert 0 <= result.metrics["test_accuracy"] <= 1 and "test_baseline" in result.metrics
    assert len(result.predictions) == 48 and set(result.predictions["split"]) == {
        *("validation", "test")
    }
    assert not result.model.training and not result.model.distilbert.training
    assert result.tokenizer.tokenize("hello there") == ["hello", "there"]
    assert list(result.history["epoch"]) == [1.0] and "eval_loss" in result.history


@pytest.mark.parametrize("name", ["evaluate", "probe", "explore"])
def test_the_other_commands_give_back_what_they_made(usual, tmp_path, name) -> None:
    result = train.run(name, **usual(name), output_dir=str(tmp_path / "run"))
    assert result.folder == tmp_path / "run" and result.metrics and result.tokenizer
    assert (result.predictions is None) == (name == "explore")


@pytest.mark.parametrize("kind", ["frames", "pairs", "datasets", "one frame"])
def test_data_can_be_passed_as_objects(usual, few_sentences, tmp_path, kind) -> None:
    frames = {
        split: pd.read_csv(few_sentences / f"{split}.csv")
        for split in ("train", "validation", "test")
    }
    given: Any = frames
    if kind == "pairs":
        given = {k: (list(f["text"]), list(f["label"])) for k, f in frames.items()}
    elif kind == "datasets":
        given = DatasetDict({k: Dataset.from_pandas(f) for k, f in frames.items()})
    elif kind == "one frame":
        given = frames["train"]
    options = usual("probe") | {"dataset": given}
    result = train.run("probe", **options, output_dir=tmp_path / "objects")
    if kind == "one frame":
        assert set(result.predictions["split"]) == {"validation"}, "a tenth is held out"
        return
    same = train.run("probe", **usual("probe"), output_dir=tmp_path / "files")
    pd.testing.assert_frame_equal(result.predictions, same.predictions)


def test_a_command_runs_in_a_thread(usual, tmp_path) -> None:
    results = []

    def work() -> None:
        given = usual("finetune") | {"max_steps": 2}
        results.append(train.run("finetune", **given, output_dir=str(tmp_path / "run")))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results[0].metrics["global_step"] == 2


WRONG = {
    "batch size 0": ({"batch_size": 0}, "--batch-size: 0 is below 1"),
    "negative batch size": ({"batch_size": -4}, "--batch-size: -4 is below 1"),
    "no such precision": ({"precision": "fp99"}, "--precision: invalid choice: 'fp99'"),
    "endless lr": ({"lr": float("inf")}, "--lr: inf is not a finite number"),
    "lr of nothing": ({"lr": float("nan")}, "--lr: nan is not a finite number"),
    "epochs in words": ({"epochs": "two"}, "--epochs: 'two' is not a int"),
    "half an epoch": ({"epochs": 1.5}, "--epochs: 1.5 is not a int"),
    "misspelt": ({"learning_rate": 1e-4}, "unknown option learning_rate; did you mean lr?"),
    "a word for a switch": ({"demo": "yes"}, "--demo: 'yes' is not a bool"),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_option_is_a_value_error_with_the_command_lines_words(given, message) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("?", "[?]")):
        train.run("finetune", **given)
    with pytest.raises(ValueError, match="^" + message.replace("?", "[?]")):
        FinetuneOptions(**given)


def test_a_misspelt_command_is_named() -> None:
    with pytest.raises(ValueError, match=r"'finetun' is not one of .* did you mean finetune"):
        train.run("finetun")


def test_demo_means_the_same_in_python_as_on_the_command_line() -> None:
    options = FinetuneOptions(demo=True, lr=2e-5)
    assert (options.model, options.dataset, options.batch_size) == ("demo", "demo", 16)
    assert options.epochs == 4 and options.lr == 2e-5, "given wins, also where it is the default"
    assert options.given == {"demo": True, "lr": 2e-5}
    assert FinetuneOptions(demo=True, batch_size=8).batch_size == 8


def test_the_packaged_weights_bring_what_suits_them_without_demo_too() -> None:
    options = FinetuneOptions(model="demo", train_file="mine.csv")
    assert (options.lr, options.epochs, options.batch_size) == (2e-4, 4, 8)
    assert FinetuneOptions(train_file="mine.csv").lr == 2e-5


def test_the_command_line_of_options_gives_the_same_options() -> None:
    from train.command_line import parse

    options = FinetuneOptions(demo=True, lr=1e-4, output_dir="a b")
    words = options.command_line("finetune")
    assert words == "python -m train finetune --demo --output-dir 'a b' --lr 0.0001"
    assert parse(["finetune", "--demo", "--output-dir", "a b", "--lr", "0.0001"])[1] == options
    assert (
        PredictOptions(model="m", texts=["a", "b c"])
        .command_line("predict")
        .endswith("predict --model m a 'b c'")
    )


def test_data_objects_are_named_in_the_configuration_by_their_type() -> None:
    options = FinetuneOptions(dataset={"train": pd.DataFrame()}, epochs=3)
    assert options.as_dict()["dataset"] == "a dict"
    line = options.command_line("finetune")
    assert line.endswith("finetune --epochs 3  # dataset: a dict that was passed in Python")
    assert shlex.split(line, comments=True)[-2:] == ["--epochs", "3"]


@pytest.mark.parametrize("texts", ["abc", b"abc", 3, {"a": 1}, pd.DataFrame({"text": ["a"]})])
def test_what_is_no_list_of_texts_is_refused(texts) -> None:
    with pytest.raises(ValueError, match=r"(?s)--texts: .* is not a list"):
        train.run("predict", model="m", texts=texts)


def test_the_tenth_run_of_a_second_is_newer_than_its_second(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in ("", "-2", "-10", "-9"):
        folder = tmp_path / f"runs/finetune-20260101-101010{number}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"command": "finetune", "options": {}}')
    assert str(FinetuneOptions(resume=True).output_dir).endswith("-10")


def test_every_command_has_a_group_an_example_and_options_that_are_used() -> None:
    for name, options_class in COMMANDS.items():
        assert options_class.example.startswith(name)
        assert callable(import_module(f"train.{name}").run)


def test_the_console_script_is_the_same_program() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    module, function = project["project"]["scripts"]["minibert"].split(":")
    assert callable(getattr(import_module(module), function))
    assert project["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "train.__version__"

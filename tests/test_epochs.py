"""The epoch table, and what is decided by it: which weights are kept, when training ends."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import train.finetune
import train.training.loop
from minibert import DistilBertForSequenceClassification
from tests.test_finetune import results
from tests.test_stop import go_on, signal_in
from train.device import choose_precision
from train.forward import predict_logits
from train.metrics import measure
from train.training.checkpoints import list_checkpoints

# With this learning rate the validation loss of the tiny model rises again: the best of eight
# epochs is neither the first nor the last.
RISING = ("--lr", "0.03", "--epochs", "8", "--batch-size", "8")
# All options at once: the best evaluation is one in the middle, and patience ends the run.
ALL = (
    *("--lr", "0.01", "--epochs", "8", "--batch-size", "8", "--schedule", "cosine"),
    *("--warmup-steps", "3", "--class-weights", "balanced", "--train-layers", "1"),
    *("--eval-steps", "4", "--keep", "best", "--patience", "8"),
)


@pytest.fixture
def finetune(command):
    return partial(command, "finetune")


def records(folder: Path) -> tuple[list[dict], list[dict]]:
    """The log's records of steps and of evaluations."""
    found = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [r for r in found if "loss" in r], [r for r in found if "eval_loss" in r]


def test_the_epoch_table_is_in_terminal_log_and_metrics(finished):
    run = finished("finetune", "--eval-steps", "4")
    steps, evaluations = records(run.folder)
    assert [r["step"] for r in evaluations] == [4, 8, 9, 12, 16, 18]
    assert run.metrics["history"] == evaluations
    first_epoch = [record["loss"] for record in steps[:9]]
    assert evaluations[0]["train_loss"] == pytest.approx(np.mean(first_epoch[:4]), rel=1e-12)
    assert evaluations[2]["train_loss"] == pytest.approx(np.mean(first_epoch), rel=1e-12)
    second = [record["loss"] for record in steps[9:]]
    assert evaluations[5]["train_loss"] == pytest.approx(np.mean(second), rel=1e-12)
    lines = run.out.splitlines()
    head = lines.index(" epoch  training loss  validation loss  accuracy      F1")
    for line, record in zip(lines[head + 1 :], evaluations):
        names = ("train_loss", "eval_loss", "eval_accuracy", "eval_f1")
        expected = [f"{record['epoch']:.3g}", *(f"{record[name]:.4f}" for name in names)]
        assert line.split() == expected


@pytest.mark.slow
def test_the_best_epoch_is_kept_whole(finished, few_sentences, tmp_path):
    """final/, metrics.json and predictions.csv are all of the evaluation with the lowest loss."""
    run = finished("finetune", *RISING, "--keep", "best")
    _, evaluations = records(run.folder)
    best = min(evaluations, key=lambda record: record["eval_loss"])
    assert 1 < best["epoch"] < 8, "the data of this test must have a best epoch in the middle"
    assert {name: run.metrics[name] for name in best if name.startswith("eval_")} == {
        name: value for name, value in best.items() if name.startswith("eval_")
    }
    assert run.metrics["kept_epoch"] == best["epoch"] and run.metrics["global_step"] == 72
    table = pd.read_csv(run.folder / "predictions.csv")
    losses = table[table["split"] == "validation"]["loss"]
    assert losses.mean() == pytest.approx(best["eval_loss"], abs=1e-5)
    # As many steps of the same schedule, and their weights kept, are the last weights of that time.
    last = finished("finetune", *RISING)
    assert f"validation loss was lower at epoch {best['epoch']:.3g}" in last.out
    assert last.metrics["eval_loss"] == evaluations[-1]["eval_loss"] > best["eval_loss"]
    kept, not_kept = (load_file(r.folder / "final" / "model.safetensors") for r in (run, last))
    assert any((kept[name] != not_kept[name]).any() for name in kept)


def test_the_kept_weights_measure_as_the_metrics_say(finished, few_sentences):
    from tokenizer import WordPieceTokenizer
    from train.data import encode, load_data
    from train.options import FinetuneOptions

    run = finished("finetune", *RISING, "--keep", "best")
    final = run.folder / "final"
    model = DistilBertForSequenceClassification.from_pretrained(final)
    tokenizer = WordPieceTokenizer.from_pretrained(final)
    data = load_data(FinetuneOptions(dataset=str(few_sentences)))
    rows = data.splits["validation"]
    encoded = encode(rows, tokenizer, model.config, 512, "cpu")
    logits = predict_logits(model, encoded, choose_precision("cpu"))
    for name, value in measure(logits, rows["label"].to_numpy(), "eval").items():
        assert run.metrics[name] == pytest.approx(value, rel=1e-6), name


def test_patience_counts_evaluations_without_a_lower_loss(finished):
    _, evaluations = records(finished("finetune", *RISING).folder)
    losses = [record["eval_loss"] for record in evaluations]
    stop = next(n for n in range(len(losses)) if n - int(np.argmin(losses[: n + 1])) == 2)
    assert stop < 7, "the data of this test must end early"
    run = finished("finetune", *RISING, "--patience", "2")
    _, seen = records(run.folder)
    assert [record["eval_loss"] for record in seen] == losses[: stop + 1]
    assert run.metrics["global_step"] == seen[-1]["step"] == 9 * (stop + 1)
    assert "2 evaluations without a lower loss: stopped early" in run.out


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 4, 9, 24, 28, 36])
def test_all_of_it_is_gone_on_with_bit_for_bit(finetune, finished, monkeypatch, cut):
    whole = finished("finetune", *ALL)
    assert 8 < 9 * whole.metrics["kept_epoch"] < 36 < whole.metrics["global_step"] < 72
    with monkeypatch.context() as patch:
        signal_in(patch, train.training.loop, "seed_step", 15, cut)
        stopped = finetune(*ALL)
    assert stopped.status == 143
    assert go_on(stopped.folder).status == 0
    assert results(stopped.folder) == results(whole.folder)


@pytest.mark.parametrize("call", [1, 3])
def test_a_signal_during_an_evaluation_or_the_end_changes_nothing(
    finetune, finished, monkeypatch, call
):
    """Where the best weights are in the model already, the last go into the checkpoint."""
    whole = finished("finetune", *RISING, "--keep", "best")
    name = "predict_split" if call == 1 else "predictions"
    with monkeypatch.context() as patch:
        signal_in(patch, train.finetune, name, 15)
        stopped = finetune(*RISING, "--keep", "best")
    assert stopped.status == 143
    if call == 3:
        saved = load_file(list_checkpoints(stopped.folder)[0] / "model.safetensors")
        last = load_file(finished("finetune", *RISING).folder / "final" / "model.safetensors")
        assert all((saved[name] == last[name]).all() for name in last)
    assert go_on(stopped.folder).status == 0
    assert results(stopped.folder) == results(whole.folder)


@pytest.mark.slow
def test_a_run_that_has_ended_ends_again_the_same(finetune, finished):
    run = finetune(*ALL, "--save-steps", "4")
    expected = results(run.folder)
    assert list_checkpoints(run.folder)
    assert go_on(run.folder).status == 0
    assert results(run.folder) == expected == results(finished("finetune", *ALL).folder)


@pytest.mark.parametrize("flags", [("--keep", "best"), ("--patience", "1")])
def test_without_a_validation_split_there_is_no_best(finetune, monkeypatch, flags):
    original = train.finetune.load_training_data

    def load_data(*arguments):
        data = original(*arguments)
        data.splits.pop("validation")
        return data

    monkeypatch.setattr(train.finetune, "load_training_data", load_data)
    refused = finetune(*flags, "--eval-share", "0")
    assert refused.status == 2 and "need a validation split" in refused.err
    run = finetune("--epochs", "1", "--eval-share", "0", to="other")
    assert run.status == 0
    assert run.metrics["history"][0].keys() == {"step", "epoch", "train_loss"}


def test_a_warm_up_longer_than_the_run_is_refused(finetune):
    refused = finetune("--warmup-steps", "19")
    assert refused.status == 2 and "--warmup-steps 19: the run has 18 steps" in refused.err

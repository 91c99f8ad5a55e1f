"""A fine-tuning run: what it leaves behind, and that nothing is lost when it is cut short."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import train.finetune
import train.training.checkpoints
import train.training.loop
from minibert import DistilBertForSequenceClassification
from tests import ROOT
from tokenizer import WordPieceTokenizer
from train.training.checkpoints import list_checkpoints


@pytest.fixture
def finetune(command):
    """finetune(flags..., to="name") -> the Result of a short fine-tuning run."""
    return partial(command, "finetune")


def weights(folder: Path) -> bytes:
    return (folder / "final" / "model.safetensors").read_bytes()


def results(folder: Path) -> tuple:
    """All that must not depend on how often a run was interrupted."""
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics.pop("runtime")
    return weights(folder), (folder / "log.jsonl").read_text(), metrics


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file below the folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupt_at(monkeypatch, step: int) -> None:
    """Ctrl-C arrives while the given step is computed."""
    original = train.training.loop.seed_step

    def seed_step(seed: int, now: int, rank: int) -> None:
        if now == step:
            signal.raise_signal(signal.SIGINT)
        original(seed, now, rank)

    monkeypatch.setattr(train.training.loop, "seed_step", seed_step)


def test_the_run_folder_has_all_its_parts(finished):
    folder = finished("finetune").folder
    config = json.loads((folder / "config.json").read_text())
    assert config["options"]["batch_size"] == 8
    assert {"torch", "commit", "python"} <= config["environment"].keys()
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    steps = [r for r in records if "loss" in r]
    assert [r["step"] for r in steps] == list(range(1, 19))
    assert steps[0]["lr"] == pytest.approx(1e-3) and steps[-1]["lr"] == pytest.approx(1e-3 / 18)
    assert [r["epoch"] for r in records if "eval_loss" in r] == [1.0, 2.0]
    metrics = json.loads((folder / "metrics.json").read_text())
    wanted = {"eval_accuracy", "eval_f1", "eval_macro_f1", "eval_loss", "test_accuracy"}
    assert wanted <= metrics.keys() and metrics["global_step"] == 18
    with open(folder / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48
    losses = [float(row["loss"]) for row in rows]
    assert losses == sorted(losses, reverse=True)


def test_the_saved_model_loads_in_transformers_with_equal_logits(finished):
    folder = finished("finetune").folder
    theirs = AutoModelForSequenceClassification.from_pretrained(folder / "final").eval()
    ours = DistilBertForSequenceClassification.from_pretrained(folder / "final")
    ids = AutoTokenizer.from_pretrained(folder / "final")("so this is it", return_tensors="pt")
    with torch.no_grad():
        expected = theirs(ids["input_ids"]).logits
        torch.testing.assert_close(ours(ids["input_ids"]).logits, expected, rtol=0, atol=1e-6)
    assert theirs.config.id2label[5] == "surprise"


def test_the_same_seed_gives_the_same_run_and_another_does_not(finetune):
    first, again, other = (
        finetune("--seed", seed, to=to).folder for seed, to in (("1", "a"), ("1", "b"), ("2", "c"))
    )
    assert results(first) == results(again)
    assert weights(first) != weights(other)


@pytest.mark.slow
@pytest.mark.parametrize("cut", [0, 4, 8, 9, 16])
def test_ctrl_c_at_any_step_then_resume_is_the_uninterrupted_run(
    finetune, finished, monkeypatch, cut
):
    """18 steps in two epochs of 9; each step accumulates over two forward passes."""
    flags = ("--batch-size", "4", "--grad-accum", "2")
    with monkeypatch.context() as patch:
        interrupt_at(patch, cut)
        cut_short = finetune(*flags)
    assert cut_short.status == 130
    assert "--resume" in cut_short.err and "Traceback" not in cut_short.err
    assert [f.name for f in list_checkpoints(cut_short.folder)] == [f"step-{cut + 1}"]
    resumed = finetune(*flags, "--resume")
    assert resumed.status == 0
    assert results(resumed.folder) == results(finished("finetune", *flags).folder)


def test_a_second_resume_goes_on_from_the_second_interruption(finetune, finished, monkeypatch):
    for flags, cut in (((), 3), (("--resume",), 11)):
        with monkeypatch.context() as patch:
            interrupt_at(patch, cut)
            assert finetune(*flags).status == 130
    assert results(finetune("--resume").folder) == results(finished("finetune").folder)


@pytest.mark.slow
def test_a_killed_process_loses_no_more_than_the_steps_since_its_checkpoint(
    finetune, tiny_model, few_sentences, tmp_path
):
    flags = ["--epochs", "20", "--save-steps", "30"]
    command = [sys.executable, "-m", "train", "finetune", "--model", str(tiny_model)]
    command += ["--dataset", str(few_sentences), "--output-dir", str(tmp_path / "run")]
    command += ["--device", "cpu", "--lr", "1e-3", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while len(list_checkpoints(tmp_path / "run")) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    whole = finetune(*flags, to="whole")
    resumed = finetune(*flags, "--resume")
    assert resumed.status == 0, resumed.err
    assert results(resumed.folder) == results(whole.folder)


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_used(finetune):
    folder = finetune("--save-steps", "5").folder
    newest, before = list_checkpoints(folder)
    assert (newest.name, before.name) == ("step-15", "step-10")
    expected = results(folder)
    data = bytearray((newest / "optimizer.safetensors").read_bytes())
    data[-1] ^= 1
    (newest / "optimizer.safetensors").write_bytes(data)
    resumed = finetune("--save-steps", "5", "--resume")
    assert resumed.status == 0
    assert f"{newest} is damaged (optimizer.safetensors has changed" in resumed.err
    assert "resuming after step 10" in resumed.out
    assert results(folder) == expected


def test_what_was_logged_after_the_checkpoint_is_logged_once(finetune):
    """A killed process may have logged steps and evaluations since, and half a line."""
    folder = finetune("--save-steps", "9").folder
    expected = results(folder)
    assert [checkpoint.name for checkpoint in list_checkpoints(folder)] == ["step-9"]
    with open(folder / "log.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 19, "lo')
    assert finetune("--save-steps", "9", "--resume").status == 0
    assert results(folder) == expected


def test_a_full_disk_leaves_the_older_checkpoint_and_no_litter(finetune, monkeypatch):
    original, calls = train.training.checkpoints.save_file, []

    def save_file(tensors, path, *rest):
        calls.append(path)
        original(tensors, path, *rest)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(train.training.checkpoints, "save_file", save_file)
    full = finetune("--save-steps", "5")
    assert full.status == 2 and "No space left on device" in full.err
    assert [f.name for f in (full.folder / "checkpoints").iterdir()] == ["step-5"]
    monkeypatch.undo()
    assert finetune("--save-steps", "5", "--resume").status == 0


@pytest.mark.parametrize(
    ("flags", "setting"),
    [
        (["--batch-size", "4"], "batch_size was 8 when the run began and is now 4"),
        (["--seed", "7"], "seed was 42 when the run began and is now 7"),
        (["--epochs", "3"], "epochs was 2"),
        (["--precision", "fp16"], "is now 'fp16'"),
    ],
)
def test_resuming_with_another_setting_is_refused_by_name_and_changes_nothing(
    finetune, monkeypatch, flags, setting
):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        folder = finetune().folder
    before = contents(folder)
    assert {"config.json", "log.jsonl"} <= {path.name for path in before}
    refused = finetune(*flags, "--resume")
    assert refused.status == 2 and setting in refused.err
    assert contents(folder) == before


def test_resuming_with_other_data_is_refused(finetune, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        finetune()
    other = tmp_path / "other"
    other.mkdir()
    (other / "train.csv").write_text("text,label\na,up\nb,down\n")
    refused = finetune("--dataset", str(other), "--resume")
    assert refused.status == 2
    assert "the test, train, validation texts are not those that the run" in refused.err


def test_resuming_with_other_names_of_the_labels_is_refused(finetune, monkeypatch, tmp_path):
    for folder, negative in (("first", "down"), ("other", "dull")):
        (tmp_path / folder).mkdir()
        rows = ["text,label", *["it goes,up", f"it went,{negative}"] * 20]
        (tmp_path / folder / "train.csv").write_text("\n".join(rows) + "\n")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        assert finetune("--dataset", str(tmp_path / "first")).status == 130
    shutil.rmtree(tmp_path / "first")
    (tmp_path / "other").rename(tmp_path / "first")
    refused = finetune("--dataset", str(tmp_path / "first"), "--resume")
    assert refused.status == 2
    assert "labels was ['down', 'up'] when the run began and is now ['dull', 'up']" in refused.err


def test_resuming_where_nothing_was_saved_is_refused(finetune):
    refused = finetune("--resume")
    assert refused.status == 2 and "no run in" in refused.err and "no config.json" in refused.err
    assert not refused.folder.exists()


def test_a_used_folder_is_refused_untouched_and_replaced_on_demand(finetune, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    refused = finetune()
    assert refused.status == 2 and "not empty" in refused.err and "--overwrite" in refused.err
    assert [p.name for p in refused.folder.iterdir()] == ["notes.txt"]
    assert finetune("--overwrite", "--max-steps", "1").status == 0
    assert (
        refused.folder / "notes.txt"
    ).read_text() == "mine"  # only a run's own parts are replaced


def test_overwriting_removes_every_part_of_the_earlier_run(finetune, monkeypatch):
    """Also what the new run does not come to write itself."""
    folder = finetune("--save-steps", "5").folder
    (folder / "plots").mkdir()
    (folder / "plots" / "loss.png").write_bytes(b"of the earlier run")
    (folder / "report.html").write_text("of the earlier run")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        assert finetune("--overwrite").status == 130
    assert [path.name for path in list_checkpoints(folder)] == ["step-3"]
    log = (folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2, 3]
    assert (folder / "final" / "model.safetensors").exists(), "the new one is not yet whole"
    assert finetune("--resume").status == 0
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "log.jsonl", "metrics.json", "predictions.csv", "final", "checkpoints")
    }


def test_a_run_that_fails_leaves_the_one_it_was_to_overwrite_as_it_was(finetune):
    folder = finetune("--save-steps", "5").folder
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    failed = finetune("--overwrite", "--lr", "1e30")
    assert failed.status == 2 and "as it was" in failed.err
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_the_last_whole_run_survives_any_number_of_unfinished_ones(finetune, monkeypatch):
    folder = finetune("--save-steps", "5").folder
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for steps in (2, 3):  # stopped with a checkpoint of their own
        with monkeypatch.context() as patch:
            interrupt_at(patch, steps)
            assert finetune("--overwrite").status == 130
    assert finetune("--overwrite", "--lr", "1e30").status == 2
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert finetune("--overwrite").status == 0
    assert not (folder / ".previous").exists()


def test_an_output_that_is_a_file_or_not_writable_is_refused_before_training(finetune, tmp_path):
    (tmp_path / "file").write_text("")
    refused = finetune("--output-dir", str(tmp_path / "file"))
    assert refused.status == 2 and "is a file" in refused.err
    assert finetune("--output-dir", str(tmp_path / "file" / "below")).status == 2


def test_a_rate_that_diverges_stops_the_run_and_saves_no_such_weights(finetune):
    diverged = finetune("--lr", "1e30", "--save-steps", "1")
    assert diverged.status == 2
    assert "diverged" in diverged.err and "Traceback" not in diverged.err
    assert not (diverged.folder / "final").exists()
    for checkpoint in list_checkpoints(diverged.folder):
        model = DistilBertForSequenceClassification.from_pretrained(checkpoint)
        assert all(torch.isfinite(p).all() for p in model.parameters())


def test_running_out_of_memory_names_the_batch_size(finetune, monkeypatch):
    def no_room(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(train.training.loop, "eager_step", no_room)
    refused = finetune("--batch-size", "16")
    assert refused.status == 2
    assert "--batch-size 16 is too large" in refused.err and len(refused.err.splitlines()) <= 2


def test_a_fine_tuned_model_that_is_trained_on_keeps_its_ids(command, tiny_classifier, tmp_path):
    """Its classifier has learnt them: other ids would turn its answers into other labels."""
    names = ["surprise", "fear", "anger", "love", "joy", "sadness"]  # not the order of the data
    model = DistilBertForSequenceClassification.from_pretrained(
        tiny_classifier, id2label=dict(enumerate(names))
    )
    model.save_pretrained(tmp_path / "model")
    WordPieceTokenizer.from_pretrained(tiny_classifier).save_pretrained(tmp_path / "model")
    flags = ["--model", str(tmp_path / "model")]
    before = command("evaluate", *flags, to="before").metrics["test_accuracy"]
    result = command("finetune", *flags, "--lr", "0", "--epochs", "1", to="after")
    assert result.metrics["test_accuracy"] == before
    saved = json.loads((result.folder / "final" / "config.json").read_text())
    assert [saved["id2label"][str(i)] for i in range(6)] == names
    assert json.loads((result.folder / "config.json").read_text())["labels"] == names


def test_a_fine_tuned_model_that_is_trained_on_keeps_labels_that_the_data_lack(
    command, tiny_classifier, tmp_path
):
    lines = "text,label\n" + "one,joy\ntwo,fear\n" * 3
    (tmp_path / "a.csv").write_text(lines, encoding="utf-8")
    data = ["--model", str(tiny_classifier), "--train-file", str(tmp_path / "a.csv")]
    result = command("finetune", *data)
    labels = json.loads((result.folder / "config.json").read_text())["labels"]
    assert labels == ["sadness", "joy", "love", "anger", "fear", "surprise"]
    assert "4 train, 2 validation texts, 6 labels (validation: 0.1 of train" in result.out
    (tmp_path / "a.csv").write_text(lines.replace("fear", "hunger"), encoding="utf-8")
    refused = command("finetune", *data, to="refused")
    assert refused.status == 2 and not refused.folder.exists()
    assert "'hunger' in row 2 is none of sadness, joy" in refused.err
    assert refused.err.strip().endswith(
        "--new-head trains a new classifier with the labels of the data"
    )


def test_a_new_head_takes_other_labels_on_a_fine_tuned_model(command, tiny_classifier, tmp_path):
    lines = "text,label\n" + "one,hunger\ntwo,thirst\n" * 3
    (tmp_path / "a.csv").write_text(lines, encoding="utf-8")
    data = ["--model", str(tiny_classifier), "--train-file", str(tmp_path / "a.csv")]
    result = command("finetune", *data, "--new-head")
    model = DistilBertForSequenceClassification.from_pretrained(result.folder / "final")
    assert model.config.label_names == ["hunger", "thirst"] and not model.fresh


def test_answers_that_overflow_after_training_name_the_rate(command) -> None:
    refused = command("finetune", "--lr", "1e30", "--epochs", "1", "--batch-size", "70")
    assert refused.status != 0 and refused.err.strip().endswith(
        "training has diverged; use a lower --lr"
    )

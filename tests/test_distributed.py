"""Two processes under torchrun are one process with twice the batch."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from tests import ROOT
from train.__main__ import main
from train.training.checkpoints import list_checkpoints

pytestmark = pytest.mark.slow  # each starts processes that import torch


@pytest.fixture
def flags(still_model, few_sentences) -> list[str]:
    return ["--model", str(still_model), "--dataset", str(few_sentences), "--device", "cpu"]


def torchrun(*arguments: str) -> subprocess.CompletedProcess:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, "--nproc-per-node", "2", "-m", "train", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def losses(folder: Path) -> list[float]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [record["loss"] for record in map(json.loads, lines) if "loss" in record]


def test_two_processes_train_as_one_and_resume(flags, tmp_path):
    """70 texts in steps of 8: the last step of an epoch has 6, which no two batches of 4 fill."""
    training = ["finetune", *flags, "--lr", "1e-3", "--save-steps", "5"]
    assert main([*training, "--batch-size", "8", "--output-dir", str(tmp_path / "one")]) == 0
    two = [*training, "--batch-size", "4", "--output-dir", str(tmp_path / "two")]
    finished = torchrun(*two)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("run folder:") == 1, "only rank 0 speaks"
    expected = losses(tmp_path / "one")
    assert len(expected) == 18
    np.testing.assert_allclose(losses(tmp_path / "two"), expected, rtol=0, atol=2e-5)

    whole = load_file(tmp_path / "two" / "final" / "model.safetensors")
    shutil.rmtree(list_checkpoints(tmp_path / "two")[0])
    resumed = torchrun(*two, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after step 10" in resumed.stdout
    again = load_file(tmp_path / "two" / "final" / "model.safetensors")
    assert all((again[name] == whole[name]).all() for name in whole)


def test_features_are_shared_out_and_put_together(flags, tmp_path):
    assert main(["probe", *flags, "--output-dir", str(tmp_path / "one")]) == 0
    finished = torchrun("probe", *flags, "--output-dir", str(tmp_path / "two"))
    assert finished.returncode == 0, finished.stderr
    one, two = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two")
    )
    for name in ("eval_accuracy", "eval_loss", "test_accuracy", "test_loss"):
        assert one[name] == pytest.approx(two[name], rel=1e-5), name


def test_a_rank_that_fails_ends_all_with_a_message(flags, tmp_path):
    """Rank 1 alone cannot read its data."""
    code = (
        "import os, sys; from train.__main__ import main;"
        "wrong = ['--dataset', './gone'] if os.environ['RANK'] == '1' else [];"
        "sys.exit(main(sys.argv[1:] + wrong))"
    )
    script = tmp_path / "failing.py"
    script.write_text(code)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, "--nproc-per-node", "2", str(script), "finetune", *flags]
    finished = subprocess.run(
        [*command, "--output-dir", str(tmp_path / "run")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert finished.returncode != 0
    assert "--dataset ./gone: there is no such folder" in finished.stderr
    assert not (tmp_path / "run" / "final").exists()


ALL = (
    *("--lr", "0.01", "--epochs", "8", "--schedule", "cosine", "--warmup-steps", "3"),
    *("--class-weights", "balanced", "--train-layers", "1", "--eval-steps", "4"),
    *("--keep", "best", "--patience", "8"),
)


def test_two_processes_share_all_options_and_a_signal_loses_nothing(flags, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    training = ["finetune", *flags, *ALL]
    assert main([*training, "--batch-size", "8", "--output-dir", str(one)]) == 0
    command = [*training, "--batch-size", "4", "--output-dir", str(two)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    process = subprocess.Popen(
        [*launcher, "--nproc-per-node", "2", "-m", "train", *command],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (two / "log.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.terminate()  # torchrun passes it on to both
    _, error = process.communicate(timeout=120)
    assert "SIGTERM: finishing this step, then saving" in error
    assert f"-m train finetune --resume --output-dir {two}" in error
    assert len(list_checkpoints(two)) == 1 and not (two / "final").exists()
    resumed = torchrun("finetune", "--resume", "--output-dir", str(two))
    assert resumed.returncode == 0, resumed.stderr
    np.testing.assert_allclose(losses(two), losses(one), rtol=0, atol=2e-4)
    ours, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (two, one))
    assert ours["kept_epoch"] == theirs["kept_epoch"]
    assert ours["eval_loss"] == pytest.approx(theirs["eval_loss"], abs=1e-4)

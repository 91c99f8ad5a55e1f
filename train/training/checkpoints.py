"""Checkpoints: written whole or not at all, checked before they are used.

checkpoints/step-N holds the model and tokenizer (it loads like final/), optimizer.safetensors and
state.json with the sha256 of every other file. No random generator's state is saved: a step's
dropout and texts are a function of (seed, step).
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from minibert.pretrained import PretrainedModel
from tokenizer import WordPieceTokenizer
from train.runs import write_json
from train.training.optim import Update

KEPT = 2  # the newest, and the one before it in case the newest is damaged


def save_checkpoint(
    run_folder: Path,
    step: int,
    model: PretrainedModel,
    update: Update,
    tokenizer: WordPieceTokenizer,
    settings: dict,
) -> None:
    """Write checkpoints/step-N beside its place, sync it, rename it; then drop old ones.

    settings: what a resumed run must agree with, as JSON. Raises OSError (a full disk) with the
    older checkpoints untouched and nothing left over.
    """
    folder = run_folder / "checkpoints" / f"step-{step}"
    if folder.exists():
        return
    for leftover in folder.parent.glob(".step-*.tmp"):  # of a process that was killed
        shutil.rmtree(leftover)
    beside = folder.with_name(f".step-{step}.tmp")
    beside.mkdir(parents=True)
    try:
        model.save_pretrained(beside)
        tokenizer.save_pretrained(beside)
        save_file(update.tensors(model), beside / "optimizer.safetensors")
        hashes = {path.name: sha256(path) for path in sorted(beside.iterdir())}
        write_json(beside / "state.json", {"step": step, "settings": settings, "sha256": hashes})
        # Contents first, then the rename. A file system may write them in any order, and after a
        # power cut a folder with its final name could hold empty files.
        for path in beside.iterdir():
            sync(path)
        sync(beside)
        os.rename(beside, folder)  # atomic: a reader sees no folder, or all of it
        sync(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    for old in list_checkpoints(run_folder)[KEPT:]:  # only now that the new one is on the disk
        shutil.rmtree(old)


def list_checkpoints(run_folder: Path) -> list[Path]:
    """The folders step-N, newest first."""
    folders = (run_folder / "checkpoints").glob("step-*")
    return sorted(folders, key=lambda path: -int(path.name.removeprefix("step-")))


def newest_checkpoint(run_folder: Path) -> tuple[Path, dict]:
    """Folder and state of the newest undamaged checkpoint; damaged ones are named on stderr.

    Raises FileNotFoundError where there is none."""
    for folder in list_checkpoints(run_folder):
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            for name, expected in state["sha256"].items():
                if sha256(folder / name) != expected:
                    raise ValueError(f"{name} has changed since it was written")
            return folder, state
        except (OSError, ValueError, KeyError) as error:
            print(f"{folder} is damaged ({error}); trying the one before it", file=sys.stderr)
    raise FileNotFoundError(f"no valid checkpoint found in {run_folder / 'checkpoints'}")


def load_checkpoint(folder: Path, model: nn.Module, update: Update) -> None:
    """Set weights, AdamW's moments, schedule and loss scale to what they were at the checkpoint.

    With any of them left out the run would still go on, but on another path: without the moments
    AdamW's first steps are several times too large."""
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    update.load_tensors(model, load_file(folder / "optimizer.safetensors"))


def check_finite(model: nn.Module) -> None:
    """Raises ArithmeticError rather than let NaN or infinity into a saved file."""
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise ArithmeticError(f"{name} is no longer finite: training has diverged, not saved")


def check_agreement(saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises ValueError naming the first setting that differs from the interrupted run's."""
    for name in sorted(saved.keys() | now.keys()):
        if saved.get(name) != now.get(name):
            raise ValueError(
                f"--resume: {name} was {saved.get(name)!r} when the run began and is now "
                f"{now.get(name)!r}; go on with the old value, or begin anew with --overwrite"
            )


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

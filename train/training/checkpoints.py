"""Checkpoints: written whole or not at all, checked before they are used.

checkpoints/step-N holds the model and tokenizer (it loads like final/), optimizer.safetensors, the
evaluations so far (history.json), the best epoch's weights under --keep best (best.safetensors),
and state.json with the sha256 of every other file. No random generator's state is saved: a step's
dropout and texts are a function of (seed, step).
"""

import dataclasses
import os
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from minibert.atomic import write_whole
from minibert.pretrained import PretrainedModel
from tokenizer import WordPieceTokenizer, hub
from tokenizer.hub import sha256
from train.folders import remove
from train.options import FinetuneOptions
from train.runs import write_json
from train.training.history import History
from train.training.optim import Update

KEPT = 2  # the newest, and the one before it in case the newest is damaged
LARGEST_JSON = 2**26  # bytes: far above any state.json that training writes
MODEL, OPTIMIZER, BEST = "model.safetensors", "optimizer.safetensors", "best.safetensors"
HISTORY = "history.json"


class Snapshot(NamedTuple):
    """What a checkpoint holds: all that the rest of the training depends on."""

    model: PretrainedModel
    update: Update
    history: History
    tokenizer: WordPieceTokenizer  # so that the folder can be used as a model
    settings: dict  # what the run began with, as JSON

    def expected(self) -> dict[str, dict[str, Tensor]]:
        """Tensors of the names, shapes and dtypes that each file must have."""
        weights = self.model.state_dict()
        return {MODEL: weights, OPTIMIZER: self.update.tensors(self.model), BEST: weights}


def save_checkpoint(run_folder: Path, step: int, snapshot: Snapshot) -> None:
    """Write checkpoints/step-N beside its place, sync it, rename it; then drop old ones.

    Raises OSError (a full disk) with the older checkpoints untouched and nothing left over.
    """
    folder = checkpoints_folder(run_folder) / f"step-{step}"
    if folder.exists():
        return
    for killed in folder.parent.glob(".step-*.tmp"):  # left by a process that was killed
        remove(killed)
    beside = folder.with_name(f".step-{step}.tmp")
    beside.mkdir(parents=True)
    try:
        snapshot.model.save_pretrained(beside)
        snapshot.tokenizer.save_pretrained(beside)
        write_tensors(beside / OPTIMIZER, snapshot.update.tensors(snapshot.model))
        if snapshot.history.best_weights is not None:
            write_tensors(beside / BEST, snapshot.history.best_weights)
        write_json(beside / HISTORY, snapshot.history.to_json())
        state = {
            "step": step,
            "settings": snapshot.settings,
            "environment": environment(snapshot.update),
            "sha256": {path.name: sha256(path) for path in sorted(beside.iterdir())},
        }
        write_json(beside / "state.json", state)
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


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """A safetensors file; OSError where it cannot be written, as of any other file."""
    write_whole(path, lambda beside: save_file(tensors, beside))


def checkpoints_folder(run_folder: Path) -> Path:
    """RUN/checkpoints. Raises NotADirectoryError where that is a file or a symbolic link: what a
    link leads to is not ours to fill, and old checkpoints are deleted there."""
    folder = run_folder / "checkpoints"
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise NotADirectoryError(f"{folder} is a link or a file, not a folder; remove it")
    return folder


def list_checkpoints(run_folder: Path) -> list[Path]:
    """The folders step-N, newest first. Anything with another name is none of ours, nor is a
    symbolic link."""
    folders = [
        path
        for path in checkpoints_folder(run_folder).glob("step-*")
        if re.fullmatch(r"step-[1-9][0-9]{0,15}", path.name)
        and path.is_dir()
        and not path.is_symlink()
    ]
    return sorted(folders, key=lambda path: -int(path.name.removeprefix("step-")))


def load_newest(run_folder: Path, snapshot: Snapshot) -> tuple[int, Path]:
    """Set the snapshot's model, update and history to those of the newest whole checkpoint; those
    that are damaged are named on standard error. Returns (step, folder).

    With any part left out the run would still go on, but on another path: without the moments, for
    one, AdamW's first steps are several times too large. Raises FileNotFoundError where there is no
    whole checkpoint.
    """
    for folder in list_checkpoints(run_folder):
        try:
            state = read_state(folder)
            if changes := differences(state["settings"], snapshot.settings):
                raise ValueError(f"state.json: {changes[0]}")
            tensors = read_tensors(folder, snapshot, state["sha256"])
            snapshot.history.load_json(read_json(folder / HISTORY), tensors.get(BEST))
        except (OSError, ValueError, SafetensorError) as error:
            print(f"{folder} is damaged ({error}); trying the one before it", file=sys.stderr)
            continue
        snapshot.model.load_state_dict(tensors[MODEL], strict=True)
        snapshot.update.load_tensors(snapshot.model, tensors[OPTIMIZER])
        warn_of_other_bits(state.get("environment"), environment(snapshot.update))
        return state["step"], folder
    raise FileNotFoundError(f"no valid checkpoint found in {run_folder / 'checkpoints'}")


def remove_newer(run_folder: Path, step: int) -> None:
    """Remove the damaged checkpoints after `step`, to make room for whole ones of their names."""
    for folder in list_checkpoints(run_folder):
        if int(folder.name.removeprefix("step-")) > step:
            shutil.rmtree(folder)


def read_state(folder: Path) -> dict[str, Any]:
    """state.json, and all files that it names compared with their sha256. Raises ValueError or
    OSError naming what is wrong."""
    state = read_json(folder / "state.json")
    step, settings, hashes = (state.get(key) for key in ("step", "settings", "sha256"))
    if type(step) is not int or folder.name != f"step-{step}":
        raise ValueError(f"state.json: step is {step!r} in {folder.name}")
    if not isinstance(settings, dict):
        raise ValueError("state.json: settings is not an object")
    if not isinstance(hashes, dict):
        raise ValueError("state.json: sha256 is not an object")
    present = {MODEL, OPTIMIZER, HISTORY} | ({BEST} if (folder / BEST).exists() else set())
    if not hashes.keys() >= present:
        raise ValueError(f"state.json: no sha256 of {sorted(present - hashes.keys())[0]}")
    for name, expected in hashes.items():
        if Path(name).name != name:
            raise ValueError(f"state.json: {name!r} is not a file of this folder")
        check_regular(folder / name)
        if sha256(folder / name) != expected:
            raise ValueError(f"{name} has changed since it was written: checksum mismatch")
    return state


def read_tensors(
    folder: Path, snapshot: Snapshot, hashes: dict[str, str]
) -> dict[str, dict[str, Tensor]]:
    """{file: {name: tensor}}, each of the expected name, shape and dtype: the fused AdamW kernel
    reads as many numbers from a moment as the weight has, past the end of a shorter one."""
    read = {}
    for file, expected in snapshot.expected().items():
        if file not in hashes:
            continue  # best.safetensors, before the first evaluation
        tensors = load_file(folder / file)
        if tensors.keys() != expected.keys():
            odd = sorted(tensors.keys() ^ expected.keys())[0]
            raise ValueError(f"{file}: tensor {odd} is missing or unexpected")
        for name, tensor in tensors.items():
            wanted = (expected[name].dtype, tuple(expected[name].shape))
            if (tensor.dtype, tuple(tensor.shape)) != wanted:
                raise ValueError(
                    f"{file}: {name} is {tensor.dtype} {tuple(tensor.shape)}, "
                    f"not {wanted[0]} {wanted[1]}"
                )
            if not torch.isfinite(tensor).all():
                raise ValueError(f"{file}: {name} holds NaN or infinity")
        read[file] = tensors
    return read


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ValueError or OSError where there is none."""
    check_regular(path)
    if path.stat().st_size > LARGEST_JSON:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes")
    return hub.read_json(path)


def check_regular(path: Path) -> None:
    """Raises ValueError for anything but a file in its own right: reading a FIFO may never begin, a
    device may never end, and a link may lead to one."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError(f"{path.name} is not a regular file")


def environment(update: Update) -> dict[str, Any]:
    """What the last bits of a sum depend on besides the settings."""
    device = update.rate.device.type
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": device}


def warn_of_other_bits(saved: Any, now: dict[str, Any]) -> None:
    """One line where the resumed run is not the uninterrupted one to the last bit: other numbers of
    threads, devices and versions of torch add in another order."""
    if not isinstance(saved, dict):  # damaged; the weights have checksums of their own
        return
    changes = [f"{k} {saved.get(k)!r} -> {now[k]!r}" for k in now if saved.get(k) != now[k]]
    if changes:
        print(f"{', '.join(changes)}: the last bits may differ", file=sys.stderr)


def check_finite(model: nn.Module) -> None:
    """Raises ArithmeticError rather than let NaN or infinity into a saved file."""
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise ArithmeticError(f"{name} is no longer finite: training has diverged, not saved")


def differences(saved: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The settings that differ, in words; one that an older version of the program did not have
    must have its default now.

    >>> differences({"lr": 0.1}, {"lr": 0.2, "epochs": 2})
    ['lr was 0.1 when the run began and is now 0.2']
    """
    data, data_now = saved.get("data"), now.get("data")
    if isinstance(data, dict) and isinstance(data_now, dict) and data != data_now:
        # Checksums, which would say nothing.
        changed = [
            s for s in sorted(data.keys() | data_now.keys()) if data.get(s) != data_now.get(s)
        ]
        return [f"the {', '.join(changed)} texts are not those that the run began with"]
    defaults = {field.name: field.default for field in dataclasses.fields(FinetuneOptions)}
    return [
        f"{name} was {saved.get(name, defaults.get(name))!r} "
        f"when the run began and is now {now.get(name)!r}"
        for name in sorted(saved.keys() | now.keys())
        if saved.get(name, defaults.get(name)) != now.get(name)
    ]


def read_settings(run_folder: Path) -> dict[str, Any]:
    """The settings that the run began with, from its config.json. Raises FileNotFoundError where
    there is none, and ValueError where it holds none."""
    path = run_folder / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"no valid checkpoint found in {run_folder}: no {path.name} there")
    settings = read_json(path).get("settings")
    if not isinstance(settings, dict):
        raise ValueError(f"{path} has no settings of a fine-tuning run")
    return settings


def check_agreement(saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises ValueError naming the first setting that differs from the interrupted run's."""
    if changes := differences(saved, now):
        remedy = "go on with the old value, or begin anew with --overwrite"
        raise ValueError(f"--resume: {changes[0]}; {remedy}")


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What a checkpoint must hold and survive, and a resumed run beside the uninterrupted one."""

import contextlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.exercise.checks.training_parts import (
    FP16,
    make_data,
    make_job,
    make_model,
    make_update,
)
from tests.exercise.words import Wrong, equal, refused
from tests.reference import VOCAB
from tokenizer import WordPieceTokenizer
from train.training import checkpoints
from train.training.checkpoints import Snapshot, load_newest, save_checkpoint, sha256
from train.training.history import History
from train.training.loop import training
from train.training.optim import freeze
from train.training.step import Job, seed_step

SETTINGS = {"some": "setting", "lr": 0.01}
DROPOUT = {"dropout": 0.3, "attention_dropout": 0.3, "seq_classif_dropout": 0.3}


def begin() -> tuple[Job, Snapshot]:
    """A run before its first step; dropout is on."""
    model = make_model(**DROPOUT)
    update = make_update(model)
    tokenizer = WordPieceTokenizer.from_vocab(VOCAB)
    return make_job(model, update, make_data()), Snapshot(
        model, update, History(per_epoch=5), tokenizer, SETTINGS
    )


def go_on(job: Job, snapshot: Snapshot, until: int) -> list[float]:
    """Train to step `until`; the losses."""
    losses = []
    for done, values in training(job, snapshot.history.step):
        snapshot.history.step = done
        snapshot.history.add_steps([{"step": done, "loss": float(values[0])}])
        losses.append(float(values[0]))
        if done == until:
            break
    return losses


def check_seed() -> None:
    """seed_step: a step's random numbers are a function of (seed, step, rank)"""

    def draw(*numbers: int) -> float:
        seed_step(*numbers)
        return float(torch.rand(()))

    first = draw(1, 2, 0)
    torch.rand(7)
    if draw(1, 2, 0) != first:
        raise Wrong("The same seed, step and rank give two different random numbers.")
    for name, numbers in {
        "step 3": (1, 3, 0),
        "seed 2": (2, 2, 0),
        "rank 1": (1, 2, 1),
        "seed 2, step 1 (do not add the two)": (2, 1, 0),
        "step 1, rank 1 (do not add the two)": (1, 1, 1),
        "seed 0, step 3": (0, 3, 0),
    }.items():
        if draw(*numbers) == first:
            raise Wrong(f"{name} gives the random numbers of seed 1, step 2, rank 0.")


def check_tensors() -> None:
    """Update.tensors: the moments of every trained parameter, and the clocks"""
    model = make_model()
    freeze(model, 1)
    update = make_update(model)
    found = update.tensors(model)
    for name, parameter in model.named_parameters():
        for key in ("step", "exp_avg", "exp_avg_sq"):
            full = f"{key}.{name}"
            if parameter.requires_grad and full not in found:
                raise Wrong(f"{full} is missing; without it AdamW begins again after a resume.")
            if not parameter.requires_grad and full in found:
                raise Wrong(f"{full} is there, but the parameter is frozen: it has no moments.")
            if full in found and found[full] is not update.optimizer.state[parameter][key]:
                raise Wrong(f"{full} is not the optimiser's own tensor.")
    clocks = {"steps_done", "skipped", "skipped_in_a_row", "loss_scale", "loss_scale_good_steps"}
    for name in sorted(clocks - found.keys()):
        raise Wrong(f"{name} is missing: see `clocks`.")


def check_load_tensors() -> None:
    """Update.load_tensors: all of them come back, into the very tensors that are there"""
    model = make_model()
    update = make_update(model, FP16)
    before = update.tensors(model)
    numbers = {
        name: torch.full_like(tensor, place + 1.0)
        for place, (name, tensor) in enumerate(before.items())
    }
    update.load_tensors(model, numbers)
    for name, tensor in update.tensors(model).items():
        if not torch.equal(tensor, numbers[name]):
            raise Wrong(
                f"{name} did not come back: {tensor.flatten()[0]} for {numbers[name].flatten()[0]}."
            )
        if tensor is not before[name]:
            raise Wrong(
                f"{name} has become another tensor. Copy in place (copy_): a captured step and "
                "the optimiser go on using the old one."
            )


def check_save() -> None:
    """save_checkpoint: step-N is whole, and state.json names the sha256 of every other file"""
    with tempfile.TemporaryDirectory() as name:
        run = Path(name)
        job, snapshot = begin()
        go_on(job, snapshot, 2)
        save_checkpoint(run, 2, snapshot)
        folder = run / "checkpoints" / "step-2"
        if not folder.is_dir():
            raise Wrong("There is no folder checkpoints/step-2 after save_checkpoint(run, 2, ...).")
        there = {path.name for path in folder.iterdir()}
        for file in (
            "model.safetensors",
            "optimizer.safetensors",
            "history.json",
            "vocab.txt",
            "config.json",
            "state.json",
        ):
            if file not in there:
                raise Wrong(
                    f"{file} is missing in step-2, which holds: {', '.join(sorted(there))}."
                )
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        equal(state.get("step"), 2, "step in state.json")
        equal(state.get("settings"), SETTINGS, "settings in state.json")
        right = {p.name: sha256(p) for p in folder.iterdir() if p.name != "state.json"}
        equal(state.get("sha256"), right, "sha256 in state.json")
        saved = load_file(folder / "optimizer.safetensors").keys()
        equal(
            sorted(saved),
            sorted(snapshot.update.tensors(snapshot.model)),
            "the optimiser's tensors",
        )
        left = [p.name for p in (run / "checkpoints").iterdir() if p.name != "step-2"]
        equal(left, [], "what else lies in checkpoints/ afterwards")
        save_checkpoint(run, 2, snapshot)  # again, as a run does that is stopped right after saving
        (run / "checkpoints" / ".step-1.tmp").mkdir()  # left by a process that was killed
        for step in (3, 4):
            save_checkpoint(run, step, snapshot)
        kept = sorted(p.name for p in (run / "checkpoints").iterdir())
        equal(
            kept,
            ["step-3", "step-4"],
            "what lies there after steps 2, 3 and 4",
        )


def check_order() -> None:
    """save_checkpoint: every file is on the disk (sync) before the folder gets its name"""
    with tempfile.TemporaryDirectory() as name:
        _, snapshot = begin()
        events = []
        kept = checkpoints.sync, os.rename
        checkpoints.sync = lambda path: events.append(path.name)
        os.rename = lambda old, new: (events.append("rename"), kept[1](old, new))
        try:
            save_checkpoint(Path(name), 1, snapshot)
        finally:
            checkpoints.sync, os.rename = kept
        names = [path.name for path in (Path(name) / "checkpoints" / "step-1").iterdir()]
    if events.count("rename") < 1:
        raise Wrong("step-1 was not made by os.rename: only a rename happens whole or not at all.")
    last = len(events) - events[::-1].index("rename") - 1
    late = sorted(set(names) - set(events[:last]))
    if late:
        raise Wrong(
            f"{late[0]} was not synced before the rename: after a power cut, step-1 could be there "
            "with that file empty."
        )
    if ".step-1.tmp" not in events[:last] or "checkpoints" not in events[last:]:
        raise Wrong(
            "A folder is a file, too: sync the new one before the rename, and checkpoints/ after."
        )


def check_interrupted() -> None:
    """save_checkpoint: when it fails half-way, no step-N is there, and the old one is whole"""
    with tempfile.TemporaryDirectory() as name:
        run = Path(name)
        _, snapshot = begin()
        save_checkpoint(run, 1, snapshot)
        for place in ("write_tensors", "write_json", "rename"):
            owner = os if place == "rename" else checkpoints
            kept = getattr(owner, place)
            setattr(owner, place, fail)
            try:
                save_checkpoint(run, 2, snapshot)
                shutil.rmtree(run / "checkpoints" / "step-2")  # it does without this function
            except OSError:
                pass
            finally:
                setattr(owner, place, kept)
            there = sorted(p.name for p in (run / "checkpoints").iterdir())
            what = f"what lies in checkpoints/ when {place} fails (a full disk)"
            equal(
                there,
                ["step-1"],
                what,
                {
                    "when it is written in its own place: a reader would find half of it": [
                        "step-1",
                        "step-2",
                    ],
                    "when what was begun is not removed": [".step-2.tmp", "step-1"],
                },
            )
        equal(load_newest(run, begin()[1])[0], 1, "the step that is loaded after such a failure")


def fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


def check_load() -> None:
    """load_newest: the newest whole checkpoint; a damaged one is passed over"""
    with tempfile.TemporaryDirectory() as name:
        run = Path(name)
        what = "a run without checkpoints"
        refused(lambda: load_newest(run, begin()[1]), what, [], FileNotFoundError)
        job, snapshot = begin()
        for step in (2, 9, 10):
            go_on(job, snapshot, step)
            save_checkpoint(run, step, snapshot)
        step, folder = load_newest(run, begin()[1])
        equal(step, 10, "the step that is loaded from step-9 and step-10")
        equal(folder.name, "step-10", "the folder that it comes from")
        file = run / "checkpoints" / "step-10" / "optimizer.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        fresh = begin()[1]
        with contextlib.redirect_stderr(io.StringIO()) as told:
            step, _ = load_newest(run, fresh)
        equal(step, 9, "the step that is loaded when a bit of step-10 has changed")
        if "step-10" not in told.getvalue():
            raise Wrong("step-10 is damaged and passed over, and standard error does not name it.")
        other = begin()[1]._replace(settings={**SETTINGS, "lr": 0.02})
        with contextlib.redirect_stderr(io.StringIO()):
            what = "loading checkpoints that were saved with another learning rate"
            refused(lambda: load_newest(run, other), what, [], FileNotFoundError)
        equal(float(fresh.update.done), 9.0, "the schedule's clock after that")


def check_bit_for_bit() -> None:
    """a run resumed after 3 steps is the uninterrupted one, to the last bit"""
    whole, snapshot = begin()
    expected = go_on(whole, snapshot, 6)
    with tempfile.TemporaryDirectory() as name:
        first = begin()
        losses = go_on(*first, 3)
        first[1].history.keep_weights(first[1].model)  # as under --keep best
        save_checkpoint(Path(name), 3, first[1])
        second = begin()
        for parameter in second[1].model.parameters():
            parameter.data.fill_(0.5)  # nothing of a new model may be left
        second[1].history.step, _ = load_newest(Path(name), second[1])
        compare(first[1], second[1])
        losses += go_on(*second, 6)
    for step, (mine, right) in enumerate(zip(losses, expected), start=1):
        what = f"the loss of step {step} ({'before' if step <= 3 else 'after'} the resume)"
        equal(mine, right, what)


def compare(saved: Snapshot, loaded: Snapshot) -> None:
    """Raises Wrong naming the first part of the state that did not come back."""
    parts: dict[str, Callable[[Snapshot], dict[str, torch.Tensor]]] = {
        "the model's": lambda s: s.model.state_dict(),
        "the optimiser's": lambda s: s.update.tensors(s.model),
    }
    for whose, tensors in parts.items():
        mine = tensors(loaded)
        for name, right in tensors(saved).items():
            if not torch.equal(mine[name], right):
                off = float((mine[name].double() - right.double()).abs().max())
                raise Wrong(
                    f"After loading, {whose} {name} is not what was saved: off by {off:.3g}."
                )
    equal(loaded.history.to_json(), saved.history.to_json(), "the history after loading")
    best = loaded.history.best_weights
    if best is None:
        raise Wrong("The best weights that the history held (--keep best) did not come back.")
    for name, right in (saved.history.best_weights or {}).items():
        if not torch.equal(best[name], right):
            raise Wrong(f"Of the best weights, {name} is not what was saved.")
    if loaded.update.rate is not loaded.update.optimizer.param_groups[0]["lr"]:
        raise Wrong("The optimiser's learning rate has become another tensor than update.rate.")

"""Checkpoints: whole after a kill at any moment, and used only if nothing in them is amiss."""

import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
import torch._dynamo  # what an optimiser imports when it is made: here, so that it is preloaded
from safetensors.torch import load_file, save_file

from minibert import DistilBertForSequenceClassification
from tests.tiny import tiny
from tokenizer import WordPieceTokenizer
from train.device import Precision
from train.training.checkpoints import (
    KEPT,
    Snapshot,
    check_agreement,
    check_finite,
    list_checkpoints,
    load_newest,
    remove_newer,
    save_checkpoint,
    sha256,
)
from train.training.history import History
from train.training.optim import LossScale, Update, make_optimizer

SETTINGS = {"some": "setting", "rate": 0.001, "labels": ["up", "down"]}


@pytest.fixture(scope="module")
def vocab(tmp_path_factory) -> Path:
    """A vocabulary file of ten tokens, so that a checkpoint is small."""
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\ne\n")
    return path


@pytest.fixture(scope="module")
def tokenizer(vocab) -> WordPieceTokenizer:
    return WordPieceTokenizer.from_vocab(vocab)


def build(tokenizer: WordPieceTokenizer | None = None, precision: str = "fp32") -> Snapshot:
    torch.manual_seed(0)
    model = DistilBertForSequenceClassification(tiny(n_layers=1))
    scale = LossScale(Precision(torch.device("cpu"), precision))
    update = Update(make_optimizer(model, 1e-3, 0.01), scale, 1_000)
    return Snapshot(model, update, History(per_epoch=4), tokenizer, SETTINGS)


def one_step(snapshot: Snapshot, gradient: float = 0.01) -> None:
    """An update, and after every fourth an evaluation, as at the end of an epoch."""
    for parameter in snapshot.model.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    snapshot.update()
    history = snapshot.history
    history.step += 1
    history.add_steps([{"step": history.step, "loss": 1 / history.step}])
    if history.step % 4 == 0:
        history.add_evaluation(history.step, {"eval_loss": 2 / history.step})
        history.keep_weights(snapshot.model)


def contents(snapshot: Snapshot) -> tuple:
    """All that decides how training goes on."""
    files = [*snapshot.expected().values(), snapshot.history.best_weights or {}]
    tensors = [{name: tensor.tolist() for name, tensor in file.items()} for file in files]
    return tensors, snapshot.history.to_json()


def save_for_ever(folder: Path, vocab: Path) -> None:
    """Runs in a process of its own until it is killed; goes on where the last one was."""
    torch.set_num_threads(1)
    snapshot = build(WordPieceTokenizer.from_vocab(vocab))
    if list_checkpoints(folder):
        snapshot.history.step, _ = load_newest(folder, snapshot)
    while True:
        one_step(snapshot)
        save_checkpoint(folder, snapshot.history.step, snapshot)


@pytest.mark.slow
def test_after_20_kills_the_newest_checkpoint_loads_each_time(tmp_path, vocab, capsys):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imports torch once, not 20 times
    steps = [0]
    for n in range(20):
        process = context.Process(target=save_for_ever, args=(tmp_path, vocab))
        process.start()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:  # wait for a checkpoint of this process's own
            found = list_checkpoints(tmp_path)
            if found and int(found[0].name.removeprefix("step-")) > steps[-1]:
                break
            time.sleep(0.005)
        time.sleep(0.004 * n)  # and then strike at another moment each time
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        snapshot = build()
        step, _ = load_newest(tmp_path, snapshot)
        assert step == int(snapshot.update.done) > steps[-1]
        steps.append(step)
    assert "damaged" not in capsys.readouterr().err


def test_only_the_newest_two_are_kept_and_leftovers_of_a_kill_are_cleared(tmp_path, tokenizer):
    snapshot = build(tokenizer)
    folder = tmp_path / "checkpoints"
    (folder / ".step-3.tmp").mkdir(parents=True)
    (folder / ".step-4.tmp").symlink_to(tmp_path)
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, step, snapshot)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["step-10", "step-2"] and len(names) == KEPT


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_all_of_the_state_comes_back(tmp_path, tokenizer, precision):
    """One of the steps overflows: in fp16 the loss scale is then no longer the first one."""
    snapshot, again = build(tokenizer, precision), build(precision=precision)
    for gradient in (0.01, torch.inf, 0.01, 0.01, 0.01, 0.01):
        one_step(snapshot, gradient)
    save_checkpoint(tmp_path, 6, snapshot)
    again.history.step, _ = load_newest(tmp_path, again)
    assert contents(again) == contents(snapshot)
    for either in (snapshot, again):
        for _ in range(3):
            one_step(either)
    assert contents(again) == contents(snapshot)


@pytest.mark.parametrize("name", ["history.json", "model.safetensors"])
def test_a_checkpoint_without_one_of_its_files_is_not_used(run_folder, capsys, name):
    state = run_folder / "checkpoints" / "step-6" / "state.json"
    saved = json.loads(state.read_text())
    del saved["sha256"][name]
    state.write_text(json.dumps(saved))
    (state.parent / name).unlink()
    step, _ = load_newest(run_folder, build())
    assert step == 5 and f"no sha256 of {name}" in capsys.readouterr().err


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory, tokenizer) -> Path:
    """A run folder with step-5 and step-6, to be copied before it is changed."""
    folder, snapshot = tmp_path_factory.mktemp("run"), build(tokenizer)
    for _ in range(6):
        one_step(snapshot)
        save_checkpoint(folder, snapshot.history.step, snapshot)
    return folder


@pytest.fixture
def run_folder(two_checkpoints, tmp_path) -> Path:
    return shutil.copytree(two_checkpoints, tmp_path / "run")


@pytest.fixture(scope="module")
def expected(two_checkpoints, tmp_path_factory) -> dict[int, tuple]:
    """What each of the two holds, by step."""
    older = shutil.copytree(two_checkpoints, tmp_path_factory.mktemp("older") / "run")
    shutil.rmtree(older / "checkpoints" / "step-6")
    found = {}
    for folder in (two_checkpoints, older):
        snapshot = build()
        step, _ = load_newest(folder, snapshot)
        found[step] = contents(snapshot)
    return found


def rehash(folder: Path) -> None:
    """Make state.json agree with the files, as whoever alters a checkpoint on purpose would."""
    state = json.loads((folder / "state.json").read_text())
    state["sha256"] = {name: sha256(folder / name) for name in state["sha256"]}
    (folder / "state.json").write_text(json.dumps(state))


ODD = [None, True, -1, 0, 7, 1e308, "", "step-5", "../state.json", [], {}, [[]], "\x00", "é"]


def change_json(value, draw: random.Random):
    """A copy with one thing changed somewhere: a key, a value, an entry more or less."""
    if isinstance(value, dict) and value and draw.random() < 0.8:
        changed, key, kind = dict(value), draw.choice(sorted(value)), draw.randrange(5)
        if kind == 0:
            del changed[key]
        elif kind == 1:
            changed[key + "x"] = changed.pop(key)
        elif kind == 2:
            changed[draw.choice(["x", "", "../state.json", "/dev/zero"])] = draw.choice(ODD)
        else:
            changed[key] = change_json(value[key], draw)
        return changed
    return draw.choice([odd for odd in ODD if odd != value])


def mutate_state(folder: Path, draw: random.Random) -> None:
    """Change state.json: as text, or as an object."""
    path = folder / "state.json"
    text, kind = path.read_bytes(), draw.randrange(4)
    place = draw.randrange(len(text))
    if kind == 0:
        path.write_bytes(text[:place])
    elif kind == 1:
        path.write_bytes(text[:place] + draw.randbytes(3) + text[place:])
    else:
        path.write_text(json.dumps(change_json(json.loads(text), draw)))


def mutate_tensors(folder: Path, draw: random.Random) -> None:
    """Change a tensor of the optimiser in name, dtype, shape or value, or a bit of the file."""
    path = folder / "optimizer.safetensors"
    tensors, kind = load_file(path), draw.randrange(7)
    name = draw.choice(sorted(tensors))
    if kind == 0:
        tensors[name + "x"] = tensors.pop(name)
    elif kind == 1:
        del tensors[name]
    elif kind == 2:
        tensors[name] = tensors[name].reshape(-1)[:1].repeat(3)
    elif kind == 3:
        tensors[name] = tensors[name].to(draw.choice([torch.float16, torch.int64, torch.bool]))
    elif kind == 4:
        tensors[name] = torch.full_like(tensors[name], draw.choice([math.nan, math.inf]))
    elif kind == 5:
        tensors["more"] = torch.zeros(2)
    if kind < 6:
        save_file(tensors, path)
        if draw.random() < 0.7:  # whether the checksum or a look at the tensor has to tell
            rehash(folder)
    else:
        data = bytearray(path.read_bytes())
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize(("mutate", "harmful"), [(mutate_state, 75), (mutate_tensors, 100)])
def test_a_changed_checkpoint_is_used_unchanged_or_not_at_all(
    two_checkpoints, expected, tmp_path, capsys, mutate, harmful
):
    """100 changes: what comes back is the newest checkpoint whole, or the one before it and a line
    that says why; never anything else. (Some changes do no harm, such as another torch version.)"""
    fallen_back = 0
    for seed in range(100):
        folder = shutil.copytree(two_checkpoints, tmp_path / str(seed))
        mutate(folder / "checkpoints" / "step-6", random.Random(seed))
        snapshot = build()
        step, _ = load_newest(folder, snapshot)
        assert contents(snapshot) == expected[step], seed
        error = capsys.readouterr().err
        assert ("step-6 is damaged" in error) == (step == 5) and error.count("\n") <= 1, error
        fallen_back += step == 5
    assert fallen_back >= harmful


@pytest.mark.parametrize(
    "plant",
    [lambda file: file.symlink_to("/dev/zero"), os.mkfifo, os.mkdir],
    ids=["link to a device", "FIFO", "folder"],
)
@pytest.mark.parametrize("name", ["state.json", "optimizer.safetensors", "history.json"])
def test_what_is_no_file_is_never_read(run_folder, capsys, name, plant):
    file = run_folder / "checkpoints" / "step-6" / name
    file.unlink()
    plant(file)
    assert load_newest(run_folder, build())[0] == 5
    assert f"{name} is not a regular file" in capsys.readouterr().err


def test_a_name_that_leads_out_of_the_checkpoint_is_not_followed(run_folder, capsys):
    path = run_folder / "checkpoints" / "step-6" / "state.json"
    state = json.loads(path.read_text())
    state["sha256"]["/dev/zero"] = "0" * 64
    path.write_text(json.dumps(state))
    assert load_newest(run_folder, build())[0] == 5
    assert "'/dev/zero' is not a file of this folder" in capsys.readouterr().err


def test_altered_settings_are_not_gone_on_with(run_folder, capsys):
    path = run_folder / "checkpoints" / "step-6" / "state.json"
    state = json.loads(path.read_text())
    state["settings"]["rate"] = 0.002
    path.write_text(json.dumps(state))
    assert load_newest(run_folder, build())[0] == 5
    assert "rate was 0.002 when the run began and is now 0.001" in capsys.readouterr().err


def test_strange_names_beside_checkpoints_are_left_alone(run_folder, tokenizer):
    folder = run_folder / "checkpoints"
    strange = ["step-2-backup", "step-x", "step-", "step-007", "step-" + "9" * 40, "notes"]
    for name in strange:
        (folder / name).mkdir()
    (folder / "step-99").symlink_to(folder / "step-5")
    (folder / "step-98").write_text("")
    assert [path.name for path in list_checkpoints(run_folder)] == ["step-6", "step-5"]
    snapshot = build(tokenizer)
    assert load_newest(run_folder, snapshot)[0] == 6
    save_checkpoint(run_folder, 7, snapshot)
    left = {path.name for path in folder.iterdir()}
    assert left == {*strange, "step-99", "step-98", "step-7", "step-6"}


def test_a_link_in_the_place_of_the_checkpoints_is_refused(two_checkpoints, tmp_path, tokenizer):
    (tmp_path / "checkpoints").symlink_to(two_checkpoints / "checkpoints")
    snapshot = build(tokenizer)
    with pytest.raises(NotADirectoryError, match="is a link"):
        save_checkpoint(tmp_path, 7, snapshot)
    with pytest.raises(NotADirectoryError, match="is a link"):
        load_newest(tmp_path, snapshot)
    assert len(list_checkpoints(two_checkpoints)) == 2


def test_a_damaged_checkpoint_makes_room_for_a_whole_one(run_folder, tokenizer):
    (run_folder / "checkpoints" / "step-6" / "state.json").write_text("{}")
    snapshot = build(tokenizer)
    snapshot.history.step, _ = load_newest(run_folder, snapshot)
    remove_newer(run_folder, 5)
    one_step(snapshot)
    save_checkpoint(run_folder, 6, snapshot)
    assert load_newest(run_folder, build())[0] == 6


@pytest.mark.parametrize("file", ["vocab.txt", "model.safetensors", "optimizer.safetensors"])
def test_a_disk_that_is_full_leaves_the_older_checkpoints_and_no_litter(
    run_folder, tokenizer, file
):
    """A limit on the size of files stands for the disk: it cuts the last byte off this file (or off
    a smaller one before it). safetensors then raises another exception than Python does."""
    limit = (run_folder / "checkpoints" / "step-6" / file).stat().st_size - 1
    snapshot = build(tokenizer)
    load_newest(run_folder, snapshot)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError):
            save_checkpoint(run_folder, 7, snapshot)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(os.listdir(run_folder / "checkpoints")) == ["step-5", "step-6"]
    assert load_newest(run_folder, build())[0] == 6


def test_other_threads_are_said_in_one_line(two_checkpoints, monkeypatch, capsys):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    load_newest(two_checkpoints, build())
    error = capsys.readouterr().err
    assert "-> 77: the last bits may differ" in error and error.count("\n") == 1


def test_a_setting_that_an_older_version_did_not_have_agrees_with_its_default():
    now = {"lr": 0.1, "schedule": "linear"}
    check_agreement({"lr": 0.1}, now)
    with pytest.raises(ValueError, match="schedule was 'linear' when the run began and is now 'c"):
        check_agreement({"lr": 0.1}, now | {"schedule": "cosine"})
    with pytest.raises(ValueError, match=r"lr was 0\.1 when the run began and is now 0\.2"):
        check_agreement({"lr": 0.1}, now | {"lr": 0.2})


def test_weights_that_are_not_finite_are_named_not_saved():
    model = build().model
    with torch.no_grad():
        model.classifier.weight[0, 0] = torch.nan
    with pytest.raises(ArithmeticError, match=r"classifier\.weight is no longer finite"):
        check_finite(model)

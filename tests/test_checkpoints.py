"""Checkpoints survive a process that is killed while it writes them."""

import multiprocessing
import os
import signal
import time

import pytest
import torch
import torch._dynamo  # what an optimiser imports when it is made: here, so that it is preloaded

from minibert import DistilBertForSequenceClassification
from tests.tiny import REAL_VOCABULARY, tiny
from tokenizer import WordPieceTokenizer
from train.device import Precision
from train.training.checkpoints import (
    KEPT,
    check_finite,
    list_checkpoints,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from train.training.optim import LossScale, Update, make_optimizer


def build(precision: str = "fp32") -> tuple[DistilBertForSequenceClassification, Update]:
    torch.manual_seed(0)
    model = DistilBertForSequenceClassification(tiny(**REAL_VOCABULARY))
    scale = LossScale(Precision(torch.device("cpu"), precision))
    return model, Update(make_optimizer(model, 1e-3, 0.01), scale, 1_000)


def one_step(model: torch.nn.Module, update: Update, gradient: float = 0.01) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    update()


def save_for_ever(folder) -> None:
    """Runs in a process of its own until it is killed; goes on where the last one was."""
    torch.set_num_threads(1)
    model, update = build()
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    step = 0
    if list_checkpoints(folder):
        newest, state = newest_checkpoint(folder)
        load_checkpoint(newest, model, update)
        step = state["step"]
    while True:
        one_step(model, update)
        step += 1
        save_checkpoint(folder, step, model, update, tokenizer, {"some": "setting"})


@pytest.mark.slow
def test_after_20_kills_the_newest_checkpoint_loads_each_time(tmp_path, capsys):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imports torch once, not 20 times
    steps = [0]
    for n in range(20):
        process = context.Process(target=save_for_ever, args=(tmp_path,))
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
        folder, state = newest_checkpoint(tmp_path)
        model, update = build()
        load_checkpoint(folder, model, update)
        assert state["step"] == int(update.done) > steps[-1]
        steps.append(state["step"])
    assert "damaged" not in capsys.readouterr().err


def test_only_the_newest_two_are_kept_and_leftovers_of_a_kill_are_cleared(tmp_path):
    model, update = build()
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    (tmp_path / "checkpoints" / ".step-3.tmp").mkdir(parents=True)
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, step, model, update, tokenizer, {})
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-10", "step-2"] and len(names) == KEPT


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_all_of_the_optimisers_state_comes_back(tmp_path, precision):
    """One of the steps overflows: in fp16 the loss scale is then no longer the first one."""
    model, update = build(precision)
    for gradient in (0.01, torch.inf, 0.01):
        one_step(model, update, gradient)
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    save_checkpoint(tmp_path, 3, model, update, tokenizer, {})
    again, its_update = build(precision)
    load_checkpoint(newest_checkpoint(tmp_path)[0], again, its_update)
    for m, u in ((model, update), (again, its_update)):
        one_step(m, u)
    ours, theirs = update.tensors(model), its_update.tensors(again)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))


def test_weights_that_are_not_finite_are_named_not_saved():
    model, _ = build()
    with torch.no_grad():
        model.classifier.weight[0, 0] = torch.nan
    with pytest.raises(ArithmeticError, match=r"classifier\.weight is no longer finite"):
        check_finite(model)

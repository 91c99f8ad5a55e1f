"""One step against the whole batch in one pass; the loop against transformers and torch.optim."""

import contextlib
import tempfile
from typing import ClassVar

import numpy as np
import torch
import transformers

from tests.exercise.checks.training_parts import (
    FP16,
    FP32,
    make_data,
    make_job,
    make_model,
    make_update,
)
from tests.exercise.words import Wrong, close, equal
from train.device import Precision, Processes
from train.training import loop, step
from train.training.loop import training
from train.training.step import eager_step, micro_batches

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def check_cut() -> None:
    """micro_batches: every text in one pass, each pass weighing its share of the texts"""
    for n_rows, n_passes in ((5, 2), (8, 4), (7, 4), (3, 4), (1, 1)):
        rows = np.arange(10, 10 + n_rows)
        parts = micro_batches(rows, n_passes)
        what = f"{n_rows} texts in {n_passes} passes"
        texts = [row for part, _ in parts for row in part.tolist()]
        equal(texts, rows.tolist(), f"{what}: the texts of all passes, in order,")
        sizes = [len(part) for part, _ in parts]
        if max(sizes) - min(sizes) > 1 or len(sizes) != min(n_rows, n_passes):
            raise Wrong(f"{what}: sizes {sizes}. As equal as can be, and none empty.")
        weights = [round(float(weight), 9) for _, weight in parts]
        expected = [round(size / n_rows, 9) for size in sizes]
        equal(
            weights,
            expected,
            f"{what}: the weights",
            {
                "when all passes weigh the same: a short pass's texts would count more": [
                    round(1 / len(sizes), 9) for _ in sizes
                ],
                "when the sum is not made a mean: n of N texts weigh n / N": [
                    float(s) for s in sizes
                ],
            },
        )


def check_processes() -> None:
    """micro_batches: each of several processes takes its share of the passes"""
    rows = np.arange(7)
    seen = dict.fromkeys(range(7), 0.0)
    for rank in range(2):
        for part, weight in micro_batches(rows, 2, Processes(rank, 2)):
            for row in part.tolist():
                seen[row] += weight / len(part) / 2  # gradients are averaged over two processes
    for row, weight in seen.items():
        equal(round(weight, 9), round(1 / 7, 9), f"2 processes, 7 texts: what text {row} weighs")
    alone = micro_batches(np.arange(1), 1, Processes(1, 2))
    what = "1 text, 2 processes: the weights of the second process's passes (it must not wait)"
    equal([float(weight) for _, weight in alone], [0.0], what)


def check_weighted() -> None:
    """micro_batches: texts that have weights of their own count by these"""
    parts = micro_batches(np.arange(4), 2, weights=np.array([1.0, 1.0, 3.0, 5.0]))
    equal([float(w) for _, w in parts], [0.2, 0.8], "weights 1, 1, 3, 5 in two passes")


def whole(n_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient norm of the rows in one pass, by torch alone."""
    model, data = make_model(), make_data()
    ids, mask, labels = data.batch(np.arange(n_rows))
    loss = torch.nn.functional.cross_entropy(model(ids, mask).logits, labels)
    loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
    return loss.detach(), norm


def check_step() -> None:
    """eager_step: 4 x 2 texts, or a ragged last step, are the whole batch in one pass"""
    for n_rows, n_passes in ((8, 1), (8, 4), (7, 4), (5, 2)):
        model, data = make_model(), make_data()
        job = make_job(model, make_update(model), data, grad_accum=n_passes)
        rows = np.arange(n_rows)
        loss, norm = whole(n_rows)
        with torch.no_grad():
            parts = [
                model(*data.batch(part)[:2], data.batch(part)[2]).loss
                for part in np.array_split(rows, n_passes)
            ]
        values = eager_step(job, rows)
        equal(tuple(values.shape), (3,), "the shape of what a step gives (loss, rate, norm)")
        what = f"of a step of {n_rows} texts in {n_passes} passes"
        slips = {
            "when the passes are summed without their weights": torch.stack(parts).sum(),
            "when only the last pass is kept": parts[-1],
            "when all passes weigh the same, whatever their number of texts": (
                torch.stack(parts).mean()
            ),
        }
        close(values[0], loss, f"the loss {what}", tolerance=1e-5, mistakes=slips)
        close(
            values[2],
            norm,
            f"the gradient norm {what}",
            tolerance=1e-4,
            mistakes={
                "when only the last pass leaves a gradient": norm_of_last(n_rows, n_passes),
            },
        )
        close(values[1], torch.tensor(1e-2), f"the learning rate {what}", tolerance=1e-8)


def norm_of_last(n_rows: int, n_passes: int) -> torch.Tensor:
    model, data = make_model(), make_data()
    part = np.array_split(np.arange(n_rows), n_passes)[-1]
    ids, mask, labels = data.batch(part)
    (model(ids, mask, labels).loss * len(part) / n_rows).backward()
    return torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])


def check_scaled() -> None:
    """train_step: the loss is multiplied by the scale before backward, and reported without it"""
    model, data = make_model(), make_data()
    update = make_update(model, FP16, initial=1024.0)
    values = eager_step(make_job(model, update, data, FP16, grad_accum=2), np.arange(8))
    loss, norm = whole(8)
    if float(values[0]) > 100 * float(loss):
        raise Wrong(
            f"With scale 1024 the reported loss is {float(values[0]):.4g}, and should "
            f"be {float(loss):.4g}: report it without the scale."
        )
    if float(values[2]) < 0.01 * float(norm):
        raise Wrong(
            f"With scale 1024 the gradient norm is {float(values[2]):.4g} and should be "
            f"{float(norm):.4g}. The update divides by the scale: call backward on loss x scale."
        )
    close(values[0], loss, "the loss in fp16 with scale 1024", tolerance=0.02)
    close(values[2], norm, "the gradient norm in fp16 with scale 1024", tolerance=0.05)


def check_autocast() -> None:
    """train_step: the forward pass computes under autocast"""
    model, data = make_model(), make_data()
    precision = Precision(torch.device("cpu"), "bf16")
    seen = []
    model.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    eager_step(make_job(model, make_update(model), data, precision), np.arange(8))
    if not seen or not all(seen):
        raise Wrong("In bf16 the forward pass runs without job.precision.autocast().")
    if torch.is_autocast_enabled("cpu"):
        raise Wrong("Autocast is still on after the step: use it in a `with` block.")


def check_loop() -> None:
    """training: one step at a time, numbered from 1, the model in train mode"""
    model, data = make_model(), make_data(24)
    model.eval()
    job = make_job(model, make_update(model, total_steps=5), data)
    steps = training(job)
    before = model.classifier.weight.detach().clone()
    first = next(steps)
    if not (isinstance(first, tuple) and len(first) == 2):
        raise Wrong("training should yield pairs: (steps done, values of the step).")
    equal(first[0], 1, "the steps done after the first one")
    if not model.training:
        raise Wrong("The model was left in eval mode: without dropout. See model.train().")
    if torch.equal(model.classifier.weight, before):
        raise Wrong("After the first step classifier.weight is what it was.")
    equal([done for done, _ in steps], [2, 3, 4, 5], "the steps done after the others")


def check_dropout() -> None:
    """training: dropout is a function of (seed, step): from a later step on it is the same run"""
    rates = {"dropout": 0.3, "seq_classif_dropout": 0.3}
    runs = []
    for stops in ([6], [2, 6]):
        model, data = make_model(**rates), make_data(24)
        job = make_job(model, make_update(model, total_steps=6), data)
        values, first_step = [], 0
        for stop in stops:
            for done, figures in training(job, first_step):
                values.append(figures)
                if done == stop:
                    break
            first_step = stop
            torch.rand(100)  # what an evaluation between two steps may draw
        runs.append(values)
    for number, (one, two) in enumerate(zip(*runs), start=1):
        what = f"the loss of step {number} of a run that was stopped after 2 steps and gone on with"
        close(two[0], one[0], what, tolerance=0)


class Spy(Processes):
    """One process that remembers which model it has wrapped."""

    wrapped: ClassVar[list] = []

    def wrap(self, model):
        self.wrapped.append(model)
        return model


def check_processes_exchange() -> None:
    """several processes: the model is wrapped, gradients are exchanged in the last pass alone"""
    model, data = make_model(), make_data(8)
    job = make_job(model, make_update(model, total_steps=1), data, grad_accum=3)
    seen = []

    @contextlib.contextmanager
    def averaging(model, last):
        seen.append(last)
        yield

    kept, step.averaging = step.averaging, averaging
    try:
        list(training(job._replace(processes=Spy())))
    finally:
        step.averaging = kept
    equal(seen, [False, False, True], "what `averaging` is told of `last`, in three passes,")
    if Spy.wrapped[-1:] != [model]:
        raise Wrong("job.processes.wrap was not called with the model.")


def check_captured() -> None:
    """on a GPU: a step that can be captured is given to CapturedStep"""
    model, data = make_model(), make_data(16)
    job = make_job(model, make_update(model, total_steps=2), data)
    given = []

    def captured(job):
        return lambda rows: given.append(rows.tolist()) or "captured"

    kept = loop.is_capturable, loop.CapturedStep
    loop.is_capturable, loop.CapturedStep = lambda job: True, captured
    try:
        values = list(training(job))
    finally:
        loop.is_capturable, loop.CapturedStep = kept
    equal(values, [(1, "captured"), (2, "captured")], "what two captured steps yield")
    equal(given, [job.steps[k].tolist() for k in range(2)], "the rows that they are given")


def check_reference() -> None:
    """ten steps: the losses of transformers' model, torch.optim.AdamW and a linear schedule"""
    ours = make_model()
    with tempfile.TemporaryDirectory() as folder:
        ours.save_pretrained(folder)
        theirs = transformers.DistilBertForSequenceClassification.from_pretrained(folder).train()
    named = list(theirs.named_parameters())
    no_decay = [p for n, p in named if n.endswith("bias") or "norm" in n.lower()]
    decay = [p for n, p in named if not (n.endswith("bias") or "norm" in n.lower())]
    groups = [{"params": decay, "weight_decay": 0.01}, {"params": no_decay, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=1e-2)
    schedule = transformers.get_linear_schedule_with_warmup(reference, 0, 10)
    data = make_data(80)
    job = make_job(ours, make_update(ours), data, FP32, grad_accum=2)
    for done, values in training(job):
        ids, mask, labels = data.batch(job.steps[done - 1])
        loss = theirs(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        reference.step()
        schedule.step()
        reference.zero_grad()
        close(values[0], loss.detach(), f"the loss of step {done}", tolerance=2e-3)

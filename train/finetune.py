"""python -m train finetune: encoder and head, trained together on labelled texts."""

import dataclasses
from typing import NamedTuple

import numpy as np
import torch

from minibert import DistilBertForSequenceClassification
from tokenizer import WordPieceTokenizer
from train.batches import Encoded, padding_share
from train.data import Data, describe, encode, fingerprint, load_data
from train.device import Precision, Processes, choose_precision, current_processes
from train.forward import predict_logits
from train.metrics import PREFIX, measure
from train.options import FinetuneOptions
from train.report import write_report
from train.runs import Run
from train.training.checkpoints import (
    check_agreement,
    check_finite,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from train.training.loop import Steps, fit
from train.training.optim import LossScale, Update, make_optimizer

FREE_TO_CHANGE = ("output_dir", "overwrite", "resume", "save_steps")  # when a run is resumed


class Job(NamedTuple):
    """All that a fine-tuning run works with."""

    data: Data
    tokenizer: WordPieceTokenizer
    model: DistilBertForSequenceClassification
    encoded: dict[str, Encoded]
    steps: Steps
    update: Update
    precision: Precision
    processes: Processes
    settings: dict  # what a resumed run must agree with

    @property
    def labels(self) -> list[str]:
        """Label names in the order of their ids."""
        return self.data.labels


def run(options: FinetuneOptions) -> None:
    """Load, train, evaluate, save."""
    run = Run("finetune", options, options.resume)
    job = prepare(options)
    first_step = resume(run, job) if options.resume else 0
    job.processes.wait()  # nobody writes before all have read
    if job.processes.is_main:
        run.open(labels=job.labels, settings=job.settings)
        run.cut_log(first_step)
    print(f"{options.model} on {describe(job.data)}")
    print(f"{job.precision}; {job.update.total_steps} steps of {job.steps.step_size} texts")
    logits = train(run, job, options, first_step)
    if "test" in job.encoded:
        logits["test"] = predict_logits(
            job.model, job.encoded["test"], job.precision, job.processes, "test"
        )
    if job.processes.is_main:
        finish(run, job, logits)


def prepare(options: FinetuneOptions) -> Job:
    """Data, model and optimiser in their first state, the same on every process."""
    processes = current_processes()
    precision = choose_precision(options.device, options.precision)
    data = load_data(options)
    if "train" not in data.splits:
        raise ValueError("fine-tuning needs a training split; name one with --train-file")
    labels = data.labels
    torch.manual_seed(options.seed)  # the new head's first weights
    tokenizer = WordPieceTokenizer.from_pretrained(options.model)
    model = DistilBertForSequenceClassification.from_pretrained(
        options.model,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    ).to(precision.device)
    model.distilbert.check_inputs = False  # `encode` has checked all that will come
    encoded = {
        split: encode(rows, tokenizer, model.config, options.max_length, precision.device)
        for split, rows in data.splits.items()
    }
    step_size = options.batch_size * options.grad_accum * processes.world
    steps = Steps(encoded["train"].lengths, step_size, options.seed)
    total = options.epochs * steps.per_epoch
    optimizer = make_optimizer(model, options.lr, options.weight_decay)
    update = Update(optimizer, LossScale(precision), min(total, options.max_steps or total))
    settings = {
        name: value
        for name, value in dataclasses.asdict(options).items()
        if name not in FREE_TO_CHANGE
    } | {
        "labels": labels,
        "precision": precision.name,
        "processes": processes.world,
        "data": {split: fingerprint(rows) for split, rows in data.splits.items()},
    }
    return Job(data, tokenizer, model, encoded, steps, update, precision, processes, settings)


def resume(run: Run, job: Job) -> int:
    """Load the newest whole checkpoint; the number of steps it has behind it."""
    folder, state = newest_checkpoint(run.folder)
    check_agreement(state["settings"], job.settings)
    load_checkpoint(folder, job.model, job.update)
    print(f"resuming after step {state['step']} from {folder}")
    return state["step"]


def train(run: Run, job: Job, options: FinetuneOptions, first_step: int) -> dict[str, np.ndarray]:
    """Train to the end; {"validation": logits (N, C)} of the last evaluation, if there is one."""
    logits = {}

    def evaluate(step: int) -> str:
        epoch = step / job.steps.per_epoch
        if "validation" not in job.encoded:
            return f"epoch {epoch:.3g}"
        logits["validation"] = predict_logits(
            job.model, job.encoded["validation"], job.precision, job.processes
        )
        metrics = measure(
            logits["validation"], job.data.splits["validation"]["label"].to_numpy(), "eval"
        )
        if job.processes.is_main:
            run.log([{"step": step, "epoch": epoch, **metrics}])
        return f"epoch {epoch:.3g}: " + ", ".join(
            f"{name} {metrics['eval_' + name]:.4f}" for name in ("loss", "accuracy", "f1")
        )

    def save(step: int) -> None:
        check_finite(job.model)
        if job.processes.is_main:
            save_checkpoint(
                run.folder, step, job.model, job.update, job.tokenizer, settings=job.settings
            )
        job.processes.wait()

    fit(
        job.model,
        job.update,
        job.encoded["train"],
        job.steps,
        options,
        job.precision,
        write_log=run.log,
        at_epoch_end=evaluate,
        save=save,
        first_step=first_step,
        processes=job.processes,
    )
    return logits


def finish(run: Run, job: Job, logits: dict[str, np.ndarray]) -> None:
    """The saved model, the final figures, the predictions."""
    check_finite(job.model)
    job.model.save_pretrained(run.folder / "final")
    job.tokenizer.save_pretrained(run.folder / "final")
    metrics = {
        "global_step": job.update.total_steps,
        "runtime": run.seconds,
        "skipped_steps": int(job.update.skipped),
        "padding_share": padding_share(job.encoded["train"].lengths, job.steps.rows),
    }
    predictions = {}
    for split, scores in logits.items():
        rows, name = job.data.splits[split], PREFIX[split]
        labels = rows["label"].to_numpy()
        metrics |= measure(scores, labels, name)
        predictions[split] = (rows["text"], labels, scores)
        print(f"{split} accuracy {metrics[name + '_accuracy']:.4f}")
    run.write_metrics(metrics)
    if predictions:
        run.write_predictions(predictions, job.labels)
    write_report(run.folder)
    print(f"run folder: {run.folder} ({run.seconds:.0f} s)")

"""python -m train finetune: encoder and head, trained together on labelled texts."""

from typing import NamedTuple

import numpy as np
import torch

from minibert import DistilBertForSequenceClassification
from minibert.inputs import IGNORED
from tokenizer import WordPieceTokenizer
from train.batches import Encoded, padding_share
from train.data import Data, describe, encode, fingerprint, hold_out, load_data
from train.device import Precision, current_processes
from train.forward import load_model, predict_logits, trained_labels
from train.metrics import PREFIX, baseline, measure, predictions
from train.options import FinetuneOptions
from train.progress import progress
from train.runs import Result, Run
from train.training.checkpoints import (
    check_agreement,
    check_finite,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from train.training.loop import StepLog, polite_interrupt, stop_if_diverged, training
from train.training.optim import LossScale, Update, make_optimizer
from train.training.step import Job, Steps

FREE_TO_CHANGE = ("output_dir", "overwrite", "resume", "save_steps")  # when a run is resumed


class Loaded(NamedTuple):
    """Data, tokenizer and model before the first step, the same on every process."""

    data: Data
    tokenizer: WordPieceTokenizer
    model: DistilBertForSequenceClassification
    precision: Precision
    encoded: dict[str, Encoded]
    settings: dict  # all that decides the outcome: a resumed run must agree with it


def run(options: FinetuneOptions) -> Result:
    """Load, train, evaluate, save."""
    with Run("finetune", options, options.resume) as run:
        loaded = load(options)
        job = prepare(loaded, options)
        first_step = resume(run, job, loaded.settings) if options.resume else 0
        job.processes.wait()  # rank 0 changes the folder only after all have read their checkpoint
        if job.processes.is_main:
            run.open(labels=loaded.data.labels, settings=loaded.settings)
            run.cut_log(first_step)
        note = " (suited to the packaged weights)" if options.model == "demo" else ""
        rate = f"learning rate {options.lr:g}, {options.epochs} epochs{note}"
        print(f"{options.model} on {describe(loaded.data)}; {rate}")
        print(f"{job.precision}; {job.update.total_steps} steps of {job.steps.step_size} texts")
        logits = train(run, loaded, job, options, first_step)
        if "test" in loaded.encoded:
            logits["test"] = predict_logits(
                job.model, loaded.encoded["test"], job.precision, job.processes, "test"
            )
        if job.processes.is_main:
            finish(run, loaded, job, logits)
        loaded.model.eval()  # as after loading: what the caller does with it is to use it
        run.result.model, run.result.tokenizer = loaded.model, loaded.tokenizer
    return run.result


def load(options: FinetuneOptions) -> Loaded:
    """Read the data, load tokenizer and model with a head for its labels, encode the texts."""
    # A model that has been fine-tuned keeps its ids: were they chosen from the data again, its
    # trained classifier would answer other labels than the ones it has learnt.
    data = load_data(options, None if options.new_head else trained_labels(options.model))
    if "train" not in data.splits:
        raise ValueError("fine-tuning needs a training split; name one with --train-file")
    data = hold_out(data, options.eval_share, options.seed)
    torch.manual_seed(options.seed)  # the new head's first weights
    tokenizer, model, precision = load_model(
        options,
        DistilBertForSequenceClassification.from_pretrained,
        new_head=options.new_head,
        num_labels=len(data.labels),
        id2label=dict(enumerate(data.labels)),
        label2id={label: i for i, label in enumerate(data.labels)},
    )
    model.distilbert.check_inputs = False  # `encode` has checked all that will come
    encoded = {
        split: encode(rows, tokenizer, model.config, options.max_length, precision.device)
        for split, rows in data.splits.items()
    }
    settings = {k: v for k, v in options.as_dict().items() if k not in FREE_TO_CHANGE} | {
        "labels": data.labels,
        "precision": precision.name,  # what "auto" stands for on this machine
        "processes": current_processes().world,
        "data": {split: fingerprint(rows) for split, rows in data.splits.items()},
    }
    return Loaded(data, tokenizer, model, precision, encoded, settings)


def prepare(loaded: Loaded, options: FinetuneOptions) -> Job:
    """The steps to take, and the optimiser in its first state."""
    model, data, processes = loaded.model, loaded.encoded["train"], current_processes()
    step_size = options.batch_size * options.grad_accum * processes.world
    steps = Steps(data.lengths, step_size, options.seed)
    total = options.epochs * steps.per_epoch
    optimizer = make_optimizer(model, options.lr, options.weight_decay)
    update = Update(optimizer, LossScale(loaded.precision), min(total, options.max_steps or total))
    return Job(model, update, data, steps, loaded.precision, processes, options.grad_accum)


def resume(run: Run, job: Job, settings: dict) -> int:
    """Load the newest whole checkpoint; the number of steps it has behind it."""
    folder, state = newest_checkpoint(run.folder)
    check_agreement(state["settings"], settings)
    load_checkpoint(folder, job.model, job.update)
    print(f"resuming after step {state['step']} from {folder}")
    return state["step"]


def train(
    run: Run, loaded: Loaded, job: Job, options: FinetuneOptions, first_step: int
) -> dict[str, np.ndarray]:
    """Train to the end; {"validation": logits (N, C)} of the last evaluation, if there is one.

    A checkpoint is written every --save-steps steps, and before Ctrl-C ends the run
    (KeyboardInterrupt). Raises ArithmeticError where training diverges; nothing is saved then.
    """
    total, per_epoch = job.update.total_steps, job.steps.per_epoch
    log = StepLog(job.processes)
    logits: dict[str, np.ndarray] = {}
    if first_step and first_step % per_epoch == 0:
        # The run was stopped after an epoch's last step, before the evaluation that follows it.
        line, logits = evaluate(run, loaded, job, first_step)
        print(line)
    with (
        polite_interrupt() as interrupted,
        progress("train", total, "steps", first_step, not job.processes.is_main) as bar,
    ):
        for done, values in training(job, first_step):
            bar.update(1)
            if values is None:
                bar.write(f"step {done} skipped: all its labels are {IGNORED}")
            else:
                log.add(done, values)
            # All processes must stop after the same step: if one were gone, the others would wait
            # for its gradients for ever.
            stop = job.processes.any(interrupted())
            epoch_ends = done % per_epoch == 0 or done == total
            save_due = stop or (options.save_steps and done % options.save_steps == 0)
            if log.is_full or epoch_ends or save_due:
                records = log.read()
                if job.processes.is_main:
                    run.log(records)  # before the check, so that the log shows the NaN
                stop_if_diverged(records, job.update)
                if records:
                    loss = np.mean([record["loss"] for record in records])
                    bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            if save_due and done < total:
                save(run, loaded, job, done)
            if stop and done < total:
                raise KeyboardInterrupt
            if epoch_ends:
                line, logits = evaluate(run, loaded, job, done)
                bar.write(line)
    return logits


def evaluate(run: Run, loaded: Loaded, job: Job, step: int) -> tuple[str, dict[str, np.ndarray]]:
    """Measure the model on the validation split and log it: a line to print, and
    {"validation": logits (N, C)}. Without such a split: the epoch alone, and {}."""
    epoch = step / job.steps.per_epoch
    if "validation" not in loaded.encoded:
        return f"epoch {epoch:.3g}", {}
    logits = predict_logits(job.model, loaded.encoded["validation"], job.precision, job.processes)
    metrics = measure(logits, loaded.data.splits["validation"]["label"].to_numpy(), "eval")
    if job.processes.is_main:
        run.log([{"step": step, "epoch": epoch, **metrics}])
    figures = (f"{name} {metrics['eval_' + name]:.4f}" for name in ("loss", "accuracy", "f1"))
    return f"epoch {epoch:.3g}: " + ", ".join(figures), {"validation": logits}


def save(run: Run, loaded: Loaded, job: Job, step: int) -> None:
    """Write a checkpoint; no process goes on before it is on the disk."""
    check_finite(job.model)
    if job.processes.is_main:
        save_checkpoint(
            run.folder, step, loaded.model, job.update, loaded.tokenizer, loaded.settings
        )
    job.processes.wait()


def finish(run: Run, loaded: Loaded, job: Job, logits: dict[str, np.ndarray]) -> None:
    """The saved model, the final figures, the predictions."""
    check_finite(job.model)
    run.write_model(loaded.model, loaded.tokenizer)
    last_epoch = (job.update.total_steps - 1) // job.steps.per_epoch
    metrics = {
        "global_step": job.update.total_steps,
        "runtime": run.seconds,
        "skipped_steps": int(job.update.skipped),
        "padding_share": padding_share(job.data.lengths, job.steps.of_epoch(last_epoch)),
    }
    train_labels = loaded.data.splits["train"]["label"].to_numpy()
    for split, scores in logits.items():
        name = PREFIX[split]
        labels = loaded.data.splits[split]["label"].to_numpy()
        metrics |= measure(scores, labels, name)
        metrics[f"{name}_baseline"] = baseline(train_labels, labels)
        print(
            f"{split} accuracy {metrics[name + '_accuracy']:.4f} (majority baseline "
            f"{metrics[name + '_baseline']:.4f})"
        )
    run.write_metrics(metrics)
    if logits:
        run.write_predictions(predictions(loaded.data.splits, logits, loaded.data.labels))

"""python -m train finetune: encoder and head, trained together on labelled texts."""

import json
import shlex
import signal
import time
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from minibert import DistilBertForSequenceClassification
from tokenizer import WordPieceTokenizer
from train.batches import Encoded
from train.data import Data, describe, encode_all, fingerprint, load_training_data
from train.device import Precision, current_processes
from train.folders import cache_folder
from train.forward import load_model, predict_logits, trained_labels
from train.metrics import PREFIX, baseline, measure, predictions
from train.options import PROGRAM, FinetuneOptions
from train.progress import progress
from train.runs import Result, Run
from train.stop import Stopped, StopRequest, handling
from train.training.checkpoints import (
    Snapshot,
    check_agreement,
    check_finite,
    list_checkpoints,
    load_newest,
    read_settings,
    remove_newer,
    save_checkpoint,
)
from train.training.graphs import uncaptured
from train.training.history import HEADER, History, table_row
from train.training.loop import (
    StepLog,
    padding_of_epoch,
    stop_if_diverged,
    training,
)
from train.training.optim import LossScale, Update, freeze, make_optimizer
from train.training.step import Job, Steps, balanced_weights

# When a run is resumed. Not even the last bit of a result depends on these.
FREE_TO_CHANGE = ("output_dir", "overwrite", "resume", "save_steps", "save_minutes", "no_cache")


class Loaded(NamedTuple):
    """Options, data, tokenizer and model before the first step, the same on every process."""

    options: FinetuneOptions
    data: Data
    tokenizer: WordPieceTokenizer
    model: DistilBertForSequenceClassification
    precision: Precision
    encoded: dict[str, Encoded]
    settings: dict  # all that decides the outcome: a resumed run must agree with it


def run(options: FinetuneOptions) -> Result:
    """Load, train, evaluate, save. A signal ends it with Stopped, saved if a step has been done."""
    with Run("finetune", options, options.resume) as run:
        loaded = load(options)
        job = prepare(loaded)
        history = History(job.steps.per_epoch)
        if options.resume:
            resume(run, loaded, job, history)
        job.processes.wait()  # rank 0 changes the folder only after all have read their checkpoint
        if job.processes.is_main:
            begin(run, loaded, history)
        is_packaged = options.model == "demo" and not {"lr", "epochs"} & options.given.keys()
        note = " (suited to the packaged weights)" if is_packaged else ""
        rate = f"learning rate {options.lr:g}, {options.epochs} epochs{note}"
        where = describe(loaded.data, cache_folder(options.no_cache))
        print(f"{options.model} on {where}; {rate}")
        print(f"{job.precision}; {job.update.total_steps} steps of {job.steps.step_size} texts")
        if steps := uncaptured(job):
            print(f"without CUDA graphs: {steps}")
        request = StopRequest(job.processes.world == 1, job.processes.is_main)
        with handling(request):
            try:
                logits = train(run, loaded, job, history, request)
                with request.at_once():
                    finish(run, loaded, job, history, logits)
                    run.close()
            except Stopped as stop:
                if stop.may_save and history.step:
                    save(run, loaded, job, history)
                raise Stopped(stop.number, how_to_go_on(run, job, history)) from None
        loaded.model.eval()  # as after loading: what the caller does with it is to use it
        run.result.model, run.result.tokenizer = loaded.model, loaded.tokenizer
    return run.result


def load(options: FinetuneOptions) -> Loaded:
    """Read the data; load all that the run works with."""
    # A model that has been fine-tuned keeps its ids: were they chosen from the data again, its
    # trained classifier would answer other labels than the ones it has learnt.
    names = None if options.new_head else trained_labels(options.model)
    return load_for(options, load_training_data(options, names))


def load_for(options: FinetuneOptions, data: Data) -> Loaded:
    """Tokenizer and model with a head for the data's labels; the texts as token ids."""
    torch.manual_seed(options.seed)  # the new head's first weights
    tokenizer, model, precision = load_model(
        options,
        DistilBertForSequenceClassification.from_pretrained,
        new_head=options.new_head or options.resume,  # a resumed run's is in its checkpoint
        num_labels=len(data.labels),
        problem_type=None,  # the new head chooses one class, whatever the checkpoint's did
        id2label=dict(enumerate(data.labels)),
        label2id={label: i for i, label in enumerate(data.labels)},
    )
    model.distilbert.check_inputs = False  # `encode_all` has checked all that will come
    encoded = encode_all(data, tokenizer, model, options)
    if "validation" not in encoded and (options.keep == "best" or options.patience):
        raise ValueError("--keep best and --patience need a validation split")
    settings = {k: v for k, v in options.as_dict().items() if k not in FREE_TO_CHANGE} | {
        "labels": data.labels,
        "precision": precision.name,  # what "auto" stands for on this machine
        "processes": current_processes().world,
        "data": {split: fingerprint(rows) for split, rows in data.splits.items()},
    }
    # Through JSON, as the settings of a checkpoint have been: a tuple becomes a list.
    return Loaded(
        options, data, tokenizer, model, precision, encoded, json.loads(json.dumps(settings))
    )


def prepare(loaded: Loaded) -> Job:
    """The steps to take, and the optimiser in its first state."""
    options, model, data = loaded.options, loaded.model, loaded.encoded["train"]
    processes = current_processes()
    step_size = options.batch_size * options.grad_accum * processes.world
    steps = Steps(data.lengths, step_size, options.seed)
    total = options.epochs * steps.per_epoch
    total = min(total, options.max_steps or total)
    if options.warmup_steps > total:
        raise ValueError(f"--warmup-steps {options.warmup_steps}: the run has {total} steps")
    if options.train_layers is not None:
        freeze(model, options.train_layers)
    optimizer = make_optimizer(model, options.lr, options.weight_decay)
    scale = LossScale(loaded.precision)
    weights = None
    if options.class_weights == "balanced":
        weights = balanced_weights(data, len(loaded.data.labels))
    return Job(
        model,
        Update(optimizer, scale, total, options.schedule, options.warmup_steps),
        data,
        steps,
        loaded.precision,
        processes,
        options.grad_accum,
        weights,
    )


def resume(run: Run, loaded: Loaded, job: Job, history: History) -> None:
    """Load the newest whole checkpoint into model, update and history."""
    check_agreement(read_settings(run.folder), loaded.settings)
    history.step, folder = load_newest(run.folder, snapshot(loaded, job, history))
    print(f"resuming after step {history.step} from {folder}")


def begin(run: Run, loaded: Loaded, history: History) -> None:
    """Create the run folder, or take out of it what an interrupted run did after its checkpoint."""
    run.open(labels=loaded.data.labels, settings=loaded.settings)
    run.cut_log(history.step)
    remove_newer(run.folder, history.step)
    if history.is_evaluated(history.step):  # cut off, but in the checkpoint
        run.log(history.evaluations[-1:])


def train(
    run: Run, loaded: Loaded, job: Job, history: History, request: StopRequest
) -> dict[str, np.ndarray]:
    """Train to the end; {"validation": logits (N, C)} of the last evaluation, if there was one.

    Raises Stopped where a signal asks for it, and ArithmeticError where training diverges.
    """
    options, total, world = loaded.options, job.update.total_steps, job.processes.world
    log, logits, saved_at = StepLog(job.processes), {}, time.monotonic()
    if is_evaluation_due(loaded, job, history.step) and not history.is_evaluated(history.step):
        # The run was stopped between a step and the evaluation that follows it.
        logits = evaluate(run, loaded, job, history, request)
    if history.is_out_of_patience(options.patience):
        return logits
    with progress("train", total, "steps", history.step, not job.processes.is_main) as bar:
        for done, values in training(job, history.step):
            history.step = done
            bar.update(1)
            log.add(done, values)
            evaluation_due = is_evaluation_due(loaded, job, done)
            save_due = bool(options.save_steps) and done % options.save_steps == 0
            reading_due = log.is_full or evaluation_due or save_due
            is_late = 0 < options.save_minutes * 60 < time.monotonic() - saved_at
            stop = request.number > 0
            if world > 1:
                # All processes must stop or save after the same step: the others would wait for
                # ever for the gradients of one that is gone. To ask they wait for each other, and
                # so they ask only where they wait anyway.
                stop = reading_due and job.processes.any(stop)
                is_late = reading_due and job.processes.any(is_late)
            save_due = (save_due or is_late) and done < total
            if reading_due or save_due or stop:
                bar.set_postfix_str(read_losses(run, job, history, log), refresh=False)
            if stop:
                raise Stopped(request.number or signal.SIGTERM, may_save=True)
            if save_due:
                save(run, loaded, job, history)
                saved_at = time.monotonic()
            if evaluation_due:
                logits = evaluate(run, loaded, job, history, request)
                if history.is_out_of_patience(options.patience):
                    bar.write(f"{options.patience} evaluations without a lower loss: stopped early")
                    break
    return logits


def is_evaluation_due(loaded: Loaded, job: Job, step: int) -> bool:
    """Whether an evaluation follows this step: at the end of an epoch, at the end of training, and
    every --eval-steps steps."""
    every = loaded.options.eval_steps
    is_extra = every > 0 and step % every == 0
    is_end = step % job.steps.per_epoch == 0 or step == job.update.total_steps
    return step > 0 and (is_extra or is_end)


def read_losses(run: Run, job: Job, history: History, log: StepLog) -> str:
    """Copy the losses from the device into log.jsonl and the history; their mean, in words."""
    records = log.read()
    if job.processes.is_main:
        run.log(records)  # before the check, so that the log shows the NaN
    stop_if_diverged(records, job.update)
    history.add_steps(records)
    return f"loss {np.mean([record['loss'] for record in records]):.4f}" if records else ""


def evaluate(
    run: Run, loaded: Loaded, job: Job, history: History, request: StopRequest
) -> dict[str, np.ndarray]:
    """Measure the model on the validation split: a row of the epoch table, a record in the log.
    {"validation": logits (N, C)}, or {} where there is no such split."""
    logits, metrics = {}, {}
    if "validation" in loaded.encoded:
        with request.at_once():
            logits["validation"] = predict_split(loaded, job, "validation")
        labels = loaded.data.splits["validation"]["label"].to_numpy()
        if job.processes.is_main:  # only rank 0 has the logits
            metrics = measure(logits["validation"], labels, "eval")
        metrics = job.processes.share(metrics)  # whether to stop or to keep, all must decide alike
    record = history.add_evaluation(history.step, metrics)
    if loaded.options.keep == "best" and history.is_best_now:
        history.keep_weights(loaded.model)
    if job.processes.is_main:
        run.log([record])
    if len(history.evaluations) == 1:
        if "validation" in loaded.encoded:
            train_labels = loaded.data.splits["train"]["label"].to_numpy()
            tqdm.write(f"majority baseline: accuracy {baseline(train_labels, labels):.4f}")
        tqdm.write(HEADER)
    tqdm.write(table_row(record))
    return logits


def predict_split(loaded: Loaded, job: Job, split: str) -> np.ndarray:
    """Logits (N, C) of all texts of a split."""
    title = "evaluate" if split == "validation" else split
    encoded = loaded.encoded[split]
    try:
        return predict_logits(loaded.model, encoded, job.precision, job.processes, title)
    except ArithmeticError as error:  # a loss that is finite and answers that are not
        what = str(error).partition(";")[0]
        raise ArithmeticError(f"{what}: training has diverged; use a lower --lr") from None


def snapshot(loaded: Loaded, job: Job, history: History) -> Snapshot:
    """What a checkpoint has to hold."""
    return Snapshot(loaded.model, job.update, history, loaded.tokenizer, loaded.settings)


def save(run: Run, loaded: Loaded, job: Job, history: History) -> None:
    """Write a checkpoint; no process goes on before it is on the disk."""
    check_finite(loaded.model)
    if job.processes.is_main:
        save_checkpoint(run.folder, history.step, snapshot(loaded, job, history))
    job.processes.wait()


def choose_weights(run: Run, loaded: Loaded, job: Job, history: History) -> dict:
    """Put the weights that are to be kept into the model; their evaluation."""
    last, best = history.evaluations[-1], history.best
    if best is None or best is last:
        return last
    if history.best_weights is None:  # --keep last
        print(f"validation loss was lower at epoch {best['epoch']:.3g}; see --keep best")
        return last
    save(run, loaded, job, history)  # the last weights, in case a signal ends the run below
    loaded.model.load_state_dict(history.best_weights)
    print(f"keeping the weights of epoch {best['epoch']:.3g}")
    return best


def finish(
    run: Run, loaded: Loaded, job: Job, history: History, logits: dict[str, np.ndarray]
) -> None:
    """The kept model, its figures, its predictions. logits: of the last evaluation."""
    kept = choose_weights(run, loaded, job, history)
    if kept is not history.evaluations[-1]:
        logits = {}
    for split in ("validation", "test"):
        if split in loaded.encoded and split not in logits:
            logits[split] = predict_split(loaded, job, split)
    if not job.processes.is_main:
        return
    check_finite(loaded.model)
    run.write_model(loaded.model, loaded.tokenizer)
    last_epoch = (history.step - 1) // job.steps.per_epoch
    metrics = {
        "global_step": history.step,
        "runtime": run.seconds,
        "skipped_steps": int(job.update.skipped),
        "padding_share": padding_of_epoch(job, last_epoch),
        "kept_epoch": kept["epoch"],
        "train_loss": kept["train_loss"],
        "history": history.evaluations,
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


def how_to_go_on(run: Run, job: Job, history: History) -> str:
    """What to tell whoever has stopped the run; one of many processes says it."""
    if not job.processes.is_main:
        return ""
    if not list_checkpoints(run.folder):
        return f"interrupted after step {history.step}; nothing is saved"
    program = PROGRAM.split()
    if job.processes.world > 1:
        program = ["torchrun", "--nproc-per-node", str(job.processes.world), "-m", "train"]
    command = [*program, "finetune", "--resume", "--output-dir", str(run.folder)]
    return f"interrupted after step {history.step}; go on with: {shlex.join(command)}"

"""Optimiser steps per second: our loop and transformers' Trainer, from the same weights.

python -m tests.benchmarks.training [--save]     about 5 minutes on two cores, twice that where
a CPU has bf16: fp32 is timed, too
"""

import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import (
    AutoTokenizer,
    DataCollatorWithPadding,
    DistilBertForSequenceClassification,
    Trainer,
    TrainingArguments,
)
from transformers.utils.logging import set_verbosity_error

import minibert
from tests.benchmarks.common import (
    environment,
    interleave,
    median_rate,
    publish,
    ratio,
    table,
    tweets,
)
from tests.benchmarks.inference import matmul, our_flops, synchronize
from tokenizer import WordPieceTokenizer
from train.batches import Encoded
from train.device import Precision, choose_precision
from train.training.loop import StepLog, training
from train.training.optim import LossScale, Update, make_optimizer
from train.training.step import Job, Steps

ROUNDS = 3
LR = 1e-4
GROUPED = "group_by_length"
HEADER = ["batch size", "steps", "format", "MiniBERT, steps/s", "Trainer, steps/s", "by length"]


class Rows(Dataset):
    def __init__(self, ids: list[list[int]], labels: list[int]):
        self.ids, self.labels = ids, labels

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, n: int) -> dict:
        return {"input_ids": self.ids[n], "label": self.labels[n]}


def run_ours(folder: str, data: Encoded, batch_size: int, n_steps: int, precision: Precision):
    """Seconds of n_steps, without loading, but with the losses read back as a run reads them."""
    model = minibert.DistilBertForSequenceClassification.from_pretrained(folder)
    model.to(precision.device).distilbert.check_inputs = False
    update = Update(make_optimizer(model, LR, 0.01), LossScale(precision), n_steps)
    job = Job(model, update, data, Steps(data.lengths, batch_size, seed=0), precision)
    log = StepLog()
    start = time.perf_counter()
    for done, values in training(job):
        log.add(done, values)
        if log.is_full or done == n_steps:
            log.read()
    return time.perf_counter() - start


def save_start(folder: str | Path, tokenizer: WordPieceTokenizer) -> None:
    """The packaged weights with a new head for six labels, for both sides to begin with."""
    minibert.DistilBertForSequenceClassification.from_pretrained(
        "demo", num_labels=6
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_trainer(
    folder: str | Path, rows: Rows, batch_size: int, precision: Precision, output: str, **more
) -> Trainer:
    """transformers' Trainer from the weights of a folder; `more`: other TrainingArguments."""
    arguments = TrainingArguments(
        output_dir=output,
        per_device_train_batch_size=batch_size,
        learning_rate=LR,
        weight_decay=0.01,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        bf16=precision.name == "bf16",
        use_cpu=precision.device.type == "cpu",
        **more,
    )
    return Trainer(
        model=DistilBertForSequenceClassification.from_pretrained(folder),
        args=arguments,
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(AutoTokenizer.from_pretrained(folder)),
    )


def run_trainer(
    folder: str, rows: Rows, batch_size: int, precision: Precision, sampling: str = "random"
):
    """Seconds of one epoch. sampling "group_by_length": its own batches of similar length."""
    with tempfile.TemporaryDirectory() as output:
        how = {"num_train_epochs": 1, "logging_steps": 50, "train_sampling_strategy": sampling}
        trainer = make_trainer(folder, rows, batch_size, precision, output, **how)
        start = time.perf_counter()
        trainer.train()
        return time.perf_counter() - start


def copy_rate(precision: Precision) -> float:
    """Bytes per second of a large copy, those read and those written."""
    source = torch.ones(2**26, device=precision.device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        synchronize(precision)

    return 2 * source.nbytes / statistics.median(interleave({"copy": copy})["copy"])


def limits(data: Encoded, precision: Precision, steps_per_second: dict[int, float]) -> str:
    """How near a step comes to what the machine can do at all, in words.

    steps_per_second: by batch size."""
    model = minibert.DistilBertForSequenceClassification.from_pretrained("demo")
    multiply, operations = matmul(model.config, precision)
    ceiling = median_rate(operations, interleave({"matmul": multiply}, rounds=15)["matmul"])
    floor = 32 * sum(p.numel() for p in model.parameters()) / copy_rate(precision)
    remarks = [
        "AdamW moves 32 bytes a parameter and step (weight, gradient and two moments read and "
        "written; the kernel writes the clipped gradient back): "
        f"{floor * 1e3:.3g} ms at the measured rate of copying."
    ]
    for batch_size, rate in steps_per_second.items():
        steps = Steps(data.lengths, batch_size, seed=0)
        lengths = data.lengths[np.concatenate([steps[k] for k in range(steps.per_epoch)])]
        # The backward pass has two products for each of the forward pass.
        flops_per_step = 3 * our_flops(model.config, lengths) / steps.per_epoch
        remarks.append(
            f"A step of {batch_size} texts takes {1 / rate / floor:.1f} times that; its tokens "
            f"use {flops_per_step * rate / ceiling:.0%} of the measured rate of a matrix product."
        )
    return " ".join(remarks)


def time_sides(
    folder: str, rows: Rows, batch_size: int, n_steps: int, formats: list[Precision]
) -> list[tuple[Precision, list[list[float]]]]:
    """Of each number format the seconds of an epoch in each round: of our loop, the Trainer, the
    Trainer by length."""
    sides = []
    for precision in formats:
        data = Encoded(rows.ids, rows.labels, device=precision.device)
        sides += [
            partial(run_ours, folder, data, batch_size, n_steps, precision),
            partial(run_trainer, folder, rows, batch_size, precision),
            partial(run_trainer, folder, rows, batch_size, precision, GROUPED),
        ]
    # Not `interleave`: of each side only a part is timed.
    taken = np.array([[run() for run in sides] for _ in range(ROUNDS)])  # (rounds, sides)
    return [(f, taken[:, 3 * n : 3 * n + 3].T.tolist()) for n, f in enumerate(formats)]


def main() -> None:
    set_verbosity_error()
    precision = choose_precision()
    on_gpu = precision.device.type == "cuda"
    # Of a CPU with bf16 both formats, each side in each: what bf16 brings is a ratio of this table.
    formats = [precision] if on_gpu else [choose_precision("cpu", "fp32")]
    formats += [precision] if precision.name != formats[0].name else []
    name, texts, labels = tweets()
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    ids = tokenizer(texts)["input_ids"]
    lines, rates = [], {}
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        save_start(folder, tokenizer)
        for batch_size, n_steps in ((8, 2_000), (256, 62)) if on_gpu else ((8, 60), (32, 30)):
            print(f"timing {n_steps} steps of {batch_size} ...", file=sys.stderr)
            # One epoch over as many texts: all sides compute the same ones.
            chosen = np.random.default_rng(0).permutation(len(ids))[: batch_size * n_steps].tolist()
            rows = Rows([ids[i] for i in chosen], [labels[i] for i in chosen])
            for chosen_format, seconds in time_sides(folder, rows, batch_size, n_steps, formats):
                rates[batch_size] = n_steps / statistics.median(seconds[0])
                figures = [f"{n_steps / statistics.median(taken):.2f}" for taken in seconds]
                best = min(seconds[1:], key=statistics.median)
                cells = [str(batch_size), str(n_steps), chosen_format.name, *figures]
                lines.append([*cells, ratio(seconds[0], best)])
    all_data = Encoded(ids, labels, device=precision.device)
    publish(
        "training",
        table([*HEADER, "ours is"], lines, n_text=3)
        + f"\n\n{name}, packaged weights, {precision.device.type} ({torch.get_num_threads()} "
        f"threads), fused AdamW on all sides; medians of {ROUNDS} rounds in turn, each an epoch "
        "over the same texts. by length: its own option group_by_length. ours is: to the faster of "
        f"the two. In {precision.name}: {limits(all_data, precision, rates)}\n"
        + environment("torch", "transformers", "accelerate"),
    )


if __name__ == "__main__":
    main()

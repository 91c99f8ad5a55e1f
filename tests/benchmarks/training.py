"""Optimiser steps per second: our loop and transformers' Trainer, from the same weights.

python -m tests.benchmarks.training [--save]
"""

import statistics
import tempfile
import time

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
from tests.benchmarks.common import environment, publish, ratio, table, tweets
from tokenizer import WordPieceTokenizer
from train.engine.batches import Encoded
from train.engine.loop import Steps, fit
from train.engine.optim import Update, make_optimizer
from train.engine.precision import LossScale, Precision, choose_precision
from train.options import FinetuneOptions

ROUNDS = 3


class Rows(Dataset):
    def __init__(self, ids: list[list[int]], labels: list[int]):
        self.ids, self.labels = ids, labels

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, n: int) -> dict:
        return {"input_ids": self.ids[n], "label": self.labels[n]}


def run_ours(folder: str, data: Encoded, batch_size: int, n_steps: int, precision: Precision):
    """Seconds of n_steps, without loading; and their losses."""
    model = minibert.DistilBertForSequenceClassification.from_pretrained(folder)
    model.to(precision.device).distilbert.check_inputs = False
    options = FinetuneOptions(batch_size=batch_size, lr=1e-4, max_steps=n_steps)
    steps = Steps(data.lengths, batch_size, seed=0)
    update = Update(make_optimizer(model, 1e-4, 0.01), LossScale(precision), n_steps)
    records: list[dict] = []
    start = time.perf_counter()
    fit(
        model,
        update,
        data,
        steps,
        options,
        precision,
        write_log=records.extend,
        at_epoch_end=lambda step: "",
        save=lambda step: None,
    )
    return time.perf_counter() - start


def run_trainer(folder: str, rows: Rows, batch_size: int, n_steps: int, precision: Precision):
    model = DistilBertForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            max_steps=n_steps,
            per_device_train_batch_size=batch_size,
            learning_rate=1e-4,
            weight_decay=0.01,
            logging_steps=50,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            bf16=precision.name == "bf16",
            use_cpu=precision.device.type == "cpu",
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        start = time.perf_counter()
        trainer.train()
        return time.perf_counter() - start


def main() -> None:
    set_verbosity_error()
    precision = choose_precision()
    on_gpu = precision.device.type == "cuda"
    name, texts, labels = tweets()
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    ids = tokenizer(texts)["input_ids"]
    data, rows = Encoded(ids, labels, device=precision.device), Rows(ids, labels)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        minibert.DistilBertForSequenceClassification.from_pretrained(
            "demo", num_labels=6
        ).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for batch_size, n_steps in ((8, 4_000), (256, 126)) if on_gpu else ((8, 100), (32, 100)):
            ours, theirs = [], []
            for _ in range(ROUNDS):
                ours.append(run_ours(folder, data, batch_size, n_steps, precision))
                theirs.append(run_trainer(folder, rows, batch_size, n_steps, precision))
            lines.append(
                [
                    str(batch_size),
                    f"{n_steps / statistics.median(ours):.2f}",
                    f"{n_steps / statistics.median(theirs):.2f}",
                    ratio(ours, theirs),
                ]
            )
    publish(
        "training",
        table(["batch size", "MiniBERT, steps/s", "Trainer, steps/s", "ours is"], lines)
        + f"\n\n{name}, packaged weights, {precision}, fused AdamW on both sides; medians of "
        f"{ROUNDS} rounds of {n_steps} steps, in turn.\n"
        + environment("torch", "transformers", "accelerate"),
    )


if __name__ == "__main__":
    main()

"""What comes out on the real tweets with the packaged weights: probe, and fine-tuning with three
seeds beside transformers' Trainer.

python -m tests.benchmarks.emotion [--save]; a run whose folder is there already is not run again.
"""

import json
import statistics
import sys
from pathlib import Path

import numpy as np

from tests import EMOTION, ROOT
from tests.benchmarks.common import environment, publish, table
from train.__main__ import main as train

DATA = ["--model", "demo", "--dataset", str(EMOTION)]
PROBES = {
    "probe, [CLS]": ("emotion-cls", []),
    "probe, mean of the tokens": ("emotion-mean", ["--pooling", "mean"]),
}
SEEDS = (42, 43, 44)
TRAINER_SEEDS = (42,)  # the slower side: more seeds, more hours
EPOCHS, BATCH_SIZE, LR = 2, 32, 1e-4
NAMES = ("eval_accuracy", "test_accuracy", "test_f1")
HEADER = ["packaged weights", "seeds", "validation accuracy", "test accuracy", "test F1 (weighted)"]


def probe(name: str, arguments: list[str]) -> dict:
    folder = ROOT / "runs" / name
    if not (folder / "metrics.json").exists():
        train(["probe", *DATA, *arguments, "--output-dir", str(folder), "--overwrite"])
    return read(folder)


def finetune(seed: int) -> dict:
    folder = ROOT / "runs" / f"emotion-finetune-{seed}"
    if not (folder / "metrics.json").exists():
        sizes = ["--epochs", str(EPOCHS), "--batch-size", str(BATCH_SIZE), "--lr", str(LR)]
        where = ["--seed", str(seed), "--output-dir", str(folder), "--overwrite"]
        train(["finetune", *DATA, *sizes, *where])
    return read(folder)


def trainer(seed: int) -> dict:
    """The same with transformers: its model and Trainer, shuffled batches, its own padding."""
    folder = ROOT / "runs" / f"emotion-trainer-{seed}"
    if not (folder / "metrics.json").exists():
        train_with_transformers(seed, folder)
    return read(folder)


def train_with_transformers(seed: int, folder: Path) -> None:
    from transformers import (
        AutoTokenizer,
        DataCollatorWithPadding,
        DistilBertForSequenceClassification,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    import minibert
    from tests.benchmarks.training import Rows
    from tokenizer import WordPieceTokenizer
    from train.data import load_data
    from train.metrics import measure
    from train.options import DataOptions

    data = load_data(DataOptions(dataset=str(EMOTION)))
    set_seed(seed)
    start = folder / "start"  # the same weights as ours, head included: drawn with the same seed
    minibert.DistilBertForSequenceClassification.from_pretrained(
        "demo", num_labels=6
    ).save_pretrained(start)
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    tokenizer.save_pretrained(start)
    rows = {
        split: Rows(tokenizer(part[:]["text"]).input_ids, part[:]["label"])
        for split, part in data.items()
    }
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH_SIZE,
        per_device_eval_batch_size=64,
        learning_rate=LR,
        weight_decay=0.01,
        seed=seed,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    job = Trainer(
        model=DistilBertForSequenceClassification.from_pretrained(start),
        args=arguments,
        train_dataset=rows["train"],
        data_collator=DataCollatorWithPadding(AutoTokenizer.from_pretrained(start)),
    )
    job.train()
    metrics = {}
    for split, prefix in (("validation", "eval"), ("test", "test")):
        logits = job.predict(rows[split]).predictions
        metrics |= measure(logits, np.array(data[split]["label"]), prefix)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2), encoding="utf-8")


def explored() -> str:
    """What is doubtful in the data itself."""
    folder = ROOT / "runs" / "emotion-explore"
    if not (folder / "explore.json").exists():
        train(["explore", *DATA, "--output-dir", str(folder), "--overwrite"])
    tables = json.loads((folder / "explore.json").read_text(encoding="utf-8"))["tables"]
    splits = {row["split"]: row for row in tables["splits"]}
    leaks = {
        (row["split"], row["shares with"]): row["texts"] for row in tables["shared between splits"]
    }
    return (
        f"`explore` finds {splits['train']['repeated texts']} repeated texts among the training "
        f"tweets, {splits['train']['of them with other labels']} of them with other labels, and "
        f"{leaks['test', 'train']} test tweets that are in the training split too."
    )


def read(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def row(title: str, runs: list[dict]) -> list[str]:
    """One figure, or mean and standard deviation of several."""
    cells = []
    for name in NAMES:
        values = [run[name] for run in runs]
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.4f}{spread}")
    return [title, str(len(runs)), *cells]


def main() -> None:
    if not EMOTION.exists():
        sys.exit(f"the emotion files are not at {EMOTION}; name them with MINIBERT_EMOTION")
    probes = {title: probe(*run) for title, run in PROBES.items()}
    baselines = [next(iter(probes.values()))[f"{split}_baseline"] for split in ("eval", "test")]
    rows = [["always the commonest class", "", *(f"{share:.4f}" for share in baselines), ""]]
    rows += [row(title, [metrics]) for title, metrics in probes.items()]
    rows.append(row("fine-tuning with MiniBERT", [finetune(seed) for seed in SEEDS]))
    rows.append(
        row("fine-tuning with transformers' Trainer", [trainer(seed) for seed in TRAINER_SEEDS])
    )
    publish(
        "emotion",
        table(HEADER, rows)
        + "\n\n16,000 tweets to learn from, 2,000 each for validation and test; mean ± standard "
        f"deviation over\nseeds from {SEEDS[0]}. Fine-tuning: {EPOCHS} epochs, batch {BATCH_SIZE}, "
        f"lr {LR:.0e}.\n"
        + environment("torch", "scikit-learn", "transformers")
        + f"\n\n{explored()}",
    )


if __name__ == "__main__":
    main()

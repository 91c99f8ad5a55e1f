"""What comes out on the real tweets with the packaged weights: probe, and fine-tuning with three
seeds beside transformers' Trainer.

python -m tests.benchmarks.emotion [--save]; a run whose folder is there already is not run again.
"""

import json
import statistics
from pathlib import Path

from transformers import set_seed

from tests import EMOTION, ROOT
from tests.benchmarks.common import emotion, environment, publish, table
from tests.benchmarks.training import LR, Rows, make_trainer, save_start
from tokenizer import WordPieceTokenizer
from train.__main__ import main as train
from train.device import choose_precision
from train.metrics import PREFIX, measure

DATA = ["--model", "demo", "--dataset", str(EMOTION)]
PROBES = {
    "probe, [CLS]": ("emotion-cls", []),
    "probe, mean of the tokens": ("emotion-mean", ["--pooling", "mean"]),
}
SEEDS = (42, 43, 44)
TRAINER_SEEDS = (42,)  # the slower side: more seeds, more hours
EPOCHS, BATCH_SIZE = 2, 32
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
    data = emotion()
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    rows = {
        split: Rows(tokenizer(part["text"].tolist()).input_ids, part["label"].tolist())
        for split, part in data.splits.items()
    }
    set_seed(seed)
    save_start(folder / "start", tokenizer)  # with the seed that finetune draws the head with
    job = make_trainer(
        folder / "start",
        rows["train"],
        BATCH_SIZE,
        choose_precision(),
        str(folder / "trainer"),
        num_train_epochs=EPOCHS,
        per_device_eval_batch_size=64,
        seed=seed,
    )
    job.train()
    metrics = {}
    for split, prefix in PREFIX.items():
        if split != "train":
            logits = job.predict(rows[split]).predictions
            metrics |= measure(logits, data.splits[split]["label"].to_numpy(), prefix)
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
    emotion()  # leaves where the files are missing
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

"""What comes out on the real tweets with the packaged weights: probe, and fine-tuning with three
seeds beside transformers' Trainer.

python -m tests.benchmarks.emotion [--save]     about an hour on two cores: `make bench-emotion`

Nothing of an earlier run is used: all runs go to a new folder runs/emotion-DATE-TIME, said at once.
"""

import json
import statistics
import time
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
    "probe, [CLS]": ("probe-cls", []),
    "probe, mean of the tokens": ("probe-mean", ["--pooling", "mean"]),
}
SEEDS = (42, 43, 44)
TRAINER_SEEDS = (42,)  # the slower side: more seeds, more hours
EPOCHS, BATCH_SIZE = 2, 32
NAMES = ("eval_accuracy", "test_accuracy", "test_f1")
HEADER = ["packaged weights", "seeds", "validation accuracy", "test accuracy", "test F1 (weighted)"]


def run(folder: Path, command: str, *arguments: str) -> dict:
    """The figures of a run of ours in a new folder. Raises RuntimeError where it fails."""
    if train([command, *DATA, *arguments, "--output-dir", str(folder)]) != 0:
        raise RuntimeError(f"{command} has failed, see above")
    return read(folder)


def finetune(folder: Path, seed: int, precision: str) -> dict:
    sizes = ["--epochs", str(EPOCHS), "--batch-size", str(BATCH_SIZE), "--lr", str(LR)]
    how = [*sizes, "--seed", str(seed), "--precision", precision]
    return run(folder / f"finetune-{precision}-{seed}", "finetune", *how)


def in_int8(folder: Path, seed: int, precision: str) -> dict:
    """The figures of a model fine-tuned above, computed in 8 bits."""
    metrics = {}
    for split in ("validation", "test"):
        output = folder / f"int8-{precision}-{seed}-{split}"
        model = str(folder / f"finetune-{precision}-{seed}" / "final")
        command = ["evaluate", "--model", model, "--dataset", str(EMOTION), "--split", split]
        if train([*command, "--precision", "int8", "--output-dir", str(output)]) != 0:
            raise RuntimeError("evaluate has failed, see above")
        metrics |= read(output)
    return metrics


def trainer(folder: Path, seed: int) -> dict:
    """The same with transformers: its model and Trainer, shuffled batches, its own padding."""
    train_with_transformers(seed, folder / f"trainer-{seed}")
    return read(folder / f"trainer-{seed}")


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


def explored(folder: Path) -> str:
    """What is doubtful in the data itself."""
    run(folder, "explore")
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
    """metrics.json; explore has none."""
    path = folder / "metrics.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


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
    folder = ROOT / "runs" / time.strftime("emotion-%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)  # FileExistsError: no earlier run is used
    # A CPU with bf16 shows what it costs: both formats.
    formats = list(dict.fromkeys([choose_precision().name, "fp32"]))
    n_runs = len(formats) * len(SEEDS) + len(TRAINER_SEEDS)
    print(f"{n_runs} fine-tuning runs of {EPOCHS} epochs: about an hour on two cores; in {folder}")
    probes = {
        title: run(folder / name, "probe", *arguments)
        for title, (name, arguments) in PROBES.items()
    }
    baselines = [next(iter(probes.values()))[f"{split}_baseline"] for split in ("eval", "test")]
    rows = [["always the commonest class", "", *(f"{share:.4f}" for share in baselines), ""]]
    rows += [row(title, [metrics]) for title, metrics in probes.items()]
    for name in formats:
        runs = [finetune(folder, seed, name) for seed in SEEDS]
        rows.append(row(f"fine-tuning with MiniBERT, {name}", runs))
        if choose_precision().device.type == "cpu":
            runs = [in_int8(folder, seed, name) for seed in SEEDS]
            rows.append(row("the same models, evaluated in int8", runs))
    title = f"fine-tuning with transformers' Trainer, {formats[0]}"
    rows.append(row(title, [trainer(folder, seed) for seed in TRAINER_SEEDS]))
    publish(
        "emotion",
        table(HEADER, rows)
        + "\n\n16,000 tweets to learn from, 2,000 each for validation and test; mean ± standard "
        f"deviation over\nseeds from {SEEDS[0]}. Fine-tuning: {EPOCHS} epochs, batch {BATCH_SIZE}, "
        f"lr {LR:.0e}.\n"
        + environment("torch", "scikit-learn", "transformers")
        + f"\n\n{explored(folder / 'explore')}",
    )


if __name__ == "__main__":
    main()

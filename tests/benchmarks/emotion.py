"""What comes out on the real tweets with the packaged weights: probe and fine-tuning.

python -m tests.benchmarks.emotion [--save]; a run whose folder is there already is not run again.
"""

import json
import sys

from tests import EMOTION, ROOT
from tests.benchmarks.common import environment, publish, table
from train.__main__ import main as train

DATA = ["--model", "demo", "--dataset", str(EMOTION)]
FINETUNE = ["finetune", *DATA, "--epochs", "2", "--batch-size", "32", "--lr", "1e-4"]
RUNS = {
    "probe, [CLS]": ("emotion-cls", ["probe", *DATA]),
    "probe, mean of the tokens": ("emotion-mean", ["probe", *DATA, "--pooling", "mean"]),
    "fine-tuning, 2 epochs, batch 32, lr 1e-4": ("emotion-finetune", FINETUNE),
}


def main() -> None:
    if not EMOTION.exists():
        sys.exit(f"the emotion files are not at {EMOTION}; name them with MINIBERT_EMOTION")
    rows = []
    for title, (name, command) in RUNS.items():
        folder = ROOT / "runs" / name
        if not (folder / "metrics.json").exists():
            train([*command, "--output-dir", str(folder), "--overwrite"])
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        if not rows:
            baselines = [f"{metrics[f'{split}_baseline']:.4f}" for split in ("eval", "test")]
            rows.append(["always the commonest class", *baselines, ""])
        names = ("eval_accuracy", "test_accuracy", "test_f1")
        rows.append([title, *(f"{metrics[name]:.4f}" for name in names)])
    header = ["packaged weights", "validation accuracy", "test accuracy", "test F1 (weighted)"]
    publish(
        "emotion",
        table(header, rows)
        + "\n\n16,000 tweets to learn from, 2,000 each for validation and test; seed 42.\n"
        + environment("torch", "scikit-learn"),
    )


if __name__ == "__main__":
    main()

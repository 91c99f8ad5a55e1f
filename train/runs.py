"""The run folder: what was asked, what happened, what came of it.

config.json, log.jsonl, metrics.json, predictions.csv, final/, checkpoints/, plots/, report.html.
Files appear whole or not at all: each is written beside its place and renamed.
"""

import csv
import dataclasses
import io
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from minibert.checkpoint import write_whole
from train.metrics import example_losses, softmax
from train.options import RunOptions, command_line

PARTS = (  # all that --overwrite may remove
    "config.json",
    "log.jsonl",
    "metrics.json",
    "predictions.csv",
    "explore.json",
    "lengths.csv",
    "map.csv",
    "report.html",
    "final",
    "checkpoints",
    "plots",
)


class Run:
    """One run folder. Making the object touches nothing; `open` creates the folder."""

    def __init__(self, command: str, options: RunOptions, resume: bool = False):
        """Raises FileExistsError or NotADirectoryError where the folder may not be written to."""
        name = time.strftime(f"runs/{command}-%Y%m%d-%H%M%S")
        self.folder = Path(options.output_dir or name)
        self.command, self.options, self.resume = command, options, resume
        self.start = time.perf_counter()
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"--output-dir {self.folder} is a file, not a folder")
        is_used = self.folder.is_dir() and any(self.folder.iterdir())
        if is_used and not (resume or options.overwrite):
            raise FileExistsError(
                f"--output-dir {self.folder} is not empty; name another folder, or add "
                "--overwrite" + (" or --resume" if hasattr(options, "resume") else "")
            )
        parent = next(p for p in [self.folder, *self.folder.absolute().parents] if p.exists())
        if not os.access(parent, os.W_OK):
            raise PermissionError(f"--output-dir {self.folder}: cannot write to {parent}")

    def open(self, **facts: Any) -> None:
        """Create the folder, or empty it of an earlier run's parts, and write config.json."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.resume:
            for part in PARTS:
                path = self.folder / part
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        config = {
            "command": self.command,
            "options": dataclasses.asdict(self.options),
            "command_line": command_line(),
            **facts,
            "environment": environment(),
        }
        write_json(self.folder / "config.json", config)

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.perf_counter() - self.start

    def log(self, records: Iterable[dict]) -> None:
        """Append records to log.jsonl, safe on disk when this returns."""
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
            file.flush()
            os.fsync(file.fileno())

    def cut_log(self, step: int) -> None:
        """Drop what was logged after a checkpoint was made: records of later steps, and the
        evaluation at that very step, which is done again; a line cut short goes too."""
        path = self.folder / "log.jsonl"
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                break
            if record["step"] < step or (record["step"] == step and "loss" in record):
                kept.append(line)
        write_text(path, "".join(kept))

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """metrics.json: the figures the run ends with."""
        write_json(self.folder / "metrics.json", metrics)

    def write_predictions(
        self, splits: dict[str, tuple[list[str], np.ndarray, np.ndarray]], label_names: list[str]
    ) -> None:
        """predictions.csv from {split: (texts, labels (N,), logits (N, C))}: every text with label,
        predicted label, its probability, and loss; the highest loss first."""
        rows = []
        for split, (texts, labels, logits) in splits.items():
            probabilities = softmax(logits)
            losses = example_losses(logits, labels)
            predicted = logits.argmax(axis=1)
            for n, text in enumerate(texts):
                rows.append(
                    {
                        "split": split,
                        "row": n,
                        "text": text,
                        "label": label_names[labels[n]],
                        "predicted_label": label_names[predicted[n]],
                        "probability": f"{probabilities[n, predicted[n]]:.6f}",
                        "label_probability": f"{probabilities[n, labels[n]]:.6f}",
                        "loss": f"{losses[n]:.6f}",
                    }
                )
        rows.sort(key=lambda row: -float(row["loss"]))
        file = io.StringIO()
        # All quoted: most readers take a bare carriage return in a text for the end of the row.
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.folder / "predictions.csv", file.getvalue())


def write_json(path: Path, value: Any) -> None:
    """Indented, in UTF-8."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """The whole file or the old one: written beside its place, synced, renamed."""
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8", newline=""))


def environment() -> dict[str, str | None]:
    """Versions, machine and commit a run was made with."""
    import torch

    packages = ("torch", "numpy", "datasets", "safetensors", "scikit-learn")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "platform": platform.platform(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "commit": commit(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def commit() -> str | None:
    """The git commit of this code, with + where files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        name, changes = (
            subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True)
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except OSError:  # no git here
        return None
    if name.returncode:
        return None
    return name.stdout.strip() + ("+" if changes.stdout.strip() else "")

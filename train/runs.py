"""The run folder: every file that a command leaves in it, written and read back here.

config.json, log.jsonl, metrics.json, predictions.csv, explore.json, lengths.csv, map.csv, final/,
checkpoints/, plots/, report.html. A json or csv file is written beside its place and renamed, so
that a reader finds the whole old file or the whole new one. log.jsonl alone grows by appending: its
last line may be cut short, and is then left out when it is read.
"""

import csv
import dataclasses
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import pandas as pd

from minibert.atomic import write_whole
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
    """One run folder, as a context: `with Run("probe", options) as run`.

    Making the object only checks that the folder may be written to; `open` creates it, once all
    inputs have proven good. Where the context ends without an error, pictures and report are drawn.
    """

    def __init__(self, command: str, options: RunOptions, resume: bool = False):
        """Raises FileExistsError, NotADirectoryError or PermissionError naming the folder."""
        name = time.strftime(f"runs/{command}-%Y%m%d-%H%M%S")
        self.folder = Path(options.output_dir or name)
        self.command, self.options, self.resume = command, options, resume
        self.start = time.perf_counter()
        self.is_open = False
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"--output-dir {self.folder} is a file, not a folder")
        is_used = self.folder.is_dir() and any(self.folder.iterdir())
        if is_used and not (resume or options.overwrite):
            raise FileExistsError(
                f"--output-dir {self.folder} is not empty; name another folder, or add "
                "--overwrite" + (" or --resume" if hasattr(options, "resume") else "")
            )
        # The folder may be several levels below the deepest one that exists: that one must be ours.
        parent = next(p for p in [self.folder, *self.folder.absolute().parents] if p.exists())
        if not os.access(parent, os.W_OK):
            raise PermissionError(f"--output-dir {self.folder}: cannot write to {parent}")

    def __enter__(self) -> Self:
        return self

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
        self.is_open = True

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Of several processes only rank 0 opens the folder, so only rank 0 draws the report.
        if error is None and self.is_open:
            from train.report import write_report  # not at the top: the report reads this module

            write_report(self.folder)
            print(f"run folder: {self.folder} ({self.seconds:.0f} s)")

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
        """Drop what was logged after the checkpoint of `step` was made.

        That is: records of later steps, and the evaluation at that very step, which is made after
        the checkpoint and so is done again when the run is resumed."""
        path = self.folder / "log.jsonl"
        if path.exists():
            kept = [
                record
                for record in read_log(path)
                if record["step"] < step or (record["step"] == step and "loss" in record)
            ]
            write_text(path, "".join(json.dumps(record) + "\n" for record in kept))

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """metrics.json: the figures the run ends with."""
        write_json(self.folder / "metrics.json", metrics)

    def write_predictions(self, predictions: pd.DataFrame) -> None:
        """predictions.csv, with the columns and in the order of `train.metrics.predictions`."""
        # All cells are quoted: most readers take a bare carriage return in a text for a row's end.
        path = self.folder / "predictions.csv"
        write_csv(path, predictions, quoting=csv.QUOTE_ALL, float_format="%.6f")


class RunFiles(NamedTuple):
    """A run folder read back. A table or dict is empty where the command writes no such file."""

    config: dict[str, Any]
    metrics: dict[str, Any]
    steps: pd.DataFrame  # step, loss, lr, ... : a row per optimiser step
    evaluations: pd.DataFrame  # step, epoch, eval_loss, ...
    predictions: pd.DataFrame  # predictions.csv, the highest loss first
    explore: dict[str, Any]
    lengths: pd.DataFrame  # split, label_name, words, tokens: a row per text
    map: pd.DataFrame  # x, y, label: a row per text

    @property
    def labels(self) -> list[str]:
        """Label names in the order of their ids: the order of every table and picture."""
        return self.config["labels"]


def read_run(folder: Path) -> RunFiles:
    """All files of a run folder."""
    records = read_log(folder / "log.jsonl")
    numbers = {"row": int, "probability": float, "label_probability": float, "loss": float}
    return RunFiles(
        config=read_json(folder / "config.json"),
        metrics=read_json(folder / "metrics.json"),
        steps=pd.DataFrame([record for record in records if "loss" in record]),
        evaluations=pd.DataFrame([record for record in records if "eval_loss" in record]),
        predictions=read_csv(folder / "predictions.csv", **numbers),
        explore=read_json(folder / "explore.json"),
        lengths=read_csv(folder / "lengths.csv", words=int, tokens=int),
        map=read_csv(folder / "map.csv", x=float, y=float),
    )


def write_csv(path: Path, table: pd.DataFrame, **form: Any) -> None:
    """A table in UTF-8 without its index; form: keywords of DataFrame.to_csv."""
    write_text(path, table.to_csv(index=False, lineterminator="\n", **form))


def read_csv(path: Path, **types: type) -> pd.DataFrame:
    """A table whose cells are text, `null` and `NA` too, but for the columns given a type."""
    if not path.exists():
        return pd.DataFrame()
    return pd.read_csv(path, dtype=str, na_filter=False, encoding="utf-8").astype(types)


def write_json(path: Path, value: Any) -> None:
    """Indented, in UTF-8."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The file's object, {} where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of log.jsonl, up to a line that a crash cut short."""
    records: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return records


def write_text(path: Path, text: str) -> None:
    """The whole file or the old one: written beside its place, synced, renamed."""
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8", newline=""))


def environment() -> dict[str, str | None]:
    """Versions, machine and commit that a run was made with."""
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
    words = ["describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+"]
    try:
        git = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(git, capture_output=True, text=True).stdout.strip() or None
    except OSError:  # git is not installed
        return None

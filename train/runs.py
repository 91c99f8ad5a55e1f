"""The run folder: every file that a command leaves in it, written and read back here.

config.json, log.jsonl, metrics.json, predictions.csv, suspects.csv, explore.json, compare.json,
lengths.csv, map.csv, final/, checkpoints/, plots/, report.html. A json or csv file is written
beside its place and renamed, so that a reader finds the whole old file or the whole new one.
log.jsonl alone grows by appending: its last line may be cut short, and is then left out when it is
read.
"""

import csv
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import pandas as pd

from minibert.atomic import write_whole
from minibert.pretrained import PretrainedModel
from tokenizer import WordPieceTokenizer
from train.device import current_processes
from train.folders import check_plain, free_name, inode, lock, make_folder, remove
from train.metrics import one_class
from train.options import RunOptions

# What each command writes, and so all that --overwrite may replace or remove.
PARTS = {
    "explore": ("config.json", "explore.json", "lengths.csv", "plots", "report.html"),
    "probe": (
        *("config.json", "metrics.json", "predictions.csv", "map.csv", "suspects.csv"),
        *("plots", "report.html"),
    ),
    "finetune": (
        *("config.json", "log.jsonl", "metrics.json", "predictions.csv", "final"),
        *("checkpoints", "plots", "report.html"),
    ),
    "evaluate": ("config.json", "metrics.json", "predictions.csv", "plots", "report.html"),
    "compare": ("config.json", "compare.json", "plots", "report.html"),
}
# What a run changes before it ends; the rest of an earlier run stays in its place until then.
GROWING = ("config.json", "log.jsonl", "checkpoints")
PREVIOUS = ".previous"  # where an earlier run's GROWING parts wait until the new run is whole
# What config.json of a run has besides the command, and of which type.
CONFIG = {"options": dict, "labels": list, "command_line": str, "environment": dict}
INPUTS = ("model", "dataset", "train_file", "eval_file", "test_file", "features")


@dataclass
class Result:
    """What a command has made; None or empty where it makes no such thing."""

    folder: Path | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    predictions: pd.DataFrame | None = None
    model: PretrainedModel | None = None
    tokenizer: WordPieceTokenizer | None = None
    history: pd.DataFrame | None = None  # a row per evaluation: step, epoch, eval_loss, ...


class Run:
    """One run folder, as a context: `with Run("probe", options) as run`.

    Making the object only checks that the folder may be written to; `open` creates it, once all
    inputs have proven good. Where the context ends without an error, pictures and report are drawn
    and the rest of an overwritten run is removed. A lock keeps other runs out until then.
    """

    def __init__(self, command: str, options: RunOptions, resume: bool = False):
        """Raises FileExistsError, NotADirectoryError, PermissionError or ValueError naming the
        folder and what is wrong with it."""
        self.command, self.options, self.resume = command, options, resume
        self.folder = Path(options.output_dir or free_name(command))
        self.start = time.perf_counter()
        self.is_open = False
        self.lock: int | None = None  # a file descriptor
        self.result = Result(self.folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"--output-dir {self.folder} is a file, not a folder")
        # The folder may be several levels below the deepest one that exists: that one must be ours.
        parent = next(p for p in [self.folder, *self.folder.absolute().parents] if p.exists())
        if not os.access(parent, os.W_OK):
            raise PermissionError(f"--output-dir {self.folder}: cannot write to {parent}")
        self.check_inputs()
        if self.folder.is_dir() and current_processes().is_main:
            try:
                self.take()
            except BaseException:
                self.release()  # `with` has not begun, so __exit__ will not do it
                raise

    def check_inputs(self) -> None:
        """Raises ValueError where the folder holds what the run reads: it would be overwritten."""
        for name in INPUTS:
            value = getattr(self.options, name, None)
            if self.resume or not isinstance(value, str) or not os.path.lexists(value):
                continue
            place, folder = Path(value).resolve(), self.folder.resolve()
            if folder in (place, *place.parents):
                flag = "--" + name.replace("_", "-")
                raise ValueError(
                    f"--output-dir {self.folder} holds the run's own input, {flag} {value}; name "
                    "another folder"
                )

    def take(self) -> None:
        """Lock the folder, and check what is in it. Raises FileExistsError."""
        if self.lock is None:
            self.lock = lock(self.folder)
        if any(self.folder.iterdir()) and not (self.resume or self.options.overwrite):
            raise FileExistsError(
                f"--output-dir {self.folder} is not empty; name another folder, or add "
                "--overwrite" + (" or --resume" if hasattr(self.options, "resume") else "")
            )
        for part in (PREVIOUS, *PARTS[self.command]):
            check_plain(self.folder / part)
        if not self.resume:
            self.check_owner()

    def check_owner(self) -> None:
        """Raises FileExistsError where files of these names are not an earlier run's of the same
        command: they are not ours to replace."""
        there = [part for part in PARTS[self.command] if (self.folder / part).exists()]
        owner = owner_of(self.folder)
        if there and owner is None and not (self.folder / PREVIOUS).exists():
            remedy = "--overwrite replaces runs alone: name another folder, or delete it first"
            what = f"{there[0]}, which no run has written; {remedy}"
        elif there and owner not in (None, self.command):
            what = f"a run of {owner}; name another folder"
        else:
            return
        raise FileExistsError(f"--output-dir {self.folder} holds {what}")

    def release(self) -> None:
        """Let other runs have the folder. The system does the same when a process ends."""
        if self.lock is not None:
            os.close(self.lock)
        self.lock = None

    def __enter__(self) -> Self:
        return self

    def open(self, **facts: Any) -> None:
        """Create the folder, set an earlier run's log and checkpoints aside, write config.json."""
        if self.options.output_dir is None:
            self.folder = self.result.folder = make_folder(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.take()  # again, for the folder may be new, and another run may have come first
        self.is_open = True  # from here on an error puts back what is set aside
        if not self.resume:
            self.set_aside()
        config = {
            "command": self.command,
            "options": self.options.as_dict(),
            "command_line": self.options.command_line(self.command),
            **facts,
            "environment": environment(),
        }
        write_json(self.folder / "config.json", config)

    def set_aside(self) -> None:
        """Move an earlier run's growing parts to PREVIOUS; note which others are there."""
        previous = self.folder / PREVIOUS
        there = [part for part in PARTS[self.command] if (self.folder / part).exists()]
        if not there:
            return
        previous.mkdir(exist_ok=True)
        for part in set(there) & set(GROWING):
            if (previous / part).exists():  # set aside by a run that was interrupted
                remove(self.folder / part)
            else:
                os.rename(self.folder / part, previous / part)
        inodes = {part: inode(self.folder / part) for part in there if part not in GROWING}
        write_json(previous / "parts.json", inodes)

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.close()
            elif self.is_open:
                self.put_back()
        finally:
            self.release()

    def close(self) -> None:
        """Remove what is left of an overwritten run; draw the report. Once, and nothing where the
        folder was never opened: of several processes only rank 0 opens it."""
        if not self.is_open:
            return
        from train.report import write_report  # not at the top: the report reads this module

        if self.command == "finetune":
            self.result.history = read_run(self.folder).evaluations
        for part, number in read_json(self.folder / PREVIOUS / "parts.json").items():
            # A file or folder that this run has written is a new one, with another inode.
            if part in PARTS[self.command] and inode(self.folder / part) == number:
                remove(self.folder / part)
        remove(self.folder / PREVIOUS)
        write_report(self.folder)
        self.is_open = False
        print(f"run folder: {self.folder} ({self.seconds:.0f} s)")

    def put_back(self) -> None:
        """After an error or a signal: an overwritten run gets its log, configuration and
        checkpoints back, unless the new one has made checkpoints to go on from."""
        previous = self.folder / PREVIOUS
        checkpoints = self.folder / "checkpoints"
        if previous.is_dir() and not (checkpoints.is_dir() and any(checkpoints.iterdir())):
            for part in (*GROWING, "final"):
                if (previous / part).exists():
                    remove(self.folder / part)
                    os.rename(previous / part, self.folder / part)
            remove(previous)
            print(f"the earlier run in {self.folder} is as it was", file=sys.stderr)

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.perf_counter() - self.start

    def log(self, records: Iterable[dict]) -> None:
        """Append records to log.jsonl, safe on disk when this returns."""
        # Not through a symbolic link, and not into a pipe that nobody reads, which would wait.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        flags |= getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(self.folder / "log.jsonl", flags, 0o666)
        with open(descriptor, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
            file.flush()
            os.fsync(file.fileno())

    def cut_log(self, step: int) -> None:
        """Drop what was logged after the checkpoint of `step` was made.

        That is: records of later steps, and the evaluation at that very step, which is made after
        the checkpoint and so is done again when the run is resumed."""
        path = self.folder / "log.jsonl"
        if is_there(path):
            kept = [
                record
                for record in read_log(path)
                if record["step"] < step or (record["step"] == step and "loss" in record)
            ]
            write_text(path, "".join(json.dumps(record) + "\n" for record in kept))

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """metrics.json: the figures the run ends with."""
        self.result.metrics = metrics
        write_json(self.folder / "metrics.json", metrics)

    def write_predictions(self, predictions: pd.DataFrame) -> None:
        """predictions.csv, with the columns and in the order of `train.metrics.predictions`."""
        # All cells are quoted: most readers take a bare carriage return in a text for a row's end.
        self.result.predictions = predictions
        for line in one_class(predictions):
            print(line)
        path = self.folder / "predictions.csv"
        write_csv(path, predictions, quoting=csv.QUOTE_ALL, float_format="%.6f")

    def write_model(self, model: PretrainedModel, tokenizer: WordPieceTokenizer) -> None:
        """final/: the trained model. An earlier one stays until the new one is whole."""
        beside, final = self.folder / ".final.tmp", self.folder / "final"
        remove(beside)  # of a process that was killed
        try:
            model.save_pretrained(beside)
            tokenizer.save_pretrained(beside)
            previous = self.folder / PREVIOUS / "final"
            if previous.exists():  # an overwritten run's; the one in its place is not whole
                remove(final)
            elif final.exists():  # a folder cannot be replaced by one that is not empty
                previous.parent.mkdir(exist_ok=True)
                os.rename(final, previous)
            os.rename(beside, final)
        finally:
            remove(beside)


def owner_of(folder: Path) -> str | None:
    """The command whose run a folder holds; None where config.json is not a run's."""
    path = folder / "config.json"
    try:
        command = json.loads(path.read_text(encoding="utf-8")).get("command")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return command if command in PARTS else None


class RunFiles(NamedTuple):
    """A run folder read back. A table or dict is empty where the command writes no such file."""

    config: dict[str, Any]
    metrics: dict[str, Any]
    steps: pd.DataFrame  # step, loss, lr, ... : a row per optimiser step
    evaluations: pd.DataFrame  # step, epoch, eval_loss, ...
    predictions: pd.DataFrame  # predictions.csv, the highest loss first
    explore: dict[str, Any]
    compare: dict[str, Any]
    lengths: pd.DataFrame  # split, label_name, words, tokens: a row per text
    map: pd.DataFrame  # x, y, label: a row per text

    @property
    def labels(self) -> list[str]:
        """Label names in the order of their ids: the order of every table and picture."""
        return self.config["labels"]


def read_run(folder: Path) -> RunFiles:
    """All files of a run folder; config is empty where config.json is not a run's. Raises
    ValueError naming the file that is damaged."""
    records = read_log(folder / "log.jsonl")
    numbers = {"row": int, "probability": float, "label_probability": float, "loss": float}
    words = dict.fromkeys(("split", "text", "label", "predicted_label"), str)
    config = read_json(folder / "config.json")
    if config.get("command") not in PARTS:
        config = {}  # a model has a file of this name, too
    files = RunFiles(
        config=config,
        metrics=read_json(folder / "metrics.json"),
        steps=pd.DataFrame([record for record in records if "loss" in record]),
        evaluations=pd.DataFrame([record for record in records if "eval_loss" in record]),
        predictions=read_csv(folder / "predictions.csv", **numbers, **words),
        explore=read_json(folder / "explore.json"),
        compare=read_json(folder / "compare.json"),
        lengths=read_csv(folder / "lengths.csv", words=int, tokens=int, split=str, label_name=str),
        map=read_csv(folder / "map.csv", x=float, y=float, label=str),
    )
    if config:
        check_files(folder, files)
    return files


def check_files(folder: Path, files: RunFiles) -> None:
    """Raises ValueError naming a file that lacks what the report and compare take from it."""
    needed: list[tuple[str, dict, str, Any]] = [
        ("config.json", files.config, name, kind) for name, kind in CONFIG.items()
    ]
    for name in files.metrics:
        if name.endswith(("accuracy", "baseline", "f1", "loss")):
            needed.append(("metrics.json", files.metrics, name, (int, float)))
    if len(files.lengths):
        needed.append(("explore.json", files.explore, "limit", int))
    if len(files.map):
        needed.append(("metrics.json", files.metrics, "map", str))
    for file, values, name, kind in needed:
        if not isinstance(values.get(name), kind):
            what = f"{name!r} is {values[name]!r}" if name in values else f"no {name!r}"
            raise ValueError(f"{folder / file} is damaged: {what}")


def write_csv(path: Path, table: pd.DataFrame, **form: Any) -> None:
    """A table in UTF-8 without its index; form: keywords of DataFrame.to_csv."""
    write_text(path, table.to_csv(index=False, lineterminator="\n", **form))


def read_csv(path: Path, **types: type) -> pd.DataFrame:
    """A table whose cells are text, `null` and `NA` too, but for the columns given a type."""
    if not is_there(path):
        return pd.DataFrame()
    with named(path):
        return pd.read_csv(path, dtype=str, na_filter=False, encoding="utf-8").astype(types)


def write_json(path: Path, value: Any) -> None:
    """Indented, in UTF-8."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The file's object, {} where there is no file. Raises ValueError naming a damaged one."""
    if not is_there(path):
        return {}
    with named(path):
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return value


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of log.jsonl, up to a line that a crash cut short. Raises ValueError naming a
    file that is damaged in another way."""
    records: list[dict[str, Any]] = []
    if is_there(path):
        with named(path):
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    break
                if not isinstance(record, dict) or type(record.get("step")) is not int:
                    raise ValueError(f"no record of a step: {line:.50}")
                records.append(record)
    return records


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Inside, an error in what a file holds is raised with the file's name."""
    try:
        yield
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} is damaged: {what}") from None


def is_there(path: Path) -> bool:
    """Whether there is such a file. Raises ValueError for a pipe or a device, which might never end
    to be read."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file")
    return path.exists()


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

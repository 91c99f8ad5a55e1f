"""The options of each command: a frozen dataclass holds name, default, help and check of each.

The command line is made from it: a flag is the field's name with dashes. Options that several
commands share stand in base classes; a command inherits what it uses and nothing more, so that a
flag which would do nothing is refused as unknown.
"""

import dataclasses
import difflib
import json
import math
import numbers
import os
import re
import shlex
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.folders import LARGE

# What suits the packaged weights, a small encoder: more epochs and a higher learning rate than the
# tutorial's for DistilBERT. What --demo stands for besides.
PACKAGED = {"epochs": 4, "lr": 2e-4}
DEMO = {"model": "demo", "dataset": "demo", "batch_size": 16}
MAX_SEED = 2**32 - 1  # numpy's


def flag(default: Any, help: str, at_least: float | None = None, **metadata: Any) -> Any:
    """A field of an options class. `at_least` is the smallest value allowed, `at_most` the largest;
    `choices` and `nargs` are argparse's; `positional`: typed without a flag; `required`: what is
    said where it is missing."""
    metadata |= {"help": help, "at_least": at_least}
    return dataclasses.field(default=default, metadata=metadata)


class Options:
    """What all options classes share: defaults and checks, on the command line and in Python alike.

    given: the options that the caller named. They win over every default, also over those of --demo
    and of the packaged weights, and also where the value is the usual default."""

    group = ""  # the heading in --help of the fields that a class defines
    example = ""  # a command line, at the end of --help
    given: dict[str, Any]

    def __init__(self, **given: Any):
        """Raises ValueError naming the option, its value and what it should be."""
        fields = {field.name: field for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        for name in given:
            if name not in fields:
                raise ValueError(f"unknown option {name}{did_you_mean(name, fields)}")
        given = {name: check(fields[name], value) for name, value in given.items()}
        values = {name: field.default for name, field in fields.items()} | given
        if values.get("demo"):
            values |= DEMO | given
        if values.get("model") == "demo":
            values |= PACKAGED | given
        for name, field in fields.items():
            if "required" in field.metadata and not values[name]:
                dashes = "" if field.metadata.get("positional") else "--"
                flag = dashes + name.replace("_", "-")
                raise ValueError(f"{flag} is missing: {field.metadata['required']}")
            object.__setattr__(self, name, values[name])  # frozen: `self.name = ` would raise
        object.__setattr__(self, "given", given)

    def as_dict(self) -> dict[str, Any]:
        """Every option by name, as JSON can hold it; data passed as objects by their type alone."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        plain = (str, int, float, tuple, type(None))
        return {
            name: value if isinstance(value, plain) else f"a {type(value).__name__}"
            for name, value in values.items()
        }

    def command_line(self, command: str) -> str:
        """The command that gives these options, to be pasted into a shell; data passed as objects
        are named in a comment, as no command line can give them."""
        words, comment = [*PROGRAM.split(), command], ""
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = self.as_dict()[field.name]
            if value is not None and not isinstance(getattr(self, field.name), type(value)):
                comment += f"  # {field.name}: {value} that was passed in Python"
                continue
            if field.name not in self.given or value is False or value is None:
                continue
            if not field.metadata.get("positional"):
                words.append("--" + field.name.replace("_", "-"))
            if value is not True:
                words += value if isinstance(value, tuple) else [str(value)]
        return shlex.join(words) + comment


@dataclass(frozen=True, init=False)
class DataOptions(Options):
    """Where texts and labels come from. A split without a file of its own is left out."""

    group = "data"

    demo: bool = flag(False, "packaged weights and built-in sentences: needs no network")
    dataset: Any = flag(  # noqa: RUF009 (a field); in Python also the data themselves
        "dair-ai/emotion", "Hub data set, ./folder with train/val/test files, or demo"
    )
    train_file: str | None = flag(None, "csv, tsv, json(l), parquet, or txt with text;label lines")
    eval_file: str | None = flag(None, "the same for the validation split")
    test_file: str | None = flag(None, "the same for the test split")
    text_column: str = flag("text", "column that holds the text")
    label_column: str = flag("label", "column that holds the label")
    separator: str = flag("auto", "between the cells of a csv, tsv or txt file, as it is written")
    no_header: bool = flag(False, "the csv or tsv files begin with a row, not with column names")
    columns: str | None = flag(None, "the column names of files with --no-header: text,label")
    drop_empty: bool = flag(False, "leave out rows without a text or a label, and count them")
    dataset_config: str | None = flag(None, "configuration of a Hub data set that has several")
    no_cache: bool = flag(
        False, f"keep no token ids of large data ({LARGE:,} texts and more) in the cache folder"
    )


@dataclass(frozen=True, init=False)
class TrainingDataOptions(DataOptions):
    """And what is held out for validation where the data have no split for it."""

    eval_share: float = flag(
        0.1, "share of train to hold out if no validation split (0: none)", 0, at_most=0.9
    )


@dataclass(frozen=True, init=False)
class ModelOptions(Options):
    """Which checkpoint, and how much of a text it is given. Its tokenizer needs no more."""

    group = "model"

    model: str = flag("distilbert-base-uncased", "folder, Hub name, or demo (packaged weights)")
    max_length: int = flag(512, "tokens per text; longer ones are cut", at_least=3)


@dataclass(frozen=True, init=False)
class ComputeOptions(ModelOptions):
    """And what its forward passes run on."""

    precision: str = flag(
        "auto", "arithmetic of the matmuls", choices=("auto", "fp32", "bf16", "fp16", "int8")
    )
    device: str = flag("auto", "where to compute", choices=("auto", "cpu", "cuda", "mps"))


@dataclass(frozen=True, init=False)
class RunOptions(Options):
    """The folder that a run leaves behind."""

    group = "run"

    output_dir: str | None = flag(None, "run folder (default: runs/COMMAND-DATE-TIME)")
    overwrite: bool = flag(False, "replace what is in the output folder")


@dataclass(frozen=True, init=False)
class FinetuneOptions(RunOptions, ComputeOptions, TrainingDataOptions):
    """Train encoder and head together; evaluate every epoch; save the model."""

    group = "training"
    example = "finetune --train-file train.csv --eval-file val.csv --output-dir runs/mine"

    # No int8: rounding has no gradient to train by.
    precision: str = flag(
        "auto", "arithmetic of the matmuls", choices=("auto", "fp32", "bf16", "fp16")
    )
    epochs: int = flag(2, "passes over the training split", at_least=1)
    batch_size: int = flag(8, "texts per forward pass, on each process", at_least=1)
    grad_accum: int = flag(1, "forward passes per optimiser step", at_least=1)
    lr: float = flag(2e-5, "learning rate at its highest", at_least=0)
    schedule: str = flag(
        "linear",
        "how the learning rate falls after the warm-up",
        choices=("linear", "cosine", "constant"),
    )
    warmup_steps: int = flag(0, "first steps, in which the learning rate rises from 0", at_least=0)
    weight_decay: float = flag(0.01, "AdamW's decay of matrices (not of biases and norms)", 0)
    max_steps: int = flag(0, "stop after so many optimiser steps (0: after the epochs)", 0)
    seed: int = flag(
        42,
        "fixes hold-out, the head's first weights, order of examples, dropout",
        0,
        at_most=MAX_SEED,
    )
    new_head: bool = flag(False, "a new classifier for new labels, in place of the model's own")
    class_weights: str = flag(
        "none", "balanced: every class counts the same in the loss", choices=("none", "balanced")
    )
    train_layers: int | None = flag(
        None, "train the last so many blocks and the head (0: the head alone; default: all)", 0
    )
    eval_steps: int = flag(0, "evaluate every so many steps, besides the ends of epochs", 0)
    keep: str = flag(
        "last",
        "weights of the last epoch, or of the lowest validation loss",
        choices=("last", "best"),
    )
    patience: int = flag(0, "stop after so many evaluations without a lower loss (0: never)", 0)
    save_minutes: float = flag(10.0, "a checkpoint every so many minutes (0: none)", at_least=0)
    save_steps: int = flag(0, "a checkpoint every so many steps (0: none)", at_least=0)
    resume: bool = flag(False, "go on from the newest whole checkpoint, with the run's own options")

    def __init__(self, **given: Any):
        """With resume, what is not given is as the run in output_dir was begun with."""
        super().__init__(**saved_options("finetune", given) if given.get("resume") else given)


@dataclass(frozen=True, init=False)
class ProbeOptions(RunOptions, ComputeOptions, TrainingDataOptions):
    """Freeze the encoder, take its hidden states as features, fit a logistic regression."""

    group = "probe"
    example = "probe --demo --layers all"

    pooling: str = flag("cls", "one vector per text: first token, or mean", choices=("cls", "mean"))
    layers: str = flag("last", "probe the last layer, or each of them", choices=("last", "all"))
    umap: bool = flag(False, "draw the 2-D map with UMAP (extra: umap) instead of PCA")
    seed: int = flag(42, "fixes hold-out and 2-D map", at_least=0, at_most=MAX_SEED)
    features: str | None = flag(None, "features.safetensors to take the features from; made if new")


@dataclass(frozen=True, init=False)
class ExploreOptions(RunOptions, ModelOptions, DataOptions):
    """Look at the data: classes, lengths, repeats, conflicts, leaks between splits."""

    example = "explore --dataset ./folder"


TRAINED = flag(
    "",
    "folder of a fine-tuning run, or Hub name of a model with a classifier",
    required="name the folder of a fine-tuning run, RUN or RUN/final",
)


@dataclass(frozen=True, init=False)
class EvaluateOptions(RunOptions, ComputeOptions, DataOptions):
    """Measure a trained model on one split, and sort the texts by loss."""

    group = "evaluation"
    example = "evaluate --model runs/mine --test-file test.csv"

    model: str = TRAINED
    split: str = flag("test", "which split", choices=("train", "validation", "test"))


@dataclass(frozen=True, init=False)
class PredictOptions(ComputeOptions):
    """Classify texts: those given, or one per line of standard input."""

    group = "prediction"
    example = 'predict --model runs/mine "what a day"'

    model: str = TRAINED
    texts: tuple[str, ...] = flag((), "texts to classify", positional=True, nargs="*")
    file: str | None = flag(None, "a table instead: csv, tsv, json(l), parquet, or text;label txt")
    output: str | None = flag(None, "the table with labels added: csv, tsv, jsonl or parquet")
    text_column: str = flag("text", "column of --file that holds the text")
    separator: str = flag("auto", "between the cells of a csv, tsv or txt --file")
    no_header: bool = flag(False, "the --file begins with a row, not with column names")
    columns: str | None = flag(None, "the column names of a --file with --no-header: text,id")
    overwrite: bool = flag(False, "replace an --output that exists")
    threshold: float = flag(0.0, "no label where its probability is lower", 0, at_most=1)
    all: bool = flag(False, "the probability of every label, not only of the likeliest")
    json: bool = flag(False, "one JSON object per text")


@dataclass(frozen=True, init=False)
class TraceOptions(Options):
    """Follow one text through tokenizer and model, stage by stage."""

    group = "trace"
    example = 'trace --model demo "a [MASK] text"'

    text: tuple[str, ...] = flag(
        (),
        "the text, or several to be put side by side; may hold [MASK]",
        positional=True,
        nargs="+",
        required="give a text",
    )
    page: str | None = flag(None, "write the inside of the text to this HTML file")
    model: str = flag("distilbert-base-uncased", "folder, Hub name, or demo (packaged weights)")
    device: str = flag("auto", "where to compute", choices=("auto", "cpu", "cuda", "mps"))


@dataclass(frozen=True, init=False)
class CompareOptions(RunOptions):
    """Put runs side by side: options, figures, curves."""

    group = "comparison"
    example = "compare runs/probe runs/demo"

    runs: tuple[str, ...] = flag(
        (), "run folders", positional=True, nargs="*", required="name the folders of two runs"
    )


@dataclass(frozen=True, init=False)
class ReportOptions(Options):
    """Draw a run's pictures and its page again, from the files in its folder."""

    group = "report"
    example = "report runs/demo"

    run: str = flag("", "run folder", positional=True, nargs="?", required="name a run's folder")


COMMANDS: dict[str, type[Options]] = {
    "explore": ExploreOptions,
    "trace": TraceOptions,
    "probe": ProbeOptions,
    "finetune": FinetuneOptions,
    "evaluate": EvaluateOptions,
    "predict": PredictOptions,
    "compare": CompareOptions,
    "report": ReportOptions,
}

# As it was called, so that what messages propose can be typed.
PROGRAM = "minibert" if Path(sys.argv[0]).stem == "minibert" else "python -m train"


def check(field: dataclasses.Field, value: Any) -> Any:
    """The value as the field's type. Raises ValueError naming option, value and remedy."""
    flag, meta = "--" + field.name.replace("_", "-"), field.metadata
    kind = field.type
    if isinstance(kind, types.UnionType):  # `str | None`, `int | None`
        kind = typing.get_args(kind)[0]
        if value is None:
            return None
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        value = int(value)  # also numpy's
    elif kind is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        value = float(value)
        if not math.isfinite(value):
            raise ValueError(f"{flag}: {value} is not a finite number")
    elif kind is str and isinstance(value, str | os.PathLike):
        value = os.fspath(value)
    elif kind == tuple[str, ...] and isinstance(value, str) and field.name == "text":
        value = (value,)  # trace: one text, in Python
    elif typing.get_origin(kind) is tuple and is_list(value):
        value = tuple(value)
        if not all(isinstance(text, str) for text in value):
            raise ValueError(f"{flag}: every one must be a string")
    elif kind is not Any:
        name = getattr(kind, "__name__", str(kind))
        raise ValueError(
            f"{flag}: {value!r} is not a "
            + ("list; give a list, also of one" if name == "tuple" else name)
        )
    if meta.get("at_least") is not None and value < meta["at_least"]:
        raise ValueError(f"{flag}: {value} is below {meta['at_least']}")
    if meta.get("at_most") is not None and value > meta["at_most"]:
        raise ValueError(f"{flag}: {value} is above {meta['at_most']}")
    if meta.get("choices") and value not in meta["choices"]:
        choices = ", ".join(map(repr, meta["choices"]))
        raise ValueError(f"{flag}: invalid choice: {value!r} (choose from {choices})")
    return value


def is_list(value: Any) -> bool:
    """Whether to iterate gives the texts: not letters, keys or the names of columns."""
    is_other = isinstance(value, str | bytes | Mapping) or hasattr(value, "columns")
    return isinstance(value, Iterable) and not is_other


def saved_options(command: str, given: dict[str, Any]) -> dict[str, Any]:
    """`given`, and what it leaves out as it stands in the config.json of the run in output_dir, or
    of the newest run in runs/. Raises ValueError naming what is wrong with the file."""
    folder = given.get("output_dir")
    if folder is None:
        # The names end in date, time and, of the same second, a number: -10 is newer than -2.
        found = [path.parent for path in Path("runs").glob(f"{command}-*/config.json")]
        if not found:
            raise ValueError(f"--resume: no {command} run in runs/; name its folder, --output-dir")
        folder = max(found, key=lambda run: [int(n) for n in re.findall(r"\d+", run.name)])
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise ValueError(f"--resume: no run in {folder} (no config.json there); name its folder")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        saved, its_command = dict(config["options"]), config["command"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"--resume: {path} is corrupt: {what}") from None
    if its_command != command:
        raise ValueError(f"--resume: {folder} is no {command} run, but {its_command!r}")
    known = {field.name for field in dataclasses.fields(COMMANDS[command])}  # type: ignore[arg-type]
    ours = known - {"output_dir", "overwrite", "resume"}
    return {k: v for k, v in saved.items() if k in ours} | given | {"output_dir": folder}


# What other programs call our options.
ALSO_CALLED = {
    "learning-rate": "lr",
    "num-train-epochs": "epochs",
    "per-device-train-batch-size": "batch-size",
    "gradient-accumulation-steps": "grad-accum",
    "validation-file": "eval-file",
}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'; did you mean --epochs?', or '' where nothing is near.

    >>> did_you_mean("--lerning-rate", ["--lr", "--epochs"])
    '; did you mean --lr?'
    """
    names = {name.lstrip("-").replace("_", "-"): name for name in known}
    names |= {other: names[ours] for other, ours in ALSO_CALLED.items() if ours in names}
    plain = word.lstrip("-").replace("_", "-")
    near = difflib.get_close_matches(plain, names, n=1, cutoff=0.65)
    if plain == "precision" and not near:
        return "; leave it out: this command knows float32 alone"
    return f"; did you mean {names[near[0]]}?" if near else ""

"""The options of each command: a frozen dataclass holds name, default, help and check of each.

The command line is made from it: a flag is the field's name with dashes. Options that several
commands share stand in base classes; a command inherits what it uses and nothing more, so that a
flag which would do nothing is refused as unknown.
"""

import argparse
import dataclasses
import sys
import types
import typing
from dataclasses import dataclass
from typing import Any, NoReturn


def flag(default: Any, help: str, at_least: float | None = None, **metadata: Any) -> Any:
    """A field of an options class. `at_least` is the smallest value allowed; `choices`, `nargs` and
    `positional` mean what they do in argparse."""
    metadata |= {"help": help, "at_least": at_least}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class DataOptions:
    """Where texts and labels come from. A split without a file of its own is left out."""

    demo: bool = flag(False, "packaged weights and built-in sentences: needs no network")
    dataset: str = flag("dair-ai/emotion", "Hub data set, ./folder with train/val/test files, demo")
    train_file: str | None = flag(None, "csv, tsv, json(l), parquet, or txt with text;label lines")
    eval_file: str | None = flag(None, "the same for the validation split")
    test_file: str | None = flag(None, "the same for the test split")
    text_column: str = flag("text", "column that holds the text")
    label_column: str = flag("label", "column that holds the label")
    separator: str = flag(",", "column separator of csv files")


@dataclass(frozen=True)
class ModelOptions:
    """Which checkpoint, and how much of a text it is given. Its tokenizer needs no more."""

    model: str = flag("distilbert-base-uncased", "folder, Hub name, or demo (packaged weights)")
    max_length: int = flag(512, "tokens per text; longer ones are cut", at_least=3)


@dataclass(frozen=True)
class ComputeOptions(ModelOptions):
    """And what its forward passes run on."""

    precision: str = flag(
        "auto", "arithmetic of the matmuls", choices=("auto", "fp32", "bf16", "fp16")
    )
    device: str = flag("auto", "where to compute", choices=("auto", "cpu", "cuda", "mps"))


@dataclass(frozen=True)
class RunOptions:
    """The folder that a run leaves behind."""

    output_dir: str | None = flag(None, "run folder (default: runs/COMMAND-DATE-TIME)")
    overwrite: bool = flag(False, "replace what is in the output folder")


@dataclass(frozen=True)
class FinetuneOptions(RunOptions, ComputeOptions, DataOptions):
    """Train encoder and head together; evaluate every epoch; save the model."""

    epochs: int = flag(2, "passes over the training split", at_least=1)
    batch_size: int = flag(8, "texts per forward pass, on each process", at_least=1)
    grad_accum: int = flag(1, "forward passes per optimiser step", at_least=1)
    lr: float = flag(2e-5, "learning rate of the first step; falls linearly to 0", at_least=0)
    weight_decay: float = flag(0.01, "AdamW's decay of matrices (not of biases and norms)", 0)
    max_steps: int = flag(0, "stop after so many optimiser steps (0: after the epochs)", 0)
    seed: int = flag(42, "fixes the head's first weights, the order of examples, the dropout", 0)
    save_steps: int = flag(0, "a checkpoint every so many steps (0: only when interrupted)", 0)
    resume: bool = flag(False, "go on from the newest whole checkpoint in the output folder")


@dataclass(frozen=True)
class ProbeOptions(RunOptions, ComputeOptions, DataOptions):
    """Freeze the encoder, take its hidden states as features, fit a logistic regression."""

    pooling: str = flag("cls", "one vector per text: first token, or mean", choices=("cls", "mean"))
    layers: str = flag("last", "probe the last layer, or each of them", choices=("last", "all"))
    umap: bool = flag(False, "draw the 2-D map with UMAP (extra: umap) instead of PCA")
    seed: int = flag(42, "fixes the 2-D map", at_least=0)
    features: str | None = flag(None, "features.safetensors to take the features from; made if new")


@dataclass(frozen=True)
class ExploreOptions(RunOptions, ModelOptions, DataOptions):
    """Look at the data: classes, lengths, repeats, conflicts, leaks between splits."""


@dataclass(frozen=True)
class EvaluateOptions(RunOptions, ComputeOptions, DataOptions):
    """Measure a trained model on one split, and sort the texts by loss."""

    split: str = flag("test", "which split", choices=("train", "validation", "test"))


@dataclass(frozen=True)
class PredictOptions(ComputeOptions):
    """Classify texts: those given, or one per line of standard input."""

    texts: tuple[str, ...] = flag((), "texts to classify", positional=True, nargs="*")
    all: bool = flag(False, "the probability of every label, not only of the likeliest")
    json: bool = flag(False, "one JSON object per text")


@dataclass(frozen=True)
class TraceOptions:
    """Follow one text through tokenizer and model, stage by stage."""

    text: str = flag("", "the text; may hold [MASK]", positional=True)
    model: str = flag("distilbert-base-uncased", "folder, Hub name, or demo (packaged weights)")
    device: str = flag("auto", "where to compute", choices=("auto", "cpu", "cuda", "mps"))


COMMANDS: dict[str, type] = {
    "explore": ExploreOptions,
    "trace": TraceOptions,
    "probe": ProbeOptions,
    "finetune": FinetuneOptions,
    "evaluate": EvaluateOptions,
    "predict": PredictOptions,
}

# What --demo stands for. Explicit flags win. Few sentences and a small encoder want more epochs and
# a higher rate than the tutorial's 16,000 tweets.
DEMO = {
    "model": "demo",
    "dataset": "demo",
    "epochs": 4,
    "batch_size": 16,
    "lr": 2e-4,
}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose error is one line instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def parse(arguments: list[str]) -> tuple[str, Any]:
    """Command and options of a command line; leaves with status 2 and one line on a mistake."""
    parser = Parser("python -m train", description="Text classification with DistilBERT.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    subparsers = {}
    for name, options_class in COMMANDS.items():
        summary = options_class.__doc__
        subparsers[name] = commands.add_parser(
            name, description=summary, help=summary, allow_abbrev=False
        )
        for field in dataclasses.fields(options_class):
            add_field(subparsers[name], field)
    given = vars(parser.parse_args(arguments))
    if given.get("demo"):
        # Parsed again with the demo's defaults: only argparse knows which flags were given, and
        # those win, also where the value given is the usual default.
        names = {field.name for field in dataclasses.fields(COMMANDS[given["command"]])}
        demo = {name: value for name, value in DEMO.items() if name in names}
        subparsers[given["command"]].set_defaults(**demo)
        given = vars(parser.parse_args(arguments))
    command = given.pop("command")
    options_class = COMMANDS[command]
    return command, options_class(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    )


def add_field(parser: argparse.ArgumentParser, field: dataclasses.Field) -> None:
    """One dataclass field becomes one command-line argument."""
    metadata = dict(field.metadata)
    at_least = metadata.pop("at_least")
    name = field.name if metadata.pop("positional", False) else "--" + field.name.replace("_", "-")
    if field.type is bool:
        parser.add_argument(name, action="store_true", **metadata)
        return
    kind = field.type
    if isinstance(kind, types.UnionType):  # `str | None`: given, it is a str
        kind = typing.get_args(kind)[0]
    if kind in (int, float):
        metadata["type"] = number(kind, at_least)
    if name.startswith("--"):
        metadata["default"] = field.default
        if field.default is not None:
            metadata["help"] += f" (default: {field.default})"
    parser.add_argument(name, **metadata)


def number(kind: type, at_least: float | None) -> Any:
    """A converter for argparse that refuses what is not finite or too small."""

    def convert(text: str) -> int | float:
        value = kind(text)  # argparse reports a ValueError as "invalid value"
        if not abs(value) < float("inf"):  # nan is not below anything, so it is refused as well
            raise argparse.ArgumentTypeError(f"{text} is not a finite number")
        if at_least is not None and value < at_least:
            raise argparse.ArgumentTypeError(f"{text} is below {at_least}")
        return value

    convert.__name__ = kind.__name__  # the word argparse uses in "invalid int value"
    return convert


def command_line() -> str:
    """The command as it was typed, for config.json."""
    return "python -m train " + " ".join(sys.argv[1:])

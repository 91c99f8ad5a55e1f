"""Where texts and labels come from: files, a folder, the Hub, Python objects, the demo.

Whatever the source, the result is `Rows` for each of train, validation and test that is there, with
cells as the source has them. `datasets` is used, and imported, for its own objects alone.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from train.data.hub import EMOTION, load_splits
from train.data.reading import FORMATS, UNREADABLE, open_table
from train.data.table import ROW_BYTES, Layout, check_size, choose_columns, remark, short
from train.options import DataOptions, PredictOptions

DEMO_FOLDER = Path(__file__).parents[1] / "demo"

# What others call the splits, in lower case; the first that is there is taken.
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev", "eval", "validation_matched"),
    "test": ("test",),
}


class Rows(NamedTuple):
    """One split as its source has it."""

    source: str  # file, or data set and split: what messages begin with
    texts: list[Any]
    labels: list[Any]
    class_names: list[str] | None = None  # the labels are places in this list (a ClassLabel)


def read_splits(options: DataOptions) -> dict[str, Rows]:
    """The splits, train first, from wherever the options say."""
    wanted = {"--text-column": options.text_column, "--label-column": options.label_column}
    check_one_source(options)
    if not isinstance(options.dataset, str):
        return from_python(options.dataset, wanted)
    files = find_files(options)
    if files is None:
        name = options.dataset
        return from_python(load_splits(name, options.dataset_config), wanted, name)
    if options.dataset_config:
        raise ValueError("--dataset-config is for data sets of the Hub")
    layout = Layout(options.separator, named_columns(options))
    return {split: read_file(path, layout, wanted) for split, path in files.items()}


def check_one_source(options: DataOptions) -> None:
    """Raises ValueError where a data set and a file are named: one of them would not be read."""
    names = ("train_file", "eval_file", "test_file")
    files = [name for name in names if getattr(options, name) is not None]
    # Not named: the default, and what --demo stands for. (A resumed run's options are all given.)
    unnamed = (DataOptions.dataset, "demo" if options.demo else None)
    if files and not (isinstance(options.dataset, str) and options.dataset in unnamed):
        raise ValueError(f"--dataset and --{files[0].replace('_', '-')}, not both")


def named_columns(options: DataOptions | PredictOptions) -> list[str] | None:
    """The names that --columns gives to a file without a header line."""
    if options.no_header != bool(options.columns):
        raise ValueError("--no-header and --columns text,label go together")
    return options.columns.split(",") if options.columns else None


def read_file(path: Path, layout: Layout, wanted: dict[str, str]) -> Rows:
    """One file's texts and labels, all in memory."""
    table = open_table(path, layout, wanted)
    texts, labels = [], []
    for text, label in table.rows:
        texts.append(text)
        # Interned: a label's many cells are one string in memory.
        labels.append(sys.intern(label) if type(label) is str else label)
        if len(texts) % 10_000 == 0:
            check_size(path, ROW_BYTES * len(texts))
    return Rows(str(path), texts, labels, table.class_names)


def find_files(options: DataOptions) -> dict[str, Path] | None:
    """The file (or folder of classes) of each split, or None for a data set of the Hub."""
    given = {
        "train": options.train_file,
        "validation": options.eval_file,
        "test": options.test_file,
    }
    if any(given.values()):
        return {split: Path(name) for split, name in given.items() if name}
    name = options.dataset
    if name == "demo":
        return files_in(DEMO_FOLDER)
    # The Hub's set by name, even where a folder "emotion" lies here: load_dataset would take that.
    repository = name.partition("@")[0]
    if repository in ("emotion", EMOTION) or not ("/" in name or "\\" in name):
        return None
    folder = Path(name).expanduser()
    if folder.is_dir():
        return files_in(folder)
    if folder.is_file():
        raise ValueError(f"--dataset {name} is a file; name it with --train-file")
    if name.startswith((".", "/", "~")) or repository.count("/") != 1:
        raise FileNotFoundError(f"--dataset {name}: there is no such folder")
    return None


def files_in(folder: Path) -> dict[str, Path]:
    """train, validation and test of a folder by their names, in any case: Train.CSV, valid/."""
    found = {}
    for split, stems in SPLITS.items():
        paths = [p for p in sorted(folder.iterdir()) if p.stem.lower() in stems and is_data(p)]
        if len(paths) > 1:
            raise ValueError(
                f"{folder}: {' and '.join(p.name for p in paths)} could both be {split}"
            )
        if paths:
            found[split] = paths[0]
    if not found:
        raise FileNotFoundError(
            f"{folder}: no train, validation or test file ({', '.join(FORMATS)}) in this folder"
        )
    return found


def is_data(path: Path) -> bool:
    """Whether a file may be a split. Spreadsheets are among them: reading refuses them by name."""
    if path.is_dir():
        return any(p.is_dir() for p in path.iterdir())  # a folder per class
    return path.suffix.lower() in (*FORMATS, *UNREADABLE)


def from_python(data: Any, wanted: dict[str, str], name: str = "dataset") -> dict[str, Rows]:
    """Splits of a DatasetDict or {split: DataFrame | Dataset | (texts, labels)}; one such value
    without a dict is the training split. Splits that nobody labelled are left out, which is said.
    """
    if not isinstance(data, Mapping):
        data = {"train": data}
    lower = {str(split).lower(): split for split in data}
    chosen = {
        split: lower[next(other for other in others if other in lower)]
        for split, others in SPLITS.items()
        if not lower.keys().isdisjoint(others)
    }
    left_out = [str(split) for split in data if split not in chosen.values()]
    rows = {}
    for split, its_name in chosen.items():
        found = rows_of(data[its_name], f"{name} {its_name}", wanted)
        if split != "train" and all(label in (-1, None) for label in found.labels):
            left_out.append(str(its_name))
        else:
            rows[split] = found
    if left_out:
        remark(f"{name}: splits left out (unlabelled, or none of ours): {', '.join(left_out)}")
    if not rows:
        raise ValueError(f"{name}: no split train, validation or test with labels")
    return rows


def rows_of(data: Any, source: str, wanted: dict[str, str]) -> Rows:
    """The text and label cells of a DataFrame, a Dataset or a pair of sequences."""
    if isinstance(data, pd.DataFrame):
        names = list(map(str, data.columns))
        text, label = (data.iloc[:, i] for i in choose_columns(source, names, wanted))
        return Rows(source, cells_of(text), cells_of(label))
    if isinstance(data, tuple | list):
        if len(data) != 2 or isinstance(data[0], str):
            raise ValueError(f"{source}: a pair (texts, labels) was expected, not {short(data)}")
        texts, labels = (cells_of(pd.Series(part, dtype=object)) for part in data)
        if len(texts) != len(labels):
            raise ValueError(f"{source}: {len(texts)} texts, but {len(labels)} labels")
        return Rows(source, texts, labels)
    return rows_of_dataset(data, source, wanted)


def rows_of_dataset(data: Any, source: str, wanted: dict[str, str]) -> Rows:
    """The text and label cells of a `datasets.Dataset`; a ClassLabel keeps the order of its ids."""
    from datasets import Dataset, Value

    if not isinstance(data, Dataset):
        raise ValueError(
            f"{source}: a split is a DataFrame, a Dataset or (texts, labels), not "
            f"{type(data).__name__}"
        )
    names = data.column_names
    text, label = (names[i] for i in choose_columns(source, names, wanted))
    if not isinstance(data.features[text], Value):  # an image would be decoded
        raise ValueError(f"{source}: column '{text}' is {short(data.features[text])}, not text")
    columns = data.with_format(None).select_columns([text, label])[:]
    class_names = getattr(data.features[label], "names", None)
    return Rows(source, columns[text], columns[label], class_names)


def cells_of(column: pd.Series) -> list[Any]:
    """Python's values; None for what pandas calls missing, but for NaN among real numbers. (Whole
    numbers with a gap are floats in pandas.)"""
    is_float = pd.api.types.is_float_dtype(column.dtype) and isinstance(column.dtype, np.dtype)
    if is_float and not (column.dropna() % 1 == 0).all():
        return column.tolist()
    missing = column.isna()
    return [None if gone else cell for cell, gone in zip(column.tolist(), missing)]

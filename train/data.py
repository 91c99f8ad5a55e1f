"""Labelled texts: from the Hub, from files, or the demo sentences; checked before use.

Every source is first read into a DataFrame per split whose cells are as the source has them; then
texts are checked and labels become class ids. `datasets` is used for the Hub alone.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from datasets import ClassLabel, Dataset, load_dataset
from datasets.exceptions import DatasetGenerationError

from minibert import DistilBertConfig
from tokenizer import WordPieceTokenizer
from train.batches import Encoded
from train.hub_data import EMOTION, EMOTION_LABELS, load_splits
from train.options import DataOptions

DEMO_FOLDER = Path(__file__).parent / "demo"

SPLITS = {
    "train": ("train",),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".parquet": "parquet",
    ".txt": "lines",
}


class Data(NamedTuple):
    """Labelled texts, as every command uses them."""

    splits: dict[str, pd.DataFrame]  # columns text (str) and label (int64, a place in `labels`)
    labels: list[str]  # names of the classes, in the order of their ids


def load_data(options: DataOptions, label_names: list[str] | None = None) -> Data:
    """The data that the options name: the splits that exist of train, validation and test.

    Label ids follow `label_names` if given (a trained model's), else the data's own ClassLabel,
    else the official order for names of the emotion set, else the sorted label strings.
    Raises ValueError or OSError naming file, row and remedy; ConnectionError without the Hub.
    """
    files = find_files(options)
    if files is None:
        raw = load_hub(options.dataset)
        names = {split: f"{options.dataset} {split}" for split in raw}
    else:
        raw = {split: read_file(path, options) for split, path in files.items()}
        names = {split: str(path) for split, path in files.items()}
    splits = {split: check_columns(raw[split], names[split], options) for split in raw}
    if label_names is None:
        label_names = choose_label_names(splits["train" if "train" in splits else "test"]["label"])
    for split, rows in splits.items():
        rows["label"] = label_ids(rows["label"], label_names, names[split])
    if "train" in splits:
        check_classes(splits["train"]["label"], label_names, names["train"])
    return Data(splits, label_names)


def find_files(options: DataOptions) -> dict[str, Path] | None:
    """The file of each split, or None for a data set of the Hub."""
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
    if name in ("emotion", EMOTION) or not ("/" in name or "\\" in name):
        return None
    folder = Path(name).expanduser()
    if folder.is_dir():
        return files_in(folder)
    if folder.is_file():
        raise ValueError(f"--dataset {name} is a file; name it with --train-file")
    if name.startswith((".", "/", "~")) or name.partition("@")[0].count("/") != 1:
        raise FileNotFoundError(f"--dataset {name}: there is no such folder")
    return None


def files_in(folder: Path) -> dict[str, Path]:
    """train, validation and test file of a folder, by their names."""
    found = {}
    for split, stems in SPLITS.items():
        paths = [p for p in sorted(folder.iterdir()) if p.stem in stems and p.suffix in FORMATS]
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


def load_hub(name: str) -> dict[str, pd.DataFrame]:
    """A data set of the Hub. Raises OSError or ValueError naming it and the cause."""
    return {split: to_frame(rows) for split, rows in load_splits(name).items()}


def to_frame(data: Dataset) -> pd.DataFrame:
    """The cells as Python objects; a ClassLabel column as a pandas Categorical of its names."""
    frame = pd.DataFrame(data[:], dtype=object)
    for column, feature in data.features.items():
        if isinstance(feature, ClassLabel):
            frame[column] = pd.Categorical.from_codes(frame[column].astype("int64"), feature.names)
    return frame


def read_file(path: Path, options: DataOptions) -> pd.DataFrame:
    """One file as a table. Raises naming the file and what is wrong with it."""
    kind = FORMATS.get(path.suffix)
    if kind is None:
        raise ValueError(f"{path}: unknown format; one of {', '.join(FORMATS)}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    if kind == "lines":
        return read_lines(path)
    try:
        if kind == "csv":  # every cell is text: `null`, `NA` and `007` are words like others
            separator = "\t" if path.suffix == ".tsv" else options.separator
            return pd.read_csv(
                path, sep=separator, dtype=str, na_filter=False, encoding="utf-8-sig"
            ).reset_index(drop=True)
        return to_frame(load_dataset(kind, data_files=str(path), split="train"))
    except (DatasetGenerationError, ValueError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        hint = "; save the file as UTF-8" if isinstance(cause, UnicodeDecodeError) else ""
        reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        raise ValueError(f"{path}: cannot be read as {kind}: {reason}{hint}") from error


def read_lines(path: Path) -> pd.DataFrame:
    """The tutorial's files: a `text;label` line per example, no header; the text may hold `;`."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {error}; save the file as UTF-8") from error
    if lines[-1] == "":
        lines.pop()
    texts, labels = [], []
    for number, line in enumerate(lines, start=1):
        text, semicolon, label = line.rstrip("\r").rpartition(";")
        if not semicolon:
            raise ValueError(f"{path}, line {number}: no semicolon; a line is text;label")
        texts.append(text)
        labels.append(label)
    return pd.DataFrame({"text": texts, "label": labels})


def check_columns(table: pd.DataFrame, name: str, options: DataOptions) -> pd.DataFrame:
    """Text and label column under their standard names; no cell may be empty."""
    if len(table) == 0:
        raise ValueError(f"{name}: no rows")
    columns = {"text": options.text_column, "label": options.label_column}
    for standard, column in columns.items():
        if column not in table:
            found = ", ".join(map(repr, table))
            hint = " or --separator" if len(table.columns) == 1 else ""
            raise ValueError(
                f"{name}: no column '{column}', only {found}; see --{standard}-column{hint}"
            )
    rows = pd.DataFrame({standard: table[column] for standard, column in columns.items()})
    for standard, cells in rows.items():
        empty = [row for row, cell in enumerate(cells) if pd.isna(cell) or not str(cell).strip()]
        if empty:
            more = f" (and {len(empty) - 1} more rows)" if len(empty) > 1 else ""
            raise ValueError(f"{name}: empty {standard} in row {empty[0] + 1}{more}")
    if not isinstance(rows["text"][0], str):
        raise ValueError(f"{name}: column '{columns['text']}' holds {rows['text'][0]!r}, not text")
    return rows


def choose_label_names(labels: pd.Series) -> list[str]:
    """The names of the labels, in the order of their ids."""
    if isinstance(labels.dtype, pd.CategoricalDtype):  # a ClassLabel, which has an order
        return list(labels.cat.categories)
    names = set(labels.map(str))
    if names <= set(EMOTION_LABELS):
        return [name for name in EMOTION_LABELS if name in names]
    return sorted(names)


def label_ids(labels: pd.Series, names: list[str], name: str) -> pd.Series:
    """Each label's place in `names` (int64). Raises ValueError on a label that is not there."""
    ids = labels.astype(object).map(str).map({label: i for i, label in enumerate(names)})
    if ids.isna().any():
        row = int(ids.isna().argmax())
        raise ValueError(
            f"{name}: label {labels[row]!r} in row {row + 1} is none of {', '.join(names)}"
        )
    return ids.astype("int64")


def check_classes(labels: pd.Series, names: list[str], name: str) -> None:
    """A classifier needs two classes."""
    if labels.nunique() < 2:
        raise ValueError(
            f"{name}: every label is '{names[labels[0]]}'; a classifier needs two classes"
        )


def fingerprint(rows: pd.DataFrame) -> str:
    """sha256 over texts and labels in order: tells whether a resumed run sees the same data."""
    digest = hashlib.sha256()
    for text, label in zip(rows["text"], rows["label"]):
        digest.update(f"{len(text)} {text} {label}\n".encode())
    return digest.hexdigest()


def describe(data: Data) -> str:
    """'16000 train, 2000 validation, 2000 test texts, 6 labels'."""
    counts = ", ".join(f"{len(rows)} {split}" for split, rows in data.splits.items())
    return f"{counts} texts, {len(data.labels)} labels"


def encode(
    rows: pd.DataFrame,
    tokenizer: WordPieceTokenizer,
    config: DistilBertConfig,
    max_length: int,
    device: torch.device | str = "cpu",
) -> Encoded:
    """The rows as tensors on the device; texts over max_length tokens (or the model's limit) are
    cut. Token and label ids are checked here once, so that the model need not for every batch."""
    limit = min(max_length, config.max_position_embeddings)
    texts = rows["text"].tolist()
    ids = tokenizer(texts, truncation=True, max_length=limit, return_attention_mask=False)
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"the tokenizer knows {len(tokenizer)} tokens, the model only {config.vocab_size}: "
            "vocab.txt and config.json are not of one model"
        )
    return Encoded(ids["input_ids"], rows["label"].to_numpy(), config.pad_token_id, device)

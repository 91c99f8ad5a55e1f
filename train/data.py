"""Labelled texts: from the Hub, from files, or the demo sentences; checked before use.

Whatever the source, the result is a `datasets.DatasetDict` with the splits train, validation and
test (those that exist) and two columns: text (string) and label (ClassLabel).
"""

import hashlib
from pathlib import Path

import pandas as pd
import torch
from datasets import ClassLabel, Dataset, DatasetDict, load_dataset
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

from minibert import DistilBertConfig
from tokenizer import WordPieceTokenizer
from train.batches import Encoded
from train.options import DataOptions

EMOTION = "dair-ai/emotion"
EMOTION_REVISION = "cab853a1dbdf4c42c2b3ef2173804746df8825fe"
EMOTION_ROWS = {"train": 16_000, "validation": 2_000, "test": 2_000}
EMOTION_LABELS = ["sadness", "joy", "love", "anger", "fear", "surprise"]  # ids 0 to 5
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


def load_data(options: DataOptions, label_names: list[str] | None = None) -> DatasetDict:
    """The data that the options name, with columns text and label (ClassLabel).

    Label ids follow `label_names` if given (a trained model's), else the data's own ClassLabel,
    else the official order for names of the emotion set, else the sorted label strings.
    Raises ValueError or OSError naming file, row and remedy; ConnectionError without the Hub.
    """
    files = find_files(options)
    if files is None:
        data = load_hub(options.dataset)
    else:
        data = DatasetDict({split: read_file(path, options) for split, path in files.items()})
    names = {split: str(files[split]) if files else f"{options.dataset} {split}" for split in data}
    for split in data:
        data[split] = check_columns(data[split], names[split], options)
    if label_names is None:
        label_names = choose_label_names(data["train"] if "train" in data else data["test"])
    labelled = {split: with_label_ids(data[split], label_names, names[split]) for split in data}
    if "train" in labelled:
        check_classes(labelled["train"], names["train"])
    return DatasetDict(labelled)


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
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
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


def load_hub(name: str) -> DatasetDict:
    """A data set of the Hub; the emotion set at its pinned revision, checked against its facts."""
    is_emotion = name in ("emotion", EMOTION)
    try:
        if is_emotion:
            data = load_dataset(EMOTION, "split", revision=EMOTION_REVISION)
        else:
            data = load_dataset(name)
    except DatasetNotFoundError as error:
        raise FileNotFoundError(
            f"--dataset {name}: no such data set on the Hub; a folder is named by a path: ./{name}"
        ) from error
    except (ConnectionError, OSError) as error:
        raise ConnectionError(
            f"cannot get {EMOTION if is_emotion else name}: the Hub cannot be reached and it is "
            "not in the cache. Without a network: --demo, or --dataset ./folder"
        ) from error
    if is_emotion:
        rows = {split: data[split].num_rows for split in data}
        feature = data["train"].features.get("label")
        if rows != EMOTION_ROWS or getattr(feature, "names", None) != EMOTION_LABELS:
            raise ValueError(f"{EMOTION} is not what it was: rows {rows}, label {feature}")
    return data


def read_file(path: Path, options: DataOptions) -> Dataset:
    """One file as a Dataset of strings. Raises naming the file and what is wrong with it."""
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
            cells = pd.read_csv(
                path, sep=separator, dtype=str, na_filter=False, encoding="utf-8-sig"
            )
            return Dataset.from_pandas(cells, preserve_index=False)
        return load_dataset(kind, data_files=str(path), split="train")
    except (DatasetGenerationError, ValueError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        hint = "; save the file as UTF-8" if isinstance(cause, UnicodeDecodeError) else ""
        reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        raise ValueError(f"{path}: cannot be read as {kind}: {reason}{hint}") from error


def read_lines(path: Path) -> Dataset:
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
    return Dataset.from_dict({"text": texts, "label": labels})


def check_columns(data: Dataset, name: str, options: DataOptions) -> Dataset:
    """Text and label column under their standard names; no cell may be empty."""
    if data.num_rows == 0:
        raise ValueError(f"{name}: no rows")
    columns = {options.text_column: "text", options.label_column: "label"}
    for column, flag in (
        (options.text_column, "--text-column"),
        (options.label_column, "--label-column"),
    ):
        if column not in data.column_names:
            found = ", ".join(map(repr, data.column_names))
            hint = " or --separator" if len(data.column_names) == 1 else ""
            raise ValueError(f"{name}: no column '{column}', only {found}; see {flag}{hint}")
    data = data.select_columns(list(columns))
    data = data.rename_columns({old: new for old, new in columns.items() if old != new})
    for column in ("text", "label"):
        cells = data[:][column]
        empty = [row for row, cell in enumerate(cells) if cell is None or not str(cell).strip()]
        if empty:
            more = f" (and {len(empty) - 1} more rows)" if len(empty) > 1 else ""
            raise ValueError(f"{name}: empty {column} in row {empty[0] + 1}{more}")
        if column == "text" and not isinstance(cells[0], str):
            raise ValueError(f"{name}: column '{options.text_column}' holds {cells[0]!r}, not text")
    return data


def choose_label_names(data: Dataset) -> list[str]:
    """The names of the labels, in the order of their ids."""
    feature = data.features["label"]
    if isinstance(feature, ClassLabel):
        return list(feature.names)
    names = {str(label) for label in data[:]["label"]}
    if names <= set(EMOTION_LABELS):
        return [name for name in EMOTION_LABELS if name in names]
    return sorted(names)


def with_label_ids(data: Dataset, label_names: list[str], name: str) -> Dataset:
    """The same rows with label as a ClassLabel of the given names. Raises on any other label."""
    feature = data.features["label"]
    labels = data[:]["label"]
    if isinstance(feature, ClassLabel):
        labels = [feature.int2str(label) for label in labels]
    ids = {label: i for i, label in enumerate(label_names)}
    for row, label in enumerate(labels, start=1):
        if str(label) not in ids:
            raise ValueError(
                f"{name}: label {label!r} in row {row} is none of {', '.join(label_names)}"
            )
    column = [ids[str(label)] for label in labels]
    return data.remove_columns("label").add_column(
        "label", column, feature=ClassLabel(names=label_names)
    )


def check_classes(train: Dataset, name: str) -> None:
    """A classifier needs two classes."""
    present = set(train[:]["label"])
    if len(present) < 2:
        only = train.features["label"].int2str(present.pop())
        raise ValueError(f"{name}: every label is '{only}'; a classifier needs two classes")


def fingerprint(data: Dataset) -> str:
    """sha256 over texts and labels in order: tells whether a resumed run sees the same data."""
    digest = hashlib.sha256()
    for text, label in zip(data[:]["text"], data[:]["label"]):
        digest.update(f"{len(text)} {text} {label}\n".encode())
    return digest.hexdigest()


def describe(data: DatasetDict) -> str:
    """'16000 train, 2000 validation, 2000 test texts, 6 labels'."""
    counts = ", ".join(f"{rows.num_rows} {split}" for split, rows in data.items())
    labels = next(iter(data.values())).features["label"].num_classes
    return f"{counts} texts, {labels} labels"


def encode(
    data: Dataset,
    tokenizer: WordPieceTokenizer,
    config: DistilBertConfig,
    max_length: int,
    device: torch.device | str = "cpu",
) -> Encoded:
    """The rows as tensors on the device; texts over max_length tokens (or the model's limit) are
    cut. Token and label ids are checked here once, so that the model need not for every batch."""
    limit = min(max_length, config.max_position_embeddings)
    texts = data[:]["text"]
    ids = tokenizer(texts, truncation=True, max_length=limit, return_attention_mask=False)
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"the tokenizer knows {len(tokenizer)} tokens, the model only {config.vocab_size}: "
            "vocab.txt and config.json are not of one model"
        )
    return Encoded(ids["input_ids"], data[:]["label"], config.pad_token_id, device)

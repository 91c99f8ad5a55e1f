"""Data sets of the Hub: their files come by the one finder, so `datasets` reads local files alone.

Cached data sets are read without a question to the Hub; what is missing is asked for with a limit.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenizer.download import plain_http
from tokenizer.hub import Repository, Source, parse

if TYPE_CHECKING:
    from datasets import Dataset

EMOTION = "dair-ai/emotion"
EMOTION_REVISION = "cab853a1dbdf4c42c2b3ef2173804746df8825fe"
EMOTION_ROWS = {"train": 16_000, "validation": 2_000, "test": 2_000}
EMOTION_LABELS = ["sadness", "joy", "love", "anger", "fear", "surprise"]  # ids 0 to 5
CARD = "README.md"
DATA_FILES = [
    f"*.{suffix}{packed}"
    for suffix in ("parquet", "csv", "tsv", "json", "jsonl", "txt", "arrow")
    for packed in ("", ".gz", ".zst", ".bz2", ".xz")
]


def load_splits(name: str, config: str | None = None) -> "dict[str, Dataset]":
    """The splits of NAME or NAME@REVISION; `config` chooses where a data set has several.
    "emotion" alone is the tutorial's set at its pinned revision.

    Raises OSError or ValueError naming the data set and the cause.
    """
    if name in ("emotion", EMOTION) and config is None:
        return load_emotion()
    repository = parse(name, "dataset")
    if repository.name == "emotion":  # the old name, which the Hub redirects
        repository = Repository(EMOTION, repository.revision, "dataset")
    return load_any(Source(repository=repository), config)


def load_emotion() -> "dict[str, Dataset]":
    """The emotion set: parquet files whose names hold their split, rows and labels as published."""
    import pyarrow.parquet
    from datasets import ClassLabel, Dataset, Features, Value, concatenate_datasets

    source = Source(repository=Repository(EMOTION, EMOTION_REVISION, "dataset"))
    features = Features({"text": Value("string"), "label": ClassLabel(names=EMOTION_LABELS)})
    parts: dict[str, list[Dataset]] = {split: [] for split in EMOTION_ROWS}
    folder, names = source.snapshot("split/*.parquet")
    for name in names:
        path = folder / name
        split = next((split for split in EMOTION_ROWS if split in name), None)
        if split is None:
            raise ValueError(f"{EMOTION}: {name} is of none of the splits {', '.join(parts)}")
        try:
            table = pyarrow.parquet.read_table(path, columns=["text", "label"])
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise unreadable(EMOTION, path, error) from error
        check_labels(table, path)
        rows = {"text": table["text"].to_pylist(), "label": table["label"].to_pylist()}
        parts[split].append(Dataset.from_dict(rows, features))
    found = {split: sum(map(len, parts[split])) for split in parts}
    if found != EMOTION_ROWS:
        raise ValueError(f"{EMOTION} is not the published set: rows {found}, not {EMOTION_ROWS}")
    return {split: concatenate_datasets(parts[split]) for split in parts}


def check_labels(table: Any, path: Path) -> None:
    """Labels are the ids of EMOTION_LABELS: by the names that the file states, if it does, and by
    the ids themselves. table: a pyarrow.Table with a column label."""
    stated = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    names = stated.get("info", {}).get("features", {}).get("label", {}).get("names", EMOTION_LABELS)
    ids = set(np.unique(table["label"].to_numpy()).tolist())
    if names != EMOTION_LABELS or not ids <= {*range(len(EMOTION_LABELS))}:
        raise ValueError(f"{path}: labels {names}, ids {sorted(ids)}, not {EMOTION_LABELS}")


def load_any(source: Source, config: str | None) -> "dict[str, Dataset]":
    """Any other data set, as `datasets` reads it from the folder of the files that were fetched."""
    from datasets import DatasetDict, disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetsError

    card = source.optional(CARD)
    with plain_http():  # without huggingface_hub's own remarks about cards
        stated = stated_files(str(source), card, config)
    folder, names = source.snapshot(*(patterns_in(stated) if stated else DATA_FILES))
    if not names:
        raise FileNotFoundError(
            f"{source}: no data files ({', '.join(DATA_FILES[::5])}) there; where a script makes "
            f"the data, try --dataset {source}@refs/convert/parquet"
        )
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        # The copy that `datasets` makes is not kept: the Hub's own cache is enough.
        with plain_http(), tempfile.TemporaryDirectory() as arrow:
            # With the files named, for `datasets` looks for those of the first configuration as
            # well, whichever was chosen, and only the chosen one's have been fetched.
            files = {"data_files": by_split(stated)} if config else {}
            data = load_dataset(str(folder), cache_dir=arrow, keep_in_memory=True, **files)
    except (DatasetsError, RuntimeError, ValueError, OSError) as error:
        raise unreadable(str(source), folder, error) from error
    assert isinstance(data, DatasetDict)
    return dict(data)


def stated_files(name: str, card: Path | None, config: str | None) -> Any:
    """The files of a configuration as the card (README.md) states them, in any of the forms that
    `patterns_in` knows; None where it states none."""
    from huggingface_hub import DatasetCard

    stated = DatasetCard.load(card).data.to_dict().get("configs") if card is not None else None
    if not stated:
        if config:
            raise ValueError(f"{name}: no configuration {config!r}, nor any other")
        return None
    configs = {str(part.get("config_name", "default")): part for part in stated}
    default = [key for key, part in configs.items() if part.get("default") or key == "default"]
    chosen = config or next(iter(default if len(configs) > 1 else configs), None)
    if chosen not in configs:
        raise ValueError(f"{name}: name one with --dataset-config: {', '.join(configs)}")
    return configs[chosen].get("data_files")


def by_split(stated: Any) -> Any:
    """The same in the form that `load_dataset` takes: [{split:, path:}] becomes {split: path}."""
    if isinstance(stated, list) and isinstance(stated[0], dict):
        return {part.get("split", "train"): part["path"] for part in stated}
    return stated


def patterns_in(stated: Any) -> list[str]:
    """All paths in the forms that a card may have: "a.csv", ["a.csv"], [{split:, path:}], {split:}.

    >>> patterns_in([{"split": "train", "path": ["data/train-*", "**/more.csv"]}])
    ['data/train-*', '*more.csv']
    """
    if isinstance(stated, str):
        return [stated.removeprefix("./").replace("**/", "*")]
    if isinstance(stated, dict):
        return patterns_in(stated["path"] if "path" in stated else list(stated.values()))
    return [pattern for part in stated for pattern in patterns_in(part)]


def unreadable(name: str, path: Path, error: BaseException) -> OSError | ValueError:
    """The error that names the file or folder and the first cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, OSError) and error.errno is not None:
        return type(error)(f"{name}: {reason}")
    return ValueError(f"{name}: {path} cannot be read: {reason}")

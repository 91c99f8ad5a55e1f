"""The data of a command: texts and class ids by split, checked before use.

Cells come as their source has them (`sources`); here texts are checked, label cells become class
names, names become ids, and a validation split is held out where there is none.
"""

import hashlib
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from minibert import DistilBertConfig
from minibert.inputs import IGNORED
from minibert.pretrained import PretrainedModel
from tokenizer import WordPieceTokenizer
from train.batches import Encoded, TokenIds
from train.data.encoded import chunks, token_ids
from train.data.labels import in_order, to_ids, to_names, warn, without_ignored
from train.data.sources import Rows, read_splits
from train.data.table import remark, short
from train.device import current_processes
from train.folders import LARGE, cache_folder
from train.options import DataOptions, EvaluateOptions, FinetuneOptions, ProbeOptions

SHOWN = 5  # rows named in a message


class Data(NamedTuple):
    """Labelled texts, as every command uses them."""

    splits: dict[str, pd.DataFrame]  # columns text (str) and label (int64, a place in `labels`)
    labels: list[str]  # names of the classes, in the order of their ids
    held_out: float = 0  # the share of train that became the validation split


def load_data(options: DataOptions, label_names: list[str] | None = None) -> Data:
    """The data that the options name: the splits that exist of train, validation and test.

    Label ids follow `label_names` if given (a trained model's), else the data's own ClassLabel,
    else `in_order`. Raises ValueError or OSError naming file, row and remedy; ConnectionError
    without the Hub.
    """
    splits = read_splits(options)
    names = {split: class_names(rows, options) for split, rows in splits.items()}
    first = next(iter(splits))  # train, if there is one: its classes are the model's
    classes = {name for name in names[first] if name is not None}
    labels = label_names or splits[first].class_names or in_order(classes)
    if label_names is None:  # else the labels are known, and `to_ids` finds those that are not
        warn(splits[first].texts, names[first], splits[first].source)
    remedy = ""
    if label_names and hasattr(options, "new_head"):
        remedy = "; --new-head trains a new classifier with the labels of the data"
    sources = {split: rows.source for split, rows in splits.items()}
    frames = {}
    for split in sources:
        ids = to_ids(names.pop(split), labels, sources[split], remedy)
        # Taken out, so that a split's Python strings are freed once they are in the table.
        frame = pd.DataFrame({"text": splits.pop(split).texts, "label": ids})
        is_labelled = ids != IGNORED
        frames[split] = frame if is_labelled.all() else frame[is_labelled].reset_index(drop=True)
    if "train" in frames:
        check_classes(frames["train"]["label"], labels, sources["train"])
    return Data(frames, list(labels))


def load_training_data(
    options: FinetuneOptions | ProbeOptions, label_names: list[str] | None = None
) -> Data:
    """The same with a training split, and a validation split held out where there is none."""
    data = load_data(options, label_names)
    if "train" not in data.splits:
        raise ValueError("training needs a training split; name one with --train-file")
    return hold_out(data, options.eval_share, options.seed)


def class_names(rows: Rows, options: DataOptions) -> list[str | None]:
    """The class of each row, None where the row is left out. Raises ValueError naming the first row
    that is wrong."""
    if not rows.texts:
        raise ValueError(f"{rows.source}: no rows")
    empty = empty_rows(rows, options.drop_empty)
    for row, text in enumerate(rows.texts):
        if row not in empty:
            check_text(text, f"{rows.source}: the text in row {row + 1}")
            if isinstance(rows.labels[row], str):
                check_text(rows.labels[row], f"{rows.source}: the label in row {row + 1}")
    cells = [None if row in empty else label for row, label in enumerate(rows.labels)]
    names = without_ignored(to_names(cells, rows.source), rows.source)
    if not any(names):
        raise ValueError(f"{rows.source}: no row has a label")
    if rows.class_names:
        known = {None: None} | {str(i): name for i, name in enumerate(rows.class_names)}
        for row, name in enumerate(names, start=1):
            if name not in known:
                raise ValueError(
                    f"{rows.source}: label {name} in row {row} has no name; the data name 0 to "
                    f"{len(rows.class_names) - 1}"
                )
        names = [known[name] for name in names]
    return names


def check_text(text: Any, what: str) -> None:
    """Raises ValueError on what is no string, or none that UTF-8 can write."""
    if not isinstance(text, str):
        raise ValueError(f"{what} is {short(text)}, not a string; see --text-column")
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:  # JSON can write half of a pair: "\ud83d"
        raise ValueError(f"{what} holds a lone surrogate, which is no character") from None


def empty_rows(rows: Rows, drop: bool) -> set[int]:
    """Places of the rows whose text or label is empty. Raises ValueError with their number, unless
    they are to be left out, which is said."""
    empty = {
        "text": [row for row, text in enumerate(rows.texts) if is_empty(text)],
        "label": [row for row, label in enumerate(rows.labels) if is_empty(label)],
    }
    parts = [f"empty {column} in {numbered(at)}" for column, at in empty.items() if at]
    found = {*empty["text"], *empty["label"]}
    if found:
        message = f"{rows.source}: {', '.join(parts)}"
        if not drop:
            raise ValueError(f"{message}; --drop-empty leaves them out")
        remark(f"{message}; {len(found)} of {len(rows.texts)} rows are left out")
    return found


def numbered(rows: list[int]) -> str:
    """'row 2', or how many rows, and the first of them. rows: places, from 0."""
    if len(rows) == 1:
        return f"row {rows[0] + 1}"
    first = ", ".join(str(row + 1) for row in rows[:SHOWN])
    return f"{len(rows)} rows ({first}{', ...' if len(rows) > SHOWN else ''})"


def is_empty(cell: Any) -> bool:
    """No value at all, or text of white space alone."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def check_classes(labels: pd.Series, names: list[str], source: str) -> None:
    """A classifier needs two classes."""
    if labels.nunique() < 2:
        raise ValueError(
            f"{source}: every label is '{names[labels[0]]}'; a classifier needs two classes"
        )


def hold_out(data: Data, share: float, seed: int) -> Data:
    """Where there is no validation split, move a stratified share of train there: of each class
    its share, rounded half up, at least one row of two, none of a single one. 0 turns it off."""
    if "validation" in data.splits or share == 0:
        return data
    train = data.splits["train"]
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(train), dtype=bool)
    for label in sorted(train["label"].unique()):
        rows = np.flatnonzero(train["label"] == label)
        # In decimals: 0.29 * 50 is 14.499999999999998 in binary, but 14.5 rounds to 15.
        exact = Decimal(str(share)) * len(rows)
        count = int(exact.to_integral_value(ROUND_HALF_UP))
        count = min(max(count, 1), len(rows) - 1)
        chosen[random.permutation(rows)[:count]] = True
    if not chosen.any():  # every class has a single row
        return data
    splits = {
        "train": train[~chosen].reset_index(drop=True),
        "validation": train[chosen].reset_index(drop=True),
    }
    return data._replace(
        splits=splits | {k: v for k, v in data.splits.items() if k != "train"}, held_out=share
    )


def fingerprint(rows: pd.DataFrame) -> str:
    """sha256 over texts and labels in order: tells whether a resumed run sees the same data."""
    digest = hashlib.sha256()
    labels = iter(rows["label"].tolist())
    for texts in chunks(rows["text"]):
        for text, label in zip(texts, labels):
            digest.update(f"{len(text)} {text} {label}\n".encode())
    return digest.hexdigest()


def describe(data: Data, cache: Path | None = None) -> str:
    """'16000 train, 2000 validation, 2000 test texts, 6 labels'; where token ids are cached."""
    counts = ", ".join(f"{len(rows)} {split}" for split, rows in data.splits.items())
    text = f"{counts} texts, {len(data.labels)} labels"
    if data.held_out:
        text += f" (validation: {data.held_out:g} of train, held out by --seed; see --eval-share)"
    if cache and max(map(len, data.splits.values())) >= LARGE:
        text += f" (token ids are cached in {cache}; see --no-cache)"
    return text


def encode_all(
    data: Data,
    tokenizer: WordPieceTokenizer,
    model: PretrainedModel,
    options: FinetuneOptions | ProbeOptions | EvaluateOptions,
) -> dict[str, Encoded]:
    """Every split on the model's device, as a command uses it: encoded by rank 0 alone, and large
    data by way of the cache folder."""
    cache, processes = cache_folder(options.no_cache), current_processes()
    encoded = {}
    for split, rows in data.splits.items():
        title = f"encode {split}" if cache and len(rows) >= LARGE else ""
        ids = token_ids(rows["text"], tokenizer, cache, title, processes)
        encoded[split] = encode(
            rows, tokenizer, model.config, options.max_length, model.device, ids
        )
    return encoded


def encode(
    rows: pd.DataFrame,
    tokenizer: WordPieceTokenizer,
    config: DistilBertConfig,
    max_length: int,
    device: torch.device | str = "cpu",
    ids: TokenIds | None = None,
) -> Encoded:
    """The rows as tensors on the device; texts over max_length tokens (or the model's limit) are
    cut. That the tokenizer fits the model is checked here once, and label ids are `to_ids`'s, so
    that the model need not check every batch.
    ids: of the whole texts, where they are known."""
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"the tokenizer knows {len(tokenizer)} tokens, the model only {config.vocab_size}: "
            "vocab.txt and config.json are not of one model"
        )
    limit = min(max_length, config.max_position_embeddings)
    ids = ids or token_ids(rows["text"], tokenizer)
    ids = ids.cut(limit, tokenizer.truncation_side)
    return Encoded(ids, rows["label"].to_numpy(), config.pad_token_id, device)

"""python -m train explore: the data before any model: classes, lengths, and what is wrong with it.

Only the tokenizer is needed, no weights.
"""

from typing import Any

import pandas as pd
from datasets import DatasetDict

from tokenizer import WordPieceTokenizer
from train.data import describe, load_data
from train.device import current_processes
from train.options import ExploreOptions
from train.progress import Progress
from train.report import write_report
from train.runs import Run, write_json, write_text
from train.tables import number

CHUNK = 10_000  # texts encoded at a time: how often the progress bar moves
SHOWN = 5  # examples of each kind on the terminal
LISTED = 200  # and in explore.json
EXAMPLE = ["split", "label_name", "words", "tokens", "text"]

Table = list[dict[str, Any]]  # a dict per row, so that it can be printed, saved and shown alike


def run(options: ExploreOptions) -> None:
    """Count, measure, audit; the figures into explore.json, the lengths into lengths.csv."""
    run = Run("explore", options)
    data = load_data(options)
    tokenizer = WordPieceTokenizer.from_pretrained(options.model)
    if not current_processes().is_main:
        return
    print(f"{describe(data)}; tokenizer of {options.model}")
    names = next(iter(data.values())).features["label"].names
    limit = min(options.max_length, tokenizer.model_max_length)
    texts = to_frame(data, tokenizer)
    tables = {
        "classes": classes(texts, names),
        "splits": splits(texts, limit),
        "words per text": words_per_text(texts, names),
        "shared between splits": shared(texts),
        "same text, different labels": conflicts(texts),
        "longest texts": texts.nlargest(SHOWN, "tokens")[EXAMPLE].to_dict("records"),
        "shortest texts": texts.nsmallest(SHOWN, "tokens")[EXAMPLE].to_dict("records"),
    }
    run.open(labels=names)
    write_json(run.folder / "explore.json", {"limit": limit, "tables": tables})
    lengths = texts[["split", "label_name", "words", "tokens"]]
    write_text(run.folder / "lengths.csv", lengths.to_csv(index=False))
    for title, rows in tables.items():
        show(title, rows)
    write_report(run.folder)
    print(f"\nrun folder: {run.folder} ({run.seconds:.0f} s)")


def to_frame(data: DatasetDict, tokenizer: WordPieceTokenizer) -> pd.DataFrame:
    """A row per text of every split: split, text, label, label_name, words, tokens, unknown (how
    many tokens are [UNK]). Tokens count [CLS] and [SEP], as the model's limit does."""
    frames = []
    for split, rows in data.items():
        df = rows.with_format("pandas")[:]
        df["label_name"] = df["label"].apply(rows.features["label"].int2str)
        df["words"] = df["text"].str.split().apply(len)
        df["tokens"], df["unknown"] = count_tokens(df["text"].tolist(), tokenizer, split)
        frames.append(df.assign(split=split))
    return pd.concat(frames, ignore_index=True)


def count_tokens(
    texts: list[str], tokenizer: WordPieceTokenizer, title: str
) -> tuple[list[int], list[int]]:
    """Of each text: its tokens, and how many of them the vocabulary lacks."""
    tokens, unknown = [], []
    with Progress(title, len(texts), "texts") as progress:
        for start in range(0, len(texts), CHUNK):
            chunk = tokenizer(texts[start : start + CHUNK], return_attention_mask=False)
            tokens += [len(ids) for ids in chunk["input_ids"]]
            unknown += [ids.count(tokenizer.unk_token_id) for ids in chunk["input_ids"]]
            progress.advance(len(chunk["input_ids"]))
    return tokens, unknown


def classes(texts: pd.DataFrame, names: list[str]) -> Table:
    """How many texts each class has in each split, and its share of the first."""
    counts = texts.groupby(["label", "split"], sort=False).size().unstack(fill_value=0)
    counts = counts.reindex(index=range(len(names)), columns=texts["split"].unique(), fill_value=0)
    first = counts.columns[0]
    counts.insert(0, "label", names)
    counts[f"share of {first}"] = counts[first] / counts[first].sum()
    return counts.rename_axis("id").reset_index().to_dict("records")


def splits(texts: pd.DataFrame, limit: int) -> Table:
    """A row per split: what a classifier that has learnt nothing gets, imbalance, and the audit."""
    first = texts["split"].iloc[0]
    majority = texts.loc[texts["split"] == first, "label_name"].mode()[0]
    rows = []
    for split, df in texts.groupby("split", sort=False):
        counts = df["label_name"].value_counts()
        rows.append(
            {
                "split": split,
                "texts": len(df),
                f"majority baseline ({majority})": (df["label_name"] == majority).mean(),
                "largest / smallest class": counts.max() / counts.min(),
                "repeated texts": df["text"].duplicated().sum(),
                "of them with other labels": (df.groupby("text")["label"].nunique() > 1).sum(),
                "without a token": (df["tokens"] <= 2).sum(),  # [CLS] and [SEP] alone
                f"over {limit} tokens": (df["tokens"] > limit).sum(),
                "longest, tokens": df["tokens"].max(),
                "[UNK] share of tokens": df["unknown"].sum() / (df["tokens"] - 2).sum(),
            }
        )
    return plain(rows)


def words_per_text(texts: pd.DataFrame, names: list[str]) -> Table:
    """Quartiles of the words per text, by class, over all splits."""
    table = texts.groupby("label_name")["words"].describe().reindex(names)
    table = table[["min", "25%", "50%", "75%", "max", "mean"]]
    return table.rename_axis("label").reset_index().to_dict("records")


def shared(texts: pd.DataFrame) -> Table:
    """Rows of one split whose text another has too: such a text is no test."""
    seen = {split: set(df["text"]) for split, df in texts.groupby("split", sort=False)}
    rows = []
    for split, df in texts.groupby("split", sort=False):
        for other in list(seen)[: list(seen).index(split)]:
            count = df["text"].isin(seen[other]).sum()
            rows.append({"split": split, "shares with": other, "texts": count})
    return plain(rows)


def conflicts(texts: pd.DataFrame) -> Table:
    """Texts that stand in the data with different labels, in one split or across them."""
    again = texts[texts["text"].duplicated(keep=False)]
    rows = []
    for text, df in again.groupby("text", sort=False):
        if df["label"].nunique() > 1:
            places = df["label_name"] + " (" + df["split"] + ")"
            rows.append({"labels": ", ".join(places), "text": text})
    return rows[:LISTED]


def plain(rows: Table) -> Table:
    """The same with Python's own numbers, which JSON can hold."""
    return [
        {name: v.item() if hasattr(v, "item") else v for name, v in row.items()} for row in rows
    ]


def show(title: str, rows: Table) -> None:
    """One table on the terminal, or the beginning of it; the report has the rest."""
    print(f"\n{title.capitalize()}")
    table = pd.DataFrame(rows[: 2 * SHOWN]).map(number)
    if title == "splits":  # few rows, many columns: read better the other way round
        table = table.set_index("split").T.rename_axis(columns=None)
    print(table.to_string(index=title == "splits", max_colwidth=80) if rows else "none")

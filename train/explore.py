"""python -m train explore: the data before any model: classes, lengths, and what is wrong with it.

Only the tokenizer is needed, no weights.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from tokenizer import WordPieceTokenizer
from train.batches import TokenIds
from train.data import Data, describe, load_data
from train.data.encoded import chunks, token_ids
from train.device import current_processes
from train.findings import LISTED, findings, typical_words
from train.folders import cache_folder
from train.forward import model_folder
from train.options import ExploreOptions
from train.runs import Result, Run, write_csv, write_json
from train.tables import none_for_nan, number, print_table

SHOWN = 5  # examples of each kind on the terminal
EXAMPLE = ["split", "label_name", "words", "tokens", "text"]


def run(options: ExploreOptions) -> Result:
    """Count classes and lengths, look for repeats and leaks; write explore.json, lengths.csv."""
    with Run("explore", options) as run:
        data = load_data(options)
        tokenizer = WordPieceTokenizer.from_pretrained(model_folder(options.model))
        cache = cache_folder(options.no_cache)
        if not current_processes().is_main:
            return run.result
        print(f"{describe(data, cache)}; tokenizer of {options.model}")
        limit = min(options.max_length, tokenizer.model_max_length)
        texts = to_frame(data, tokenizer, cache)
        tables = {
            "classes": classes(texts, data.labels),
            "splits": splits(texts, data.labels, limit),
            "words per text": words_per_text(texts, data.labels),
            "shared between splits": shared(texts),
            "same text, different labels": conflicts(texts),
            "longest texts": texts.nlargest(SHOWN, "tokens")[EXAMPLE],
            "shortest texts": texts.nsmallest(SHOWN, "tokens")[EXAMPLE],
        }
        run.open(labels=data.labels)
        # None where a class has no text, and so no number of words.
        rows = {title: none_for_nan(table).to_dict("records") for title, table in tables.items()}
        found = findings(texts, limit)
        explored = {"limit": limit, "findings": found, "tables": rows}
        is_first = texts["split"] == texts["split"].iloc[0]
        explored["typical words"] = typical_words(
            texts.loc[is_first, ["text", "label"]], data.labels
        )
        write_json(run.folder / "explore.json", explored)
        write_csv(run.folder / "lengths.csv", texts[["split", "label_name", "words", "tokens"]])
        print("\nFindings")
        for finding in found:
            print(f"  {number(finding['count']):>8} {finding['words']}")
        for title, table in tables.items():
            show(title, table)
        run.result.metrics = explored
        run.result.tokenizer = tokenizer
    return run.result


def to_frame(data: Data, tokenizer: WordPieceTokenizer, cache: Path | None = None) -> pd.DataFrame:
    """All splits in one table, a row per text: text, label, label_name, split, words, tokens,
    unknown (how many tokens are [UNK]), ids (a number, equal where the token ids are equal),
    in_conflict (whether its ids occur with different labels). Tokens count [CLS] and [SEP], as the
    model's limit does. cache: see `token_ids`."""
    frames, digests = [], []
    for split, rows in data.splits.items():
        df = rows.assign(label_name=[data.labels[i] for i in rows["label"].tolist()], split=split)
        df["words"] = count_words(rows["text"])
        encoded = token_ids(rows["text"], tokenizer, cache, split)
        df["tokens"] = encoded.lengths.astype(np.int64)
        is_unknown = encoded.ids == tokenizer.unk_token_id
        # reduceat: a sum from each text's first token to the next text's.
        df["unknown"] = np.add.reduceat(is_unknown, encoded.ends - encoded.lengths, dtype=np.int64)
        frames.append(df)
        digests.append(digests_of_ids(encoded))
    # np.unique numbers the digests in their order.
    numbers = np.unique(np.concatenate(digests), return_inverse=True)[1]
    texts = pd.concat(frames, ignore_index=True).assign(ids=numbers)
    n_labels = texts.groupby("ids", sort=False)["label"].transform("nunique")
    return texts.assign(in_conflict=n_labels > 1)


def count_words(texts: pd.Series) -> np.ndarray:
    """(N,) int64: how many words between white space each text has."""
    counts = (len(text.split()) for chunk in chunks(texts) for text in chunk)
    return np.fromiter(counts, np.int64, count=len(texts))


def digests_of_ids(encoded: TokenIds) -> np.ndarray:
    """(N,) 16 bytes each: a hash of each text's ids. Two texts that differ get one hash once in
    10^26 data sets of a million."""
    ends = encoded.ends
    rows = zip((ends - encoded.lengths).tolist(), ends.tolist())
    digests = (hashlib.blake2b(encoded.ids[a:b].data, digest_size=16).digest() for a, b in rows)
    return np.fromiter(digests, "S16", count=len(ends))


def classes(texts: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """How many texts each class has in each split, and its share of the first split."""
    counts = texts.groupby(["label", "split"], sort=False).size().unstack(fill_value=0)
    # A class without a text, as a trained model may have, is counted too: 0.
    counts = counts.reindex(index=range(len(names)), columns=texts["split"].unique(), fill_value=0)
    first = counts.columns[0]
    counts.insert(0, "label", names)
    counts[f"share of {first}"] = counts[first] / counts[first].sum()
    return counts.rename_axis("id").reset_index()


def splits(texts: pd.DataFrame, names: list[str], limit: int) -> pd.DataFrame:
    """A row per split: accuracy of the majority baseline, imbalance, repeats, tokens."""
    # The baseline answers the commonest label of the training split, in every split: what a
    # classifier gets that has learnt how often the labels occur, and nothing of the texts.
    first = texts["split"].iloc[0]
    counts = texts.loc[texts["split"] == first, "label_name"].value_counts()
    majority = counts.reindex(names, fill_value=0).idxmax()  # of equals that of the lowest id
    rows = []
    for split, df in texts.groupby("split", sort=False):
        counts = df["label_name"].value_counts()
        rows.append(
            {
                "split": split,
                "texts": len(df),
                f"majority baseline ({majority})": (df["label_name"] == majority).mean(),
                "largest / smallest class": counts.max() / counts.min(),
                # By ids: texts that differ in case alone, say, are one text to the model.
                "repeated texts": df["ids"].duplicated().sum(),
                "of them with other labels": (df.groupby("ids")["label"].nunique() > 1).sum(),
                "without a token": (df["tokens"] <= 2).sum(),  # [CLS] and [SEP] alone
                f"over {limit} tokens": (df["tokens"] > limit).sum(),
                "longest, tokens": df["tokens"].max(),
                "[UNK] share of tokens": df["unknown"].sum() / max(1, (df["tokens"] - 2).sum()),
            }
        )
    return pd.DataFrame(rows)


def words_per_text(texts: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Quartiles of the words per text, by class, over all splits."""
    table = texts.groupby("label_name")["words"].describe().reindex(names)
    table = table[["min", "25%", "50%", "75%", "max", "mean"]]
    return table.rename_axis("label").reset_index()


def shared(texts: pd.DataFrame) -> pd.DataFrame:
    """Texts whose token ids occur in two splits (leaks): what was trained on tells nothing in a
    test."""
    seen: dict[str, pd.Series] = {}
    rows = []
    for split, ids in texts.groupby("split", sort=False)["ids"]:
        for other, its_ids in seen.items():
            rows.append({"split": split, "shares with": other, "texts": ids.isin(its_ids).sum()})
        seen[split] = ids
    return pd.DataFrame(rows)


def conflicts(texts: pd.DataFrame) -> pd.DataFrame:
    """Texts that occur (by their token ids) with different labels, in one split or across them."""
    again = texts.loc[texts["in_conflict"], ["ids", "label_name", "split", "text"]]
    again = again[again["ids"].isin(again["ids"].unique()[:LISTED])]
    rows = []
    for _, df in again.groupby("ids", sort=False):
        places = df["label_name"] + " (" + df["split"] + ")"
        rows.append({"labels": ", ".join(places), "text": df["text"].iloc[0]})
    return pd.DataFrame(rows)


def show(title: str, table: pd.DataFrame) -> None:
    """One table on the terminal, or its first rows; the report has the rest."""
    shown = table.head(2 * SHOWN).astype(object).map(number)
    if title == "splits":  # few rows, many columns: read better the other way round
        shown = shown.set_index("split").T.rename_axis(columns=None)
    print_table(title.capitalize(), shown, index=title == "splits")

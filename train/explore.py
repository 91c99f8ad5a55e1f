"""python -m train explore: the data before any model: classes, lengths, and what is wrong with it.

Only the tokenizer is needed, no weights.
"""

import hashlib
from array import array

import pandas as pd

from tokenizer import WordPieceTokenizer
from train.data import Data, describe, load_data
from train.device import current_processes
from train.findings import LISTED, findings, typical_words
from train.options import ExploreOptions
from train.progress import progress
from train.runs import Result, Run, write_csv, write_json
from train.tables import number, print_table

CHUNK = 10_000  # texts encoded at a time: how often the progress bar moves
SHOWN = 5  # examples of each kind on the terminal
EXAMPLE = ["split", "label_name", "words", "tokens", "text"]


def run(options: ExploreOptions) -> Result:
    """Count classes and lengths, look for repeats and leaks; write explore.json, lengths.csv."""
    with Run("explore", options) as run:
        data = load_data(options)
        tokenizer = WordPieceTokenizer.from_pretrained(options.model)
        if not current_processes().is_main:
            return run.result
        print(f"{describe(data)}; tokenizer of {options.model}")
        limit = min(options.max_length, tokenizer.model_max_length)
        texts = to_frame(data, tokenizer)
        tables = {
            "classes": classes(texts, data.labels),
            "splits": splits(texts, limit),
            "words per text": words_per_text(texts, data.labels),
            "shared between splits": shared(texts),
            "same text, different labels": conflicts(texts),
            "longest texts": texts.nlargest(SHOWN, "tokens")[EXAMPLE],
            "shortest texts": texts.nsmallest(SHOWN, "tokens")[EXAMPLE],
        }
        run.open(labels=data.labels)
        rows = {title: records(table) for title, table in tables.items()}
        found = findings(texts, limit)
        explored = {"limit": limit, "findings": found, "tables": rows}
        explored["typical words"] = typical_words(
            texts[texts["split"] == texts["split"].iloc[0]], data.labels
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


def to_frame(data: Data, tokenizer: WordPieceTokenizer) -> pd.DataFrame:
    """All splits in one table, a row per text: text, label, label_name, words, tokens, unknown (how
    many tokens are [UNK]), ids (equal where the token ids are equal), split. Tokens count [CLS] and
    [SEP], as the model's limit does."""
    frames = []
    for split, rows in data.splits.items():
        df = rows.assign(label_name=[data.labels[i] for i in rows["label"]])
        df["words"] = df["text"].str.split().str.len()
        tokens = count_tokens(df["text"].tolist(), tokenizer, split)
        frames.append(df.join(tokens).assign(split=split))
    return pd.concat(frames, ignore_index=True)


def count_tokens(texts: list[str], tokenizer: WordPieceTokenizer, title: str) -> pd.DataFrame:
    """Of each text: its tokens, how many of them are [UNK], and a hash of their ids."""
    rows = []
    with progress(title, len(texts), "texts") as bar:
        for start in range(0, len(texts), CHUNK):
            # Not truncated: how many texts are over the limit is one of the answers.
            chunk = tokenizer(texts[start : start + CHUNK], return_attention_mask=False)
            for ids in chunk["input_ids"]:
                # 16 bytes in place of a list: a million texts fit in memory, and two that differ
                # get one hash once in 10^26 such data sets.
                same = hashlib.blake2b(array("i", ids).tobytes(), digest_size=16).digest()
                rows.append((len(ids), ids.count(tokenizer.unk_token_id), same))
            bar.update(len(chunk["input_ids"]))
    return pd.DataFrame(rows, columns=["tokens", "unknown", "ids"])


def classes(texts: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """How many texts each class has in each split, and its share of the first split."""
    counts = texts.groupby(["label", "split"], sort=False).size().unstack(fill_value=0)
    # A class without a text, as a trained model may have, is counted too: 0.
    counts = counts.reindex(index=range(len(names)), columns=texts["split"].unique(), fill_value=0)
    first = counts.columns[0]
    counts.insert(0, "label", names)
    counts[f"share of {first}"] = counts[first] / counts[first].sum()
    return counts.rename_axis("id").reset_index()


def splits(texts: pd.DataFrame, limit: int) -> pd.DataFrame:
    """A row per split: accuracy of the majority baseline, imbalance, repeats, tokens."""
    # The baseline answers the commonest label of the training split, in every split: what a
    # classifier gets that has learnt how often the labels occur, and nothing of the texts.
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
    seen: dict[str, set[bytes]] = {}
    rows = []
    for split, df in texts.groupby("split", sort=False):
        for other, its_ids in seen.items():
            count = df["ids"].isin(its_ids).sum()
            rows.append({"split": split, "shares with": other, "texts": count})
        seen[split] = set(df["ids"])
    return pd.DataFrame(rows)


def conflicts(texts: pd.DataFrame) -> pd.DataFrame:
    """Texts that occur (by their token ids) with different labels, in one split or across them."""
    again = texts[texts["ids"].duplicated(keep=False)]
    rows = []
    for _, df in again.groupby("ids", sort=False):
        if df["label"].nunique() > 1:
            places = df["label_name"] + " (" + df["split"] + ")"
            rows.append({"labels": ", ".join(places), "text": df["text"].iloc[0]})
    return pd.DataFrame(rows[:LISTED])


def records(table: pd.DataFrame) -> list[dict]:
    """A table's rows as JSON can hold them: Python's numbers, None for NaN (the words per text of a
    class without any)."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def show(title: str, table: pd.DataFrame) -> None:
    """One table on the terminal, or its first rows; the report has the rest."""
    shown = table.head(2 * SHOWN).astype(object).map(number)
    if title == "splits":  # few rows, many columns: read better the other way round
        shown = shown.set_index("split").T.rename_axis(columns=None)
    print_table(title.capitalize(), shown, index=title == "splits")

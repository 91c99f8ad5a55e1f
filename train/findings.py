"""What is wrong with a data set, found by counting, and which words are typical of a class.

A text is known by its token ids: "Hello!" and "hello !" are one text to the model, and so they are
here.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix  # comes with scikit-learn
from sklearn.feature_extraction.text import CountVectorizer

LISTED = 200  # rows of each finding
TYPICAL = 10  # words per class
CLASSES = 40  # for which words are counted, the first ones
SHOWN = ["split", "label_name", "text"]
PRIOR = 1_000  # words; the weight of "this class uses words as all texts do", see typical_words


def findings(texts: pd.DataFrame, limit: int) -> list[dict[str, Any]]:
    """What a reader should know before training, worst first; each is {"kind", "count", "words",
    "rows"} with at most LISTED rows.

    texts: a row per text with split, text, label_name, ids (equal where the token ids are), tokens,
    unknown."""
    first_split = texts.groupby("ids", sort=False)["split"].transform("first")
    leaks = texts.assign(first=first_split)[first_split != texts["split"]]
    n_labels = texts.groupby("ids")["label_name"].transform("nunique")
    conflicts = texts[n_labels > 1]
    repeats = texts[texts.duplicated(["split", "ids"])]
    empty = texts[texts["tokens"] <= 2]  # [CLS] and [SEP] alone
    long = texts[texts["tokens"] > limit]
    unknown = texts[texts["unknown"] > 0]
    share = texts["unknown"].sum() / max(1, (texts["tokens"] - 2).sum())
    found = [
        ("leaks", len(leaks), "texts of a later split occur in an earlier one too", leaks),
        (
            "conflicts",
            conflicts["ids"].nunique(),
            "texts occur several times with different labels",
            conflicts.sort_values("ids", kind="stable"),
        ),
        ("repeats", len(repeats), "texts repeat one of the same split", repeats),
        ("empty", len(empty), "texts have no token", empty),
        ("over-long", len(long), f"texts are cut at {limit} tokens", long),
        ("unknown", len(unknown), f"texts have an [UNK]: {share:.2%} of all tokens", unknown),
    ]
    listed = [
        {"kind": kind, "count": count, "words": words, "rows": listing(rows)}
        for kind, count, words, rows in found
    ]
    return [*listed[:2], imbalance(texts), *listed[2:]]


def listing(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The first rows as dicts, with the split that had a text first where that is known."""
    columns = [*SHOWN, "first"] if "first" in rows else SHOWN
    return rows[columns].head(LISTED).to_dict("records")


def imbalance(texts: pd.DataFrame) -> dict[str, Any]:
    """How many classes of the first split have less than half the texts of its largest class."""
    first = texts[texts["split"] == texts["split"].iloc[0]]
    counts = first["label_name"].value_counts(ascending=True)
    smallest, largest = counts.index[0], counts.index[-1]
    ratio = counts[largest] / counts[smallest]
    words = (
        f"of {len(counts)} classes have less than half the texts of the largest; there are "
        f"{ratio:.1f} times as many of {largest} as of {smallest}"
    )
    small = int((2 * counts < counts[largest]).sum())
    rows = counts.rename_axis("label").reset_index(name="texts").head(LISTED)
    return {"kind": "imbalance", "count": small, "words": words, "rows": rows.to_dict("records")}


def typical_words(texts: pd.DataFrame, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Words that each class uses more often than the other classes: {label: [{"word", "z"}]}.

    z is the log-odds ratio with an informative Dirichlet prior, in standard errors (Monroe et al.,
    "Fightin' Words", 2008). Plain ratios would list words that occur once; plain differences, "the"
    and "i". The prior is PRIOR words drawn as from all texts: a rare word has to occur often in the
    class before it outweighs them. texts: columns text and label (a class id)."""
    vectorizer = CountVectorizer(token_pattern=r"(?u)\b\w\w+\b")
    try:
        counts = vectorizer.fit_transform(texts["text"])  # (N, W)
    except ValueError:  # no text has a word of two letters
        return {}
    words = vectorizer.get_feature_names_out()
    one_hot = csr_matrix(
        (np.ones(len(texts)), (texts["label"], np.arange(len(texts)))), (len(names), len(texts))
    )
    by_class = (one_hot @ counts).tocsr()  # (C, W)
    overall = np.asarray(counts.sum(axis=0), dtype=float).ravel()  # (W,)
    prior = PRIOR * overall / overall.sum()
    found = {}
    for label, name in enumerate(names[:CLASSES]):
        ours = by_class[label].toarray().ravel() + prior
        theirs = overall - by_class[label].toarray().ravel() + prior
        odds = [np.log(side / (side.sum() - side)) for side in (ours, theirs)]
        z = (odds[0] - odds[1]) / np.sqrt(1 / ours + 1 / theirs)
        best = np.argsort(-z, kind="stable")[:TYPICAL]
        found[name] = [{"word": words[i], "z": round(float(z[i]), 1)} for i in best if z[i] > 1.96]
    return found

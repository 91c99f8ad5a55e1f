"""What is wrong with a data set, found by counting, and which words are typical of a class.

A text is known by its token ids: "Hello!" and "hello !" are one text to the model, and so they are
here.
"""

import re
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from train.data.encoded import chunks

LISTED = 200  # rows of each finding
WORD = re.compile(r"\b\w\w+\b")  # two letters and more, as scikit-learn's CountVectorizer has it
TYPICAL = 10  # words per class
CLASSES = 40  # for which words are counted, the first ones
SHOWN = ["split", "label_name", "text"]
PRIOR = 1_000  # words; the weight of "this class uses words as all texts do", see typical_words


def findings(texts: pd.DataFrame, limit: int) -> list[dict[str, Any]]:
    """What a reader should know before training, worst first; each is {"kind", "count", "words",
    "rows"} with at most LISTED rows.

    texts: a row per text, as `train.explore.to_frame` makes them."""
    groups = texts.groupby("ids", sort=False)
    texts = texts.assign(first=groups["split"].transform("first"))
    is_leak = texts["first"] != texts["split"]
    share = texts["unknown"].sum() / max(1, (texts["tokens"] - 2).sum())
    # Kind, which rows, what they are in words.
    found = [
        ("leaks", is_leak, "texts of a later split occur in an earlier one too"),
        ("conflicts", texts["in_conflict"], "texts occur several times with different labels"),
        ("repeats", texts.duplicated(["split", "ids"]), "texts repeat one of the same split"),
        ("empty", texts["tokens"] <= 2, "texts have no token"),  # [CLS] and [SEP] alone
        ("over-long", texts["tokens"] > limit, f"texts are cut at {limit} tokens"),
        ("unknown", texts["unknown"] > 0, f"texts have an [UNK]: {share:.2%} of all tokens"),
    ]
    listed = [
        {
            "kind": kind,
            "count": int(texts.loc[rows, "ids"].nunique() if kind == "conflicts" else rows.sum()),
            "words": words,
            "rows": listing(texts, rows, kind),
        }
        for kind, rows, words in found
    ]
    return [*listed[:2], imbalance(texts), *listed[2:]]


def listing(texts: pd.DataFrame, is_listed: pd.Series, kind: str) -> list[dict[str, Any]]:
    """The first of these rows as dicts; leaks with the split that had the text first, conflicts
    with the rows of one text together."""
    # Numbers of rows, since a copy of the rows themselves may be most of the data.
    places = np.flatnonzero(is_listed)
    if kind == "conflicts":
        places = places[np.argsort(texts["ids"].to_numpy()[places], kind="stable")]
    columns = [*SHOWN, "first"] if kind == "leaks" else SHOWN
    return texts[columns].iloc[places[:LISTED]].to_dict("records")


def imbalance(texts: pd.DataFrame) -> dict[str, Any]:
    """How many classes of the first split have less than half the texts of its largest class."""
    is_first = texts["split"] == texts["split"].iloc[0]
    counts = texts.loc[is_first, "label_name"].value_counts(ascending=True)
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
    # Counters by class, as a matrix (N, W) of all texts would be larger than the texts.
    counters: list[Counter[str]] = [Counter() for _ in names]
    labels = iter(texts["label"].tolist())
    for chunk in chunks(texts["text"]):
        for text, label in zip(chunk, labels):
            counters[label].update(WORD.findall(text.lower()))
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    words = sorted(total)
    if not words:  # no text has a word of two letters
        return {}
    overall = np.array([total[word] for word in words], float)  # (W,)
    prior = PRIOR * overall / overall.sum()
    found = {}
    for counter, name in zip(counters, names[:CLASSES]):
        counts = np.array([counter[word] for word in words], float)
        ours, theirs = counts + prior, overall - counts + prior
        # (W,) each: a word's odds are its count over that of all other words. 1/ours + 1/theirs is
        # the variance of the difference of the two logarithms.
        odds = [np.log(side / (side.sum() - side)) for side in (ours, theirs)]
        z = (odds[0] - odds[1]) / np.sqrt(1 / ours + 1 / theirs)
        best = np.argsort(-z, kind="stable")[:TYPICAL]
        found[name] = [{"word": words[i], "z": round(float(z[i]), 1)} for i in best if z[i] > 1.96]
    return found

"""Measures of a classifier's logits, with the tutorial's names: loss, accuracy, f1."""

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

# How figures of a split are named: eval_loss is the validation split's, as in transformers.
PREFIX = {"train": "train", "validation": "eval", "test": "test"}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits (N, C) to probabilities (N, C) float64 whose rows sum to 1.

    >>> softmax(np.array([[0.0, np.log(3.0)]])).tolist()
    [[0.25, 0.75]]
    """
    logits = logits.astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))  # exp(0) = 1 at most
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def example_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross entropy of each example, -log p(label), in nats: (N,) float64."""
    logits = logits.astype(np.float64)
    # Not log(softmax): a probability that underflows to 0 would make the loss infinite.
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return log_sums - shifted[np.arange(len(labels)), labels]


def measure(logits: np.ndarray, labels: np.ndarray, prefix: str) -> dict[str, float]:
    """loss (mean cross entropy), accuracy, f1 (weighted by class size, as in the tutorial) and
    macro_f1 (every class counts the same), each with the prefix: eval_loss, ..."""
    predicted = logits.argmax(axis=1)
    return {
        f"{prefix}_loss": float(example_losses(logits, labels).mean()),
        f"{prefix}_accuracy": float(accuracy_score(labels, predicted)),
        f"{prefix}_f1": float(f1_score(labels, predicted, average="weighted", zero_division=0)),
        f"{prefix}_macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
    }


def baseline(train_labels: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy of always answering the most frequent label of the training split: what an accuracy
    has to be compared with."""
    return float((labels == np.bincount(train_labels).argmax()).mean())


def predictions(
    splits: dict[str, pd.DataFrame], logits: dict[str, np.ndarray], names: list[str]
) -> pd.DataFrame:
    """The table of predictions.csv: a row per text, the highest loss first.

    splits: texts and labels by split; logits: (N, C) by split, of those that were computed; names:
    of the labels, by id. `row` is the text's place in its split, from 0; figures are rounded to six
    digits, as they are in the file."""
    tables = []
    for split, scores in logits.items():
        labels = splits[split]["label"].to_numpy()
        predicted = scores.argmax(axis=1)
        probabilities = softmax(scores)
        every_row = np.arange(len(labels))
        columns = {
            "split": split,
            "row": every_row,
            "text": splits[split]["text"],
            "label": [names[label] for label in labels],
            "predicted_label": [names[label] for label in predicted],
            "probability": probabilities[every_row, predicted].round(6),
            "label_probability": probabilities[every_row, labels].round(6),
            "loss": example_losses(scores, labels).round(6),
        }
        tables.append(pd.DataFrame(columns))
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values("loss", ascending=False, kind="stable", ignore_index=True)


def one_class(table: pd.DataFrame) -> list[str]:
    """A line for each split of predictions.csv whose texts all get the same label, though they do
    not have the same: such a classifier has learnt nothing, however high its accuracy."""
    return [
        f"every text of {split} is called {rows['predicted_label'].iloc[0]!r}: the model has "
        "learnt nothing; try a higher learning rate or more epochs"
        for split, rows in table.groupby("split")
        if rows["predicted_label"].nunique() == 1 < rows["label"].nunique()
    ]


def per_class(labels: pd.Series, predicted: pd.Series, names: list[str]) -> pd.DataFrame:
    """A row per class, in the order of `names`: precision, recall, f1, and how many texts."""
    precision, recall, f1, texts = precision_recall_fscore_support(
        labels, predicted, labels=names, zero_division=0
    )
    return pd.DataFrame(
        {"label": names, "precision": precision, "recall": recall, "f1": f1, "texts": texts}
    )


def calibration(confidence: np.ndarray, correct: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Is a model that says 0.8 right in 8 of 10 cases? A row per tenth of the confidence scale
    that holds any text: mean confidence, accuracy, how many texts.

    confidence: (N,) probability of the predicted label; correct: (N,) bool."""
    # A bin is open below and closed above: (0.7, 0.8] is number 8, and 0 goes to the first.
    tenth = np.clip(np.ceil(confidence * bins), 1, bins).astype(int)
    table = pd.DataFrame({"confidence": confidence, "accuracy": correct.astype(float)})
    groups = table.groupby(tenth)
    return groups.mean().assign(texts=groups.size()).reset_index(drop=True)


def wilson_interval(shares: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of shares measured on so many texts (Wilson, 1927): unlike share +- 2 standard
    errors they stay within 0 and 1, and are not empty where the share is 0 or 1.

    >>> low, high = wilson_interval(np.array([1.0]), np.array([1]))
    >>> round(low.item(), 2), round(high.item(), 2)
    (0.21, 1.0)
    """
    z = 1.96  # 95 % of a normal distribution lie within so many standard deviations
    centre = (shares + z**2 / (2 * counts)) / (1 + z**2 / counts)
    spread = shares * (1 - shares) / counts + z**2 / (4 * counts**2)
    half = z * np.sqrt(spread) / (1 + z**2 / counts)
    return centre - half, centre + half


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over all texts."""
    gaps = (table["confidence"] - table["accuracy"]).abs()
    return float((gaps * table["texts"]).sum() / table["texts"].sum())


def confident_mistakes(predictions: pd.DataFrame) -> pd.DataFrame:
    """Rows where the model is sure of another label than the given one, the surest first: a wrong
    label, or a hard text.

    The rule is confident learning's (Northcutt et al., 2021): the model prefers another label, and
    is as sure of it as it is, on average, of that label where it is given. Losses alone would also
    list texts of which the model is sure of nothing.
    predictions: the columns of predictions.csv."""
    usual = predictions.groupby("label")["label_probability"].mean()
    wrong = predictions[predictions["label"] != predictions["predicted_label"]]
    sure = wrong["probability"] >= wrong["predicted_label"].map(usual).astype(float)
    return wrong[sure].sort_values("label_probability", kind="stable")

"""The probe's logistic regression: the tutorial's way and ours, time, iterations and accuracy.

python -m tests.benchmarks.probe [--save]
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from minibert import DistilBertModel
from tests.benchmarks.common import emotion_or_demo, environment, publish, table
from tokenizer import WordPieceTokenizer
from train.data import encode
from train.device import choose_precision
from train.forward import extract_layers
from train.probe import fit_classifier

HEADER = ["logistic regression", "features", "seconds", "iterations", "validation accuracy"]


def tutorial(x: np.ndarray, y: np.ndarray) -> tuple[Any, int]:
    classifier = LogisticRegression(max_iter=3000).fit(x, y)
    return classifier, classifier.n_iter_.max()


def ours(x: np.ndarray, y: np.ndarray) -> tuple[Any, int]:
    classifier, iterations, converged = fit_classifier(x, y)
    assert converged
    return classifier, iterations


def to_the_end(x: np.ndarray, y: np.ndarray) -> tuple[Any, int]:
    """Ours with a tolerance a ten-thousandth of the usual one: where it would end up."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100_000, tol=1e-8))
    classifier.fit(x, y)
    return classifier, classifier[-1].n_iter_.max()


def load() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Last hidden states (N, 2, D), [CLS] and mean, and labels (N,), by split."""
    precision = choose_precision()
    _, data = emotion_or_demo()
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    model = DistilBertModel.from_pretrained("demo").to(precision.device)
    model.check_inputs = False
    x, y = {}, {}
    for split in ("train", "validation"):
        encoded = encode(data.splits[split], tokenizer, model.config, 512, precision.device)
        x[split] = extract_layers(model, encoded, precision)[:, -1]
        y[split] = data.splits[split]["label"].to_numpy()
    return x, y


def main() -> None:
    states, y = load()
    cls = {split: rows[:, 0] for split, rows in states.items()}
    both = {split: rows.reshape(len(rows), -1) for split, rows in states.items()}
    sides: list[tuple[str, str, Callable, dict]] = [
        ("the tutorial's: raw features", "[CLS]", tutorial, cls),
        ("MiniBERT: standardised", "[CLS]", ours, cls),
        ("the same, to the end", "[CLS]", to_the_end, cls),
        ("MiniBERT: standardised", "[CLS] and mean", ours, both),
    ]
    rows = []
    for title, name, fit, x in sides:
        start = time.perf_counter()
        classifier, iterations = fit(x["train"], y["train"])
        seconds = time.perf_counter() - start
        shape = " x ".join(map(str, x["train"].shape))
        score = classifier.score(x["validation"], y["validation"])
        rows.append([title, f"{name}, {shape}", f"{seconds:.1f}", str(iterations), f"{score:.4f}"])
    publish(
        "probe",
        table(HEADER, rows, n_text=2)
        + "\n\nfloat32 features of the packaged weights.\n"
        + environment("scikit-learn", "torch"),
    )


if __name__ == "__main__":
    main()

"""What a set of predictions is worth, with the tutorial's names: loss, accuracy, f1."""

import numpy as np
from sklearn.metrics import accuracy_score, f1_score


def softmax(logits: np.ndarray) -> np.ndarray:
    """(N, C) logits to probabilities, float64."""
    logits = logits.astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))  # at most 1: no overflow
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def example_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) cross entropy of each example, -log p(label), in nats."""
    logits = logits.astype(np.float64)
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

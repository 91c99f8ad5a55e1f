"""Cross entropy and its gradient, written by hand: no autograd, no function that computes either.

N examples, C classes. A label of -100 means: this example does not count.
"""

import torch
from torch import Tensor

IGNORED = -100


def log_softmax(logits: Tensor) -> Tensor:
    """log(exp(x) / sum of exp(x)) of every row. logits: (N, C) -> (N, C), without overflow: finite
    for logits of 1000 as well."""
    # exp(1000) is infinite. Subtracting a row's largest number changes no softmax, since it stands
    # above and below the fraction line, and leaves no exponent above 0.
    shifted = logits - logits.max(dim=-1, keepdim=True).values
    return shifted - shifted.exp().sum(dim=-1, keepdim=True).log()


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean of -log softmax(logits)[label] over the labels that are not -100: () .

    logits: (N, C), labels: (N,) int64."""
    counts = labels != IGNORED
    rows = log_softmax(logits)[counts]  # (M, C): the M examples that count
    return -rows[torch.arange(len(rows)), labels[counts]].mean()


def gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """The derivative of that loss by every logit: (N, C), rows of examples labelled -100 all 0."""
    counts = labels != IGNORED
    result = log_softmax(logits).exp()  # (N, C): the probabilities
    # d loss / d logit_j = p_j - 1 for the true class, p_j for the others: what was said minus what
    # is true. Each row sums to 0.
    result[torch.arange(len(labels)), labels.clamp(min=0)] -= 1
    return result * counts[:, None] / counts.sum()

"""Texts as tensors, and which of them share a batch.

Padding is work thrown away: a shuffled batch of tweets padded to its longest is about half
padding. So texts of like length go together: fully sorted where order does not matter (evaluation,
features), inside shuffled windows where it does (training).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from minibert.inputs import IGNORED

# Steps per shuffled window. Tweets in steps of 32 are 3.1 % padding with windows of 50, 1.1 % with
# 200; chance still picks a step's texts out of several times as many of like length.
WINDOW_STEPS = 200
# Tokens per forward pass without gradients. A CPU is fastest where a batch fits its caches; a GPU
# wants enough work to fill it.
TOKEN_BUDGET = {"cpu": 1_400, "cuda": 65_536, "mps": 16_384}


class Encoded:
    """N texts as one run of token ids: a data set is a few tensors that live on the device.

    ids: (T,) int32, all texts end to end; starts: (N,) int64, where each text begins;
    labels: (N,) int64, -100 for none; lengths: (N,) int64 and is_labelled: (N,) bool, as numpy
    arrays, so that planning batches reads nothing back from the device.
    """

    def __init__(
        self,
        texts: Sequence[Sequence[int]],
        labels: Sequence[int] | np.ndarray | None = None,
        pad_id: int = 0,
        device: torch.device | str = "cpu",
    ):
        self.lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        ends = np.cumsum(self.lengths)
        flat = np.fromiter((i for text in texts for i in text), np.int32, count=self.lengths.sum())
        labels = np.zeros(len(texts), np.int64) if labels is None else np.asarray(labels, np.int64)
        self.is_labelled = labels != IGNORED
        self.ids = torch.from_numpy(flat).to(device)
        self.starts = torch.from_numpy(ends - self.lengths).to(device)
        self.sizes = torch.from_numpy(self.lengths).to(device)
        self.labels = torch.from_numpy(labels).to(device)
        self.pad_id = pad_id

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None, Tensor]:
        """input_ids (B, S) int64, attention_mask (B, S) bool, labels (B,) int64 of these rows.

        S is the longest text; the mask is None where all are as long, which spares the model all
        masking."""
        lengths = self.lengths[rows]
        width = int(lengths.max())
        input_ids, mask, labels = self.gather(torch.from_numpy(rows).to(self.ids.device), width)
        return input_ids, (mask if lengths.min() < width else None), labels

    def gather(self, rows: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """The same for rows (B,) on the device and a given S, always with a mask: only device
        work, so that a CUDA graph can hold it."""
        column = torch.arange(width, device=rows.device)  # (S,)
        mask = column < self.sizes[rows][:, None]  # (B, S)
        place = (self.starts[rows][:, None] + column).clamp_(max=len(self.ids) - 1)
        input_ids = torch.where(mask, self.ids[place].long(), self.pad_id)
        return input_ids, mask, self.labels[rows]


def epoch_steps(lengths: np.ndarray, step_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The optimiser steps of one epoch: arrays of row numbers, each row in exactly one of them.

    A function of (seed, epoch, step_size) alone: how a step is later cut into forward passes or
    shared among processes changes nothing. A window of WINDOW_STEPS steps is drawn at random and
    sorted by length; then the order of the steps is drawn. Rows that fill no whole step, drawn at
    random too, make a last short one.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    whole = len(order) - len(order) % step_size
    steps = []
    for start in range(0, whole, step_size * WINDOW_STEPS):
        window = order[start : min(start + step_size * WINDOW_STEPS, whole)]
        window = window[np.argsort(lengths[window], kind="stable")]
        steps.extend(np.split(window, len(window) // step_size))
    steps = [steps[i] for i in random.permutation(len(steps))]
    if whole < len(order):
        rest = order[whole:]
        steps.append(rest[np.argsort(lengths[rest], kind="stable")])
    return steps


def sorted_batches(lengths: np.ndarray, token_budget: int) -> list[np.ndarray]:
    """Row numbers in order of length, cut so that rows x longest stays within the budget.

    >>> sorted_batches(np.array([9, 2, 3, 2]), token_budget=9)
    [array([1, 3, 2]), array([0])]
    """
    order = np.argsort(lengths, kind="stable")
    batches, start = [], 0
    for end in range(1, len(order) + 1):
        # Sorted, so the next text would be the batch's longest.
        if end == len(order) or (end + 1 - start) * lengths[order[end]] > token_budget:
            batches.append(order[start:end])
            start = end
    return batches


def padding_share(lengths: np.ndarray, batches: Sequence[np.ndarray]) -> float:
    """The part of the computed tokens that is padding, 0 to 1.

    >>> padding_share(np.array([3, 6, 6]), [np.array([0, 1]), np.array([2])])  # 3 of 18
    0.16666666666666663
    """
    real = sum(int(lengths[rows].sum()) for rows in batches)
    computed = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
    return 1 - real / computed if computed else 0.0

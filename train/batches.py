"""Token ids as tensors, and which texts share a batch.

Every text of a batch is padded to the batch's longest, and the model computes padding as it does
tokens: a shuffled batch of tweets is about half padding. So texts of similar length go together:
sorted as a whole where order does not matter (evaluation, features), sorted inside shuffled windows
where it does (training).
"""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

# Steps per shuffled window. Wider windows mean less padding: tweets in steps of 32 are 3.1 % of it
# with windows of 50 steps, 1.1 % with 200. In narrower ones texts of other lengths meet more
# often; with 200 a step's texts are still drawn from several times as many of the same length.
WINDOW_STEPS = 200
# Tokens (padding included) per forward pass without gradients. A CPU is fastest where a batch fits
# its caches; a GPU needs enough work for all its cores. Tokens, not texts: time and memory follow
# the number of tokens, whether these are 64 short texts or 2 long ones.
TOKEN_BUDGET = {"cpu": 1_400, "cuda": 65_536, "mps": 16_384}


class TokenIds(NamedTuple):
    """The ids of N texts, [CLS] and [SEP] included."""

    ids: np.ndarray  # (T,) int32, all texts end to end
    lengths: np.ndarray  # (N,) int32, how many ids each text has

    @classmethod
    def of_lists(cls, texts: Sequence[Sequence[int]]) -> Self:
        """From a list of ids per text."""
        lengths = np.fromiter(map(len, texts), np.int32, count=len(texts))
        n_ids = int(lengths.sum(dtype=np.int64))
        return cls(np.fromiter(chain.from_iterable(texts), np.int32, count=n_ids), lengths)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The texts of all parts, in order."""
        return cls(*map(np.concatenate, zip(*parts)))  # zip: all ids, then all lengths

    @property
    def ends(self) -> np.ndarray:
        """(N,) int64: text n is ids[ends[n] - lengths[n] : ends[n]]."""
        return np.cumsum(self.lengths, dtype=np.int64)

    def cut(self, limit: int, side: str = "right") -> Self:
        """The same, with at most `limit` ids of each text, cut as the tokenizer's truncation cuts:
        [CLS] and [SEP] stay, and of the text its start (side "right") or its end ("left").

        >>> TokenIds(np.array([101, 7, 8, 9, 102]), np.array([5])).cut(4).ids
        array([101,   7,   8, 102])
        """
        if limit < 2:
            raise ValueError(f"max_length={limit} is less than the 2 special tokens need")
        too_long = np.flatnonzero(self.lengths > limit)
        if len(too_long) == 0:
            return self
        is_kept = np.ones(len(self.ids), bool)
        for end, length in zip(self.ends[too_long].tolist(), self.lengths[too_long].tolist()):
            start = end - length
            if side == "right":
                is_kept[start + limit - 1 : end - 1] = False
            else:
                is_kept[start + 1 : end - limit + 1] = False
        return type(self)(self.ids[is_kept], np.minimum(self.lengths, limit))


class Encoded:
    """The token ids of N texts, all in one tensor on the device, without padding.

    ids: (T,) int32, all texts end to end; starts: (N,) where each text begins; sizes: (N,) how many
    ids each text has; labels: (N,); these in the smallest integers that hold them.
    And on the CPU lengths: (N,) int64, the same as sizes.
    """

    def __init__(
        self,
        texts: TokenIds | Sequence[Sequence[int]],
        labels: Sequence[int] | np.ndarray | None = None,
        pad_id: int = 0,
        device: torch.device | str = "cpu",
    ):
        flat = texts if isinstance(texts, TokenIds) else TokenIds.of_lists(texts)
        # Lengths twice: batches are planned from numpy arrays, since reading a number back from a
        # GPU waits for all the work queued there; the tensor builds masks on the GPU.
        self.lengths = flat.lengths.astype(np.int64)
        labels = np.zeros(len(self.lengths), np.int64) if labels is None else np.array(labels)
        # A million tweets: 92 MB of ids and 7 MB of these three, where int64 would take 24.
        self.ids = torch.from_numpy(flat.ids).to(device)
        self.starts = torch.from_numpy(smallest(flat.ends - self.lengths)).to(device)
        self.sizes = torch.from_numpy(smallest(self.lengths)).to(device)
        self.labels = torch.from_numpy(smallest(labels)).to(device)
        self.pad_id = pad_id

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None, Tensor]:
        """input_ids (B, S) int64, attention_mask (B, S) bool, labels (B,) int64 of these rows.

        S is the longest text of the batch. The mask is None where all texts are as long."""
        lengths = self.lengths[rows]
        width = int(lengths.max())
        input_ids, mask, labels = self.gather(torch.from_numpy(rows).to(self.ids.device), width)
        # Without padding nothing has to be masked, and attention without a mask is faster. Sorted
        # batches are often of one length.
        return input_ids, (mask if lengths.min() < width else None), labels

    def gather(self, rows: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """The same for rows (B,) on the device and a given S, always with a mask.

        Only tensor operations on the device, with shapes that depend on B and S alone: a CUDA graph
        can record them once and replay them for other rows."""
        column = torch.arange(width, device=rows.device)  # (S,)
        mask = column < self.sizes[rows][:, None]  # (B, S)
        # (B, S): where token s of text b stands in self.ids. Behind the end of a text this is the
        # next text's token, which the mask then replaces by padding; behind the end of the last
        # text there is nothing, and an index out of bounds ends a CUDA program. Hence the clamp.
        # int32 and int64 add up to int64.
        place = (self.starts[rows][:, None] + column).clamp_(max=len(self.ids) - 1)
        input_ids = torch.where(mask, self.ids[place].long(), self.pad_id)
        return input_ids, mask, self.labels[rows].long()


def smallest(numbers: np.ndarray) -> np.ndarray:
    """The integers in the smallest of the types uint8, int16, int32 and int64 that holds them.

    >>> smallest(np.array([0, 255])).dtype, smallest(np.array([0, -100])).dtype
    (dtype('uint8'), dtype('int16'))
    """
    low, high = numbers.min(initial=0), numbers.max(initial=0)
    for kind in (np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return numbers.astype(kind)
    return numbers.astype(np.int64)


def epoch_steps(lengths: np.ndarray, step_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The optimiser steps of one epoch: arrays of row numbers, each row in exactly one of them.

    The result depends on lengths, step_size, seed and epoch alone: 4 forward passes of 2 texts on
    one process see the same steps as 1 of 8, or as 1 of 4 on two. The rows that fill no whole step
    make a last, short one.
    """
    # Seeded by the pair, so that an epoch's order can be made again without the epochs before it:
    # a resumed run starts in the middle.
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    whole = len(order) - len(order) % step_size
    steps = []
    for start in range(0, whole, step_size * WINDOW_STEPS):
        window = order[start : min(start + step_size * WINDOW_STEPS, whole)]
        # Sorted inside the window only: neighbours are of similar length, so their step has little
        # padding, and who is in the window is chance, so an epoch's steps are not the last one's.
        # Stable, or texts of one length would have an order that depends on numpy's sort.
        window = window[np.argsort(lengths[window], kind="stable")]
        steps.extend(np.split(window, len(window) // step_size))
    # Shuffled again: a window's steps run from short to long texts, and training on all short texts
    # first would tie the learning rate, which falls from step to step, to the length.
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
        # Sorted, so the next text would be the batch's longest, and all would be padded to it. A
        # text over the budget is still a batch: of its own, since `start` has moved on to it.
        if end == len(order) or (end + 1 - start) * lengths[order[end]] > token_budget:
            batches.append(order[start:end])
            start = end
    return batches


def padding_share(
    lengths: np.ndarray, batches: Sequence[np.ndarray], widths: Sequence[int] | None = None
) -> float:
    """The part of the computed tokens that is padding, 0 to 1. widths: to which each batch is
    padded, where that is more than its longest text.

    >>> padding_share(np.array([3, 6, 6]), [np.array([0, 1]), np.array([2])])  # 3 of 18
    0.16666666666666663
    """
    if widths is None:
        widths = [int(lengths[rows].max()) for rows in batches]
    real = sum(int(lengths[rows].sum()) for rows in batches)
    computed = sum(len(rows) * width for rows, width in zip(batches, widths))
    return 1 - real / computed if computed else 0.0

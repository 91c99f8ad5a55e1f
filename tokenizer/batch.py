"""From rows of ids to what a call returns: cut, framed with special tokens, padded, stacked."""

import math
from array import array
from itertools import chain
from typing import Any

Rows = list[Any]  # of lists or tuples
Feature = tuple[Rows, Any]  # rows of one kind (ids, masks, ...), and what fills the shorter ones up


class Encoding(dict[str, Any]):
    """What a call returns: a dict whose keys are attributes too, `encoded.input_ids`."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"no {name!r} in this encoding, which holds: {', '.join(self)}")


def lengths_kept(first: int, second: int, room: int, strategy: str) -> tuple[int, int]:
    """How many tokens of a text and of its partner stay, so that both fit into `room`.

    >>> lengths_kept(5, 3, 6, "longest_first"), lengths_kept(5, 3, 6, "only_second")
    ((3, 3), (5, 1))
    """
    excess = first + second - room
    if excess <= 0:
        return first, second
    if strategy == "longest_first":
        # The shorter one keeps at most half; of two of one length, the second gets an odd token.
        shorter = min(first, second, room // 2)
        return (shorter, room - shorter) if first <= second else (room - shorter, shorter)
    kept = (first - excess, second) if strategy == "only_first" else (first, second - excess)
    if kept[strategy == "only_second"] <= 0:
        raise ValueError(
            f"truncation={strategy!r} would have to cut off {excess} tokens, but the text and its "
            f"partner have {first} and {second}: raise max_length or use 'longest_first'"
        )
    return kept


def fit(firsts: Rows, seconds: Rows | None, room: int, strategy: str) -> None:
    """Cut rows, in place, so that each with its partner holds at most `room` tokens."""
    for i, first in enumerate(firsts):
        second = seconds[i] if seconds is not None else []
        if len(first) + len(second) > room:
            kept = lengths_kept(len(first), len(second), room, strategy)
            firsts[i] = first[: kept[0]]
            if seconds is not None:
                seconds[i] = second[: kept[1]]


def frame(firsts: Rows, seconds: Rows | None, start: list[Any], end: list[Any]) -> Rows:
    """[CLS] first [SEP] or [CLS] first [SEP] second [SEP], or what stands in their places."""
    if seconds is None:
        return [[*start, *first, *end] for first in firsts]
    return [[*start, *a, *end, *b, *end] for a, b in zip(firsts, seconds)]


def all_of(item: int, rows: Rows) -> Rows:
    """Rows as long as these, of one number."""
    return [[item] * len(row) for row in rows]


def token_types(firsts: Rows, seconds: Rows | None, n_special: int) -> Rows:
    """0 for [CLS] first [SEP], 1 for second [SEP]; n_special tokens stand at each such place."""
    if seconds is None:
        return [[0] * (len(first) + 2 * n_special) for first in firsts]
    sizes = [(len(a) + 2 * n_special, len(b) + n_special) for a, b in zip(firsts, seconds)]
    return [[0] * n_first + [1] * n_second for n_first, n_second in sizes]


def special_mask(firsts: Rows, seconds: Rows | None, n_special: int) -> Rows:
    """1 where a special token was added; one that stood in the text counts as text."""
    zeros = None if seconds is None else all_of(0, seconds)
    return frame(all_of(0, firsts), zeros, [1] * n_special, [1] * n_special)


def pad(feature: Feature, length: int, side: str) -> Feature:
    """Rows brought to `length`; longer ones stay as they are."""
    rows, filler = feature
    if side == "left":
        return [[filler] * (length - len(row)) + row for row in rows], filler
    return [row + [filler] * (length - len(row)) for row in rows], filler


def to_tensor(feature: Feature, length: int, side: str, kind: str) -> Any:
    """The rows one below the other, padded to `length`: an int64 array ("np") or tensor ("pt")."""
    rows, filler = feature
    shape: tuple[int, ...] = (len(rows), length)
    if isinstance(filler, tuple):  # offsets: two numbers a token
        rows, filler, shape = [[*chain(*row)] for row in rows], filler[0], (*shape, len(filler))
    width = math.prod(shape[1:])
    memory = array("q", [filler]) * (len(rows) * width)
    for start, row in zip(range(0, len(memory), width), rows):
        start += width - len(row) if side == "left" else 0
        memory[start : start + len(row)] = array("q", row)
    if kind == "np":
        import numpy

        return numpy.frombuffer(memory, dtype=numpy.int64).reshape(shape)
    import torch

    if not memory:  # torch.frombuffer refuses an empty buffer
        return torch.empty(shape, dtype=torch.int64)
    return torch.frombuffer(memory, dtype=torch.int64).view(shape)

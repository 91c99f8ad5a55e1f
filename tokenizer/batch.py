"""From rows of ids to what a call returns: cut, framed with special tokens, padded, stacked.

A row is the bytes of its numbers, 8 bytes each, as the machine writes them: so rows are joined, cut
and padded in one step each, and a batch of rows, joined, is the memory of a tensor.
"""

import sys
from collections.abc import Iterable
from typing import Any

WIDTH = 8  # bytes of a number

Rows = list[bytes]


def pack(numbers: Iterable[int]) -> bytes:
    """A row of these numbers."""
    return b"".join([number.to_bytes(WIDTH, sys.byteorder) for number in numbers])


def unpack(row: bytes) -> list[int]:
    """The numbers of a row.

    >>> unpack(pack([101, 7592, 102]))
    [101, 7592, 102]
    """
    return memoryview(row).cast("q").tolist()


ZERO, ONE = pack([0]), pack([1])


# The rows of one kind (ids, masks, ...), and what fills the shorter ones up.
Feature = tuple[Rows, bytes]


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
    """Cut rows, in place, so that each with its partner holds at most `room` numbers."""
    for i, first in enumerate(firsts):
        second = seconds[i] if seconds is not None else b""
        if len(first) + len(second) > room * WIDTH:
            kept = lengths_kept(len(first) // WIDTH, len(second) // WIDTH, room, strategy)
            firsts[i] = first[: kept[0] * WIDTH]
            if seconds is not None:
                seconds[i] = second[: kept[1] * WIDTH]


def frame(firsts: Rows, seconds: Rows | None, start: bytes, end: bytes) -> Rows:
    """[CLS] first [SEP] or [CLS] first [SEP] second [SEP], or what stands in their places."""
    if seconds is None:
        return [start + first + end for first in firsts]
    return [start + first + end + second + end for first, second in zip(firsts, seconds)]


def all_of(number: bytes, rows: Rows) -> Rows:
    """Rows as long as these, of one number."""
    return [number * (len(row) // WIDTH) for row in rows]


def token_types(firsts: Rows, seconds: Rows | None, n_special: int) -> Rows:
    """0 for [CLS] first [SEP], 1 for second [SEP]; n_special tokens stand at each such place."""
    rows = frame(all_of(ZERO, firsts), None, ZERO * n_special, ZERO * n_special)
    if seconds is None:
        return rows
    return [row + ones + ONE * n_special for row, ones in zip(rows, all_of(ONE, seconds))]


def special_mask(firsts: Rows, seconds: Rows | None, n_special: int) -> Rows:
    """1 where a special token was added; one that stood in the text counts as text."""
    zeros = None if seconds is None else all_of(ZERO, seconds)
    return frame(all_of(ZERO, firsts), zeros, ONE * n_special, ONE * n_special)


def pad(rows: Rows, filler: bytes, length: int, side: str) -> Feature:
    """Rows brought to `length` fillers; longer ones stay as they are."""
    padding, size = filler * length, length * len(filler)
    if side == "left":
        return [padding[: max(size - len(row), 0)] + row for row in rows], filler
    return [row + padding[len(row) :] for row in rows], filler


def finish(feature: Feature, kind: str | None) -> Any:
    """A feature's rows as lists, or as one tensor of the kind "np" or "pt"."""
    rows, filler = feature
    pairs = len(filler) > WIDTH  # offsets: two numbers for a token
    if kind is None:
        lists = [unpack(row) for row in rows]
        return [list(zip(row[::2], row[1::2])) for row in lists] if pairs else lists
    lengths = {len(row) // len(filler) for row in rows} or {0}
    if len(lengths) > 1:
        raise ValueError(
            f"texts of {min(lengths)} to {max(lengths)} tokens make no tensor: pass padding=True"
        )
    return _tensor(bytearray().join(rows), kind, (len(rows), *lengths, *([2] if pairs else [])))


def _tensor(memory: bytearray, kind: str, shape: tuple[int, ...]) -> Any:
    """An int64 array or tensor in this very memory."""
    if kind == "np":
        import numpy

        return numpy.frombuffer(memory, dtype=numpy.int64).reshape(shape)
    import torch

    if not memory:  # torch.frombuffer refuses an empty buffer
        return torch.empty(shape, dtype=torch.int64)
    return torch.frombuffer(memory, dtype=torch.int64).view(shape)

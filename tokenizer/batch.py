"""From rows of ids to what a call returns: cut, framed with special tokens, padded, stacked."""

from itertools import chain
from typing import Any

Rows = list[list[Any]]
# Rows of one kind (ids, masks, ...), or a number that stands at every token; and what fills the
# shorter rows up.
Feature = tuple[Rows | int, Any]


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


def token_types(rows: Rows, tails: list[int]) -> Rows:
    """0 for [CLS] first [SEP], 1 for its tail, second [SEP]."""
    return [[0] * (len(row) - tail) + [1] * tail for row, tail in zip(rows, tails)]


def special_mask(rows: Rows, tails: list[int], n: int) -> Rows:
    """1 where one of n special tokens was added; one that stood in the text counts as text."""
    added = [1] * n
    masks = []
    for row, tail in zip(rows, tails):
        first = [*added, *[0] * (len(row) - tail - 2 * n), *added]
        masks.append([*first, *[0] * (tail - n), *added] if tail else first)
    return masks


def to_lists(
    features: dict[str, Feature], sizes: list[int], length: int | None, side: str, is_single: bool
) -> Encoding:
    """The rows as they are or, where a length is given, padded; longer ones are never cut."""
    encoding = Encoding()
    for name, (rows, filler) in features.items():
        if isinstance(rows, int):
            rows = [[rows] * size for size in sizes]
        if length is not None and side == "left":
            rows = [[filler] * (length - len(row)) + row for row in rows]
        elif length is not None:
            rows = [row + [filler] * (length - len(row)) for row in rows]
        encoding[name] = rows[0] if is_single else rows
    return encoding


def to_tensors(
    features: dict[str, Feature], sizes: list[int], length: int | None, side: str, kind: str
) -> Encoding:
    """int64 arrays ("np") or tensors ("pt"), a row for each text, padded to `length` if given."""
    import numpy as np  # here, because only those who ask for tensors need it

    shortest, longest = min(sizes, default=0), max(sizes, default=0)
    if shortest < longest and (length is None or length < longest):
        message = f"texts of {shortest} to {longest} tokens make no tensor"
        raise ValueError(f"{message}: pass padding=True, or a larger max_length or truncation=True")
    place = np.arange(max(longest, length or 0))
    if side == "left":
        place = place[::-1]
    is_token = place < np.reshape(sizes, (-1, 1))  # (texts, length); False at padding

    encoding = Encoding()
    for name, (rows, filler) in features.items():
        if isinstance(rows, int):
            array = np.where(is_token, rows, filler)
        else:
            width = np.shape(filler)  # () for numbers, (2,) for offsets
            one = np.dtype((np.int64, width))
            array = np.full(is_token.shape + width, filler, dtype=np.int64)
            array[is_token] = np.fromiter(chain.from_iterable(rows), one, count=sum(sizes))
        encoding[name] = array
        if kind == "pt":
            import torch

            encoding[name] = torch.from_numpy(array)
    return encoding

"""What a call returns: columns of numbers as lists or as tensors, padded to one length."""

import math
from itertools import chain
from typing import Any, NamedTuple

# What a caller may write as padding=..., padding_side=..., return_tensors=..., and what it means.
PADDING: dict[bool | str | None, str | None] = {
    True: "longest",
    "longest": "longest",
    "max_length": "max_length",
    False: None,
    "do_not_pad": None,
}
SIDES: dict[bool | str | None, str | None] = {"right": "right", "left": "left"}
KINDS: dict[bool | str | None, str | None] = {None: None, "np": "np", "pt": "pt"}


class Column(NamedTuple):
    """One column of an encoding. values: a list per text, or one int for every token."""

    values: list[list[Any]] | int
    padding: Any  # what stands at a padding token: a number, or (0, 0) among offsets


class Encoding(dict[str, Any]):
    """What a call returns: a dict whose keys are attributes too, `encoded.input_ids`."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"no {name!r} in this encoding, which holds: {', '.join(self)}")

    def to(self, device: Any) -> "Encoding":
        """The same encoding, its tensors moved to a device; what is no tensor stays as it is."""
        for name, values in self.items():
            if hasattr(values, "to"):
                self[name] = values.to(device)
        return self


class Padding(NamedTuple):
    """How a call pads. strategy None: not at all, "longest" or "max_length" (which is `limit`)."""

    strategy: str | None
    limit: int
    multiple: int
    side: str  # on which the padding stands

    def length(self, longest: int) -> int | None:
        """To how many tokens all rows are padded; None where they stay as they are.

        >>> Padding("longest", limit=512, multiple=8, side="right").length(13)
        16
        """
        if self.strategy is None:
            return None
        length = self.limit if self.strategy == "max_length" else longest
        return math.ceil(length / self.multiple) * self.multiple


def to_lists(
    columns: dict[str, Column], sizes: list[int], length: int | None, side: str, is_single: bool
) -> Encoding:
    """Lists of numbers, one per text. `sizes`: how many tokens each text has. Rows that are longer
    than `length` are not cut: only truncation cuts."""
    encoding = Encoding()
    for name, column in columns.items():
        rows = column.values
        if isinstance(rows, int):
            rows = [[rows] * size for size in sizes]
        if length is not None:
            paddings = [[column.padding] * (length - size) for size in sizes]
            if side == "left":
                rows = [padding + row for row, padding in zip(rows, paddings)]
            else:
                rows = [row + padding for row, padding in zip(rows, paddings)]
        encoding[name] = rows[0] if is_single else rows
    return encoding


def to_tensors(
    columns: dict[str, Column], sizes: list[int], length: int | None, side: str, kind: str
) -> Encoding:
    """int64 arrays ("np") or tensors ("pt") of shape (texts, length), offsets (..., 2)."""
    import numpy as np  # here, because only those who ask for tensors need it

    shortest, longest = min(sizes, default=0), max(sizes, default=0)
    if shortest < longest and (length is None or length < longest):
        message = f"texts of {shortest} to {longest} tokens make no tensor"
        raise ValueError(f"{message}: pass padding=True, or a larger max_length or truncation=True")
    place = np.arange(max(longest, length or 0))  # (length,)
    if side == "left":
        place = place[::-1]
    # (texts, length), True at tokens, False at padding. From the sizes, not from the ids: a text
    # may hold "[PAD]" itself, and that is a token.
    is_token = place < np.reshape(sizes, (-1, 1))

    encoding = Encoding()
    for name, (values, padding) in columns.items():
        if isinstance(values, int):
            array = np.where(is_token, values, padding)
        else:
            width = np.shape(padding)  # () for numbers, (2,) for offsets
            array = np.full(is_token.shape + width, padding, dtype=np.int64)
            # All rows end to end, written to the tokens' places in one step. one: number or pair.
            one = np.dtype((np.int64, width))
            array[is_token] = np.fromiter(chain.from_iterable(values), one, count=sum(sizes))
        encoding[name] = array
        if kind == "pt":
            import torch

            encoding[name] = torch.from_numpy(array)  # shares memory with the array: no copy
    return encoding

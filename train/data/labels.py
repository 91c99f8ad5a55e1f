"""Label cells as class names, and the names in the order of their ids.

A class is what the data say it is: cells that name no class (lists, dates, real numbers, NaN) are
refused, not turned into names.
"""

import datetime
import math
import re
from collections import defaultdict
from typing import Any

import numpy as np

from minibert.inputs import IGNORED
from train.data.hub import EMOTION_LABELS
from train.data.table import remark, short

INTEGER = re.compile(r"0|-?[1-9][0-9]*")  # as Python writes it: not 01, not 1.0
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
FEW_ROWS = 20  # too few to tell from them whether a column holds labels
KINDS = ("text", "a number", "a boolean")
SHARE = 10  # labels and texts look odd where there are more classes than a tenth of the rows


def to_names(cells: list[Any], source: str) -> list[str | None]:
    """The class name of each cell; None for None.

    Strings are stripped; whole numbers are names like "3", also where a float holds them; booleans
    are "False" and "True". Raises ValueError naming the row and what its cell is.
    """
    rows: dict[str, int] = {}  # the first row of each kind
    for row, cell in enumerate(cells, start=1):
        if cell is not None:
            rows.setdefault(kind(cell), row)
    for what, row in rows.items():
        if what not in KINDS:
            raise ValueError(f"{source}: label {short(cells[row - 1])} in row {row} is {what}")
    if len(rows) > 1:
        parts = [f"{what} in row {row} ({short(cells[row - 1])})" for what, row in rows.items()]
        raise ValueError(f"{source}: the label is {' and '.join(parts)}; write all labels alike")
    if "a number" in rows:
        return [None if cell is None else str(int(cell)) for cell in cells]
    names = [None if cell is None else str(cell).strip() for cell in cells]
    if "text" in rows:
        check_not_real(names, source)
    return names


def kind(cell: Any) -> str:
    """One of KINDS, or what is wrong with the cell."""
    if isinstance(cell, str):
        return "text"
    if isinstance(cell, bool | np.bool_):
        return "a boolean"
    if isinstance(cell, int | np.integer):
        return "a number"
    if isinstance(cell, float | np.floating):
        if math.isfinite(cell) and cell == int(cell):
            return "a number"
        return "a real number: regression is not what this program trains"
    if isinstance(cell, list | tuple | set | dict | np.ndarray):
        return "a list: multi-label is not what this program trains"
    if isinstance(cell, datetime.date | datetime.time):
        return "a date or time; a label is a word, a whole number or a boolean"
    return f"a {type(cell).__name__}; a label is a word, a whole number or a boolean"


def check_not_real(names: list[str | None], source: str) -> None:
    """Raises ValueError where all labels of a text file are numbers, and not all of them whole."""
    if not all(NUMBER.fullmatch(name) for name in {name for name in names if name is not None}):
        return
    for row, name in enumerate(names, start=1):
        if name is not None and not float(name).is_integer():
            raise ValueError(
                f"{source}: label {short(name)} in row {row} is a real number; regression is not "
                "what this program trains"
            )


def in_order(names: set[str]) -> list[str]:
    """The names in the order of their ids: the official order for those of the emotion set,
    integers as integers, all others as sorted strings.

    >>> in_order({"10", "9", "-1"}), in_order({"joy", "sadness"}), in_order({"b", "a"})
    (['-1', '9', '10'], ['sadness', 'joy'], ['a', 'b'])
    """
    if names <= set(EMOTION_LABELS):
        return [name for name in EMOTION_LABELS if name in names]
    if all(INTEGER.fullmatch(name) for name in names):
        return sorted(names, key=int)
    return sorted(names)


def to_ids(names: list[str | None], labels: list[str], source: str, remedy: str = "") -> np.ndarray:
    """(N,) int64: each name's place in `labels`, IGNORED for None. Raises ValueError on a name that
    is not there."""
    ids: dict[str | None, int] = {label: i for i, label in enumerate(labels)} | {None: IGNORED}
    for row, name in enumerate(names, start=1):
        if name is not None and name not in ids:
            alike = next((label for label in labels if label.lower() == name.lower()), None)
            known = short(alike) + " in another case" if alike else "none of " + listed(labels)
            raise ValueError(f"{source}: label {short(name)} in row {row} is {known}{remedy}")
    return np.fromiter(map(ids.__getitem__, names), np.int64, count=len(names))


def listed(names: list[str]) -> str:
    """Names in a message: the first 20 of them."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return (
        ", ".join(name if name == short(name)[1:-1] else short(name) for name in names[:20]) + more
    )


def warn(texts: list[str], names: list[str | None], source: str) -> None:
    """Say on standard error what is seldom meant: classes that look like one, columns that are
    swapped or wrong. names: None for rows that are left out."""
    classes = {name for name in names if name is not None}
    n_rows = len(names) - names.count(None)
    alike = defaultdict(list)
    for name in sorted(classes):
        alike[float(name) if NUMBER.fullmatch(name) else name.lower()].append(repr(name))
    for same in alike.values():
        if len(same) > 1:
            what = "are one number" if NUMBER.fullmatch(same[0][1:-1]) else "differ in case alone"
            remark(f"warning: {source}: the labels {' and '.join(same)} {what}; each is a class")
    if n_rows < FEW_ROWS:
        return
    if SHARE * len(classes) > n_rows:
        remark(
            f"warning: {source}: {len(classes)} classes in {n_rows} rows; is --label-column right?"
        )
        return
    n_texts = len({text for text, name in zip(texts, names) if name is not None})
    if SHARE * n_texts <= n_rows:
        remark(
            f"warning: {source}: only {n_texts} different texts in {n_rows} rows, as "
            "if they were labels; is --text-column right?"
        )


def without_ignored(names: list[str | None], source: str) -> list[str | None]:
    """None for rows labelled -100, which torch's losses leave out; how many there are is said."""
    count = names.count(str(IGNORED))
    if count:
        rows = "1 row" if count == 1 else f"{count} rows"
        remark(f"{source}: {rows} labelled {IGNORED} left out")
    return [None if name == str(IGNORED) else name for name in names]

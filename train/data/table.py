"""A file as rows of cells: what the readers of all formats share."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from train.device import current_processes

# Limits, so that a small file that unpacks to more than fits in memory ends in a message.
MAX_COLUMNS = 10_000
MAX_BYTES = 1_000_000_000  # of decoded text
ROW_BYTES = 100  # that a row takes in memory besides its text


class Layout(NamedTuple):
    """What has to be known of a csv or tsv file, and is not written in it."""

    separator: str = "auto"  # auto: found from the first line
    columns: list[str] | None = None  # the columns' names, if the file has no header line


class Table(NamedTuple):
    """A file as rows of cells."""

    columns: list[str]
    rows: Iterator[list[Any]]  # each with a cell per column; can be gone through once
    class_names: list[str] | None = None  # of integer labels, where a parquet file names them


def check_size(path: Path, size: int) -> None:
    """Raises ValueError above the limit."""
    if size > MAX_BYTES:
        raise ValueError(
            f"{path}: over {MAX_BYTES // 10**9} GB of text, the most that is read; take fewer rows"
        )


def choose_columns(
    path: Path | str, found: list[str], wanted: dict[str, str] | None, hint: str = ""
) -> list[int]:
    """The places of the wanted columns; their names may be in another case, which is then said.

    Raises ValueError where one is missing, and where two columns have one name."""
    if len(found) > MAX_COLUMNS:
        raise ValueError(f"{path}: {len(found):,} columns; at most {MAX_COLUMNS:,} are read")
    # Columns without a name, which Excel leaves at the end, are not in the way of the wanted ones.
    names = Counter(name for name in found if name or wanted is None)
    if names and max(names.values()) > 1:
        repeated = names.most_common(1)[0][0]
        raise ValueError(f"{path}: two columns are named {short(repeated)}; rename one")
    if wanted is None:
        return list(range(len(found)))
    places = []
    for option, name in wanted.items():
        same = [i for i, other in enumerate(found) if other == name]
        alike = same or [i for i, other in enumerate(found) if other.lower() == name.lower()]
        if len(alike) != 1:
            shown = ", ".join(short(name) for name in found[:10])
            more = f" and {len(found) - 10} more" if len(found) > 10 else ""
            raise ValueError(f"{path}: no column '{name}', only {shown}{more}; see {option}{hint}")
        if not same:
            remark(f"{path}: column {short(found[alike[0]])} is read as '{name}'")
        places += alike
    return places


def short(value: Any) -> str:
    """A value for a message: on one line, without control characters, not over 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def remark(text: str) -> None:
    """A line on standard error that is no result and no failure; only rank 0 prints it."""
    if current_processes().is_main:
        print(text, file=sys.stderr)


def select(table: Table, places: list[int]) -> Table:
    """Some of the columns, in the order of `places`."""
    rows = ([row[i] for i in places] for row in table.rows)
    return table._replace(columns=[table.columns[i] for i in places], rows=rows)

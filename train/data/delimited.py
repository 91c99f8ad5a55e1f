"""csv and tsv: records of cells between separators.

A file is read as a strict reader of RFC 4180 reads it, or refused with the line: every record has
as many cells as there are columns, and a quote stands where it may stand.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from train.data.lines import text_lines, without_blank_end, without_end
from train.data.table import Layout, Table, choose_columns, select, short

SEPARATORS = (",", ";", "\t", "|")
# A quoted cell, in which a quote is written twice. The + after * means: do not try again with a
# shorter match, so that a file of quotes alone takes time in proportion to its size.
QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*+"')


def delimited(path: Path, layout: Layout, wanted: dict[str, str] | None) -> Table:
    """csv or tsv: records of cells between separators, the first with the columns' names.

    Quotes are as in RFC 4180; in a tab-separated file whose quotes are not so, they are text."""
    separator = find_separator(path, layout, wanted)
    records: Iterator[tuple[int, str]]
    if separator == "\t" and not has_quoted_cells(path):
        records = ((number, without_end(line)) for number, line in text_lines(path))
        split = split_plain
    else:
        records = quoted_records(text_lines(path))
        split = split_record
    records = without_blank_end(path, records)

    def rows() -> Iterator[tuple[int, list[str]]]:
        for number, record in records:
            try:
                yield number, split(record, separator)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None

    table = rows()
    if layout.columns is None:
        _, columns = next(table, (1, []))
    else:
        columns = layout.columns
    hint = " or --separator" if len(columns) == 1 else ""
    if layout.columns is None:
        hint += "; a file without a header line needs --no-header --columns text,label"
    places = choose_columns(path, columns, wanted, hint)

    def checked() -> Iterator[list[str]]:
        for number, cells in table:
            if len(cells) != len(columns):
                has = "cell" if len(cells) == 1 else "cells"
                raise ValueError(
                    f"{path}, line {number}: {len(cells)} {has} between {short(separator)}, but "
                    f"{len(columns)} columns; a cell that holds {short(separator)} needs quotes"
                )
            yield cells

    return select(Table(columns, checked()), places)


def find_separator(path: Path, layout: Layout, wanted: dict[str, str] | None) -> str:
    """The separator asked for, taken literally; or the one that cuts the first line best: into the
    wanted columns, or else into the most cells. Raises ValueError where two do that."""
    if layout.separator != "auto":
        return layout.separator
    if path.suffix.lower() == ".tsv":
        return "\t"
    line = without_end(next(text_lines(path))[1])
    names = {name.lower() for name in (wanted or {}).values()}
    scores = {}
    for separator in SEPARATORS:
        try:
            cells = split_record(line, separator)
        except ValueError:  # a quote that this separator does not explain
            continue
        if layout.columns is not None:
            scores[separator] = (len(cells) == len(layout.columns), 0)
        else:
            scores[separator] = (names <= {cell.lower() for cell in cells}, len(cells))
    best = [separator for separator in scores if scores[separator] == max(scores.values())]
    if len(best) in (0, len(SEPARATORS)):  # the first line is a single cell, or none fits
        return ","
    if len(best) > 1:
        raise ValueError(
            f"{path}: {' and '.join(map(repr, best))} both cut its first line into columns; name "
            "one with --separator"
        )
    return best[0]


def quoted_records(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """(number of its first line, record). A record goes on behind a line's end while a quote is
    open: that is as long as it holds an odd number of quotes."""
    lines = iter(lines)
    for number, line in lines:
        parts, n_quotes = [line], line.count('"')
        while n_quotes % 2:
            _, line = next(lines, (0, ""))
            if line == "":  # the end of the file: `split_record` says what is wrong
                break
            parts.append(line)
            n_quotes += line.count('"')
        yield number, without_end("".join(parts))


def split_plain(record: str, separator: str) -> list[str]:
    """The cells of a record in which quotes are text. Raises ValueError on a carriage return: some
    readers take it for the end of a row, some for a part of the cell."""
    if "\r" in record:
        raise ValueError("a carriage return inside a cell without quotes")
    return record.split(separator)


def split_record(record: str, separator: str) -> list[str]:
    """The cells of a record, without the quotes around them.

    >>> split_record('"so, ""fine"" it is";joy', ";")
    ['so, "fine" it is', 'joy']
    """
    if '"' not in record:
        return split_plain(record, separator)
    cells, place = [], 0
    while True:
        if record.startswith('"', place):
            match = QUOTED.match(record, place)
            if match is None:
                raise ValueError("a quote opens a cell and none closes it")
            end = match.end()
            cell = match[0][1:-1].replace('""', '"')
        else:
            end = record.find(separator, place)
            end = len(record) if end < 0 else end
            cell = record[place:end]
            if '"' in cell:
                raise ValueError(
                    'a quote inside a cell without quotes; write "" for it and quotes around the '
                    "cell"
                )
            split_plain(cell, separator)  # raises on a carriage return
        cells.append(cell)
        if end == len(record):
            return cells
        if not record.startswith(separator, end):
            raise ValueError("text between a closing quote and the next separator")
        place = end + len(separator)


def has_quoted_cells(path: Path) -> bool:
    """Whether all quotes of a tab-separated file are as Excel writes them: around whole cells.

    If not, they are text: most programs write tab-separated text without any quoting, and a lone
    quote that begins a tweet must not swallow the rows up to the next one. So a cell over several
    lines is refused this reading where these lines are rows by themselves."""
    n_columns = 0
    for _, record in quoted_records(text_lines(path)):
        try:
            cells = split_record(record, "\t")
        except ValueError:
            return False
        n_columns = n_columns or len(cells)
        is_row = [line.count("\t") + 1 == n_columns for line in record.split("\n")]
        if len(is_row) > 1 and (all(is_row) or any(is_row[1:-1])):
            return False
    return True

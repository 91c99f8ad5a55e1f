"""json and jsonl: a list of objects, or an object per line; each has a value per column."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from train.data.lines import text_lines, without_blank_end
from train.data.table import Table, choose_columns, short


def json_table(path: Path, suffix: str, wanted: dict[str, str] | None) -> Table:
    """A list of objects, or an object per line (which many write into a .json file as well)."""
    records = json_records(path, suffix)
    place, first = next(records, ("", {}))
    if place and not first:
        raise ValueError(f"{place}: this object is empty; the first one names the columns")
    columns = list(first)
    names = [columns[i] for i in choose_columns(path, columns, wanted)] if columns else []

    def rows() -> Iterator[list[Any]]:
        for place, record in itertools.chain([(place_of_first, first)], records):
            missing = next((name for name in names if name not in record), None)
            if missing is not None:
                raise ValueError(f"{place}: no {short(missing)} in this object")
            if wanted is None and len(record) != len(names):
                extra = next(name for name in record if name not in names)
                raise ValueError(f"{place}: {short(extra)} is not in the first object")
            yield [record[name] for name in names]

    place_of_first = place
    return Table(names, rows() if columns else iter(()))


def json_records(path: Path, suffix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file and line, object), or (file and row, object) of a list."""
    lines = ((number, line.strip(" \t\r\n")) for number, line in text_lines(path))
    if suffix == ".json" and next((line for _, line in lines if line), "").startswith("["):
        text = "".join(line for _, line in text_lines(path))
        for row, value in enumerate(parse_json(text, str(path)), start=1):
            yield check_object(value, f"{path}, row {row}")
        return
    lines = ((number, line.strip(" \t\r\n")) for number, line in text_lines(path))
    for number, line in without_blank_end(path, lines):
        place = f"{path}, line {number}"
        yield check_object(parse_json(line, place), place)


def check_object(value: Any, place: str) -> tuple[str, dict[str, Any]]:
    """Raises ValueError on anything but an object: a name and a value per column."""
    if not isinstance(value, dict):
        raise ValueError(f'{place}: {short(value)} is not an object like {{"text": ...}}')
    return place, value


def parse_json(text: str, place: str) -> Any:
    """Strict JSON: NaN, and a name that an object has twice, are refused."""
    try:
        return json.loads(text, object_pairs_hook=unique_names, parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError(f"{place}: cannot be read as json: nested too deeply") from None
    except json.JSONDecodeError as error:
        where = f"column {error.colno}" + (f" of line {error.lineno}" if error.lineno > 1 else "")
        raise ValueError(f"{place}: cannot be read as json: {error.msg}, {where}") from None
    except ValueError as error:
        raise ValueError(f"{place}: cannot be read as json: {error}") from None


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's dict. Python's json keeps the last of two equal names and drops the first."""
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return names


def refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity, which Python's json accepts, are not JSON."""
    raise ValueError(f"{name} is not JSON")

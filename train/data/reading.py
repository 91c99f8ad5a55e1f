"""Tables from files: csv, tsv, json, jsonl, parquet, text;label lines, a folder per class.

A file is read exactly as a strict reader of its format reads it, or refused (ValueError or OSError)
with file, line and remedy: rows are never merged, shifted, repaired or left out.
"""

from pathlib import Path

from train.data.columns import parquet_table
from train.data.delimited import delimited
from train.data.lines import class_folder, text_and_label
from train.data.objects import json_table
from train.data.table import Layout, Table, check_size

FORMATS = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".txt")
UNREADABLE = {
    **dict.fromkeys(
        (".xlsx", ".xls", ".ods"), 'a spreadsheet; save it as "CSV UTF-8" and name that file'
    ),
    **dict.fromkeys((".gz", ".zip", ".bz2", ".xz", ".zst"), "compressed; unpack it first"),
}


def open_table(path: Path, layout: Layout, wanted: dict[str, str] | None = None) -> Table:
    """The columns `wanted` ({the option that names it: its name}), or all of them.

    Reading goes on while `rows` is gone through, and raises there. Cells are strings in csv, tsv
    and txt, Python's objects in json and parquet, None where there is no value.
    """
    suffix = path.suffix.lower()
    check_file(path, suffix)
    if not layout.separator or set(layout.separator) & set('"\r\n'):
        raise ValueError(f"--separator {layout.separator!r} cannot stand between cells")
    if layout.separator == "\\t":  # as shells pass on what is meant as a tab
        layout = layout._replace(separator="\t")
    has_cells = suffix in (".csv", ".tsv", ".txt") and not path.is_dir()
    if layout != Layout() and not has_cells:
        raise ValueError(f"{path}: --separator, --no-header are for csv, tsv and txt files")
    if path.is_dir():
        return class_folder(path, wanted)
    if suffix == ".txt":
        return text_and_label(path, layout, wanted)
    if has_cells:
        return delimited(path, layout, wanted)
    if suffix == ".parquet":
        return parquet_table(path, wanted)
    return json_table(path, suffix, wanted)


def check_file(path: Path, suffix: str) -> None:
    """Raises where there is nothing to read, or too much."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        return
    if suffix not in FORMATS:
        reason = UNREADABLE.get(suffix, f"unknown format; one of {', '.join(FORMATS)}")
        raise ValueError(f"{path}: {reason}")
    if not path.is_file():
        raise ValueError(f"{path}: not a regular file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    check_size(path, path.stat().st_size)

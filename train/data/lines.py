"""Lines of text: UTF-8 decoded strictly; text;label files, and a folder of texts per class."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from train.data.table import Layout, Table, check_size, choose_columns, remark, select, short

MAGIC = {  # how files begin that are no text; the longer of two that begin alike stands first
    b"\xff\xfe\x00\x00": "in UTF-32; save it as UTF-8",
    b"\xff\xfe": "in UTF-16; save it as UTF-8",
    b"\xfe\xff": "in UTF-16; save it as UTF-8",
    b"PK\x03\x04": 'a zip archive or an Excel workbook (.xlsx); save it as "CSV UTF-8"',
    b"\x1f\x8b": "compressed by gzip; unpack it first",
}
BOM = b"\xef\xbb\xbf"  # the mark that Excel writes before UTF-8
UNLABELLED = ("unsup", "unsupervised", "unlabelled", "unlabeled")  # aclImdb's train/unsup


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line with its end), decoded as UTF-8. Raises ValueError on other bytes.

    Lines end with LF or CRLF, and with nothing else: U+2028 or a form feed may be part of a text.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                for start, reason in MAGIC.items():
                    if line.startswith(start):
                        raise ValueError(f"{path}: this file is {reason}")
                if b"\0" in line:
                    raise ValueError(f"{path}: not text, or in UTF-16; save it as UTF-8")
                line = line.removeprefix(BOM)
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = line[error.start : error.start + 1]
                raise ValueError(
                    f"{path}, line {number}: not UTF-8: byte 0x{byte.hex()}, which is "
                    f"{byte.decode('cp1252', 'replace')!r} in Windows-1252; save the file as UTF-8"
                ) from None


def without_end(line: str) -> str:
    """A line without its LF or CRLF."""
    return line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line


def without_blank_end(path: Path, records: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The same without empty lines at the end of the file. Raises ValueError on an empty line
    between others: a row is missing there, or the file is none of rows."""
    blank = None
    for number, record in records:
        if record == "":
            blank = blank or number
        elif blank:
            raise ValueError(f"{path}, line {blank}: an empty line; take it out")
        else:
            yield number, record


def text_and_label(path: Path, layout: Layout, wanted: dict[str, str] | None) -> Table:
    """The tutorial's files: a `text;label` line per example, no header, nothing is quoted. A line
    is cut at its last semicolon (or --separator), so the text may hold others."""
    separator = ";" if layout.separator == "auto" else layout.separator
    columns = layout.columns or list(wanted.values() if wanted else ("text", "label"))
    if len(columns) != 2:
        raise ValueError(f"{path}: a line of a .txt file is text;label; name it .csv if it is not")

    def rows() -> Iterator[list[str]]:
        lines = ((number, without_end(line)) for number, line in text_lines(path))
        for number, line in without_blank_end(path, lines):
            text, found, label = line.rpartition(separator)
            if not found:
                name = {";": "semicolon"}.get(separator, short(separator))
                raise ValueError(f"{path}, line {number}: no {name}; a line is text;label")
            if "\r" in line:
                raise ValueError(f"{path}, line {number}: a carriage return inside the line")
            yield [text, label]

    return select(Table(columns, rows()), choose_columns(path, columns, wanted))


def class_folder(path: Path, wanted: dict[str, str] | None) -> Table:
    """A folder of folders, as aclImdb has it: the folder's name is the label of its .txt files."""
    folders = [p for p in sorted(path.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    if any(folder.name.lower() in UNLABELLED for folder in folders):
        remark(f"{path}: the unlabelled texts are left out")
    files = {
        folder.name: sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        for folder in folders
        if folder.name.lower() not in UNLABELLED
    }
    for label, texts in files.items():
        other = next((p.name for p in texts if p.suffix.lower() != ".txt"), None)
        if other or not texts:
            what = f"{other} is no .txt file" if other else "no .txt file"
            raise ValueError(f"{path / label}: {what}; a folder per class holds texts alone")
    check_size(path, sum(file.stat().st_size for texts in files.values() for file in texts))

    def rows() -> Iterator[list[str]]:
        for label, texts in files.items():
            for file in texts:
                yield ["".join(line for _, line in text_lines(file)), label]

    return Table(list(wanted.values() if wanted else ("text", "label")), rows())

"""fastText files: the very rows that were written, from everywhere a file is read, or a refusal."""

import contextlib
import csv
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.exercise.words import Wrong, equal, refused
from train.data import load_data
from train.data.reading import open_table
from train.data.sources import files_in
from train.data.table import Layout
from train.options import DataOptions

ROWS = [
    ["i feel great today", "joy"],
    ['he said; "no", and left', "anger"],
    ["what is __label__ for?", "surprise"],
    ["  spaces  stay ", "joy"],
    ["one line\u2028still the same line", "fear"],
    ["naïve café", "deep-sadness"],
]
WANTED = {"--text-column": "text", "--label-column": "label"}


@contextlib.contextmanager
def file_of(content: str | bytes, name: str = "train.fasttext") -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        yield path


def read(path: Path, wanted: dict[str, str] | None = None) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a file that is to be read."""
    try:
        table = open_table(path, Layout(), wanted)
        return list(table.columns), [list(row) for row in table.rows]
    except ValueError as error:
        told = str(error).replace(f"{path.parent}/", "")
        raise Wrong(f"A file that is right is refused: {told}") from None


def lines(end: str = "\n") -> str:
    return "".join(f"__label__{label} {text}{end}" for text, label in ROWS)


def check_rows() -> None:
    """a line is __label__NAME, one space, and the text exactly as it stands"""
    for end, name in (("\n", "LF"), ("\r\n", "CRLF")):
        with file_of(lines(end)) as path:
            columns, rows = read(path, WANTED)
        equal(columns, ["text", "label"], "the columns")
        for number, row in enumerate(ROWS, start=1):
            if number > len(rows):
                raise Wrong(f"{len(rows)} of {len(ROWS)} rows were read (lines end with {name}).")
            equal(
                rows[number - 1],
                row,
                f"line {number} (lines end with {name})",
                {
                    "when label and text change places": row[::-1],
                    "when __label__ stays in the label": [row[0], f"__label__{row[1]}"],
                    "when the text is stripped": [row[0].strip(), row[1]],
                    "when runs of spaces become one": [" ".join(row[0].split()), row[1]],
                },
            )
        equal(len(rows), len(ROWS), "the number of rows")


def check_names() -> None:
    """--text-column and --label-column name the two columns; an upper-case suffix is the same"""
    with file_of(lines(), "train.FASTTEXT") as path:
        wanted = {"--text-column": "tweet", "--label-column": "mood"}
        columns, rows = read(path, wanted)
        equal(columns, ["tweet", "mood"], "the columns with other names wanted")
        equal(rows[0], ROWS[0], "the first row then")
        equal(read(path)[0], ["text", "label"], "the columns where none are wanted by name")


def check_refused() -> None:
    """what is no line of this format is refused, with file and line"""
    good = "__label__joy i feel great\n"
    for what, line in {
        "a line without __label__": "i feel great",
        "a line with another prefix": "label__joy i feel great",
        "a label without a text": "__label__joy",
        "an empty label": "__label__ i feel great",
        "two labels (this program chooses one)": "__label__joy __label__love i feel great",
        "an empty line between two others": "",
    }.items():
        with file_of(f"{good}{line}\n{good}") as path:
            naming = [path.name, "line 2"]
            refused(lambda: list(open_table(path, Layout(), WANTED).rows), what, naming)
    with file_of(good.encode() + b"__label__joy caf\xe9\n") as path:
        naming = [path.name, "line 2", "UTF-8"]
        refused(lambda: list(open_table(path, Layout(), WANTED).rows), "Latin-1", naming)
    with file_of(good + "\n") as path:
        equal(read(path)[1], [["i feel great", "joy"]], "the rows before an empty last line")
    with file_of(good) as path:
        layout = Layout(separator=";")
        what = "--separator, which this format has none of,"
        refused(lambda: open_table(path, layout, WANTED), what, ["--separator"])


def check_splits() -> None:
    """a folder of train.fasttext and test.fasttext is a data set"""
    with file_of(lines()) as path:
        path.with_name("test.fasttext").write_text(lines(), encoding="utf-8")
        try:
            found = files_in(path.parent)
        except FileNotFoundError as error:
            raise Wrong(f"The files are not found in their folder: {error}") from None
        names = {split: file.name for split, file in found.items()}
    equal(names, {"train": "train.fasttext", "test": "test.fasttext"}, "the splits of the folder")


def check_same_data() -> None:
    """training sees the data of a csv file with the same rows"""
    text = io.StringIO()
    csv.writer(text).writerows([["text", "label"], *ROWS])
    loaded = []
    for name, content in (("train.csv", text.getvalue()), ("train.fasttext", lines())):
        with file_of(content, name) as path, contextlib.redirect_stderr(io.StringIO()):
            read(path)
            data = load_data(DataOptions(train_file=str(path)))
            loaded.append((data.labels, data.splits["train"].values.tolist()))
    equal(loaded[1][0], loaded[0][0], "the labels, in the order of their ids,")
    equal(loaded[1][1], loaded[0][1], "the rows of the training split")

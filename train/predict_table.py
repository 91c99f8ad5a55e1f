"""predict --file TABLE --output TABLE: all columns of a table, with label and probability added."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from minibert.atomic import write_whole
from train.data import check_text
from train.data.reading import open_table
from train.data.sources import named_columns
from train.data.table import Layout, Table, choose_columns, short
from train.options import PredictOptions
from train.predict import Answer, chunks, predictions_of
from train.progress import progress
from train.tables import none_for_nan

OUTPUTS = (".csv", ".tsv", ".jsonl", ".parquet")

Write = Callable[[list[list[Any]]], None]  # rows with all columns, the new ones included


def predict_table(options: PredictOptions, answer: Answer, names: list[str]) -> pd.DataFrame:
    """Classify a column of a table; the new columns, a row per row of the table.

    Raises ValueError or OSError naming file and remedy; no output is left then."""
    path = Path(options.file or "")
    table = open_table(path, Layout(options.separator, named_columns(options)))
    place = choose_columns(path, table.columns, {"--text-column": options.text_column})[0]
    new = list(predictions_of(np.ones((1, len(names))), names, options))
    for column in new:
        if column in table.columns:
            raise ValueError(f"{path} has a column {column!r} already; rename it")
    columns = table.columns + new
    work = Work(options, answer, names, table, place)
    if options.output is None:
        # Exact where a program reads it; on a terminal, control characters are shown.
        stream = sys.stdout if sys.stdout.isatty() else getattr(sys.stdout, "stream", sys.stdout)
        work.into(
            json_writer(stream, columns) if options.json else csv_writer(stream, columns, ",")
        )
        return work.predictions()
    output = check_output(path, Path(options.output), options.overwrite)

    def write(beside: Path) -> None:
        with open_output(output.suffix.lower(), beside, columns, path) as writer:
            work.into(writer)

    write_whole(output, write)
    print(f"{len(work.predictions())} rows in {output}", file=sys.stderr)
    return work.predictions()


def check_output(path: Path, output: Path, overwrite: bool) -> Path:
    """Raises where the output cannot be written, or would take the place of something."""
    if output.suffix.lower() not in OUTPUTS:
        raise ValueError(f"--output {output}: unknown format; one of {', '.join(OUTPUTS)}")
    if os.path.lexists(output):
        if path.exists() and os.path.samefile(path, output):
            raise ValueError(f"--output {output} is the input; name another file")
        if not overwrite:
            raise FileExistsError(f"--output {output} exists; name another file or --overwrite")
        if not output.is_file() or output.is_symlink():
            raise ValueError(f"--output {output} is not a regular file")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"--output {output}: there is no folder {output.parent}")
    return output


class Work:
    """The rows of a table on their way through the model."""

    def __init__(
        self, options: PredictOptions, answer: Answer, names: list[str], table: Table, place: int
    ):
        """place: of the column that holds the text."""
        self.options, self.answer, self.names = options, answer, names
        self.table, self.place = table, place
        self.done: list[pd.DataFrame] = []

    def into(self, write: Write) -> None:
        """Compute chunk after chunk and hand its rows to `write`."""
        quiet = self.options.output is None and sys.stdout.isatty()
        with progress("predict", None, "texts", quiet=quiet) as bar:
            for rows in chunks(self.table.rows, lambda row: len(str(row[self.place]))):
                added = self.classify([row[self.place] for row in rows], bar.n)
                cells = none_for_nan(added).to_numpy().tolist()
                write([row + more for row, more in zip(rows, cells)])
                self.done.append(added)
                bar.update(len(rows))

    def classify(self, texts: list[Any], n_before: int) -> pd.DataFrame:
        """The new columns of some texts. One without a word gets no answer: the model's would be
        the same for all of them, and say nothing."""
        column = self.table.columns[self.place]
        for number, text in enumerate(texts, start=n_before + 1):
            what = f"{self.options.file}, row {number}: {column}"
            if text is not None and not isinstance(text, str):
                raise ValueError(f"{what} is {text!r}, no text")
            if text is not None:
                check_text(text, what)
        full = [n for n, text in enumerate(texts) if text is not None and text.strip()]
        answers = self.answer([texts[n] for n in full]) if full else np.ones((0, len(self.names)))
        added = predictions_of(answers, self.names, self.options).set_index(pd.Index(full))
        added = added.reindex(range(len(texts)))
        labels = added["predicted_label"].astype(object)
        return added.assign(predicted_label=labels.where(labels.notna(), ""))

    def predictions(self) -> pd.DataFrame:
        """The new columns of all rows so far."""
        return pd.concat(self.done, ignore_index=True) if self.done else pd.DataFrame()


@contextmanager
def open_output(suffix: str, path: Path, columns: list[str], source: Path) -> Iterator[Write]:
    """The function that appends rows to a new table. source: the input, whose types are kept."""
    if suffix == ".parquet":
        with parquet_writer(path, columns, source) as write:
            yield write
        return
    with open(path, "w", encoding="utf-8", newline="") as file:
        if suffix == ".jsonl":
            yield json_writer(file, columns)
        else:
            yield csv_writer(file, columns, "\t" if suffix == ".tsv" else ",")


def csv_writer(file: IO[str], columns: list[str], separator: str) -> Write:
    """csv or tsv, the header first; a cell without a value is empty. Raises ValueError for a cell
    that is more than one value."""
    # All texts are quoted: a carriage return, or a quote in a tsv, is then read back as it is.
    writer = csv.writer(
        file, delimiter=separator, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
    )
    writer.writerow(columns)

    def write(rows: list[list[Any]]) -> None:
        for row in rows:
            for name, cell in zip(columns, row):
                if isinstance(cell, bytes | list | dict):
                    raise ValueError(
                        f"csv cannot hold a {type(cell).__name__}, as column {name!r} does; "
                        "--output FILE.parquet can"
                    )
            writer.writerow(["" if cell is None else cell for cell in row])

    return write


def json_writer(file: IO[str], columns: list[str]) -> Write:
    """An object per line; dates and the like as text. Raises ValueError for what JSON has not."""

    def as_text(cell: Any) -> str:
        if isinstance(cell, bytes):
            raise ValueError("bytes")
        return str(cell)

    form = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=as_text)

    def write(rows: list[list[Any]]) -> None:
        for row in rows:
            try:
                line = form.encode(dict(zip(columns, row)))
            except ValueError:
                raise ValueError(
                    f"JSON cannot hold NaN, infinity or bytes, as row {short(row)} does; "
                    "--output FILE.parquet can"
                ) from None
            file.write(line + "\n")

    return write


@contextmanager
def parquet_writer(path: Path, columns: list[str], source: Path) -> Iterator[Write]:
    """parquet, with the types of the input where that is parquet too, else those of the first
    rows. The new columns are a text and numbers, whatever the first rows hold."""
    import pyarrow
    from pyarrow import parquet

    is_parquet = source.suffix.lower() == ".parquet"
    kept = list(parquet.read_schema(source)) if is_parquet else []
    opened: list[Any] = []  # the writer, once the first rows have told the types
    n_given = columns.index("predicted_label")

    def open_for(arrays: list[list[Any]]) -> None:
        known = {"predicted_label": pyarrow.string()}
        known |= dict.fromkeys(columns[n_given + 1 :], pyarrow.float64())
        fields = kept + [
            pyarrow.field(name, known.get(name) or text_if_empty(pyarrow.array(array).type))
            for name, array in list(zip(columns, arrays))[len(kept) :]
        ]
        opened.append(parquet.ParquetWriter(path, pyarrow.schema(fields)))

    def write(rows: list[list[Any]]) -> None:
        arrays = [list(column) for column in zip(*rows)]
        try:
            if not opened:
                open_for(arrays)
            schema = opened[0].schema
            opened[0].write_table(
                pyarrow.table([pyarrow.array(a, f.type) for a, f in zip(arrays, schema)], schema)
            )
        except (pyarrow.ArrowException, OverflowError) as error:
            raise ValueError(f"{source} does not fit one type per column: {error}") from None

    def text_if_empty(kind: Any) -> Any:
        return pyarrow.string() if pyarrow.types.is_null(kind) else kind

    try:
        yield write
        if not opened:  # a table without rows
            open_for([[] for _ in columns])
    finally:
        if opened:
            opened[0].close()

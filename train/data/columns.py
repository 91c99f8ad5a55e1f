"""parquet, by pyarrow: columns as their types say, and no more of them than fits in memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import compute, parquet

from train.data.table import ROW_BYTES, Table, check_size, choose_columns, short

BATCH = 10_000  # rows decoded at a time


def parquet_table(path: Path, wanted: dict[str, str] | None) -> Table:
    """Parquet, by the types that the columns have: what its metadata says of images or audio is
    not followed, so nothing is decoded and no other file is opened."""
    with errors_named(path):
        schema = parquet.read_schema(path)
        found = list(schema.names)
        names = [found[i] for i in choose_columns(path, found, wanted)]
        for name in names if wanted else ():
            kind = schema.field(name).type
            if pyarrow.types.is_nested(kind):
                raise ValueError(
                    f"{path}: column {short(name)} holds {short(str(kind))}, not one value per row "
                    "(multi-label is not what this program trains)"
                )
        # As a dictionary, equal cells are stored once: a text of 1 MB in 2,000 rows takes 1 MB.
        # pyarrow has none for lists, which predict --file carries along.
        plain = [name for name in names if not pyarrow.types.is_nested(schema.field(name).type)]
        file = parquet.ParquetFile(path, read_dictionary=plain)
        check_size(path, unpacked_size(file.metadata, set(names)))
        if wanted:  # who wants a text and a label wants all of them at once
            check_size(path, ROW_BYTES * file.metadata.num_rows)
    return Table(names, parquet_rows(path, file, names), class_names(schema, names))


def unpacked_size(metadata: parquet.FileMetaData, names: set[str]) -> int:
    """Bytes of the columns without compression, as the file says; equal cells count once."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = (group.column(i) for group in groups for i in range(group.num_columns))
    return sum(c.total_uncompressed_size for c in columns if c.path_in_schema in names)


def parquet_rows(path: Path, file: parquet.ParquetFile, names: list[str]) -> Iterator[list[Any]]:
    """The rows, a batch decoded at a time. Raises ValueError where they come to too much."""
    size = 0
    with errors_named(path):
        for batch in file.iter_batches(BATCH, columns=names):
            size += sum(map(decoded_size, batch.columns))
            check_size(path, size)
            yield from map(list, zip(*map(to_list, batch.columns)))


def decoded_size(column: pyarrow.Array) -> int:
    """Bytes of the column's texts, each row's counted, without decoding them."""
    if not pyarrow.types.is_dictionary(column.type):
        return column.nbytes
    if pyarrow.types.is_primitive(column.dictionary.type):  # numbers
        return column.nbytes
    lengths = compute.binary_length(column.dictionary)
    return compute.sum(lengths.take(column.indices)).as_py() or 0


def to_list(column: pyarrow.Array) -> list[Any]:
    """The cells as Python objects, None where there is none."""
    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    is_text = pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
    if is_text or (pyarrow.types.is_integer(kind) and column.null_count == 0):
        return column.to_numpy(zero_copy_only=False).tolist()  # the same, ten times as fast
    return column.to_pylist()


def class_names(schema: pyarrow.Schema, names: list[str]) -> list[str] | None:
    """The label names that `datasets` stores beside integer labels (ClassLabel), if it did."""
    try:
        metadata = json.loads((schema.metadata or {})[b"huggingface"])
        features = metadata["info"]["features"]
        kinds = [features[name] for name in names if features[name]["_type"] == "ClassLabel"]
        return [str(name) for name in kinds[0]["names"]]
    except (KeyError, IndexError, TypeError, ValueError):
        return None


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Inside, what pyarrow raises becomes a ValueError of one line with the file's name."""
    try:
        yield
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: cannot be read as parquet: {reason[:200]}") from None

"""Files are read exactly as a strict reader reads them, or refused with file, line and remedy."""

import contextlib
import csv
import io
import json
import os
import random
import time

import pyarrow
import pytest
from pyarrow import parquet

from train.data import load_data
from train.options import FinetuneOptions

ROWS = [("so happy", "joy"), ("so low", "sadness"), ("get off; now", "anger")]


def read(path, **settings) -> list[tuple[str, str]]:
    data = load_data(FinetuneOptions(train_file=str(path), **settings))
    return [(row.text, data.labels[row.label]) for row in data.splits["train"].itertuples()]


def write(path, text: str, encoding: str = "utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def write_csv(path, rows=ROWS, header=("text", "label"), **settings):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, **settings).writerows([header, *rows])
    return path


def write_parquet(path, columns, metadata=None):
    parquet.write_table(pyarrow.table(columns, metadata=metadata), path)
    return path


def formats(folder):
    records = [json.dumps(dict(zip(("text", "label"), row))) for row in ROWS]
    return [
        write_csv(folder / "a.csv"),
        write_csv(folder / "a.tsv", delimiter="\t"),
        write(folder / "a.jsonl", "\n".join(records)),
        write(folder / "a.json", "[" + ",".join(records) + "]"),
        write(folder / "lines.json", "\n".join(records)),
        write_parquet(folder / "a.parquet", dict(zip(("text", "label"), zip(*ROWS)))),
        write(folder / "a.txt", "".join(f"{text};{label}\n" for text, label in ROWS)),
    ]


@pytest.mark.parametrize(
    "n", range(7), ids=["csv", "tsv", "jsonl", "json", "json by line", "parquet", "txt"]
)
def test_every_format_gives_the_same_rows(tmp_path, n):
    assert read(formats(tmp_path)[n]) == ROWS


@pytest.mark.parametrize(
    "text",
    ["null", "NA", "None", "nan", "007", "1e5", "TRUE", 'say "hi"', "two\nlines", "x" * 200_000],
    ids=lambda text: text[:8],
)
def test_a_csv_cell_stays_the_text_it_is(tmp_path, text):
    path = write_csv(tmp_path / "a.csv", [(text, "a"), ("other", "b")])
    assert read(path)[0] == (text, "a")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_byte_order_marks_line_ends_and_empty_lines_at_the_end_do_not_show(
    tmp_path, name, bom, newline
):
    header = "text,label\n" if name == "a.csv" else ""
    separator = "," if name == "a.csv" else ";"
    text = bom + header + f"one{separator}a\ntwo{separator}b\n\n"
    assert read(write(tmp_path / name, text.replace("\n", newline))) == [("one", "a"), ("two", "b")]


def test_a_semicolon_line_is_cut_at_its_last_semicolon_and_nowhere_else(tmp_path):
    path = write(tmp_path / "a.txt", 'a;b\u2028c;joy\n"quoted;love\n')
    assert read(path) == [("a;b\u2028c", "joy"), ('"quoted', "love")]


# --- csv and tsv


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_the_separator_is_found_from_the_header(tmp_path, separator, quoting):
    assert read(write_csv(tmp_path / "a.csv", delimiter=separator, quoting=quoting)) == ROWS


@pytest.mark.parametrize("separator", ["||", "((", ".", "\\"])
def test_a_separator_that_is_named_is_taken_literally(tmp_path, separator):
    text = separator.join(["text", "label"]) + f"\na b{separator}x\nc{separator}y\n"
    path = write(tmp_path / "a.csv", text)
    assert read(path, separator=separator) == [("a b", "x"), ("c", "y")]
    lines = write(tmp_path / "a.txt", f"a b{separator}x\nc{separator}d{separator}y\n")
    assert read(lines, separator=separator) == [("a b", "x"), (f"c{separator}d", "y")]


def test_a_tab_may_be_named_as_shells_pass_it_on(tmp_path):
    assert read(write_csv(tmp_path / "a.csv", delimiter="\t"), separator="\\t") == ROWS


def test_an_excel_export_is_read_as_it_comes(tmp_path, capsys):
    path = write(
        tmp_path / "Train.CSV", '\ufeffText;Label;;\r\n"so; ""happy""";joy;;\r\nlow;sadness;;\r\n'
    )
    assert read(path) == [('so; "happy"', "joy"), ("low", "sadness")]
    assert "column 'Text' is read as 'text'" in capsys.readouterr().err


def test_a_file_without_a_header_has_its_columns_named(tmp_path):
    lines = "so happy, today;joy\nso low;sadness\n"
    path = write(tmp_path / "a.csv", lines)
    settings = {"no_header": True, "columns": "text,label"}
    with pytest.raises(ValueError, match=r"';' both cut its first line .* --separator"):
        read(path, **settings)
    expected = [("so happy, today", "joy"), ("so low", "sadness")]
    assert read(path, separator=";", **settings) == expected
    assert read(write(tmp_path / "b.csv", lines.replace(",", "")), **settings)[1] == expected[1]
    with pytest.raises(ValueError, match="--no-header and --columns text,label go together"):
        read(path, no_header=True)


def test_the_wanted_columns_are_found_wherever_they_stand(tmp_path):
    rows = [(1, label, "en", text) for text, label in ROWS]
    path = write_csv(tmp_path / "a.csv", rows, ("id", "mood", "language", "tweet"))
    assert read(path, text_column="tweet", label_column="mood") == ROWS
    columns = {"label": [label for _, label in ROWS], "text": [text for text, _ in ROWS]}
    assert read(write_parquet(tmp_path / "a.parquet", {"id": [1, 2, 3], **columns})) == ROWS
    write(
        tmp_path / "a.jsonl",
        "\n".join(json.dumps({"id": 1, "label": b, "text": a}) for a, b in ROWS),
    )
    assert read(tmp_path / "a.jsonl") == ROWS


def test_quotes_in_a_tsv_are_text_unless_all_are_as_excel_writes_them(tmp_path):
    excel = 'text\tlabel\n"say ""no"""\ta\n"two\nlines"\tb\n'
    assert read(write(tmp_path / "a.tsv", excel)) == [('say "no"', "a"), ("two\nlines", "b")]
    stray = 'text\tlabel\n"so it begins\ta\nfine\tb\nand ends"\ta\n'
    expected = [('"so it begins', "a"), ("fine", "b"), ('and ends"', "a")]
    assert read(write(tmp_path / "b.tsv", stray)) == expected
    inside = 'text\tlabel\n5" tall\ta\n"quoted" word\tb\n'
    assert read(write(tmp_path / "c.tsv", inside)) == [('5" tall', "a"), ('"quoted" word', "b")]


def test_a_quote_never_swallows_a_row_of_a_tsv(tmp_path):
    lines = ["text\tlabel", '"opens', "fine\ta", 'closes"\tb']  # the second line lacks its label
    with pytest.raises(ValueError, match=r"a\.tsv, line 2: 1 cell"):
        read(write(tmp_path / "a.tsv", "\n".join(lines)))


# --- Folders


def test_a_folder_per_class_is_read(tmp_path, capsys):
    for name, text in [("pos/2", "good"), ("pos/1", "fine\n"), ("neg/1", "bad"), ("unsup/1", "?")]:
        for split in ("train", "Test"):
            file = tmp_path / split / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    data = load_data(FinetuneOptions(dataset=str(tmp_path)))
    assert data.labels == ["neg", "pos"] and list(data.splits) == ["train", "test"]
    assert data.splits["train"]["text"].tolist() == ["bad", "fine\n", "good"]
    assert data.splits["train"]["label"].tolist() == [0, 1, 1]
    assert "unlabelled texts are left out" in capsys.readouterr().err
    (tmp_path / "train" / "odd").mkdir()
    for what in ("no .txt file", "a.md is no .txt file"):
        with pytest.raises(ValueError, match=f"odd: {what}"):
            load_data(FinetuneOptions(dataset=str(tmp_path)))
        (tmp_path / "train" / "odd" / "a.md").touch()


@pytest.mark.parametrize(
    "names", [("Train.CSV", "Valid.csv", "Test.csv"), ("train.csv", "dev.csv", "TEST.csv")]
)
def test_splits_are_found_by_their_names_in_any_case(tmp_path, names):
    for name in names:
        write_csv(tmp_path / name)
    data = load_data(FinetuneOptions(dataset=str(tmp_path)))
    assert list(data.splits) == ["train", "validation", "test"]


# --- json and parquet


def test_a_file_name_is_no_pattern_and_a_changed_file_is_read_again(tmp_path):
    for name in ("train.jsonl", "tr?in.jsonl", "a[1].jsonl"):
        for label in ("a", "b"):
            rows = [{"text": "x", "label": label}, {"text": "y", "label": "c"}]
            path = write(tmp_path / name, "\n".join(map(json.dumps, rows)))
            # An old date, as a file has that was unpacked: no cache may go by it.
            os.utime(path, (1, 1))
            assert read(path) == [("x", label), ("y", "c")]


def test_dictionary_columns_and_class_names_of_a_parquet_file_are_read(tmp_path):
    columns = {
        "text": pyarrow.array(["x", "y", "x"]).dictionary_encode(),
        "label": pyarrow.array([1, 0, 1]),
    }
    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "label": {"names": ["down", "down by one"], "_type": "ClassLabel"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    path = write_parquet(tmp_path / "a.parquet", columns, metadata)
    assert read(path) == [("x", "down by one"), ("y", "down"), ("x", "down by one")]


@pytest.mark.parametrize("kind", ["Audio", "Image"])
def test_what_calls_itself_an_image_is_the_string_that_it_is(tmp_path, kind):
    features = {"text": {"_type": kind}, "label": {"dtype": "string", "_type": "Value"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = {"text": ["/etc/passwd", "y"], "label": ["a", "b"]}
    path = write_parquet(tmp_path / "a.parquet", columns, metadata)
    assert read(path) == [("/etc/passwd", "a"), ("y", "b")]


# --- Refusals

BAD_FILES = {
    "missing column": ("a.csv", "body,label\nx,a\n", "no column 'text', only 'body', 'label'"),
    "no separator": ("a.csv", "text label\nx a\n", "only 'text label'.*--separator"),
    "no header": ("a.csv", "so happy,joy\nso low,sadness\n", "--no-header --columns text,label"),
    "repeated column": ("a.csv", "text,text,label\nx,y,a\n", "two columns are named 'text'"),
    "two cases": ("a.csv", "Text,TEXT,label\nx,y,a\n", "no column 'text', only 'Text', 'TEXT'"),
    "short row": ("a.csv", "text,label\nx,a\ny\n", "line 3: 1 cell between ',', but 2 columns"),
    "long row": ("a.csv", "text,label\nx,a\ny,b,c\n", "line 3: 3 cells .* needs quotes"),
    "comma in every row": ("a.csv", "text,label\nx,y,a\nz,y,b\n", "line 2: 3 cells"),
    "row after a long cell": ("a.csv", 'text,label\n"x\n\ny",a\nz\n', "line 5: 1 cell"),
    "open quote": ("a.csv", 'text,label\nx,a\n"y,b\nz,a\n', "line 3: a quote opens .* none closes"),
    "quote inside": ("a.csv", 'text,label\nx,a\n5" tall,b\n', "line 3: a quote inside a cell"),
    "text after quote": ("a.csv", 'text,label\n"x"y,a\n', "line 2: text between a closing quote"),
    "empty line": ("a.csv", "text,label\nx,a\n\ny,b\n", "line 3: an empty line"),
    "carriage return": ("a.csv", "text,label\nx\ry,a\n", "line 2: a carriage return"),
    "old Mac": ("a.csv", "text,label\rx,a\ry,b", "line 1: a carriage return"),
    "empty file": ("a.csv", "", "the file is empty"),
    "header only": ("a.csv", "text,label\n", "no rows"),
    "blank json lines": ("a.jsonl", "\n\n", "no rows"),
    "broken json": ("a.json", '[{"text": "x"', "cannot be read as json: Expecting ',' .*column 14"),
    "json line": (
        "a.jsonl",
        '{"text": "x", "label": "a"}\n{"text"}\n',
        "line 2: cannot be read as",
    ),
    "json key missing": (
        "a.jsonl",
        '{"text": "x", "label": "a"}\n{"text": "y"}\n',
        "line 2: no 'label' in this object",
    ),
    "json empty first": (
        "a.jsonl",
        '{}\n{"text": "x", "label": 1}\n',
        "line 1: this object is empty",
    ),
    "json key twice": ("a.jsonl", '{"text": "x", "text": "y", "label": 1}', "name occurs twice"),
    "json list": ("a.jsonl", '["x", "a"]\n', r"line 1: \['x', 'a'\] is not an object"),
    "json scalar": ("a.json", "7", "line 1: 7 is not an object"),
    "json NaN": ("a.jsonl", '{"text": "x", "label": NaN}\n', "NaN is not JSON"),
    "deep json": ("a.json", "[" * 100_000, "nested too deeply"),
    "half a pair": ("a.jsonl", '{"text": "\\ud83d", "label": "a"}', "row 1 holds a lone surrogate"),
    "not a parquet": ("a.parquet", "text", "cannot be read as parquet"),
    "no semicolon": ("a.txt", "x;a\njust text\n", "line 2: no semicolon"),
    "carriage return in a line": ("a.txt", "x\ry;a\nz;b\n", "line 1: a carriage return"),
    "unknown format": ("a.docx", "x", "unknown format"),
    "workbook": ("a.xlsx", "x", 'a spreadsheet; save it as "CSV UTF-8"'),
    "workbook by another name": ("a.csv", "PK\x03\x04...", r"Excel workbook \(.xlsx\)"),
    "compressed": ("a.csv.gz", "x", "compressed; unpack it first"),
}


@pytest.mark.parametrize(("name", "text", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_named_with_its_fault(tmp_path, name, text, message):
    path = write(tmp_path / name, text)
    with pytest.raises((ValueError, OSError), match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("encoding", "what"),
    [
        ("latin-1", "line 2: not UTF-8: byte 0xe9, which is 'é' in Windows-1252"),
        ("utf-16", "in UTF-16"),
        ("utf-16-be", "in UTF-16"),
        ("utf-32", "in UTF-32"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.jsonl"])
def test_a_file_in_another_encoding_is_named(tmp_path, name, encoding, what):
    lines = {
        "a.csv": "text,label\ncaf\xe9,a\n",
        "a.txt": "x;a\ncaf\xe9;a\n",
        "a.jsonl": '{"text": "x", "label": "a"}\n{"text": "\xe9", "label": "a"}\n',
    }
    path = write(tmp_path / name, lines[name], encoding)
    with pytest.raises(ValueError, match=f"{what}.*save .* as UTF-8") as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_options_of_text_files_are_refused_where_they_do_nothing(tmp_path):
    path = formats(tmp_path)[2]
    with pytest.raises(ValueError, match="--separator, --no-header are for csv, tsv and txt"):
        read(path, separator=";")
    for separator in ('"', "", "a\n"):
        with pytest.raises(ValueError, match="cannot stand between cells"):
            read(formats(tmp_path)[0], separator=separator)


BOMBS = {
    "repeated": lambda n: pyarrow.array(["x" * 1_000_000]).take([0] * n),
    "compressed": lambda n: pyarrow.array(["x" * 999_000 + f"{i:06d}" for i in range(n)]),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_that_unpacks_to_much_is_refused_in_seconds(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("train.data.table.MAX_BYTES", 100_000_000)  # of 200: the test's own memory
    if kind == "compressed":  # what the file says of its size is enough: nothing is unpacked
        monkeypatch.setattr("train.data.columns.parquet_rows", None)
    columns = {"text": BOMBS[kind](200), "label": ["a", "b"] * 100}
    path = tmp_path / "a.parquet"
    table = pyarrow.table(columns)
    parquet.write_table(table, path, compression="zstd", use_dictionary=kind == "repeated")
    assert path.stat().st_size < 50_000
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"a\.parquet: over 0 GB of text"):
        read(path)
    assert time.perf_counter() - start < 5


def test_a_file_of_very_many_rows_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("train.data.columns.parquet_rows", None)
    ones = pyarrow.repeat(1, 11_000_000)
    path = write_parquet(tmp_path / "a.parquet", {"text": ones, "label": ones})
    with pytest.raises(ValueError, match=r"a\.parquet: over 1 GB of text"):
        read(path)


@pytest.mark.parametrize("name", ["wide.csv", "wide.jsonl", "wide.parquet"])
def test_a_file_of_very_many_columns_is_refused_in_seconds(tmp_path, name):
    names = [f"c{i}" for i in range(20_000)]
    if name == "wide.csv":
        path = write_csv(tmp_path / name, [names], names)
    elif name == "wide.jsonl":
        path = write(tmp_path / name, json.dumps(dict.fromkeys(names, "x")))
    else:
        path = write_parquet(tmp_path / name, {name: ["x"] for name in names})
    start = time.perf_counter()
    with pytest.raises(ValueError, match="20,000 columns; at most 10,000 are read"):
        read(path)
    assert time.perf_counter() - start < 10


# --- Mutations: either exactly the rows of an independent reader, or a refusal

WORDS = ["so", "happy,", "low;", 'say ""no""', "null", "naïve", "\u2028", "|", "\t", "7", "☃", "'"]
LABELS = ["joy", "sadness", "anger"]
SCRAPS = [
    '"',
    '""',
    ",",
    ";",
    "\t",
    "|",
    "\n",
    "\r",
    "\r\n",
    "\ufeff",
    "\0",
    "\x1a",
    "null",
    "{",
    "}",
]
SCRAPS += ["[", "]", "\\", ":", "true", "NaN", "é", "\ud83d", '"\n"', '","', "\u2028", " ", "-100"]


def seeded_rows(chance: random.Random) -> list[tuple[str, str]]:
    rows = [(" ".join(chance.choices(WORDS, k=4)), chance.choice(LABELS)) for _ in range(6)]
    return [*rows, ("the last but one", "joy"), ("the last", "anger")]


def mutate(content: bytes, chance: random.Random) -> bytes:
    """One to three accidents: a scrap put in, bytes lost, doubled or changed, lines lost or joined,
    another encoding or other line ends."""
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(content) + 1)
        scrap = chance.choice(SCRAPS).encode("utf-8", "surrogatepass")
        size = chance.randint(1, 6)
        lines = content.splitlines(keepends=True) or [b""]
        line = chance.randrange(len(lines))
        content = chance.choice([
            content[:place] + scrap + content[place:],
            content[:place] + scrap + content[place:],
            content[:place] + content[place + size:],
            content[:place] + content[place:place + size] + content[place:],
            content[:place] + bytes([chance.randrange(256)]) + content[place + 1:],
            b"".join(lines[:line] + lines[line + 1:]),
            b"".join([*lines[:line], lines[line].rstrip(b"\r\n"), *lines[line + 1:]]),
            content.replace(b"\n", b"\r\n"),
            content.decode("utf-8", "replace").encode("latin-1", "replace"),
        ])  # fmt: skip
    return content


def strict_csv(content: bytes, delimiter: str, **settings) -> list[list[str]]:
    text = content.decode("utf-8").removeprefix("\ufeff")
    file = io.StringIO(text, newline="")
    rows = list(csv.reader(file, strict=True, delimiter=delimiter, **settings))
    while rows and rows[-1] == []:
        rows.pop()
    return rows


def tables_of_csv(content: bytes, separators: str = ",;\t|") -> list[list[list[str]]]:
    """As the csv module reads it, with each of the separators that we may have found."""
    tables = []
    for delimiter in separators:
        with contextlib.suppress(csv.Error):
            tables.append(strict_csv(content, delimiter))
    return tables


def tables_of_tsv(content: bytes) -> list[list[list[str]]]:
    """Quotes as text, or as Excel writes them."""
    return [strict_csv(content, "\t", quoting=csv.QUOTE_NONE), *tables_of_csv(content, "\t")]


def table_of_objects(objects: list) -> list[list]:
    return [["text", "label"], *([one["text"], one["label"]] for one in objects)]


def tables_of_jsonl(content: bytes) -> list[list[list]]:
    lines = content.decode("utf-8").removeprefix("\ufeff").split("\n")
    return [table_of_objects([json.loads(line) for line in lines if line.strip(" \t\r")])]


def tables_of_json(content: bytes) -> list[list[list]]:
    try:
        found = json.loads(content.decode("utf-8").removeprefix("\ufeff"))
    except ValueError:
        return tables_of_jsonl(content)
    return [table_of_objects(found if isinstance(found, list) else [found])]


def tables_of_parquet(content: bytes) -> list[list[list]]:
    return [table_of_objects(parquet.read_table(io.BytesIO(content)).to_pylist())]


def tables_of_txt(content: bytes) -> list[list[list[str]]]:
    lines = (
        content.decode("utf-8")
        .removeprefix("\ufeff")
        .replace("\r\n", "\n")
        .rstrip("\n")
        .split("\n")
    )
    return [[["text", "label"], *(list(line.rpartition(";")[::2]) for line in lines)]]


READERS = {
    "csv": tables_of_csv,
    "tsv": tables_of_tsv,
    "json": tables_of_json,
    "jsonl": tables_of_jsonl,
    "parquet": tables_of_parquet,
    "txt": tables_of_txt,
}


def rows_of(table: list[list]) -> list[tuple[str, str]] | None:
    """Text and label of each row, by the header's names whatever their case; None where a row does
    not fit the header. Labels are stripped, whole numbers have no point, -100 is no label."""
    header, *rows = table
    names = [str(name).lower() for name in header]
    if not {"text", "label"} <= set(names) or any(len(row) != len(header) for row in rows):
        return None
    text, label = names.index("text"), names.index("label")
    cells = [
        (row[text], int(row[label]) if type(row[label]) is float else row[label]) for row in rows
    ]
    return [(text, str(label).strip()) for text, label in cells if str(label).strip() != "-100"]


def odd_objects(rows: list[tuple[str, str]], chance: random.Random) -> list[dict]:
    """The rows with cells of other types, nulls, and columns that are missing or too many."""
    objects: list[dict] = [{"text": text, "label": label} for text, label in rows]
    column = chance.choice(["text", "label", "more"])
    cells = chance.choice(
        [[None], [7], [1.0, 2.0], [0.5], [True, False], [["a"]], ["", " "], [" b"]]
    )
    some = objects if chance.random() < 0.5 else chance.sample(objects, 2)
    for n, one in enumerate(some):
        one[column] = cells[n % len(cells)]
    if chance.random() < 0.2:
        del objects[0]["label"]
    return objects


def valid_file(path, kind: str, objects: list[dict]) -> bytes:
    rows = [(one.get("text"), one.get("label")) for one in objects]
    if kind in ("csv", "tsv"):
        write_csv(path, rows, delimiter="," if kind == "csv" else "\t")
    elif kind == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(objects), path)
    elif kind == "txt":
        write(path, "".join(f"{text};{label}\n" for text, label in rows))
    else:
        write(path, json.dumps(objects) if kind == "json" else "\n".join(map(json.dumps, objects)))
    return path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_three_hundred_damaged_files_are_read_exactly_or_refused(tmp_path, kind, capsys):
    chance = random.Random(kind)
    path = tmp_path / f"a.{kind}"
    n_read = 0
    for n in range(300):
        rows = seeded_rows(chance)
        if n % 3:
            objects = [{"text": text, "label": label} for text, label in rows]
            content = mutate(valid_file(path, kind, objects), chance)
        else:
            try:
                content = valid_file(path, kind, odd_objects(rows, chance))
            except pyarrow.ArrowException:  # parquet has a type for each column
                continue
        path.write_bytes(content)
        try:
            found = read(path)
        except (ValueError, OSError) as error:
            message = str(error)
            assert str(path) in message and message.count("\n") < 2, (content, message)
            continue
        n_read += 1
        tables = READERS[kind](content)
        assert found in [rows_of(table) for table in tables if table], content
    assert 15 < n_read < 285  # neither is everything refused, nor is all damage harmless
    print(kind, n_read)

"""Labelled texts from files, the demo and the Hub: read exactly, refused clearly."""

import csv
import json

import pandas as pd
import pytest

from train.data import EMOTION_LABELS, Data, fingerprint, load_data
from train.options import FinetuneOptions

ROWS = [("so happy", "joy"), ("so low", "sadness"), ("get off; now", "anger")]


def options(**settings) -> FinetuneOptions:
    return FinetuneOptions(**{k: str(v) for k, v in settings.items()})


def write(path, text: str, encoding: str = "utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def write_csv(path, rows=ROWS, header=("text", "label"), **settings):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, **settings).writerows([header, *rows])
    return path


def read(path, **settings) -> list[tuple[str, str]]:
    data = load_data(options(train_file=path, **settings))
    return [(row.text, data.labels[row.label]) for row in data.splits["train"].itertuples()]


def sizes(data: Data) -> dict[str, int]:
    return {split: len(rows) for split, rows in data.splits.items()}


def print_of(path) -> str:
    return fingerprint(load_data(options(train_file=path)).splits["train"])


def formats(folder):
    frame = pd.DataFrame(ROWS, columns=["text", "label"])
    frame.to_parquet(folder / "a.parquet")
    records = [json.dumps(dict(zip(("text", "label"), row))) for row in ROWS]
    return [
        write_csv(folder / "a.csv"),
        write_csv(folder / "a.tsv", delimiter="\t"),
        write(folder / "a.jsonl", "\n".join(records)),
        write(folder / "a.json", "[" + ",".join(records) + "]"),
        folder / "a.parquet",
        write(folder / "a.txt", "".join(f"{text};{label}\n" for text, label in ROWS)),
    ]


@pytest.mark.parametrize("n", range(6), ids=["csv", "tsv", "jsonl", "json", "parquet", "txt"])
def test_every_format_gives_the_same_rows(tmp_path, n):
    assert read(formats(tmp_path)[n]) == ROWS


def test_equal_data_have_equal_fingerprints_in_every_format(tmp_path):
    prints = {print_of(path) for path in formats(tmp_path)}
    assert len(prints) == 1
    other = write_csv(tmp_path / "other.csv", [*ROWS[:2], ("get off; now", "joy")])
    assert print_of(other) not in prints


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
def test_byte_order_marks_and_line_ends_do_not_show(tmp_path, name, bom, newline):
    header = "text,label\n" if name == "a.csv" else ""
    separator = "," if name == "a.csv" else ";"
    text = bom + header + f"one{separator}a\ntwo{separator}b\n"
    assert read(write(tmp_path / name, text.replace("\n", newline))) == [("one", "a"), ("two", "b")]


def test_a_semicolon_line_is_cut_at_its_last_semicolon_and_nowhere_else(tmp_path):
    path = write(tmp_path / "a.txt", 'a;b\u2028c;joy\n"quoted;love\n')
    assert read(path) == [("a;b\u2028c", "joy"), ('"quoted', "love")]


def test_columns_and_separator_can_be_named(tmp_path):
    path = write_csv(tmp_path / "a.csv", header=("tweet", "mood"), delimiter=";")
    assert read(path, text_column="tweet", label_column="mood", separator=";") == ROWS


def test_a_folder_has_its_splits_by_name(tmp_path):
    for name in ("train.csv", "val.csv", "test.csv"):
        write_csv(tmp_path / name)
    data = load_data(options(dataset=tmp_path))
    assert sizes(data) == {"train": 3, "validation": 3, "test": 3}


def test_the_tutorials_files_are_the_tutorials_data(emotion_folder):
    data = load_data(options(dataset=emotion_folder))
    assert sizes(data) == {"train": 16_000, "validation": 2_000, "test": 2_000}
    assert data.labels == EMOTION_LABELS
    train = data.splits["train"]
    assert train["text"][0] == "i didnt feel humiliated"
    assert train["label"][:5].tolist() == [0, 0, 3, 2, 3] and train["label"].dtype == "int64"


def test_emotion_labels_keep_the_official_order_and_others_are_sorted(tmp_path):
    official = load_data(options(train_file=write_csv(tmp_path / "a.csv")))
    assert official.labels == ["sadness", "joy", "anger"]
    rows = [("x", "zebra"), ("y", "\u0430\u043d\u0442"), ("z", "ant")]
    other = load_data(options(train_file=write_csv(tmp_path / "b.csv", rows)))
    assert other.labels == ["ant", "zebra", "\u0430\u043d\u0442"]


def test_integer_labels_become_names(tmp_path):
    pd.DataFrame({"text": ["a", "b"], "label": [3, 1]}).to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [("a", "3"), ("b", "1")]


def test_a_trained_models_labels_fix_the_ids(tmp_path):
    names = ["anger", "sadness", "joy", "calm"]
    data = load_data(options(train_file=write_csv(tmp_path / "a.csv")), names)
    assert data.splits["train"]["label"].tolist() == [2, 1, 0]


def test_the_bare_name_emotion_means_the_hubs_set_whatever_lies_here(tmp_path, monkeypatch):
    (tmp_path / "emotion").mkdir()
    write(tmp_path / "emotion" / "train.txt", "a;joy\nb;love\n")
    monkeypatch.chdir(tmp_path)
    for name in ("emotion", "dair-ai/emotion"):
        with pytest.raises(ConnectionError, match=r"dair-ai/emotion.*give a folder"):
            load_data(options(dataset=name))
    assert sizes(load_data(options(dataset="./emotion"))) == {"train": 2}


BAD_FILES = {
    "missing column": ("a.csv", "body,label\nx,a\n", "no column 'text', only 'body', 'label'"),
    "wrong separator": ("a.csv", "text;label\nx;a\n", "only 'text;label'.*--separator"),
    "empty text": ("a.csv", "text,label\nx,a\n,b\n", "empty text in row 2"),
    "blank text": ("a.csv", "text,label\nx,a\n  ,b\n", "empty text in row 2"),
    "empty label": ("a.csv", "text,label\nx,\ny,b\nz,\n", r"label in row 1 \(and 1 more"),
    "short row": ("a.csv", "text,label\nx,a\ny\n", "empty label in row 2"),
    "long row": ("a.csv", "text,label\nx,a\ny,b,c\n", "cannot be read as csv.*line 3"),
    "empty file": ("a.csv", "", "the file is empty"),
    "header only": ("a.csv", "text,label\n", "no rows"),
    "empty json lines": ("a.jsonl", "", "the file is empty"),
    "blank json lines": ("a.jsonl", "\n\n", "cannot be read as json"),
    "broken json": ("a.json", '[{"text": "x"', "cannot be read as json"),
    "json null": ("a.jsonl", '{"text": null, "label": "a"}\n', "empty text in row 1"),
    "json number": ("a.jsonl", '{"text": 7, "label": "a"}\n', "holds 7, not text"),
    "not a parquet": ("a.parquet", "text", "cannot be read as parquet"),
    "no semicolon": ("a.txt", "x;a\njust text\n", "line 2: no semicolon"),
    "one class": ("a.csv", "text,label\nx,a\ny,a\n", "every label is 'a'"),
    "unknown format": ("a.docx", "x", "unknown format"),
}


@pytest.mark.parametrize(("name", "text", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_named_with_its_fault(tmp_path, name, text, message):
    path = write(tmp_path / name, text)
    with pytest.raises((ValueError, OSError), match=message) as caught:
        load_data(options(train_file=path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_a_file_in_another_encoding_is_named(tmp_path, name):
    path = write(tmp_path / name, "text,label\ncaf\xe9;,a\n", encoding="latin-1")
    with pytest.raises(ValueError, match=r"utf-8.*save the file as UTF-8") as caught:
        load_data(options(train_file=path))
    assert str(path) in str(caught.value)


def test_absent_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.csv: no such file"):
        load_data(options(train_file=tmp_path / "gone.csv"))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_data(options(dataset="./gone"))
    with pytest.raises(FileNotFoundError, match="no train, validation or test file"):
        load_data(options(dataset=tmp_path))
    with pytest.raises(ValueError, match="name it with --train-file"):
        load_data(options(dataset=write_csv(tmp_path / "a.csv")))


def test_two_files_for_one_split_are_refused(tmp_path):
    write_csv(tmp_path / "val.csv")
    write_csv(tmp_path / "validation.csv")
    with pytest.raises(ValueError, match="could both be validation"):
        load_data(options(dataset=tmp_path))


def test_a_label_that_training_has_not_seen_is_named_with_its_row(tmp_path):
    train = write_csv(tmp_path / "train.csv")
    evaluation = write_csv(tmp_path / "eval.csv", [("a", "joy"), ("b", "hunger")])
    with pytest.raises(ValueError, match=r"eval\.csv: label 'hunger' in row 2 is none of sadness"):
        load_data(options(train_file=train, eval_file=evaluation))


@pytest.mark.hub
def test_the_hubs_emotion_set_is_the_pinned_one():
    data = load_data(FinetuneOptions())
    assert data.labels == EMOTION_LABELS
    assert data.splits["train"]["text"][0] == "i didnt feel humiliated"
    assert sizes(data) == {"train": 16_000, "validation": 2_000, "test": 2_000}

"""predict --file: every row and column of a table comes back, with label and probability added."""

import csv
import io
import json

import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet

import train
import train.predict
from train.data import EMOTION_LABELS

TEXTS = ["i feel fine", 'he said "so, what"', "two\nlines", "tab\there", "", "☃ ça va", "  "]
ROWS = [{"id": str(n), "text": text, "note": f"n{n}"} for n, text in enumerate(TEXTS)]


def write(path, rows) -> str:
    """The rows in the format of the name's ending."""
    frame = pd.DataFrame(rows)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        separator = "\t" if path.suffix == ".tsv" else ","
        frame.to_csv(path, index=False, sep=separator, quoting=csv.QUOTE_ALL)
    return str(path)


def read(path) -> list[dict]:
    """The rows again, by another reader than the program's."""
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.split("\n") if line]
    separator = "\t" if path.suffix == ".tsv" else ","
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True))


@pytest.fixture
def expected(command):
    """{text: (label, probability)} as predict answers single texts."""
    answers = {}
    for text in TEXTS:
        if text.strip():
            record = json.loads(command("predict", "--json", text).out)
            answers[text] = (record["label"], record["probability"])
    return answers


@pytest.mark.parametrize("source", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("target", ["csv", "tsv", "jsonl", "parquet"])
def test_all_rows_and_columns_come_back_with_label_and_probability(
    command, tmp_path, monkeypatch, expected, source, target
) -> None:
    monkeypatch.setattr(train.predict, "CHUNK", 3)
    file, output = tmp_path / f"in.{source}", tmp_path / f"out.{target}"
    result = command("predict", "--file", write(file, ROWS), "--output", str(output))
    assert result.status == 0, result.err
    assert result.out == "" and "7 rows in" in result.err
    rows = read(output)
    assert [{k: row[k] for k in ("id", "text", "note")} for row in rows] == ROWS
    for row in rows:
        assert list(row) == ["id", "text", "note", "predicted_label", "probability"]
        if not row["text"].strip():  # an empty text gets an empty label
            assert row["predicted_label"] == "" and row["probability"] in ("", None)
            continue
        label, probability = expected[row["text"]]
        assert row["predicted_label"] == label
        assert float(row["probability"]) == pytest.approx(probability, abs=1e-5)


def test_with_all_there_is_a_column_for_each_label(command, tmp_path) -> None:
    file, output = write(tmp_path / "in.csv", ROWS), tmp_path / "out.csv"
    assert command("predict", "--file", file, "--output", str(output), "--all").status == 0
    (first, *_) = read(output)
    probabilities = {name: float(first[f"probability_{name}"]) for name in EMOTION_LABELS}
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert probabilities[first["predicted_label"]] == float(first["probability"])


def test_below_the_threshold_the_label_is_empty_and_the_probability_stays(command, tmp_path):
    file, output = write(tmp_path / "in.csv", ROWS), tmp_path / "out.csv"
    flags = ("--file", file, "--output", str(output), "--threshold")
    assert command("predict", *flags, "1").status == 0
    assert {row["predicted_label"] for row in read(output)} == {""}
    assert float(read(output)[0]["probability"]) < 1


def test_without_output_the_table_is_printed_as_csv(command, tmp_path) -> None:
    file = write(tmp_path / "in.jsonl", [row for row in ROWS if row["text"]])
    rows = list(csv.DictReader(io.StringIO(command("predict", "--file", file).out, newline="")))
    assert [row["text"] for row in rows] == [text for text in TEXTS if text]
    lines = command("predict", "--file", file, "--json").out.splitlines()
    assert [json.loads(line)["text"] for line in lines] == [text for text in TEXTS if text]


def test_types_of_a_parquet_file_stay(command, tmp_path) -> None:
    table = pyarrow.table(
        {
            "text": ["fine", None, "so low"],
            "day": pyarrow.array([1, None, 3], pyarrow.date32()),
            "n": pyarrow.array([None, None, 2**40], pyarrow.int64()),
            "tags": [["a"], [], None],
        }
    )
    parquet.write_table(table, tmp_path / "in.parquet")
    flags = ("--file", str(tmp_path / "in.parquet"), "--output", str(tmp_path / "out.parquet"))
    result = command("predict", *flags)
    assert result.status == 0, result.err
    written = parquet.read_table(tmp_path / "out.parquet")
    assert written.select(table.column_names).equals(table)
    assert written["predicted_label"].to_pylist()[1] == ""


@pytest.mark.parametrize("n_blank", [0, 3])
@pytest.mark.parametrize("more", [[], ["i feel fine"]])
def test_parquets_new_columns_have_their_types_whatever_the_first_rows_hold(
    command, tmp_path, monkeypatch, n_blank, more
) -> None:
    monkeypatch.setattr(train.predict, "CHUNK", 3)
    source, output = tmp_path / "in.csv", tmp_path / "out.parquet"
    source.write_text("text\n" + '" "\n' * n_blank + "".join(f"{text}\n" for text in more))
    done = command("predict", "--file", str(source), "--output", str(output))
    assert done.status == 0, done.err
    table = parquet.read_table(output)
    assert table.num_rows == n_blank + len(more)
    assert table.schema.field("predicted_label").type == pyarrow.string()
    assert table.schema.field("probability").type == pyarrow.float64()


def test_another_text_column_and_the_tutorials_lines_can_be_read(command, tmp_path) -> None:
    file = write(tmp_path / "in.csv", [{"tweet": "fine", "text": "x"}])
    result = command("predict", "--file", file, "--text-column", "tweet")
    assert result.status == 0 and '"fine","x"' in result.out
    (tmp_path / "bare.csv").write_text("so low;7\nfine;8\n")
    flags = ("--no-header", "--columns", "text,id")
    result = command("predict", "--file", str(tmp_path / "bare.csv"), *flags)
    assert result.status == 0 and '"so low","7"' in result.out
    (tmp_path / "in.txt").write_text("i feel fine;joy\nso low;sadness\n")
    result = command("predict", "--file", str(tmp_path / "in.txt"))
    assert len(result.out.splitlines()) == 3 and '"so low","sadness"' in result.out


def test_outputs_that_would_take_the_place_of_something_are_refused(command, tmp_path) -> None:
    file = write(tmp_path / "in.csv", ROWS)
    before = (tmp_path / "in.csv").read_bytes()
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "link.csv").symlink_to(tmp_path / "there.csv")
    for output, message in {
        "in.csv": "is the input",
        "there.csv": "exists",
        "link.csv": "exists",
        "out.xlsx": "unknown format",
        "gone/out.csv": "there is no folder",
    }.items():
        refused = command("predict", "--file", file, "--output", str(tmp_path / output))
        assert refused.status == 2 and message in refused.err
    assert "is the input" in command("predict", "--file", file, "--output", file, "--overwrite").err
    assert (tmp_path / "in.csv").read_bytes() == before
    assert (tmp_path / "there.csv").read_text() == "mine"
    output = str(tmp_path / "there.csv")
    assert command("predict", "--file", file, "--output", output, "--overwrite").status == 0
    assert len(read(tmp_path / "there.csv")) == 7


@pytest.mark.parametrize("column", ["predicted_label", "probability"])
def test_a_column_of_that_name_already_there_is_refused(command, tmp_path, column) -> None:
    file = write(tmp_path / "in.csv", [{"text": "fine", column: "x"}])
    refused = command("predict", "--file", file, "--output", str(tmp_path / "out.csv"))
    assert refused.status == 2 and f"has a column '{column}' already" in refused.err


def test_a_broken_row_far_down_leaves_no_output(command, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(train.predict, "CHUNK", 2)
    (tmp_path / "in.csv").write_text("text,id\n" + "fine,1\n" * 9 + "fine\n")
    flags = ("--file", str(tmp_path / "in.csv"), "--output", str(tmp_path / "out.csv"))
    refused = command("predict", *flags)
    assert refused.status == 2 and "line 11" in refused.err
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_text_that_is_a_number_is_refused_with_its_row(command, tmp_path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "fine"}\n{"text": 7}\n')
    refused = command("predict", "--file", str(tmp_path / "in.jsonl"))
    assert refused.status == 2 and "row 2: text is 7, no text" in refused.err


def test_predictions_come_back_in_python(tiny_classifier, tmp_path, capsys) -> None:
    given = {"model": str(tiny_classifier), "device": "cpu"}
    result = train.run("predict", **given, texts=["fine", "so low"], all=True)
    assert list(result.predictions["text"]) == ["fine", "so low"]
    assert set(result.predictions["predicted_label"]) <= set(EMOTION_LABELS)
    file = write(tmp_path / "in.csv", ROWS)
    result = train.run("predict", **given, file=file, output=tmp_path / "out.csv")
    assert len(result.predictions) == 7

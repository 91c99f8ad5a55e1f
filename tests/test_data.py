"""Splits, labels and class ids of a command's data: as they are meant, or refused by name."""

import csv
import datetime

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from train.data import EMOTION_LABELS, Data, describe, fingerprint, hold_out, load_data
from train.data.labels import to_names
from train.options import ExploreOptions, FinetuneOptions

ROWS = [("so happy", "joy"), ("so low", "sadness"), ("get off; now", "anger")]


def options(**settings) -> FinetuneOptions:
    plain = (str, bool, dict, tuple, pd.DataFrame, Dataset)
    return FinetuneOptions(
        **{name: v if isinstance(v, plain) else str(v) for name, v in settings.items()}
    )


def write_csv(path, rows=ROWS, header=("text", "label")):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def labelled(*labels) -> dict:
    """A training split with these labels."""
    return {"train": ([f"text {i}" for i in range(len(labels))], list(labels))}


def sizes(data: Data) -> dict[str, int]:
    return {split: len(rows) for split, rows in data.splits.items()}


def read(**settings) -> list[tuple[str, str]]:
    data = load_data(options(**settings))
    return [(row.text, data.labels[row.label]) for row in data.splits["train"].itertuples()]


# --- Files and folders


def test_equal_data_have_equal_fingerprints_whatever_they_come_from(tmp_path):
    def print_of(**settings) -> str:
        return fingerprint(load_data(options(**settings)).splits["train"])

    pd.DataFrame(ROWS, columns=["text", "label"]).to_parquet(tmp_path / "a.parquet")
    prints = {
        print_of(train_file=write_csv(tmp_path / "a.csv")),
        print_of(train_file=tmp_path / "a.parquet"),
        print_of(dataset={"train": tuple(zip(*ROWS))}),
    }
    assert len(prints) == 1
    other = write_csv(tmp_path / "other.csv", [*ROWS[:2], ("get off; now", "joy")])
    assert print_of(train_file=other) not in prints


def test_the_tutorials_files_are_the_tutorials_data(emotion_folder):
    data = load_data(options(dataset=emotion_folder))
    assert sizes(data) == {"train": 16_000, "validation": 2_000, "test": 2_000}
    assert data.labels == EMOTION_LABELS
    train = data.splits["train"]
    assert train["text"][0] == "i didnt feel humiliated"
    assert train["label"][:5].tolist() == [0, 0, 3, 2, 3] and train["label"].dtype == "int64"


def test_the_tutorials_csv_cell_works(emotion_folder, tmp_path):
    """load_dataset("csv", data_files="train.txt", sep=";", names=["text", "label"])"""
    local = tmp_path / "train.csv"
    local.write_bytes((emotion_folder / "train.txt").read_bytes())
    settings = {"separator": ";", "no_header": True, "columns": "text,label"}
    expected = read(train_file=emotion_folder / "train.txt")
    assert read(train_file=local, **settings) == expected
    assert read(train_file=emotion_folder / "train.txt", **settings) == expected


def test_the_bare_name_emotion_means_the_hubs_set_whatever_lies_here(tmp_path, monkeypatch):
    (tmp_path / "emotion").mkdir()
    (tmp_path / "emotion" / "train.txt").write_text("a;joy\nb;love\n")
    monkeypatch.chdir(tmp_path)
    for name in ("emotion", "dair-ai/emotion"):
        with pytest.raises(ConnectionError, match=r"dair-ai/emotion.*give a folder"):
            load_data(options(dataset=name))
    assert sizes(load_data(options(dataset="./emotion"))) == {"train": 2}


def test_absent_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.csv: no such file"):
        load_data(options(train_file=tmp_path / "gone.csv"))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_data(options(dataset="./gone"))
    with pytest.raises(FileNotFoundError, match="no train, validation or test file"):
        load_data(options(dataset=tmp_path))
    with pytest.raises(ValueError, match="name it with --train-file"):
        load_data(options(dataset=write_csv(tmp_path / "a.csv")))
    with pytest.raises(ValueError, match="--dataset-config is for data sets of the Hub"):
        load_data(options(dataset="demo", dataset_config="split"))
    (tmp_path / "train.xlsx").write_text("x")
    with pytest.raises(ValueError, match=r"train\.xlsx: a spreadsheet"):
        load_data(options(dataset=tmp_path))


def test_two_files_for_one_split_are_refused(tmp_path):
    write_csv(tmp_path / "val.csv")
    write_csv(tmp_path / "Validation.CSV")
    with pytest.raises(ValueError, match="could both be validation"):
        load_data(options(dataset=tmp_path))


# --- Empty cells


HOLES = [("a", "x"), ("", "y"), ("b", " "), ("  ", ""), ("c", "y")]


def test_all_empty_cells_are_named_in_one_message(tmp_path):
    path = write_csv(tmp_path / "a.csv", HOLES)
    with pytest.raises(ValueError, match="--drop-empty leaves them out") as caught:
        load_data(options(train_file=path))
    assert f"{path}: empty text in 2 rows (2, 4), empty label in 2 rows (3, 4)" in str(caught.value)
    none = {"train": (["a", None, "b", "c"], ["x", "y", "x", "y"])}
    with pytest.raises(ValueError, match=r"dataset train: empty text in row 2;"):
        load_data(options(dataset=none))


def test_drop_empty_drops_and_counts(tmp_path, capsys):
    path = write_csv(tmp_path / "a.csv", HOLES)
    assert read(train_file=path, drop_empty=True) == [("a", "x"), ("c", "y")]
    assert "3 of 5 rows are left out" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no row has a label"):
        load_data(options(train_file=write_csv(path, HOLES[1:4]), drop_empty=True))


def test_rows_keep_their_numbers_where_others_are_left_out(tmp_path):
    rows = [("", "joy"), ("a", "-100"), ("b", "joy"), ("c", "love"), ("d", "hunger")]
    path = write_csv(tmp_path / "a.csv", rows)
    with pytest.raises(ValueError, match="label 'hunger' in row 5 is none of joy, love"):
        load_data(options(train_file=path, drop_empty=True), ["joy", "love"])
    odd = {"train": (["", "a", "b"], ["x", "y", 7])}
    with pytest.raises(ValueError, match=r"text in row 2 \('y'\) and a number in row 3 \(7\)"):
        load_data(options(dataset=odd, drop_empty=True))
    with pytest.raises(ValueError, match="the text in row 3 is 7, not a string"):
        load_data(options(dataset={"train": (["", "a", 7], list("xyz"))}, drop_empty=True))


# --- Labels


def test_strings_are_stripped_and_sorted_but_for_the_emotions(tmp_path):
    data = load_data(options(dataset=labelled("joy ", "anger", "\tsadness", " joy")))
    assert data.labels == ["sadness", "joy", "anger"]  # the official order
    assert data.splits["train"]["label"].tolist() == [1, 2, 0, 1]
    other = load_data(options(dataset=labelled("zebra", "\u0430\u043d\u0442", "ant")))
    assert other.labels == ["ant", "zebra", "\u0430\u043d\u0442"]


@pytest.mark.parametrize("kind", [int, float, str, np.int64])
def test_integers_are_ordered_as_integers(kind):
    data = load_data(options(dataset=labelled(*map(kind, [10, 2, -1, 0, 11, 9]))))
    assert data.labels == ["-1", "0", "2", "9", "10", "11"]
    assert data.splits["train"]["label"].tolist() == [4, 2, 0, 1, 5, 3]


def test_integers_in_a_text_file_are_ordered_as_integers(tmp_path):
    rows = [(f"text {n}", n % 12) for n in range(24)]
    data = load_data(options(train_file=write_csv(tmp_path / "a.csv", rows)))
    assert data.labels == [str(n) for n in range(12)]


def test_booleans_are_booleans(tmp_path):
    pd.DataFrame({"text": ["a", "b"], "label": [True, False]}).to_parquet(tmp_path / "a.parquet")
    assert read(train_file=tmp_path / "a.parquet") == [("a", "True"), ("b", "False")]


NO_CLASSES = {
    "list": (["a"], "a list: multi-label is not"),
    "array": (np.array([1, 0]), "a list: multi-label is not"),
    "real": (0.25, "a real number: regression is not"),
    "nan": (float("nan"), "a real number: regression is not"),
    "infinite": (float("inf"), "a real number"),
    "date": (datetime.date(2026, 1, 1), "a date or time"),
    "time stamp": (pd.Timestamp("2026-01-01"), "a date or time"),
    "bytes": (b"joy", "a bytes"),
    "object": ({"a": 1}, "a list"),
}


@pytest.mark.parametrize(("cell", "what"), NO_CLASSES.values(), ids=NO_CLASSES)
def test_what_is_no_class_is_refused_by_name(cell, what):
    with pytest.raises(ValueError, match=f"train.csv: label .* in row 2 is {what}"):
        to_names(["a", cell], "train.csv")


@pytest.mark.parametrize("cells", [["a", 1], [True, "a"], [True, 1], ["1", 2.0]])
def test_labels_of_several_types_are_refused_with_the_rows(cells):
    with pytest.raises(ValueError, match=r"in row 1 .* in row 2 .*write all labels alike"):
        to_names(cells, "train.csv")


def test_scores_in_a_text_file_are_no_classes(tmp_path):
    rows = [("a", "0.5"), ("b", "1"), ("c", "2.25")]
    with pytest.raises(ValueError, match=r"label '0\.5' in row 1 is a real number; regression"):
        load_data(options(train_file=write_csv(tmp_path / "a.csv", rows)))


def test_missing_numbers_are_refused_as_what_they_are(tmp_path):
    pd.DataFrame({"text": list("abc"), "label": [1, None, 2]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="empty label in row 2"):
        load_data(options(train_file=tmp_path / "a.parquet"))
    frame = pd.DataFrame({"text": list("abc"), "label": [1, float("nan"), 2]})
    with pytest.raises(ValueError, match="empty label in row 2"):  # pandas has made it a float
        load_data(options(dataset=frame))
    assert load_data(options(dataset=frame, drop_empty=True)).labels == ["1", "2"]
    frame = pd.DataFrame({"text": list("abc"), "label": [1.5, float("nan"), 2]})
    with pytest.raises(ValueError, match=r"label 1\.5 in row 1 is a real number"):
        load_data(options(dataset=frame))


def test_a_label_that_is_no_text_is_refused_with_its_row():
    with pytest.raises(ValueError, match="the label in row 2 holds a lone surrogate"):
        load_data(options(dataset=labelled("joy", "\ud83d", "joy")))


def test_a_data_set_and_a_file_are_not_both_read(tmp_path):
    path = write_csv(tmp_path / "a.csv")
    for given in ({"dataset": labelled("a", "b")}, {"dataset": tmp_path}):
        with pytest.raises(ValueError, match="--dataset and --test-file, not both"):
            load_data(options(test_file=path, **given))
    assert read(train_file=path, demo=True) == read(train_file=path)


def test_rows_labelled_minus_100_are_left_out_and_counted(tmp_path, capsys):
    expected = [("text 0", "0"), ("text 2", "1")]
    assert read(dataset=labelled(0, -100, 1)) == expected
    assert "dataset train: 1 row labelled -100 left out" in capsys.readouterr().err
    rows = [("a", "-100"), ("b", "joy"), ("c", "love"), ("d", "-100")]
    path = write_csv(tmp_path / "a.csv", rows)
    assert read(train_file=path) == [("b", "joy"), ("c", "love")]
    assert f"{path}: 2 rows labelled -100 left out" in capsys.readouterr().err


def test_minus_1_in_a_file_is_a_class_like_others(tmp_path):
    path = write_csv(tmp_path / "a.csv", [("a", 0), ("b", -1), ("c", 1)])
    assert load_data(options(train_file=path)).labels == ["-1", "0", "1"]


def test_a_trained_models_labels_fix_the_ids(tmp_path):
    names = ["anger", "sadness", "joy", "calm"]
    data = load_data(options(train_file=write_csv(tmp_path / "a.csv")), names)
    assert data.labels == names and data.splits["train"]["label"].tolist() == [2, 1, 0]


def test_labels_that_a_trained_model_does_not_know_are_refused(tmp_path):
    train = write_csv(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="'anger' in row 3 is none of joy, sadness; --new-head"):
        load_data(options(train_file=train), ["joy", "sadness"])
    with pytest.raises(ValueError, match="'joy' in row 1 is 'Joy' in another case; --new-head"):
        load_data(options(train_file=train), ["Joy", "sadness", "anger"])
    with pytest.raises(ValueError, match=r"is none of joy, sadness$"):
        load_data(ExploreOptions(train_file=str(train)), ["joy", "sadness"])


def test_a_label_that_training_has_not_seen_is_named_with_its_row(tmp_path):
    train = write_csv(tmp_path / "train.csv")
    evaluation = write_csv(tmp_path / "eval.csv", [("a", "joy"), ("b", "hunger")])
    with pytest.raises(ValueError, match=r"eval\.csv: label 'hunger' in row 2 is none of sadness"):
        load_data(options(train_file=train, eval_file=evaluation))


def test_one_class_is_refused(tmp_path):
    path = write_csv(tmp_path / "a.csv", [("x", "a"), ("y", "a")])
    with pytest.raises(ValueError, match="every label is 'a'"):
        load_data(options(train_file=path))


# --- Warnings


def warnings(capsys, texts, labels) -> list[str]:
    load_data(options(dataset={"train": (texts, labels)}))
    return capsys.readouterr().err.splitlines()


TEXTS = [f"text {i}" for i in range(40)]


def test_labels_that_look_like_one_are_reported(capsys):
    names = ["Praise", "praise", "blame", "blame"] * 10
    (line,) = warnings(capsys, TEXTS, names)
    assert "'Praise' and 'praise' differ in case alone" in line
    (line,) = warnings(capsys, TEXTS, ["1", "01", "1.0", "2"] * 10)
    assert "'01' and '1' and '1.0' are one number" in line


def test_more_classes_than_a_tenth_of_the_rows_are_warned_about(capsys):
    assert warnings(capsys, TEXTS, [str(i % 4) for i in range(40)]) == []
    (line,) = warnings(capsys, TEXTS, [str(i % 5) for i in range(40)])
    assert line.startswith("warning: ") and "5 classes in 40 rows" in line
    assert warnings(capsys, TEXTS[:19], TEXTS[:19]) == []  # too few rows to tell


def test_a_text_column_that_looks_like_labels_is_warned_about(capsys):
    labels = ["a", "b"] * 20
    assert warnings(capsys, [f"text {i % 5}" for i in range(40)], labels) == []
    (line,) = warnings(capsys, [f"text {i % 4}" for i in range(40)], labels)
    assert "only 4 different texts in 40 rows" in line and "--text-column" in line


# --- Held out


def classes_of(*counts: int) -> Data:
    labels = np.repeat(np.arange(len(counts)), counts)
    train = pd.DataFrame({"text": [f"text {i}" for i in range(len(labels))], "label": labels})
    test = pd.DataFrame({"text": ["t"], "label": [0]})
    return Data({"train": train, "test": test}, [f"c{i}" for i in range(len(counts))])


def test_a_tenth_of_each_class_is_held_out():
    data = classes_of(100, 25, 24, 14, 2, 1)
    held = hold_out(data, 0.1, seed=1)
    assert list(held.splits) == ["train", "validation", "test"]
    counts = held.splits["validation"]["label"].value_counts().sort_index()
    assert counts.to_dict() == {0: 10, 1: 3, 2: 2, 3: 1, 4: 1}
    both = pd.concat([held.splits["train"], held.splits["validation"]])
    assert sorted(both["text"]) == sorted(data.splits["train"]["text"])
    for split in ("train", "validation"):  # in their old order
        rows = held.splits[split]
        numbers = rows["text"].str.removeprefix("text ").astype(int)
        assert numbers.is_monotonic_increasing and rows.index.tolist() == list(range(len(rows)))


def test_what_is_held_out_follows_from_the_seed():
    def held(seed: int) -> list[str]:
        return hold_out(classes_of(50, 50), 0.1, seed).splits["validation"]["text"].tolist()

    assert held(1) == held(1) != held(2)


@pytest.mark.parametrize(("share", "n", "expected"), [(0.29, 50, 15), (0.25, 2, 1), (0.99, 3, 2)])
def test_shares_are_rounded_half_up_and_leave_a_row_in_train(share, n, expected):
    held = hold_out(classes_of(n, n), share, seed=0)
    assert len(held.splits["validation"]) == 2 * expected


def test_nothing_is_held_out_where_there_is_a_validation_split_or_the_share_is_0():
    data = classes_of(50, 50)
    assert hold_out(data, 0, seed=0) is data
    whole = data._replace(splits=data.splits | {"validation": data.splits["test"]})
    assert hold_out(whole, 0.1, seed=0) is whole
    assert list(hold_out(classes_of(1, 1), 0.1, seed=0).splits) == ["train", "test"]


def test_the_description_says_what_was_held_out():
    data = classes_of(50, 50)
    assert describe(data) == "100 train, 1 test texts, 2 labels"
    expected = "90 train, 10 validation, 1 test texts, 2 labels (validation: 0.1 of train"
    assert describe(hold_out(data, 0.1, seed=0)).startswith(expected)


# --- Data of the Hub, or passed as Python objects


FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})


def dataset(texts, labels) -> Dataset:
    return Dataset.from_dict({"text": texts, "label": labels}, features=FEATURES)


def test_data_may_be_passed_in_every_form():
    frame = pd.DataFrame({"Text": ["a", "b"], "label": ["pos", "neg"]})
    pair = (["a", "b"], ["pos", "neg"])
    forms = [frame, {"train": frame}, pair, {"train": pair}, dataset(["a", "b"], [1, 0])]
    forms += [
        DatasetDict(train=dataset(["a", "b"], [1, 0])),
        (pd.Series(pair[0]), np.array(pair[1])),
    ]
    for form in forms:
        assert read(dataset=form) == [("a", "pos"), ("b", "neg")]
    with pytest.raises(ValueError, match="2 texts, but 1 labels"):
        read(dataset=(["a", "b"], ["x"]))
    with pytest.raises(ValueError, match="a split is a DataFrame, a Dataset or"):
        read(dataset={"train": 7})


def test_a_class_label_gives_ids_their_order():
    names = ["zebra", "ant", "mole"]
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    data = load_data(options(dataset={"train": rows}))
    assert data.labels == names and data.splits["train"]["label"].tolist() == [1, 0]
    with pytest.raises(ValueError, match="label -1 in row 2 has no name; the data name 0 to 1"):
        load_data(options(dataset=dataset(["a", "b", "c"], [1, -1, 0])))


@pytest.mark.parametrize("name", ["validation", "valid", "dev", "validation_matched", "Val"])
def test_splits_of_the_hub_are_known_by_their_other_names(name):
    splits = {"train": dataset(["a", "b"], [1, 0]), name: dataset(["c"], [1])}
    assert sizes(load_data(options(dataset=DatasetDict(splits)))) == {"train": 2, "validation": 1}


def test_splits_that_nobody_labelled_are_left_out_and_said(capsys):
    splits = {
        "train": dataset(["a", "b"], [1, 0]),
        "test": dataset(["c", "d"], [-1, -1]),
        "unsupervised": dataset(["e"], [-1]),
        "validation_matched": dataset(["f"], [0]),
        "validation_mismatched": dataset(["g"], [0]),
    }
    data = load_data(options(dataset=DatasetDict(splits)))
    assert sizes(data) == {"train": 2, "validation": 1}
    line = capsys.readouterr().err
    for name in ("test", "unsupervised", "validation_mismatched"):
        assert name in line
    assert "validation_matched" not in line


@pytest.mark.hub
def test_the_hubs_emotion_set_is_the_pinned_one():
    data = load_data(FinetuneOptions())
    assert data.labels == EMOTION_LABELS
    assert data.splits["train"]["text"][0] == "i didnt feel humiliated"
    assert sizes(data) == {"train": 16_000, "validation": 2_000, "test": 2_000}

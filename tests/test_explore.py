"""explore counts what is there, finds what is wrong, and needs no weights for it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value

import train
from train.findings import typical_words
from train.report.page import majority
from train.runs import read_run


@pytest.fixture
def explore(command, tmp_path, tiny_model):
    """explore(flags...) -> (explore.json's tables, what was printed); the model folder holds a
    vocabulary and no weights."""
    model = tmp_path / "vocabulary"
    model.mkdir()
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(tiny_model / name, model)

    def tables(*flags: str) -> tuple[dict, str]:
        result = command("explore", "--model", str(model), *flags)
        assert result.status == 0, result.err
        text = (result.folder / "explore.json").read_text(encoding="utf-8")
        return json.loads(text)["tables"], result.out

    return tables


def write_csv(path: Path, *rows: tuple[str, str]) -> str:
    path.write_text("text,label\n" + "".join(f'"{t}",{label}\n' for t, label in rows))
    return str(path)


@pytest.fixture
def troubled(tmp_path) -> list[str]:
    """A little data with one of every trouble that the audit knows."""
    train = write_csv(
        tmp_path / "train.csv",
        ("good morning", "joy"),
        ("good morning", "joy"),  # a repeat
        ("so it goes", "joy"),
        ("so it goes", "sadness"),  # a repeat with another label
        ("\u200b", "joy"),  # a character that the tokenizer drops: nothing left
        ("one two three four five six seven", "joy"),  # over six tokens
        ("☃ ☃ snow", "sadness"),  # two words that the vocabulary lacks
    )
    # The same ids as a text of train has, though not the same letters.
    test = write_csv(tmp_path / "test.csv", ("Good  MORNING", "sadness"), ("good night", "joy"))
    return ["--train-file", train, "--test-file", test, "--max-length", "6"]


def test_the_audit_finds_every_planted_trouble(explore, troubled) -> None:
    tables, _ = explore(*troubled)
    train, test = tables["splits"]
    assert train["texts"] == 7 and test["texts"] == 2
    assert train["repeated texts"] == 2 and test["repeated texts"] == 0
    assert train["of them with other labels"] == 1
    assert train["without a token"] == 1
    assert train["over 6 tokens"] == 1 and train["longest, tokens"] == 9
    n_pieces = 2 + 2 + 3 + 3 + 0 + 7 + 3
    assert train["[UNK] share of tokens"] == pytest.approx(2 / n_pieces)
    assert tables["shared between splits"] == [
        {"split": "test", "shares with": "train", "texts": 1}
    ]
    assert tables["same text, different labels"] == [
        {"labels": "joy (train), joy (train), sadness (test)", "text": "good morning"},
        {"labels": "joy (train), sadness (train)", "text": "so it goes"},
    ]


def test_findings_come_first_each_with_its_count_and_rows(command, troubled) -> None:
    result = command("explore", "--model", "demo", *troubled, report=True)
    explored = json.loads((result.folder / "explore.json").read_text(encoding="utf-8"))
    found = {finding["kind"]: finding for finding in explored["findings"]}
    assert {kind: finding["count"] for kind, finding in found.items()} == {
        "leaks": 1,
        "conflicts": 2,
        "imbalance": 1,  # sadness: 2 texts, joy: 5
        "repeats": 2,
        "empty": 1,
        "over-long": 1,
        "unknown": 1,
    }
    assert found["leaks"]["rows"] == [
        {"split": "test", "label_name": "sadness", "text": "Good  MORNING", "first": "train"}
    ]
    assert [row["text"] for row in found["conflicts"]["rows"]].count("so it goes") == 2
    assert found["imbalance"]["rows"] == [
        {"label": "sadness", "texts": 2},
        {"label": "joy", "texts": 5},
    ]
    assert "2.5 times as many of joy as of sadness" in found["imbalance"]["words"]
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert page.index("data-finding") < page.index("<svg")
    for kind, finding in found.items():
        assert f'data-finding="{kind}" data-count="{finding["count"]}"' in page


def test_texts_of_the_same_token_ids_are_one_text(explore, tmp_path) -> None:
    train = write_csv(tmp_path / "train.csv", ("Good morning!", "joy"), ("hello", "sadness"))
    test = write_csv(tmp_path / "test.csv", ("good  morning !", "joy"))
    tables, out = explore("--train-file", train, "--test-file", test)
    assert tables["shared between splits"][0]["texts"] == 1
    assert "1 texts of a later split occur in an earlier one too" in out


@pytest.mark.filterwarnings("error:invalid value")
def test_a_split_without_a_single_token_has_no_share_of_unknown_ones(explore, tmp_path) -> None:
    """Characters that the tokenizer drops: 0 of 0 tokens are [UNK]."""
    train = write_csv(tmp_path / "train.csv", ("\u200b", "joy"), ("\u200c", "sadness"))
    tables, _ = explore("--train-file", train)
    assert tables["splits"][0]["[UNK] share of tokens"] == 0


def test_a_class_without_a_text_leaves_no_nan_in_explore_json(tmp_path, tiny_model) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b", "c"])})
    rows = Dataset.from_dict({"text": ["one", "two", "six"], "label": [0, 0, 1]}, features)
    folder = tmp_path / "run"
    train.run("explore", dataset={"train": rows}, model=tiny_model, output_dir=folder)
    text = (folder / "explore.json").read_text(encoding="utf-8")
    tables = json.loads(text, parse_constant=pytest.fail)["tables"]
    words = {row["label"]: row["mean"] for row in tables["words per text"]}
    assert words == {"a": 1, "b": 1, "c": None}


def test_typical_words_are_those_that_a_class_uses_more_than_the_others() -> None:
    texts = pd.DataFrame(
        {
            "text": ["the sun and the sea"] * 30 + ["the rain and the mud"] * 30 + ["zebra the"],
            "label": [0] * 30 + [1] * 30 + [0],
        }
    )
    found = typical_words(texts, ["glad", "sad"])
    assert {item["word"] for item in found["glad"]} == {"sun", "sea"}  # a single zebra is chance
    assert {item["word"] for item in found["sad"]} == {"rain", "mud"}
    # By hand, of "sun" (Monroe et al., equations 16, 18 and 22): 30 of 152 words, none of 150.
    n, prior = 302, 1000 * 30 / 302
    ours, theirs = 30 + prior, prior
    odds = np.log(ours / (152 + 1000 - ours)) - np.log(theirs / (150 + 1000 - theirs))
    z = odds / np.sqrt(1 / ours + 1 / theirs)
    assert n == 30 * 5 + 30 * 5 + 2
    assert found["glad"][0]["z"] == pytest.approx(z, abs=0.051)


def test_the_baseline_is_the_training_splits_commonest_label_in_every_split(
    explore, troubled
) -> None:
    train, test = explore(*troubled)[0]["splits"]
    assert train["majority baseline (joy)"] == pytest.approx(5 / 7)
    assert test["majority baseline (joy)"] == 1 / 2
    assert train["largest / smallest class"] == 5 / 2


def test_a_run_of_fine_tuning_has_a_tokenizer_too(command, finished, few_sentences) -> None:
    trained = finished("finetune", "--epochs", "1", "--save-steps", "5").folder
    explored = command("explore", "--model", str(trained))
    assert explored.status == 0, explored.err


def test_of_labels_equally_common_the_baseline_is_the_one_of_the_lowest_id(
    command, tmp_path
) -> None:
    """As in probe and finetune. 9 comes before 10, though "10" comes before "9"."""
    rows = "text,label\na,10\nb,9\nc,10\nd,9\n"
    (tmp_path / "a.csv").write_text(rows, encoding="utf-8")
    (tmp_path / "b.csv").write_text("text,label\ne,9\nf,9\ng,10\n", encoding="utf-8")
    files = ("--train-file", str(tmp_path / "a.csv"), "--test-file", str(tmp_path / "b.csv"))
    explored = command("explore", *files, report=True)
    assert "majority baseline (9)" in explored.out
    assert majority(read_run(explored.folder)) == ("9", pytest.approx(2 / 3))
    probed = command("probe", *files, "--eval-share", "0", to="probed")
    assert probed.metrics["test_baseline"] == pytest.approx(2 / 3)


def test_tables_reach_the_terminal_and_lengths_a_file(explore, troubled, tmp_path) -> None:
    _, printed = explore(*troubled)
    for title in ("Classes", "Splits", "Longest texts", "Shortest texts"):
        assert f"\n{title}\n" in printed
    lines = (tmp_path / "run" / "lengths.csv").read_text().splitlines()
    assert lines[0] == "split,label_name,words,tokens"
    assert lines[1] == "train,joy,2,4" and len(lines) == 1 + 9


def test_the_emotion_set_is_as_the_tutorial_and_its_audit_know_it(explore, emotion_folder) -> None:
    tables, _ = explore("--dataset", str(emotion_folder))
    assert [(row["id"], row["label"], row["train"]) for row in tables["classes"]] == [
        (0, "sadness", 4666),
        (1, "joy", 5362),
        (2, "love", 1304),
        (3, "anger", 2159),
        (4, "fear", 1937),
        (5, "surprise", 572),
    ]
    train, validation, _ = tables["splits"]
    assert validation["majority baseline (joy)"] == 0.352
    assert (train["repeated texts"], train["of them with other labels"]) == (31, 30)
    assert train["over 512 tokens"] == 0 and train["longest, tokens"] == 87
    assert max(row["max"] for row in tables["words per text"]) == 66
    in_train = {
        row["split"]: row["texts"]
        for row in tables["shared between splits"]
        if row["shares with"] == "train"
    }
    assert in_train == {"validation": 5, "test": 11}

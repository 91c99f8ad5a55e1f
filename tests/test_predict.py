"""predict answers each text in its order, whatever the number of texts."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest
import torch

import train.predict
from minibert import DistilBertForSequenceClassification
from tests import ROOT
from tokenizer import WordPieceTokenizer, tokenizer_json
from train.data import EMOTION_LABELS
from train.options import PredictOptions
from train.predict import print_answer, shorten

SCORES = {"sadness": 0.1, "joy": 0.7, "love": 0.2}


# Runs the command line, then tells the peak of its memory in KB.
MEASURED = """
import resource, sys
from train.__main__ import console
status = console()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


@pytest.fixture
def predict(command):
    """predict(arguments, stdin=bytes) -> the lines printed."""

    def lines(*given: str, stdin: bytes = b"") -> list[str]:
        result = command("predict", *given, stdin=stdin)
        assert result.status == 0, result.err
        return result.out.splitlines()

    return lines


def test_a_text_is_answered_with_its_likeliest_label(capsys) -> None:
    print_answer("what a day", SCORES, PredictOptions(model="x"))
    assert capsys.readouterr().out == "joy 0.700  what a day\n"


def test_all_labels_come_in_the_order_of_their_probability(capsys) -> None:
    print_answer("what a day", SCORES, PredictOptions(model="x", all=True))
    assert capsys.readouterr().out == "joy 0.700  love 0.200  sadness 0.100  what a day\n"


def test_below_the_threshold_there_is_no_label(capsys) -> None:
    for threshold, label in ((0.7, "joy"), (0.71, "(none)")):
        print_answer("what a day", SCORES, PredictOptions(model="x", threshold=threshold))
        assert capsys.readouterr().out == f"{label} 0.700  what a day\n"
    print_answer("x", SCORES, PredictOptions(model="x", threshold=0.71, json=True))
    assert json.loads(capsys.readouterr().out)["label"] == ""


def test_a_text_of_two_lines_is_answered_on_one(predict) -> None:
    (line,) = predict("one\ntwo\u2028three")
    assert line.endswith("  one\\ntwo\\u2028three")


def test_control_characters_are_shown_and_not_obeyed(predict) -> None:
    hostile = "a\x1b[2Jb\x9b31mc\rd\x07"
    (line,) = predict(hostile)
    assert line.endswith(r"a\x1b[2Jb\x9b31mc\rd\x07")
    (line,) = predict("--json", hostile)
    assert json.loads(line)["text"] == hostile
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in line)


def test_texts_of_the_command_line_are_answered_in_their_order(predict) -> None:
    lines = predict("i feel fine", "i feel so low about it all")
    assert [line.split("  ")[1] for line in lines] == ["i feel fine", "i feel so low about it all"]


def test_json_lines_hold_every_probability_with_all(predict) -> None:
    (line,) = predict("--json", "--all", "ça va ☃")
    answer = json.loads(line)
    assert answer["text"] == "ça va ☃" and "ça va ☃" in line
    assert list(answer["probabilities"]) == EMOTION_LABELS
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert answer["probability"] == max(answer["probabilities"].values())
    assert answer["probabilities"][answer["label"]] == answer["probability"]


def test_standard_input_is_read_as_utf8_in_any_locale_line_by_line(predict) -> None:
    lines = predict("--json", stdin="\ufeffsüß\r\n\nlast".encode())
    assert [json.loads(line)["text"] for line in lines] == ["süß", "", "last"]


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (b"fine\nlast\xff\n", "standard input, line 2: not UTF-8: byte 0xff"),
        ("fine\n".encode("utf-16"), "UTF-16"),
        ("fine\n".encode("utf-16-le"), "UTF-16"),
    ],
)
def test_input_that_is_no_utf8_is_refused_with_its_line(command, stdin, message) -> None:
    refused = command("predict", stdin=stdin)
    assert refused.status == 2 and message in refused.err and refused.out == ""


def test_a_file_among_the_texts_is_refused_with_a_hint(command, tmp_path) -> None:
    (tmp_path / "new.txt").write_text("fine\n")
    refused = command("predict", "fine", str(tmp_path / "new.txt"))
    assert refused.status == 2 and f"--file {tmp_path / 'new.txt'}" in refused.err


@pytest.mark.parametrize(
    "flags",
    [("--output", "x.csv"), ("--text-column", "t"), ("--separator", ";"), ("--overwrite",)],
)
def test_flags_of_tables_are_refused_without_a_table(command, flags) -> None:
    assert "needs --file" in command("predict", *flags, "fine").err


def test_the_folder_of_a_run_stands_for_its_model(command, finished) -> None:
    folder = finished("finetune", "--epochs", "1", "--save-steps", "5").folder
    answers = [
        command("predict", "--model", str(model), "fine").out
        for model in (folder, folder / "final")
    ]
    assert answers[0] == answers[1] != ""


def test_weights_that_are_not_numbers_are_refused(command, tiny_classifier, tmp_path) -> None:
    model = DistilBertForSequenceClassification.from_pretrained(tiny_classifier)
    with torch.no_grad():
        model.classifier.bias[1] = float("nan")
    shutil.copytree(tiny_classifier, tmp_path / "broken")
    model.save_pretrained(tmp_path / "broken")
    for name in ("predict", "evaluate"):
        refused = command(name, "--model", str(tmp_path / "broken"), stdin=b"fine\n")
        assert refused.status == 2 and "classifier.bias holds NaN or infinity" in refused.err


@pytest.mark.slow
def test_a_long_text_is_cut_where_its_tokens_stay_the_same() -> None:
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    random = np.random.default_rng(0)
    pieces = [
        "hello",
        "unaffable",
        "x" * 90,
        "y" * 5_000,
        "é",
        "中文",
        "!!",
        "don't",
        "[MASK]",
        "\t",
    ]
    for n_spaces in (1, 300):
        for limit in (3, 64, 512):
            words = [str(word) for word in random.choice(pieces, 500)]
            text = (" " * n_spaces).join(words) + "z" * 300_000
            short = shorten(text, limit, tokenizer)
            ids = [
                tokenizer(t, truncation=True, max_length=limit)["input_ids"] for t in (text, short)
            ]
            assert ids[0] == ids[1] and len(short) < len(text)


@pytest.mark.slow
def test_a_line_of_20_mb_takes_little_memory(tiny_classifier) -> None:
    """Not counting what the program takes anyway: three times the line at most."""
    words = [sys.executable, "-c", MEASURED, "predict", "--model", str(tiny_classifier)]
    peaks = []
    for n_words in (1, 4_000_000):
        done = subprocess.run(words, cwd=ROOT, input=b"word " * n_words, capture_output=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stderr.split()[-1]) * 1024)
    assert peaks[1] - peaks[0] < 5 * 20_000_000, peaks


def test_an_answer_does_not_depend_on_the_texts_around_it(predict, monkeypatch) -> None:
    texts = ["i feel fine", "no", "i was never so glad to be at home in my life", "oh well then"]
    alone = [predict("--json", "--all", text)[0] for text in texts]
    monkeypatch.setattr(train.predict, "CHUNK", 3)
    together = predict("--json", "--all", stdin="\n".join(texts).encode())
    for line, expected in zip(together, alone):
        actual, expected = json.loads(line), json.loads(expected)
        assert actual["text"] == expected["text"]
        assert actual["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)


def test_a_stream_is_read_on_only_when_all_that_was_read_is_answered(
    tiny_classifier, monkeypatch, capsys
) -> None:
    chunk, answered, read = 4, [], []

    def stream():
        for number in range(11):
            answered.extend(capsys.readouterr().out.splitlines())
            read.append((number, len(answered)))
            yield f"text number {number}"

    monkeypatch.setattr(train.predict, "CHUNK", chunk)
    monkeypatch.setattr(train.predict, "read_lines", stream)
    train.predict.run(PredictOptions(model=str(tiny_classifier), device="cpu"))
    assert read == [(number, number // chunk * chunk) for number in range(11)]


def test_many_texts_end_with_the_rate(tiny_classifier, monkeypatch, capsys) -> None:
    monkeypatch.setattr(train.predict, "read_lines", lambda: iter(["fine"] * 150))
    train.predict.run(PredictOptions(model=str(tiny_classifier), device="cpu"))
    assert "150 texts in " in capsys.readouterr().err


def test_a_folder_without_a_trained_classifier_is_refused(command, tiny_model) -> None:
    refused = command("predict", "--model", str(tiny_model), "hello")
    assert refused.status == 2 and "no trained classifier" in refused.err


@pytest.mark.slow
@pytest.mark.parametrize("source", ["lines", "table"])
def test_a_reader_that_goes_away_ends_predict_quietly(tiny_classifier, tmp_path, source) -> None:
    """As `predict ... | head -1` does."""
    (tmp_path / "in.csv").write_text("text\n" + "fine\n" * 3_000)
    words = [sys.executable, "-m", "train", "predict", "--model", str(tiny_classifier)]
    words += ["--file", str(tmp_path / "in.csv")] if source == "table" else []
    with (
        open(tmp_path / "in.csv", "rb") as stdin,
        subprocess.Popen(
            words, cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
    ):
        assert process.stdout.readline() and not process.stdout.close()
        error = process.stderr.read().decode()
    assert process.returncode == 0 and "Broken pipe" not in error and "Traceback" not in error


def test_a_text_that_utf8_cannot_write_is_refused(predict, command, tmp_path) -> None:
    refused = command("predict", "fine", "\udcff abc")
    assert refused.status == 2 and "text 2 holds a lone surrogate" in refused.err
    assert refused.out == ""
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": "\\ud83d"}\n', encoding="utf-8")
    for more in ([], ["--output", str(tmp_path / "o.jsonl")]):
        refused = command("predict", "--file", str(tmp_path / "a.jsonl"), *more)
        assert refused.status == 2 and "a.jsonl, row 2: text holds a lone surrogate" in refused.err


def test_no_texts_in_python_do_not_mean_standard_input(tiny_classifier) -> None:
    with pytest.raises(ValueError, match="texts is empty"):
        train.run("predict", model=str(tiny_classifier), texts=[])


def test_below_the_threshold_all_labels_have_no_answer_before_them(capsys) -> None:
    print_answer("a day", SCORES, PredictOptions(model="x", all=True, threshold=0.8))
    assert capsys.readouterr().out.startswith("(none)  joy 0.700  love 0.200")


@pytest.mark.parametrize(
    ("column", "output", "error"),
    [
        ([1.0, float("nan")], ".jsonl", "JSON cannot hold NaN"),
        ([1.0, float("inf")], ".jsonl", "JSON cannot hold NaN"),
        ([b"x", b"y"], ".jsonl", "JSON cannot hold"),
        ([b"x", b"y"], ".csv", "csv cannot hold a bytes, as column 'more' does"),
        ([[1, 2], [3]], ".csv", "csv cannot hold a list"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(command, tmp_path, column, output, error) -> None:
    # Not by pandas, which writes NaN as a missing cell.
    table = pyarrow.table({"text": ["a", "b"], "more": column})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    out = tmp_path / f"o{output}"
    refused = command("predict", "--file", str(tmp_path / "a.parquet"), "--output", str(out))
    assert refused.status == 2 and error in refused.err and not out.exists()
    out = out.with_suffix(".parquet")
    assert (
        command("predict", "--file", str(tmp_path / "a.parquet"), "--output", str(out)).status == 0
    )


@pytest.mark.parametrize("wish", ["left", "long words"])
def test_a_long_text_is_whole_for_a_tokenizer_that_needs_more_than_its_beginning(tmp_path, wish):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nbad\nz\n##z\n")
    if wish == "left":
        (tmp_path / "tokenizer_config.json").write_text('{"truncation_side": "left"}')
    tokenizer = WordPieceTokenizer.from_pretrained(tmp_path)
    if wish == "long words":  # which only a tokenizer.json can ask for
        saved = json.loads(tokenizer_json.source(tokenizer.rules, True))
        saved["model"]["max_input_chars_per_word"] = 1000
        (tmp_path / "tokenizer.json").write_text(json.dumps(saved), encoding="utf-8")
        tokenizer = WordPieceTokenizer.from_pretrained(tmp_path)
    text = "z" * 500 + " good" * 10_000 + " bad" * 100
    whole, short = (
        tokenizer(t, truncation=True, max_length=400)["input_ids"]
        for t in (text, shorten(text, 400, tokenizer))
    )
    assert whole == short

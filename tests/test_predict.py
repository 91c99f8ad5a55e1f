"""predict answers each text in its order, whatever the number of texts."""

import json

import pytest

import train.predict
from train.data import EMOTION_LABELS
from train.options import PredictOptions
from train.predict import format_prediction

SCORES = {"sadness": 0.1, "joy": 0.7, "love": 0.2}


@pytest.fixture
def predict(command):
    """predict(arguments, stdin=bytes) -> the lines printed."""

    def lines(*given: str, stdin: bytes = b"") -> list[str]:
        result = command("predict", *given, stdin=stdin)
        assert result.status == 0, result.err
        return result.out.splitlines()

    return lines


def test_a_text_is_answered_with_its_likeliest_label() -> None:
    line = format_prediction("what a day", SCORES, PredictOptions())
    assert line == "joy 0.700  what a day"


def test_all_labels_come_in_the_order_of_their_probability() -> None:
    line = format_prediction("what a day", SCORES, PredictOptions(all=True))
    assert line == "joy 0.700  love 0.200  sadness 0.100  what a day"


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
    lines = predict("--json", stdin="süß\r\n\nlast".encode() + b"\xff\n")
    assert [json.loads(line)["text"] for line in lines] == ["süß", "", "last\ufffd"]


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

"""evaluate measures any saved model, with the tutorial's names and its error analysis."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import train.evaluate
from train.__main__ import main
from train.data import EMOTION_LABELS


@pytest.fixture(scope="module", autouse=True)
def no_report():
    """test_report.py looks at those."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(train.evaluate, "write_report", lambda folder: None)
        yield


@pytest.fixture(scope="module")
def evaluated(tiny_classifier, few_sentences, tmp_path_factory):
    """The run folder of one evaluation of the test split."""
    folder = tmp_path_factory.mktemp("runs") / "evaluate"
    given = ["evaluate", "--model", str(tiny_classifier), "--dataset", str(few_sentences)]
    assert main([*given, "--device", "cpu", "--output-dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def predictions(evaluated) -> pd.DataFrame:
    return pd.read_csv(evaluated / "predictions.csv")


def test_the_metrics_have_the_tutorials_names(evaluated) -> None:
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert {
        "test_loss",
        "test_accuracy",
        "test_f1",
        "test_runtime",
        "test_samples_per_second",
        "test_steps_per_second",
    } <= metrics.keys()
    assert metrics["test_samples_per_second"] == pytest.approx(24 / metrics["test_runtime"])


def test_every_loss_and_label_is_what_the_tutorials_own_function_gives(
    predictions, tiny_classifier
) -> None:
    """`forward_pass_with_label` of the tutorial, with transformers, on the same folder."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_classifier)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_classifier)
    inputs = tokenizer(
        list(predictions["text"]), padding=True, truncation=True, max_length=64, return_tensors="pt"
    )
    labels = torch.tensor([EMOTION_LABELS.index(label) for label in predictions["label"]])
    with torch.no_grad():
        logits = model(inputs["input_ids"], inputs["attention_mask"]).logits
    loss = cross_entropy(logits, labels, reduction="none")
    np.testing.assert_allclose(predictions["loss"], loss, atol=1e-4)
    predicted = [EMOTION_LABELS[i] for i in logits.argmax(dim=-1)]
    assert list(predictions["predicted_label"]) == predicted
    assert len(set(predicted)) > 1  # or a constant answer would pass


def test_predictions_begin_with_the_highest_loss(predictions) -> None:
    assert len(predictions) == 24
    assert predictions["loss"].is_monotonic_decreasing
    assert predictions["loss"].iloc[0] > predictions["loss"].iloc[-1]
    likelihood = np.exp(-predictions["loss"])
    np.testing.assert_allclose(likelihood, predictions["label_probability"], atol=1e-5)


def test_the_ten_highest_and_lowest_losses_are_printed_with_their_rows(
    tiny_classifier, few_sentences, tmp_path, predictions, capsys
) -> None:
    given = ["evaluate", "--model", str(tiny_classifier), "--dataset", str(few_sentences)]
    assert main([*given, "--device", "cpu", "--output-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out

    def rows(title: str) -> list[int]:
        section = printed.split(f"{title}\n")[1].split("\n\n")[0]
        return [int(number) for number in re.findall(r"^(\d+) ", section, re.MULTILINE)]

    assert rows("Highest losses") == list(predictions["row"][:10])
    assert rows("Lowest losses") == list(predictions["row"][:-11:-1])
    assert "Labels that may be wrong: " in printed and "Calibration" in printed


def test_the_validation_split_is_measured_under_the_name_of_an_evaluation(
    tiny_classifier, few_sentences, tmp_path
) -> None:
    given = ["evaluate", "--model", str(tiny_classifier), "--dataset", str(few_sentences)]
    assert main([*given, "--split", "validation", "--output-dir", str(tmp_path)]) == 0
    assert "eval_accuracy" in json.loads((tmp_path / "metrics.json").read_text())


def test_a_split_that_is_not_there_is_named(tiny_classifier, few_sentences, tmp_path, capsys):
    file = str(few_sentences / "test.csv")
    given = ["evaluate", "--model", str(tiny_classifier), "--test-file", file]
    status = main([*given, "--split", "validation", "--output-dir", str(tmp_path / "run")])
    assert status == 2
    assert "--split validation: the data has only test" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_encoder_without_a_classifier_is_refused(tiny_model, few_sentences, tmp_path, capsys):
    given = ["evaluate", "--model", str(tiny_model), "--dataset", str(few_sentences)]
    assert main([*given, "--output-dir", str(tmp_path / "run")]) == 2
    assert "no trained classifier" in capsys.readouterr().err

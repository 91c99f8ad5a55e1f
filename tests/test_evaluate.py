"""evaluate measures any saved model, with the tutorial's names and its error analysis."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from train.data import EMOTION_LABELS


@pytest.fixture(scope="module")
def evaluated(finished):
    """The Result of one evaluation of the test split."""
    return finished("evaluate", "--precision", "fp32")  # as the references below


@pytest.fixture(scope="module")
def predictions(evaluated) -> pd.DataFrame:
    return pd.read_csv(evaluated.folder / "predictions.csv")


def test_the_metrics_have_the_tutorials_names(evaluated) -> None:
    metrics = evaluated.metrics
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
    evaluated, predictions
) -> None:
    def rows(title: str) -> list[int]:
        section = evaluated.out.split(f"{title}\n")[1].split("\n\n")[0]
        return [int(number) for number in re.findall(r"^(\d+) ", section, re.MULTILINE)]

    assert rows("Highest losses") == list(predictions["row"][:10])
    assert rows("Lowest losses") == list(predictions["row"][:-11:-1])
    assert "Confident mistakes" in evaluated.out and "Calibration" in evaluated.out


def test_the_validation_split_is_measured_under_the_name_of_an_evaluation(command) -> None:
    assert "eval_accuracy" in command("evaluate", "--split", "validation").metrics


def test_a_split_that_is_not_there_is_named(command, few_sentences):
    test_file = str(few_sentences / "test.csv")
    refused = command("evaluate", "--test-file", test_file, "--split", "validation")
    assert refused.status == 2
    assert "--split validation: the data has only test" in refused.err
    assert not refused.folder.exists()


def test_an_encoder_without_a_classifier_is_refused(command, tiny_model):
    refused = command("evaluate", "--model", str(tiny_model))
    assert refused.status == 2 and "no trained classifier" in refused.err

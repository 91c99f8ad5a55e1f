"""The figures mean what their names say."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from train.metrics import (
    baseline,
    calibration,
    calibration_error,
    confident_mistakes,
    example_losses,
    measure,
    one_class,
    per_class,
    softmax,
)

# Predicted 0, 1, 1, 2: the third text, of class 2, is mistaken for class 1.
LOGITS = np.array([[2.0, 1, 0], [0, 3, 1], [0, 1, 0.5], [0, 1, 4]], dtype=np.float32)
LABELS = np.array([0, 1, 2, 2])


def test_the_loss_is_pytorchs_cross_entropy() -> None:
    expected = cross_entropy(torch.tensor(LOGITS), torch.tensor(LABELS), reduction="none")
    np.testing.assert_allclose(example_losses(LOGITS, LABELS), expected, rtol=1e-6)
    assert measure(LOGITS, LABELS, "test")["test_loss"] == pytest.approx(float(expected.mean()))


def test_accuracy_and_both_f1_by_hand() -> None:
    # f1 of class 0: 1; of 1: precision 1/2, recall 1, so 2/3; of 2: precision 1, recall 1/2, 2/3.
    actual = measure(LOGITS, LABELS, "eval")
    assert actual["eval_accuracy"] == 3 / 4
    assert actual["eval_macro_f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert actual["eval_f1"] == pytest.approx(1 / 4 * 1 + 1 / 4 * 2 / 3 + 2 / 4 * 2 / 3)


def test_logits_far_from_zero_neither_overflow_nor_lose_their_loss() -> None:
    logits = np.array([[1e4, 0.0], [-1e4, 0.0]], dtype=np.float32)
    np.testing.assert_array_equal(softmax(logits), [[1, 0], [0, 1]])
    np.testing.assert_allclose(example_losses(logits, np.array([1, 1])), [1e4, 0])


def test_classes_stand_in_the_order_of_their_ids_even_where_they_are_missing() -> None:
    labels = pd.Series(["joy", "joy", "sadness"])
    table = per_class(labels, pd.Series(["joy", "sadness", "sadness"]), ["sadness", "joy", "love"])
    assert list(table["label"]) == ["sadness", "joy", "love"]
    assert list(table["precision"]) == [0.5, 1, 0]
    assert list(table["recall"]) == [1, 0.5, 0]
    assert list(table["texts"]) == [1, 2, 0]


def test_a_model_that_is_right_as_often_as_it_is_sure_has_no_calibration_error() -> None:
    confidence = np.array([0.75] * 4 + [0.5] * 2)
    correct = np.array([True, True, True, False, True, False])
    table = calibration(confidence, correct)
    assert list(table["texts"]) == [2, 4]
    assert calibration_error(table) == pytest.approx(0)


def test_the_calibration_error_is_the_mean_gap_over_all_texts() -> None:
    # Three texts at 0.9 of which one is right, one at 1.0 that is: gaps 0.9 - 1/3, and 0.
    table = calibration(np.array([0.9, 0.9, 0.9, 1.0]), np.array([True, False, False, True]))
    assert calibration_error(table) == pytest.approx(3 / 4 * (0.9 - 1 / 3))


def test_a_label_is_doubted_only_where_the_model_is_as_sure_of_another_as_it_usually_is() -> None:
    def row(text, label, label_probability, predicted, probability):
        return {
            "text": text,
            "label": label,
            "label_probability": label_probability,
            "predicted_label": predicted,
            "probability": probability,
        }

    predictions = pd.DataFrame(
        [
            row("plain joy", "joy", 0.8, "joy", 0.8),
            row("sure of joy", "sadness", 0.1, "joy", 0.9),
            row("surer of joy", "sadness", 0.02, "joy", 0.98),
            row("hardly joy", "sadness", 0.3, "joy", 0.4),  # joy is given at 0.8 on average
        ]
    )
    assert list(confident_mistakes(predictions)["text"]) == ["surer of joy", "sure of joy"]


def test_a_model_without_mistakes_doubts_nothing() -> None:
    right = {"label": ["joy"], "predicted_label": ["joy"]}
    table = pd.DataFrame(right | {"probability": [0.9], "label_probability": [0.9]})
    assert len(confident_mistakes(table)) == 0


def test_a_classifier_of_one_answer_is_called_so_split_by_split() -> None:
    rows = [("validation", "joy", "joy"), ("validation", "fear", "joy")]
    rows += [("test", "joy", "joy"), ("test", "fear", "fear"), ("train", "joy", "joy")]
    table = pd.DataFrame(rows, columns=["split", "label", "predicted_label"])
    (line,) = one_class(table)
    assert line.startswith("every text of validation is called 'joy'")


def test_the_baseline_answers_the_majority_of_the_training_split() -> None:
    assert baseline(np.array([0, 1, 1]), np.array([0, 0, 0, 1])) == 0.25

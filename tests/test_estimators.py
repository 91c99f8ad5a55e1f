"""TextClassifier and TextEncoder keep scikit-learn's rules, and give what the commands give."""

import json
import os
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from safetensors.numpy import load_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

import train
from train import TextClassifier, TextEncoder

# The checks of scikit-learn that feed no numbers to fit; all others do, or ask for a 2-D X.
CHECKS = [
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimators_unfitted",
    "check_mixin_order",
    "check_valid_tag_types",
]


@pytest.fixture(scope="module")
def rows(few_sentences) -> pd.DataFrame:
    return pd.read_csv(few_sentences / "train.csv")


@pytest.fixture(scope="module")
def settings(tiny_model) -> dict:
    return {
        "model": str(tiny_model),
        "epochs": 2,
        "lr": 1e-2,
        "batch_size": 8,
        "random_state": 7,
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def fitted(rows, settings) -> TextClassifier:
    return TextClassifier(**settings).fit(rows["text"], rows["label"])


@pytest.mark.parametrize(
    "estimator", [TextClassifier(), TextEncoder()], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize("name", CHECKS)
def test_scikit_learns_own_checks_pass(name, estimator) -> None:
    getattr(estimator_checks, name)(type(estimator).__name__, estimator)


def test_it_is_what_the_command_makes_of_the_same_texts_and_options(
    rows, settings, tmp_path
) -> None:
    labels = "my " + rows["label"]  # no known names, so that both have them in sorted order
    ours = TextClassifier(**settings).fit(rows["text"], labels)
    given = {k: v for k, v in settings.items() if k != "random_state"} | {"seed": 7}
    data = {"train": (list(rows["text"]), list(labels))}
    folder = str(tmp_path / "run")
    result = train.run("finetune", dataset=data, eval_share=0, output_dir=folder, **given)
    theirs = TextClassifier.load(result.folder / "final", device="cpu")
    assert list(ours.classes_) == list(theirs.classes_)
    np.testing.assert_array_equal(
        ours.predict_proba(rows["text"]), theirs.predict_proba(rows["text"])
    )


def test_the_same_seed_gives_the_same_and_another_does_not(fitted, rows, settings) -> None:
    again = clone(fitted).fit(list(rows["text"]), rows["label"].to_numpy())
    np.testing.assert_array_equal(
        again.predict_proba(rows["text"]), fitted.predict_proba(rows["text"])
    )
    other = TextClassifier(**settings | {"random_state": 8}).fit(rows["text"], rows["label"])
    assert (other.predict_proba(rows["text"]) != fitted.predict_proba(rows["text"])).any()


def test_it_learns_and_its_probabilities_are_some(fitted, rows, settings) -> None:
    probabilities = fitted.predict_proba(rows["text"])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert list(fitted.classes_) == sorted(set(rows["label"]))
    majority = rows["label"].value_counts(normalize=True).iloc[0]
    longer = TextClassifier(**settings | {"epochs": 20}).fit(rows["text"], rows["label"])
    assert longer.score(rows["text"], rows["label"]) > 2 * majority
    best = fitted.classes_[probabilities.argmax(axis=1)]
    assert list(fitted.predict(rows["text"])) == list(best)


def test_copies_pickled_and_saved_ones_answer_alike(fitted, rows, tmp_path) -> None:
    expected = fitted.predict_proba(rows["text"])
    fitted.save(tmp_path / "final")
    loaded = TextClassifier.load(tmp_path / "final", device="cpu")
    for other in (pickle.loads(pickle.dumps(fitted)), loaded):
        np.testing.assert_array_equal(other.predict_proba(rows["text"]), expected)
        assert list(other.classes_) == list(fitted.classes_)
    assert transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "final"
    ).config.id2label == dict(enumerate(fitted.classes_))


@pytest.mark.parametrize(
    "labels",
    [
        [3, 1, 2],
        [True, False, True],
        [2.0, 0.0, 0.0],
        ["b", "a", "b"],
        np.array([7, 7, 9], np.int8),
    ],
    ids=["int", "bool", "float", "str", "int8"],
)
def test_labels_come_back_as_they_were_given(labels, settings, tmp_path) -> None:
    labels = np.array(labels)
    model = TextClassifier(**settings | {"epochs": 1}).fit(["good day", "bad day", "so so"], labels)
    predicted = model.predict(["a day"])
    assert predicted.dtype == labels.dtype and predicted[0] in labels
    model.save(tmp_path / "m")
    again = TextClassifier.load(tmp_path / "m", device="cpu").predict(["a day"])
    assert type(again.tolist()[0]) is type(predicted.tolist()[0]) and again[0] == predicted[0]


def test_grid_search_cross_validation_and_pipelines_run(rows, settings, tiny_model) -> None:
    classifier = TextClassifier(**settings | {"epochs": 1})
    search = GridSearchCV(classifier, {"lr": [1e-4, 1e-2]}, cv=2).fit(rows["text"], rows["label"])
    assert search.best_params_["lr"] in (1e-4, 1e-2) and len(search.cv_results_["params"]) == 2
    scores = cross_val_score(classifier, list(rows["text"]), list(rows["label"]), cv=2)
    assert scores.shape == (2,) and np.isfinite(scores).all()
    encoder = TextEncoder(str(tiny_model), pooling="mean", device="cpu")
    probe = make_pipeline(encoder, StandardScaler(), LogisticRegression(max_iter=500))
    assert probe.fit(rows["text"], rows["label"]).score(rows["text"], rows["label"]) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_features_are_those_of_the_probe(
    rows, few_sentences, tiny_model, tmp_path, pooling
) -> None:

    file = tmp_path / "features.safetensors"
    train.run(
        "probe",
        model=str(tiny_model),
        dataset=str(few_sentences),
        pooling=pooling,
        features=str(file),
        output_dir=str(tmp_path / "probe"),
        device="cpu",
    )
    encoder = TextEncoder(str(tiny_model), pooling=pooling, device="cpu").fit(rows["text"])
    features = encoder.transform(rows["text"])
    np.testing.assert_allclose(features, load_file(file)["train"], atol=1e-6)
    assert features.shape == (len(rows), encoder.n_features_out_)


def test_balanced_classes_and_frozen_layers_change_the_result(fitted, rows, settings) -> None:
    expected = fitted.predict_proba(rows["text"])
    for change in ({"class_weight": "balanced"}, {"train_layers": 0}, {"schedule": "constant"}):
        other = TextClassifier(**settings | change).fit(rows["text"], rows["label"])
        assert (other.predict_proba(rows["text"]) != expected).any(), change


@pytest.mark.parametrize(
    ("texts", "labels", "error"),
    [
        ("a bare string", ["a"], "list of texts"),
        (["good", None, "bad"], [0, 1, 0], r"X\[1\] must be a str, not NoneType"),
        (["good", float("nan")], [0, 1], r"X\[1\] must be a str, not float"),
        (["good", "bad"], [1, 1], "every label is"),
        (["good", "bad"], [1, 0, 1], "2 texts, but 3 labels"),
        (["good", "bad", "so"], [1.0, 2.0, float("nan")], r"y\[2\] is missing"),
        (["good", "bad", "so"], ["a", None, "b"], r"y\[1\] is missing"),
        (["good", "bad"], [1, "1"], r"y\[1\] a str: give labels of one type"),
        (["good", "bad"], [True, 0], r"y\[1\] a int: give labels of one type"),
        (["good", "bad"], [2.5, 1.0], r"y\[0\] is a real number"),
        ({"good", "bad"}, [0, 1], "not a set"),
        ({"good": 0, "bad": 1}, [0, 1], "not a dict"),
        ([], [], "no texts"),
        (np.array([["good"], ["bad"]]), [0, 1], "one dimension"),
        (["good", ""], [0, 1], r"X\[1\] is empty"),
        (["good", "bad", " \t"], [0, 1, 1], r"X\[2\] is empty"),
        (["good", "\ud83d"], [0, 1], r"X\[1\] holds a lone surrogate"),
        (["good", "bad"], ["a", "b\udc00"], r"y\[1\] holds a lone surrogate"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(texts, labels, error, settings) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        TextClassifier(**settings).fit(texts, labels)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"precision": "fp99"},
        {"class_weight": "odd"},
        {"class_weight": {}},
        {"weight_decay": -1},
        {"random_state": -1},
        {"warmup_steps": 99},
        {"train_layers": 99},
        {"lr": 1e30},
    ],
    ids=str,
)
def test_refusals_name_the_parameter(settings, wrong) -> None:
    name = next(iter(wrong))
    with pytest.raises((ValueError, ArithmeticError), match=rf"\b{name}\b") as caught:
        TextClassifier(**settings | wrong).fit(["good", "bad"], [0, 1])
    assert "--" not in str(caught.value)


def test_an_encoder_and_a_fitted_one_name_parameters_too(fitted, tiny_model) -> None:
    with pytest.raises(ValueError, match=r"^max_length: 1 is below 3"):
        TextEncoder(str(tiny_model), max_length=1).fit(["a text"])
    other = clone(fitted).set_params(device="mps")
    with pytest.raises(ValueError, match=r"^device mps: .*; use device cpu or auto"):
        other.fit(["good", "bad"], [0, 1])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pd.Series([True, False, True], dtype="boolean"), [False, True]),
        (pd.Series([2, 1, 2], dtype="Int64"), [1, 2]),
        ([2**63, -1, 2**63 + 1], [-1, 2**63, 2**63 + 1]),
        (["a", "a\0", "a"], ["a", "a\0"]),
    ],
    ids=["boolean", "Int64", "over 64 bits", "NUL"],
)
def test_no_label_is_turned_into_another(labels, classes, settings) -> None:
    model = TextClassifier(**settings | {"epochs": 1}).fit(["good", "bad", "so"], labels)
    assert model.classes_.tolist() == classes
    assert [type(label) for label in model.classes_.tolist()] == [type(label) for label in classes]


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"lr": 1e38}], ids=str)
def test_a_fit_that_fails_leaves_what_was_fitted_before(settings, wrong) -> None:
    texts = ["good", "bad", "so", "no"]
    model = TextClassifier(**settings).fit(texts, ["joy", "anger", "joy", "anger"])
    before = model.predict_proba(texts)
    with pytest.raises((ValueError, ArithmeticError)):
        model.set_params(**wrong).fit(texts, ["p", "q", "p", "q"])
    assert model.classes_.tolist() == ["anger", "joy"]
    np.testing.assert_array_equal(model.predict_proba(texts), before)


def test_parameters_are_checked_where_they_are_used(fitted, tiny_model, tmp_path) -> None:
    fitted.save(tmp_path / "m")
    for wrong, error in (({"precision": "int4"}, "int4"), ({"max_length": 2}, "2 is below 3")):
        changed = TextClassifier.load(tmp_path / "m", device="cpu").set_params(**wrong)
        with pytest.raises(ValueError, match=error):
            changed.predict(["a text"])
    with pytest.raises(ValueError, match="max_length"):
        TextClassifier.load(tmp_path / "m", device="cpu", max_length="x")
    encoder = TextEncoder(str(tiny_model)).fit(["a text"]).set_params(pooling="max")
    with pytest.raises(ValueError, match="pooling='max': choose 'cls' or 'mean'"):
        encoder.transform(["a text"])


def test_random_numbers_of_the_process_are_as_before(fitted, rows, tiny_model, tmp_path) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    clone(fitted).fit(rows["text"], rows["label"])
    fitted.predict(rows["text"])
    fitted.save(tmp_path)
    TextClassifier.load(tmp_path, device="cpu")
    TextEncoder(str(tiny_model), device="cpu").fit(rows["text"]).transform(["a text"])
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == legacy).all()


def test_parameters_are_saved_and_given_ones_win(rows, settings, tmp_path) -> None:
    given = settings | {"epochs": np.int64(1), "lr": np.float32(0.5**7), "class_weight": "balanced"}
    model = TextClassifier(**given, schedule="cosine").fit(rows["text"], rows["label"])
    model.save(tmp_path)
    loaded = TextClassifier.load(tmp_path, batch_size=4)
    expected = model.get_params() | {"batch_size": 4, "device": "auto"}
    assert loaded.get_params() == expected
    (tmp_path / "parameters.json").write_text("[1")
    with pytest.raises(ValueError, match=r"parameters.json is corrupt"):
        TextClassifier.load(tmp_path)
    (tmp_path / "parameters.json").unlink()  # as a run's final/ is
    assert (
        TextClassifier.load(tmp_path, device="cpu").get_params()
        == TextClassifier(model=str(tmp_path), device="cpu").get_params()
    )


def test_fit_prints_nothing_and_leaves_nothing(
    settings, rows, tmp_path, monkeypatch, capfd
) -> None:
    monkeypatch.chdir(tmp_path)
    model = TextClassifier(**settings | {"epochs": 1}).fit(rows["text"], rows["label"])
    with pytest.raises(TypeError, match="list of texts"):
        model.predict("a bare string")
    captured = capfd.readouterr()
    assert captured.out == captured.err == "" and os.listdir(tmp_path) == []
    model.save(tmp_path / "final")
    assert json.loads((tmp_path / "final" / "classes.json").read_text()) == list(model.classes_)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "save"])
def test_one_that_is_not_fitted_says_so(method, tmp_path) -> None:
    with pytest.raises(NotFittedError):
        getattr(TextClassifier(), method)(tmp_path if method == "save" else ["a text"])
    with pytest.raises(NotFittedError):
        TextEncoder().transform(["a text"])


@pytest.mark.parametrize(
    ("written", "error"), [("{oops", "corrupt"), ('["x"]', "agree"), ("3", "agree")]
)
def test_classes_of_another_model_are_refused(fitted, tmp_path, written, error) -> None:
    fitted.save(tmp_path / "m")
    (tmp_path / "m" / "classes.json").write_text(written)
    with pytest.raises(ValueError, match=error):
        TextClassifier.load(tmp_path / "m", device="cpu")


def test_labels_that_cannot_be_saved_leave_no_half_folder(settings, tmp_path) -> None:
    days = np.array(["2020-01-01", "2021-01-01"], "datetime64[D]")
    model = TextClassifier(**settings | {"epochs": 1}).fit(["good", "bad"], days)
    with pytest.raises(TypeError, match="date"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_balanced_weights_help_the_rare_class_and_the_model_is_in_eval_mode(settings) -> None:
    texts, labels = ["a day"] * 10, [0] * 9 + [1]
    rare = {}
    for weight in (None, "balanced"):
        model = TextClassifier(**settings | {"class_weight": weight}).fit(texts, labels)
        assert not any(part.training for part in model.model_.modules())
        rare[weight] = model.predict_proba(["a day"])[0, 1]
    assert rare["balanced"] > rare[None]

"""probe: features of a frozen encoder, a convex classifier on them, and both for every layer."""

import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import train.features
import train.probe
from minibert import DistilBertModel
from tokenizer import WordPieceTokenizer
from train.batches import Encoded
from train.device import choose_precision
from train.forward import POOLINGS, extract_features, extract_layers
from train.probe import fit_classifier, flat_map, log_probabilities, suspects
from train.runs import read_csv, write_text


@pytest.fixture
def probe(command):
    """probe(flags..., to="name") -> the Result of probing a tiny model."""
    return partial(command, "probe")


@pytest.fixture
def no_forward_pass(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("features were computed, though they are in the file")

    monkeypatch.setattr(train.features, "extract_features", fail)
    monkeypatch.setattr(train.features, "extract_layers", fail)


def blobs(n_texts: int, n_classes: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds on axes of very different scale, as hidden states are."""
    random = np.random.default_rng(seed)
    labels = random.integers(n_classes, size=n_texts)
    centres = np.random.default_rng(99).normal(size=(n_classes, dim))
    points = centres[labels] + 2 * random.normal(size=(n_texts, dim))
    return (points * np.geomspace(0.01, 10, dim)).astype(np.float32), labels


def test_every_split_has_its_baseline_accuracy_and_both_f1(finished) -> None:
    _, _, out, _, metrics = finished("probe")
    assert metrics["converged"] is True and "converged after" in out
    for split in ("train", "eval", "test"):
        names = {f"{split}_{name}" for name in ("baseline", "accuracy", "f1", "macro_f1", "loss")}
        assert names <= metrics.keys()


def test_the_pooled_vectors_are_the_hidden_states_of_each_layer(tiny_model) -> None:
    model = DistilBertModel.from_pretrained(tiny_model)
    tokenizer = WordPieceTokenizer.from_pretrained(tiny_model)
    texts = ["a much longer text than the others are", "short", "one of four words"]
    data = Encoded(tokenizer(texts)["input_ids"])
    precision = choose_precision("cpu", "fp32")
    layers = extract_layers(model, data, precision)
    assert layers.shape == (3, 3, len(POOLINGS), 16)
    for row, text in enumerate(texts):
        ids = torch.tensor(tokenizer([text])["input_ids"])
        with torch.inference_mode():
            states = model(ids, output_hidden_states=True).hidden_states
        for layer, hidden in enumerate(states):
            np.testing.assert_allclose(layers[row, layer, 0], hidden[0, 0], atol=1e-5)
            np.testing.assert_allclose(layers[row, layer, 1], hidden[0].mean(dim=0), atol=1e-5)
    for place, pooling in enumerate(POOLINGS):
        last = extract_features(model, data, precision, pooling)
        np.testing.assert_allclose(last, layers[:, -1, place], atol=1e-5)


def test_all_layers_are_probed_in_both_poolings_and_agree_with_the_last_one_alone(
    finished,
) -> None:
    metrics = finished("probe", "--layers", "all", "--pooling", "mean").metrics
    last = finished("probe", "--pooling", "mean").metrics
    assert [(r["layer"], r["pooling"]) for r in metrics["layers"]] == [
        (layer, pooling) for layer in range(3) for pooling in ("cls", "mean")
    ]
    assert metrics["layers"][-1]["eval_accuracy"] == last["eval_accuracy"]
    assert metrics["eval_accuracy"] == last["eval_accuracy"]


def test_the_first_token_knows_nothing_before_the_first_layer(finished) -> None:
    """[CLS] at place 0 is the same vector in every text, until attention mixes the others in."""
    metrics = finished("probe", "--layers", "all", "--pooling", "mean").metrics
    assert metrics["layers"][0]["train_accuracy"] == metrics["train_baseline"]


@pytest.mark.parametrize("layers", ["last", "all"])
def test_features_are_kept_and_taken_again(probe, tmp_path, layers, request) -> None:
    file = str(tmp_path / "kept" / "features.safetensors")
    computed = probe("--features", file, "--layers", layers)
    assert "features kept in" in computed.out
    request.getfixturevalue("no_forward_pass")
    reused = probe("--features", file, "--layers", layers, to="again")
    assert reused.status == 0 and "features from" in reused.out
    assert reused.metrics == computed.metrics


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--pooling", "mean"], "pooling"),
        (["--layers", "all"], "layers, pooling"),
        (["--max-length", "5"], "train texts, validation texts, test texts"),
        (["--precision", "fp16"], "precision"),
    ],
    ids=["pooling", "layers", "texts", "precision"],
)
def test_features_of_something_else_are_refused_by_name(probe, tmp_path, flags, named) -> None:
    file = str(tmp_path / "features.safetensors")
    probe("--features", file)
    refused = probe("--features", file, *flags, to="other")
    assert refused.status == 2 and f"made with another {named};" in refused.err


def test_features_of_another_model_are_refused(probe, tmp_path, tiny_classifier) -> None:
    file = str(tmp_path / "features.safetensors")
    probe("--features", file)
    refused = probe("--features", file, "--model", str(tiny_classifier), to="other")
    assert refused.status == 2 and "made with another model;" in refused.err


def test_a_file_that_holds_no_features_is_named(probe, tmp_path) -> None:
    file = tmp_path / "features.safetensors"
    write_text(file, "not a tensor in here")
    refused = probe("--features", str(file))
    assert refused.status == 2 and f"--features {file} cannot be read" in refused.err


def test_the_classifier_is_as_good_as_the_fully_converged_one() -> None:
    features, labels = blobs(2_000, 6, 32)
    test_features, test_labels = blobs(2_000, 6, 32, seed=1)
    classifier, iterations, converged = fit_classifier(features, labels)
    assert converged and iterations < train.probe.MAX_ITERATIONS
    scaler = StandardScaler().fit(features.astype(np.float64))
    exact = LogisticRegression(max_iter=100_000, tol=1e-10).fit(scaler.transform(features), labels)
    expected = exact.score(scaler.transform(test_features), test_labels)
    assert 0.3 < expected < 0.95
    assert classifier.score(test_features, test_labels) == pytest.approx(expected, abs=0.003)


def test_a_fit_that_is_cut_short_is_said_not_to_have_converged(probe, monkeypatch) -> None:
    monkeypatch.setattr(train.probe, "MAX_ITERATIONS", 2)
    cut = probe()
    assert cut.metrics["converged"] is False
    assert "did NOT converge after 2 iterations" in cut.out


def test_a_label_that_training_never_saw_gets_no_probability_but_a_finite_loss() -> None:
    features, labels = blobs(200, 2, 4)
    classifier, _, _ = fit_classifier(features, 2 * labels)  # labels 0 and 2 of three
    scores = log_probabilities(classifier, features, 3)
    assert (scores.argmax(axis=1) != 1).all() and np.isfinite(scores).all()
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-6)


def test_without_umap_the_map_is_made_by_pca_and_says_so(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)  # as if it were not installed
    features, _ = blobs(100, 3, 8)
    points, method = flat_map(features, umap=True, seed=0)
    assert points.shape == (100, 2) and method.startswith("PCA, ")
    assert "pip install umap-learn" in capsys.readouterr().out


@pytest.mark.slow  # umap compiles its code when it is first used
def test_umap_keeps_directions_together_as_the_tutorials_cosine_distance_does() -> None:
    """Two rays close to each other: near the origin, the nearest texts are on the other ray, but
    never by their angle. A last feature, large and always the same, must not count."""
    random = np.random.default_rng(0)
    labels = random.integers(2, size=120)
    angles, lengths = np.deg2rad(np.where(labels, 38, 52)), random.uniform(0.02, 1, size=120)
    rays = lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    features = np.hstack([rays, np.full((120, 1), 1e6)]).astype(np.float32)
    points, method = flat_map(features, umap=True, seed=7)
    assert points.shape == (120, 2) and method == "UMAP, cosine distance"
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.97
    assert np.ptp(points, axis=0).min() > 1
    again, _ = flat_map(features, umap=True, seed=7)
    np.testing.assert_array_equal(again, points)


def test_planted_wrong_labels_are_among_the_first_ten_suspects() -> None:
    """400 texts of three classes, five labels flipped, over several draws."""
    for seed in range(4):
        features, labels = blobs(400, 3, 64, seed)
        random = np.random.default_rng(seed)
        flipped = random.choice(400, 5, replace=False)
        labels[flipped] = (labels[flipped] + random.integers(1, 3, 5)) % 3
        rows = pd.DataFrame({"text": [f"text {n}" for n in range(400)], "label": labels})
        table = suspects(features, rows, ["a", "b", "c"], seed=1)
        assert set(flipped) <= set(table["row"].head(10))
        first = table.iloc[0]
        assert first["text"] == f"text {first['row']}" and first["label"] != first["likelier_label"]
        assert table["label_probability"].is_monotonic_increasing


def test_suspects_reach_terminal_and_file(probe) -> None:
    result = probe()
    table = read_csv(result.folder / "suspects.csv", row=int, label_probability=float)
    assert list(table) == ["row", "text", "label", "label_probability", "likelier_label"]
    assert "Labels likeliest to be wrong" in result.out and len(table) > 10


def test_a_class_of_one_text_is_no_suspect() -> None:
    features, labels = blobs(60, 2, 16)
    labels[7] = 2
    rows = pd.DataFrame({"text": ["text"] * 60, "label": labels})
    assert 7 not in set(suspects(features, rows, ["a", "b", "c"], seed=1)["row"])


@pytest.mark.parametrize("labels", ["ab", "aab", "abb", "abc", "aabc"])
def test_a_handful_of_texts_is_probed_and_no_figure_is_made_up(probe, tmp_path, labels) -> None:
    """Folds that hold one class alone fit nothing, and as many classes as texts have no plane."""
    path = tmp_path / "few.csv"
    path.write_text("text,label\n" + "".join(f"text {n},{c}\n" for n, c in enumerate(labels)))
    result = probe("--train-file", str(path), "--eval-file", str(path))
    assert result.status == 0, result.err
    assert "cross-validated accuracy" not in result.out and "nan" not in result.out
    single = {label for label in labels if labels.count(label) == 1}
    table = read_csv(result.folder / "suspects.csv")
    assert not single & set(table["label"]) and "" not in set(table["label_probability"])
    assert len(read_csv(result.folder / "map.csv")) == len(labels)


def test_probing_needs_a_training_split(probe, few_sentences) -> None:
    refused = probe("--test-file", str(few_sentences / "test.csv"))
    assert refused.status == 2 and "--train-file" in refused.err

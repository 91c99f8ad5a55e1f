"""python -m train probe: how much of the answer is already in the frozen hidden states?"""

import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from threadpoolctl import threadpool_limits  # comes with scikit-learn

from minibert import DistilBertModel
from tokenizer import WordPieceTokenizer
from train.data import Data, describe, encode, load_data
from train.device import choose_precision, current_processes
from train.features import get_features
from train.forward import POOLINGS
from train.metrics import PREFIX, measure
from train.options import ProbeOptions
from train.progress import Progress
from train.report import write_report
from train.runs import Run, write_text

MAX_ITERATIONS = 1_000


def run(options: ProbeOptions) -> None:
    """Features, majority baseline, logistic regression, metrics, map."""
    run = Run("probe", options)
    processes = current_processes()
    precision = choose_precision(options.device, options.precision)
    data = load_data(options)
    if "train" not in data.splits:
        raise ValueError("probing needs a training split; name one with --train-file")
    tokenizer = WordPieceTokenizer.from_pretrained(options.model)
    model = DistilBertModel.from_pretrained(options.model).to(precision.device)
    model.check_inputs = False  # `encode` checks
    print(f"{options.model} on {describe(data)}; {precision}")
    encoded = {
        split: encode(rows, tokenizer, model.config, options.max_length, precision.device)
        for split, rows in data.splits.items()
    }
    start = time.perf_counter()
    features = get_features(model, encoded, options, precision, processes)
    if not processes.is_main:
        return
    seconds = time.perf_counter() - start
    count = sum(map(len, features.values()))
    print(f"features of {count} texts in {seconds:.1f} s, {count / seconds:.0f} per second")
    run.open(labels=data.labels)
    look(run, options, data, features)
    write_report(run.folder)
    print(f"run folder: {run.folder} ({run.seconds:.0f} s)")


def look(run: Run, options: ProbeOptions, data: Data, features: dict[str, np.ndarray]) -> None:
    """All that is done with features, into the run folder."""
    labels = {split: rows["label"].to_numpy() for split, rows in data.splits.items()}
    metrics: dict[str, Any] = {}
    if options.layers == "all":
        metrics["layers"] = probe_layers(features, labels)
        show_layers(metrics["layers"])
        pooling = list(POOLINGS).index(options.pooling)
        features = {split: states[:, -1, pooling] for split, states in features.items()}
    figures, log_probabilities = probe(features, labels, len(data.labels))
    held_out = [split for split in data.splits if split != "train"] or ["train"]
    run.write_predictions(
        {
            split: (data.splits[split]["text"], labels[split], log_probabilities[split])
            for split in held_out
        },
        data.labels,
    )
    points, metrics["map"] = flat_map(features["train"], options.umap, options.seed)
    places = pd.DataFrame(points, columns=["x", "y"])
    places["label"] = [data.labels[label] for label in labels["train"]]
    write_text(run.folder / "map.csv", places.to_csv(index=False))
    run.write_metrics(figures | metrics)


def probe(
    features: dict[str, np.ndarray], labels: dict[str, np.ndarray], n_labels: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metrics of every split, and by split log p(label) (N, C), of a classifier fitted to train.

    features: (N, D) by split; labels: (N,) by split."""
    baseline = DummyClassifier(strategy="most_frequent").fit(features["train"], labels["train"])
    start = time.perf_counter()
    classifier, iterations, converged = fit_classifier(features["train"], labels["train"])
    word = "converged" if converged else "did NOT converge"
    seconds = time.perf_counter() - start
    print(f"logistic regression {word} after {iterations} iterations, {seconds:.1f} s")
    metrics: dict[str, Any] = {"converged": converged, "iterations": iterations}
    scores = {}
    for split, rows in features.items():
        name = PREFIX[split]
        scores[split] = log_probabilities(classifier, rows, n_labels)
        metrics[f"{name}_baseline"] = float(baseline.score(rows, labels[split]))
        metrics |= measure(scores[split], labels[split], name)
        print(
            f"{split:<10} accuracy {metrics[name + '_accuracy']:.4f} (majority baseline "
            f"{metrics[name + '_baseline']:.4f}), weighted F1 {metrics[name + '_f1']:.4f}, "
            f"macro F1 {metrics[name + '_macro_f1']:.4f}"
        )
    return metrics, scores


def fit_classifier(features: np.ndarray, labels: np.ndarray) -> tuple[Pipeline, int, bool]:
    """Multinomial logistic regression on standardised features (N, D); its number of iterations,
    and whether it converged.

    Standardising makes the problem well conditioned: on raw [CLS] features L-BFGS needs five times
    as many iterations for the same accuracy. One thread: the products are too thin to share out,
    and on a busy machine two threads wait for each other thirty times as long as they compute."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
        warnings.simplefilter("always", ConvergenceWarning)
        classifier.fit(features, labels)
    converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
    return classifier, int(classifier[-1].n_iter_.max()), converged


def log_probabilities(classifier: Pipeline, features: np.ndarray, n_labels: int) -> np.ndarray:
    """(N, C) log p(label); a label that the training split lacks is all but impossible."""
    scores = np.full((len(features), n_labels), -50.0)
    scores[:, classifier.classes_] = classifier.predict_log_proba(features)
    return scores


def probe_layers(
    features: dict[str, np.ndarray], labels: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """A classifier for every layer and pooling: {"layer", "pooling", "eval_accuracy", ...}, layer 0
    being the embeddings. features: (N, L + 1, P, D) by split."""
    n_layers, n_poolings = features["train"].shape[1:3]
    records = []
    with Progress("layers", n_layers * n_poolings, "classifiers") as progress:
        for layer in range(n_layers):
            for place, pooling in enumerate(POOLINGS):
                views = {split: states[:, layer, place] for split, states in features.items()}
                classifier, _, converged = fit_classifier(views["train"], labels["train"])
                record = {"layer": layer, "pooling": pooling, "converged": converged}
                for split, view in views.items():
                    accuracy = float(classifier.score(view, labels[split]))
                    record[f"{PREFIX[split]}_accuracy"] = accuracy
                records.append(record)
                progress.advance(1)
    return records


def show_layers(records: list[dict[str, Any]]) -> None:
    """The accuracies on the terminal, a line per layer."""
    table = pd.DataFrame(records).drop(columns="converged").set_index(["layer", "pooling"])
    print(table.unstack().to_string(float_format="{:.4f}".format))


def flat_map(features: np.ndarray, umap: bool, seed: int) -> tuple[np.ndarray, str]:
    """(N, 2) points that keep as much of the features' (N, D) neighbourhoods as a plane can, and
    how they were made. UMAP as in the tutorial, where asked for and installed; else PCA."""
    scaled = MinMaxScaler().fit_transform(features)
    if umap:
        try:
            from umap import UMAP
        except ImportError:
            print("no UMAP here, so the map is made by PCA: pip install umap-learn")
        else:
            with warnings.catch_warnings():  # that a seed costs it its parallelism is known
                warnings.simplefilter("ignore", UserWarning)
                mapper = UMAP(n_components=2, metric="cosine", random_state=seed).fit(scaled)
            return mapper.embedding_, "UMAP, cosine distance"
    pca = PCA(n_components=2, random_state=seed).fit(scaled)
    share = pca.explained_variance_ratio_.sum()
    return pca.transform(scaled), f"PCA, {share:.0%} of the variance"

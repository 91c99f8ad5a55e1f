"""python -m train probe: logistic regression on the hidden states of a frozen encoder.

Its accuracy tells how much of the answer is in the hidden states before any fine-tuning.
"""

import csv
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from threadpoolctl import threadpool_limits  # comes with scikit-learn

from minibert import DistilBertModel
from train.data import Data, describe, encode_all, load_training_data
from train.device import current_processes
from train.features import get_features
from train.folders import cache_folder
from train.forward import POOLINGS, load_model
from train.metrics import PREFIX, baseline, measure, predictions
from train.options import ProbeOptions
from train.progress import progress
from train.runs import Result, Run, write_csv
from train.tables import print_table

MAX_ITERATIONS = 1_000
FOLDS = 5  # of the cross-validation that finds suspect labels
SHOWN = 10  # suspect labels on the terminal; suspects.csv has all


def run(options: ProbeOptions) -> Result:
    """Features, majority baseline, logistic regression, metrics, 2-D map."""
    with Run("probe", options) as run:
        processes = current_processes()
        data = load_training_data(options)
        tokenizer, model, precision = load_model(options, DistilBertModel.from_pretrained)
        model.check_inputs = False  # `encode_all` checks
        cache = cache_folder(options.no_cache)
        print(f"{options.model} on {describe(data, cache)}; {precision}")
        encoded = encode_all(data, tokenizer, model, options)
        start = time.perf_counter()
        features = get_features(model, encoded, options, precision, processes)
        if not processes.is_main:
            return run.result
        seconds = time.perf_counter() - start
        count = sum(map(len, features.values()))
        print(f"features of {count} texts in {seconds:.1f} s, {count / seconds:.0f} per second")
        run.open(labels=data.labels)
        classify(run, options, data, features)
        run.result.model, run.result.tokenizer = model, tokenizer
    return run.result


def classify(run: Run, options: ProbeOptions, data: Data, features: dict[str, np.ndarray]) -> None:
    """Fit classifiers to the features; metrics, predictions and map into the run folder.

    features: (N, D) float32 by split, or (N, L + 1, P, D) with --layers all."""
    labels = {split: rows["label"].to_numpy() for split, rows in data.splits.items()}
    metrics: dict[str, Any] = {}
    if options.layers == "all":
        metrics["layers"] = probe_layers(features, labels)
        table = pd.DataFrame(metrics["layers"]).drop(columns="converged")
        table = table.set_index(["layer", "pooling"]).unstack()  # a line per layer
        print(table.to_string(float_format="{:.4f}".format))
        pooling = list(POOLINGS).index(options.pooling)
        features = {split: states[:, -1, pooling] for split, states in features.items()}
    figures, scores = probe(features, labels, len(data.labels))
    if len(scores) > 1:  # of texts that it was fitted to, a classifier's answers say little
        del scores["train"]
    run.write_predictions(predictions(data.splits, scores, data.labels))
    table = suspects(features["train"], data.splits["train"], data.labels, options.seed)
    write_csv(run.folder / "suspects.csv", table, quoting=csv.QUOTE_ALL, float_format="%.6f")
    accuracy = f"cross-validated accuracy {1 - len(table) / len(labels['train']):.4f}; "
    if 1 in np.bincount(labels["train"]):  # of single texts nothing is known, see `suspects`
        accuracy = ""
    print_table(
        f"Labels likeliest to be wrong ({accuracy}suspects.csv)",
        table.set_index("row").rename_axis(None).head(SHOWN),
    )
    split, points, metrics["map"] = draw_map(features, labels, options)
    places = pd.DataFrame(points, columns=["x", "y"])
    places["label"] = [data.labels[label] for label in labels[split]]
    write_csv(run.folder / "map.csv", places)
    run.write_metrics(figures | metrics)


def probe(
    features: dict[str, np.ndarray], labels: dict[str, np.ndarray], n_labels: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Fit a classifier to train: metrics of every split, and by split log p(label) (N, C).

    features: (N, D) by split; labels: (N,) by split."""
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
        metrics[f"{name}_baseline"] = baseline(labels["train"], labels[split])
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

    Standardising makes the problem well conditioned: on raw [CLS] features L-BFGS needs about four
    times as many iterations for the same accuracy (tests/benchmarks/probe.py measures it)."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
    # One thread: the matrix products, (N, D) by (D, C) with few classes C, are too small to share.
    # On a busy machine two threads wait for each other thirty times as long as they compute.
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
        warnings.simplefilter("always", ConvergenceWarning)
        classifier.fit(features, labels)
    converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
    return classifier, int(classifier[-1].n_iter_.max()), converged


def suspects(features: np.ndarray, rows: pd.DataFrame, names: list[str], seed: int) -> pd.DataFrame:
    """Texts whose label may be wrong, the least probable label first: row, text, label,
    label_probability, likelier_label.

    A classifier fits a wrong label as it fits the others, and then believes in it. So a text's
    probabilities come from a classifier fitted without it: five-fold cross-validation.
    features: (N, D); rows: text and label of the N texts; names: of the labels, by id."""
    labels = rows["label"].to_numpy()
    counts = np.bincount(labels)
    scores = np.full((len(labels), len(names)), np.nan)
    n_folds = min(FOLDS, counts.max())
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed) if n_folds > 1 else None
    with warnings.catch_warnings(), progress("suspects", n_folds, "folds") as bar:
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer texts than folds
        for fitted, held_out in folds.split(features, labels) if folds else ():
            if len(np.unique(labels[fitted])) > 1:  # one class alone fits no classifier
                classifier, _, _ = fit_classifier(features[fitted], labels[fitted])
                scores[held_out] = log_probabilities(classifier, features[held_out], len(names))
            bar.update(1)
    likelier = scores.argmax(axis=1)
    table = pd.DataFrame(
        {
            "row": np.arange(len(labels)),
            "text": rows["text"].to_numpy(),
            "label": [names[label] for label in labels],
            "label_probability": np.exp(scores[np.arange(len(labels)), labels]),
            "likelier_label": [names[label] for label in likelier],
        }
    )
    # A class of one text cannot be learnt from the others: nothing is known about its label.
    is_known = (counts[labels] > 1) & np.isfinite(scores).all(axis=1)
    table = table[(likelier != labels) & is_known]
    return table.sort_values("label_probability", kind="stable", ignore_index=True)


def log_probabilities(classifier: Pipeline, features: np.ndarray, n_labels: int) -> np.ndarray:
    """log p(label), (N, C) float64; exp(-50) for a label that the training split lacks."""
    # The classifier has a column for the labels it was fitted to only. A finite number, not -inf,
    # keeps the loss of a text with such a label finite.
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
    with progress("layers", n_layers * n_poolings, "classifiers") as bar:
        for layer in range(n_layers):
            for place, pooling in enumerate(POOLINGS):
                views = {split: states[:, layer, place] for split, states in features.items()}
                classifier, _, converged = fit_classifier(views["train"], labels["train"])
                record = {"layer": layer, "pooling": pooling, "converged": converged}
                for split, view in views.items():
                    accuracy = float(classifier.score(view, labels[split]))
                    record[f"{PREFIX[split]}_accuracy"] = accuracy
                records.append(record)
                bar.update(1)
    return records


def draw_map(
    features: dict[str, np.ndarray], labels: dict[str, np.ndarray], options: ProbeOptions
) -> tuple[str, np.ndarray, str]:
    """The split that the map shows, its points (N, 2), and the method in words.

    Linear discriminant analysis (LDA) finds the plane that sets the training texts' classes
    furthest apart, and other texts are drawn on it: fitted and drawn on the same texts, it would
    show a separation that is not there. UMAP where asked for; PCA where LDA has no plane (two
    classes, or too few texts) or there are no other texts."""
    held_out = [split for split in features if split != "train"]
    n_classes = len(np.unique(labels["train"]))
    if held_out and not options.umap and 2 < n_classes < len(labels["train"]):
        with threadpool_limits(1):  # as in fit_classifier
            lda = LinearDiscriminantAnalysis(n_components=2, solver="svd")
            lda = make_pipeline(StandardScaler(), lda).fit(features["train"], labels["train"])
        points = lda.transform(features[held_out[0]])
        if points.shape[1] == 2:  # of hardly more texts than classes it finds a line alone
            return held_out[0], points, f"LDA fitted to train, {held_out[0]} split drawn"
    points, method = flat_map(features["train"], options.umap, options.seed)
    return "train", points, f"{method}, train split"


def flat_map(features: np.ndarray, umap: bool, seed: int) -> tuple[np.ndarray, str]:
    """Features (N, D) projected to 2-D points (N, 2), and the method in words.

    UMAP as in the tutorial, where asked for and installed; else PCA."""
    scaled = MinMaxScaler().fit_transform(features)  # to [0, 1] per dimension, as the tutorial does
    if umap:
        try:
            from umap import UMAP
        except ImportError:
            print("no UMAP here, so the map is made by PCA: pip install umap-learn")
        else:
            with warnings.catch_warnings():  # it warns that with a seed it uses one thread
                warnings.simplefilter("ignore", UserWarning)
                mapper = UMAP(n_components=2, metric="cosine", random_state=seed).fit(scaled)
            return mapper.embedding_, "UMAP, cosine distance"
    pca = PCA(n_components=2, random_state=seed).fit(scaled)
    share = pca.explained_variance_ratio_.sum()
    return pca.transform(scaled), f"PCA, {share:.0%} of the variance"

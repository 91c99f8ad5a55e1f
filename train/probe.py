"""python -m train probe: how much of the answer is already in the frozen hidden states?"""

import time

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from minibert import DistilBertModel
from tokenizer import WordPieceTokenizer
from train.data import describe, encode, load_data
from train.engine.distributed import current_processes
from train.engine.infer import extract_features
from train.engine.precision import choose_precision
from train.metrics import measure
from train.options import ProbeOptions
from train.runs import Run

MAX_ITERATIONS = 1_000


def run(options: ProbeOptions) -> None:
    """Features, majority baseline, logistic regression, metrics."""
    run = Run("probe", options)
    processes = current_processes()
    precision = choose_precision(options.device, options.precision)
    data = load_data(options)
    if "train" not in data:
        raise ValueError("probing needs a training split; name one with --train-file")
    tokenizer = WordPieceTokenizer.from_pretrained(options.model)
    model = DistilBertModel.from_pretrained(options.model).to(precision.device)
    model.check_inputs = False  # `encode` checks
    print(f"{options.model} on {describe(data)}; {precision}")
    start = time.perf_counter()
    features = {}
    for split, rows in data.items():
        encoded = encode(rows, tokenizer, model.config, options.max_length, precision.device)
        features[split] = extract_features(
            model, encoded, precision, options.pooling, processes=processes, title=split
        )
    if not processes.is_main:
        return
    seconds = time.perf_counter() - start
    count = sum(len(rows) for rows in features.values())
    print(f"features of {count} texts in {seconds:.1f} s, {count / seconds:.0f} per second")
    labels = {split: np.array(rows["label"]) for split, rows in data.items()}
    names = data["train"].features["label"].names
    run.open(labels=names)
    baseline = DummyClassifier(strategy="most_frequent")
    baseline.fit(features["train"], labels["train"])
    classifier, converged = fit_classifier(features["train"], labels["train"])
    metrics: dict = {"features_per_second": count / seconds, "converged": converged}
    predictions = {}
    for split, name in (("validation", "eval"), ("test", "test")):
        if split in data:
            scores = log_probabilities(classifier, features[split], len(names))
            metrics[f"{name}_baseline"] = baseline.score(features[split], labels[split])
            metrics |= measure(scores, labels[split], name)
            predictions[split] = (data[split][:]["text"], labels[split], scores)
            print(
                f"{split} accuracy {metrics[name + '_accuracy']:.4f} "
                f"(majority baseline {metrics[name + '_baseline']:.4f})"
            )
    run.write_metrics(metrics)
    if predictions:
        run.write_predictions(predictions, names)
    print(f"run folder: {run.folder} ({run.seconds:.0f} s)")


def fit_classifier(features: np.ndarray, labels: np.ndarray) -> tuple[Pipeline, bool]:
    """Multinomial logistic regression on standardised features; whether it converged.

    Standardising makes the problem well conditioned: on raw [CLS] features L-BFGS needs five times
    as many iterations for the same accuracy."""
    regression = LogisticRegression(max_iter=MAX_ITERATIONS)
    classifier = make_pipeline(StandardScaler(), regression)
    start = time.perf_counter()
    classifier.fit(features, labels)
    iterations = int(regression.n_iter_.max())
    converged = iterations < MAX_ITERATIONS
    word = "converged" if converged else "did NOT converge"
    seconds = time.perf_counter() - start
    print(f"logistic regression {word} after {iterations} iterations, {seconds:.1f} s")
    return classifier, converged


def log_probabilities(classifier: Pipeline, features: np.ndarray, n_labels: int) -> np.ndarray:
    """(N, C) log p(label); a label that the training split lacks is all but impossible."""
    scores = np.full((len(features), n_labels), -50.0)
    scores[:, classifier.classes_] = classifier.predict_log_proba(features)
    return scores

"""The probe's logistic regression: the tutorial's way and ours, time, iterations and accuracy.

python -m tests.benchmarks.probe [--save]
"""

import time

import numpy as np
from sklearn.linear_model import LogisticRegression

from minibert import DistilBertModel
from tests import EMOTION
from tests.benchmarks.common import environment, publish, table
from tokenizer import WordPieceTokenizer
from train.data import encode, load_data
from train.engine.infer import extract_features
from train.engine.precision import choose_precision
from train.options import DataOptions
from train.probe import fit_classifier


def main() -> None:
    precision = choose_precision()
    is_there = (EMOTION / "train.txt").exists()
    data = load_data(DataOptions(dataset=str(EMOTION) if is_there else "demo"))
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    model = DistilBertModel.from_pretrained("demo").to(precision.device)
    model.check_inputs = False
    x, y = {}, {}
    for split in ("train", "validation"):
        encoded = encode(data[split], tokenizer, model.config, 512, precision.device)
        x[split] = extract_features(model, encoded, precision)
        y[split] = np.array(data[split]["label"])
    rows = []
    start = time.perf_counter()
    tutorial = LogisticRegression(max_iter=3000).fit(x["train"], y["train"])
    seconds = time.perf_counter() - start
    score = tutorial.score(x["validation"], y["validation"])
    rows.append(
        [
            "the tutorial's: raw features",
            f"{seconds:.1f}",
            str(tutorial.n_iter_.max()),
            f"{score:.4f}",
        ]
    )
    start = time.perf_counter()
    ours, iterations, converged = fit_classifier(x["train"], y["train"])
    seconds = time.perf_counter() - start
    score = ours.score(x["validation"], y["validation"])
    note = "" if converged else " (not converged)"
    rows.append(["MiniBERT: standardised", f"{seconds:.1f}", f"{iterations}{note}", f"{score:.4f}"])
    publish(
        "probe",
        table(
            ["logistic regression on [CLS]", "seconds", "iterations", "validation accuracy"], rows
        )
        + f"\n\n{x['train'].shape[0]} x {x['train'].shape[1]} float32 features of the packaged "
        f"weights.\n" + environment("scikit-learn", "torch"),
    )


if __name__ == "__main__":
    main()

"""python -m train evaluate: a trained model measured on one split of any data."""

import numpy as np

from train.data import describe, encode, load_data
from train.engine.infer import predict_logits
from train.engine.precision import choose_precision
from train.metrics import measure
from train.options import EvaluateOptions
from train.predict import load_trained
from train.runs import Run


def run(options: EvaluateOptions) -> None:
    """Metrics, and every text sorted by loss, into a run folder."""
    run = Run("evaluate", options)
    precision = choose_precision(options.device, options.precision)
    tokenizer, model = load_trained(options)
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    data = load_data(options, labels)
    if options.split not in data:
        raise ValueError(f"--split {options.split}: the data has only {', '.join(data)}")
    rows = data[options.split]
    print(f"{options.model} on {describe(data)}; {precision}")
    encoded = encode(rows, tokenizer, model.config, options.max_length, precision.device)
    logits = predict_logits(model.to(precision.device), encoded, precision)
    run.open(labels=labels)
    ids = np.array(rows["label"])
    metrics = measure(logits, ids, options.split)
    run.write_metrics(metrics)
    run.write_predictions({options.split: (rows[:]["text"], ids, logits)}, labels)
    for name, value in metrics.items():
        print(f"{name} {value:.4f}")
    print(f"run folder: {run.folder}")

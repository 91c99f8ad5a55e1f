"""python -m train evaluate: a trained model measured on one split of any data."""

import time

import pandas as pd

from train.batches import TOKEN_BUDGET, sorted_batches
from train.data import describe, encode, load_data
from train.device import choose_precision, current_processes
from train.forward import predict_logits
from train.metrics import (
    PREFIX,
    calibration,
    calibration_error,
    doubtful_labels,
    measure,
    per_class,
)
from train.options import EvaluateOptions
from train.predict import load_trained
from train.report import write_report
from train.report.files import read_predictions
from train.runs import Run
from train.tables import print_table

SHOWN = 10  # texts of each kind on the terminal; predictions.csv has all


def run(options: EvaluateOptions) -> None:
    """Metrics, and every text sorted by loss, into a run folder."""
    run = Run("evaluate", options)
    processes = current_processes()
    precision = choose_precision(options.device, options.precision)
    tokenizer, model = load_trained(options)
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    data = load_data(options, names)
    if options.split not in data.splits:
        raise ValueError(f"--split {options.split}: the data has only {', '.join(data.splits)}")
    rows = data.splits[options.split]
    print(f"{options.model} on {describe(data)}; {precision}")
    encoded = encode(rows, tokenizer, model.config, options.max_length, precision.device)
    model.to(precision.device)
    model.distilbert.check_inputs = False  # `encode` has checked
    start = time.perf_counter()
    logits = predict_logits(model, encoded, precision, processes, options.split)
    seconds = time.perf_counter() - start
    if not processes.is_main:
        return
    steps = len(sorted_batches(encoded.lengths, TOKEN_BUDGET[precision.device.type]))
    labels = rows["label"].to_numpy()
    prefix = PREFIX[options.split]
    metrics = measure(logits, labels, prefix) | {
        f"{prefix}_runtime": seconds,
        f"{prefix}_samples_per_second": len(rows) / seconds,
        f"{prefix}_steps_per_second": steps / seconds,
    }
    run.open(labels=names)
    run.write_predictions({options.split: (rows["text"], labels, logits)}, names)
    predictions = read_predictions(run.folder)
    tenths = calibration(
        predictions["probability"].to_numpy(),
        (predictions["label"] == predictions["predicted_label"]).to_numpy(),
    )
    metrics[f"{prefix}_calibration_error"] = calibration_error(tenths)
    run.write_metrics(metrics)
    show(metrics, predictions, tenths, names)
    write_report(run.folder)
    print(f"run folder: {run.folder} ({run.seconds:.0f} s)")


def show(
    metrics: dict[str, float], predictions: pd.DataFrame, tenths: pd.DataFrame, names: list[str]
) -> None:
    """The tutorial's error analysis on the terminal, and what it lacks: calibration, and labels
    that may be wrong. predictions: as in predictions.csv, the highest loss first."""
    for name, value in metrics.items():
        print(f"{name} {value:.4f}")
    classes = per_class(predictions["label"], predictions["predicted_label"], names)
    print_table("Classes", classes.set_index("label"))
    print_table("Calibration: how sure the model is, how often it is right", tenths)
    columns = ["text", "label", "predicted_label", "loss"]
    by_row = predictions.set_index("row")[columns].rename_axis(None)
    print_table("Highest losses", by_row.head(SHOWN))
    print_table("Lowest losses", by_row.tail(SHOWN).iloc[::-1])
    doubtful = doubtful_labels(predictions).set_index("row").rename_axis(None)
    columns = ["text", "label", "label_probability", "predicted_label", "probability"]
    print_table(
        f"Labels that may be wrong: {len(doubtful)} of {len(predictions)}",
        doubtful[columns].head(SHOWN),
    )

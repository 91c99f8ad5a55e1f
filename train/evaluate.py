"""python -m train evaluate: a trained model measured on one split of any data."""

import time

import pandas as pd

from minibert import load_classifier
from train.batches import TOKEN_BUDGET, sorted_batches
from train.data import describe, encode_all, load_data
from train.device import current_processes
from train.folders import cache_folder
from train.forward import load_model, predict_logits
from train.metrics import (
    PREFIX,
    baseline,
    calibration,
    calibration_error,
    confident_mistakes,
    measure,
    per_class,
    predictions,
)
from train.options import EvaluateOptions
from train.runs import Result, Run
from train.tables import print_table

SHOWN = 10  # texts of each kind on the terminal; predictions.csv has all


def run(options: EvaluateOptions) -> Result:
    """Metrics, and every text sorted by loss, into a run folder."""
    with Run("evaluate", options) as run:
        processes = current_processes()
        tokenizer, model, precision = load_model(options, load_classifier)
        names = model.config.label_names
        data = load_data(options, names)
        if options.split not in data.splits:
            raise ValueError(f"--split {options.split}: the data has only {', '.join(data.splits)}")
        rows = data.splits[options.split]
        cache = cache_folder(options.no_cache)
        print(f"{options.model} on {describe(data, cache)}; {precision}")
        chosen = data._replace(splits={options.split: rows})
        encoded = encode_all(chosen, tokenizer, model, options)[options.split]
        model.distilbert.check_inputs = False  # `encode_all` has checked
        start = time.perf_counter()
        logits = predict_logits(model, encoded, precision, processes, options.split)
        seconds = time.perf_counter() - start
        if not processes.is_main:
            return run.result
        run.open(labels=names)
        table = predictions(data.splits, {options.split: logits}, names)
        run.write_predictions(table)
        tenths = calibration(table["probability"], table["label"] == table["predicted_label"])
        steps = len(sorted_batches(encoded.lengths, TOKEN_BUDGET[precision.device.type]))
        prefix = PREFIX[options.split]
        labels = rows["label"].to_numpy()
        metrics = measure(logits, labels, prefix) | {
            # Of this split alone: the training split is not at hand here.
            f"{prefix}_baseline": baseline(labels, labels),
            f"{prefix}_runtime": seconds,
            f"{prefix}_samples_per_second": len(rows) / seconds,
            f"{prefix}_steps_per_second": steps / seconds,
            f"{prefix}_calibration_error": calibration_error(tenths),
        }
        run.write_metrics(metrics)
        show(metrics, table, tenths, names)
        run.result.model, run.result.tokenizer = model, tokenizer
    return run.result


def show(
    metrics: dict[str, float], table: pd.DataFrame, tenths: pd.DataFrame, names: list[str]
) -> None:
    """Print the tutorial's error analysis (classes, highest and lowest losses), calibration, and
    labels that may be wrong. table: as in predictions.csv, the highest loss first."""
    for name, value in metrics.items():
        beside = metrics.get(name.replace("_accuracy", "_baseline"))
        is_accuracy = name.endswith("_accuracy")
        print(f"{name} {value:.4f}" + f" (majority baseline {beside:.4f})" * is_accuracy)
    classes = per_class(table["label"], table["predicted_label"], names)
    print_table("Classes", classes.set_index("label"))
    print_table("Calibration: how sure the model is, how often it is right", tenths)
    columns = ["text", "label", "predicted_label", "loss"]
    by_row = table.set_index("row")[columns].rename_axis(None)
    print_table("Highest losses", by_row.head(SHOWN))
    print_table("Lowest losses", by_row.tail(SHOWN).iloc[::-1])
    mistakes = confident_mistakes(table).set_index("row").rename_axis(None)
    columns = ["text", "label", "label_probability", "predicted_label", "probability"]
    title = f"Confident mistakes (a wrong label, or a hard text): {len(mistakes)} of {len(table)}"
    print_table(title, mistakes[columns].head(SHOWN))

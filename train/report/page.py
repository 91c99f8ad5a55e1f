"""Write report.html: figures, pictures, tables and texts of one run in a single HTML file."""

import json
import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from sklearn.metrics import confusion_matrix

from train.metrics import PREFIX, confident_mistakes, per_class
from train.report.summary import (
    by_split,
    cell,
    confused_pairs,
    facts,
    headline,
    in_words,
    layers_split,
    splits_measured,
    verdicts,
)
from train.runs import RunFiles, read_run, write_text

HERE = Path(__file__).parent
BUDGET = 2_000_000  # bytes of texts on the page: it stays under 3 MB, whatever the data
LETTERS = 2_000  # of each text on the page
MANY_CELLS = 40  # classes: beyond, a confusion matrix has only the cells that hold texts

Table = list[dict[str, Any]]


def write_report(folder: Path) -> Path | None:
    """Make plots/*.png and report.html from the files of a run folder; the page's path, or None
    for a folder that holds no run. Without matplotlib the page has tables only."""
    files = read_run(folder)
    if not files.config:
        return None
    try:
        from train.report.plots import save_plots
    except ModuleNotFoundError as error:
        # Only a missing matplotlib is no error (it is an extra); any other missing module is.
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        print("matplotlib is missing, so there are no pictures: pip install matplotlib")
        svgs = {}
    else:
        svgs = save_plots(files, folder / "plots")
    page = folder / "report.html"
    render = render_comparison if files.compare else render_run
    write_text(page, render(files, svgs, folder.resolve().name))
    print(f"report: {page}")
    return page


def environment() -> jinja2.Environment:
    """The templates of this folder, with the filters they use."""
    # autoescape, because texts and labels come from files that anybody may have written; a name
    # that the template misspells is an error (StrictUndefined), not an empty place on the page.
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"cell": cell, "words": in_words, "json": embedded_json}
    templates.globals |= {"asset": asset, "columns_of": columns_of}
    return templates


def asset(name: str) -> Markup:
    """A style sheet or script of this folder, to stand in the page as it is."""
    return Markup((HERE / name).read_text(encoding="utf-8"))


def embedded_json(value: Any) -> Markup:
    """JSON that may stand inside <script>: without a "<", no text can close the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def columns_of(rows: Table) -> list[tuple[str, bool]]:
    """(name, does it hold numbers?) of each column; numbers are aligned right, their header too."""
    kinds = (int, float, np.integer, np.floating)
    return [
        (name, all(isinstance(row[name], kinds) or row[name] is None for row in rows))
        for name in (rows[0] if rows else {})
    ]


def render_run(files: RunFiles, svgs: dict[str, list[str]], title: str) -> str:
    """The HTML of a run's page. svgs: pictures by section of the page."""
    top = headline(files)
    content = {
        "findings": files.explore.get("findings", []),
        "confusions": [
            confusion(rows, files.labels, name) for name, rows in by_split(files.predictions)
        ],
        "layers": layer_heat(files.metrics),
        "typical": files.explore.get("typical words", {}),
        "rows": table_of_texts(files),
    }
    svgs = {name: svgs.get(name, []) for name in ("training", "calibration", "map", "data")}
    return (
        environment()
        .get_template("run.html")
        .render(
            title=f"{files.config['command']}: {title}",
            config=files.config,
            labels=files.labels,
            facts=[*facts(files), files.config["environment"]["time"]],
            headline=top,
            other_figures=other_figures(files.metrics, top.split) if top else {},
            n_texts=len(files.lengths),
            majority=majority(files),
            verdicts=verdicts(files),
            pairs_confused=confused_pairs(files),
            sections=sections(content, svgs),
            epochs=epoch_table(files.evaluations),
            figures=figures_by_split(files.metrics),
            run_figures=run_figures(files.metrics),
            tables=explore_tables(files) | class_tables(files),
            n_predictions=len(files.predictions),
            svgs=svgs,
            **content,
        )
    )


def render_comparison(files: RunFiles, svgs: dict[str, list[str]], title: str) -> str:
    """The HTML of compare's page: accuracies as bars over their baselines, options, curves."""
    runs = [
        {"run": run, "name": run["name"], "bars": accuracy_bars(run["metrics"])}
        for run in files.compare["runs"]
    ]
    page = environment().get_template("compare.html")
    return page.render(
        title=f"compare: {title}",
        runs=runs,
        options=files.compare["options"],
        figures=files.compare["metrics"],
        svgs=svgs.get("training", []),
        command_line=files.config["command_line"],
    )


def accuracy_bars(metrics: dict[str, Any]) -> Table:
    """Accuracy and majority baseline of each split that a run has measured."""
    return [
        {
            "split": split,
            "accuracy": metrics[f"{prefix}_accuracy"],
            "baseline": metrics.get(f"{prefix}_baseline"),
        }
        for split, prefix in splits_measured(metrics).items()
    ]


def sections(content: dict[str, Any], svgs: dict[str, list[str]]) -> list[tuple[str, str]]:
    """(id, name) of the sections that the page has, for its links."""
    there = {
        "findings": content["findings"],
        "training": svgs["training"],
        "confusion": content["confusions"],
        "layers": content["layers"],
        "typical": content["typical"],
        "list": content["rows"]["rows"],
        "calibration": svgs["calibration"],
        "map": svgs["map"],
        "data": svgs["data"],
        "figures": True,
    }
    names = {"list": "Texts", "typical": "Typical words", "figures": "All figures"}
    return [(id, names.get(id, id.capitalize())) for id, has in there.items() if has]


def majority(files: RunFiles) -> tuple[str, float] | None:
    """The most common label of the first split (of equals that of the lowest id), and its share of
    the last: what a model gets that always answers it."""
    lengths = files.lengths
    if not len(lengths):
        return None
    first = lengths.loc[lengths["split"] == lengths["split"].iloc[0], "label_name"]
    last = lengths.loc[lengths["split"] == lengths["split"].iloc[-1], "label_name"]
    name = first.value_counts().reindex(files.labels, fill_value=0).idxmax()
    return name, float((last == name).mean())


def other_figures(metrics: dict[str, Any], split: str) -> dict[str, Any]:
    """What stands small below the headline."""
    prefix = PREFIX[split]
    found = {in_words(name): metrics.get(f"{prefix}_{name}") for name in ("macro_f1", "loss")}
    if split == "test":
        found["validation accuracy"] = metrics.get("eval_accuracy")
    return {name: value for name, value in found.items() if value is not None}


def epoch_table(evaluations: pd.DataFrame) -> Table:
    """A row per evaluation, as the tutorial's table has them."""
    names = ["epoch", "train_loss", "eval_loss", "eval_accuracy", "eval_f1", "eval_macro_f1"]
    table = evaluations[[name for name in names if name in evaluations]]
    rows = table.rename(columns={"train_loss": "training loss"}).to_dict("records")
    for row in rows:
        if row["epoch"].is_integer():
            row["epoch"] = int(row["epoch"])  # 1, which as a share would be 1.0000
    return rows


def confusion(rows: pd.DataFrame, labels: list[str], split: str) -> dict[str, Any]:
    """What the template needs to draw one matrix. With many classes only cells that hold texts are
    drawn: 750 classes have half a million cells and at most as many filled ones as texts."""
    counts = confusion_matrix(rows["label"], rows["predicted_label"], labels=labels)
    is_small = len(labels) <= MANY_CELLS
    places = np.ndindex(counts.shape) if is_small else zip(*np.nonzero(counts))
    sums = counts.sum(axis=1)
    cells = []
    for i, j in places:
        share = counts[i, j] / sums[i] if sums[i] else 0.0
        cells.append(
            {
                "i": int(i),
                "j": int(j),
                "true": labels[i],
                "predicted": labels[j],
                "count": int(counts[i, j]),
                "percent": f"{share:.0%}",
                "mix": round(100 * share),
            }
        )
    names = [name if len(name) <= 14 else f"{name[:6]}…{name[-7:]}" for name in labels]
    widest = max(map(len, names)) if is_small else 0
    return {
        "split": split,
        "texts": len(rows),
        "names": names,
        "cells": cells,
        "side": 54 if len(labels) <= 8 else 44 if len(labels) <= 15 else 24 if is_small else 8,
        "left": 12 + 7.2 * widest,  # 7.2 px: a letter of the labels' 13 px font
        "top": 14 + 5.2 * widest,
        "right": 4 + 5.2 * len(names[-1]) if is_small else 4,  # the last name leans over the edge
    }


def layer_heat(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """The probe's accuracy by layer and pooling as a table with shades, on the split by which
    models are chosen."""
    records = metrics.get("layers")
    if not records:
        return None
    split, column = layers_split(records[0])
    table = pd.DataFrame(records).pivot(index="layer", columns="pooling", values=column)
    low, high = table.min().min(), table.max().max()
    rows = [
        {
            "layer": layer,
            "cells": [
                {
                    "accuracy": value,
                    "best": value == high,
                    "mix": round(100 * (value - low) / (high - low or 1)),
                }
                for value in row
            ],
        }
        for layer, row in zip(table.index, table.to_numpy().tolist())
    ]
    names = {"cls": "[CLS]", "mean": "mean of the tokens"}
    return {"split": split, "columns": [names[name] for name in table.columns], "rows": rows}


def table_of_texts(files: RunFiles) -> dict[str, Any]:
    """The rows for page.js, the highest loss first, until BUDGET is spent: text, label ids,
    probability, loss, split, row, is it a confident mistake, length of the whole text."""
    predictions = files.predictions
    splits = [name for name, _ in by_split(files.predictions)]
    if not len(predictions):
        return {"labels": files.labels, "splits": [], "rows": []}
    sure = set(confident_mistakes(predictions).index)
    ids = {name: i for i, name in enumerate(files.labels)}
    rows, spent = [], 0
    for index, row in zip(predictions.index, predictions.to_dict("records")):
        text = row["text"]
        spent += len(text[:LETTERS].encode()) + 40
        if spent > BUDGET:
            break
        probability, loss = finite(row["probability"]), finite(row["loss"])
        label, answer = ids[row["label"]], ids[row["predicted_label"]]
        place = [splits.index(row["split"]), row["row"], int(index in sure), len(text)]
        rows.append([text[:LETTERS], label, answer, probability, loss, *place])
    return {"labels": files.labels, "splits": splits, "rows": rows}


def finite(value: float) -> float | None:
    """None for NaN and infinity, which JSON does not have."""
    return round(value, 4) if math.isfinite(value) else None


def figures_by_split(metrics: dict[str, Any]) -> Table:
    """Metrics as a table with a row per metric and a column per split that was measured.

    >>> figures_by_split({"eval_accuracy": 0.93, "test_accuracy": 0.92})
    [{'': 'accuracy', 'validation': 0.93, 'test': 0.92}]
    """
    splits = {split: f"{prefix}_" for split, prefix in splits_measured(metrics).items()}
    names = {
        key.removeprefix(start): None  # a dict keeps the order and drops the repeats
        for start in splits.values()
        for key in metrics
        if key.startswith(start)
    }
    return [
        {"": in_words(name)} | {split: metrics.get(start + name) for split, start in splits.items()}
        for name in names
    ]


def run_figures(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics that belong to no split: runtime, number of steps, iterations, ..."""
    starts = tuple(prefix + "_" for prefix in PREFIX.values())
    return {
        name: value
        for name, value in metrics.items()
        if not name.startswith(starts) and not isinstance(value, list)
    }


def explore_tables(files: RunFiles) -> dict[str, Table]:
    """The tables of explore.json: classes, splits, repeated texts, texts in several splits."""
    tables = files.explore.get("tables", {})
    # A row per split would be ten columns wide: it is read better the other way round.
    if tables.get("splits"):
        turned = pd.DataFrame(tables["splits"]).set_index("split").T.rename_axis(None)
        tables = tables | {"splits": turned.reset_index(names="").to_dict("records")}
    return {name.capitalize(): rows for name, rows in tables.items()}


def class_tables(files: RunFiles) -> dict[str, Table]:
    """Precision, recall and F1 of each class: a table per split."""
    return {
        f"Classes, {split} split": per_class(
            rows["label"], rows["predicted_label"], files.labels
        ).to_dict("records")
        for split, rows in by_split(files.predictions)
    }

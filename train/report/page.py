"""Write report.html: figures, pictures, tables and texts of one run in a single HTML file."""

import base64
from pathlib import Path
from typing import Any

import jinja2

from train.metrics import PREFIX, confident_mistakes, per_class
from train.runs import RunFiles, read_run, write_text
from train.tables import number

ROWS = 3_000  # texts of predictions.csv on the page: more would make a browser slow
DOUBTFUL = 50

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
        print("matplotlib is missing, so there are no pictures: pip install 'minibert[plots]'")
        pictures = []
    else:
        pictures = save_plots(files, folder / "plots")
    page = folder / "report.html"
    write_text(page, render(files, pictures, folder.resolve().name))
    print(f"report: {page}")
    return page


def render(files: RunFiles, pictures: list[Path], title: str) -> str:
    """The page's HTML. Texts and labels are whatever the data holds: everything is escaped."""
    # autoescape, because texts and labels come from files that anybody may have written; a name
    # that the template misspells is an error (StrictUndefined), not an empty place on the page.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    doubtful = confident_mistakes(files.predictions) if len(files.predictions) else []
    return environment.get_template("page.html").render(
        title=title,
        config=files.config,
        labels=files.labels,
        figures=figures_by_split(files.metrics),
        run_figures=run_figures(files.metrics),
        tables=explore_tables(files) | layer_tables(files) | class_tables(files),
        pictures=[(caption(path), data_uri(path)) for path in pictures],
        n_doubtful=len(doubtful),
        doubtful=records(doubtful[:DOUBTFUL]),
        predictions=records(files.predictions[:ROWS]),
        n_predictions=len(files.predictions),
    )


def figures_by_split(metrics: dict[str, Any]) -> Table:
    """Metrics as a table with a row per metric and a column per split that was measured.

    >>> figures_by_split({"eval_accuracy": 0.93, "test_accuracy": 0.92})
    [{'': 'accuracy', 'validation': 0.93, 'test': 0.92}]
    """
    splits = {split: p + "_" for split, p in PREFIX.items() if f"{p}_accuracy" in metrics}
    names = {
        key.removeprefix(start): None  # a dict keeps the order and drops the repeats
        for start in splits.values()
        for key in metrics
        if key.startswith(start)
    }
    return [
        {"": name.replace("_", " ")}
        | {split: metrics.get(start + name) for split, start in splits.items()}
        for name in names
    ]


def run_figures(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics that belong to no split: runtime, number of steps, iterations, ..."""
    starts = tuple(prefix + "_" for prefix in PREFIX.values())
    return {
        name.replace("_", " "): value
        for name, value in metrics.items()
        if not name.startswith(starts) and not isinstance(value, list)
    }


def explore_tables(files: RunFiles) -> dict[str, Table]:
    """The tables of explore.json: classes, splits, repeated texts, texts in several splits."""
    return {name.capitalize(): rows for name, rows in files.explore.get("tables", {}).items()}


def layer_tables(files: RunFiles) -> dict[str, Table]:
    """The probe's accuracies: a row for each layer and pooling."""
    layers = files.metrics.get("layers")
    return {"Probe by layer": layers} if layers else {}


def class_tables(files: RunFiles) -> dict[str, Table]:
    """Precision, recall and F1 of each class: a table per split."""
    if not len(files.predictions):
        return {}
    return {
        f"Classes, {split} split": records(
            per_class(rows["label"], rows["predicted_label"], files.labels)
        )
        for split, rows in files.predictions.groupby("split", sort=False)
    }


def records(rows: Any) -> Table:
    """A DataFrame's rows as dicts."""
    return rows.to_dict("records") if len(rows) else []


def caption(picture: Path) -> str:
    """The text a screen reader says for a picture, made from its file name."""
    return picture.stem.replace("_", " ")


def data_uri(picture: Path) -> str:
    """The PNG file as a data: URI, so that the page works without any other file."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")

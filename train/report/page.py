"""report.html: all of a run on one page that needs nothing but itself."""

import base64
from pathlib import Path
from typing import Any

import jinja2

from train.metrics import PREFIX, doubtful_labels, per_class
from train.report.files import RunFiles, read_run
from train.runs import write_text

ROWS = 3_000  # of predictions.csv on the page: a browser is at ease with so many
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
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    doubtful = doubtful_labels(files.predictions) if len(files.predictions) else []
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
    """[{"": "accuracy", "validation": 0.93, "test": 0.92}, ...]."""
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
    """What is said of the whole run and not of a split."""
    starts = tuple(prefix + "_" for prefix in PREFIX.values())
    return {
        name.replace("_", " "): value
        for name, value in metrics.items()
        if not name.startswith(starts) and not isinstance(value, list)
    }


def explore_tables(files: RunFiles) -> dict[str, Table]:
    """What `explore` counted: splits, repeated texts, texts shared by splits."""
    return {name.capitalize(): rows for name, rows in files.explore.get("tables", {}).items()}


def layer_tables(files: RunFiles) -> dict[str, Table]:
    """The probe's accuracies, a row per layer."""
    layers = files.metrics.get("layers")
    return {"Probe by layer": layers} if layers else {}


def class_tables(files: RunFiles) -> dict[str, Table]:
    """Precision, recall and F1 of every class, a table per split."""
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


def number(value: Any) -> str:
    """A cell of a table; None is an empty one, text stays as it is.

    >>> [number(value) for value in (0.675, 18.413, 16_000, None, "joy")]
    ['0.6750', '18.41', '16,000', '', 'joy']
    """
    if value is None:
        return ""
    if isinstance(value, float):
        size = abs(value)
        shape = ".4f" if 1e-3 <= size < 1 or size == 0 else ",.0f" if size >= 1e4 else ".4g"
        return format(value, shape)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def caption(picture: Path) -> str:
    """Words under a picture, from its file's name."""
    return picture.stem.replace("_", " ")


def data_uri(picture: Path) -> str:
    """The picture itself as an address, so that the page needs no second file."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")

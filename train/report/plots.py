"""Draw the pictures of a run as PNG files with matplotlib.

Each class has the same colour in every picture, from the palette of Okabe and Ito (2008), which
readers with the common forms of colour blindness can tell apart.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from train.metrics import PREFIX, calibration, calibration_error
from train.runs import RunFiles

COLOURS = ["#0072B2", "#E69F00", "#CC79A7", "#D55E00", "#009E73", "#56B4E9", "#777777"]
BLUE, ORANGE, GREY = COLOURS[0], COLOURS[1], COLOURS[6]
WIDTH = 6.4  # inches
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 140,
    "text.parse_math": False,  # a $ in a label is a dollar sign, not the start of a formula
}
MANY = 15  # with more classes, numbers inside a confusion matrix would be too small to read


def save_plots(files: RunFiles, folder: Path) -> list[Path]:
    """Draw each picture that the run has data for; the PNG paths, in the order of the page."""
    folder.mkdir(exist_ok=True)
    # Pictures of an earlier run in this folder would be taken for pictures of this one.
    for old in folder.glob("*.png"):
        old.unlink()
    paths = []
    with matplotlib.rc_context(STYLE):
        for name, figure in draw(files):
            paths.append(folder / f"{name}.png")
            figure.savefig(paths[-1])
    return paths


def draw(files: RunFiles) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of each picture whose data the run folder holds."""
    if len(files.lengths):
        yield "classes", classes(files)
        yield "words", words(files)
        yield "tokens", tokens(files.lengths["tokens"], files.explore["limit"])
    if len(files.steps):
        yield "loss", losses(files.steps, files.evaluations)
    if "layers" in files.metrics:
        yield "layers", layers(pd.DataFrame(files.metrics["layers"]), files.metrics)
    if len(files.map):
        yield "map", flat_map(files.map, files.labels, files.metrics["map"])
    if len(files.predictions):
        for split, rows in files.predictions.groupby("split", sort=False):
            yield f"confusion_{split}", confusion(rows, files.labels, str(split))
            yield f"calibration_{split}", reliability(rows, str(split))


def colour(label_id: int) -> str:
    """The colour of a class; with more than seven classes, colours repeat."""
    return COLOURS[label_id % len(COLOURS)]


def shorten(name: str, length: int = 20) -> str:
    """A class name cut to at most `length` characters, so that it fits beside an axis."""
    return name if len(name) <= length else name[: length - 1] + "…"


def by_class_height(n_labels: int) -> float:
    """Height in inches of a picture that has one row for each class."""
    return 1.4 + 0.36 * n_labels


def classes(files: RunFiles) -> Figure:
    """Bar chart: texts per class in the first split (the tutorial's "Frequency of Classes")."""
    split = files.lengths["split"].iloc[0]
    rows = files.lengths[files.lengths["split"] == split]
    counts = rows["label_name"].value_counts().reindex(files.labels, fill_value=0)
    figure = Figure(figsize=(WIDTH, by_class_height(len(counts))))
    axes = figure.subplots()
    bars = axes.barh(
        [shorten(name) for name in counts.index],
        counts,
        color=[colour(i) for i in range(len(counts))],
    )
    axes.bar_label(bars, [f"{n:,} ({n / counts.sum():.1%})" for n in counts], padding=4)
    axes.invert_yaxis()  # label 0 on top
    axes.margins(x=0.2)  # room for the numbers
    axes.set(title=f"Frequency of classes, {split} split", xlabel="texts")
    return figure


def words(files: RunFiles) -> Figure:
    """Box plot: words per text by class. Box: quartiles; whiskers: 1.5 times the box's length."""
    groups = [
        files.lengths.loc[files.lengths["label_name"] == name, "words"] for name in files.labels
    ]
    figure = Figure(figsize=(WIDTH, by_class_height(len(groups))))
    axes = figure.subplots()
    boxes = axes.boxplot(
        groups,
        orientation="horizontal",
        showfliers=False,
        patch_artist=True,
        widths=0.6,
        tick_labels=[shorten(name) for name in files.labels],
        medianprops={"color": "black"},
    )
    for i, box in enumerate(boxes["boxes"]):
        box.set(facecolor=colour(i), alpha=0.75)
    axes.invert_yaxis()
    axes.set(title="Words per text by class, all splits (outliers not drawn)", xlabel="words")
    return figure


def tokens(lengths: pd.Series, limit: int) -> Figure:
    """Histogram: tokens per text, with the length at which texts are truncated."""
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.subplots()
    longest = int(lengths.max())
    axes.hist(lengths, bins=range(0, longest + 2, max(1, longest // 60)), color=BLUE)
    over = (lengths > limit).mean()
    if longest > limit:
        axes.axvline(limit, color=ORANGE, linestyle="--")
    axes.set_title(f"Tokens per text: {over:.1%} are over the limit of {limit} tokens")
    axes.set(xlabel="tokens, with [CLS] and [SEP]", ylabel="texts")
    return figure


def losses(steps: pd.DataFrame, evaluations: pd.DataFrame) -> Figure:
    """Line chart: training loss of each step, its running mean, and validation loss."""
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.subplots()
    # One batch's loss is a noisy estimate; a running mean over 1/50 of the steps shows the trend.
    window = max(1, len(steps) // 50)
    axes.plot(steps["step"], steps["loss"], color=BLUE, alpha=0.25, linewidth=0.8)
    smooth = steps["loss"].rolling(window, center=True, min_periods=1).mean()
    axes.plot(steps["step"], smooth, color=BLUE, label=f"training, mean of {window} steps")
    if len(evaluations):
        axes.plot(
            evaluations["step"],
            evaluations["eval_loss"],
            "o--",
            color=COLOURS[3],
            label="validation",
        )
    axes.set(title="Loss", xlabel="optimiser step", ylabel="cross entropy, nats")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="upper right")
    return figure


def layers(records: pd.DataFrame, metrics: dict) -> Figure:
    """Line chart: the probe's accuracy on each layer, on the validation split if there is one."""
    name = next(n for n in ("eval", "test", "train") if f"{n}_accuracy" in records)
    split = next(split for split, prefix in PREFIX.items() if prefix == name)
    figure = Figure(figsize=(WIDTH, 3.6))
    axes = figure.subplots()
    for pooling, title, style, line_colour in (
        ("cls", "[CLS]", "o-", BLUE),
        ("mean", "mean of the tokens", "s--", ORANGE),
    ):
        rows = records[records["pooling"] == pooling]
        axes.plot(rows["layer"], rows[f"{name}_accuracy"], style, color=line_colour, label=title)
    axes.axhline(metrics[f"{name}_baseline"], color=GREY, linestyle=":", label="majority baseline")
    axes.set(title=f"Probe by layer, {split} split", xlabel="layer (0: embeddings)")
    axes.set_ylabel("accuracy")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.1))
    return figure


def flat_map(points: pd.DataFrame, labels: list[str], method: str) -> Figure:
    """Density maps, one per class, of the training texts in two dimensions."""
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(WIDTH, 0.6 + 2.0 * rows))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    # The axes leave out 0.5 % of the points on each side: a few outliers would set the scale and
    # squeeze all other texts into a corner of the panel.
    low, high = points[["x", "y"]].quantile(0.005), points[["x", "y"]].quantile(0.995)
    extent = (low["x"], high["x"], low["y"], high["y"])
    for i, (label, axes) in enumerate(zip(labels, panels)):
        shades = LinearSegmentedColormap.from_list(label, ["white", colour(i), "black"])
        its = points[points["label"] == label]
        axes.hexbin(its["x"], its["y"], gridsize=20, extent=extent, cmap=shades, linewidths=0)
        axes.set(title=shorten(label), xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
        for side in ("top", "right"):
            axes.spines[side].set_visible(True)
    for axes in panels[len(labels) :]:
        axes.set_visible(False)
    figure.suptitle(f"Training texts by hidden state, in two dimensions ({method})", fontsize=11)
    return figure


def confusion(rows: pd.DataFrame, labels: list[str], split: str) -> Figure:
    """Confusion matrix, normalised by row: the share of a class's texts that got each label."""
    matrix = confusion_matrix(
        rows["label"], rows["predicted_label"], labels=labels, normalize="true"
    )
    side = max(3.6, 1.6 + 0.62 * min(len(labels), MANY))
    figure = Figure(figsize=(side + 0.4, side))
    axes = figure.subplots()
    # The scale is fixed at 0 to 1, so that matrices of two splits or two runs can be compared.
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= MANY:
        for (i, j), share in np.ndenumerate(matrix):
            shade = "white" if share > 0.65 else "black"  # readable on dark and on light blue
            axes.text(j, i, f"{share:.2f}", ha="center", va="center", color=shade)
    names = [shorten(name, 14) for name in labels]
    size = 10 if len(labels) <= MANY else max(3, 150 / len(labels))
    axes.set_xticks(
        range(len(labels)), names, rotation=45, ha="right", rotation_mode="anchor", size=size
    )
    axes.set_yticks(range(len(labels)), names, size=size)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(title=f"Normalised confusion, {split} split", xlabel="predicted", ylabel="given label")
    return figure


def reliability(rows: pd.DataFrame, split: str) -> Figure:
    """Reliability diagram: accuracy against confidence; below the diagonal is over-confident."""
    table = calibration(
        rows["probability"].to_numpy(), (rows["label"] == rows["predicted_label"]).to_numpy()
    )
    figure = Figure(figsize=(WIDTH, 4.4))
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="as sure as right")
    axes.plot(table["confidence"], table["accuracy"], "o-", color=BLUE, label="this model")
    axes.set(ylabel="accuracy", ylim=(0, 1.03))
    axes.set_title(f"Calibration, {split} split: expected error {calibration_error(table):.3f}")
    axes.legend(frameon=False, loc="upper left")
    counts.bar(table["confidence"], table["texts"], width=0.04, color=BLUE)
    counts.set(ylabel="texts", xlabel="probability of the predicted label", xlim=(0, 1.03))
    return figure

"""The pictures of a run, as PNG files. Colours, order of classes and sizes are fixed here.

A class has one colour in every picture: Okabe and Ito's palette, which readers with any of the
common colour blindnesses can tell apart; no picture relies on colour alone.
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
from train.report.files import RunFiles

COLOURS = ["#0072B2", "#E69F00", "#CC79A7", "#D55E00", "#009E73", "#56B4E9", "#777777"]
BLUE, ORANGE, _, RED, GREEN, _, GREY = COLOURS
WIDTH = 6.4  # inches
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 140,
    "text.parse_math": False,  # labels are the user's: a $ is a dollar
}
MANY = 15  # classes beyond which numbers inside a confusion matrix would be unreadable


def save_plots(files: RunFiles, folder: Path) -> list[Path]:
    """All pictures that the files of a run give, as PNG in the folder, in the order to be shown."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    paths = []
    with matplotlib.rc_context(STYLE):
        for name, figure in draw(files):
            paths.append(folder / f"{name}.png")
            figure.savefig(paths[-1])
    return paths


def draw(files: RunFiles) -> Iterator[tuple[str, Figure]]:
    """Name and figure of every picture for which there is data."""
    if len(files.lengths):
        yield "classes", classes(files)
        yield "words", words(files)
        yield "tokens", tokens(files.lengths["tokens"], files.explore["limit"])
    if len(files.steps):
        yield "loss", losses(files.steps, files.evaluations)
        yield "learning_rate", learning_rate(files.steps)
    if len(files.evaluations):
        yield "evaluation", evaluations(files.evaluations)
    if "layers" in files.metrics:
        yield "layers", layers(pd.DataFrame(files.metrics["layers"]), files.metrics)
    if len(files.map):
        yield "map", flat_map(files.map, files.labels, files.metrics["map"])
    if len(files.predictions):
        for split, rows in files.predictions.groupby("split", sort=False):
            yield f"confusion_{split}", confusion(rows, files.labels, str(split))
            yield f"calibration_{split}", reliability(rows, str(split))


def colour(label_id: int) -> str:
    """One colour per class, the same in every picture."""
    return COLOURS[label_id % len(COLOURS)]


def shorten(name: str, length: int = 20) -> str:
    """A class name that fits beside an axis."""
    return name if len(name) <= length else name[: length - 1] + "…"


def by_class_height(n_labels: int) -> float:
    """Inches for a picture with a line per class."""
    return 1.4 + 0.36 * n_labels


def classes(files: RunFiles) -> Figure:
    """Texts per class in the first split: the tutorial's "Frequency of Classes"."""
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
    """Box plot by class: the box holds the middle half, the whiskers reach 1.5 boxes further."""
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
    """How many texts have how many tokens, and where the model's limit cuts."""
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
    """Every step's loss is noise around a curve, so the curve is drawn over it."""
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.subplots()
    window = max(1, len(steps) // 50)
    axes.plot(steps["step"], steps["loss"], color=BLUE, alpha=0.25, linewidth=0.8)
    smooth = steps["loss"].rolling(window, center=True, min_periods=1).mean()
    axes.plot(steps["step"], smooth, color=BLUE, label=f"training, mean of {window} steps")
    if len(evaluations):
        axes.plot(
            evaluations["step"],
            evaluations["eval_loss"],
            "o--",
            color="#D55E00",
            label="validation",
        )
    axes.set(title="Loss", xlabel="optimiser step", ylabel="cross entropy, nats")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="upper right")
    return figure


def learning_rate(steps: pd.DataFrame) -> Figure:
    """The schedule as it was followed: warm-up, then down to zero."""
    figure = Figure(figsize=(WIDTH, 2.6))
    axes = figure.subplots()
    axes.plot(steps["step"], steps["lr"], color=BLUE)
    axes.set(title="Learning rate", xlabel="optimiser step")
    axes.set_ylim(bottom=0)
    return figure


def evaluations(records: pd.DataFrame) -> Figure:
    """Accuracy and both means of F1 after each evaluation."""
    figure = Figure(figsize=(WIDTH, 3.2))
    axes = figure.subplots()
    curves = (("accuracy", "o-", BLUE), ("f1", "s--", ORANGE), ("macro_f1", "^:", GREEN))
    for name, style, line_colour in curves:
        title = {"f1": "weighted F1", "macro_f1": "macro F1"}.get(name, name)
        axes.plot(records["epoch"], records[f"eval_{name}"], style, color=line_colour, label=title)
    axes.set(title="Validation, epoch by epoch", xlabel="epoch")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes.legend(frameon=False, loc="lower right")
    return figure


def layers(records: pd.DataFrame, metrics: dict) -> Figure:
    """Accuracy layer by layer on the split that models are chosen by."""
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
    """One panel per class over the same plane: where its texts lie, the darker the more."""
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(WIDTH, 0.6 + 2.0 * rows))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    # A few far points would squeeze all others into a corner of the panel.
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
    """Each row sums to 1: of the texts of a class, the share that was given each label."""
    matrix = confusion_matrix(
        rows["label"], rows["predicted_label"], labels=labels, normalize="true"
    )
    side = max(3.6, 1.6 + 0.62 * min(len(labels), MANY))
    figure = Figure(figsize=(side + 0.4, side))
    axes = figure.subplots()
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= MANY:
        for (i, j), share in np.ndenumerate(matrix):
            shade = "white" if share > 0.65 else "black"
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
    """Points on the diagonal: right as often as it is sure. Below: too sure."""
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

"""Draw the pictures of a run with matplotlib: PNG files for plots/, SVG for the pages.

Each class has the same colour in every picture, from the palette of Okabe and Ito (2008), which
readers with the common forms of colour blindness can tell apart. In an SVG, colours are CSS
variables, so that pictures follow the page's light or dark theme.
"""

import html
import io
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import confusion_matrix

from train.metrics import PREFIX, calibration, calibration_error, wilson_interval
from train.report.summary import baseline, best_evaluation, by_split, layers_split
from train.runs import RunFiles

COLOURS = ["#0072b2", "#e69f00", "#cc79a7", "#d55e00", "#009e73", "#56b4e9", "#777777"]
BLUE, ORANGE, RED = COLOURS[0], COLOURS[1], COLOURS[3]
INK, SOFT, LINE, PAPER = "#1c1e21", "#5b6168", "#d9dce0", "#ffffff"
# What each colour is called in page.css, where the dark theme gives it another value.
THEME = {colour: f"var(--c{i})" for i, colour in enumerate(COLOURS)}
THEME |= {INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)", PAPER: "var(--paper)"}
WIDTH = 6.4  # inches
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 140,
    "svg.fonttype": "none",  # text stays text: searchable, and in the reader's own fonts
    "svg.hashsalt": "minibert",  # the same figure gives the same ids
    "text.parse_math": False,  # a $ in a label is a dollar sign, not the start of a formula
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor"], INK),
    **dict.fromkeys(["xtick.color", "ytick.color"], SOFT),
}
# Tried after matplotlib's own DejaVu Sans, which has no Chinese, Japanese, Korean or emoji.
FONTS = ["Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Micro Hei", "Microsoft YaHei"]
FONTS += ["PingFang SC", "Hiragino Sans", "Noto Sans Arabic", "Noto Emoji", "Segoe UI Emoji"]
MANY = 40  # classes: a picture with a row for each of them shows this many at most
POINTS = 2_000  # of a map: more would hide each other


class Picture(NamedTuple):
    """One picture: its name, the matplotlib figure, and which section of the page shows it."""

    name: str
    figure: Figure
    section: str  # "" for a picture that is only saved as PNG: the page draws its own


def save_plots(files: RunFiles, folder: Path) -> dict[str, list[str]]:
    """Draw each picture that the run has data for into `folder`, as PNG; return the SVG of those
    that the page shows, by section."""
    folder.mkdir(exist_ok=True)
    # Pictures of an earlier run in this folder would be taken for pictures of this one.
    for old in folder.glob("*.png"):
        old.unlink()
    sections: dict[str, list[str]] = {}
    with matplotlib.rc_context(STYLE | {"font.family": font_families()}):
        for picture in draw(files):
            picture.figure.savefig(folder / f"{picture.name}.png")
            if picture.section:
                svg = themed_svg(picture.figure, picture.name, files.labels)
                sections.setdefault(picture.section, []).append(svg)
    return sections


def draw(files: RunFiles) -> Iterator[Picture]:
    """Each picture whose data the run folder holds."""
    if any(run["evaluations"] for run in files.compare.get("runs", [])):
        yield Picture("curves", curves(files.compare["runs"]), "training")
    if len(files.lengths):
        yield Picture("classes", classes(files), "data")
        yield Picture("words", words(files), "data")
        yield Picture("tokens", tokens(files.lengths["tokens"], files.explore["limit"]), "data")
    if len(files.steps):
        yield Picture("loss", losses(files), "training")
    if len(files.evaluations) > 1:  # one point is no curve: it is the page's headline
        yield Picture("accuracy", accuracies(files), "training")
    if "layers" in files.metrics:
        yield Picture("layers", layers(files.metrics), "")
    if len(files.map):
        yield Picture("map", flat_map(files.map, files.labels, files.metrics["map"]), "map")
    for split, rows in by_split(files.predictions):
        yield Picture(f"confusion_{split}", confusion(rows, files.labels, split), "")
        figure = reliability(rows, split, len(files.labels))
        yield Picture(f"calibration_{split}", figure, "calibration")


def themed_svg(figure: Figure, name: str, labels: list[str]) -> str:
    """The figure as an <svg> element for a page: colours as CSS variables, nothing loaded."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    # Namespaces, metadata and the global style rule are for a file of its own: inside an HTML page
    # they are noise, and the rule would apply to the whole page.
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r' (xmlns(:\w+)?|version|width|height)="[^"]*"', "", svg, count=5)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r' id="[a-zA-Z.0-9]+_\d+"', "", svg)  # figure_1, text_3, ...: on every picture
    svg = re.sub(r"#[0-9a-f]{6}\b", lambda match: THEME.get(match[0], match[0]), svg)
    svg = re.sub(r"(font: [^;\"]*?\d+px) [^;\"]*", r"\1 system-ui, sans-serif", svg)
    for words, label in zip(short_names(labels), shortened(labels)):
        if words != label:  # the reader's browser has more fonts than matplotlib found
            svg = svg.replace(f">{html.escape(words)}<", f">{html.escape(label)}<")
    label = html.escape(name.replace("_", " "))
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def font_families() -> list[str]:
    """DejaVu Sans, which matplotlib brings, and those of FONTS that are installed."""
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in FONTS if name in installed)]


@cache
def drawable() -> frozenset[int]:
    """The code points that the fonts have a glyph for."""
    paths = (font_manager.findfont(name) for name in font_families())
    return frozenset(c for path in paths for c in font_manager.get_font(path).get_charmap())


def shortened(names: list[str], length: int = 24) -> list[str]:
    """Names cut in the middle to fit beside an axis; no two of them become the same.

    >>> shortened(["card_payment_wrong_exchange_rate", "card_payment_not_recognised", "joy"])
    ['card_payment…change_rate', 'card_payment…_recognised', 'joy']
    """
    head = length // 2
    cut = [n if len(n) <= length else f"{n[:head]}…{n[head + 1 - length :]}" for n in names]
    return [f"{n} ({i})" if cut.count(n) > 1 else n for i, n in enumerate(cut)]


def short_names(names: list[str]) -> list[str]:
    """`shortened`, with what no font here can draw said in words: an emoji by its Unicode name, any
    other script as "class 3". matplotlib would draw boxes and warn once per glyph."""
    short = []
    for i, name in enumerate(shortened(names)):
        lacking = [c for c in name if ord(c) not in drawable()]
        if any(unicodedata.category(c)[0] == "L" for c in lacking):
            name = f"class {i}"
        for c in lacking:  # a variation selector or another invisible mark has nothing to say
            is_symbol = unicodedata.category(c)[0] == "S"
            name = name.replace(c, unicodedata.name(c, "symbol").lower() if is_symbol else "")
        short.append(name or f"class {i}")
    return short


def colour(label_id: int) -> str:
    """The colour of a class; with more than seven classes, colours repeat."""
    return COLOURS[label_id % len(COLOURS)]


def one_panel(width: float = WIDTH, height: float = 3.6) -> tuple[Figure, Axes]:
    """An empty picture of this size in inches."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def smoothed(losses: pd.Series) -> tuple[pd.Series, int]:
    """The running mean, and over how many steps: a batch's loss is a noisy estimate, and the mean
    of a fiftieth of the steps shows the trend."""
    window = max(1, len(losses) // 50)
    return losses.rolling(window, center=True, min_periods=1).mean(), window


def rows_figure(n_rows: int) -> tuple[Figure, Axes]:
    """An empty picture with one row for each class, the first on top."""
    figure, axes = one_panel(height=1.4 + 0.32 * n_rows)
    axes.set_ylim(n_rows - 0.4, -0.6)
    return figure, axes


def classes(files: RunFiles) -> Figure:
    """Bar chart: texts per class in the first split (the tutorial's "Frequency of Classes")."""
    split = files.lengths["split"].iloc[0]
    rows = files.lengths[files.lengths["split"] == split]
    counts = rows["label_name"].value_counts().reindex(files.labels, fill_value=0)
    shown = np.sort(np.argsort(-counts.to_numpy(), kind="stable")[:MANY])
    figure, axes = rows_figure(len(shown))
    # Bars stand at numbers, not at names: matplotlib would merge two names that are cut alike.
    bars = axes.barh(range(len(shown)), counts.iloc[shown], color=[colour(i) for i in shown])
    names = short_names(files.labels)
    axes.set_yticks(range(len(shown)), [names[i] for i in shown])
    texts = [f"{n:,} ({n / max(1, counts.sum()):.1%})" for n in counts.iloc[shown]]
    axes.bar_label(bars, texts, padding=4, color=INK)
    axes.margins(x=0.2)  # room for the numbers
    some = f", the {MANY} largest of {len(counts)}" if len(counts) > MANY else ""
    axes.set(title=f"Frequency of classes, {split} split{some}", xlabel="texts")
    return figure


def words(files: RunFiles) -> Figure:
    """Box plot: words per text by class. Box: quartiles; whiskers: 1.5 times the box's length."""
    names = short_names(files.labels)[:MANY]
    by_class = dict(list(files.lengths.groupby("label_name")["words"]))
    groups = [by_class.get(name, pd.Series(dtype=int)) for name in files.labels[:MANY]]
    figure, axes = rows_figure(len(groups))
    boxes = axes.boxplot(
        groups,
        positions=range(len(groups)),
        orientation="horizontal",
        showfliers=False,
        patch_artist=True,
        widths=0.6,
        tick_labels=names,
        manage_ticks=True,
        medianprops={"color": INK, "linewidth": 2},
        whiskerprops={"color": SOFT},
        capprops={"color": SOFT},
    )
    for i, box in enumerate(boxes["boxes"]):
        box.set(facecolor=colour(i), edgecolor=SOFT, alpha=0.75)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    some = f"the first {MANY} classes" if len(files.labels) > MANY else "by class"
    axes.set(title=f"Words per text {some}, all splits (outliers not drawn)", xlabel="words")
    return figure


def tokens(lengths: pd.Series, limit: int) -> Figure:
    """Histogram: tokens per text, with the length at which texts are truncated."""
    figure, axes = one_panel()
    longest = int(lengths.max())
    axes.hist(lengths, bins=range(0, longest + 2, max(1, longest // 60)), color=BLUE)
    over = (lengths > limit).mean()
    if longest > limit:
        axes.axvline(limit, color=RED, linestyle="--")
    axes.set_title(f"Tokens per text: {over:.1%} are over the limit of {limit} tokens")
    axes.set(xlabel="tokens, with [CLS] and [SEP]", ylabel="texts")
    return figure


def losses(files: RunFiles) -> Figure:
    """Line chart: training loss of each step, its running mean, validation loss, and the learning
    rate as a strip below."""
    steps, evaluations = files.steps, files.evaluations
    figure = Figure(figsize=(WIDTH, 3.6))
    axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=[8, 1])
    smooth, window = smoothed(steps["loss"])
    axes.plot(steps["step"], steps["loss"], color=BLUE, alpha=0.25, linewidth=0.8)
    axes.plot(steps["step"], smooth, color=BLUE, label=f"training, mean of {window} steps")
    guessing = np.log(len(files.labels))  # cross entropy of 1/C for each of C classes
    axes.axhline(guessing, color=SOFT, linestyle=":", label=f"guessing, ln {len(files.labels)}")
    if len(evaluations):
        axes.plot(evaluations["step"], evaluations["eval_loss"], "o--", color=RED)
        axes.lines[-1].set_label("validation")
    best = best_evaluation(evaluations)
    if best is not None:
        axes.plot(best["step"], best["eval_loss"], "o", color=RED, markersize=11, fillstyle="none")
        axes.lines[-1].set_label(f"lowest, epoch {best['epoch']:g}")
    axes.set(title="Loss", ylabel="cross entropy, nats")
    # A single step far above the rest must not flatten the curve; the axis starts at 0.
    axes.set_ylim(0, 1.1 * max(guessing, steps["loss"].quantile(0.99), smooth.max()))
    figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=9)
    strip.fill_between(steps["step"], steps["lr"], color=ORANGE, linewidth=0)
    strip.set(xlabel="optimiser step", yticks=[], ylim=(0, None))
    strip.set_ylabel("rate", rotation=0, ha="right", va="center")
    return figure


def curves(runs: list[dict[str, Any]]) -> Figure:
    """Line charts of several runs: training loss (running mean) and validation accuracy."""
    figure = Figure(figsize=(1.5 * WIDTH, 3.8))
    losses, accuracies = figure.subplots(1, 2)
    trained = [run for run in runs if run["evaluations"]]
    for i, run in enumerate(trained):
        steps, evaluations = pd.DataFrame(run["steps"]), pd.DataFrame(run["evaluations"])
        marker = "os^Dv"[i % 5]
        mean_losses, _ = smoothed(steps["loss"])
        losses.plot(steps["step"], mean_losses, color=colour(i), label=run["name"])
        at, accuracy = evaluations["epoch"], evaluations["eval_accuracy"]
        accuracies.plot(at, accuracy, f"{marker}-", color=colour(i), label=run["name"])
    losses.set(title="Training loss, running mean", xlabel="optimiser step", ylim=(0, None))
    accuracies.set(title="Validation accuracy", xlabel="epoch", ylim=(0, 1.02))
    accuracies.xaxis.set_major_locator(MaxNLocator(integer=True))
    accuracies.legend(frameon=False)
    return figure


def accuracies(files: RunFiles) -> Figure:
    """Line chart: accuracy and macro F1 after each evaluation, beside the majority baseline."""
    records = files.evaluations
    figure, axes = one_panel()
    curves = (("accuracy", "o-", BLUE, "accuracy"), ("macro_f1", "^:", RED, "macro F1"))
    for name, style, line_colour, label in curves:
        axes.plot(records["epoch"], records[f"eval_{name}"], style, color=line_colour, label=label)
    majority = baseline(files, "validation")
    if majority is not None:
        axes.axhline(majority, color=SOFT, linestyle="--", label="majority baseline")
    axes.set(title="Validation split", xlabel="epoch", ylim=(0, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(frameon=False, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def layers(metrics: dict[str, Any]) -> Figure:
    """Line chart: the probe's accuracy on each layer, on the validation split if there is one."""
    split, column = layers_split(metrics["layers"][0])
    records = pd.DataFrame(metrics["layers"])
    figure, axes = one_panel()
    for pooling, title, style, line_colour in (
        ("cls", "[CLS]", "o-", BLUE),
        ("mean", "mean of the tokens", "s--", ORANGE),
    ):
        rows = records[records["pooling"] == pooling]
        axes.plot(rows["layer"], rows[column], style, color=line_colour, label=title)
    axes.axhline(
        metrics[f"{PREFIX[split]}_baseline"], color=SOFT, linestyle=":", label="majority baseline"
    )
    axes.set(title=f"Probe by layer, {split} split", xlabel="layer (0: embeddings)")
    axes.set_ylabel("accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.1))
    return figure


def flat_map(points: pd.DataFrame, labels: list[str], method: str) -> Figure:
    """Scatter chart: hidden states of texts in two dimensions, a colour and a marker per class, and
    each class's name at its median. One panel, so the time does not grow with the classes."""
    n_points = len(points)
    if n_points > POINTS:
        points = points.sample(POINTS, random_state=0)
    figure, axes = one_panel(1.5 * WIDTH, 5.2)
    ids = points["label"].map({name: i for i, name in enumerate(labels)}).to_numpy()
    for i in range(min(len(labels), len(COLOURS))):  # one call per colour, not one per class
        its = points[ids % len(COLOURS) == i]
        axes.scatter(its["x"], its["y"], s=14, color=colour(i), alpha=0.55, linewidths=0)
    medians = points.groupby("label")[["x", "y"]].median()
    names = dict(zip(labels, short_names(labels)))
    for label in points["label"].value_counts().index[:MANY]:
        edge = colour(labels.index(label))
        box = {"facecolor": PAPER, "alpha": 0.85, "edgecolor": edge, "pad": 2}
        x, y = medians.loc[label].tolist()
        axes.text(x, y, names[label], ha="center", va="center", bbox=box)
    # The axes leave out 0.5 % of the points on each side: a few outliers would set the scale and
    # squeeze all other texts into the middle.
    low, high = points[["x", "y"]].quantile(0.005), points[["x", "y"]].quantile(0.995)
    room = 0.03 * (high - low)
    axes.set(xlim=(low["x"] - room["x"], high["x"] + room["x"]), xticks=[], yticks=[])
    axes.set_ylim(low["y"] - room["y"], high["y"] + room["y"])
    some = f", {POINTS:,} of {n_points:,} texts" if n_points > POINTS else f", {n_points:,} texts"
    axes.set_title(f"Hidden states in two dimensions: {method}{some}")
    return figure


def confusion(rows: pd.DataFrame, labels: list[str], split: str) -> Figure:
    """Confusion matrix, normalised by row: the share of a class's texts that got each label."""
    matrix = confusion_matrix(
        rows["label"], rows["predicted_label"], labels=labels, normalize="true"
    )
    few = len(labels) <= 15  # with more, numbers in the cells would be too small to read
    side = max(3.6, 1.6 + 0.62 * min(len(labels), 15))
    figure, axes = one_panel(side + 0.4, side)
    # The scale is fixed at 0 to 1, so that matrices of two splits or two runs can be compared.
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    if few:
        for (i, j), share in np.ndenumerate(matrix):
            shade = "white" if share > 0.65 else "black"  # readable on dark and on light blue
            axes.text(j, i, f"{share:.2f}", ha="center", va="center", color=shade)
    if len(labels) <= 2 * MANY:
        size = 10 if few else 150 / len(labels)
        turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(labels)), short_names(labels), size=size, **turned)
        axes.set_yticks(range(len(labels)), short_names(labels), size=size)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(title=f"Normalised confusion, {split} split", xlabel="predicted", ylabel="given label")
    return figure


def reliability(rows: pd.DataFrame, split: str, n_labels: int) -> Figure:
    """Reliability diagram: accuracy against confidence, with 95 % Wilson intervals and the number
    of texts in each bin. Below the diagonal the model is over-confident."""
    table = calibration(rows["probability"], rows["label"] == rows["predicted_label"])
    figure = Figure(figsize=(WIDTH, 4.0))
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], color=SOFT, linestyle=":", label="as sure as right")
    low, high = wilson_interval(table["accuracy"].to_numpy(), table["texts"].to_numpy())
    axes.vlines(table["confidence"], low, high, color=BLUE, alpha=0.5, label="95 % interval")
    # Area by count: a bin with one text is a dot at 0 or 1 and must not look like a finding.
    sizes = 12 + 180 * table["texts"] / table["texts"].max()
    axes.scatter(table["confidence"], table["accuracy"], s=sizes, color=BLUE, label="this model")
    enough = table["texts"] >= 10  # no line through bins that hold too little to trust
    axes.plot(table["confidence"], table["accuracy"].where(enough), color=BLUE)
    axes.set(ylabel="accuracy", ylim=(-0.03, 1.03))
    axes.set_title(f"Calibration, {split} split: expected error {calibration_error(table):.3f}")
    figure.legend(frameon=False, loc="outside lower center", ncols=3, fontsize=9, markerscale=0.5)
    bars = counts.bar(table["confidence"], table["texts"], width=0.04, color=BLUE)
    counts.bar_label(bars, [f"{n:,}" for n in table["texts"]], fontsize=8, color=INK)
    counts.margins(y=0.4)
    # The most probable of C labels cannot have less than 1/C.
    counts.set(ylabel="texts", xlabel="probability of the predicted label", yticks=[])
    counts.set_xlim(min(1 / max(2, n_labels), table["confidence"].min()) - 0.03, 1.03)
    return figure

"""Every figure shows the run's own numbers: bar, box, line and cell are read back and compared."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from safetensors.numpy import load_file
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from tests.command import Result
from train.metrics import calibration
from train.options import ProbeOptions
from train.probe import draw_map
from train.report.plots import colour, draw
from train.runs import RunFiles, read_run


@pytest.fixture(scope="module")
def drawn(finished) -> Callable:
    """drawn("probe", flags...) -> (the files of such a run, its figures by name)."""

    def draw_run(name: str, *flags: str) -> tuple[RunFiles, dict[str, Figure]]:
        result: Result = finished(name, *flags)
        files = read_run(result.folder)
        return files, {picture.name: picture.figure for picture in draw(files)}

    return draw_run


def axes_of(figure: Figure, place: int = 0) -> Axes:
    return figure.axes[place]


def tick_names(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def line(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    """x and y of the line that the legend calls so."""
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return list(found.get_xdata()), list(found.get_ydata())


def ends_of(lines) -> list[tuple[float, float]]:
    """Lower and upper end of each vertical line."""
    return [(segment[0][1], segment[1][1]) for segment in lines.get_segments()]


# explore


def test_a_bar_is_as_long_as_its_class_is_frequent_in_the_first_split(drawn) -> None:
    files, figures = drawn("explore")
    axes = axes_of(figures["classes"])
    train = files.lengths[files.lengths["split"] == "train"]
    counts = [int((train["label_name"] == name).sum()) for name in files.labels]
    assert tick_names(axes.yaxis) == files.labels and len(set(counts)) > 1
    assert [bar.get_width() for bar in axes.patches] == counts
    shown = [f"{n} ({n / len(train):.1%})" for n in counts]
    assert [text.get_text() for text in axes.texts] == shown
    assert axes.yaxis_inverted(), "the first class stands on top"


def test_a_box_has_the_median_and_quartiles_of_the_words_of_its_class(drawn) -> None:
    files, figures = drawn("explore")
    axes = axes_of(figures["words"])
    assert tick_names(axes.yaxis) == files.labels
    words = files.lengths.groupby("label_name")["words"]
    boxes = [patch.get_path().vertices for patch in axes.patches]
    for place, (name, box) in enumerate(zip(files.labels, boxes, strict=True)):
        low, middle, high = words.get_group(name).quantile([0.25, 0.5, 0.75])
        assert (box[:, 0].min(), box[:, 0].max()) == pytest.approx((low, high)), name
        across = (box[:, 1].min(), box[:, 1].max())  # the one line as high as the box
        assert sum(across) / 2 == pytest.approx(place)
        (median,) = [line for line in axes.lines if tuple(line.get_ydata()) == across]
        assert list(median.get_xdata()) == [middle, middle], name


def test_the_histogram_counts_every_text_by_its_tokens(drawn) -> None:
    files, figures = drawn("explore")
    axes = axes_of(figures["tokens"])
    tokens = files.lengths["tokens"]
    for bar in axes.patches:
        left, right = bar.get_x(), bar.get_x() + bar.get_width()
        assert bar.get_height() == ((tokens >= left) & (tokens < right)).sum()
    assert sum(bar.get_height() for bar in axes.patches) == len(tokens)
    assert axes.get_title() == "Tokens per text: 0.0% are over the limit of 512 tokens"


def test_texts_over_the_limit_are_counted_in_the_title_and_the_limit_is_a_line(drawn) -> None:
    files, figures = drawn("explore", "--max-length", "12")
    axes = axes_of(figures["tokens"])
    share = (files.lengths["tokens"] > 12).mean()
    assert 0 < share < 1 and f" {share:.1%} are over the limit of 12 " in axes.get_title()
    assert list(axes.lines[0].get_xdata()) == [12, 12]


# finetune


def test_the_loss_curves_are_those_of_the_log(drawn) -> None:
    files, figures = drawn("finetune")
    axes = axes_of(figures["loss"])
    assert len(files.steps) == 18 and len(files.evaluations) == 2
    noisy = axes.lines[0]
    assert list(noisy.get_xdata()) == list(files.steps["step"])
    assert list(noisy.get_ydata()) == list(files.steps["loss"])
    steps, losses = line(axes, "validation")
    assert steps == [9, 18] and losses == list(files.evaluations["eval_loss"])
    best = files.evaluations["eval_loss"].idxmin()
    lowest = line(axes, f"lowest, epoch {best + 1}")
    assert lowest == ([steps[best]], [losses[best]])
    assert set(line(axes, "guessing, ln 6")[1]) == {np.log(6)}


def test_the_accuracy_of_every_evaluation_stands_beside_the_majority_baseline(drawn) -> None:
    files, figures = drawn("finetune")
    axes = axes_of(figures["accuracy"])
    for name, label in (("eval_accuracy", "accuracy"), ("eval_macro_f1", "macro F1")):
        assert line(axes, label) == ([1.0, 2.0], list(files.evaluations[name]))
    assert set(line(axes, "majority baseline")[1]) == {files.metrics["eval_baseline"]}


def test_a_cell_is_the_share_of_its_rows_class_that_got_its_columns_label(drawn) -> None:
    """Rows are given labels, columns predicted ones; of an untrained model, so that rows and
    columns differ."""
    files, figures = drawn("evaluate")
    axes = axes_of(figures["confusion_test"])
    assert tick_names(axes.xaxis) == files.labels == tick_names(axes.yaxis)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "given label")
    given, predicted = files.predictions["label"], files.predictions["predicted_label"]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert len(cells) == 36
    for (column, row), shown in cells.items():
        of_class = given == files.labels[row]
        share = (predicted[of_class] == files.labels[column]).mean() if of_class.any() else 0
        assert shown == f"{share:.2f}"
        assert axes.images[0].get_array()[row, column] == pytest.approx(share)


def test_the_calibration_curve_has_confidence_and_accuracy_of_each_tenth(drawn) -> None:
    files, figures = drawn("evaluate")
    right = files.predictions["label"] == files.predictions["predicted_label"]
    table = calibration(files.predictions["probability"].to_numpy(), right.to_numpy())
    intervals, dots = axes_of(figures["calibration_test"]).collections
    assert dots.get_offsets().tolist() == table[["confidence", "accuracy"]].to_numpy().tolist()
    sizes = dots.get_sizes()
    assert [a < b for a, b in pairwise(sizes)] == [a < b for a, b in pairwise(table["texts"])]
    for (low, high), accuracy in zip(ends_of(intervals), table["accuracy"], strict=True):
        assert 0 <= low <= accuracy <= high <= 1 and high - low > 0.01
    enough = table["texts"] >= 10
    _, curve = axes_of(figures["calibration_test"]).lines  # below ten texts there is no line
    assert list(np.isnan(curve.get_ydata())) == list(~enough)
    bars = axes_of(figures["calibration_test"], 1).patches
    assert [bar.get_height() for bar in bars] == list(table["texts"])
    assert sum(table["texts"]) == len(files.predictions)


# probe


def test_the_lines_of_the_layers_are_the_accuracies_of_each_pooling(drawn) -> None:
    files, figures = drawn("probe", "--layers", "all", "--pooling", "mean")
    axes = axes_of(figures["layers"])
    records = pd.DataFrame(files.metrics["layers"])
    seen = []
    for pooling, label in (("cls", "[CLS]"), ("mean", "mean of the tokens")):
        rows = records[records["pooling"] == pooling]
        layers, accuracies = line(axes, label)
        assert layers == [0, 1, 2] and accuracies == list(rows["eval_accuracy"])
        seen.append(accuracies)
    assert seen[0] != seen[1]
    baseline = line(axes, "majority baseline")[1]
    assert set(baseline) == {files.metrics["eval_baseline"]}


@pytest.mark.slow
def test_a_dot_of_the_map_has_its_classs_colour_and_each_name_stands_at_its_median(drawn) -> None:
    files, figures = drawn("probe")
    axes = axes_of(figures["map"])
    assert len(axes.collections) == len(files.labels) == len(axes.texts)
    for label_id, (label, dots) in enumerate(zip(files.labels, axes.collections)):
        its = files.map.loc[files.map["label"] == label, ["x", "y"]]
        np.testing.assert_array_equal(dots.get_offsets(), its)
        assert to_hex(dots.get_facecolor()[0]) == colour(label_id)
        (name,) = [text for text in axes.texts if text.get_text() == label]
        assert name.get_position() == pytest.approx(tuple(its.median()))


def test_the_points_of_the_map_are_the_validation_texts_on_the_plane_that_lda_finds_in_train(
    finished, tmp_path_factory, few_sentences
) -> None:
    """The sign of each axis is free."""
    file = tmp_path_factory.mktemp("features") / "features.safetensors"
    files = read_run(finished("probe", "--features", str(file)).folder)
    features = load_file(file)
    train, validation = (pd.read_csv(few_sentences / f"{n}.csv") for n in ("train", "validation"))
    scaler = StandardScaler().fit(features["train"])
    lda = LinearDiscriminantAnalysis(n_components=2)
    lda.fit(scaler.transform(features["train"]), train["label"].map(files.labels.index))
    expected = lda.transform(scaler.transform(features["validation"]))
    np.testing.assert_allclose(abs(files.map[["x", "y"]]), abs(expected), rtol=1e-3, atol=1e-3)
    assert list(files.map["label"]) == list(validation["label"])
    assert "validation split drawn" in files.metrics["map"]


def test_two_classes_have_no_plane_so_pca_draws_the_training_texts() -> None:
    features = {"train": np.random.default_rng(0).normal(size=(40, 5)), "test": np.zeros((3, 5))}
    labels = {"train": np.arange(40) % 2, "test": np.array([0, 1, 0])}
    split, points, method = draw_map(features, labels, ProbeOptions(demo=True))
    assert split == "train" and "PCA" in method
    scaled = MinMaxScaler().fit_transform(features["train"])
    expected = PCA(n_components=2, random_state=42).fit_transform(scaled)
    np.testing.assert_allclose(abs(points), abs(expected), atol=1e-6)

"""compare puts runs side by side, report draws a page again: both from the folders' files alone."""

import json
import re
from pathlib import Path

import pytest

from tests.command import Result, run_command
from train.__main__ import main
from train.report.plots import draw
from train.runs import read_run


@pytest.fixture(scope="module")
def two_runs(finished) -> list[str]:
    """Folders of a probe and of a fine-tuning run on the same sentences."""
    return [str(finished(name).folder) for name in ("probe", "finetune")]


def compare(folder: Path, *runs: str) -> Result:
    return run_command(["compare", *runs, "--output-dir", str(folder)], folder, report=True)


def test_options_that_differ_and_figures_stand_side_by_side(two_runs, tmp_path) -> None:
    result = compare(tmp_path / "compared", *two_runs)
    assert result.status == 0, result.err
    compared = json.loads((result.folder / "compare.json").read_text(encoding="utf-8"))
    probe, finetune = (read_run(Path(folder)) for folder in two_runs)
    names = [run["name"] for run in compared["runs"]]
    options = {row[""]: [row[name] for name in names] for row in compared["options"]}
    assert options["command"] == ["probe", "finetune"]
    assert options["epochs"] == [None, finetune.config["options"]["epochs"]]
    assert "text_column" not in options, "the same in both runs"
    figures = {row[""]: [row[name] for name in names] for row in compared["metrics"]}
    for name in ("eval_accuracy", "test_accuracy", "eval_f1", "eval_loss"):
        assert figures[name] == [probe.metrics[name], finetune.metrics[name]]
    order = [name.partition("_")[0] for name in figures]
    assert order == sorted(order, key=["train", "eval", "test"].index)
    for shown in (f"{probe.metrics['eval_accuracy']:.4f}", "eval_accuracy", *names):
        assert shown in result.out
    assert "nan" not in result.out


def test_the_page_draws_a_bar_per_accuracy_and_a_curve_per_trained_run(two_runs, tmp_path) -> None:
    result = compare(tmp_path / "compared", *two_runs)
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    bars = re.findall(r'<tr data-run="[^"]+" data-split="(\w+)"', page)
    probe, finetune = (read_run(Path(folder)).metrics for folder in two_runs)
    assert bars == ["train", "validation", "test", "validation", "test"]
    widths = re.findall(r'<rect width="([\d.]+)" height="14" style="fill: var\(--c0\)"', page)
    names = ("train_accuracy", "eval_accuracy", "test_accuracy")
    expected = [probe[n] for n in names] + [finetune[n] for n in names[1:]]
    assert [float(width) / 200 for width in widths] == pytest.approx(expected)
    (picture,) = draw(read_run(result.folder))
    losses, accuracies = picture.figure.axes
    (curve,) = accuracies.lines
    history = read_run(Path(two_runs[1])).evaluations
    assert list(curve.get_ydata()) == list(history["eval_accuracy"])
    assert list(losses.lines[0].get_xdata()) == list(read_run(Path(two_runs[1])).steps["step"])


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ((), "runs is missing"),
        ((0,), "name the folders of two runs"),
        ((0, 0), "name the folders of two runs"),
        ((0, None), "not a run"),
    ],
)
def test_what_cannot_be_compared_is_refused(two_runs, tmp_path, folders, message) -> None:
    words = [str(tmp_path) if n is None else two_runs[n] for n in folders]
    result = compare(tmp_path / "compared", *words)
    assert result.status == 2 and message in result.err


@pytest.mark.slow
def test_report_draws_a_lost_page_again(two_runs) -> None:
    page = Path(two_runs[1]) / "report.html"
    page.unlink(missing_ok=True)
    assert main(["report", two_runs[1]]) == 0 and page.is_file()
    assert main(["report", str(page.parent.parent)]) == 2

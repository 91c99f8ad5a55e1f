"""The report: made from a run folder's files alone, whole in itself, safe, alive in a browser."""

import io
import json
import math
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import train.report.page
from tests import ROOT
from train.metrics import predictions
from train.options import FinetuneOptions, ProbeOptions
from train.report import write_report
from train.report.plots import COLOURS, colour, shortened
from train.report.summary import verdicts
from train.runs import Run, read_run, write_csv

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
LABELS = ["sadness", "joy", "a & b <i>"]


@pytest.fixture
def run_folder(tmp_path) -> Path:
    """A fine-tuning run that went wrong once (a NaN), on texts that mean no good."""
    folder = tmp_path / "run"
    run = Run("finetune", FinetuneOptions(output_dir=str(folder)))
    run.open(labels=LABELS)
    run.log({"step": n, "loss": 2 / n, "lr": 1e-5, "grad_norm": 1.0} for n in range(1, 9))
    run.log([{"step": 9, "loss": float("nan"), "lr": 1e-5, "grad_norm": float("nan")}])
    figures = {"eval_loss": 0.5, "eval_accuracy": 0.7, "eval_f1": 0.7, "eval_macro_f1": 0.6}
    figures["eval_baseline"] = 0.4
    run.log([{"step": 9, "epoch": 1.0, **figures}, {"step": 18, "epoch": 2.0, **figures}])
    run.write_metrics({"global_step": 9, **figures})
    texts = [HOSTILE, "null", "quite a\rcarriage return", *(f"text {i}" for i in range(57))]
    random = np.random.default_rng(0)
    labels, logits = random.integers(3, size=60), 2 * random.normal(size=(60, 3))
    rows = pd.DataFrame({"text": texts, "label": labels})
    run.write_predictions(predictions({"validation": rows}, {"validation": logits}, LABELS))
    return folder


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def texts_on(page: str) -> list[str]:
    """The texts that the page holds for its table."""
    (found,) = re.findall(r'<script type="application/json" id="rows">(.*?)</script>', page)
    return [row[0] for row in json.loads(found)["rows"]]


def test_a_finished_run_gets_its_curves_confusion_calibration_and_page(run_folder) -> None:
    page = page_of(run_folder)
    names = {path.stem for path in (run_folder / "plots").iterdir()}
    assert names == {"loss", "accuracy", "confusion_validation", "calibration_validation"}
    assert page.count('<svg role="img"') == 3  # the page draws the confusion matrix by itself
    assert page.count('class="cell"') == len(LABELS) ** 2
    assert [page.count(f'<tr><td class="n">{epoch}</td>') for epoch in (1, 2)] == [1, 1]
    assert "base64" not in page


def test_the_page_asks_for_nothing_outside_itself(run_folder) -> None:
    page = page_of(run_folder)
    sources = re.findall(r'<(?:img|link|script|iframe)[^>]*(?:src|href)="([^"]*)"', page)
    assert sources and all(source.startswith("data:") for source in sources)
    assert "http://" not in page and "https://" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}  # a picture's own parts


def test_texts_and_labels_are_escaped_and_null_is_a_text(run_folder) -> None:
    page = page_of(run_folder)
    assert HOSTILE not in page and "<script>document" not in page and "<img" not in page
    assert "a &amp; b &lt;i&gt;" in page and "<i>" not in page
    texts = texts_on(page)
    assert HOSTILE in texts and "null" in texts and "quite a\rcarriage return" in texts
    assert len(texts) == 60  # the carriage return has not cut a row in two


def test_of_many_predictions_the_page_has_the_first_and_says_so(run_folder, monkeypatch) -> None:
    monkeypatch.setattr(train.report.page, "BUDGET", 1_500)  # bytes
    page = page_of(run_folder)
    n = len(texts_on(page))
    assert 10 < n < 60
    assert f"The {n} texts with the highest loss; predictions.csv has all 60." in page


@pytest.mark.slow
def test_a_page_of_long_texts_stays_small_and_says_where_the_rest_is(tmp_path) -> None:
    run = Run("evaluate", FinetuneOptions(output_dir=str(tmp_path)))
    run.open(labels=LABELS)
    rows = pd.DataFrame({"text": "wordy " * 4_000, "label": np.arange(2_000) % 3})
    scores = np.random.default_rng(0).normal(size=(2_000, 3))
    run.write_predictions(predictions({"test": rows}, {"test": scores}, LABELS))
    page = page_of(tmp_path)
    assert len(page.encode()) < 3_000_000
    assert {len(text) for text in texts_on(page)} == {train.report.page.LETTERS}


def test_a_log_that_a_crash_cut_short_still_gives_a_page(run_folder) -> None:
    with open(run_folder / "log.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 10, "lo')
    assert page_of(run_folder)


def test_a_folder_without_a_run_gets_nothing(tmp_path) -> None:
    assert write_report(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_an_earlier_run_do_not_stay(run_folder) -> None:
    (run_folder / "plots").mkdir()
    (run_folder / "plots" / "layers.png").write_bytes(b"of last week")
    write_report(run_folder)
    assert not (run_folder / "plots" / "layers.png").exists()


@pytest.fixture
def no_matplotlib(monkeypatch):
    """As if it were not installed."""
    for name in [name for name in sys.modules if name.startswith("train.report.plots")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_without_matplotlib_the_page_has_its_tables_and_says_what_is_missing(
    run_folder, no_matplotlib, capsys
) -> None:
    page = page_of(run_folder)
    said = capsys.readouterr().out
    assert "matplotlib is missing" in said and "pip install" in said
    assert '<svg role="img"' not in page and 'class="cell"' in page
    assert "Classes, validation split" in page and len(texts_on(page)) == 60
    assert not (run_folder / "plots").exists()


@pytest.mark.slow
def test_explore_and_probe_leave_their_pictures(command) -> None:
    explored = command("explore", report=True, to="explore").folder
    probed = command("probe", "--layers", "all", report=True, to="probe").folder
    assert names_of_pictures(explored) == {"classes", "words", "tokens"}
    splits = ("validation", "test")
    assert names_of_pictures(probed) == {"layers", "map"} | {
        f"{picture}_{split}" for picture in ("confusion", "calibration") for split in splits
    }
    page = (probed / "report.html").read_text(encoding="utf-8")
    assert 'class="heat"' in page and page.count('class="best"') >= 1


def names_of_pictures(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "plots").iterdir()}


@pytest.mark.slow
def test_many_classes_with_awkward_names_are_drawn(tmp_path) -> None:
    """Dollars are no formulas, and seventy-seven classes still give a picture of sane size."""
    labels = [f"$label_{i}$ with a name that is far too long for an axis" for i in range(77)]
    run = Run("evaluate", FinetuneOptions(output_dir=str(tmp_path)))
    run.open(labels=labels)
    ids = np.arange(77)
    rows = pd.DataFrame({"text": "text", "label": ids})
    run.write_predictions(predictions({"test": rows}, {"test": np.eye(77)}, labels))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_report(tmp_path)
    with Image.open(tmp_path / "plots" / "confusion_test.png") as picture:
        assert max(picture.size) < 2_000


def test_labels_of_other_scripts_are_drawn_or_named_without_a_warning_per_glyph(tmp_path) -> None:
    labels = ["喜悦", "غضب", "😀 smile", "joy"]
    run = Run("evaluate", FinetuneOptions(output_dir=str(tmp_path)))
    run.open(labels=labels)
    ids = np.arange(40) % 4
    rows = pd.DataFrame({"text": "text", "label": ids})
    run.write_predictions(predictions({"test": rows}, {"test": np.eye(4)[ids]}, labels))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = write_report(tmp_path).read_text(encoding="utf-8")
    for label in labels:
        assert f'data-true="{label}"' in page and f">{label}</text>" in page


def test_class_names_that_begin_alike_stay_apart() -> None:
    names = [f"card_payment_with_a_very_long_name_{end}" for end in ("fee", "rate", "not")]
    assert len(set(shortened([*names, *names[:1]]))) == 4


@pytest.mark.slow
def test_hundreds_of_classes_still_give_a_page(tmp_path) -> None:
    labels = [f"class {i}" for i in range(750)]
    run = Run("probe", ProbeOptions(output_dir=str(tmp_path), demo=True))
    run.open(labels=labels)
    ids = np.arange(1_500) % 750
    rows = pd.DataFrame({"text": "text", "label": ids})
    scores = np.random.default_rng(0).normal(size=(1_500, 750))
    run.write_predictions(predictions({"test": rows}, {"test": scores}, labels))
    points = pd.DataFrame(np.random.default_rng(0).normal(size=(1_500, 2)), columns=["x", "y"])
    write_csv(tmp_path / "map.csv", points.assign(label=[labels[i] for i in ids]))
    run.write_metrics({"map": "LDA", "test_accuracy": 0.0})
    page = page_of(tmp_path)
    assert len(page.encode()) < 3_000_000
    assert page.count('class="cell"') <= 1_500  # cells that hold texts, not all of half a million


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours (WCAG 2.1)."""

    def luminance(colour: str) -> float:
        rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_words_stand_out_from_paper_and_panel_in_both_themes(theme) -> None:
    css = (ROOT / "train" / "report" / "page.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", css.split("@media")[theme]))
    for words in ("ink", "soft", "accent", "wrong", "right"):
        for ground in ("paper", "panel"):
            assert contrast(colours[words], colours[ground]) >= 4.5, (words, ground)


def luminance_and_hue_without_red_green(hex_colour: str) -> np.ndarray:
    """A colour as a reader without the long-wavelength cones sees it (Viénot et al., 1999), in a
    space where equal distances look about equally different."""
    rgb = np.array([int(hex_colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    protan = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ) @ (protan @ linear)
    x, y, z = np.cbrt(xyz / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_six_colours_stay_apart_for_readers_who_do_not_see_red() -> None:
    seen = [luminance_and_hue_without_red_green(colour(i)) for i in range(6)]
    gaps = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert len(set(COLOURS)) == len(COLOURS) and min(gaps) > 10  # 2.3 is just noticeable


@pytest.mark.slow
def test_a_browser_shows_the_page_and_filters_its_texts(run_folder, browse) -> None:
    page = browse(write_report(run_folder))
    rows = page.locator("#texts tbody tr:visible")
    assert rows.count() == 50 and page.locator("#count").inner_text() == "60 of 60 texts"
    page.click("#more")
    assert rows.count() == 60 and page.locator("#more").is_hidden()

    page.select_option("#label", LABELS[2])
    labels = rows.locator("td:nth-child(2)").all_inner_texts()
    assert set(labels) == {LABELS[2]} and 0 < len(labels) < 60
    page.check("#mistakes")
    mistakes = rows.count()
    assert 0 < mistakes < len(labels)
    assert page.locator("#count").inner_text() == f"{mistakes} of 60 texts"

    page.uncheck("#mistakes")
    page.select_option("#label", "")
    page.select_option("#predicted", LABELS[1])
    assert set(rows.locator("td:nth-child(3)").all_inner_texts()) == {LABELS[1]}
    page.click("#clear")
    assert page.locator("#count").inner_text() == "60 of 60 texts"
    page.fill("#search", "TEXT 5")  # whatever the case
    assert sorted(rows.locator("td:first-child").all_inner_texts()) == sorted(
        f"text {n}" for n in [5, *range(50, 57)]
    )
    page.fill("#search", "<script>")
    assert rows.locator("td:first-child").all_inner_texts() == [HOSTILE]
    assert page.title() == "finetune: run" and page.troubles == []


@pytest.mark.slow
def test_a_click_on_a_cell_of_the_confusion_matrix_shows_its_texts(run_folder, browse) -> None:
    page = browse(write_report(run_folder))
    cells = page.locator(".cell")
    counts = {}
    for place in range(cells.count()):
        cell = cells.nth(place)
        names = cell.get_attribute("data-true"), cell.get_attribute("data-predicted")
        counts[names] = int(cell.text_content())
    files = read_run(run_folder).predictions
    expected = files.groupby(["label", "predicted_label"]).size().to_dict()
    assert counts == {(a, b): expected.get((a, b), 0) for a in LABELS for b in LABELS}
    cell = page.locator(f'[data-true="{LABELS[0]}"][data-predicted="{LABELS[1]}"]')
    for act in (cell.click, lambda: cell.press("Enter")):
        page.click("#clear")
        act()
        rows = page.locator("#texts tbody tr:visible")
        assert rows.count() == expected[LABELS[0], LABELS[1]]
        assert set(rows.locator("td:nth-child(2)").all_inner_texts()) == {LABELS[0]}
        assert set(rows.locator("td:nth-child(3)").all_inner_texts()) == {LABELS[1]}
    assert page.troubles == []


@pytest.mark.slow
def test_every_column_of_the_texts_is_sorted_both_ways(run_folder, browse) -> None:
    page = browse(write_report(run_folder))
    page.click("#more")
    for column, name in ((4, "probability"), (5, "loss"), (7, "row")):
        seen = []
        for _ in range(2):
            page.click(f"#texts th:nth-child({column}) button")
            order = page.locator(f"#texts th:nth-child({column})").get_attribute("aria-sort")
            cells = page.locator(f"#texts tbody td:nth-child({column})").all_inner_texts()
            values = [float(cell) for cell in cells]
            assert values == sorted(values, reverse=order == "descending"), name
            seen.append(order)
        assert set(seen) == {"ascending", "descending"}


@pytest.mark.slow
def test_the_answer_its_baseline_and_the_verdicts_are_above_the_fold(run_folder, browse) -> None:
    report = write_report(run_folder)
    below = "e => e.getBoundingClientRect().bottom"
    for width, last in ((1280, ".verdicts li:last-child"), (390, ".verdicts li:first-child")):
        page = browse(report, width=width)
        for part in (".big", ".hero p:nth-of-type(2)", last):
            assert page.locator(part).first.evaluate(below) <= 800, (width, part)
    assert page.locator(".big").inner_text() == "0.7000"
    assert "majority baseline" in page.locator(".hero").inner_text()
    assert page.locator("[data-verdict]").count() >= 1


@pytest.mark.slow
def test_two_thousand_texts_fit_into_twelve_screens(tmp_path, browse) -> None:
    run = Run("evaluate", FinetuneOptions(output_dir=str(tmp_path)))
    run.open(labels=LABELS)
    rows = pd.DataFrame({"text": "many words " * 60, "label": np.arange(2_000) % 3})
    scores = np.random.default_rng(0).normal(size=(2_000, 3))
    run.write_predictions(predictions({"test": rows}, {"test": scores}, LABELS))
    run.write_metrics({"test_accuracy": 0.33, "test_loss": 1.1})
    page = browse(write_report(tmp_path))
    assert page.evaluate("document.documentElement.scrollHeight") <= 12 * 800
    assert page.locator("#texts tbody tr").count() == 50
    page.locator("#texts .more").first.click()
    assert len(page.locator("#texts tbody td").first.inner_text()) > 600


@pytest.mark.slow
def test_pictures_follow_the_theme(run_folder, browse) -> None:
    """Mean lightness of every picture and matrix: light on paper, dark in the dark."""
    report = write_report(run_folder)
    lightness = {}
    for scheme in ("light", "dark"):
        page = browse(report, scheme=scheme)
        pictures = page.locator("svg[role=img], .confusion svg")
        assert pictures.count() == 4
        shots = [pictures.nth(n).screenshot() for n in range(4)]
        lightness[scheme] = [
            np.asarray(Image.open(io.BytesIO(shot)).convert("L")).mean() for shot in shots
        ]
    assert min(lightness["light"]) > 170 and max(lightness["dark"]) < 85


@pytest.mark.slow
def test_the_page_fits_a_phone_and_follows_its_darkness(run_folder, browse) -> None:
    report = write_report(run_folder)
    paper = "getComputedStyle(document.body).backgroundColor"
    page = browse(report, width=360, scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    dark = page.evaluate(paper)
    assert page.troubles == []
    assert dark != browse(report).evaluate(paper) == "rgb(255, 255, 255)"


@pytest.mark.parametrize(
    ("losses", "step"),
    [([1, 2, 3], None), ([1, math.nan, 0.5], None), ([1, math.inf, math.nan], 2), ([math.nan], 1)],
)
def test_a_run_has_diverged_if_its_losses_do_not_come_back(run_folder, losses, step) -> None:
    """In fp16 single steps overflow and are skipped."""
    files = read_run(run_folder)._replace(
        steps=pd.DataFrame({"step": range(1, len(losses) + 1), "loss": losses})
    )
    found = [verdict.words for verdict in verdicts(files) if verdict.kind == "diverged"]
    assert found == ([f"The training loss is not finite from step {step} on."] if step else [])

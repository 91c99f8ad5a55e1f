"""The report: made from a run folder's files alone, whole in itself, safe, alive in a browser."""

import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import train.report.page
from train.metrics import predictions
from train.options import FinetuneOptions
from train.report import write_report
from train.report.plots import COLOURS, colour
from train.runs import Run

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
    run.log([{"step": 9, "epoch": 1.0, **figures}, {"step": 18, "epoch": 2.0, **figures}])
    run.write_metrics({"global_step": 9, **figures})
    texts = [HOSTILE, "null", "quite a\rcarriage return", *(f"text {i}" for i in range(57))]
    random = np.random.default_rng(0)
    labels, logits = random.integers(3, size=60), 2 * random.normal(size=(60, 3))
    rows = pd.DataFrame({"text": texts, "label": labels})
    run.write_predictions(predictions({"validation": rows}, {"validation": logits}, LABELS))
    return folder


@pytest.fixture
def many_predictions(run_folder, monkeypatch) -> Path:
    monkeypatch.setattr(train.report.page, "ROWS", 25)
    return run_folder


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def test_a_finished_run_gets_its_curves_confusion_calibration_and_page(run_folder) -> None:
    page = page_of(run_folder)
    names = {path.stem for path in (run_folder / "plots").iterdir()}
    assert names == {"loss", "confusion_validation", "calibration_validation"}
    assert page.count("data:image/png;base64,") == len(names)


def test_the_page_asks_for_nothing_outside_itself(run_folder) -> None:
    page = page_of(run_folder)
    sources = re.findall(r'<(?:img|link|script|iframe)[^>]*(?:src|href)="([^"]*)"', page)
    assert sources and all(source.startswith("data:") for source in sources)
    assert "http://" not in page and "https://" not in page and "url(" not in page


def test_texts_and_labels_are_escaped_and_null_is_a_text(run_folder) -> None:
    page = page_of(run_folder)
    assert HOSTILE not in page and "&lt;script&gt;document.title" in page
    assert "a &amp; b &lt;i&gt;" in page and "<i>" not in page
    assert '<td class="text">null</td>' in page
    assert page.count('<tr data-label="') == 60  # the carriage return has not cut a row in two


def test_of_many_predictions_the_page_has_the_first_and_says_so(many_predictions) -> None:
    page = page_of(many_predictions)
    assert page.count('<tr data-label="') == 25
    assert "The 25 texts with the highest loss; predictions.csv has all 60." in page


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
    assert "data:image/png" not in page
    assert "Classes, validation split" in page and page.count('<tr data-label="') == 60
    assert not (run_folder / "plots").exists()


def test_explore_and_probe_leave_their_pictures(command) -> None:
    explored = command("explore", report=True, to="explore").folder
    probed = command("probe", "--layers", "all", report=True, to="probe").folder
    assert names_of_pictures(explored) == {"classes", "words", "tokens"}
    splits = ("validation", "test")
    assert names_of_pictures(probed) == {"layers", "map"} | {
        f"{picture}_{split}" for picture in ("confusion", "calibration") for split in splits
    }
    assert "Probe by layer" in (probed / "report.html").read_text(encoding="utf-8")


def names_of_pictures(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "plots").iterdir()}


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


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [  # nothing of the browser's own: no network, no sandbox where the tests run as root
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]


@pytest.fixture
def browse(tmp_path) -> Iterator:
    """browse(file, width, scheme) -> an open page whose `troubles` list fills with whatever it
    complains of or asks the network for."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with playwright.sync_playwright() as browsers:
        contexts = []

        def open_page(file: Path, width: int = 1280, scheme: str = "light"):
            context = browsers.chromium.launch_persistent_context(
                tmp_path / f"profile-{len(contexts)}",
                executable_path=CHROMIUM,
                args=QUIET,
                viewport={"width": width, "height": 800},
                color_scheme=scheme,
            )
            contexts.append(context)
            page = context.new_page()
            page.troubles = []
            page.on("console", lambda message: page.troubles.append(message.text))
            page.on("pageerror", lambda error: page.troubles.append(str(error)))
            page.on(
                "request",
                lambda request: (
                    request.url.startswith(("file:", "data:")) or page.troubles.append(request.url)
                ),
            )
            page.goto(file.resolve().as_uri())
            return page

        yield open_page
        for context in contexts:
            context.close()


def test_a_browser_shows_the_page_and_filters_its_texts(run_folder, browse) -> None:
    page = browse(write_report(run_folder))
    rows = page.locator("#texts tbody tr:visible")
    assert rows.count() == 60 and page.locator("#count").inner_text() == "60 of 60 texts"
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 300)")

    page.select_option("#label", LABELS[2])
    labels = rows.locator("td:nth-child(2)").all_inner_texts()
    assert set(labels) == {LABELS[2]} and 0 < len(labels) < 60
    page.check("#mistakes")
    mistakes = rows.count()
    assert 0 < mistakes < len(labels)
    assert page.locator("#count").inner_text() == f"{mistakes} of 60 texts"

    page.uncheck("#mistakes")
    page.select_option("#label", "")
    page.fill("#search", "TEXT 5")  # whatever the case
    assert sorted(rows.locator("td:first-child").all_inner_texts()) == sorted(
        f"text {n}" for n in [5, *range(50, 57)]
    )
    page.fill("#search", "<script>")
    assert rows.locator("td:first-child").all_inner_texts() == [HOSTILE]
    assert page.title() == "finetune: run" and page.troubles == []


def test_the_page_fits_a_phone_and_follows_its_darkness(run_folder, browse) -> None:
    report = write_report(run_folder)
    paper = "getComputedStyle(document.body).backgroundColor"
    page = browse(report, width=360, scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    dark = page.evaluate(paper)
    assert page.troubles == []
    assert dark != browse(report).evaluate(paper) == "rgb(255, 255, 255)"

"""What all tests share: no network unless asked for, and an honest count of what could not run."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

# Read by huggingface_hub and datasets when they are imported, so it is set before anything else.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
# A tiny model's two threads would wait for each other, and for whatever else the machine runs,
# twenty times as long as one of them computes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from huggingface_hub import constants

from tests import EMOTION
from tests.browser import browse as browse  # a fixture for all
from tests.command import Result, run_command
from tests.hub_server import Hub, point_to
from tests.tiny import NO_DROPOUT, REAL_VOCABULARY, tiny


@pytest.fixture(scope="session")
def emotion_folder() -> Path:
    """The folder with the tutorial's train.txt, val.txt and test.txt (`text;label` lines)."""
    if not (EMOTION / "train.txt").exists():
        pytest.skip(f"the emotion files are not at {EMOTION}; name them with MINIBERT_EMOTION")
    return EMOTION


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random encoder of two thin layers and the real vocabulary: trains in
    milliseconds, takes every path that the real one takes."""
    from minibert import DistilBertForMaskedLM
    from tokenizer import WordPieceTokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    config = tiny(**REAL_VOCABULARY, dim=16, hidden_dim=32)
    DistilBertForMaskedLM(config).save_pretrained(folder)
    WordPieceTokenizer.from_pretrained("demo").save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def still_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model without dropout: that draws other random numbers in every process."""
    folder = tmp_path_factory.mktemp("models") / "still"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | NO_DROPOUT), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_classifier(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as fine-tuning leaves it, with the six emotions. Its answers are no better than
    chance, but differ from text to text: its weights are shaken, for fresh ones are all but 0."""
    from minibert import DistilBertForSequenceClassification
    from tokenizer import WordPieceTokenizer
    from train.data import EMOTION_LABELS

    folder = tmp_path_factory.mktemp("models") / "classifier"
    torch.manual_seed(4)  # with this one, three of the labels are answered
    model = DistilBertForSequenceClassification.from_pretrained(
        tiny_model,
        num_labels=6,
        id2label=dict(enumerate(EMOTION_LABELS)),
        label2id={label: i for i, label in enumerate(EMOTION_LABELS)},
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter)
    model.save_pretrained(folder)
    WordPieceTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def few_sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first 70, 24 and 24 of the demo sentences: train, val and test.csv."""
    from train.data import DEMO_FOLDER

    folder = tmp_path_factory.mktemp("data") / "few"
    folder.mkdir()
    for name, n_rows in (("train", 70), ("validation", 24), ("test", 24)):
        lines = (DEMO_FOLDER / f"{name}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / f"{name}.csv").write_text("".join(lines[: n_rows + 1]), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def usual_flags(tiny_model: Path, tiny_classifier: Path, few_sentences: Path) -> Callable:
    """usual_flags("probe", flags...) -> a tiny model, few sentences unless the flags name a file,
    on the CPU; then the flags, which win."""

    def usual(name: str, *flags: str) -> list[str]:
        is_trained = name in ("evaluate", "predict")
        given = ["--model", str(tiny_classifier if is_trained else tiny_model)]
        if name != "predict" and not {"--train-file", "--eval-file", "--test-file"} & {*flags}:
            given += ["--dataset", str(few_sentences)]
        if name != "explore":
            given += ["--device", "cpu"]
        if name == "finetune":
            given += ["--lr", "1e-3"]
        return [*given, *flags]

    return usual


@pytest.fixture
def command(usual_flags: Callable, tmp_path: Path) -> Callable:
    """command("probe", flags...) -> Result(status, folder, out, err, metrics) of a run with the
    usual flags, in tmp_path / to. With report=True it draws its report too; stdin: bytes."""

    def run(name: str, *flags: str, to: str = "run", **how) -> Result:
        if name != "predict":
            flags = ("--output-dir", str(tmp_path / to), *flags)
        return run_command([name, *usual_flags(name, *flags)], tmp_path / to, **how)

    return run


@pytest.fixture(scope="session")
def finished(usual_flags: Callable, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """finished("finetune", flags...) -> the Result of such a run, made once for all tests that ask
    for it: they may read its folder and not change it."""
    results: dict[tuple, Result] = {}

    def run(name: str, *flags: str, **how) -> Result:
        key = (name, *flags, *how.items())
        if key not in results:
            folder = tmp_path_factory.mktemp("finished") / name
            given = usual_flags(name, "--output-dir", str(folder), *flags)
            results[key] = run_command([name, *given], folder, **how)
            assert results[key].status == 0, results[key].err
        return results[key]

    return run


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hub cache in which nothing lies."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def stand_in(empty_cache: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Iterator[Hub]:
    """The Hub is a server in this process with one model, someone/some-model, and its tokenizer."""
    hub = Hub()
    hub.add("someone/some-model", {path.name: path.read_bytes() for path in tiny_model.iterdir()})
    point_to(hub.url, monkeypatch)
    yield hub
    hub.close()


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """said() -> what was printed, and what huggingface_hub has logged: nothing, it should be."""
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("huggingface_hub").addHandler(handler)
    yield lambda: [*logged, *filter(None, capfd.readouterr())]
    logging.getLogger("huggingface_hub").removeHandler(handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    offline = os.environ["HF_HUB_OFFLINE"] not in ("0", "")
    for item in items:
        if item.get_closest_marker("hub"):
            if offline:
                item.add_marker(pytest.mark.skip(reason="needs the Hub: make test-hub"))
            else:
                item.fixturenames.insert(0, "reachable_hub")  # type: ignore[attr-defined]
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def reachable_hub() -> None:
    """Skips on one thing alone: no connection. Any other trouble with the Hub fails the test."""
    import httpx2
    from huggingface_hub import HfApi

    try:
        HfApi().model_info("distilbert/distilbert-base-uncased", timeout=10)
    except httpx2.TransportError as error:
        pytest.skip(f"no network: the Hub cannot be reached ({type(error).__name__})")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for marker in ("hub", "gpu"):
        skipped = [r for r in terminalreporter.stats.get("skipped", []) if marker in r.keywords]
        if skipped:
            terminalreporter.write_line(f"not run here: {len(skipped)} tests marked '{marker}'")

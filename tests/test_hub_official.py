"""What docs/USING.md says about the official weights, from end to end, on a stand-in for the Hub.

Model and data have the official names, shapes, files and revisions; only the numbers in the weights
are random, and the data set is short.
"""

import hashlib
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors import safe_open

from minibert import DistilBertConfig, DistilBertForMaskedLM
from tests import ROOT
from tests.command import run_command
from tests.hub_server import Hub, emotion_files, point_to
from tests.test_config import OFFICIAL as CONFIG
from tokenizer import WordPieceTokenizer
from tokenizer.hub import OFFICIAL, REVISION, SHA256, demo_folder
from train.data.hub import EMOTION, EMOTION_REVISION, EMOTION_ROWS

pytestmark = pytest.mark.slow

USING = (ROOT / "docs" / "USING.md").read_text(encoding="utf-8")
SECTION = USING.partition("\n## With the official weights")[2].partition("\n## ")[0]
COMMANDS = re.findall(r"^python -m train (\w+)(.*?)(?:#.*)?$", SECTION, re.MULTILINE)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """model.safetensors with the names, shapes and bytes of the official file."""
    folder = tmp_path_factory.mktemp("official")
    torch.manual_seed(0)
    DistilBertForMaskedLM(DistilBertConfig()).save_pretrained(folder)
    file = folder / "model.safetensors"
    assert file.stat().st_size == 267_954_768
    with safe_open(file, "pt") as opened:
        assert len(list(opened.keys())) == 105 and opened.metadata() == {"format": "pt"}
    yield file
    shutil.rmtree(folder)  # pytest would keep the last three


@pytest.fixture(scope="module")
def official(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A Hub with both repositories at their revisions, and an empty cache."""
    hub = Hub()
    content = weights.read_bytes()
    files = {
        "config.json": CONFIG.encode(),
        "model.safetensors": content,
        "vocab.txt": (demo_folder() / "vocab.txt").read_bytes(),  # the very same file
        "tokenizer_config.json": b'{"do_lower_case": true, "model_max_length": 512}',
    }
    rows = dict.fromkeys(EMOTION_ROWS, 12)
    hub.add(OFFICIAL, files, REVISION)
    hub.add(f"datasets/{EMOTION}", emotion_files(rows), EMOTION_REVISION)
    cache, work = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setitem(SHA256[OFFICIAL], "model.safetensors", hashlib.sha256(content).hexdigest())
        for split in EMOTION_ROWS:
            patch.setitem(EMOTION_ROWS, split, 12)
        patch.chdir(work)
        point_to(hub.url, patch)
        yield hub
    hub.close()
    shutil.rmtree(cache)
    shutil.rmtree(work)


def test_the_official_model_is_fetched_whole_and_once(official: Hub, weights: Path) -> None:
    model = DistilBertForMaskedLM.from_pretrained("distilbert-base-uncased")
    assert model.config == DistilBertConfig()
    with safe_open(weights, "pt") as opened:
        expected = opened.get_tensor("distilbert.transformer.layer.5.ffn.lin2.weight")
    assert torch.equal(model.distilbert.transformer.layer[5].ffn.lin2.weight, expected)
    tokenizer = WordPieceTokenizer.from_pretrained("distilbert-base-uncased")
    assert tokenizer("hello")["input_ids"] == [101, 7592, 102]
    assert [asked for asked in official.requests if REVISION not in asked] == []
    official.requests.clear()
    DistilBertForMaskedLM.from_pretrained(OFFICIAL)
    WordPieceTokenizer.from_pretrained(OFFICIAL)
    assert official.requests == []


def test_the_section_has_five_commands() -> None:
    names = [name for name, _ in COMMANDS]
    assert names == ["explore", "probe", "finetune", "evaluate", "predict"]


@pytest.mark.parametrize(("name", "flags"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_the_command_of_the_page_works(official: Hub, name: str, flags: str) -> None:
    """In the page's order; two steps of training are enough here."""
    few = ["--max-steps", "2"] if name == "finetune" else []
    result = run_command([name, *shlex.split(flags), *few], Path("run"))
    assert result.status == 0, result.err
    if name == "predict":
        assert re.fullmatch(r"\w+\s+0\.\d+\s+i am so glad you came\n", result.out)


def test_after_that_nothing_is_asked_any_more(official: Hub) -> None:
    official.requests.clear()
    assert run_command(["probe", "--output-dir", "again"], Path("again")).status == 0
    assert official.requests == []

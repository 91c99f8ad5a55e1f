"""Damaged files give one clear error, fast and without filling the memory."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from minibert import DistilBertModel
from tests import ROOT
from tests.tiny import TINY

WORDS = "embeddings.word_embeddings.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    DistilBertModel(TINY).save_pretrained(tmp_path)
    return tmp_path


def with_header(content: bytes, change) -> bytes:
    """The same data behind a changed header."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def set_entry(**fields):
    return lambda content: with_header(content, lambda header: header[WORDS].update(fields))


def drop_words(content: bytes) -> bytes:  # leaves a gap in the data
    return with_header(content, lambda header: header.pop(WORDS))


DAMAGES = {
    "empty": lambda content: b"",
    "shorter than its length field": lambda content: content[:5],
    "cut in the header": lambda content: content[:100],
    "cut in the data": lambda content: content[:-1],
    "bytes after the end": lambda content: content + b"PK\x03\x04",
    "header of 2^62 bytes": lambda content: struct.pack("<Q", 2**62) + content[8:],
    "header of 99 MB": lambda content: struct.pack("<Q", 99_000_000) + content[8:],
    "header not JSON": lambda content: content[:8] + b"x" + content[9:],
    "header not UTF-8": lambda content: content[:10] + b"\xff\xfe" + content[12:],
    "header a list": lambda content: struct.pack("<Q", 8) + b"[1,2,3] ",
    "zeros": lambda content: bytes(len(content)),
    "overlapping tensors": set_entry(data_offsets=[0, 640]),
    "a gap between tensors": drop_words,
    "negative offset": set_entry(data_offsets=[-4, 636]),
    "offsets past the end": set_entry(data_offsets=[10**9, 10**9 + 640]),
    "offsets reversed": set_entry(data_offsets=[640, 0]),
    "shape that needs more bytes": set_entry(shape=[20, 9]),
    "shape beyond 64 bits": set_entry(shape=[2**40, 2**40]),
    "negative shape": set_entry(shape=[-20, -8]),
    "unknown type": set_entry(dtype="F31"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_by_name(damage: str, folder: Path) -> None:
    file = folder / "model.safetensors"
    damaged = DAMAGES[damage](file.read_bytes())
    assert damaged != file.read_bytes()
    file.write_bytes(damaged)
    with pytest.raises(ValueError) as caught:
        DistilBertModel.from_pretrained(folder)
    message = str(caught.value)
    assert message.startswith(f"{file} is not a valid safetensors file: ")
    assert len(message.splitlines()) == 1 and len(message) < len(str(file)) + 400


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:5e3f\nsize 267954768\n", "LFS"),
        (b"\n<!DOCTYPE html>\n<html><body>404</body></html>\n", "web page"),
    ],
)
def test_what_often_lies_in_the_place_of_weights_is_recognised(content, hint, folder) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=rf"model\.safetensors .*{hint}"):
        DistilBertModel.from_pretrained(folder)


def test_a_folder_in_the_place_of_the_file_is_refused_by_name(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    with pytest.raises(ValueError, match=r"model\.safetensors is not a valid"):
        DistilBertModel.from_pretrained(folder)


MEMORY = """
import resource, sys, minibert
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
try:
    minibert.DistilBertModel.from_pretrained(sys.argv[1])
except ValueError as error:
    print(peak() - before, error)
"""


def header_of_99_mb() -> tuple[bytes, int]:
    return struct.pack("<Q", 99_000_000) + b"{", 99_000_008


def header_beyond_all_memory() -> tuple[bytes, int]:
    return struct.pack("<Q", 2**62), 2**20


def two_gb_of_tensor() -> tuple[bytes, int]:
    rows = 2**26  # of 8 floats
    header = {WORDS: {"dtype": "F32", "shape": [rows, 8], "data_offsets": [0, rows * 32]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text, 8 + len(text) + rows * 32


@pytest.mark.slow
@pytest.mark.parametrize("make", [header_of_99_mb, header_beyond_all_memory, two_gb_of_tensor])
def test_a_file_made_to_fill_the_memory_does_not(make, folder: Path) -> None:
    file = folder / "model.safetensors"
    start, size = make()
    with file.open("wb") as opened:
        opened.write(start)
        opened.truncate(size)  # sparse: takes no room on the disk
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, folder],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    grown, _, message = done.stdout.partition(" ")
    assert message.startswith(str(file))
    assert int(grown) < 300_000_000


def test_a_config_of_another_size_allocates_nothing(folder: Path) -> None:
    text = (folder / "config.json").read_text().replace('"dim": 8', f'"dim": {2**20}')
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=rf"has shape .*, but by config.json .*{2**20}"):
        DistilBertModel.from_pretrained(folder)

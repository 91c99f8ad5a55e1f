"""Large data: encoded once, in a file that is checked, for all processes; the same results."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import train.data.encoded
import train.data.load
from tests import ROOT
from tests.test_distributed import losses
from tokenizer import WordPieceTokenizer
from train.batches import Encoded, TokenIds, smallest
from train.data import encode
from train.data.encoded import cache_key, token_ids
from train.folders import cache_folder
from train.options import FinetuneOptions

TEXTS = ["a text", "", "and a longer one, of several words", "[MASK] it", "ümlaute und 漢字"] * 30


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer.from_pretrained("demo")


@pytest.fixture
def texts() -> pd.Series:
    return pd.Series(TEXTS)


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """A cache folder of its own, for data of 24 texts and more (of which the demo's few have)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(train.data.encoded, "LARGE", 24)
    monkeypatch.setattr(train.data.load, "LARGE", 24)
    monkeypatch.setattr(train.data.encoded, "CHUNK", 7)
    return tmp_path / "cache" / "minibert"


def lists(ids: TokenIds) -> list[list[int]]:
    return [part.tolist() for part in np.split(ids.ids, ids.ends[:-1])]


def refuse(*_: object) -> None:
    raise AssertionError("the texts were encoded again")


def test_the_ids_are_the_tokenizers_and_come_from_the_file_the_second_time(
    cache, texts, tokenizer, monkeypatch
) -> None:
    expected = tokenizer(TEXTS)["input_ids"]
    assert lists(token_ids(texts, tokenizer, cache)) == expected
    (file,) = cache.iterdir()
    assert file.name == f"{cache_key(texts, tokenizer)}.ids"
    monkeypatch.setattr(train.data.encoded, "encode_chunks", refuse)
    again = token_ids(texts, tokenizer, cache)
    assert lists(again) == expected
    assert again.ids.dtype == again.lengths.dtype == np.int32
    base = again.ids
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap), "mapped, not read"


def test_small_data_and_data_without_a_cache_leave_no_file(texts, tokenizer, tmp_path) -> None:
    expected = tokenizer(TEXTS)["input_ids"]
    assert lists(token_ids(texts, tokenizer, tmp_path / "cache")) == expected  # 150 are few
    assert lists(token_ids(texts, tokenizer)) == expected
    assert not (tmp_path / "cache").exists()
    nothing = token_ids(pd.Series([], dtype=object), tokenizer)
    assert len(nothing.ids) == len(nothing.lengths) == 0


def cut_short(content: bytearray) -> None:
    del content[-4:]


def odd_size(content: bytearray) -> None:
    del content[-1:]


def empty(content: bytearray) -> None:
    content.clear()


def other_id(content: bytearray) -> None:
    content[40] ^= 1


def other_length(content: bytearray) -> None:
    content[-36] ^= 1


def longer(content: bytearray) -> None:
    content += b"\0\0\0\0"


@pytest.mark.parametrize(
    "damage", [cut_short, odd_size, empty, other_id, other_length, longer], ids=lambda f: f.__name__
)
def test_a_damaged_file_is_found_out_and_made_again(
    cache, texts, tokenizer, capsys, damage
) -> None:
    expected = lists(token_ids(texts, tokenizer, cache))
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    content = bytearray(whole)
    damage(content)
    file.write_bytes(content)
    capsys.readouterr()
    assert lists(token_ids(texts, tokenizer, cache)) == expected
    said = capsys.readouterr().err
    assert f"cache file {file}: it is " in said and "encoded again" in said
    assert file.read_bytes() == whole and [*cache.iterdir()] == [file]


def test_what_cannot_be_written_is_said_and_stops_nothing(
    cache, texts, tokenizer, capsys, monkeypatch
) -> None:
    expected = tokenizer(TEXTS)["input_ids"]
    cache.parent.mkdir()
    cache.write_text("a file in the folder's place")
    assert lists(token_ids(texts, tokenizer, cache)) == expected
    assert "token ids are not cached: " in capsys.readouterr().err
    cache.unlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert lists(token_ids(texts, tokenizer, cache)) == expected
    assert "No space left on device" in capsys.readouterr().err
    assert not any(cache.iterdir()), "nothing unfinished is left"


def test_a_file_belongs_to_texts_tokenizer_and_code(
    texts, tokenizer, tmp_path, monkeypatch
) -> None:
    code = tmp_path / "tokenizer"
    code.mkdir()
    for name in ("rules.py", "unicode.txt"):
        (code / name).write_text("1")
    monkeypatch.setattr(train.data.encoded.tokenizer_package, "__file__", str(code / "__init__.py"))
    keys = [cache_key(texts, tokenizer)]
    keys.append(cache_key(pd.Series([*TEXTS[:-2], TEXTS[-2] + "u", TEXTS[-1][1:]]), tokenizer))
    assert cache_key(pd.Series(["ab", "c"]), tokenizer) != cache_key(
        pd.Series(["a", "bc"]), tokenizer
    )
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(tokenizer.rules.tokens) + "\n", encoding="utf-8")
    keys.append(cache_key(texts, WordPieceTokenizer.from_vocab(vocab, do_lower_case=False)))
    vocab.write_text("\n".join([*tokenizer.rules.tokens, "zzz"]) + "\n", encoding="utf-8")
    keys.append(cache_key(texts, WordPieceTokenizer.from_vocab(vocab)))
    (code / "rules.py").write_text("2")
    keys.append(cache_key(texts, tokenizer))
    (code / "rules.py").write_text("1")
    assert len(set(keys)) == 5 and cache_key(texts, tokenizer) == keys[0]


def test_files_that_no_run_uses_are_removed_in_time(cache, texts, tokenizer) -> None:
    cache.mkdir(parents=True)
    names = {"old.ids": 31, "killed.ids.tmp": 31, "new.ids": 29, "notes.txt": 99}
    for name, days in names.items():
        (cache / name).write_text("")
        then = (cache / name).stat().st_mtime - days * 24 * 3600
        os.utime(cache / name, (then, then))
    token_ids(texts, tokenizer, cache)
    left = {path.name for path in cache.iterdir()}
    assert left == {"new.ids", "notes.txt", f"{cache_key(texts, tokenizer)}.ids"}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("limit", [2, 3, 4, 7, 512])
def test_cutting_ids_is_what_the_tokenizers_truncation_does(texts, side, limit) -> None:
    tokenizer = WordPieceTokenizer.from_pretrained("demo")
    tokenizer.truncation_side = side
    expected = tokenizer(TEXTS, truncation=True, max_length=limit)["input_ids"]
    assert lists(token_ids(texts, tokenizer).cut(limit, side)) == expected
    with pytest.raises(ValueError, match="max_length=1 is less than the 2 special tokens"):
        token_ids(texts, tokenizer).cut(1)


def test_the_device_holds_the_smallest_integers_and_batches_are_the_same() -> None:
    texts = [[5, 6, 7], [8], [9, 10]] * 20_000
    data = Encoded(texts, np.arange(60_000) % 6)
    dtypes = [data.ids.dtype, data.starts.dtype, data.sizes.dtype, data.labels.dtype]
    assert dtypes == [torch.int32, torch.int32, torch.uint8, torch.uint8]
    input_ids, mask, labels = data.batch(np.array([59_999, 1, 0]))
    assert input_ids.tolist() == [[9, 10, 0], [8, 0, 0], [5, 6, 7]]
    assert mask.sum(dim=1).tolist() == [2, 1, 3] and labels.tolist() == [5, 1, 0]
    assert input_ids.dtype == labels.dtype == torch.int64
    unlabelled = Encoded(texts[:3], [0, -100, 700])
    assert unlabelled.labels.tolist() == [0, -100, 700]
    assert [smallest(np.array([n])).dtype for n in (255, 256, -1, 2**15, 2**31)] == [
        *(np.uint8, np.int16, np.int16, np.int32, np.int64)
    ]


def test_the_cache_folder_is_the_users(monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/minibert") and cache_folder(no_cache=True) is None
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which is to be ignored
    monkeypatch.setenv("HOME", "/home/who")
    assert cache_folder() == Path("/home/who/.cache/minibert")


@pytest.mark.parametrize("name", ["explore", "probe", "finetune", "evaluate"])
def test_a_command_names_the_cache_and_computes_the_same_without_it(cache, command, name) -> None:
    files = {"explore": "explore.json"}
    results = []
    for to, flags in (("a", []), ("b", []), ("c", ["--no-cache"])):
        run = command(name, *flags, to=to)
        assert run.status == 0, run.err
        line = run.out.splitlines()[1]  # behind that of what is being loaded
        assert (f"token ids are cached in {cache}; see --no-cache" in line) == (to != "c")
        if to == "a":
            written = {file: file.stat().st_mtime_ns for file in cache.iterdir()}
            assert written
        path = run.folder / files.get(name, "predictions.csv")
        results.append(path.read_bytes())
    assert results[0] == results[1] == results[2]
    assert {*cache.iterdir()} == written.keys()


def test_a_large_file_names_the_cache_before_it_is_read(monkeypatch, tmp_path) -> None:
    from train.__main__ import loading

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "big.csv"
    file.write_bytes(b"x" * 1_000_001)
    given = {"model": "demo", "train_file": str(file)}
    assert loading(FinetuneOptions(**given)) == (
        f"loading model demo, data {file}, cache {tmp_path}/minibert ..."
    )
    line = loading(FinetuneOptions(**given, no_cache=True))
    assert line == f"loading model demo, data {file} ..."


@pytest.mark.slow
def test_the_ids_of_many_texts_are_never_all_python_objects(tokenizer, tmp_path) -> None:
    """50,000 texts of 25 tokens take 10 MB in lists of pointers alone, 5 MB as int32."""
    import tracemalloc

    texts = pd.Series(
        [f"{n} " + "a b c d e f g h i j k l m n o p q r s t u v" for n in range(50_000)]
    )
    token_ids(texts[:1_000], tokenizer)  # the tokenizer's own cache
    tracemalloc.start()
    ids = token_ids(texts, tokenizer, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(ids.lengths) == 50_000 and len(ids.ids) > 50_000 * 24
    assert peak < 25e6, peak


SCRIPT = """
import json, os, sys
import torch.distributed as dist
import train.data.encoded, train.data.load, train.features, train.probe
from train.__main__ import main

train.data.encoded.LARGE = train.data.load.LARGE = 24
rank, seen = os.environ["RANK"], {"encoded": 0, "exchanges": 0, "rows": []}

def counted(function, name):
    def call(*args, **kwargs):
        seen[name] += 1
        return function(*args, **kwargs)
    return call

train.data.encoded.encode_chunks = counted(train.data.encoded.encode_chunks, "encoded")
# What Python asks for; gradients are exchanged below it.
for name in ("all_reduce", "broadcast_object_list", "barrier", "send", "recv"):
    setattr(dist, name, counted(getattr(dist, name), "exchanges"))
get_features = train.probe.get_features

def noted(*args):
    features = get_features(*args)
    seen["rows"] = [len(rows) for rows in features.values()]
    return features

train.probe.get_features = noted
status = main(sys.argv[2:])
open(f"{sys.argv[1]}-{rank}.json", "w").write(json.dumps(seen))
sys.exit(status)
"""


@pytest.fixture
def two_processes(tmp_path, usual_flags):
    """two_processes(command, flags...) -> what rank 0 and rank 1 have seen, run folder."""

    def run(name: str, *flags: str) -> tuple[dict, dict, Path]:
        script, folder = tmp_path / "counting.py", tmp_path / "two"
        script.write_text(SCRIPT)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        arguments = [str(tmp_path / "seen"), name, *usual_flags(name, *flags)]
        finished = subprocess.run(
            [*launcher, "--nproc-per-node", "2", str(script), *arguments, "--output-dir", folder],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        )
        assert finished.returncode == 0, finished.stderr
        seen = [json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in (0, 1)]
        return seen[0], seen[1], folder

    return run


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--no-cache"]], ids=["cache", "no cache"])
def test_rank_0_alone_encodes_and_steps_wait_for_nothing_else(
    two_processes, command, still_model, flags
) -> None:
    training = ["--model", str(still_model), "--lr", "1e-3", "--epochs", "4"]
    first, second, folder = two_processes("finetune", *training, "--batch-size", "1", *flags)
    assert first["encoded"] == 3 and second["encoded"] == 0  # three splits
    # 140 steps; 2 blocks of 50 and 4 evaluations, each with a few exchanges.
    assert first["exchanges"] < 60 and second["exchanges"] < 60
    one = command("finetune", *training, "--batch-size", "2", to="one")
    assert one.status == 0, one.err
    np.testing.assert_allclose(losses(folder), losses(one.folder), rtol=0, atol=1e-3)
    assert len(losses(folder)) == 140


@pytest.mark.slow
def test_features_come_together_on_rank_0_alone(two_processes, command) -> None:
    first, second, folder = two_processes("probe")
    assert first["rows"] == [70, 24, 24] and second["rows"] == [0, 0, 0]
    assert (folder / "metrics.json").exists()


def test_encode_gives_what_it_gave(tokenizer) -> None:
    """An estimator's texts, which no file and no other process has to do with."""
    from minibert import DistilBertConfig

    rows = pd.DataFrame({"text": TEXTS, "label": np.arange(150) % 2})
    data = encode(rows, tokenizer, DistilBertConfig(vocab_size=30522), 6)
    expected = tokenizer(TEXTS, truncation=True, max_length=6)["input_ids"]
    assert data.ids.tolist() == [i for text in expected for i in text]
    assert data.lengths.tolist() == [*map(len, expected)] and data.lengths.dtype == np.int64

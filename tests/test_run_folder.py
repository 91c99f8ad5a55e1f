"""A run folder belongs to one run: nothing of others is lost, followed or shared."""

import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from minibert.atomic import write_whole
from tests import ROOT
from train.__main__ import main
from train.folders import make_folder
from train.options import ExploreOptions, FinetuneOptions
from train.runs import PREVIOUS, Run


@pytest.fixture
def trained(finished, tmp_path):
    """A copy of a whole fine-tuning run, its parts to be lost."""
    folder = tmp_path / "trained"
    shutil.copytree(finished("finetune", "--epochs", "1", "--save-steps", "5").folder, folder)
    return folder


def contents(folder) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_earlier_run_is_put_back_if_the_new_one_cannot_even_begin(
    command, trained, monkeypatch
) -> None:
    before = contents(trained)

    def fail(path, value) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("train.runs.write_json", fail)
    failed = command("finetune", "--output-dir", str(trained), "--overwrite")
    assert failed.status == 2 and "is as it was" in failed.err
    assert contents(trained) == before


DAMAGES = {
    "config.json": ["{", "[1]", '{"command": "finetune", "options": {}, "labels": ["a"]}', "\xff"],
    "metrics.json": ["[1]", '{"eval_accuracy": null}', '{"eval_accuracy": "x"}'],
    "log.jsonl": ["5", '{"loss": 1}', "\xff"],
    "predictions.csv": ["", "text,label\na,b\n"],
}


@pytest.mark.parametrize(
    ("name", "content"), [(name, c) for name, contents in DAMAGES.items() for c in contents]
)
def test_a_damaged_file_of_a_run_is_named(command, trained, capsys, name, content) -> None:
    (trained / name).write_bytes(content.encode("latin1"))
    assert main(["report", str(trained)]) == 2
    said = capsys.readouterr().err
    assert f"{trained / name} is damaged: " in said and len(said.splitlines()) == 1


def test_a_models_folder_is_no_run(trained, capsys) -> None:
    before = contents(trained)
    for words in (["report"], ["compare", str(trained)]):
        assert main([*words, str(trained / "final")]) == 2
        assert "final is not a run folder" in capsys.readouterr().err
    assert contents(trained) == before


@pytest.mark.parametrize("model", ["trained", "trained/final"])
def test_a_run_is_not_written_over_its_own_model(command, trained, tmp_path, model) -> None:
    before = contents(trained)
    for name in ("evaluate", "finetune"):
        flags = ("--model", str(tmp_path / model), "--output-dir", str(trained), "--overwrite")
        refused = command(name, *flags)
        assert refused.status == 2 and "holds the run's own input, --model" in refused.err
    assert contents(trained) == before


def test_a_run_is_not_written_over_its_own_data(command, trained) -> None:
    table = trained / "train.csv"
    table.write_text("text,label\nfine,joy\nso low,sadness\n")
    refused = command(
        "explore", "--train-file", str(table), "--output-dir", str(trained), "--overwrite"
    )
    assert refused.status == 2 and "own input, --train-file" in refused.err and table.exists()


@pytest.mark.parametrize("name", ["evaluate", "explore", "probe"])
def test_a_run_of_another_command_is_not_overwritten(command, trained, name) -> None:
    before = contents(trained)
    refused = command(name, "--output-dir", str(trained), "--overwrite")
    assert refused.status == 2 and "holds a run of finetune; name another folder" in refused.err
    assert contents(trained) == before


@pytest.mark.parametrize("config", [None, "{}", '{"model_type": "bert"}', "[1", '["command"]'])
def test_files_that_no_run_has_written_are_not_overwritten(command, tmp_path, config) -> None:
    (tmp_path / "run" / "final").mkdir(parents=True)
    (tmp_path / "run" / "final" / "thesis.pdf").write_bytes(b"mine")
    if config is not None:
        (tmp_path / "run" / "config.json").write_text(config)
    before = contents(tmp_path / "run")
    refused = command("finetune", "--overwrite")
    assert refused.status == 2 and "which no run has written; --overwrite" in refused.err
    assert contents(tmp_path / "run") == before


def test_overwriting_leaves_other_peoples_files_alone(command, tmp_path) -> None:
    folder = command("explore").folder
    (folder / "notes.txt").write_text("mine")
    assert command("explore", "--overwrite").status == 0
    assert (folder / "notes.txt").read_text() == "mine" and not (folder / PREVIOUS).exists()


def test_a_folder_is_locked_while_a_run_writes_to_it(command, tmp_path) -> None:
    with Run("explore", ExploreOptions(output_dir=str(tmp_path / "run"))) as run:
        run.open(labels=["a"])
        refused = command("explore", "--overwrite")
        assert refused.status == 2 and "another run is writing to this folder" in refused.err
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        assert command("explore", "--overwrite", to="copy").status == 0, "a copy is free"
        run.is_open = False  # no report
    assert command("explore", "--overwrite").status == 0


def test_the_lock_of_a_killed_process_is_no_obstacle(command, tmp_path) -> None:
    (tmp_path / "run").mkdir()
    code = "import sys, time; from pathlib import Path; from train.folders import lock; "
    code += "lock(Path(sys.argv[1])); print('locked', flush=True); time.sleep(60)"
    words = [sys.executable, "-c", code, str(tmp_path / "run")]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        assert command("explore").status == 2
        holder.kill()
    assert command("explore").status == 0


def test_two_runs_that_begin_in_one_second_get_two_folders(tmp_path) -> None:
    names = [make_folder(tmp_path / "runs" / "probe-20260101-000000").name for _ in range(3)]
    assert names == [f"probe-20260101-000000{end}" for end in ("", "-2", "-3")]


@pytest.mark.parametrize("part", ["plots", "config.json", "final", "report.html", "log.jsonl"])
def test_a_link_in_the_folder_is_not_followed(command, tmp_path, part) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "loss.png").write_bytes(b"mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / part).symlink_to(outside if "." not in part else outside / "loss.png")
    refused = command("finetune", "--overwrite")
    assert refused.status == 2 and "is a link or a device" in refused.err
    assert contents(outside) == {outside / "loss.png": b"mine"}


def test_a_link_under_a_temporary_name_is_not_written_through(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("minibert.atomic.uuid.uuid4", lambda: UUID(int=0))
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "a.json.00000000.tmp").symlink_to(tmp_path / "mine")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "a.json", lambda beside: beside.write_text("new"))
    assert (tmp_path / "mine").read_text() == "mine" and not (tmp_path / "a.json").exists()


def test_two_writers_of_one_file_leave_one_of_the_two_whole(tmp_path) -> None:
    file, both = tmp_path / "a.txt", threading.Barrier(2, timeout=60)

    def content(letter: str):
        def write(beside) -> None:
            with beside.open("w") as opened:
                opened.write(letter)
                opened.flush()
                both.wait()  # now both are half done
                opened.write(letter)

        return write

    with ThreadPoolExecutor(2) as threads:
        done = [threads.submit(write_whole, file, content(letter)) for letter in "ab"]
        assert [writer.result() for writer in done] == [None, None]
    assert file.read_text() in ("aa", "bb") and list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_refused_is_not_locked(trained) -> None:
    (trained / "log.jsonl").unlink()
    (trained / "log.jsonl").symlink_to(trained / "config.json")
    options = FinetuneOptions(demo=True, output_dir=str(trained), overwrite=True)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"log\.jsonl"):
            Run("finetune", options)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("part", ["log.jsonl", "plots/loss.png"])
def test_a_pipe_in_the_folder_is_refused_and_not_waited_for(command, tmp_path, part) -> None:
    path = tmp_path / "run" / part
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    start = time.monotonic()
    assert "is a link or a device" in command("finetune", "--overwrite").err
    assert time.monotonic() - start < 5


def test_all_files_have_the_permissions_of_new_files(trained, tmp_path) -> None:
    (tmp_path / "new").touch()
    expected = stat.S_IMODE((tmp_path / "new").stat().st_mode)
    files = [path for path in trained.rglob("*") if path.is_file()]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}
    assert "model.safetensors" in modes and set(modes.values()) == {expected}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["finetune", "explore", "probe"])
def test_a_full_disk_ends_with_a_line(usual_flags, tmp_path, command) -> None:
    """A limit on the size of files stands for the disk; the last one stops at 20 kB."""
    words = [sys.executable, "-m", "train", command, *usual_flags(command)]
    words += ["--output-dir", str(tmp_path / "run")]
    limited = f"import resource, runpy, sys; sys.argv = {words[2:]!r}; "
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000)); "
    limited += "runpy.run_module('train', run_name='__main__', alter_sys=True)"
    done = subprocess.run([sys.executable, "-c", limited], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert not list((tmp_path / "run").rglob("*.tmp"))

"""Stopped by a signal at any moment of fine-tuning, and gone on with; readers that go away."""

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import train.finetune
import train.runs
import train.training.loop
from tests import ROOT
from tests.command import Result, run_command
from tests.test_finetune import results
from train.training.checkpoints import list_checkpoints

FLAGS = ("--batch-size", "4", "--grad-accum", "2")  # 18 steps in two epochs of 9
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def usual_handlers():
    """Also where the tests themselves were started by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def finetune(command):
    return partial(command, "finetune", *FLAGS)


@pytest.fixture
def whole(finished) -> tuple:
    """The results of the uninterrupted run."""
    return results(finished("finetune", *FLAGS).folder)


def go_on(folder: Path, *flags: str) -> Result:
    """Resume with nothing but the folder."""
    return run_command(["finetune", "--resume", "--output-dir", str(folder), *flags], folder)


def signal_in(patch, module, name: str, number: int, call: int = 1) -> None:
    """Let a signal arrive at the given call of a function."""
    original, calls = getattr(module, name), []

    def patched(*arguments, **named):
        calls.append(name)
        if len(calls) == call:
            signal.raise_signal(number)
        return original(*arguments, **named)

    patch.setattr(module, name, patched)


@pytest.mark.slow
@pytest.mark.parametrize("number", STATUS, ids=lambda number: number.name)
@pytest.mark.parametrize(
    ("module", "name", "call", "step"),
    [
        pytest.param(train.training.loop, "seed_step", 5, 5, id="step"),
        pytest.param(train.training.loop, "seed_step", 9, 9, id="last step of an epoch"),
        pytest.param(train.training.loop, "seed_step", 18, 18, id="last step"),
        pytest.param(train.finetune, "predict_logits", 1, 9, id="evaluation"),
        pytest.param(train.finetune, "predict_logits", 2, 18, id="last evaluation"),
        pytest.param(train.finetune, "predict_logits", 3, 18, id="test split"),
        pytest.param(train.finetune, "predictions", 1, 18, id="results"),
        pytest.param(train.runs.Run, "close", 1, 18, id="report"),
    ],
)
def test_a_signal_at_any_moment_saves_and_the_rest_is_the_uninterrupted_run(
    finetune, whole, monkeypatch, caplog, number, module, name, call, step
):
    with monkeypatch.context() as patch:
        signal_in(patch, module, name, number, call)
        stopped = finetune()
    assert stopped.status == STATUS[number]
    assert "Traceback" not in stopped.err
    assert f"interrupted after step {step}; go on with: python -m train finetune" in stopped.err
    assert [folder.name for folder in list_checkpoints(stopped.folder)] == [f"step-{step}"]
    typed = shlex.split(stopped.err.strip().rpartition("go on with: ")[2])
    resumed = run_command(typed[3:], stopped.folder)
    assert resumed.status == 0, resumed.err
    assert f"resuming after step {step}" in resumed.out
    # Once: when the run began. A resumed one has its classifier from the checkpoint.
    assert caplog.text.count("newly initialised") == 1
    assert results(stopped.folder) == whole


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
@pytest.mark.parametrize("name", ["load_training_data", "prepare"])
def test_a_signal_before_the_first_step_leaves_nothing(finetune, monkeypatch, name, number):
    signal_in(monkeypatch, train.finetune, name, number)
    stopped = finetune()
    assert stopped.status == STATUS[number] and stopped.err.strip() == "interrupted"
    assert not stopped.folder.exists()


def test_the_first_ctrl_c_says_what_happens_and_the_second_stops_at_once(
    finetune, monkeypatch, capfd
):
    original = train.training.loop.eager_step

    def eager_step(*arguments):
        signal.raise_signal(signal.SIGINT)
        assert "SIGINT: finishing this step, then saving; once more: stop" in capfd.readouterr().err
        signal.raise_signal(signal.SIGINT)
        return original(*arguments)

    monkeypatch.setattr(train.training.loop, "eager_step", eager_step)
    stopped = finetune()
    assert stopped.status == 130 and "nothing is saved" in stopped.err
    assert list_checkpoints(stopped.folder) == []


def test_a_program_started_by_nohup_outlives_the_terminal(finetune, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signal_in(monkeypatch, train.training.loop, "seed_step", signal.SIGHUP)
        assert finetune().status == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_that_is_stopped_twice_goes_on_twice(finetune, whole, monkeypatch):
    with monkeypatch.context() as patch:
        signal_in(patch, train.training.loop, "seed_step", signal.SIGTERM, 3)
        folder = finetune().folder
    with monkeypatch.context() as patch:
        signal_in(patch, train.training.loop, "seed_step", signal.SIGTERM, 8)
        assert go_on(folder).status == 143
    assert go_on(folder).status == 0
    assert results(folder) == whole


def stop_after(finetune, monkeypatch, step: int) -> Path:
    """The folder of a run that was stopped after so many steps."""
    with monkeypatch.context() as patch:
        signal_in(patch, train.training.loop, "seed_step", signal.SIGTERM, step)
        stopped = finetune()
    assert stopped.status == 143
    return stopped.folder


def test_an_option_that_was_changed_is_named_also_when_it_is_the_default(finetune, monkeypatch):
    folder = stop_after(finetune, monkeypatch, 3)
    refused = go_on(folder, "--batch-size", "8")
    assert refused.status == 2 and "batch_size was 4 when the run began and is now 8" in refused.err


def test_how_often_is_saved_may_change(finetune, whole, monkeypatch):
    folder = stop_after(finetune, monkeypatch, 3)
    assert go_on(folder, "--save-steps", "5", "--save-minutes", "0.5").status == 0
    assert [checkpoint.name for checkpoint in list_checkpoints(folder)] == ["step-15", "step-10"]
    assert results(folder) == whole


def test_without_a_folder_the_newest_run_is_gone_on_with(usual_flags, whole, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    refused = run_command(["finetune", "--resume"], tmp_path)
    assert refused.status == 2 and "no finetune run in runs/" in refused.err
    (tmp_path / "runs" / "finetune-20200101-000000").mkdir(parents=True)
    (tmp_path / "runs" / "finetune-20200101-000000" / "config.json").write_text("{}")
    with monkeypatch.context() as patch:
        signal_in(patch, train.training.loop, "seed_step", signal.SIGTERM, 3)
        given = ["finetune", *usual_flags("finetune"), *FLAGS]
        assert run_command(given, tmp_path).status == 143
    (folder,) = [path for path in (tmp_path / "runs").iterdir() if "20200101" not in path.name]
    assert run_command(["finetune", "--resume"], folder).status == 0
    assert results(folder) == whole


def test_a_run_begun_before_an_option_existed_goes_on(finetune, whole, monkeypatch):
    folder = stop_after(finetune, monkeypatch, 3)
    for path in (folder / "config.json", *folder.glob("checkpoints/*/state.json")):
        value = json.loads(path.read_text())
        for options in (value.get("options", {}), value["settings"]):
            for name in ("schedule", "keep", "train_layers", "save_minutes"):
                options.pop(name, None)
        path.write_text(json.dumps(value))
    assert go_on(folder).status == 0
    assert results(folder) == whole


@pytest.mark.parametrize("text", ["", "[]", '{"options": 1, "command": "finetune"}', "{"])
def test_a_corrupt_config_is_named(finetune, monkeypatch, text):
    folder = stop_after(finetune, monkeypatch, 3)
    (folder / "config.json").write_text(text)
    refused = go_on(folder)
    assert refused.status == 2 and "config.json" in refused.err
    assert "Traceback" not in refused.err and len(refused.err.splitlines()) <= 2


def test_a_run_of_another_command_is_not_gone_on_with(command):
    probed = command("probe")
    refused = go_on(probed.folder)
    assert refused.status == 2 and "is no finetune run" in refused.err


@pytest.mark.slow
def test_checkpoints_come_by_the_clock(finetune, monkeypatch):
    saved = []
    original = train.finetune.save_checkpoint

    def save_checkpoint(folder, step, snapshot):
        saved.append(step)
        original(folder, step, snapshot)

    monkeypatch.setattr(train.finetune, "save_checkpoint", save_checkpoint)
    assert finetune("--save-minutes", "0.0000001").status == 0
    assert saved == list(range(1, 18))  # after every step but the last, when the run is complete
    saved.clear()
    assert finetune("--save-minutes", "0", to="never").status == 0 and saved == []
    assert finetune(to="every ten minutes").status == 0 and saved == []


def start(arguments: list[str], **how) -> subprocess.Popen:
    command = [sys.executable, "-m", "train", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, **how)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 2, 4, 6])
def test_sigterm_to_a_process_loses_nothing(usual_flags, finished, tmp_path, seconds):
    """Struck at moments that nobody has chosen, while it starts, loads and trains."""
    flags = ("--epochs", "200", "--max-steps", "900")
    arguments = ["finetune", *usual_flags("finetune"), *flags, "--output-dir", str(tmp_path)]
    process = start(arguments, stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (143, -signal.SIGTERM), err
    assert "Traceback" not in err
    if "go on with" in err:
        assert go_on(tmp_path).status == 0
        assert results(tmp_path) == results(finished("finetune", *flags).folder)


SWALLOWED = """
import os, signal, sys
class Library:  # one that catches everything while it imports what it can do without
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                sum(range(1_000))  # Python calls a handler between two operations
            except BaseException:
                pass
sys.meta_path.insert(0, Library())
from train.__main__ import console
sys.argv[1:] = ["explore", "--demo"]
sys.exit(console())
"""


def test_a_signal_while_modules_are_imported_is_not_lost(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", SWALLOWED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.returncode == 143 and child.stderr.strip() == "interrupted"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("error", [None, ImportError("half imported")], ids=["swallow", "rename"])
def test_a_signal_whose_exception_a_library_catches_still_ends_the_command(
    command, monkeypatch, error
):
    def run(options):
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException:
            if error:
                raise error from None

    monkeypatch.setattr("train.explore.run", run)
    stopped = command("explore")
    assert stopped.status == 143 and stopped.err.strip() == "interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("streams", [{}, {"stderr": subprocess.STDOUT}], ids=["out", "out, err"])
def test_training_goes_on_when_its_reader_has_gone(usual_flags, whole, tmp_path, streams):
    arguments = ["finetune", *usual_flags("finetune"), *FLAGS, "--output-dir", str(tmp_path)]
    process = start(arguments, **streams)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert results(tmp_path) == whole


@pytest.mark.slow
def test_other_commands_finish_quietly_when_their_reader_has_gone(usual_flags, tmp_path):
    for name in ("explore", "probe", "evaluate"):
        folder = tmp_path / name
        given = [name, *usual_flags(name), "--output-dir", str(folder)]
        process = start(given, stderr=subprocess.PIPE)
        process.stdout.close()
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0 and b"Error" not in err, err
        assert (folder / "config.json").exists()


@pytest.mark.slow
def test_a_command_runs_with_its_streams_closed(usual_flags, tmp_path):
    given = [
        "finetune",
        *usual_flags("finetune"),
        "--max-steps",
        "2",
        "--output-dir",
        str(tmp_path),
    ]
    command = shlex.join([sys.executable, "-m", "train", *given])
    assert subprocess.run(f"{command} <&- >&- 2>&-", shell=True, cwd=ROOT).returncode == 0
    assert (tmp_path / "final" / "model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [1, 500, 1500], ids=["config", "weights", "optimizer"])
def test_a_full_disk_ends_with_a_line_and_no_half_checkpoint(usual_flags, tmp_path, kilobytes):
    """A limit on the size of files stands for the full disk."""
    arguments = ["finetune", *usual_flags("finetune"), "--max-steps", "9", "--save-steps", "5"]
    limit = (1024 * kilobytes, 1024 * kilobytes)
    limited = subprocess.run(
        [sys.executable, "-m", "train", *arguments, "--output-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        timeout=120,
    )
    assert limited.returncode == 2
    (line,) = [line for line in limited.stderr.splitlines() if "python -m train" in line]
    assert "File too large" in line and "Traceback" not in limited.stderr
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert set(left) <= {"config.json", "log.jsonl"}

"""Progress: a bar on a terminal, lines in a log, rate and time left in both."""

import os
import subprocess
import sys

import pytest

import train.progress
from tests import ROOT
from train.progress import progress


def test_off_a_terminal_there_are_plain_lines_now_and_then(monkeypatch, capsys) -> None:
    monkeypatch.setattr(train.progress, "LINE_SECONDS", 0.0)
    with progress("train", 10, "steps", done=4) as bar:
        bar.set_postfix_str("loss 0.5", refresh=False)
        bar.update(1)
        bar.write("epoch 1")
        bar.update(1)
    said = capsys.readouterr()
    assert said.out == "epoch 1\n" and "\r" not in said.err
    *_, last = said.err.splitlines()
    assert last.startswith("train: 6/10 steps, ") and last.endswith(", loss 0.5")
    assert " steps/s, " in last and " left" in last


def test_short_work_prints_nothing_off_a_terminal(capsys) -> None:
    pytest.importorskip("ipykernel", reason="needs ipykernel")  # imported is not yet in a notebook
    with progress("train", 3, "steps") as bar:
        bar.update(3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_a_bar_shows_rate_and_time_left_and_is_cleared() -> None:
    """Also on one that does not tell its size, and with control characters shown elsewhere."""
    import pty

    code = "import time; from train.progress import progress; from train.terminal import *\n"
    code += "with control_characters_shown(), progress('train', 3, 'steps') as bar:\n"
    code += "    for _ in range(3): time.sleep(1.2); bar.update(1)"
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stderr=theirs, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode("utf-8")
    assert done.returncode == 0
    states = shown.split("\r")
    assert any("2/3 steps" in state and "steps/s" in state and "left" in state for state in states)
    assert "s/ steps" not in shown and states[-2].strip() == "" and states[-1] == ""

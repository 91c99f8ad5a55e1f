"""One call for every test that runs a command: what came of it, as values."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from train.__main__ import main


class Result(NamedTuple):
    """What a command has left: exit status, run folder, standard output and error, metrics.json
    as it was when the command ended ({} where there is none)."""

    status: int
    folder: Path
    out: str
    err: str
    metrics: dict[str, Any]


def run_command(arguments: list[str], folder: Path, stdin: bytes = b"", report=False) -> Result:
    """Run `python -m train ARGUMENTS` in this process. folder: where its run goes. The report,
    figures above all, takes longer than all the rest, so it is made only where asked for."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="ascii"))
        if not report:
            patch.setattr("train.report.write_report", lambda folder: None)
        try:
            status = main(arguments)
        except SystemExit as refused:  # by the parser of the command line
            status = int(str(refused.code))
    path = folder / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return Result(status, folder, out.getvalue(), err.getvalue(), metrics)

"""The report of a run: pictures and one HTML page, made from the run folder's files alone."""

from pathlib import Path

from train.options import ReportOptions
from train.report.page import write_report
from train.runs import Result, read_run

__all__ = ["run", "write_report"]


def run(options: ReportOptions) -> Result:
    """python -m train report RUN: draw a run's pictures and page again."""
    folder = Path(options.run)
    if write_report(folder) is None:
        raise ValueError(f"{folder} is not a run folder: there is no config.json of a run in it")
    files = read_run(folder)
    return Result(folder, files.metrics, files.predictions)

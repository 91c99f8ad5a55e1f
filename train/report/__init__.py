"""The report of a run: pictures and one HTML page, made from the run folder's files alone."""

from train.report.page import write_report

__all__ = ["write_report"]

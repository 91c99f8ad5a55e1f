"""Pictures and one HTML page of a run folder, made from its files alone."""

from train.report.page import write_report

__all__ = ["write_report"]

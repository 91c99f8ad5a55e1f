"""A run folder read back: whatever of its files is there, as the report needs it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd


class RunFiles(NamedTuple):
    """What a command has left. Tables are empty, dicts too, where there is no such file."""

    config: dict[str, Any]
    metrics: dict[str, Any]
    steps: pd.DataFrame  # step, loss, lr, ... : a row per optimiser step
    evaluations: pd.DataFrame  # step, epoch, eval_loss, ...
    predictions: pd.DataFrame  # predictions.csv, the highest loss first
    explore: dict[str, Any]
    lengths: pd.DataFrame  # split, label_name, words, tokens: a row per text
    map: pd.DataFrame  # x, y, label: a row per text

    @property
    def labels(self) -> list[str]:
        """Label names in the order of their ids: the order of every table and picture."""
        return self.config["labels"]


def read_run(folder: Path) -> RunFiles:
    """All that a run folder holds; what a command does not write is empty."""
    records = read_log(folder)
    return RunFiles(
        config=read_json(folder / "config.json"),
        metrics=read_json(folder / "metrics.json"),
        steps=pd.DataFrame([record for record in records if "loss" in record]),
        evaluations=pd.DataFrame([record for record in records if "eval_loss" in record]),
        predictions=read_predictions(folder),
        explore=read_json(folder / "explore.json"),
        lengths=read_csv(folder / "lengths.csv", words=int, tokens=int),
        map=read_csv(folder / "map.csv", x=float, y=float),
    )


def read_predictions(folder: Path) -> pd.DataFrame:
    """predictions.csv: split, row, text, label, predicted_label, probability, ..., loss."""
    numbers = {"row": int, "probability": float, "label_probability": float, "loss": float}
    return read_csv(folder / "predictions.csv", **numbers)


def read_csv(path: Path, **types: type) -> pd.DataFrame:
    """A table whose cells are text, `null` and `NA` too, but for the columns given a type."""
    if not path.exists():
        return pd.DataFrame()
    return pd.read_csv(path, dtype=str, na_filter=False, encoding="utf-8").astype(types)


def read_json(path: Path) -> dict[str, Any]:
    """The file's object, {} where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The records of log.jsonl; a last line that a crash cut short is left out."""
    path = folder / "log.jsonl"
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records

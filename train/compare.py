"""python -m train compare: runs side by side: which options differ, which figures, which curves."""

from pathlib import Path
from typing import Any

import pandas as pd

from train.options import CompareOptions
from train.report.summary import in_order, splits_measured
from train.runs import Result, Run, RunFiles, read_run, write_json
from train.tables import none_for_nan, number, print_table

POINTS = 500  # of each training curve in compare.json
NOT_COMPARED = (
    "output_dir",
    "overwrite",
    "resume",
    "device",
    "no_cache",
    "save_steps",
    "save_minutes",
)
FIGURES = ("accuracy", "baseline", "f1", "macro_f1", "loss")


def run(options: CompareOptions) -> Result:
    """Print and draw what the run folders say; compare.json holds it."""
    if len({Path(name).resolve() for name in options.runs}) < 2:
        raise ValueError(f"only {options.runs[0]} to compare: name the folders of two runs")
    with Run("compare", options) as run:
        files = {name: read_folder(name) for name in options.runs}
        names = short_names(list(files))
        runs = [describe(name, folder) for name, folder in zip(names, files.values())]
        compared = {"runs": runs, "options": different_options(runs), "metrics": figures(runs)}
        print_table("Options that differ", as_table(compared["options"]))
        print_table("Figures", as_table(compared["metrics"]))
        run.open(labels=[])
        write_json(run.folder / "compare.json", compared)
        run.result.metrics = {row[""]: {n: row[n] for n in names} for row in compared["metrics"]}
    return run.result


def read_folder(name: str) -> RunFiles:
    """A run's files. Raises ValueError where the folder holds no run with figures."""
    files = read_run(Path(name))
    if not files.config:
        raise ValueError(f"{name} is not a run folder: there is no config.json of a run in it")
    if not files.metrics:
        raise ValueError(f"{name} has no metrics.json: the run has not ended, or measures nothing")
    return files


def short_names(folders: list[str]) -> list[str]:
    """The folders' last parts or, where two would be the same, the whole paths."""
    names = [Path(folder).resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else folders


def describe(name: str, files: RunFiles) -> dict[str, Any]:
    """One run as compare.json has it: name, command, options, metrics, curves."""
    step = max(1, len(files.steps) // POINTS)  # every step-th point is enough to draw
    curve = files.steps[["step", "loss"]][::step] if len(files.steps) else files.steps
    metrics = {k: v for k, v in files.metrics.items() if not isinstance(v, list | dict)}
    return {
        "name": name,
        "command": files.config["command"],
        "options": {"command": files.config["command"], **files.config["options"]},
        "metrics": metrics,
        "steps": none_for_nan(curve).to_dict("records"),
        "evaluations": files.evaluations.to_dict("records"),
    }


def different_options(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per option that is not the same in all runs; None where a run has no such option."""
    every = {name: None for run in runs for name in run["options"] if name not in NOT_COMPARED}
    rows = []
    for option in every:
        values = [run["options"].get(option) for run in runs]
        if any(value != values[0] for value in values):
            rows.append({"": option} | {run["name"]: v for run, v in zip(runs, values)})
    return rows


def figures(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per figure and split that at least one run has measured."""
    splits = {split: p for run in runs for split, p in splits_measured(run["metrics"]).items()}
    rows = []
    for split in sorted(splits, key=in_order):
        for figure in FIGURES:
            name = f"{splits[split]}_{figure}"
            values = {run["name"]: run["metrics"].get(name) for run in runs}
            if any(value is not None for value in values.values()):
                rows.append({"": name} | values)
    return rows


def as_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows with their numbers as they are printed."""
    table = none_for_nan(pd.DataFrame(rows)).map(number)
    return table.set_index("").rename_axis(None) if rows else table

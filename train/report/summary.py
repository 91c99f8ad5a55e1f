"""What a run's files say, in words and single figures: headline, verdicts, what to look at next."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from train.metrics import PREFIX, calibration, calibration_error, confident_mistakes
from train.runs import RunFiles
from train.tables import number

ORDER = ["train", "validation", "test"]  # of splits, on every page and picture
ENOUGH = 30  # texts: with fewer, a gap between confidence and accuracy is mostly chance


class Verdict(NamedTuple):
    """One finding about a run: its kind (data-verdict on the page), words, and is it good news?"""

    kind: str
    words: str
    good: bool


class Headline(NamedTuple):
    """The accuracy that a run is judged by, beside what a model gets that has learnt nothing."""

    split: str
    accuracy: float
    baseline: float | None


def by_split(predictions: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(split, its rows) of predictions.csv: train, validation, test. The file itself is sorted by
    loss, so the order in which splits occur there changes from run to run."""
    groups = predictions.groupby("split") if len(predictions) else []
    return sorted(groups, key=lambda group: in_order(group[0]))


def in_order(split: str) -> int:
    """The place of a split among the others, for sorting; unknown ones come last."""
    return ORDER.index(split) if split in ORDER else len(ORDER)


def splits_measured(metrics: dict[str, Any]) -> dict[str, str]:
    """{split: prefix} of the splits whose accuracy is among the metrics, in the fixed order."""
    return {s: PREFIX[s] for s in ORDER if f"{PREFIX[s]}_accuracy" in metrics}


def layers_split(record: dict[str, Any]) -> tuple[str, str]:
    """The split by which the layers of a probe are compared, and the column of its accuracy."""
    splits = ("validation", "test", "train")
    split = next(s for s in splits if f"{PREFIX[s]}_accuracy" in record)
    return split, f"{PREFIX[split]}_accuracy"


def baseline(files: RunFiles, split: str) -> float | None:
    """The majority baseline's accuracy on a split, where the run has measured it."""
    return files.metrics.get(f"{PREFIX[split]}_baseline")


def headline(files: RunFiles) -> Headline | None:
    """Accuracy on the test split, else on validation, else on train; None where there is none."""
    for split in reversed(ORDER):
        accuracy = files.metrics.get(f"{PREFIX[split]}_accuracy")
        if accuracy is not None:
            return Headline(split, accuracy, baseline(files, split))
    return None


def headline_rows(files: RunFiles) -> pd.DataFrame:
    """The predictions of the headline's split; no rows where there is no headline."""
    top = headline(files)
    if top is None or not len(files.predictions):
        return pd.DataFrame(columns=["label", "predicted_label", "probability"])
    return files.predictions[files.predictions["split"] == top.split]


def facts(files: RunFiles) -> list[str]:
    """Data, model and time of a run, each in a few words."""
    options, metrics = files.config["options"], files.metrics
    given = [options.get(name) for name in ("train_file", "eval_file", "test_file")]
    data = ", ".join(file for file in given if file) or options.get("dataset")
    texts = files.lengths if len(files.lengths) else files.predictions
    counts = [f"{len(rows):,} {split}" for split, rows in by_split(texts)]
    said = [f"data {data} ({', '.join(counts)} texts)" if counts else f"data {data}"]
    said.append(f"{len(files.labels)} classes")
    said.append(f"model {options.get('model')}")
    seconds = [v for name, v in metrics.items() if name.endswith("runtime")]
    if seconds:
        said.append(duration(sum(seconds)))
    return said


def duration(seconds: float) -> str:
    """Seconds in the unit that people would say.

    >>> duration(42.3), duration(150), duration(8000)
    ('42 s', '2 min 30 s', '2 h 13 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {int(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"


def best_evaluation(evaluations: pd.DataFrame) -> pd.Series | None:
    """The evaluation with the lowest validation loss; None where there are not two to compare."""
    if len(evaluations) < 2 or not evaluations["eval_loss"].notna().any():
        return None
    return evaluations.loc[evaluations["eval_loss"].idxmin()]


def verdicts(files: RunFiles) -> list[Verdict]:
    """What a reader should know before believing the headline: the bad news first."""
    found = [
        diverged(files),
        one_class(files),
        against_baseline(files),
        best_epoch(files),
        confidence(files),
        mistakes(files),
    ]
    return sorted((v for v in found if v), key=lambda verdict: verdict.good)


def diverged(files: RunFiles) -> Verdict | None:
    """A loss that is not a number."""
    finite = np.isfinite(files.steps["loss"]) if len(files.steps) else None
    if finite is None or finite.iloc[-1]:  # fp16 may skip single steps whose loss is not finite
        return None
    step = int(files.steps["step"][finite].max()) + 1 if finite.any() else 1
    return Verdict("diverged", f"The training loss is not finite from step {step} on.", False)


def one_class(files: RunFiles) -> Verdict | None:
    """A model that gives every text the same label, on the split of the headline."""
    rows = headline_rows(files)
    answers = rows["predicted_label"].value_counts(normalize=True)
    if rows["label"].nunique() < 2:
        return None
    if answers.iloc[0] < 1:
        missing = len(set(rows["label"]) - set(answers.index))
        words = f"{missing} of {len(files.labels)} classes are never predicted."
        return Verdict("missing-classes", words, False) if missing else None
    words = f"The model predicts one class: every text is called {answers.index[0]}."
    return Verdict("one-class", words, False)


def against_baseline(files: RunFiles) -> Verdict | None:
    """A model that is no better than always answering the most common label."""
    top = headline(files)
    if top is None or top.baseline is None or top.accuracy > top.baseline:
        return None
    words = "No better than always answering the most common label: the model has learnt nothing."
    return Verdict("baseline", words, False)


def best_epoch(files: RunFiles) -> Verdict | None:
    """Was the validation loss still falling at the end, or had it risen after its best epoch?"""
    best = best_evaluation(files.evaluations)
    if best is None:
        return None
    last = files.evaluations.iloc[-1]
    kept = files.config["options"].get("keep")
    words = f"Validation loss is lowest after epoch {best['epoch']:g} ({best['eval_loss']:.3f})"
    if best["step"] == last["step"]:
        return Verdict("best-epoch", f"{words}, the last one: it was still falling.", True)
    words += f" and {last['eval_loss']:.3f} at the end: "
    if kept == "best":
        return Verdict("best-epoch", words + "the model of that epoch was kept.", True)
    return Verdict("best-epoch", words + "the later epochs only fitted the training texts.", False)


def confidence(files: RunFiles) -> Verdict | None:
    """Mean confidence beside accuracy, on the split of the headline."""
    rows = headline_rows(files)
    if len(rows) < ENOUGH:
        return None
    right = (rows["label"] == rows["predicted_label"]).to_numpy()
    sure = float(rows["probability"].mean())
    error = calibration_error(calibration(rows["probability"].to_numpy(), right))
    gap = sure - right.mean()
    # Two standard errors of the accuracy: a smaller gap may be chance.
    if abs(gap) < max(0.03, 2 * np.sqrt(right.mean() * (1 - right.mean()) / len(rows))):
        words = f"Probabilities can be believed: calibration error {error:.3f}."
        return Verdict("calibrated", words, True)
    kind = "over-confident" if gap > 0 else "under-confident"
    words = f"{kind.capitalize()}: sure {sure:.2f} on average, right {right.mean():.2f}."
    return Verdict(kind, words, False)


def mistakes(files: RunFiles) -> Verdict | None:
    """Texts on which the model is sure of a label that is not the given one."""
    n = len(confident_mistakes(files.predictions)) if len(files.predictions) else 0
    if not n:
        return None
    words = f"{n:,} confident {'mistake' if n == 1 else 'mistakes'}: a wrong label, or a hard text."
    return Verdict("doubtful", words, False)


def confused_pairs(files: RunFiles, n: int = 3) -> list[dict[str, Any]]:
    """The most frequent mistakes on the headline's split: split, true, predicted, count."""
    rows = headline_rows(files)
    wrong = rows[rows["label"] != rows["predicted_label"]]
    counts = wrong.groupby(["label", "predicted_label"]).size().nlargest(n)
    return [
        {"split": wrong["split"].iloc[0], "true": true, "predicted": predicted, "count": count}
        for (true, predicted), count in counts.items()
    ]


def in_words(name: str) -> str:
    """The name of a figure as people say it.

    >>> in_words("macro_f1"), in_words("eval_samples_per_second"), in_words("f1")
    ('macro F1', 'validation: samples per second', 'weighted F1')
    """
    for split, prefix in PREFIX.items():
        if name.startswith(prefix + "_"):
            return f"{split}: {in_words(name.removeprefix(prefix + '_'))}"
    name = {"f1": "weighted F1", "macro_f1": "macro F1", "label_name": "label"}.get(name, name)
    return name.replace("_", " ")


def cell(value: Any) -> str:
    """`number`, and yes or no for a truth value."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return number(value)

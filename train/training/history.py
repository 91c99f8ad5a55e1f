"""What training has measured so far: the epoch table, the best epoch, when patience ends.

All of it is a function of the losses up to now, so a resumed run decides as the uninterrupted one.
"""

import math
from typing import Any

from torch import Tensor, nn

HEADER = f"{'epoch':>6}{'training loss':>15}{'validation loss':>17}{'accuracy':>10}{'F1':>8}"


class History:
    """The evaluations in order, and the mean training loss of the epoch under way.

    evaluations: {"step", "epoch", "train_loss", "eval_loss", "eval_accuracy", "eval_f1", ...} each,
    as in log.jsonl; without a validation split the first three alone.
    """

    def __init__(self, per_epoch: int):
        self.per_epoch = per_epoch
        self.step = 0  # steps done
        self.evaluations: list[dict[str, Any]] = []
        self.epoch, self.loss_sum, self.n_losses = 0, 0.0, 0
        self.best_weights: dict[str, Tensor] | None = None  # under --keep best alone

    def add_steps(self, records: list[dict]) -> None:
        """Add the losses of steps, {"step", "loss", ...} each, in order."""
        for record in records:
            epoch = (record["step"] - 1) // self.per_epoch
            if epoch != self.epoch:
                self.epoch, self.loss_sum, self.n_losses = epoch, 0.0, 0
            self.loss_sum += record["loss"]
            self.n_losses += 1

    def add_evaluation(self, step: int, metrics: dict[str, float]) -> dict[str, Any]:
        """Add what was measured after `step`; the whole record. train_loss: the mean over the steps
        of this epoch so far; None where no loss of it has been added."""
        is_current = self.n_losses > 0 and self.epoch == (step - 1) // self.per_epoch
        record = {
            "step": step,
            "epoch": step / self.per_epoch,
            "train_loss": self.loss_sum / self.n_losses if is_current else None,
            **metrics,
        }
        self.evaluations.append(record)
        return record

    @property
    def best(self) -> dict[str, Any] | None:
        """The evaluation with the lowest validation loss, the first of equals."""
        measured = [record for record in self.evaluations if "eval_loss" in record]
        return min(measured, key=lambda record: record["eval_loss"], default=None)

    def is_evaluated(self, step: int) -> bool:
        """Whether the last evaluation was made after this very step."""
        return bool(self.evaluations) and self.evaluations[-1]["step"] == step

    @property
    def is_best_now(self) -> bool:
        """Whether the last evaluation is the best."""
        return bool(self.evaluations) and self.best is self.evaluations[-1]

    def is_out_of_patience(self, patience: int) -> bool:
        """Whether so many evaluations since the best have brought nothing better (0: never)."""
        if not patience or self.best is None:
            return False
        return len(self.evaluations) - 1 - self.evaluations.index(self.best) >= patience

    def keep_weights(self, model: nn.Module) -> None:
        """Remember the model's weights as the best, in the CPU's memory."""
        state = model.state_dict()
        self.best_weights = {n: tensor.detach().to("cpu", copy=True) for n, tensor in state.items()}

    def to_json(self) -> dict[str, Any]:
        """All but the weights, for a checkpoint."""
        return {
            "evaluations": self.evaluations,
            "epoch": self.epoch,
            "loss_sum": self.loss_sum,
            "n_losses": self.n_losses,
        }

    def load_json(self, saved: dict[str, Any], best_weights: dict[str, Tensor] | None) -> None:
        """Continue from what `to_json` gave. Raises ValueError naming what has another type."""
        types = {"evaluations": list, "epoch": int, "loss_sum": float, "n_losses": int}
        for name, kind in types.items():
            if type(saved.get(name)) is not kind:
                raise ValueError(f"history.json: {name} is {saved.get(name)!r}")
        for record in saved["evaluations"]:
            if not isinstance(record, dict) or type(record.get("step")) is not int:
                raise ValueError(f"history.json: {record!r} is not an evaluation")
            if not all(isinstance(v, int | float | None) for v in record.values()):
                raise ValueError(f"history.json: a figure of {record!r} is not a number")
        self.evaluations, self.epoch = saved["evaluations"], saved["epoch"]
        self.loss_sum, self.n_losses = saved["loss_sum"], saved["n_losses"]
        self.best_weights = best_weights


def table_row(record: dict[str, Any]) -> str:
    """A row under HEADER.

    >>> print(HEADER); print(table_row({"epoch": 1.0, "train_loss": 1.2345, "eval_loss": 0.98765}))
     epoch  training loss  validation loss  accuracy      F1
         1         1.2345           0.9877         -       -
    """
    widths = {"train_loss": 15, "eval_loss": 17, "eval_accuracy": 10, "eval_f1": 8}
    row = f"{record['epoch']:>6.3g}"
    for name, width in widths.items():
        value = record.get(name)
        is_number = value is not None and not math.isnan(value)
        row += f"{value:>{width}.4f}" if is_number else f"{'-':>{width}}"
    return row

"""From data to runs: python -m train COMMAND, or in Python train.run(COMMAND, option=value)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.estimators import TextClassifier, TextEncoder
    from train.runs import Result

__all__ = ["TextClassifier", "TextEncoder", "run"]

__version__ = "0.1.0"


def run(command: str, **options: Any) -> "Result":
    """Run a command with its options as keywords: train.run("finetune", demo=True, epochs=1).

    The same defaults, checks and messages as on the command line: a mistake is a ValueError or an
    OSError. Returns what the command has made: folder, metrics, predictions, model, ..."""
    # Imported here: the command line asks for --help without waiting for torch.
    from train.options import COMMANDS, did_you_mean

    if command not in COMMANDS:
        near = did_you_mean(command, COMMANDS)
        raise ValueError(f"{command!r} is not one of {', '.join(COMMANDS)}{near}")
    return import_module(f"train.{command}").run(COMMANDS[command](**options))


def __getattr__(name: str) -> Any:
    """The estimators, imported when they are first asked for: they bring torch and scikit-learn."""
    if name in ("TextClassifier", "TextEncoder"):
        return getattr(import_module("train.estimators"), name)
    raise AttributeError(f"module 'train' has no attribute {name!r}")

"""What `make demo` prints, what its model makes of tweets, and one sentence on its way.

python -m tests.benchmarks.demo [--save]
"""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import EMOTION, ROOT
from tests.benchmarks.common import emotion, environment, publish
from train.data import EMOTION_LABELS

MODEL = "runs/demo/final"
SENTENCE = '"i feel strangely homesick but hopeful"'
WALK = (
    f"python -m tokenizer {SENTENCE}",
    f"python -m train trace --model {MODEL} {SENTENCE}",
    f"python -m train predict --model {MODEL} --all {SENTENCE}",
)


def output(command: str) -> str:
    """What a command prints on standard output, run where this project lies."""
    words = shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable
    return subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def shown(command: str) -> str:
    """A command and its output as a reader of the README sees them."""
    return f"```text\n$ {command}\n{output(command).strip()}\n```"


def on_tweets() -> str:
    """The demo's model on the emotion set's test split, of which it has seen nothing."""
    with TemporaryDirectory() as folder:
        evaluate = f"python -m train evaluate --model {MODEL} --dataset {EMOTION}"
        output(f"{evaluate} --output-dir {folder}")
        accuracy = json.loads((Path(folder) / "metrics.json").read_text())["test_accuracy"]
    labels = emotion().splits["test"]["label"].value_counts(normalize=True)
    commonest = EMOTION_LABELS[labels.index[0]]
    return (
        "The sentences of the demo are no tweets, but teach what tweets need: this model, which "
        f"has seen none, is right on {accuracy:.4f} of the emotion set's test tweets (always "
        f'"{commonest}": {labels.iloc[0]:.4f}).'
    )


if __name__ == "__main__":
    output("make -s .venv/.demo")  # what an installation prints is no part of the page
    printed = f"```text\n{output('make -s demo').strip()}\n```"
    where = environment("torch")
    publish("demo", f"{printed}\n\n{on_tweets()}\n{where}")
    publish("walk", "\n\n".join(map(shown, WALK)) + f"\n\n{where}")

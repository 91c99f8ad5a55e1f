"""What the training options do on the emotion set: python -m tests.benchmarks.options [--save].

The packaged weights, one seed, STEPS steps of 32 tweets each: 6,400 of the 16,000, so that all rows
take minutes. Beside them what needs no encoder at all: the majority, and a bag of words.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline

import train
from minibert import DistilBertModel
from tests import EMOTION
from tests.benchmarks.common import emotion, environment, publish, table
from tokenizer import WordPieceTokenizer

STEPS = 200
ROWS: dict[str, dict[str, Any]] = {
    "the head only: `--train-layers 0`": {"train_layers": 0, "lr": 1e-3},
    "the last block and the head: `--train-layers 1`": {"train_layers": 1},
    "all": {},
    "all, from random weights": {"model": "random"},
    "all, `--schedule cosine`": {"schedule": "cosine"},
    "all, `--schedule constant`": {"schedule": "constant"},
    "all, `--warmup-steps 40`": {"warmup_steps": 40},
    "all, `--class-weights balanced`": {"class_weights": "balanced"},
    "all, `--schedule constant --eval-steps 40 --keep best --patience 2`": {
        "schedule": "constant",
        "eval_steps": 40,
        "keep": "best",
        "patience": 2,
    },
}


def without_encoder() -> list[list[str]]:
    """The rows of the most frequent class, and of logistic regression on tf-idf of words."""
    splits = emotion().splits
    texts = {split: rows["text"] for split, rows in splits.items()}
    labels = {split: rows["label"] for split, rows in splits.items()}
    bag = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10, max_iter=1_000))
    bag.fit(texts["train"], labels["train"])
    commonest = labels["train"].mode()[0]
    answers = {
        "nothing: the most frequent class": lambda split: [commonest] * len(labels[split]),
        "a bag of words (tf-idf, logistic regression) on all tweets": lambda split: bag.predict(
            texts[split]
        ),
    }
    rows = []
    for title, answer in answers.items():
        right = [f"{(labels[s] == answer(s)).mean():.4f}" for s in ("validation", "test")]
        f1 = f1_score(labels["test"], answer("test"), average="macro")
        rows.append([title, "", *right, f"{f1:.4f}", ""])
    return rows


def random_model(folder: Path) -> str:
    """The packaged model's sizes and vocabulary, with weights as training from nothing has them."""
    config = DistilBertModel.from_pretrained("demo").config
    DistilBertModel(config).save_pretrained(folder)
    WordPieceTokenizer.from_pretrained("demo").save_pretrained(folder)
    return str(folder)


def row(title: str, options: dict[str, Any], folder: Path) -> list[str]:
    """Fine-tune with these options: a row of the table."""
    given: dict[str, Any] = {"model": "demo", "lr": 1e-4, **options}
    if given["model"] == "random":
        given["model"] = random_model(folder / "random")
    result = train.run(
        "finetune",
        dataset=str(EMOTION),
        epochs=1,
        batch_size=32,
        max_steps=STEPS,
        save_minutes=0,
        output_dir=str(folder / str(list(ROWS).index(title))),
        **given,
    )
    trained = sum(p.numel() for p in result.model.parameters() if p.requires_grad)
    names = ("eval_accuracy", "test_accuracy", "test_macro_f1")
    figures = [f"{result.metrics[name]:.4f}" for name in names]
    return [title, f"{trained:,}", *figures, str(int(result.history["step"].max()))]


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        rows = [row(title, options, Path(folder)) for title, options in ROWS.items()]
    header = ["what is trained", "parameters", "validation", "test", "macro F1 (test)", "steps"]
    said = (
        f"At most {STEPS} steps of 32 tweets, less than half an epoch; learning rate 1e-4 (head "
        "only: 1e-3); one seed, packaged weights. Validation and test are accuracies."
    )
    made = table(header, [*without_encoder(), *rows])
    publish("options", f"{made}\n\n{said}\n{environment('torch', 'scikit-learn')}")

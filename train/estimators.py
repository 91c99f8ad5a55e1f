"""scikit-learn estimators: TextClassifier fine-tunes, TextEncoder gives a frozen model's features.

By scikit-learn's rules: `__init__` only keeps its parameters, `fit` sets attributes that end in _,
and clone, pipelines, cross_val_score and GridSearchCV work. Both take a list, array or Series of
texts; a bare string is refused, for its letters would be taken for texts.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, column_or_1d

from minibert import DistilBertModel, load_classifier
from minibert.heads import Classifier
from minibert.pretrained import PretrainedModel
from tokenizer import WordPieceTokenizer
from train.batches import Encoded
from train.data import Data, check_text, encode
from train.data.labels import kind
from train.data.load import is_empty
from train.device import Precision, choose_precision
from train.finetune import load_for, prepare
from train.forward import POOLINGS, extract_features, load_model, predict_logits
from train.metrics import softmax
from train.options import MAX_SEED, ComputeOptions, FinetuneOptions
from train.runs import write_text
from train.training.checkpoints import check_finite
from train.training.loop import StepLog, stop_if_diverged, training

CLASSES = "classes.json"  # beside the model: the labels with their types, which id2label loses
PARAMETERS = "parameters.json"  # those of __init__, for load; a run's final/ has none
# Parameters that the command line calls otherwise.
FLAGS = {"--class-weights": "class_weight", "--seed": "random_state"}


@contextmanager
def parameters_named() -> Iterator[None]:
    """Inside, and in a function decorated with it, what the commands' checks refuse is named as a
    parameter: "lr", where they say "--lr"."""

    def name(flag: re.Match) -> str:
        return FLAGS.get(flag[0], flag[0].removeprefix("--").replace("-", "_"))

    try:
        yield
    except (ValueError, ArithmeticError) as error:
        error.args = (re.sub(r"(?<!\S)--[a-z]+(-[a-z]+)*", name, str(error)), *error.args[1:])
        raise


class TextEstimator(BaseEstimator):
    """What both share: texts in, and a model that computes on a device."""

    model: str
    max_length: int
    precision: str
    device: str

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags

    def _precision(self, model: PretrainedModel) -> Precision:
        """The number format to compute in, now: set_params may have changed what `fit` checked.

        Raises ValueError for a parameter that the command line would refuse."""
        options = ComputeOptions(max_length=self.max_length, precision=self.precision)
        return choose_precision(model.device.type, options.precision)

    def _encoded(
        self, texts: Iterable[str], tokenizer: WordPieceTokenizer, model: PretrainedModel
    ) -> Encoded:
        """Texts as token ids on the model's device."""
        rows = pd.DataFrame({"text": as_texts(texts), "label": 0})
        return encode(rows, tokenizer, model.config, self.max_length, model.device)


class TextClassifier(ClassifierMixin, TextEstimator):
    """Fine-tune a DistilBERT classifier: fit(texts, labels), predict(texts), predict_proba(texts).

    model: "demo", a folder or a Hub name; its encoder is trained with a new head. epochs, lr,
    batch_size, weight_decay, schedule, warmup_steps, train_layers, max_length, precision, device:
    as on the command line. class_weight: None or "balanced". random_state: an int for the same
    result every time.

    Attributes of a fitted one: classes_ (C,), the labels as they were given, sorted; model_,
    tokenizer_.

    clf = TextClassifier(model="demo", epochs=4, lr=2e-4, batch_size=16, random_state=42)
    clf.fit(texts, labels).score(other_texts, other_labels)
    """

    def __init__(
        self,
        model: str = "demo",
        *,
        epochs: int = 4,
        lr: float = 2e-4,
        batch_size: int = 16,
        weight_decay: float = 0.01,
        schedule: str = "linear",
        warmup_steps: int = 0,
        train_layers: int | None = None,
        class_weight: str | None = None,
        max_length: int = 512,
        precision: str = "auto",
        device: str = "auto",
        random_state: Any = None,
    ):
        self.model = model
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup_steps = warmup_steps
        self.train_layers = train_layers
        self.class_weight = class_weight
        self.max_length = max_length
        self.precision = precision
        self.device = device
        self.random_state = random_state

    @parameters_named()
    def fit(self, X: Iterable[str], y: Any) -> Self:
        """Train on texts X (N,) and labels y (N,). Nothing is held out, printed or written; torch's
        global random numbers are as before.

        Raises TypeError or ValueError for texts that are none, for fewer than two classes, and for
        a parameter that the command line would refuse; ArithmeticError where training diverges."""
        texts = as_texts(X)
        for place, text in enumerate(texts):
            if is_empty(text):
                raise ValueError(f"X[{place}] is empty; leave it out")
        labels = as_labels(y)
        if len(texts) != len(labels):
            raise ValueError(f"{len(texts)} texts, but {len(labels)} labels")
        classes, ids = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"every label is {classes[0]!r}: a classifier needs two classes")
        rows = pd.DataFrame({"text": texts, "label": ids})
        data = Data({"train": rows}, [str(label) for label in classes.tolist()])
        options = self._options()
        # Training seeds torch's global generators before every step: they are put back afterwards.
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            self._train(options, data)
        # Last: where training fails, what was fitted before is whole.
        self.classes_ = classes
        return self

    def _train(self, options: FinetuneOptions, data: Data) -> None:
        """What the command does between its run folder's beginning and end."""
        loaded = load_for(options, data)
        job = prepare(loaded)
        log = StepLog()
        for done, values in training(job):
            log.add(done, values)
            if log.is_full or done == job.update.total_steps:
                stop_if_diverged(log.read(), job.update)
        check_finite(loaded.model)
        self.model_: Classifier = loaded.model.eval()
        self.tokenizer_ = loaded.tokenizer

    def _options(self) -> FinetuneOptions:
        """The command line's options, with its checks."""
        given = self.get_params(deep=False)
        weights, seed = given.pop("class_weight"), given.pop("random_state")
        if seed is None or not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(MAX_SEED)
        # new_head: fit begins anew, whatever classifier the checkpoint has. no_cache: no files.
        given |= {
            "class_weights": "none" if weights is None else weights,
            "seed": seed,
            "new_head": True,
            "no_cache": True,
        }
        return FinetuneOptions(**given)

    @parameters_named()
    def predict_proba(self, X: Iterable[str]) -> np.ndarray:
        """Probabilities (N, C) float64, a column per label of classes_."""
        check_is_fitted(self)
        precision = self._precision(self.model_)
        encoded = self._encoded(X, self.tokenizer_, self.model_)
        return softmax(predict_logits(self.model_, encoded, precision, title=None))

    def predict(self, X: Iterable[str]) -> np.ndarray:
        """The most probable label of each text (N,), of the type that was given to fit."""
        check_is_fitted(self)  # before classes_ is looked for
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def save(self, folder: str | Path) -> None:
        """Write what a run's final/ holds: for load, predict --model and transformers.

        Raises TypeError for labels that JSON cannot write, such as dates, before it writes."""
        check_is_fitted(self)
        parameters = self.get_params(deep=False)
        if not isinstance(self.random_state, int | np.integer):
            parameters["random_state"] = None  # a generator's state is not kept
        texts = {CLASSES: json.dumps(self.classes_.tolist())}
        texts[PARAMETERS] = json.dumps(parameters, indent=2, default=plain)
        folder = Path(folder)
        self.model_.save_pretrained(folder)
        self.tokenizer_.save_pretrained(folder)
        for name, text in texts.items():
            write_text(folder / name, text)

    @classmethod
    @parameters_named()
    def load(cls, folder: str | Path, **parameters: Any) -> Self:
        """A fitted one from a folder that `save` or a fine-tuning run (RUN/final) has written;
        without classes.json, labels are the names in config.json. parameters: as for __init__,
        in place of those that were saved. The device is chosen anew unless it is given.

        Raises ValueError if a file is corrupt or classes.json has other labels than config.json."""
        folder = Path(folder)
        fitted = cls(str(folder)).set_params(**read_parameters(folder / PARAMETERS) | parameters)
        compute = ComputeOptions(
            device=fitted.device, precision=fitted.precision, max_length=fitted.max_length
        )
        device = choose_precision(compute.device, compute.precision).device
        fitted.model_ = load_classifier(folder).to(device)
        fitted.tokenizer_ = WordPieceTokenizer.from_pretrained(folder)
        fitted.classes_ = read_classes(folder / CLASSES, fitted.model_.config.label_names)
        return fitted


class TextEncoder(TransformerMixin, TextEstimator):
    """Hidden states of a frozen encoder as features: transform(texts) gives (N, D) float32.

    pooling: "cls" takes the last hidden state of the first token, "mean" the mean over all tokens.
    Fitting loads the model and learns nothing. For the tutorial's probe:

    make_pipeline(TextEncoder("demo", pooling="mean"), StandardScaler(), LogisticRegression())
    """

    def __init__(
        self,
        model: str = "demo",
        *,
        pooling: str = "cls",
        max_length: int = 512,
        precision: str = "auto",
        device: str = "auto",
    ):
        self.model = model
        self.pooling = pooling
        self.max_length = max_length
        self.precision = precision
        self.device = device

    @parameters_named()
    def fit(self, X: Iterable[str], y: Any = None) -> Self:
        """Load the encoder; the texts X are checked and not used."""
        as_texts(X)
        check_pooling(self.pooling)
        given = self.get_params(deep=False)
        del given["pooling"]
        options = ComputeOptions(**given)
        self.tokenizer_, self.model_, _ = load_model(options, DistilBertModel.from_pretrained)
        self.n_features_out_ = self.model_.config.dim
        return self

    @parameters_named()
    def transform(self, X: Iterable[str]) -> np.ndarray:
        """Features (N, D) float32 of texts X (N,)."""
        check_is_fitted(self)
        check_pooling(self.pooling)
        precision = self._precision(self.model_)
        encoded = self._encoded(X, self.tokenizer_, self.model_)
        return extract_features(self.model_, encoded, precision, self.pooling, title=None)


def check_pooling(pooling: str) -> None:
    """Raises ValueError naming what may be chosen."""
    if pooling not in POOLINGS:
        raise ValueError(f"pooling={pooling!r}: choose {' or '.join(map(repr, POOLINGS))}")


def as_texts(X: Any) -> list[str]:
    """A list of str from a list, 1-D array or Series. Raises TypeError naming what is no text."""
    # A set has no order that labels could follow; of a dict the keys would be taken.
    if isinstance(X, str | bytes | Set | Mapping) or not isinstance(X, Iterable):
        raise TypeError(f"give a list of texts, not a {type(X).__name__}")
    shape: tuple[int, ...] = getattr(X, "shape", (1,))
    if len(shape) != 1:
        raise TypeError(f"give texts in one dimension, not an array of shape {shape}")
    texts = list(X)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"X[{place}] must be a str, not {type(text).__name__}: {text!r}")
        check_text(text, f"X[{place}]")
    if not texts:
        raise ValueError("no texts were given")
    return [str(text) for text in texts]  # numpy's str_ as Python's


def as_labels(y: Any) -> np.ndarray:
    """Labels (N,) from a list, array or Series. Raises TypeError where words, numbers and booleans
    are mixed, ValueError where a label is missing or a real number, naming the place."""
    # As objects first: numpy would write the 1 of [1, "a"] as a text without a word.
    cells = column_or_1d(np.asarray(y, dtype=object))
    for place, cell in enumerate(cells):
        if pd.isna(cell):
            raise ValueError(f"y[{place}] is missing: {cell!r}; leave its text out")
        if kind(cell) != kind(cells[0]):
            kinds = f"{type(cells[0]).__name__}, y[{place}] a {type(cell).__name__}"
            raise TypeError(f"y[0] is a {kinds}: give labels of one type")
        if isinstance(cell, float | np.floating) and kind(cell) != "a number":
            raise ValueError(f"y[{place}] is {kind(cell)}: {cell!r}")
        if isinstance(cell, str):
            check_text(cell, f"y[{place}]")
    if isinstance(y, np.ndarray):
        return column_or_1d(y)
    labels = np.array(cells.tolist())
    # As objects where numpy's types lose something: a text's last \0, an integer over 64 bits.
    return labels if labels.tolist() == cells.tolist() else cells


def plain(value: Any) -> Any:
    """A parameter as JSON can hold it: numpy's numbers as Python's, a path as text."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value.item()


def read_parameters(file: Path) -> dict[str, Any]:
    """The parameters that `save` has written, but for the device, which may not be here."""
    if not file.exists():
        return {}
    try:
        found = dict(json.loads(file.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} is corrupt: {error}") from None
    known = TextClassifier._get_param_names()
    return {name: value for name, value in found.items() if name in known and name != "device"}


def read_classes(file: Path, names: list[str]) -> np.ndarray:
    """The labels (C,) in classes.json, or without that file the names in config.json."""
    if not file.exists():
        return np.array(names)
    try:
        classes = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is corrupt: {error}") from None
    # A model saved into the folder later would else answer with the labels of the one before.
    if not isinstance(classes, list) or [str(label) for label in classes] != names:
        raise ValueError(f"{file} does not agree with config.json's labels {names}; delete it")
    return np.array(classes)

"""DistilBertConfig: the fields of config.json, checked when the object is made."""

import json
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from minibert.bert import CONFIG_NAMES, is_bert, translate_config
from tokenizer.hub import read_json

SIZES = ("vocab_size", "max_position_embeddings", "n_layers", "n_heads", "dim", "hidden_dim")
MOST_LABELS = 2**20  # far more than any classifier has; see _settle_labels
DROPOUTS = ("dropout", "attention_dropout", "seq_classif_dropout")
ACTIVATIONS = ("gelu", "relu")
LABELS = ("num_labels", "id2label", "label2id")
# BERT's names of three sizes, which transformers takes in a DistilBERT's config.json too.
ALIASES = ("hidden_size", "num_hidden_layers", "num_attention_heads")
# transformers' names of what a classifier's logits mean. Only the first is trained here.
PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")


@dataclass
class DistilBertConfig:
    """One model's sizes, rates and labels; the defaults are those of distilbert-base-uncased.

    >>> config = DistilBertConfig(dim=64, n_heads=4, id2label={0: "sad", 1: "glad"})
    >>> config.head_dim, config.num_labels, config.label2id
    (16, 2, {'sad': 0, 'glad': 1})
    >>> DistilBertConfig(dim=64, n_heads=5)
    Traceback (most recent call last):
    ValueError: dim 64 cannot be split over n_heads 5
    """

    vocab_size: int = 30522
    max_position_embeddings: int = 512
    n_layers: int = 6
    n_heads: int = 12
    dim: int = 768
    hidden_dim: int = 3072
    dropout: float = 0.1
    attention_dropout: float = 0.1
    seq_classif_dropout: float = 0.2
    activation: str = "gelu"
    initializer_range: float = 0.02
    pad_token_id: int = 0
    num_labels: int | None = None  # set to the number of id2label's names; 2 where none are given
    id2label: dict[int, str] = field(default_factory=dict)
    label2id: dict[str, int] = field(default_factory=dict)
    problem_type: str | None = None  # one of PROBLEMS, or None for the first

    def __post_init__(self) -> None:
        self._check_sizes()
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {ACTIVATIONS}, not {self.activation!r}")
        if self.problem_type not in (None, *PROBLEMS):
            raise ValueError(f"problem_type must be one of {PROBLEMS}, not {self.problem_type!r}")
        self._settle_labels()

    @property
    def head_dim(self) -> int:
        """K: how many of a token's D numbers one attention head works on."""
        return self.dim // self.n_heads

    @property
    def label_names(self) -> list[str]:
        """The names of the labels in the order of their ids."""
        return [self.id2label[i] for i in range(len(self.id2label))]

    def check_single_label(self) -> None:
        """Raises ValueError unless a classifier of this config chooses one label of several.

        One output without a problem_type is a regression's, as in transformers."""
        problem = self.problem_type or ("regression" if len(self.id2label) == 1 else PROBLEMS[0])
        if problem != PROBLEMS[0]:
            raise ValueError(
                f"this classifier's problem_type is {problem} (a single output means regression): "
                "only single_label_classification is supported"
            )

    @classmethod
    def from_json(cls, file: Path, **overrides: Any) -> Self:
        """The config in a config.json, a DistilBERT's or a BERT's, with the fields in `overrides`
        changed. Raises ValueError naming the file and the field."""
        # null means the default, as in transformers.
        found = {name: value for name, value in read_json(file).items() if value is not None}
        try:
            if is_bert(found):
                found = translate_config(found)
            elif found.get("model_type", "distilbert") != "distilbert":
                raise ValueError(
                    f"model_type {found['model_type']!r}: only distilbert and bert can be loaded"
                )
            for alias in ALIASES:
                ours = CONFIG_NAMES[alias]
                if alias in found and found.setdefault(ours, found[alias]) != found[alias]:
                    raise ValueError(
                        f"{ours} {found[ours]!r} and {alias} {found[alias]!r} contradict each other"
                    )
            for name in SIZES:  # n_heads, for one, could not be told from the tensors' shapes
                if name not in found and name not in overrides:
                    raise ValueError(f"{name} is missing")
            if found.get("id2label"):
                found.pop("label2id", None)  # says the same once more, in old files wrongly
            if overrides.get("num_labels", 0) is None:
                del overrides["num_labels"]
            if {"id2label", "label2id"} & overrides.keys() or is_another_number(found, overrides):
                # They belong together: one that is given replaces all that the file says.
                found = {name: value for name, value in found.items() if name not in LABELS}
            known = {f.name: found[f.name] for f in fields(cls) if f.name in found}
            return cls(**{**known, **overrides})
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None

    def to_json(self, architecture: str) -> str:
        """The text of a config.json that transformers reads, too."""
        found = {"model_type": "distilbert", "architectures": [architecture], **asdict(self)}
        del found["num_labels"]  # id2label says how many
        if self.problem_type is None:
            del found["problem_type"]
        return json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def _check_sizes(self) -> None:
        for name in SIZES:
            check_size(name, getattr(self, name))
        if self.dim % self.n_heads != 0:
            raise ValueError(f"dim {self.dim} cannot be split over n_heads {self.n_heads}")
        if type(self.pad_token_id) is not int or not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(
                f"pad_token_id must lie in 0..{self.vocab_size - 1}, not {self.pad_token_id!r}"
            )
        for name in (*DROPOUTS, "initializer_range"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value <= 1:
                raise ValueError(f"{name} must be a number from 0 to 1, not {value!r}")

    def _settle_labels(self) -> None:
        """Make num_labels, id2label and label2id say the same, whichever of them were given."""
        given = self.id2label
        try:
            if isinstance(given, list):  # old files have the names in order, without numbers
                given = dict(enumerate(given))
            id2label = {label_id(i): name_of(label) for i, label in dict(given).items()}
            label2id = {name_of(label): label_id(i) for label, i in dict(self.label2id).items()}
        except (TypeError, ValueError):
            raise ValueError("id2label must map numbers to names, label2id the reverse") from None
        if len(id2label) < len(given):
            raise ValueError(f"id2label names an id twice: {given}")
        if not id2label:
            n_labels = 2 if self.num_labels is None else self.num_labels
            check_size("num_labels", n_labels)
            # Every label gets a name here, so a damaged number would fill the memory with them.
            if n_labels > MOST_LABELS:
                raise ValueError(f"num_labels must be at most {MOST_LABELS}, not {n_labels}")
            named = {i: label for label, i in label2id.items()}
            id2label = named or {i: f"LABEL_{i}" for i in range(n_labels)}
        if self.num_labels is not None:
            check_size("num_labels", self.num_labels)
        if self.num_labels not in (None, len(id2label)):
            raise ValueError(f"num_labels is {self.num_labels}, but {len(id2label)} are named")
        if sorted(id2label) != list(range(len(id2label))):
            raise ValueError(f"id2label must number the labels from 0, not {sorted(id2label)}")
        inverse = {label: i for i, label in id2label.items()}
        if len(inverse) < len(id2label):
            twice = next(label for i, label in id2label.items() if inverse[label] != i)
            raise ValueError(f"id2label has {twice!r} more than once: labels need different names")
        if label2id not in ({}, inverse):
            raise ValueError(f"id2label {id2label} and label2id {label2id} contradict each other")
        self.num_labels, self.id2label, self.label2id = len(id2label), id2label, inverse


def is_another_number(found: dict[str, Any], overrides: dict[str, Any]) -> bool:
    """Whether `overrides` ask for another number of labels than a config.json says."""
    named = found.get("id2label") or found.get("label2id") or ()
    n_labels = len(named) if isinstance(named, dict | list) else None
    return overrides.get("num_labels", n_labels) != n_labels


def label_id(value: object) -> int:
    """A class id: a whole number, in a JSON object's names as text. Raises ValueError."""
    if type(value) is int or (isinstance(value, str) and re.fullmatch("0|[1-9][0-9]*", value)):
        return int(value)
    raise ValueError(value)


def name_of(value: object) -> str:
    """A label's name; a number is a name, too. Raises ValueError."""
    if isinstance(value, str) or type(value) is int:
        return str(value)
    raise ValueError(value)


def check_size(name: str, value: object) -> None:
    """Raises ValueError unless the value is a whole number from 1 up."""
    if type(value) is not int or value < 1:  # `type`, as isinstance would let True through
        raise ValueError(f"{name} must be a whole number from 1 up, not {value!r}")

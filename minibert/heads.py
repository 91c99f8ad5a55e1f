"""The encoder with a head: masked language modelling, and sequence classification.

Devlin et al., arXiv 1810.04805, trained BERT by the first and used it for the second. DistilBERT
has no pooler, so its classifier brings a layer of its own (`pre_classifier`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.config import DistilBertConfig
from minibert.inputs import IGNORED, check_labels
from minibert.model import (
    ACTIVATIONS,
    DistilBertModel,
    EncoderOutput,
    layer_norm,
    output_field,
)
from minibert.pretrained import PretrainedModel, tensor_names


class HeadOutput(NamedTuple):
    """What a model with a head returns; the last two only where they were asked for."""

    loss: Tensor | None  # where labels were given
    logits: Tensor  # (B, S, V) or (B, C)
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None

    def __getitem__(self, key: Any) -> Any:
        return output_field(self, key)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean of -log softmax(logits)[label] over all labels but -100, in float32 at least.

    logits: (..., C), labels: (...). bfloat16 has 8 significant bits: just below 1 its numbers are
    0.004 apart, more than a step of training changes the loss."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(wide.flatten(0, -2), labels.flatten().long(), ignore_index=IGNORED)


class DistilBertForMaskedLM(PretrainedModel):
    """Masked language model: a score for every word of the vocabulary, at every position."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.vocab_transform = nn.Linear(config.dim, config.dim)
        self.activation = ACTIVATIONS[config.activation]
        self.vocab_layer_norm = layer_norm(config.dim)
        self.vocab_projector = nn.Linear(config.dim, config.vocab_size)
        for head in (self.vocab_transform, self.vocab_layer_norm, self.vocab_projector):
            self.init_weights(head)
        # One table, two names: what maps a word to a vector also maps a vector to a word. So the
        # projection learns from every occurrence of a word, and 23 million numbers are saved.
        self.vocab_projector.weight = self.distilbert.embeddings.word_embeddings.weight

    def head(self, hidden_states: Tensor) -> Tensor:
        """Last hidden states (..., D) -> logits (..., V)."""
        hidden = self.activation(self.vocab_transform(hidden_states))  # (..., D)
        return self.vocab_projector(self.vocab_layer_norm(hidden))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> HeadOutput:
        """labels: (B, S) word ids, -100 where nothing is asked -> logits (B, S, V)."""
        if labels is not None and self.distilbert.check_inputs:
            check_labels(labels, tuple(input_ids.shape), self.config.vocab_size)
        encoded: EncoderOutput = self.distilbert(
            input_ids, attention_mask, output_hidden_states, output_attentions
        )
        logits = self.head(encoded.last_hidden_state)  # (B, S, V)
        loss = None if labels is None else cross_entropy(logits, labels)
        return HeadOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class Classifier(PretrainedModel):
    """What both classifiers share: [CLS]'s last hidden state goes through `head`."""

    distilbert: DistilBertModel
    head: Callable[[Tensor], Tensor]  # last hidden state of [CLS] (..., D) -> logits (..., C)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> HeadOutput:
        """labels: (B,) class ids -> logits (B, C)."""
        if labels is not None and self.distilbert.check_inputs:
            self.config.check_single_label()
            check_labels(labels, (len(input_ids),), len(self.config.id2label))
        states = attentions = None
        if output_hidden_states or output_attentions:
            last, states, attentions = self.distilbert(
                input_ids, attention_mask, output_hidden_states, output_attentions
            )
            pooled = last[:, 0]
        else:  # nobody will see the last block's other tokens
            pooled = self.distilbert.first_token(input_ids, attention_mask)
        logits = self.head(pooled)  # (B, C)
        loss = None if labels is None else cross_entropy(logits, labels)
        return HeadOutput(loss, logits, states, attentions)


class BertForSequenceClassification(Classifier):
    """BERT's classifier on the folded encoder: for answers of a fine-tuned BERT, not for training.

    What DistilBERT left out is here: the *pooler*, a linear layer with tanh on the last hidden
    state of [CLS]. BERT trained it to tell whether the second of two sentences follows the first;
    without that task (and DistilBERT was taught without it) a pooler has nothing to bring, and a
    classifier starts with a new layer, `pre_classifier`, instead. Pooler and classifier come with
    the checkpoint; the rest of it is `distilbert`, as bert.py tells.
    """

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.bert_pooler = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        self.bert_classifier = nn.Linear(config.dim, len(config.id2label))
        for head in (self.bert_pooler, self.bert_classifier):
            self.init_weights(head)

    def head(self, first: Tensor) -> Tensor:
        """Last hidden state of [CLS] (..., D) -> logits (..., C)."""
        pooled = torch.tanh(self.bert_pooler(first))  # (..., D)
        return self.bert_classifier(self.dropout(pooled))

    def save_pretrained(self, folder: str | Path) -> None:
        """Raises ValueError: what was folded cannot be written as the BERT it was."""
        raise ValueError("a BERT classifier is not saved; fine-tune it, which makes a DistilBERT")


class DistilBertForSequenceClassification(Classifier):
    """Classifier: a score for every class, from the last hidden state of the first token, [CLS].

    pre_classifier (D -> D), ReLU, dropout, classifier (D -> C)."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        self.classifier = nn.Linear(config.dim, len(config.id2label))
        for head in (self.pre_classifier, self.classifier):
            self.init_weights(head)

    def head(self, first: Tensor) -> Tensor:
        """Last hidden state of [CLS] (..., D) -> logits (..., C)."""
        return self.classifier(self.dropout(F.relu(self.pre_classifier(first))))


def model_class(names: set[str]) -> type[PretrainedModel]:
    """The class for the head that a checkpoint has: a classifier, masked-word head, or none.

    config.json's "architectures" may be missing or wrong; the tensors are what can be used."""
    if {"pre_classifier.weight", "classifier.weight"} <= names:
        return DistilBertForSequenceClassification
    if {"bert_pooler.weight", "bert_classifier.weight"} <= names:
        return BertForSequenceClassification
    return DistilBertForMaskedLM if "vocab_transform.weight" in names else DistilBertModel


def load_classifier(name_or_folder: str | Path) -> Classifier:
    """A trained classifier, of a DistilBERT or a BERT. Raises ValueError where the checkpoint has
    none (a new one would answer at random), or one that does not choose one of several labels."""
    model = model_class(tensor_names(name_or_folder)).from_pretrained(name_or_folder)
    if not isinstance(model, Classifier) or model.fresh:
        raise ValueError(
            f"{name_or_folder} has no trained classifier; name the final/ folder of a fine-tuning "
            "run, or another checkpoint with one"
        )
    model.config.check_single_label()
    return model

"""Two questions put to the encoder: which word is hidden here, and which class is this text?

Devlin et al., arXiv 1810.04805, trained BERT by the first and used it for the second. DistilBERT
has no pooler, so its classifier brings a layer of its own (`pre_classifier`).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.checkpoint import PretrainedModel
from minibert.config import DistilBertConfig
from minibert.inputs import IGNORED, check_labels
from minibert.model import ACTIVATIONS, DistilBertModel, EncoderOutput, layer_norm


class HeadOutput(NamedTuple):
    """What a model with a head returns; the last two only where they were asked for."""

    loss: Tensor | None  # where labels were given
    logits: Tensor  # (B, S, V) or (B, C)
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over all labels but -100, in float32 at least: half precision would round it."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(wide.flatten(0, -2), labels.flatten().long(), ignore_index=IGNORED)


class DistilBertForMaskedLM(PretrainedModel):
    """A score for every word of the vocabulary at every position."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.vocab_transform = nn.Linear(config.dim, config.dim)
        self.activation = ACTIVATIONS[config.activation]
        self.vocab_layer_norm = layer_norm(config.dim)
        self.vocab_projector = nn.Linear(config.dim, config.vocab_size)
        for head in (self.vocab_transform, self.vocab_layer_norm, self.vocab_projector):
            self.init_weights(head)
        self.tie_weights()

    def tie_weights(self) -> None:
        """What maps a word to a vector also maps a vector to a word: one table, two names."""
        self.vocab_projector.weight = self.distilbert.embeddings.word_embeddings.weight

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
        hidden = self.activation(self.vocab_transform(encoded.last_hidden_state))  # (B, S, D)
        logits = self.vocab_projector(self.vocab_layer_norm(hidden))  # (B, S, V)
        loss = None if labels is None else cross_entropy(logits, labels)
        return HeadOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class DistilBertForSequenceClassification(PretrainedModel):
    """A score for every class, read off the first token, [CLS]."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        self.classifier = nn.Linear(config.dim, config.num_labels)
        for head in (self.pre_classifier, self.classifier):
            self.init_weights(head)

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
            check_labels(labels, (len(input_ids),), self.config.num_labels)
        states = attentions = None
        if output_hidden_states or output_attentions:
            last, states, attentions = self.distilbert(
                input_ids, attention_mask, output_hidden_states, output_attentions
            )
            pooled = last[:, 0]
        else:  # nobody will see the last block's other tokens
            pooled = self.distilbert.first_token(input_ids, attention_mask)
        hidden = self.dropout(F.relu(self.pre_classifier(pooled)))  # (B, D)
        logits = self.classifier(hidden)  # (B, C)
        loss = None if labels is None else cross_entropy(logits, labels)
        return HeadOutput(loss, logits, states, attentions)

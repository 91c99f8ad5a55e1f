"""A solution of "token-head": (file, what stands there, what stands there afterwards)."""

EDITS = [
    (
        "minibert/__init__.py",
        "    DistilBertForSequenceClassification,\n    load_classifier,\n)",
        "    DistilBertForSequenceClassification,\n    DistilBertForTokenClassification,\n"
        "    load_classifier,\n)",
    ),
    (
        "minibert/heads.py",
        "def model_class(",
        '''\
class DistilBertForTokenClassification(PretrainedModel):
    """Token classifier: a score for every class, at every position.

    dropout, classifier (D -> C)."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.dim, len(config.id2label))
        self.init_weights(self.classifier)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> HeadOutput:
        """labels: (B, S) class ids, -100 where nothing is asked -> logits (B, S, C)."""
        if labels is not None and self.distilbert.check_inputs:
            check_labels(labels, tuple(input_ids.shape), len(self.config.id2label))
        encoded = self.distilbert(
            input_ids, attention_mask, output_hidden_states, output_attentions
        )
        logits = self.classifier(self.dropout(encoded.last_hidden_state))  # (B, S, C)
        loss = None if labels is None else cross_entropy(logits, labels)
        return HeadOutput(loss, logits, encoded.hidden_states, encoded.attentions)


def model_class(''',
    ),
]

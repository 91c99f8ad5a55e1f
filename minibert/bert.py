"""A BERT that reads texts of one segment is a DistilBERT: its config and tensors, translated.

BERT's first hidden state is LayerNorm(word + position + token type), and in a text of one segment
every token has type 0. So row 0 of the token types is a constant; added to every row of the
position table once and for all, it gives the same sums:

    word + position + type = word + (position + type)

From there on the two compute the same, block by block, under other names. What stays behind is the
other token types: a second segment cannot be expressed. The pooler is no part of the encoder; a
trained BERT classifier brings it along (heads.BertForSequenceClassification). The two are equal
without dropout; BERT has one more, after each attention, and so trains a little differently.
"""

from typing import Any

from torch import Tensor

CONFIG_NAMES = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
}
# Settings of a BERT that a DistilBERT does not have. Where config.json does not name one, its
# default is the value here; any other value would change the numbers, so it is refused.
DEMANDS = {
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
# BERT's names of tensors and ours: whole parts between dots, replaced in this order. The order
# matters: "attention.output.dense" must be gone before "output.dense" is looked for.
TENSOR_NAMES = {
    "encoder.layer": "transformer.layer",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
    "cls.predictions.transform.dense": "vocab_transform",
    "cls.predictions.transform.LayerNorm": "vocab_layer_norm",
    "cls.predictions.decoder.weight": "vocab_projector.weight",
    "cls.predictions.bias": "vocab_projector.bias",
    # BERT's classifier reads the pooler, so it is not DistilBERT's tensor of that name.
    "pooler.dense": "bert_pooler",
    "classifier": "bert_classifier",
}
TOKEN_TYPES = "embeddings.token_type_embeddings.weight"
POSITIONS = "embeddings.position_embeddings.weight"
WORDS = "embeddings.word_embeddings.weight"


def is_bert(found: dict[str, Any]) -> bool:
    """Whether a config.json describes a BERT. Those of 2018 to 2020 do not say so; but only a BERT
    has token types."""
    model_type = found.get("model_type") or ("bert" if "type_vocab_size" in found else None)
    return model_type == "bert"


def translate_config(found: dict[str, Any]) -> dict[str, Any]:
    """A BERT's config.json in DistilBERT's words. Raises ValueError for what cannot be folded."""
    for name, needed in DEMANDS.items():
        if found.get(name, needed) != needed:
            raise ValueError(f"this BERT has {name} {found[name]!r}; only {needed!r} can be folded")
    ours = {CONFIG_NAMES.get(name, name): value for name, value in found.items()}
    # BERT has one rate for its hidden states and its classifier, unless the second is set apart.
    ours["seq_classif_dropout"] = ours.get("classifier_dropout", ours.get("dropout", 0.1))
    return ours


def translate_name(name: str) -> str:
    """The name of the same tensor in a DistilBERT.

    >>> translate_name("bert.encoder.layer.0.output.dense.bias")
    'transformer.layer.0.ffn.lin2.bias'
    """
    name = f".{name.removeprefix('bert.')}."
    for theirs, ours in TENSOR_NAMES.items():
        name = name.replace(f".{theirs}.", f".{ours}.")
    return name.strip(".")


def fold(tensors: dict[str, Tensor]) -> None:
    """Add row 0 of the token types (T, D) to every position row (P, D), in float32.

    In half precision the sum would be rounded again, to 8 or 11 bits; in float32 it is exact to one
    rounding (3.6e-8 was the largest difference from BERT, measured in float64)."""
    token_types = tensors.pop(TOKEN_TYPES)
    tensors[POSITIONS] = tensors[POSITIONS].float() + token_types[0].float()

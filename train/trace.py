"""python -m train trace: one text on its way through tokenizer and model, stage by stage."""

from typing import Any

import torch
from torch import Tensor, nn

from minibert import DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertModel
from minibert.checkpoint import PretrainedModel, tensor_names
from tokenizer import WordPieceTokenizer
from train.device import choose_precision
from train.options import TraceOptions

TOP = 5


def run(options: TraceOptions) -> None:
    """Print what becomes of the text: pieces, parameters, shapes, attention, and an answer."""
    tokenizer = WordPieceTokenizer.from_pretrained(options.model)
    model_class = model_for(tensor_names(options.model))
    model = model_class.from_pretrained(options.model)
    model.to(choose_precision(options.device, "fp32").device)

    limit = model.config.max_position_embeddings
    ids = tokenizer(options.text, truncation=True, max_length=limit)["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(ids)
    input_ids = torch.tensor([ids], device=next(model.parameters()).device)  # (1, S)
    with torch.inference_mode():
        out = model(input_ids, output_hidden_states=True, output_attentions=True)

    show("Pieces and their ids", [(piece, str(number)) for piece, number in zip(pieces, ids)])
    show("Parameters", parameter_rows(model))
    show("Shapes: B texts, S tokens, D numbers each, H heads", shape_rows(input_ids, out))
    weights = out.attentions[-1][0, :, 0].mean(dim=0)  # (S,), over the heads
    show("What [CLS] attends to in the last layer, mean of its heads", bars(pieces, weights))
    if isinstance(model, DistilBertForMaskedLM):
        show_fillers(tokenizer, ids, out.logits[0])
    elif isinstance(model, DistilBertForSequenceClassification):
        labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
        show("Labels", bars(labels, out.logits[0].softmax(dim=-1)))
    else:
        print(f"\n{options.model} has neither a masked-word head nor a classifier: no answer here.")


def model_for(names: set[str]) -> type[PretrainedModel]:
    """The class that uses the head whose tensors a checkpoint holds."""
    if {"pre_classifier.weight", "classifier.weight"} <= names:
        return DistilBertForSequenceClassification
    return DistilBertForMaskedLM if "vocab_transform.weight" in names else DistilBertModel


def parameter_rows(model: nn.Module) -> list[tuple[str, str]]:
    """How many numbers each part of the model learns; a tied table counts once, where it is."""
    encoder: Any = getattr(model, "distilbert", model)
    parts = dict(encoder.embeddings.named_children())
    parts |= {f"layer {i}": block for i, block in enumerate(encoder.blocks)}
    if model is not encoder:
        parts |= {name: part for name, part in model.named_children() if part is not encoder}
    seen: set[nn.Parameter] = set()
    rows = []
    for name, part in parts.items():
        new = set(part.parameters()) - seen
        seen |= new
        if new:
            rows.append((name, f"{sum(parameter.numel() for parameter in new):,}"))
    return [*rows, ("all", f"{sum(parameter.numel() for parameter in seen):,}")]


def shape_rows(input_ids: Tensor, out: Any) -> list[tuple[str, str]]:
    """From ids to the last thing computed. `out` is what a model returned when asked for all."""
    embeddings, *layers = out.hidden_states
    rows = [("input_ids (B, S)", input_ids), ("embeddings (B, S, D)", embeddings)]
    for i, (weights, hidden) in enumerate(zip(out.attentions, layers)):
        rows.append((f"layer {i} attention (B, H, S, S)", weights))
        rows.append((f"layer {i} output (B, S, D)", hidden))
    if hasattr(out, "logits"):
        rows.append(("logits", out.logits))
    return [(name, " x ".join(map(str, tensor.shape))) for name, tensor in rows]


def show_fillers(tokenizer: WordPieceTokenizer, ids: list[int], logits: Tensor) -> None:
    """The likeliest pieces at every [MASK]; logits: (S, V)."""
    positions = [i for i, number in enumerate(ids) if number == tokenizer.mask_token_id]
    for position in positions:
        top = logits[position].softmax(dim=-1).topk(TOP)
        show(
            f"Fillers for {tokenizer.mask_token} at position {position}",
            bars(tokenizer.convert_ids_to_tokens(top.indices.tolist()), top.values),
        )
    if not positions:
        print(f"\nNo {tokenizer.mask_token} in the text, so there is nothing to fill in.")


def bars(names: list[str], shares: Tensor) -> list[tuple[str, str]]:
    """A number and a bar for each share of 1."""
    return [(name, f"{s:.4f} {'#' * round(40 * s)}") for name, s in zip(names, shares.tolist())]


def show(title: str, rows: list[tuple[str, str]]) -> None:
    """A titled block of name and value, aligned."""
    width = max(len(name) for name, _ in rows)
    print(f"\n{title}")
    for name, value in rows:
        print(f"  {name:<{width}}  {value}".rstrip())

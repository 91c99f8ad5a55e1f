"""python -m train trace: print what tokenizer and model compute for one text, stage by stage."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minibert import DistilBertForMaskedLM
from minibert.heads import Classifier, model_class
from minibert.pretrained import PretrainedModel, tensor_names
from tokenizer import WordPieceTokenizer
from train.device import choose_precision
from train.forward import model_folder
from train.inside import inside
from train.options import TraceOptions
from train.report.inside import is_page, write_page
from train.runs import Result

TOP = 5


def run(options: TraceOptions) -> Result:
    """Print each text's tokens, the model's parameters, shapes, attention, and the answer; with
    --page, write the page that looks inside."""
    if options.page is not None:
        check_page(Path(options.page))
    name = model_folder(options.model)
    tokenizer = WordPieceTokenizer.from_pretrained(name)
    model = model_class(tensor_names(name)).from_pretrained(name)
    if isinstance(model, Classifier):
        model.config.check_single_label()
    model.to(choose_precision(options.device, "fp32").device)
    if options.page is None:
        for text in options.text:
            show_text(text, tokenizer, model)
    else:
        traces = [inside(text, tokenizer, model) for text in options.text]
        write_page(Path(options.page), traces, options.model)
        print(f"page: {options.page}")
    return Result(model=model, tokenizer=tokenizer)


def check_page(path: Path) -> None:
    """Raises where the page cannot be written, or would take the place of something else."""
    if path.suffix.lower() != ".html":
        raise ValueError(f"--page {path}: name a file that ends in .html")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--page {path}: there is no folder {path.parent}")
    if path.exists() and not (path.is_file() and is_page(path)):
        raise FileExistsError(f"--page {path} exists, and is no page of trace; name another file")


def show_text(text: str, tokenizer: WordPieceTokenizer, model: PretrainedModel) -> None:
    """Print the stages of one text."""
    limit = model.config.max_position_embeddings
    ids = tokenizer(text, truncation=True, max_length=limit)["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(ids)
    input_ids = torch.tensor([ids], device=model.device)  # (1, S)
    with torch.inference_mode():
        out = model(input_ids, output_hidden_states=True, output_attentions=True)

    show("Pieces and their ids", [(piece, str(number)) for piece, number in zip(pieces, ids)])
    show("Parameters", parameter_rows(model))
    show("Shapes: B texts, S tokens, D numbers each, H heads", shape_rows(input_ids, out))
    # (1, H, S, S): text 0, all heads, the row of [CLS]; its mean over the heads sums to 1.
    weights = out.attentions[-1][0, :, 0].mean(dim=0)  # (S,)
    show("What [CLS] attends to in the last layer, mean of its heads", bars(pieces, weights))
    if isinstance(model, DistilBertForMaskedLM):
        show_fillers(tokenizer, ids, out.logits[0])
    elif isinstance(model, Classifier):
        labels = model.config.label_names
        show("Labels", bars(labels, out.logits[0].softmax(dim=-1)))
    else:
        print("\nThis checkpoint has neither a masked-word head nor a classifier: no answer here.")


def parameter_rows(model: nn.Module) -> list[tuple[str, str]]:
    """Number of parameters of each part; a tied table counts once, where it comes first."""
    encoder: Any = getattr(model, "distilbert", model)
    parts = dict(encoder.embeddings.named_children())
    parts |= {f"layer {i}": block for i, block in enumerate(encoder.blocks)}
    if model is not encoder:
        parts |= {name: part for name, part in model.named_children() if part is not encoder}
    # The masked-word head's output matrix *is* the word embedding table (tied weights). Without
    # this set it would be counted twice: 23 of DistilBERT's 66 million parameters.
    seen: set[nn.Parameter] = set()
    rows = []
    for name, part in parts.items():
        new = set(part.parameters()) - seen
        seen |= new
        if new:
            rows.append((name, f"{sum(parameter.numel() for parameter in new):,}"))
    return [*rows, ("all", f"{sum(parameter.numel() for parameter in seen):,}")]


def shape_rows(input_ids: Tensor, out: Any) -> list[tuple[str, str]]:
    """(name, shape) of each tensor from ids to logits. out: a model's output with hidden states
    and attentions."""
    embeddings, *layers = out.hidden_states  # one more than layers: the first is their input
    rows = [("input_ids (B, S)", input_ids), ("embeddings (B, S, D)", embeddings)]
    for i, (weights, hidden) in enumerate(zip(out.attentions, layers)):
        rows.append((f"layer {i} attention (B, H, S, S)", weights))
        rows.append((f"layer {i} output (B, S, D)", hidden))
    if hasattr(out, "logits"):
        rows.append(("logits", out.logits))
    return [(name, " x ".join(map(str, tensor.shape))) for name, tensor in rows]


def show_fillers(tokenizer: WordPieceTokenizer, ids: list[int], logits: Tensor) -> None:
    """Print the most probable tokens at each [MASK]. logits: (S, V)."""
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
    """(name, number and bar) for each probability. shares: (number of names,), each 0 to 1."""
    return [(name, f"{s:.4f} {'#' * round(40 * s)}") for name, s in zip(names, shares.tolist())]


def show(title: str, rows: list[tuple[str, str]]) -> None:
    """Print a title and the (name, value) rows in two aligned columns."""
    width = max(len(name) for name, _ in rows)
    print(f"\n{title}")
    for name, value in rows:
        print(f"  {name:<{width}}  {value}".rstrip())

"""What a model computes of one text, as numbers for a page: attention, states, lens, attributions.

Nothing here is drawn. Each number is the model's own, in float32; tests/test_inside.py computes
them again.
"""

from typing import Any

import torch
from torch import Tensor

from minibert import DistilBertForMaskedLM
from minibert.heads import Classifier
from minibert.pretrained import PretrainedModel
from tokenizer import WordPieceTokenizer
from tokenizer.__main__ import walk

MOST = 128  # tokens of a text on a page
ANSWER = ("labels", "logits", "probabilities", "lens", "gradient", "leave_one_out")
FILLERS = 6  # words of a masked-word head's answer that are shown


def inside(text: str, tokenizer: WordPieceTokenizer, model: PretrainedModel) -> dict[str, Any]:
    """All numbers of the page for one text, as lists that JSON can hold.

    attentions [layer][head][query][key]; states [layer][token][D] and norms [layer][token], layer 0
    being the embeddings; labels, logits, probabilities of the answer; lens [layer][label];
    gradient and leave_one_out [token]; plane [layer][token][2]."""
    limit = model.config.max_position_embeddings
    encoded = tokenizer(text, truncation=True, max_length=limit)
    if len(encoded.input_ids) > MOST:
        raise ValueError(
            f"a page shows texts of up to {MOST} tokens (its attention grows with their square), "
            f"this one has {len(encoded.input_ids)}; give a shorter text"
        )
    ids = torch.tensor([encoded.input_ids], device=model.device)  # (1, S)
    out = model(ids, output_hidden_states=True, output_attentions=True)
    states = torch.stack(out.hidden_states)[:, 0]  # (L + 1, S, D)
    steps = walk(text, tokenizer)
    found = {
        "text": text,
        "normalized": steps.normalized,
        "pieces": steps.pieces,
        "tokens": tokenizer.convert_ids_to_tokens(encoded.input_ids),
        "input_ids": encoded.input_ids,
        "attentions": torch.stack(out.attentions)[:, 0],  # (L, H, S, S)
        "states": states,
        "norms": states.norm(dim=-1),
        "plane": plane(states),
        **{name: [] for name in ANSWER},
    }
    position = answer_position(ids, tokenizer, model)
    if position is not None:
        found |= answer(model, tokenizer, ids, out.hidden_states, position)
    return {
        name: value.detach().tolist() if isinstance(value, Tensor) else value
        for name, value in found.items()
    }


def answer_position(
    ids: Tensor, tokenizer: WordPieceTokenizer, model: PretrainedModel
) -> int | None:
    """The token whose last hidden state the head reads: [CLS], or the first [MASK]; None where
    there is no head or no [MASK]."""
    if isinstance(model, Classifier):
        return 0
    masked = [
        i for i, token_id in enumerate(ids[0].tolist()) if token_id == tokenizer.mask_token_id
    ]
    return masked[0] if isinstance(model, DistilBertForMaskedLM) and masked else None


def answer(
    model: Any,
    tokenizer: WordPieceTokenizer,
    ids: Tensor,
    hidden_states: tuple[Tensor, ...],
    position: int,
) -> dict[str, Any]:
    """labels, logits, probabilities, lens, gradient, leave_one_out of the head's answer at a
    position. hidden_states: L + 1 of (1, S, D), with the graph that they were computed in."""
    logits = model.head(hidden_states[-1][0, position])  # (C,) or (V,)
    probabilities = logits.softmax(dim=-1)
    if isinstance(model, Classifier):
        shown = torch.arange(len(logits))
        labels = model.config.label_names
    else:  # of 30,000 words only the likeliest
        shown = probabilities.topk(FILLERS).indices.cpu()
        labels = tokenizer.convert_ids_to_tokens(shown.tolist())
    best = int(logits.argmax())
    # Gradient x input (Shrikumar et al., arXiv 1605.01713): the answer's logit is expanded to first
    # order around the embedding layer's output x; token i's share of it is grad . x there.
    embeddings = hidden_states[0]
    (gradient,) = torch.autograd.grad(logits[best], embeddings)  # (1, S, D)
    # The head was made for the last layer only. Reading earlier layers with it is a lens: it shows
    # how far the answer has formed, in the terms of the last layer.
    lens = torch.stack([model.head(h[0, position]).softmax(dim=-1)[shown] for h in hidden_states])
    return {
        "labels": labels,
        "logits": logits[shown],
        "probabilities": probabilities[shown],
        "lens": lens,
        "gradient": (gradient * embeddings)[0].sum(dim=-1),
        "leave_one_out": leave_one_out(model, ids, position, best),
    }


@torch.no_grad()
def leave_one_out(model: Any, ids: Tensor, position: int, best: int) -> Tensor:
    """(S,): how far the answer's probability falls when a token is taken out; the others close up.

    The token that the head reads, if it is a [MASK], cannot be taken out: 0."""

    def probability(row: Tensor, place: int) -> Tensor:
        hidden = model.distilbert(row[None]).last_hidden_state[0, place]
        return model.head(hidden).softmax(dim=-1)[best]

    whole = probability(ids[0], position)
    falls = []
    for i in range(ids.shape[1]):
        if i == position and position > 0:
            falls.append(torch.zeros_like(whole))
            continue
        rest = torch.cat([ids[0, :i], ids[0, i + 1 :]])
        falls.append(whole - probability(rest, position - (i < position)))
    return torch.stack(falls)


def plane(states: Tensor) -> Tensor:
    """All hidden states (L + 1, S, D) on the plane of their two largest principal components:
    (L + 1, S, 2). Each layer is centred by itself, for layers lie far from each other."""
    centred = states.detach() - states.detach().mean(dim=1, keepdim=True)
    _, _, directions = torch.linalg.svd(centred.flatten(0, 1), full_matrices=False)  # (., D)
    return centred @ directions[:2].T

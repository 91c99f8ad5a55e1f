"""Attention against its formula, then against transformers' layer with the same weights."""

import math

import torch
from torch import Tensor

from minibert import DistilBertModel
from minibert.model import MultiHeadSelfAttention, explicit_attention
from tests.exercise.words import Wrong, close, equal
from tests.parity import twins, wake_up
from tests.tiny import IDS, MASK, TINY, tiny

QUERY, SCORE = ("text", "head", "query", "dimension"), ("text", "head", "query", "key")


def random(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def formula(q: Tensor, k: Tensor, scale: float, over: int = -1) -> Tensor:
    return (torch.einsum("bhqk,bhsk->bhqs", q, k) * scale).softmax(dim=over)


def check_formula() -> None:
    """explicit_attention: softmax(q k^T / sqrt(K)) v, and its weights"""
    q, k, v = random(2, 3, 4, 6), random(2, 3, 5, 6).flip(0), random(2, 3, 5, 6)
    out = explicit_attention(q.clone(), k.clone(), v.clone(), None, 0.0)
    if not isinstance(out, tuple) or len(out) != 2:
        raise Wrong("explicit_attention should return two tensors: the context and the weights.")
    context, weights = out
    slips = {
        "when the scores are not divided by sqrt(K)": formula(q, k, 1.0),
        "when the scores are divided by K, not by its root": formula(q, k, 1 / 6),
        "when K is taken to be all D dimensions, not those of one head": formula(q, k, 18**-0.5),
        "when softmax runs over the queries, not over the keys": formula(q, k, 6**-0.5, over=-2),
        "without softmax": torch.einsum("bhqk,bhsk->bhqs", q, k) / math.sqrt(6),
    }
    right = formula(q, k, 6**-0.5)
    close(weights, right, "the weights of explicit_attention", SCORE, mistakes=slips)
    contexts = {slip: wrong @ v for slip, wrong in slips.items()}
    close(context, right @ v, "the context of explicit_attention", QUERY, mistakes=contexts)


def check_mask() -> None:
    """explicit_attention: a key that is masked gets weight 0, and the others sum to 1"""
    q, k, v = random(2, 3, 4, 6), random(2, 3, 5, 6).flip(0), random(2, 3, 5, 6)
    keep = torch.tensor([[True] * 5, [True, False, True, False, False]])[:, None, None, :]
    plain = formula(q, k, 6**-0.5)
    right = plain * keep / (plain * keep).sum(dim=-1, keepdim=True)
    slips = {
        "when the mask is not used": plain,
        "when the weights are set to 0 after the softmax: the rest must sum to 1": plain * keep,
        "when the mask is turned round: True means keep": (
            plain * ~keep / (plain * ~keep).sum(dim=-1, keepdim=True)
        ).nan_to_num(1 / 5),  # nothing is left of text 0: all scores are the lowest, all alike
    }
    context, weights = explicit_attention(q, k, v, keep, 0.0)
    close(weights, right, "the weights under a mask", SCORE, mistakes=slips)
    close(context, right @ v, "the context under a mask", QUERY)


def check_nothing_to_keep() -> None:
    """explicit_attention: a text of padding alone gives no NaN, in float32 and float16"""
    for dtype in (torch.float32, torch.float16):
        q, k, v = (random(1, 1, 2, 4).to(dtype) for _ in range(3))
        keep = torch.zeros(1, 1, 1, 2, dtype=torch.bool)
        weights = explicit_attention(q, k, v, keep, 0.0)[1]
        if not weights.isfinite().all():
            raise Wrong(
                f"With every key masked the weights hold NaN in {dtype}. exp(-inf) in a whole row "
                "is 0 / 0: fill with the lowest finite number of the scores' own dtype."
            )


def check_dropout() -> None:
    """dropout: on the weights in training, off in eval, both with and without the weights"""
    config = tiny(attention_dropout=0.5, dropout=0.0)
    model = wake_up(DistilBertModel(config)).double()
    for explicit in (False, True):
        how = f"with output_attentions={explicit}"
        with torch.no_grad():
            model.eval()
            one, two = (model(IDS, MASK, output_attentions=explicit)[0] for _ in range(2))
            if not torch.equal(one, two):
                raise Wrong(
                    f"{how}: two passes in eval mode differ. A function such as F.dropout does not "
                    "know of model.eval(); look at self.training."
                )
            model.train()
            one, two = (model(IDS, MASK, output_attentions=explicit)[0] for _ in range(2))
            if torch.equal(one, two):
                raise Wrong(f"{how}: two passes in training are equal; dropout should be on.")


def check_share() -> None:
    """dropout: attention_dropout is the share of weights, not of context, that is set to 0"""
    p, n_tokens = 0.2, 5
    layer = MultiHeadSelfAttention(tiny(attention_dropout=p)).double()
    with torch.no_grad():
        # All weights are 1/5 and all values 1. Each output is then a fifth of the sum of five
        # numbers that are 0 or 1 / (1 - p): its variance is p / (1 - p) / 5.
        for part in (layer.q_lin, layer.k_lin, layer.v_lin, layer.out_lin):
            part.weight.zero_()
            part.bias.zero_()
        layer.v_lin.bias.fill_(1)
        layer.out_lin.weight.copy_(torch.eye(TINY.dim))
        for explicit in (False, True):
            torch.manual_seed(0)
            out, _ = layer.train()(random(400, n_tokens, TINY.dim), None, None, explicit)
            found = float(((out - 1) ** 2).mean()) * n_tokens
            if not 0.7 < found / (p / (1 - p)) < 1.4:
                right, yours = p / (1 - p) / n_tokens, found / n_tokens
                raise Wrong(
                    f"with output_attentions={explicit}: dropout of {p} should give the context a "
                    f"variance of {right:.3f} here, and gives {yours:.3f}. It belongs on the "
                    "weights, with the share attention_dropout in training."
                )


def check_layer() -> None:
    """MultiHeadSelfAttention: heads, projections and result are those of transformers"""
    ours, theirs = twins("encoder", TINY, torch.float64)
    x = random(2, 5, TINY.dim)
    layer, reference = ours.blocks[0].attention, theirs.transformer.layer[0].attention
    axes = ("text", "token", "dimension")
    with torch.no_grad():
        expected, their_weights = reference(x)
        slips = {slip: by_formula(layer, x, slip) for slip in SLIPS}
        out, weights = layer(x, None, output_attentions=True)
        close(out, expected, "the layer's output", axes, mistakes=slips)
        close(weights, their_weights, "the layer's weights", SCORE)
        out, weights = layer(x, None)
        what = "the layer's output without output_attentions"
        close(out, expected, what, axes, mistakes=slips)
        equal(weights, None, "the weights, where nobody asks for them,")


SLIPS = (
    "when the heads are split without moving their axis: reshape is not transpose",
    "when the heads are joined without moving their axis back",
    "without out_lin",
    "when queries and keys change places",
    "when keys serve as values, too",
)


def by_formula(layer: MultiHeadSelfAttention, x: Tensor, slip: str) -> Tensor:
    """The layer's output with one mistake in it."""
    place = SLIPS.index(slip)
    heads, head_dim = layer.n_heads, layer.head_dim

    def split(t: Tensor) -> Tensor:
        if place == 0:
            return t.reshape(len(t), heads, -1, head_dim)
        return t.unflatten(-1, (heads, head_dim)).transpose(1, 2)

    q, k, v = split(layer.q_lin(x)), split(layer.k_lin(x)), split(layer.v_lin(x))
    if place == 3:
        q, k = k, q
    if place == 4:
        v = k
    context = formula(q, k, head_dim**-0.5) @ v  # (B, H, S, K)
    joined = context.reshape(x.shape) if place in (0, 1) else context.transpose(1, 2).flatten(2)
    return joined if place == 2 else layer.out_lin(joined)


def check_model() -> None:
    """the encoder with your attention: every hidden state and attention, padded texts too"""
    ours, theirs = twins("encoder", TINY, torch.float64)
    asked = {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        actual, expected = ours(IDS, MASK, **asked), theirs(IDS, MASK, **asked)
        plain = ours(IDS, MASK, output_hidden_states=True)
    for layer, (mine, right) in enumerate(zip(actual.attentions, expected.attentions), start=1):
        close(mine, right, f"attention weights of layer {layer}", SCORE)
    for layer, (mine, right) in enumerate(zip(plain.hidden_states, expected.hidden_states)):
        close(mine, right, f"hidden states after layer {layer}", ("text", "token", "dimension"))


def check_fewer_queries() -> None:
    """n_queries: the first token alone is the first token of all"""
    torch.manual_seed(0)
    layer = wake_up(MultiHeadSelfAttention(TINY)).double().eval()
    x = random(2, 5, TINY.dim)
    with torch.no_grad():
        whole, _ = layer(x.clone(), None)
        some, weights = layer(x, None, 2, True)
    close(some, whole[:, :2], "the output of 2 queries", ("text", "query", "dimension"))
    equal(
        tuple(weights.shape),
        (2, TINY.n_heads, 2, 5),
        "the shape of the weights of 2 queries",
        {
            "when the keys are cut, too: a query looks at all tokens": (2, TINY.n_heads, 2, 2),
        },
    )

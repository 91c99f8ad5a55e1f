"""Embeddings, feed-forward and block against transformers' with the same weights."""

import torch
from torch import Tensor, nn

from minibert import DistilBertModel
from minibert.model import FFN, TransformerBlock
from tests.exercise.words import Wrong, close
from tests.parity import twins, wake_up
from tests.tiny import IDS, MASK, NO_DROPOUT, TINY, tiny

AXES = ("text", "token", "dimension")


def random(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return 2 * torch.randn(shape, generator=generator, dtype=torch.float64)


def check_embeddings() -> None:
    """Embeddings: word + position, then LayerNorm"""
    ours, theirs = twins("encoder", TINY, torch.float64)
    table = ours.embeddings
    with torch.no_grad():
        words, places = table.word_embeddings(IDS), table.position_embeddings.weight[:5]
        slips = {
            "without LayerNorm": words + places,
            "without the position embeddings": table.LayerNorm(words),
            "when LayerNorm sees the words alone": table.LayerNorm(words) + places,
            "when every token has position 0": table.LayerNorm(words + places[0]),
            "when positions are counted from 1": table.LayerNorm(
                words + table.position_embeddings.weight[1:6]
            ),
        }
        expected = theirs.embeddings(IDS)
        close(table(IDS), expected, "the embeddings of two texts", AXES, mistakes=slips)


def check_ffn() -> None:
    """FFN: up to hidden_dim, GELU, back to dim"""
    ours, theirs = twins("encoder", TINY, torch.float64)
    x = random(2, 5, TINY.dim)
    ffn = ours.blocks[0].ffn
    with torch.no_grad():
        inner = ffn.lin1(x)
        slips = {
            "with GELU's tanh curve in place of the exact one": ffn.lin2(
                nn.functional.gelu(inner, approximate="tanh")
            ),
            "with ReLU in place of GELU": ffn.lin2(inner.relu()),
            "without an activation between the two layers": ffn.lin2(inner),
            "with a second activation at the end": nn.functional.gelu(
                ffn.lin2(nn.functional.gelu(inner))
            ),
            "when the residual sum is made here: the block does that": (
                ffn.lin2(nn.functional.gelu(inner)) + x
            ),
        }
        expected = theirs.transformer.layer[0].ffn(x)
        close(ffn(x), expected, "the output of FFN", AXES, mistakes=slips)
    relu = wake_up(FFN(tiny(activation="relu"))).double().eval()
    with torch.no_grad():
        expected = relu.lin2(relu.lin1(x).relu())
        close(relu(x), expected, 'FFN of a config with activation="relu"', AXES)


def check_block() -> None:
    """TransformerBlock: attention, sum, norm; feed-forward, sum, norm"""
    ours, theirs = twins("encoder", TINY, torch.float64)
    x = random(2, 5, TINY.dim)
    block = ours.blocks[0]
    first, last, ffn = block.sa_layer_norm, block.output_layer_norm, block.ffn
    with torch.no_grad():
        attended = block.attention(x, None)[0]
        right = first(attended + x)
        norm_first = x + block.attention(first(x), None)[0]
        slips = {
            "without the first residual sum": last(ffn(first(attended)) + first(attended)),
            "without the second residual sum": last(ffn(right)),
            "when the second sum adds the block's input, not the first norm's output": last(
                ffn(right) + x
            ),
            "when the two norms change places": first(ffn(last(attended + x)) + last(attended + x)),
            "when the norm stands before the sublayer (as in GPT-2), not after the sum": (
                norm_first + ffn(last(norm_first))
            ),
            "when the norm is taken before the sum": (
                last(ffn(first(attended) + x)) + first(attended) + x
            ),
            "without the second norm": ffn(right) + right,
        }
        expected = theirs.transformer.layer[0](x)
        out = block(x, None)
        if not isinstance(out, tuple) or len(out) != 2:
            raise Wrong("a block should return two things: hidden states, and weights or None.")
        close(out[0], expected, "the output of a block", AXES, mistakes=slips)


def check_model() -> None:
    """the whole encoder: hidden states after every layer, padded texts and attentions too"""
    ours, theirs = twins("encoder", TINY, torch.float64)
    asked = {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        actual, expected = ours(IDS, MASK, **asked), theirs(IDS, MASK, **asked)
    for layer, (mine, right) in enumerate(zip(actual.hidden_states, expected.hidden_states)):
        close(mine, right, f"hidden states after layer {layer}", AXES)
    for layer, (mine, right) in enumerate(zip(actual.attentions, expected.attentions), start=1):
        close(mine, right, f"attention weights of layer {layer}", ("text", "head", "query", "key"))


def check_fewer_queries() -> None:
    """n_queries: a block gives the first tokens alone, as they are among all"""
    torch.manual_seed(0)
    block = wake_up(TransformerBlock(TINY)).double().eval()
    x = random(2, 5, TINY.dim)
    with torch.no_grad():
        whole, some = block(x.clone(), None)[0], block(x.clone(), None, n_queries=1)[0]
    close(some, whole[:, :1], "the output of a block with n_queries=1", AXES)


def check_dropout() -> None:
    """dropout: in training after the embeddings' norm and after FFN, never in eval"""
    rates = {**NO_DROPOUT, "dropout": 0.5}
    model = wake_up(DistilBertModel(tiny(**rates))).double().train()
    x = random(2, 5, TINY.dim)
    with torch.no_grad():
        for name, part, given in (
            ("Embeddings", model.embeddings, IDS),
            ("FFN", model.blocks[0].ffn, x),
        ):
            outputs = part(given), part(given)
            if torch.equal(*outputs):
                raise Wrong(f"{name} in training: two passes are equal, so dropout is not used.")
            share = float((outputs[0] == 0).double().mean())
            if not 0.2 < share < 0.8:
                raise Wrong(
                    f"{name} in training, dropout 0.5: {share:.0%} of the output's numbers are 0; "
                    "about half should be. Dropout is the last thing that happens there."
                )
        model.eval()
        if not torch.equal(model(IDS, MASK)[0], model(IDS, MASK)[0]):
            raise Wrong("Two passes in eval mode differ: use self.dropout, which knows of eval().")

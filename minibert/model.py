"""The DistilBERT encoder: word and position embeddings, then blocks of attention and feed-forward.

Attention: Vaswani et al., arXiv 1706.03762. BERT: Devlin et al., arXiv 1810.04805. DistilBERT (Sanh
et al., arXiv 1910.01108) is a BERT of half the blocks, without token types and without a pooler,
taught to give the answers of a whole one.
Module names are those of the official checkpoint, so the state dict is the file.
Shapes: B batch, S sequence, Q queries (S, or fewer where fewer are asked for), D dim, H heads,
K head_dim, F hidden_dim, V vocabulary, C classes.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.config import DistilBertConfig
from minibert.inputs import check_ids
from minibert.pretrained import PretrainedModel

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,  # the exact one (erf), not the tanh curve
    "relu": F.relu,
}


def output_field(output: Any, key: Any) -> Any:
    """output["logits"] as in transformers: a field by its name, if it was asked for. Raises
    KeyError with the names there are."""
    if not isinstance(key, str):
        return tuple.__getitem__(output, key)
    there = [name for name in output._fields if getattr(output, name) is not None]
    if key not in there:
        raise KeyError(f"no {key!r} in this output, which holds: {', '.join(there)}")
    return getattr(output, key)


class EncoderOutput(NamedTuple):
    """What the encoder returns; the last two only where they were asked for."""

    last_hidden_state: Tensor  # (B, S, D)
    hidden_states: tuple[Tensor, ...] | None = None  # n_layers + 1 of (B, S, D), embeddings first
    attentions: tuple[Tensor, ...] | None = None  # n_layers of (B, H, S, S), rows sum to 1

    def __getitem__(self, key: Any) -> Any:
        return output_field(self, key)


def layer_norm(dim: int) -> nn.LayerNorm:
    """LayerNorm over the D numbers of each token: (x - mean) / sqrt(variance + eps), then a learnt
    scale and shift. eps is the checkpoint's; torch's default is 1e-5."""
    return nn.LayerNorm(dim, eps=1e-12)


class Embeddings(nn.Module):
    """Word embedding + position embedding, then LayerNorm and dropout.

    Attention by itself does not know the order of its inputs; the position embedding, a learnt
    vector for each place 0, 1, 2, ..., is the only thing here that tells it."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(
            config.vocab_size, config.dim, padding_idx=config.pad_token_id
        )
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.dim)
        self.LayerNorm = layer_norm(config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_ids: Tensor) -> Tensor:
        """input_ids: (B, S) -> (B, S, D)."""
        # The first S rows, the same for every text: padding stands on the right, so that [CLS] is
        # at place 0 everywhere.
        positions = self.position_embeddings.weight[: input_ids.shape[1]]  # (S, D)
        words = self.word_embeddings(input_ids)  # (B, S, D)
        return self.dropout(self.LayerNorm(words + positions))


def explicit_attention(
    q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None, dropout_p: float
) -> tuple[Tensor, Tensor]:
    """softmax(q k^T / sqrt(K)) v, step by step: what F.scaled_dot_product_attention computes.

    q: (B, H, Q, K), k and v: (B, H, S, K), keep: (B, 1, 1, S) -> (B, H, Q, K) and the weights
    (B, H, Q, S)."""
    # The product of two vectors of K independent numbers of variance 1 has variance K. Without the
    # root, wider heads would have larger scores, a softmax near 0 or 1, and next to no gradient.
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, H, Q, S)
    if keep is not None:
        # The lowest finite number, whose exp() is 0. With -inf, a row without any key to keep would
        # be 0/0 = NaN; a constant such as -1e9 does not fit into float16.
        scores = scores.masked_fill(~keep, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)  # over the keys: each row sums to 1
    return F.dropout(weights, dropout_p) @ v, weights  # (B, H, Q, S) @ (B, H, S, K)


def to_bias(keep: Tensor, hidden_states: Tensor) -> Tensor:
    """The keys to keep as numbers to be added to the scores: 0, or -inf where one is masked.

    torch's fused attention makes this of a bool mask, in the number format of the scores, by three
    operations in every block. Here it is made once."""
    device, dtype = hidden_states.device.type, hidden_states.dtype
    is_cast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if is_cast and dtype != torch.float64:  # autocast leaves float64 as it is
        dtype = torch.get_autocast_dtype(device)
    return torch.zeros_like(keep, dtype=dtype).masked_fill_(~keep, -math.inf)


class MultiHeadSelfAttention(nn.Module):
    """Self-attention with H heads: softmax(q k^T / sqrt(K)) v, each head on its own K of the D
    dimensions (D = H x K); `out_lin` mixes what the heads found."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.n_heads, self.head_dim = config.n_heads, config.head_dim
        self.dropout = config.attention_dropout
        self.q_lin = nn.Linear(config.dim, config.dim)
        self.k_lin = nn.Linear(config.dim, config.dim)
        self.v_lin = nn.Linear(config.dim, config.dim)
        self.out_lin = nn.Linear(config.dim, config.dim)

    def forward(
        self,
        hidden_states: Tensor,
        keep: Tensor | None,
        n_queries: int | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(B, S, D) -> (B, Q, D) and, where asked for, the weights (B, H, Q, S).

        keep: (B, 1, 1, S), bool; without the weights also as `to_bias` makes of it."""

        def split_heads(x: Tensor) -> Tensor:  # (B, S, D) -> (B, H, S, K)
            return x.unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2)

        # Queries may be fewer than keys: a query's output depends on all keys and values, but on no
        # other query. [:None] takes all.
        q = split_heads(self.q_lin(hidden_states[:, :n_queries]))  # (B, H, Q, K)
        k = split_heads(self.k_lin(hidden_states))  # (B, H, S, K)
        v = split_heads(self.v_lin(hidden_states))  # (B, H, S, K)
        # Unlike nn.Dropout, a function does not know of train() and eval().
        dropout_p = self.dropout if self.training else 0.0
        weights = None
        if output_attentions:  # torch's fused kernel never writes the weights to memory
            context, weights = explicit_attention(q, k, v, keep, dropout_p)
        else:
            context = F.scaled_dot_product_attention(q, k, v, attn_mask=keep, dropout_p=dropout_p)
        context = context.transpose(1, 2).flatten(2)  # (B, H, Q, K) -> (B, Q, H, K) -> (B, Q, D)
        return self.out_lin(context), weights


class FFN(nn.Module):
    """Feed-forward network: two linear layers and GELU (by config ReLU) between them, on each token
    by itself."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.lin1 = nn.Linear(config.dim, config.hidden_dim)
        self.lin2 = nn.Linear(config.hidden_dim, config.dim)
        self.activation = ACTIVATIONS[config.activation]
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, S, D) -> (B, S, D)."""
        inner = self.activation(self.lin1(hidden_states))  # (B, S, F)
        return self.dropout(self.lin2(inner))  # (B, S, D)


class TransformerBlock(nn.Module):
    """Self-attention, then feed-forward; each is added to its input (residual connection), and the
    sum goes through a LayerNorm; `sa_layer_norm` is the one after self-attention.

    The norm stands after the sum ("post-norm"), as in the Transformer of 2017 and in BERT; GPT-2
    and most later models have it before the sublayer."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.attention = MultiHeadSelfAttention(config)
        self.sa_layer_norm = layer_norm(config.dim)
        self.ffn = FFN(config)
        self.output_layer_norm = layer_norm(config.dim)

    def forward(
        self,
        hidden_states: Tensor,
        keep: Tensor | None,
        n_queries: int | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(B, S, D) -> (B, Q, D): with n_queries, only that many first tokens come out, though
        they look at all of them."""
        attended, weights = self.attention(hidden_states, keep, n_queries, output_attentions)
        # (B, Q, D): of the residual input, too, only the tokens that are asked for go on.
        hidden_states = self.sa_layer_norm(attended + hidden_states[:, :n_queries])
        return self.output_layer_norm(self.ffn(hidden_states) + hidden_states), weights


class DistilBertModel(PretrainedModel):
    """The encoder: token ids (B, S) to one vector per token (B, S, D)."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.check_inputs = True  # see minibert.inputs for when to switch it off
        self.embeddings = Embeddings(config)
        blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.n_layers))
        # Nested so that the tensors are called transformer.layer.0..., as in the checkpoint.
        self.transformer = nn.ModuleDict({"layer": blocks})
        self.init_weights(self)

    @property
    def blocks(self) -> list[nn.Module]:
        """The n_layers TransformerBlocks, first to last."""
        return list(self.transformer["layer"].children())

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> EncoderOutput:
        """input_ids: (B, S); attention_mask: (B, S), 0 at padding, None where nothing is padded."""
        hidden_states, keep = self._embed(input_ids, attention_mask)
        if keep is not None and not output_attentions:
            keep = to_bias(keep, hidden_states)
        states, attentions = [hidden_states], []
        for block in self.blocks:
            hidden_states, weights = block(hidden_states, keep, output_attentions=output_attentions)
            states.append(hidden_states)
            attentions.append(weights)
        return EncoderOutput(
            hidden_states,
            tuple(states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
        )

    def first_token(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """last_hidden_state[:, 0] -> (B, D), without computing the last block's other tokens."""
        hidden_states, keep = self._embed(input_ids, attention_mask)
        if keep is not None:
            keep = to_bias(keep, hidden_states)
        *blocks, last = self.blocks
        for block in blocks:  # with all tokens: [CLS] of the next block attends to each
            hidden_states, _ = block(hidden_states, keep)
        return last(hidden_states, keep, n_queries=1)[0][:, 0]  # (B, 1, D) -> (B, D)

    def _embed(self, input_ids: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The first hidden states (B, S, D), and the keys to keep (B, 1, 1, S) for all blocks."""
        if self.check_inputs:
            config = self.config
            check_ids(input_ids, mask, config.vocab_size, config.max_position_embeddings)
        if mask is None:
            return self.embeddings(input_ids), None
        keep = mask.bool()  # (B, S)
        # A text of padding alone attends everywhere: a softmax over nothing would be NaN, and NaN
        # in one row of a batch spreads to the loss of all.
        keep = keep | ~keep.any(dim=1, keepdim=True)
        # Only keys are masked. Padded queries compute something that nobody reads.
        return self.embeddings(input_ids), keep[:, None, None, :]  # broadcasts over H and Q

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
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.checkpoint import PretrainedModel
from minibert.config import DistilBertConfig
from minibert.inputs import check_ids

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,  # the exact one (erf), not the tanh curve
    "relu": F.relu,
}


class EncoderOutput(NamedTuple):
    """What the encoder returns; the last two only where they were asked for."""

    last_hidden_state: Tensor  # (B, S, D)
    hidden_states: tuple[Tensor, ...] | None = None  # n_layers + 1 of (B, S, D), embeddings first
    attentions: tuple[Tensor, ...] | None = None  # n_layers of (B, H, S, S), rows sum to 1


def layer_norm(dim: int) -> nn.LayerNorm:
    """With the eps that the checkpoint was trained with; torch's own default is 1e-5."""
    return nn.LayerNorm(dim, eps=1e-12)


class Embeddings(nn.Module):
    """What a token is, plus where it stands."""

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
        positions = self.position_embeddings.weight[: input_ids.shape[1]]  # (S, D)
        return self.dropout(self.LayerNorm(self.word_embeddings(input_ids) + positions))


def explicit_attention(
    q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None, dropout_p: float
) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T / sqrt(K)) V, step by step: what F.scaled_dot_product_attention computes.

    q: (B, H, Q, K), k and v: (B, H, S, K), keep: (B, 1, 1, S) -> (B, H, Q, K) and the weights."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, H, Q, S)
    if keep is not None:
        scores = scores.masked_fill(~keep, torch.finfo(scores.dtype).min)  # exp() of it is 0
    weights = scores.softmax(dim=-1)
    return F.dropout(weights, dropout_p) @ v, weights


class MultiHeadSelfAttention(nn.Module):
    """Every token asks (q), all tokens offer (k), and answer with v in proportion to the fit; each
    head does so in K dimensions of its own."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.n_heads, self.head_dim = config.n_heads, config.head_dim
        self.dropout = config.attention_dropout
        self.explicit = config.attention == "explicit"
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
        """(B, S, D) -> (B, Q, D) and, where asked for, the weights (B, H, Q, S)."""

        def split_heads(x: Tensor) -> Tensor:  # (B, S, D) -> (B, H, S, K)
            return x.unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2)

        q = split_heads(self.q_lin(hidden_states[:, :n_queries]))
        k = split_heads(self.k_lin(hidden_states))
        v = split_heads(self.v_lin(hidden_states))
        dropout_p = self.dropout if self.training else 0.0  # functional calls know no eval()
        weights = None
        if self.explicit or output_attentions:  # SDPA keeps its weights to itself
            context, weights = explicit_attention(q, k, v, keep, dropout_p)
        else:
            context = F.scaled_dot_product_attention(q, k, v, attn_mask=keep, dropout_p=dropout_p)
        return self.out_lin(context.transpose(1, 2).flatten(2)), weights


class FFN(nn.Module):
    """The same two layers at every position."""

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
    """Attention, then feed-forward; each is added to its input and the sum is normalised.
    The checkpoint's `sa_layer_norm` is the norm after self-attention."""

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
        hidden_states = self.sa_layer_norm(attended + hidden_states[:, :n_queries])
        return self.output_layer_norm(self.ffn(hidden_states) + hidden_states), weights


class DistilBertModel(PretrainedModel):
    """Token ids to one vector per token."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.check_inputs = True  # see minibert.inputs for when to switch it off
        self.embeddings = Embeddings(config)
        blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.n_layers))
        self.transformer = nn.ModuleDict({"layer": blocks})  # named transformer.layer.0 ... there
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
        *blocks, last = self.blocks
        for block in blocks:
            hidden_states, _ = block(hidden_states, keep)
        return last(hidden_states, keep, n_queries=1)[0][:, 0]

    def _embed(self, input_ids: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The first hidden states (B, S, D), and for all blocks the keys to keep (B, 1, 1, S)."""
        if self.check_inputs:
            config = self.config
            check_ids(input_ids, mask, config.vocab_size, config.max_position_embeddings)
        if mask is None:
            return self.embeddings(input_ids), None
        keep = mask.bool()
        # A text of padding alone attends everywhere: a softmax over nothing would be NaN.
        keep = keep | ~keep.any(dim=1, keepdim=True)
        return self.embeddings(input_ids), keep[:, None, None, :]

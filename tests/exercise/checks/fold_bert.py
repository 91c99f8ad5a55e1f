"""Folding: names and config against transformers' two models, then the numbers of a whole BERT."""

import tempfile

import torch
import transformers

from minibert import DistilBertModel
from minibert.bert import POSITIONS, TOKEN_TYPES, fold, translate_config, translate_name
from tests.exercise.words import Wrong, close, equal, refused
from tests.parity import wake_up
from tests.tiny import IDS, MASK, TINY

transformers.utils.logging.disable_progress_bar()
SIZES = {
    "vocab_size": 50,
    "max_position_embeddings": 16,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
}


def check_names() -> None:
    """translate_name: every tensor of a BERT gets the name that a DistilBERT has for it"""
    for theirs, ours in {
        "embeddings.word_embeddings.weight": "embeddings.word_embeddings.weight",
        "bert.embeddings.LayerNorm.weight": "embeddings.LayerNorm.weight",
        "encoder.layer.1.attention.self.query.weight": "transformer.layer.1.attention.q_lin.weight",
        "encoder.layer.0.attention.output.dense.bias": "transformer.layer.0.attention.out_lin.bias",
        "bert.encoder.layer.0.output.dense.bias": "transformer.layer.0.ffn.lin2.bias",
        "encoder.layer.0.attention.output.LayerNorm.weight": (
            "transformer.layer.0.sa_layer_norm.weight"
        ),
        "encoder.layer.0.output.LayerNorm.weight": "transformer.layer.0.output_layer_norm.weight",
        "cls.predictions.bias": "vocab_projector.bias",
        "my_output.dense.weight": "my_output.dense.weight",
    }.items():
        equal(
            translate_name(theirs),
            ours,
            f'translate_name("{theirs}")',
            {
                "when nothing is replaced": theirs,
                'when "bert." stays in front': f"bert.{ours}",
                'when "output.dense" is replaced before "attention.output.dense"': ours.replace(
                    "attention.out_lin", "attention.ffn.lin2"
                ),
                "when less than a whole part between dots is replaced": "my_ffn.lin2.weight",
            },
        )
    bert = transformers.BertModel(transformers.BertConfig(**SIZES), add_pooling_layer=False)
    translated = {translate_name(name) for name in bert.state_dict()} - {TOKEN_TYPES}
    wanted = set(DistilBertModel(TINY).state_dict())
    if translated != wanted:
        odd = sorted(translated ^ wanted)[0]
        whose = "is not a DistilBERT's" if odd in translated else "comes out of no BERT name"
        raise Wrong(f"Of a whole BERT's tensors, {odd} {whose}.")


def check_config() -> None:
    """translate_config: BERT's words become DistilBERT's, and the rates of dropout follow"""
    found = transformers.BertConfig(**SIZES, hidden_act="relu", hidden_dropout_prob=0.25).to_dict()
    found = {name: value for name, value in found.items() if value is not None}
    ours = translate_config(dict(found))
    for name, value in {
        "dim": 8,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 24,
        "activation": "relu",
        "dropout": 0.25,
        "attention_dropout": 0.1,
        "vocab_size": 50,
    }.items():
        equal(ours.get(name), value, f"{name} of the translated config")
    for changes, rate in (({}, 0.25), ({"classifier_dropout": 0.4}, 0.4)):
        actual = translate_config({**found, **changes}).get("seq_classif_dropout")
        given = changes or "no classifier_dropout (so BERT takes hidden_dropout_prob)"
        equal(actual, rate, f"seq_classif_dropout of a BERT with {given}")
    equal(translate_config({}).get("seq_classif_dropout"), 0.1, "seq_classif_dropout by default")


def check_demands() -> None:
    """translate_config: a BERT that computes something else is refused by name"""
    for name, value in {
        "layer_norm_eps": 1e-5,
        "position_embedding_type": "relative_key",
        "is_decoder": True,
        "add_cross_attention": True,
    }.items():
        what = f"a config with {name}={value!r}"
        refused(lambda: translate_config({**SIZES, name: value}), what, [name])  # noqa: B023
    translate_config({**SIZES, "layer_norm_eps": 1e-12, "is_decoder": False})


def check_fold() -> None:
    """fold: row 0 of the token types goes into every row of the positions, in float32"""
    generator = torch.Generator().manual_seed(0)
    positions = torch.randn(4, 3, generator=generator)
    types = torch.randn(2, 3, generator=generator)
    for dtype in (torch.float32, torch.bfloat16):
        tensors = {POSITIONS: positions.to(dtype), TOKEN_TYPES: types.to(dtype)}
        p, t = tensors[POSITIONS].float(), tensors[TOKEN_TYPES].float()
        only_first = p.clone()
        only_first[0] += t[0]
        result = fold(tensors)
        if result is not None:
            raise Wrong("fold changes the dict that it is given, and returns nothing.")
        what = f"the positions of a BERT in {dtype}"
        axes = ("position", "dimension")
        close(
            tensors[POSITIONS],
            p + t[0],
            what,
            axes,
            tolerance=0,
            mistakes={
                "when nothing is added": p,
                "when row 1 is taken: a text of one segment has type 0": p + t[1],
                "when all rows are added": p + t.sum(dim=0),
                "when only position 0 gets it": only_first,
                f"when the sum is rounded to {dtype}": (p + t[0]).to(dtype).float(),
            },
        )
        equal(tensors[POSITIONS].dtype, torch.float32, f"the dtype of {what}")
        if TOKEN_TYPES in tensors:
            raise Wrong("The table of token types is still among the tensors; no model has it.")


def check_whole_bert() -> None:
    """a random BERT, saved by transformers and loaded here, gives the same numbers"""
    config = transformers.BertConfig(**SIZES)
    config._attn_implementation = "eager"
    theirs = wake_up(transformers.BertModel(config, add_pooling_layer=False)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():  # so that float32 holds the folded sums exactly
            parameter.copy_((parameter * 256).round() / 256)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = DistilBertModel.from_pretrained(folder).double()
    with torch.no_grad():
        actual = ours(IDS, MASK, output_hidden_states=True).hidden_states
        expected = theirs.double()(IDS, MASK, output_hidden_states=True).hidden_states
    for layer, (mine, right) in enumerate(zip(actual, expected)):
        close(mine, right, f"hidden states after layer {layer}", ("text", "token", "dimension"))

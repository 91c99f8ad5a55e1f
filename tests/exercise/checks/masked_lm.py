"""The masked-word head against transformers', its tie, and its loss."""

import torch

from minibert import DistilBertForMaskedLM
from tests.exercise.words import Wrong, close, equal, refused
from tests.parity import twins, wake_up
from tests.tiny import IDS, MASK, TINY, tiny

AXES = ("text", "token", "word of the vocabulary")
LABELS = torch.tensor([[-100, 7, -100, 9, -100], [-100, 4, -100, -100, -100]])


def check_names() -> None:
    """the parameters have the names and shapes of the official checkpoint"""
    model = DistilBertForMaskedLM(TINY)
    expected = {
        "vocab_transform.weight": (8, 8),
        "vocab_transform.bias": (8,),
        "vocab_layer_norm.weight": (8,),
        "vocab_layer_norm.bias": (8,),
        "vocab_projector.weight": (50, 8),
        "vocab_projector.bias": (50,),
    }
    found = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    encoder = "distilbert.embeddings.word_embeddings.weight"
    if encoder not in found:
        raise Wrong(f"No tensor is called {encoder}: the encoder should be self.distilbert.")
    head = {name: shape for name, shape in found.items() if not name.startswith("distilbert.")}
    for name, shape in expected.items():
        if name not in head:
            raise Wrong(
                f"No tensor is called {name}; the head has: {', '.join(head) or 'nothing'}."
            )
        equal(head[name], shape, f"the shape of {name}")
    more = sorted(head.keys() - expected.keys())
    if more:
        raise Wrong(f"{more[0]} is not in the official checkpoint; loading it would fail.")


def check_tie() -> None:
    """tying: the projection and the word embeddings are one parameter, not two equal ones"""
    model = DistilBertForMaskedLM(TINY)
    words = model.distilbert.embeddings.word_embeddings.weight
    if model.vocab_projector.weight is not words:
        equal_now = torch.equal(model.vocab_projector.weight, words)
        copied = " They hold equal numbers, but the first training step parts them." * equal_now
        raise Wrong(
            "vocab_projector.weight is not the word embeddings' own parameter: "
            f"two tables, {words.numel()} numbers too many.{copied}"
        )
    n_parameters = sum(p.numel() for p in model.parameters())
    n_theirs = sum(p.numel() for p in twins("masked LM", TINY, torch.float32)[1].parameters())
    equal(n_parameters, n_theirs, "the number of parameters")


def check_start() -> None:
    """the head starts as in BERT: weights N(0, initializer_range), biases 0, norm (1, 0)"""
    torch.manual_seed(0)
    model = DistilBertForMaskedLM(TINY)
    for name, tensor in model.state_dict().items():
        spread = float(tensor.std()) if tensor.ndim > 1 else 0.02
        if not 0.01 < spread < 0.03:
            raise Wrong(
                f"{name} starts with a standard deviation of {spread:.3g}; "
                f"initializer_range is {TINY.initializer_range}. See init_weights in pretrained.py."
            )
        if name.endswith("bias") and tensor.abs().max() > 0:
            raise Wrong(f"{name} does not start at 0. See init_weights in minibert/pretrained.py.")


def check_logits() -> None:
    """the logits: linear, GELU, LayerNorm, projection; equal to transformers'"""
    ours, theirs = twins("masked LM", TINY, torch.float64)
    with torch.no_grad():
        hidden = ours.distilbert(IDS, MASK).last_hidden_state
        inner = ours.vocab_transform(hidden)
        gelu, norm, project = torch.nn.functional.gelu, ours.vocab_layer_norm, ours.vocab_projector
        slips = {
            "without the activation": project(norm(inner)),
            "without the norm": project(gelu(inner)),
            "without vocab_transform": project(norm(gelu(hidden))),
            "when the norm stands before the activation": project(gelu(norm(inner))),
            "without the projection's bias": project(norm(gelu(inner))) - project.bias,
        }
        out = ours(IDS, MASK)
        expected = theirs(IDS, MASK).logits
    equal(type(out).__name__, "HeadOutput", "the type of what forward returns")
    close(out.logits, expected, "the logits", AXES, mistakes=slips)
    equal(out.loss, None, "the loss without labels")


def check_activation() -> None:
    """the activation is the config's, which need not be GELU"""
    ours, theirs = twins("masked LM", tiny(activation="relu"), torch.float64)
    with torch.no_grad():
        out, expected = ours(IDS, MASK).logits, theirs(IDS, MASK).logits
    close(out, expected, "the logits with activation='relu' in the config", AXES)


def check_loss() -> None:
    """the loss: the mean over the words that are asked for; -100 counts nothing"""
    ours, theirs = twins("masked LM", TINY, torch.float64)
    with torch.no_grad():
        logits = ours(IDS, MASK).logits
        each = -logits.log_softmax(dim=-1).gather(2, LABELS.clamp(min=0)[..., None])[..., 0]
        slips = {
            "when -100 counts as word 0": each.mean(),
            "when the sum is taken, not the mean": each[LABELS >= 0].sum(),
            "when the sum is divided by all tokens": each[LABELS >= 0].sum() / LABELS.numel(),
        }
        out, expected = ours(IDS, MASK, labels=LABELS), theirs(IDS, MASK, labels=LABELS)
    close(out.loss, expected.loss, "the loss", mistakes=slips)
    close(out.logits, expected.logits, "the logits, where labels are given,", AXES)


def check_labels() -> None:
    """labels that cannot be right are refused, unless the checks of inputs are off"""
    model = wake_up(DistilBertForMaskedLM(TINY)).eval()
    bad = LABELS.masked_fill(LABELS == 7, 50)
    refused(lambda: model(IDS, MASK, labels=bad), "word 50 of a vocabulary of 50", ["labels", "50"])
    one_each = torch.tensor([1, 2])
    what = "one label per text where one per token is needed"
    refused(lambda: model(IDS, MASK, labels=one_each), what, ["labels"])
    model.distilbert.check_inputs = False  # as in training, where a check would wait for the GPU
    try:
        model.to("meta")(IDS.to("meta"), MASK.to("meta"), labels=LABELS.to("meta"))
    except (RuntimeError, NotImplementedError):
        raise Wrong("With distilbert.check_inputs off, something still reads the labels.") from None


def check_gradients() -> None:
    """the gradients: the table learns as embedding and as projection"""
    ours, theirs = twins("masked LM", TINY, torch.float64)
    for model in (ours, theirs):
        model(IDS, MASK, labels=LABELS).loss.backward()
    theirs_by_name = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        if parameter.grad is None:
            raise Wrong(f"{name} gets no gradient: nothing of the loss goes through it.")
        expected = theirs_by_name[name].grad
        axes = ("row", "column") if expected.ndim == 2 else ("place",)
        close(parameter.grad, expected, f"the gradient of {name}", axes)


def check_more_outputs() -> None:
    """hidden states and attentions come with the logits where they are asked for"""
    model = wake_up(DistilBertForMaskedLM(TINY)).eval()
    with torch.no_grad():
        out = model(IDS, MASK, output_hidden_states=True, output_attentions=True)
        plain = model(IDS, MASK)
    for name in ("hidden_states", "attentions"):
        equal(getattr(plain, name), None, f"{name}, where nobody asks for them,")
        if not isinstance(getattr(out, name), tuple):
            raise Wrong(
                f"{name} should be the encoder's tuple, and yours is {getattr(out, name)!r}."
            )

"""The new head against transformers' DistilBertForTokenClassification with the same weights."""

import json
import tempfile

import torch
import transformers

import minibert
from minibert import DistilBertModel
from tests.exercise.words import Wrong, close, equal, refused
from tests.parity import wake_up
from tests.tiny import IDS, MASK, TINY, tiny

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
NAME = "DistilBertForTokenClassification"
AXES = ("text", "token", "class")
LABELS = torch.tensor([[-100, 0, 2, 1, -100], [-100, 1, -100, -100, -100]])


def new_head():
    """The class that the student has added."""
    if not hasattr(minibert, NAME):
        raise Wrong(f"`from minibert import {NAME}` fails: name it in minibert/__init__.py, too.")
    return getattr(minibert, NAME)


def twins():
    """The student's model and transformers', in float64, with the same shaken weights."""
    torch.manual_seed(0)
    config = transformers.DistilBertConfig.from_dict(json.loads(TINY.to_json(NAME)))
    config._attn_implementation = "eager"
    theirs = wake_up(getattr(transformers, NAME)(config))
    ours = new_head()(TINY)
    ours.load_state_dict(theirs.state_dict())
    return ours.double().eval(), theirs.double().eval()


def check_names() -> None:
    """the parameters have the names and shapes of transformers' head"""
    found = {name: tuple(t.shape) for name, t in new_head()(TINY).state_dict().items()}
    expected = {
        **{
            f"distilbert.{n}": tuple(t.shape) for n, t in DistilBertModel(TINY).state_dict().items()
        },
        "classifier.weight": (3, 8),
        "classifier.bias": (3,),
    }
    for name, shape in expected.items():
        if name not in found:
            raise Wrong(f"No tensor is called {name}.")
        equal(found[name], shape, f"the shape of {name} (3 labels, dim 8)")
    more = sorted(found.keys() - expected.keys())
    if more:
        raise Wrong(f"{more[0]} is not in transformers' head.")


def check_start() -> None:
    """the head starts as in BERT: weights N(0, initializer_range), bias 0"""
    torch.manual_seed(0)
    model = new_head()(tiny(num_labels=40))
    spread = float(model.classifier.weight.std())
    if not 0.015 < spread < 0.025 or model.classifier.bias.abs().max() > 0:
        raise Wrong(
            f"classifier starts with a standard deviation of {spread:.3g} (0.02 is right), its "
            f"bias goes up to {float(model.classifier.bias.abs().max()):.3g} (0 is right). "
            "See init_weights in minibert/pretrained.py."
        )


def check_logits() -> None:
    """the logits: one score per class for every token, equal to transformers'"""
    ours, theirs = twins()
    with torch.no_grad():
        out, expected = ours(IDS, MASK), theirs(IDS, MASK).logits
        hidden = ours.distilbert(IDS, MASK).last_hidden_state
    equal(type(out).__name__, "HeadOutput", "the type of what forward returns")
    close(
        out.logits,
        expected,
        "the logits",
        AXES,
        mistakes={
            "with an activation before the classifier": ours.classifier(hidden.relu()),
            "without the attention mask": ours.classifier(ours.distilbert(IDS).last_hidden_state),
            "when every token gets the first token's answer": (
                ours.classifier(hidden[:, :1]).expand_as(expected)
            ),
        },
    )
    equal(out.loss, None, "the loss without labels")


def check_loss() -> None:
    """the loss: the mean over the tokens that have a label"""
    ours, theirs = twins()
    with torch.no_grad():
        logits = ours(IDS, MASK).logits
        each = -logits.log_softmax(-1).gather(2, LABELS.clamp(min=0)[..., None])[..., 0]
        counts = LABELS >= 0
        out, expected = ours(IDS, MASK, labels=LABELS), theirs(IDS, MASK, labels=LABELS)
        close(
            out.loss,
            expected.loss,
            "the loss",
            mistakes={
                "when -100 counts as class 0": each.mean(),
                "when the sum is divided by all tokens": each[counts].sum() / LABELS.numel(),
                "when the mean is taken text by text": torch.stack(
                    [each[i][counts[i]].mean() for i in range(2)]
                ).mean(),
            },
        )
    bad = LABELS.clone()
    bad[0, 1] = 3
    refused(lambda: ours(IDS, MASK, labels=bad), "a label of 3 where there are 3 classes", ["3"])
    what = "one label per text where one per token is needed"
    refused(lambda: ours(IDS, MASK, labels=torch.tensor([0, 1])), what, ["labels"])


def check_gradients() -> None:
    """the gradients of all parameters are transformers'"""
    ours, theirs = twins()
    for model in (ours, theirs):
        model(IDS, MASK, labels=LABELS).loss.backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        if parameter.grad is None:
            raise Wrong(f"{name} gets no gradient.")
        close(parameter.grad, expected[name].grad, f"the gradient of {name}")


def check_dropout() -> None:
    """dropout between encoder and classifier, with the rate `dropout`, in training alone"""
    rates = {"dropout": 0.5, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
    model = wake_up(new_head()(tiny(**rates, num_labels=3))).train()
    model.distilbert.eval()
    with torch.no_grad():
        if torch.equal(model(IDS, MASK).logits, model(IDS, MASK).logits):
            raise Wrong(
                "In training two passes are equal though config.dropout is 0.5 (and "
                "seq_classif_dropout, which is the other head's, is 0)."
            )
        model.eval()
        if not torch.equal(model(IDS, MASK).logits, model(IDS, MASK).logits):
            raise Wrong("Two passes in eval mode differ.")


def check_files() -> None:
    """files: transformers loads what is saved here, and the other way round"""
    ours, theirs = twins()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        ours.float().save_pretrained(folder)
        again = getattr(transformers, NAME).from_pretrained(folder).eval().double()
        expected = theirs(IDS, MASK).logits
        close(again(IDS, MASK).logits, expected, "transformers' logits of your file", AXES, 1e-4)
        theirs.float().save_pretrained(folder)
        loaded = new_head().from_pretrained(folder)
        equal(loaded.fresh, [], "tensors that were not found in transformers' file")
        actual = loaded.double()(IDS, MASK).logits
        close(actual, expected, "your logits of transformers' file", AXES, 1e-4)


def check_more_outputs() -> None:
    """hidden states and attentions come with the logits where they are asked for"""
    ours, theirs = twins()
    asked = {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        out, expected, plain = ours(IDS, MASK, **asked), theirs(IDS, MASK, **asked), ours(IDS, MASK)
    for name in ("hidden_states", "attentions"):
        equal(getattr(plain, name), None, f"{name}, where nobody asks for them,")
        found = getattr(out, name)
        equal(len(found or ()), len(getattr(expected, name)), f"the number of {name}")
        for mine, right in zip(found, getattr(expected, name)):
            close(mine, right, name)

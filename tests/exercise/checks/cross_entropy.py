"""The loss against torch's, the gradient against autograd's; neither may be used by the student."""

import ast
from pathlib import Path

import cross_entropy as by_hand
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.exercise.words import Wrong, close

AXES = ("example", "class")
FORBIDDEN = (
    *("cross_entropy", "nll_loss", "log_softmax", "softmax", "logsumexp", "backward", "grad"),
    *("CrossEntropyLoss", "NLLLoss", "LogSoftmax", "Softmax", "vjp", "jacrev", "jacobian"),
)


def example(n: int = 6, classes: int = 4, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(classes, (n,), generator=generator)


def called(name: str, logits: Tensor, *labels: Tensor) -> Tensor:
    """The student's function of copies. Raises Wrong where it changes what it is given."""
    given = [logits.detach().clone(), *(tensor.clone() for tensor in labels)]
    with torch.no_grad():
        result = getattr(by_hand, name)(*given)
    for tensor, original in zip(given, (logits, *labels)):
        if not torch.equal(tensor, original):
            raise Wrong(f"{name} changes a tensor that it is given; make a new one instead.")
    return result


def check_by_hand() -> None:
    """by hand: nothing of torch that computes a softmax, a cross entropy or a gradient"""
    source = Path(by_hand.__file__).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        name = getattr(node, "attr", None)  # torch.softmax, loss.backward
        if isinstance(node, ast.alias):  # from torch.nn.functional import softmax
            name = node.name
        if name in FORBIDDEN:
            raise Wrong(
                f"cross_entropy.py, line {node.lineno}, uses {name}: write it with exp, log, sum, "
                "max and indexing."
            )


def check_log_softmax() -> None:
    """log_softmax: each row's logarithms of probabilities"""
    logits, _ = example()
    total = logits.exp().sum(dim=-1, keepdim=True)
    close(
        called("log_softmax", logits),
        F.log_softmax(logits, dim=-1),
        "log_softmax",
        AXES,
        mistakes={
            "when the logarithm is missing: these are the probabilities": logits.exp() / total,
            "when the sum is not taken out": logits - logits.max(dim=-1, keepdim=True).values,
            "when the sum runs over the examples, not the classes": F.log_softmax(logits, dim=0),
            "when the sum runs over everything": logits - logits.exp().sum().log(),
        },
    )


def check_large_logits() -> None:
    """log_softmax: logits of 1000 and -1000 overflow nowhere"""
    for dtype in (torch.float32, torch.float64):
        logits = torch.tensor([[1000.0, 0.0, -1000.0], [-1000.0, -1001.0, -1002.0]], dtype=dtype)
        actual, expected = called("log_softmax", logits), F.log_softmax(logits, dim=-1)
        if not actual.isfinite().all():
            raise Wrong(
                f"log_softmax of {logits.tolist()} in {dtype} holds NaN or infinity: exp(1000) is "
                "infinite. Take something away from each row first that changes no softmax."
            )
        close(actual, expected, f"log_softmax in {dtype}", AXES, tolerance=1e-4)


def check_loss() -> None:
    """loss: the mean over the examples that count"""
    logits, labels = example()
    each = -F.log_softmax(logits, dim=-1)[torch.arange(6), labels]
    close(
        called("loss", logits, labels),
        each.mean(),
        "the loss of 6 examples",
        mistakes={
            "without the minus": -each.mean(),
            "when the sum is taken, not the mean": each.sum(),
            "when the mean runs over classes, too": each.mean() / 4,
        },
    )
    labels[[1, 4]] = -100
    some = each[labels >= 0]
    what = "the loss where 2 of 6 labels are -100"
    close(
        called("loss", logits, labels),
        F.cross_entropy(logits, labels),
        what,
        mistakes={
            "when the sum is divided by all examples, not by those that count": some.sum() / 6,
            "when -100 counts as class 0": F.cross_entropy(logits, labels.clamp(min=0)),
            "when -100 counts from the end": each.mean(),
        },
    )


def check_gradient() -> None:
    """gradient: what autograd finds for the same loss"""
    for ignored in ([], [1, 4]):
        logits, labels = example()
        labels[ignored] = -100
        logits.requires_grad_()
        F.cross_entropy(logits, labels).backward()
        counts = (labels >= 0)[:, None].double()
        p = F.softmax(logits.detach(), dim=-1)
        truth = F.one_hot(labels.clamp(min=0), 4).double()
        what = f"the gradient where {len(ignored)} of 6 labels are -100"
        actual = called("gradient", logits, labels)
        close(
            actual,
            logits.grad,
            what,
            AXES,
            mistakes={
                "when the sign is turned round": (truth - p) * counts / counts.sum(),
                "when it is not divided by the number of examples": (p - truth) * counts,
                "when it is divided by all examples, not by those that count": (p - truth)
                * counts
                / 6,
                "when examples labelled -100 get a gradient": (p - truth) / counts.sum(),
                "when the truth is not taken away": p * counts / counts.sum(),
                "when only the true class gets a gradient": (p - 1) * truth * counts / counts.sum(),
            },
        )

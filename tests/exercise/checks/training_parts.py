"""What the checks of the training loop share: a small classifier, random texts, a job."""

import numpy as np
import torch

from minibert import DistilBertForSequenceClassification
from tests.tiny import NO_DROPOUT, tiny
from train.batches import Encoded
from train.device import Precision
from train.training.optim import LossScale, Update, make_optimizer
from train.training.step import Job, Steps

FP32 = Precision(torch.device("cpu"), "fp32")
FP16 = Precision(torch.device("cpu"), "fp16")


def make_model(**changes) -> DistilBertForSequenceClassification:
    torch.manual_seed(0)
    config = tiny(**{**NO_DROPOUT, "initializer_range": 0.2, "num_labels": 3, **changes})
    return DistilBertForSequenceClassification(config).train()


def make_data(n: int = 40) -> Encoded:
    random = np.random.default_rng(0)
    texts = [random.integers(1, 50, size=random.integers(3, 14)).tolist() for _ in range(n)]
    return Encoded(texts, random.integers(0, 3, size=n))


def make_update(model, precision=FP32, total_steps: int = 10, **scale) -> Update:
    return Update(make_optimizer(model, 1e-2, 0.01), LossScale(precision, **scale), total_steps)


def make_job(model, update: Update, data: Encoded, precision=FP32, grad_accum: int = 1) -> Job:
    return Job(model, update, data, Steps(data.lengths, 8, 0), precision, grad_accum=grad_accum)

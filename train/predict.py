"""python -m train predict: texts in, labels with probabilities out."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice

from minibert import DistilBertForSequenceClassification
from tokenizer import WordPieceTokenizer
from train.batches import Encoded
from train.device import choose_precision
from train.forward import predict_logits
from train.metrics import softmax
from train.options import ModelOptions, PredictOptions
from train.progress import Progress

CHUNK = 512  # texts read, computed and printed at a time: a file of any size fits in memory


def load_trained(
    options: ModelOptions,
) -> tuple[WordPieceTokenizer, DistilBertForSequenceClassification]:
    """Tokenizer and model of a fine-tuning run. Raises ValueError where the classifier is missing:
    its answers would be random."""
    model = DistilBertForSequenceClassification.from_pretrained(options.model)
    if model.fresh:
        raise ValueError(
            f"--model {options.model} has no trained classifier; name the final/ folder of a "
            "fine-tuning run"
        )
    return WordPieceTokenizer.from_pretrained(options.model), model


def run(options: PredictOptions) -> None:
    """Print a line per text, in their order."""
    precision = choose_precision(options.device, options.precision)
    tokenizer, model = load_trained(options)
    model.to(precision.device)
    limit = min(options.max_length, model.config.max_position_embeddings)
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    start = time.perf_counter()
    # Where the answers themselves run over the terminal, a bar would only tear them.
    quiet = sys.stdout.isatty() or bool(options.texts)
    with Progress("predict", None, "texts", quiet=quiet) as progress:
        for texts in chunks(options.texts or read_lines(), CHUNK):
            ids = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
            encoded = Encoded(ids, pad_id=model.config.pad_token_id, device=precision.device)
            probabilities = softmax(predict_logits(model, encoded, precision, title=None))
            for text, row in zip(texts, probabilities):
                print(format_prediction(text, dict(zip(names, row.tolist())), options))
            progress.advance(len(texts))
    seconds = time.perf_counter() - start
    if progress.done > 100:
        rate = progress.done / seconds
        print(f"{progress.done} texts in {seconds:.1f} s, {rate:.0f} per second", file=sys.stderr)


def read_lines() -> Iterator[str]:
    """Standard input line by line, as UTF-8 whatever the locale says."""
    if sys.stdin.isatty():
        raise ValueError("no text given; name one, or send lines to standard input")
    for line in sys.stdin.buffer:
        yield line.decode("utf-8", errors="replace").rstrip("\r\n")


def chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of `size` texts, the last one shorter; nothing is read ahead."""
    iterator = iter(texts)
    while chunk := list(islice(iterator, size)):
        yield chunk


def format_prediction(text: str, scores: dict[str, float], options: PredictOptions) -> str:
    """'joy 0.981  what a day', all labels with --all, an object with --json."""
    ranked = sorted(scores, key=lambda name: -scores[name])
    if options.json:
        record = {"text": text, "label": ranked[0], "probability": round(scores[ranked[0]], 6)}
        if options.all:
            record["probabilities"] = {name: round(p, 6) for name, p in scores.items()}
        return json.dumps(record, ensure_ascii=False)
    shown = ranked if options.all else ranked[:1]
    return "  ".join([*(f"{name} {scores[name]:.3f}" for name in shown), text])

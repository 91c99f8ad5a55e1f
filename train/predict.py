"""python -m train predict: texts in, labels with probabilities out."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice

from minibert import load_classifier
from train.batches import Encoded
from train.forward import load_model, predict_logits
from train.metrics import softmax
from train.options import PredictOptions
from train.progress import progress

CHUNK = 512  # texts read, computed and printed at a time: a file of any size fits in memory


def run(options: PredictOptions) -> None:
    """Print a line per text, in their order."""
    tokenizer, model, precision = load_model(options, load_classifier)
    limit = min(options.max_length, model.config.max_position_embeddings)
    names = model.config.label_names
    start = time.perf_counter()
    n_texts = 0
    # No bar where the answers themselves run over the terminal.
    quiet = sys.stdout.isatty() or bool(options.texts)
    with progress("predict", None, "texts", quiet=quiet) as bar:
        for texts in chunks(options.texts or read_lines(), CHUNK):
            ids = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
            encoded = Encoded(ids, pad_id=model.config.pad_token_id, device=precision.device)
            probabilities = softmax(predict_logits(model, encoded, precision, title=None))
            for text, row in zip(texts, probabilities):
                print(format_prediction(text, dict(zip(names, row.tolist())), options))
            bar.update(len(texts))
            n_texts += len(texts)  # a quiet bar does not count
    seconds = time.perf_counter() - start
    if n_texts > 100:
        rate = n_texts / seconds
        print(f"{n_texts} texts in {seconds:.1f} s, {rate:.0f} per second", file=sys.stderr)


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

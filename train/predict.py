"""python -m train predict: the label of each text, with its probability.

Texts come from the command line, from standard input (one per line) or from a table (--file). They
are read, computed and written a chunk at a time, so that memory does not grow with their number.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from minibert import load_classifier
from train.batches import Encoded
from train.data import check_text
from train.forward import load_model, predict_logits
from train.metrics import softmax
from train.options import PredictOptions
from train.progress import progress
from train.runs import Result

CHUNK = 512  # texts computed at a time
CHUNK_CHARACTERS = 1_000_000  # or fewer, where they are long
LONG_TEXT = 20_000  # characters: longer texts are cut before they are tokenized
# A word over 100 characters is [UNK], however long it is.
LONG_WORD = re.compile("([0-9A-Za-z]{200})[0-9A-Za-z]+")

Answer = Callable[[list[str]], np.ndarray]  # texts -> probabilities (N, C)


def run(options: PredictOptions) -> Result:
    """Print a line per text, in their order; or with --file, write a table."""
    check_use(options)
    tokenizer, model, precision = load_model(options, load_classifier)
    limit = min(options.max_length, model.config.max_position_embeddings)
    names = model.config.label_names

    def answer(texts: list[str]) -> np.ndarray:
        texts = [shorten(text, limit, tokenizer) for text in texts]
        ids = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        encoded = Encoded(ids, pad_id=model.config.pad_token_id, device=precision.device)
        return softmax(predict_logits(model, encoded, precision, title=None))

    start = time.perf_counter()
    if options.file:
        from train.predict_table import predict_table  # reads and writes the formats of tables

        predictions = predict_table(options, answer, names)
    else:
        predictions = print_answers(options, answer, names)
    seconds = time.perf_counter() - start
    if len(predictions) > 100:
        rate = f"{len(predictions)} texts in {seconds:.1f} s, {len(predictions) / seconds:.0f}"
        print(f"{rate} per second", file=sys.stderr)
    return Result(predictions=predictions, model=model, tokenizer=tokenizer)


def check_use(options: PredictOptions) -> None:
    """Raises ValueError for options that contradict each other, or would do nothing."""
    if options.file and options.texts:
        raise ValueError("texts or --file, not both")
    for flag in ("output", "overwrite", "text_column", "separator", "no_header", "columns"):
        if flag in options.given and not options.file:
            raise ValueError(f"--{flag.replace('_', '-')} needs --file")
    if options.overwrite and not options.output:
        raise ValueError("--overwrite needs --output")
    if options.json and options.output:
        raise ValueError("--json is for standard output; name an --output that ends in .jsonl")
    if "texts" in options.given and not options.texts and not options.file:
        raise ValueError("texts is empty: give one text or more")
    for number, text in enumerate(options.texts, start=1):
        check_text(text, f"text {number}")
        if os.path.isfile(text):
            raise ValueError(f"{text} is a file; its texts are classified by --file {text}")


def print_answers(options: PredictOptions, answer: Answer, names: list[str]) -> pd.DataFrame:
    """A line per text on standard output, as soon as it is known. Returns what was printed, of
    standard input the number of rows alone: it may never end."""
    tables, n_texts = [], 0
    # No bar where the answers themselves run over the terminal.
    quiet = sys.stdout.isatty() or bool(options.texts)
    with progress("predict", None, "texts", quiet=quiet) as bar:
        for texts in chunks(options.texts or read_lines(), len):
            probabilities = answer(texts)
            for text, row in zip(texts, probabilities):
                print_answer(text, dict(zip(names, row.tolist())), options)
            if options.texts:
                table = predictions_of(probabilities, names, options)
                tables.append(pd.concat([pd.Series(texts, name="text"), table], axis=1))
            n_texts += len(texts)
            bar.update(len(texts))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(index=range(n_texts))


def predictions_of(
    probabilities: np.ndarray, names: list[str], options: PredictOptions
) -> pd.DataFrame:
    """predicted_label, probability, and with --all probability_LABEL; a row per text (N, C)."""
    best = probabilities.argmax(axis=1)
    highest = probabilities.max(axis=1)
    labels = [
        names[i] if probability >= options.threshold else ""
        for i, probability in zip(best, highest)
    ]
    columns: dict[str, Any] = {"predicted_label": labels, "probability": highest.round(6)}
    if options.all:
        columns |= {
            f"probability_{name}": probabilities[:, i].round(6) for i, name in enumerate(names)
        }
    return pd.DataFrame(columns)


def read_lines() -> Iterator[str]:
    """Standard input line by line, as UTF-8 whatever the locale says. Raises ValueError with the
    line on other bytes."""
    if sys.stdin is None or sys.stdin.isatty():
        raise ValueError("no text given; name one, or send lines to standard input")
    for number, line in enumerate(sys.stdin.buffer, start=1):
        if number == 1:
            if line.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in line:
                raise ValueError("standard input is in UTF-16 or not text; send UTF-8")
            line = line.removeprefix(b"\xef\xbb\xbf")  # the mark that some programs begin with
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"standard input, line {number}: not UTF-8: byte 0x{line[error.start]:02x}; "
                "send UTF-8"
            ) from None
        del line  # it may be a large part of the memory
        yield text


def chunks(items: Iterable[Any], size: Callable[[Any], int]) -> Iterator[list[Any]]:
    """Lists of up to CHUNK items, fewer where they are long: size(item) is in characters. Nothing
    is read ahead, so a stream's answers come as soon as they can."""
    chunk, characters = [], 0
    for item in items:
        chunk.append(item)
        characters += size(item)
        del item
        if len(chunk) >= CHUNK or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def shorten(text: str, limit: int, tokenizer: Any) -> str:
    """The beginning of a long text that has the same first `limit` tokens.

    No token goes over a space, so a text cut at a space has the tokens of the whole one up to
    there; and if these are enough, the rest need not be looked at. Not so for a tokenizer that
    keeps the end of a text, or knows longer words: it gets the whole one."""
    if tokenizer.truncation_side == "left" or tokenizer.rules.max_chars > 200:
        return text
    length = LONG_TEXT
    while length < len(text):
        # A copy of this part alone: a word that goes on is over 100 characters in both.
        part = LONG_WORD.sub(r"\1", text[:length])
        cut = part.rfind(" ")
        if cut > 0:
            ids = tokenizer(part[:cut], truncation=True, max_length=limit)["input_ids"]
            if len(ids) == limit:
                return part[:cut]
        length *= 4
    return LONG_WORD.sub(r"\1", text) if len(text) > LONG_TEXT else text


def print_answer(text: str, scores: dict[str, float], options: PredictOptions) -> None:
    """'joy 0.981  what a day', '(none) 0.412  ...' below the threshold, with --all every label, the
    likeliest first; with --json an object: text, label, probability (and probabilities)."""
    ranked = sorted(scores, key=lambda name: -scores[name])
    best = scores[ranked[0]]
    label = ranked[0] if best >= options.threshold else ""
    if options.json:
        record: dict[str, Any] = {"text": text, "label": label, "probability": round(best, 6)}
        if options.all:
            record["probabilities"] = {name: round(p, 6) for name, p in scores.items()}
        line = json.dumps(record, ensure_ascii=False)
        # What JSON leaves as it is, and a terminal would obey or take for the end of a line.
        print(re.sub("[\x7f-\x9f\u2028\u2029]", lambda c: f"\\u{ord(c[0]):04x}", line))
        return
    # A line per text, also of one that holds a line's end. Two arguments: no copy of the text.
    ends = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
    if any(end in text for end in ends):
        text = re.sub(f"[{ends}]", lambda found: repr(found[0])[1:-1], text)
    answer = f"{label or '(none)'} {best:.3f}"
    if options.all:
        every = "  ".join(f"{name} {scores[name]:.3f}" for name in ranked)
        answer = every if label else f"(none)  {every}"
    print(answer, text, sep="  ")

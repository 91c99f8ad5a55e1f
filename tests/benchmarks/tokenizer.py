"""Texts/s and MB/s of our tokenizer, of `tokenizers` and of transformers' call, in one run.

python -m tests.benchmarks.tokenizer [--save]     about 3 minutes on two cores
"""

import os
import re
import statistics
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from transformers import DistilBertTokenizer

from tests.benchmarks.common import (
    environment,
    interleave,
    median_rate,
    publish,
    ratio,
    table,
    tweets,
)
from tests.reference import VOCAB, reference
from tokenizer import WordPieceTokenizer

ROUNDS = 7
BATCH = 64
N_PROSE = 20_000
PROSE = ("torch", "sklearn", "pandas")  # packages whose docstrings are our English prose

HOW = ("cold", "warm")
RUST, HF = "`tokenizers`", "transformers"
HEADER = ["texts", "result", "side", "texts/s", "MB/s", "ratio"]
NOTE = f"""
ids: lists of ids of all texts; `tokenizers` works out masks and types besides, and cannot do
without. tensors: padded int64 tensors of ids and mask, batches of {BATCH}. cold: no text is
remembered when a round starts; warm: these texts were seen before. all threads: encode_batch with
TOKENIZERS_PARALLELISM on; fast: encode_batch_fast, which leaves offsets out. Ratios are to the best
of the others, which has 1.00x; medians of {ROUNDS} interleaved rounds."""


def prose() -> list[str]:
    """Long paragraphs of English that every machine with the test packages has, in fixed order."""
    paragraphs: dict[str, None] = {}  # a dict, to be without repeats
    for package in PROSE:
        for file in sorted(Path(find_spec(package).origin).parent.rglob("*.py")):
            source = file.read_text(encoding="utf-8")
            for docstring in re.findall(r'"""(.*?)"""', source, re.DOTALL):
                for paragraph in docstring.split("\n\n"):
                    if len(paragraph) >= 200 and ">>>" not in paragraph:
                        paragraphs[" ".join(paragraph.split())] = None
    return list(paragraphs)[:N_PROSE]


def forget(tok: WordPieceTokenizer) -> WordPieceTokenizer:
    """The same tokenizer with no text remembered; it knows the vocabulary's own words."""
    tok._words.forget()
    return tok


def ids(tok: WordPieceTokenizer, texts: list[str]) -> None:
    tok(texts, truncation=True, return_attention_mask=False)


def tensors(tok: Callable[..., object], texts: list[str]) -> None:
    for start in range(0, len(texts), BATCH):
        tok(texts[start : start + BATCH], padding=True, truncation=True, return_tensors="pt")


def rust_ids(texts: list[str], threads: bool, fast: bool = False) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads else "false"
    encode = RUST_TOKENIZER.encode_batch_fast if fast else RUST_TOKENIZER.encode_batch
    [encoding.ids for encoding in encode(texts)]


def hf_tensors(texts: list[str]) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    tensors(HF_TOKENIZER, texts)


RUST_TOKENIZER = reference()
RUST_TOKENIZER.enable_truncation(512)
HF_TOKENIZER = DistilBertTokenizer(vocab=str(VOCAB), model_max_length=512)


def measure(texts: list[str]) -> list[list[str]]:
    """The table's rows for one set of texts."""
    cold, warm = (WordPieceTokenizer.from_pretrained("demo") for _ in range(2))
    sides = {
        ("ids", f"{RUST}, 1 thread"): lambda: rust_ids(texts, threads=False),
        ("ids", f"{RUST}, 1 thread, fast"): lambda: rust_ids(texts, threads=False, fast=True),
        ("ids", f"{RUST}, all threads"): lambda: rust_ids(texts, threads=True),
        ("ids", f"{RUST}, all threads, fast"): lambda: rust_ids(texts, threads=True, fast=True),
        ("ids", "ours, cold"): lambda: ids(forget(cold), texts),
        ("ids", "ours, warm"): lambda: ids(warm, texts),
        ("tensors", f"{HF}, all threads"): lambda: hf_tensors(texts),
        ("tensors", "ours, cold"): lambda: tensors(forget(cold), texts),
        ("tensors", "ours, warm"): lambda: tensors(warm, texts),
    }
    seconds = interleave(sides, ROUNDS)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    rows = []
    for (result, side), taken in seconds.items():
        others = [t for (kind, name), t in seconds.items() if kind == result and "ours" not in name]
        base = min(others, key=statistics.median)
        rates = f"{median_rate(len(texts), taken):,.0f}", f"{median_rate(megabytes, taken):.1f}"
        rows.append([result, side, *rates, ratio(taken, base)])
    return rows


if __name__ == "__main__":
    rows, notes = [], []
    for name, texts in (tweets()[:2], ("prose", prose())):
        print(f"timing {len(texts):,} texts ...", file=sys.stderr)
        rows += [[name, *row] for row in measure(texts)]
        length = sum(map(len, texts)) / len(texts)
        ids_rows = [row for row in rows if row[:2] == [name, "ids"]]
        rate = {
            side: float(texts_per_s.replace(",", "")) for _, _, side, texts_per_s, *_ in ids_rows
        }
        cold, warm = (rate[f"ours, {how}"] / rate[f"{RUST}, 1 thread"] for how in HOW)
        notes.append(
            f"{name}: {len(texts):,} texts of {length:.0f} characters on average, ids at "
            f"{cold:.1f} (cold) and {warm:.1f} times (warm) the speed of one thread"
        )
    where = environment("tokenizers", "transformers")
    notes = f"{'; '.join(notes)} (docstrings of {', '.join(PROSE)})"
    publish("tokenizer", f"{table(HEADER, rows, n_text=3)}\n{NOTE} {notes}. {where}.")

"""Texts to token ids, once: those of large data are kept in a cache file and mapped into memory.

A million tweets take 700 MB as Python lists of ints; as int32 in a mapped file 90 MB, of which the
system holds only what is being read. A file is named by what its content is made from (texts,
tokenizer, the tokenizer's code), so it is never out of date, and it can be deleted at any time.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

import tokenizer as tokenizer_package
from minibert.atomic import write_whole
from tokenizer import WordPieceTokenizer
from train.batches import TokenIds
from train.data.table import remark
from train.device import ALONE, Processes
from train.folders import LARGE
from train.progress import progress

CHUNK = 10_000  # texts encoded at a time: no more of them are Python lists of ints
NO_LIMIT = 10**9  # tokens: texts are cut when they are used, so one file serves every --max-length
CHECKSUM = hashlib.sha256().digest_size // 4  # int32 words at the end of a cache file
UNUSED_DAYS = 30  # after which a cache file is removed


def token_ids(
    texts: pd.Series,
    tokenizer: WordPieceTokenizer,
    cache: Path | None = None,
    title: str = "",
    processes: Processes = ALONE,
) -> TokenIds:
    """The ids of all texts, not cut; of LARGE texts and more from a file in the folder `cache`,
    which is written if it is not there. title: of the progress bar, "" for none.

    Of many processes rank 0 alone encodes; the others map its file, or are sent the ids."""
    path = None
    if cache and len(texts) >= LARGE:
        path = cache / f"{cache_key(texts, tokenizer)}.ids"
    ids = None
    if processes.is_main:
        ids = (read(path, len(texts)) if path else None) or make(texts, tokenizer, path, title)
    return shared(ids, path, len(texts), processes)


def cache_key(texts: pd.Series, tokenizer: WordPieceTokenizer) -> str:
    """sha256 of all that decides the ids: the code, the tokenizer's settings, the texts."""
    digest = hashlib.sha256()
    folder = Path(tokenizer_package.__file__).parent
    for file in (*sorted(folder.glob("*.py")), folder / "unicode.txt"):
        digest.update(file.read_bytes())
    digest.update(repr(tokenizer.rules.given()).encode(errors="surrogatepass"))
    for chunk in chunks(texts):
        # Lengths too: the joined texts alone do not tell where one ends and the next begins.
        digest.update(repr([*map(len, chunk)]).encode())
        digest.update("".join(chunk).encode())
    return digest.hexdigest()


def chunks(texts: pd.Series) -> Iterator[list[str]]:
    """The texts as lists of at most CHUNK Python strings."""
    for start in range(0, len(texts) or 1, CHUNK):  # one empty list where there is no text
        yield texts.iloc[start : start + CHUNK].tolist()


def make(
    texts: pd.Series, tokenizer: WordPieceTokenizer, path: Path | None, title: str
) -> TokenIds:
    """The ids, encoded now. If the file cannot be written, a line says so, and the run goes on."""
    if path:
        try:
            write(path, encode_chunks(texts, tokenizer, title))
            written = read(path, len(texts))
            if written:
                return written
        except OSError as error:  # a full disk, a folder without permission
            remark(f"token ids are not cached: {error}")
    return TokenIds.joined([*encode_chunks(texts, tokenizer, title)])


def encode_chunks(
    texts: pd.Series, tokenizer: WordPieceTokenizer, title: str
) -> Iterator[TokenIds]:
    """The ids of CHUNK texts after CHUNK texts."""
    with progress(title, len(texts), "texts", quiet=not title) as bar:
        for chunk in chunks(texts):
            encoding = tokenizer(
                chunk, truncation=True, max_length=NO_LIMIT, return_attention_mask=False
            )
            yield TokenIds.of_lists(encoding["input_ids"])
            bar.update(len(chunk))


def write(path: Path, parts: Iterator[TokenIds]) -> None:
    """A cache file: ids (T,) int32, lengths (N,) int32, and the sha256 of both.

    Part by part, as it is encoded. Raises OSError, and leaves no unfinished file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_unused(path.parent)

    def write_parts(beside: Path) -> None:
        digest, lengths = hashlib.sha256(), []
        with beside.open("wb") as file:
            for part in parts:
                lengths.append(part.lengths)
                file.write(part.ids.data)
                digest.update(part.ids.data)
            all_lengths = np.concatenate(lengths)
            digest.update(all_lengths.data)
            file.write(all_lengths.data)
            file.write(digest.digest())

    write_whole(path, write_parts)


def read(path: Path, n_texts: int) -> TokenIds | None:
    """The content of a cache file, mapped into memory; None where there is none, or a damaged one,
    which is said."""
    try:
        if not path.is_file():
            return None
        size = path.stat().st_size
        n_ids = size // 4 - n_texts - CHECKSUM
        if size % 4 or n_ids < n_texts:
            raise ValueError("it is cut short")
        # Copy on write: torch takes no array that cannot be written to, and nobody writes to it.
        words = np.memmap(path, np.int32, mode="c").view(np.ndarray)
        ids, lengths, checksum = np.split(words, [n_ids, n_ids + n_texts])
        if hashlib.sha256(words[:-CHECKSUM].data).digest() != checksum.tobytes():
            raise ValueError("it is corrupt, checksum mismatch")
    except (OSError, ValueError) as error:
        remark(f"cache file {path}: {error}; the texts are encoded again")
        return None
    with suppress(OSError):  # of a folder that may only be read
        os.utime(path)  # used now, see remove_unused
    return TokenIds(ids, lengths)


def remove_unused(folder: Path) -> None:
    """Delete what no run has used for UNUSED_DAYS, and what a killed process left unfinished."""
    for file in folder.glob("*.ids*"):
        with suppress(OSError):  # another run may have deleted it
            if time.time() - file.stat().st_mtime > UNUSED_DAYS * 24 * 3600:
                file.unlink()


def shared(ids: TokenIds | None, path: Path | None, n_texts: int, processes: Processes) -> TokenIds:
    """Rank 0's ids on every process: from its file where all can read that, else sent to them."""
    if processes.world > 1:
        processes.wait()  # for rank 0's file
        if path and not processes.is_main:
            ids = read(path, n_texts)
        if processes.any(ids is None):
            ids = processes.share(ids)
    assert ids is not None
    return ids

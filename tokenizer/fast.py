"""The fast way from texts to ids: what was once worked out is remembered.

Language repeats itself: a chunk of text between two spaces has mostly been seen before, and then
costs one look-up in a dict.
"""

import gc
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain

from tokenizer.files import SPECIAL_TOKENS
from tokenizer.normalize import split_words
from tokenizer.wordpiece import MAX_CHARS

Ids = tuple[int, ...]

LONGEST_KEY = 200  # characters; a longer chunk hardly comes twice, and must not fill the memory
SPECIAL = re.compile("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")")
ASCII_WORD = re.compile("[0-9A-Za-z]+|[!-/:-@[-`{-~]")


class Memory(dict[str, Ids]):
    """memory[text] is function(text), computed on first sight.

    It holds `size` answers at most and then starts afresh; nobody can tell but by the clock.
    """

    def __init__(self, function: Callable[[str], Ids], size: int) -> None:
        super().__init__()
        self.function = function
        self.size = size

    def __missing__(self, text: str) -> Ids:
        answer = self.function(text)
        if len(text) <= LONGEST_KEY:
            if len(self) >= self.size:
                self.clear()
            self[text] = answer
        return answer


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Many new lists make Python look for cycles again and again; lists of numbers have none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class FastIds:
    """`rows(texts)` of a vocabulary and of the definition's own `normalize` and `split`."""

    def __init__(
        self,
        vocab: Mapping[str, int],
        normalize: Callable[[str], str],
        split: Callable[[str], list[str]],
        do_lower_case: bool,
        memory_size: int = 2**17,
    ) -> None:
        self.vocab = vocab
        self.normalize = normalize
        self.split = split
        self.do_lower_case = do_lower_case
        self.words = Memory(self._ids_of_word, memory_size)
        self.chunks = Memory(self._ids_of_chunk, memory_size)

    def rows(
        self, texts: Iterable[str], before: Iterable[int] = (), after: Iterable[int] = ()
    ) -> list[list[int]]:
        """The ids of each text, with the given ones before and after them."""
        recall, flatten = self.chunks.__getitem__, chain.from_iterable
        with no_garbage_collection():
            # A line end parts chunks as a space does; all else is _ids_of_chunk's business.
            return [
                [*before, *flatten(map(recall, text.replace("\n", " ").split(" "))), *after]
                for text in texts
            ]

    def _ids_of_chunk(self, chunk: str) -> Ids:
        if chunk.isalnum() and chunk.isascii():  # one word, the commonest case
            return self._ids_of_word(chunk.lower() if self.do_lower_case else chunk)
        if "[" in chunk and SPECIAL.search(chunk):
            parts = SPECIAL.split(chunk)  # first of all, as in the definition
            return tuple(chain.from_iterable(map(self._ids_of_part, parts)))
        if chunk.isascii() and chunk.isprintable():
            words = ASCII_WORD.findall(chunk.lower() if self.do_lower_case else chunk)
        else:
            words = split_words(self.normalize(chunk))
        return tuple(chain.from_iterable(map(self.words.__getitem__, words)))

    def _ids_of_part(self, part: str) -> Ids:
        return (self.vocab[part],) if part in SPECIAL_TOKENS else self.chunks[part]

    def _ids_of_word(self, word: str) -> Ids:
        whole = self.vocab.get(word)  # the longest match, if it is one, comes first
        if whole is not None and len(word) <= MAX_CHARS:
            return (whole,)
        return tuple([self.vocab[piece] for piece in self.split(word)])

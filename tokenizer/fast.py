"""The fast way from texts to ids: what was once worked out is remembered.

Language repeats itself: a chunk of text between two spaces has mostly been seen before, and then
costs one look-up in a dict. The vocabulary's own plain words need no working out at all.
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

    It starts with what is `known`, holds `size` answers more at most, and then starts afresh;
    nobody can tell but by the clock.
    """

    def __init__(self, function: Callable[[str], Ids], known: Mapping[str, Ids], size: int) -> None:
        super().__init__(known)
        self.function = function
        self.known = known
        self.size = len(known) + size

    def __missing__(self, text: str) -> Ids:
        answer = self.function(text)
        if len(text) <= LONGEST_KEY:
            if len(self) >= self.size:
                self.forget()
            self[text] = answer
        return answer

    def forget(self) -> None:
        """Back to the start."""
        self.clear()
        self.update(self.known)


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
        known = {token: (number,) for token, number in vocab.items() if self._is_word(token)}
        self.words = Memory(self._ids_of_word, known, memory_size)
        self.chunks = Memory(self._ids_of_chunk, known, memory_size)

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

    def _is_word(self, token: str) -> bool:
        """Whether a text of this token alone is one word, normalised already, and has its id."""
        if not (token.isalnum() and token.isascii() and len(token) <= MAX_CHARS):
            return False
        return not self.do_lower_case or token == token.lower()

    def _ids_of_chunk(self, chunk: str) -> Ids:
        if chunk.isalnum() and chunk.isascii():  # one word, the commonest case
            return self.words[chunk.lower() if self.do_lower_case else chunk]
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
        return tuple([self.vocab[piece] for piece in self.split(word)])

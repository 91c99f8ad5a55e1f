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


def is_word(chunk: str) -> bool:
    """Whether it is one word for certain, and needs no more than lower case to be normalised."""
    return chunk.isalnum() and chunk.isascii()


class FastIds(dict[str, Ids]):
    """fast[chunk] is the ids of a chunk of text without spaces, worked out on first sight.

    It takes a vocabulary and the definition's own `normalize` and `split`. It remembers `size`
    chunks beside the vocabulary's and then starts afresh; nobody can tell but by the clock.
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        normalize: Callable[[str], str],
        split: Callable[[str], list[str]],
        do_lower_case: bool,
        size: int = 2**17,
    ) -> None:
        words = [token for token in vocab if is_word(token) and len(token) <= MAX_CHARS]
        if do_lower_case:
            words = [word for word in words if word == word.lower()]
        self.known = {word: (vocab[word],) for word in words}
        super().__init__(self.known)
        self.vocab = vocab
        self.normalize = normalize
        self.split = split
        self.do_lower_case = do_lower_case
        self.size = len(self.known) + size

    def rows(
        self, texts: Iterable[str], before: Iterable[int] = (), after: Iterable[int] = ()
    ) -> list[list[int]]:
        """The ids of each text, with the given ones before and after them."""
        recall, flatten = self.__getitem__, chain.from_iterable
        with no_garbage_collection():
            # A line end parts chunks as a space does; all else is _ids_of_chunk's business.
            return [
                [*before, *flatten(map(recall, text.replace("\n", " ").split(" "))), *after]
                for text in texts
            ]

    def __missing__(self, chunk: str) -> Ids:
        ids = self._ids_of_chunk(chunk)
        if len(chunk) <= LONGEST_KEY:
            if len(self) >= self.size:
                self.forget()
            self[chunk] = ids
        return ids

    def forget(self) -> None:
        """Back to the start."""
        self.clear()
        self.update(self.known)

    def _ids_of_chunk(self, chunk: str) -> Ids:
        if is_word(chunk):  # the commonest case
            word = chunk.lower() if self.do_lower_case else chunk
            return self._ids_of_word(word) if word == chunk else self[word]
        if "[" in chunk and SPECIAL.search(chunk):
            parts = SPECIAL.split(chunk)  # first of all, as in the definition
            return tuple(chain.from_iterable(map(self._ids_of_part, parts)))
        if chunk.isascii() and chunk.isprintable():
            words = ASCII_WORD.findall(chunk.lower() if self.do_lower_case else chunk)
            if len(words) > 1:  # each of them is a chunk itself
                return tuple(chain.from_iterable(map(self.__getitem__, words)))
        else:
            words = split_words(self.normalize(chunk))
        return tuple(chain.from_iterable(map(self._ids_of_word, words)))

    def _ids_of_part(self, part: str) -> Ids:
        return (self.vocab[part],) if part in SPECIAL_TOKENS else self[part]

    def _ids_of_word(self, word: str) -> Ids:
        return tuple(map(self.vocab.__getitem__, self.split(word)))

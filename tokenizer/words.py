"""The same ids as rules.py gives, found faster: what was once worked out is remembered.

Language repeats itself. A chunk of text between two spaces has mostly been seen before, and then
costs one look-up in a dict; the vocabulary's own plain words are in that dict from the start.
"""

import gc
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

from tokenizer.normalize import split_words
from tokenizer.rules import Rules
from tokenizer.wordpiece import MAX_CHARS

Ids = tuple[int, ...]

LONGEST_KEY = 200  # characters; a longer chunk is hardly seen twice, and would fill the memory
ASCII_WORD = re.compile("[0-9A-Za-z]+|[!-/:-@[-`{-~]")


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python from searching many new lists for reference cycles: lists of ints have none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def is_word(chunk: str) -> bool:
    """Whether it is one word for certain, and lower case is all that normalising can change."""
    return chunk.isalnum() and chunk.isascii()


class Words(dict[str, Ids]):
    """A cache: words[chunk] gives the ids of a chunk of text without spaces.

    It holds the vocabulary's plain words and at most `size` other chunks. A full cache is emptied;
    this changes speed, never results.
    """

    def __init__(self, rules: Rules, size: int = 2**17) -> None:
        self.rules = rules
        words = [token for token in rules.vocab if is_word(token) and len(token) <= MAX_CHARS]
        if rules.do_lower_case:  # a cased token can never be found in lowered text
            words = [word for word in words if word == word.lower()]
        self.known = {word: (rules.vocab[word],) for word in words}
        super().__init__(self.known)
        self.max_entries = len(self.known) + size

    def rows(
        self, texts: Iterable[str], before: Iterable[int] = (), after: Iterable[int] = ()
    ) -> list[list[int]]:
        """The ids of each text, with the given ones before and after them."""
        # This line is the whole cost of a text whose chunks are all known; hence the local names.
        recall, flatten = self.__getitem__, chain.from_iterable
        with no_garbage_collection():
            # Only space and line end part chunks here. Other white space stays inside a chunk and
            # is dealt with when the chunk is worked out.
            return [
                [*before, *flatten(map(recall, text.replace("\n", " ").split(" "))), *after]
                for text in texts
            ]

    def __missing__(self, chunk: str) -> Ids:
        """Called by dict for a chunk that is not there: work it out and remember it."""
        ids = self._ids_of_chunk(chunk)
        if len(chunk) <= LONGEST_KEY:
            if len(self) >= self.max_entries:
                self.forget()
            self[chunk] = ids
        return ids

    def forget(self) -> None:
        """Back to the vocabulary's own words."""
        self.clear()
        self.update(self.known)

    def _ids_of_chunk(self, chunk: str) -> Ids:
        """The ids of one chunk, part by part: each part is a shorter chunk, looked up in turn.

        The parts are strictly shorter than the chunk, so this ends; and "hello" is then known for
        "hello!" and "(hello)" alike.
        """
        if is_word(chunk):  # the commonest case
            word = chunk.lower() if self.rules.do_lower_case else chunk
            return self._ids_of_word(word) if word == chunk else self[word]
        if "[" in chunk:  # every special token has one; special tokens come first, as in rules.py
            parts = self.rules.special.split(chunk)
            if len(parts) > 1:
                return tuple(chain.from_iterable(map(self._ids_of_part, parts)))
        if chunk.isascii() and chunk.isprintable():  # nothing to remove, no accents
            words = ASCII_WORD.findall(chunk.lower() if self.rules.do_lower_case else chunk)
            if len(words) > 1:
                return tuple(chain.from_iterable(map(self.__getitem__, words)))
        else:  # every rule may apply, white space inside the chunk included
            words = split_words(self.rules.normalize(chunk))
        return tuple(chain.from_iterable(map(self._ids_of_word, words)))

    def _ids_of_part(self, part: str) -> Ids:
        special_ids = self.rules.special.ids
        return (special_ids[part],) if part in special_ids else self[part]

    def _ids_of_word(self, word: str) -> Ids:
        return tuple(map(self.rules.vocab.__getitem__, self.rules.split(word)))

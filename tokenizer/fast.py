"""The fast way from texts to ids: what was once worked out is remembered.

Language repeats itself: a chunk of text between two spaces has mostly been seen before, and then
costs one look-up in a dict.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
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


class FastIds:
    """`ids(texts)` of a vocabulary and of the definition's own `normalize` and `split`."""

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

    def ids(self, texts: Iterable[str]) -> Iterator[Iterable[int]]:
        """The ids of each text, to be read once."""
        recall, flatten = self.chunks.__getitem__, chain.from_iterable
        for text in texts:
            if "[" in text:
                yield self._ids_with_special(text)
            else:  # a line end parts chunks as a space does; all else is _ids_of_chunk's business
                yield flatten(map(recall, text.replace("\n", " ").split(" ")))

    def _ids_with_special(self, text: str) -> Iterator[int]:
        for part in SPECIAL.split(text):
            if part in SPECIAL_TOKENS:
                yield self.vocab[part]
            else:
                for chunk in part.replace("\n", " ").split(" "):
                    yield from self.chunks[chunk]

    def _ids_of_chunk(self, chunk: str) -> Ids:
        if chunk.isascii() and chunk.isprintable():
            if self.do_lower_case:
                chunk = chunk.lower()
            if chunk.isalnum():
                return self._ids_of_word(chunk)
            words = ASCII_WORD.findall(chunk)
        else:
            words = split_words(self.normalize(chunk))
        return tuple(chain.from_iterable(map(self.words.__getitem__, words)))

    def _ids_of_word(self, word: str) -> Ids:
        whole = self.vocab.get(word)  # the longest match, if it is one, comes first
        if whole is not None and len(word) <= MAX_CHARS:
            return (whole,)
        return tuple([self.vocab[piece] for piece in self.split(word)])

"""From a word to the pieces that the vocabulary knows."""

from collections.abc import Container

MAX_CHARS = 100  # of a word, normalised: BERT takes a longer one for no word at all


def wordpiece(word: str, vocab: Container[str], longest: int = MAX_CHARS) -> list[str] | None:
    """Greedy longest match from the left; None where the word cannot be told in pieces.

    `longest` spares looking up pieces that are longer than any in the vocabulary.

    >>> wordpiece("unaffable", {"un", "##aff", "##able"})
    ['un', '##aff', '##able']
    """
    if len(word) > MAX_CHARS:
        return None
    pieces = []
    start, prefix = 0, ""
    while start < len(word):
        for end in range(min(len(word), start + longest), start, -1):
            piece = prefix + word[start:end]
            if piece in vocab:
                break
        else:  # no piece fits here: the whole word is unknown, not only its tail
            return None
        pieces.append(piece)
        start, prefix = end, "##"
    return pieces

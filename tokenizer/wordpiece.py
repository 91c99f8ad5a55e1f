"""From a word to the pieces that the vocabulary knows.

WordPiece: Schuster and Nakajima, "Japanese and Korean voice search", 2012. How a vocabulary is
learned is not here; how BERT (Devlin et al., arXiv 1810.04805) cuts words with one is.
"""

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
    pieces, start, prefix = [], 0, ""
    while start < len(word):
        piece = prefix + word[start : start + longest]
        while piece not in vocab:
            piece = piece[:-1]
            if piece == prefix:  # nothing fits: the whole word is unknown, not only its tail
                return None
        pieces.append(piece)
        start += len(piece) - len(prefix)
        prefix = "##"
    return pieces

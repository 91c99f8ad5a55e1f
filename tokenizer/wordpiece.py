"""WordPiece: a word is split into the longest pieces that the vocabulary has.

Schuster and Nakajima, "Japanese and Korean voice search", 2012; used by BERT (Devlin et al., arXiv
1810.04805). How a vocabulary is learned from texts is not part of this program.
"""

from collections.abc import Container

MAX_CHARS = 100  # of a normalised word; longer words become [UNK], as in BERT


def wordpiece(
    word: str,
    vocab: Container[str],
    longest: int = MAX_CHARS,
    inner: str = "##",
    max_chars: int = MAX_CHARS,
) -> list[str] | None:
    """Greedy longest match from the left; None where some part of the word has no match.

    `longest` is the length of the longest token: longer pieces need not be looked up. `inner` marks
    every piece but a word's first: "able" and "##able" are different tokens.

    >>> wordpiece("unaffable", {"un", "##aff", "##able"})
    ['un', '##aff', '##able']
    """
    if len(word) > max_chars:
        return None
    pieces, start, prefix = [], 0, ""
    while start < len(word):
        piece = prefix + word[start : start + longest]
        while piece not in vocab:
            piece = piece[:-1]
            if piece == prefix:  # not one character fits
                return None  # the whole word is unknown, not only its tail
        pieces.append(piece)
        start += len(piece) - len(prefix)
        prefix = inner
    return pieces

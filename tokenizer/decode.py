"""From tokens back to text, as far as the tokens tell it."""

from collections.abc import Iterable

# Spaces that BERT's decoder takes out around punctuation and in contractions. The order counts,
# and each rule sees one token at a time, with the space before it: "don ' t" stays apart.
CLOSER = {
    " .": ".",
    " ?": "?",
    " !": "!",
    " ,": ",",
    " ' ": "'",
    " n't": "n't",
    " 'm": "'m",
    " do not": " don't",
    " 's": "'s",
    " 've": "'ve",
    " 're": "'re",
}


def tokens_to_text(tokens: Iterable[str]) -> str:
    """Tokens joined with spaces, pieces of one word without.

    >>> tokens_to_text(["play", "##ing", ",", "not", "work", "##ing"])
    'playing, not working'
    """
    words: list[str] = []
    for token in tokens:
        if words:  # the first token stays as it is, even with "##"
            token = token[2:] if token.startswith("##") else f" {token}"
        for wide, close in CLOSER.items():
            token = token.replace(wide, close)
        words.append(token)
    return "".join(words)
